//! The contents of a file as one value: its chunks from whichever servers have them, zeros between.

use bytes::{Bytes, BytesMut};
use tokio::task::block_in_place;

use super::Gateway;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits::{self, CHUNK_SIZE};
use crate::proto::Packed;
use crate::proto::chunk::Read;
use crate::proto::classic::Get;
use crate::proto::form::Form;
use crate::proto::fs::GetAttr;
use crate::proto::gateway::Resolved;
use crate::rpc::Caller;
use crate::types::{Attr, ChunkLayout, ChunkVersion, FileKind};

impl Gateway {
    /// The contents of a file, of one moment if others leave it alone for long enough.
    ///
    /// # Errors
    /// `FileTooLarge` if it does not fit in one value; `Stale` if it changes all the time; what the
    /// servers say.
    pub(super) async fn file(&self, call: &Get, caller: &Caller, found: Resolved) -> Result<Bytes> {
        let form = Form { dialect: found.dialect, layout: found.layout };
        let (mut found, mut room) = (found, 0);
        for attempt in 1.. {
            check_size(&found.attr, form)?;
            caller.make_room(found.attr.size.saturating_sub(room)).await?;
            room = room.max(found.attr.size);
            let read = self.read_file(&found).await;
            if attempt == limits::STALE_ATTEMPTS_MAX || !self.has_changed(&found.attr).await? {
                // Somebody who writes all the time must not keep others from reading.
                return read;
            }
            match self.resolve(&call.key, call.dialect).await? {
                Some(now) if now.attr.kind == FileKind::Regular => found = now,
                // It was there when the client asked.
                _ => return read,
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Whether a file is no longer as it was.
    async fn has_changed(&self, attr: &Attr) -> Result<bool> {
        let call = GetAttr { ino: attr.ino };
        match self.peers.ask_master(call).await.map_err(FsError::from) {
            Ok(Packed(now)) => Ok(now.data_version != attr.data_version),
            Err(error) if error.kind() == ErrorKind::Stale => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn read_file(&self, found: &Resolved) -> Result<Bytes> {
        let size = usize::try_from(found.attr.size).unwrap_or(usize::MAX);
        let mut contents = BytesMut::with_capacity(size);
        for chunk in &found.chunks {
            let start = chunk.key.index.saturating_mul(CHUNK_SIZE);
            let Some(length) = found.attr.size.checked_sub(start) else { break };
            contents.resize(usize::try_from(start).unwrap_or(size), 0);
            self.read_chunk(chunk, length.min(CHUNK_SIZE), &mut contents).await?;
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
            let version = || ChunkVersion::from(chunk);
            let read = match self.peers.locate(server).await {
                Ok(located) if located.server == self.server => {
                    block_in_place(|| self.chunks.read(&chunk.key, &version(), offset, length))
                }
                Ok(_) => {
                    let key = chunk.key;
                    let call = Read { chunk: key, version: version(), offset, length };
                    self.peers.ask(server, call).await
                }
                Err(error) => Err(error),
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

/// Checks that a file can travel as one value.
fn check_size(attr: &Attr, form: Form) -> Result<()> {
    let (size, size_max) = (attr.size, form.size_max());
    if size <= size_max as u64 {
        return Ok(());
    }
    let message = format!(
        "the file has {size} bytes; as one value it can have {size_max}: use a native mount"
    );
    Err(FsError::new(ErrorKind::FileTooLarge, message))
}
