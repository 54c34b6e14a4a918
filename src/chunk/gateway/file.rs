//! The contents of a file as one value: its chunks from whichever servers have them, zeros between.

use bytes::{Bytes, BytesMut};
use tokio::sync::SemaphorePermit;
use tokio::task::block_in_place;

use super::{Gateway, PERMIT_SIZE};
use crate::error::{ErrorKind, FsError, Result};
use crate::limits::{self, CHUNK_SIZE};
use crate::proto::Packed;
use crate::proto::chunk::Read;
use crate::proto::classic::Get;
use crate::proto::form::Form;
use crate::proto::fs::{GetAttr, Layout};
use crate::proto::gateway::Resolved;
use crate::types::{Attr, ChunkLayout, ChunkVersion, FileKind, Ino};

impl Gateway {
    /// The contents of a file, of one moment if others leave it alone for long enough.
    ///
    /// # Errors
    /// `FileTooLarge` if it does not fit in one value; `Stale` if it changes all the time; what the
    /// servers say.
    pub(super) async fn file(&self, call: &Get, found: Resolved) -> Result<Bytes> {
        let form = Form { dialect: call.dialect, layout: found.layout };
        let mut attr = found.attr;
        for attempt in 1.. {
            let _room = self.take_room(&attr, form).await?;
            let read = self.read_file(&attr).await;
            let is_last = attempt == limits::STALE_ATTEMPTS_MAX;
            let Some(now) = self.attr_now(call, attr.ino).await? else {
                return read;
            };
            match read {
                // Somebody who writes all the time must not keep others from reading.
                Ok(contents) if now.data_version == attr.data_version || is_last => {
                    return Ok(contents);
                }
                Err(error) if is_last || !is_overtaken(&error) => return Err(error),
                _ => attr = now,
            }
        }
        unreachable!("the last attempt returns")
    }

    /// The file as it is now; `None` if it has lost its name and is gone.
    async fn attr_now(&self, call: &Get, ino: Ino) -> Result<Option<Attr>> {
        match self.client.call(&self.master, GetAttr { ino }).await.map_err(FsError::from) {
            Ok(Packed(attr)) => Ok(Some(attr)),
            // Another file may have its name now.
            Err(error) if error.kind() == ErrorKind::Stale => {
                let found = self.resolve(&call.key, call.dialect).await?;
                Ok(found.map(|found| found.attr).filter(|attr| attr.kind == FileKind::Regular))
            }
            Err(error) => Err(error),
        }
    }

    async fn take_room(&self, attr: &Attr, form: Form) -> Result<SemaphorePermit<'_>> {
        let size_max = form.size_max();
        if attr.size > size_max as u64 {
            let size = attr.size;
            let message = format!(
                "the file has {size} bytes; as one value it can have {size_max}: use a native mount"
            );
            return Err(FsError::new(ErrorKind::FileTooLarge, message));
        }
        let permits = u32::try_from(attr.size.div_ceil(PERMIT_SIZE)).unwrap_or(u32::MAX);
        let room = self.room.acquire_many(permits);
        match tokio::time::timeout(limits::MEMORY_TIMEOUT, room).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => {
                let message = "the server has no memory left for another large file; try again";
                Err(FsError::new(ErrorKind::Busy, message))
            }
        }
    }

    async fn read_file(&self, attr: &Attr) -> Result<Bytes> {
        let size = usize::try_from(attr.size).unwrap_or(usize::MAX);
        let mut contents = BytesMut::with_capacity(size);
        let chunks = attr.size.div_ceil(CHUNK_SIZE);
        if chunks > 0 {
            let count = u32::try_from(chunks).unwrap_or(u32::MAX);
            let call = Layout { ino: attr.ino, index: 0, count };
            let Packed(layout) = self.client.call(&self.master, call).await?;
            for chunk in layout.iter().filter(|chunk| chunk.key.index < chunks) {
                let start = chunk.key.index * CHUNK_SIZE;
                contents.resize(usize::try_from(start).unwrap_or(size), 0);
                let length = (attr.size - start).min(CHUNK_SIZE);
                self.read_chunk(chunk, length, &mut contents).await?;
            }
        }
        contents.resize(size, 0);
        Ok(contents.freeze())
    }

    /// Adds up to `length` bytes of a chunk from its beginning; fewer if it ends before.
    async fn read_chunk(
        &self,
        chunk: &ChunkLayout,
        length: u64,
        contents: &mut BytesMut,
    ) -> Result<()> {
        let mut offset = 0;
        while offset < length {
            let wanted = (length - offset).min(limits::WRITE_CALL_SIZE_MAX as u64);
            let piece = self.read_piece(chunk, offset, wanted).await?;
            contents.extend_from_slice(&piece);
            if (piece.len() as u64) < wanted {
                break;
            }
            offset += wanted;
        }
        Ok(())
    }

    /// A piece of a chunk, from the first replica that has it whole.
    async fn read_piece(&self, chunk: &ChunkLayout, offset: u64, length: u64) -> Result<Bytes> {
        let mut outcome = None;
        for server in &chunk.replicas {
            let version = ChunkVersion::from(chunk);
            let read = if *server == self.server {
                block_in_place(|| self.chunks.read(&chunk.key, &version, offset, length))
            } else {
                let call = Read { chunk: chunk.key, version, offset, length };
                self.client.call(server.as_str(), call).await.map_err(FsError::from)
            };
            match read {
                Ok(piece) => return Ok(piece),
                // Placed, and never written to: nobody has told of bytes in it.
                Err(error) if error.kind() == ErrorKind::NotFound && chunk.bytes == 0 => {
                    return Ok(Bytes::new());
                }
                Err(error) => outcome = Some(error),
            }
        }
        let nowhere = || FsError::new(ErrorKind::Io, format!("no server has chunk {}", chunk.key));
        Err(outcome.unwrap_or_else(nowhere))
    }
}

/// Whether an error may come of a layout that is no longer true.
fn is_overtaken(error: &FsError) -> bool {
    matches!(error.kind(), ErrorKind::Stale | ErrorKind::NotFound)
}
