//! Operations on ranges of contents without the bytes themselves: room, holes, copies.

use std::sync::Arc;

use super::data::{ChunkChange, Cluster};
use super::fs::NativeFs;
use super::inode::{Inode, may_be_old, too_large};
use crate::client::vfs::Handle;
use crate::error::{ErrorKind, FsError, Result};
use crate::extent::{ChunkPart, chunk_index, chunk_parts};
use crate::limits::{self, CHUNK_SIZE};
use crate::proto::fs::{ChunkBytes, Written};
use crate::types::{Access, ChunkLayout, Credentials, Whence};

/// Bytes that `copy_file_range` takes through this mount in one call, if no server has both ends.
const COPY_SIZE_MAX: u64 = 8 << 20;

/// An offset in an open file.
type Place<'a> = (&'a Arc<Inode>, u64);

/// What `fallocate` does with a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allocation {
    Reserve,
    Punch,
    Zero,
}

/// The modes of `fallocate(2)` that there are here, and whether the size stays.
fn allocation(mode: i32) -> Result<(Allocation, bool)> {
    let keeps_size = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
    match mode & !libc::FALLOC_FL_KEEP_SIZE {
        0 => Ok((Allocation::Reserve, keeps_size)),
        libc::FALLOC_FL_PUNCH_HOLE if keeps_size => Ok((Allocation::Punch, true)),
        libc::FALLOC_FL_ZERO_RANGE => Ok((Allocation::Zero, keeps_size)),
        _ => Err(FsError::new(ErrorKind::Unsupported, "there is no such mode of fallocate here")),
    }
}

impl<C: Cluster> NativeFs<C> {
    /// Reserves room for a range, or makes it a hole or zeros, as `mode` of `fallocate(2)` says.
    ///
    /// # Errors
    /// `BadHandle`; `Unsupported` for other modes; `FileTooLarge`; `NoSpace`.
    pub async fn fallocate(
        &self,
        handle: Handle,
        offset: u64,
        length: u64,
        mode: i32,
        who: &Credentials,
    ) -> Result<()> {
        let file = self.inodes.file(handle)?;
        file.permit(Access::WRITE)?;
        self.check_locks(&file)?;
        let (what, keeps_size) = allocation(mode)?;
        let end = offset.checked_add(length).filter(|end| *end <= limits::FILE_SIZE_MAX);
        let end = end.ok_or_else(too_large)?;
        let inode = &file.inode;
        let _turn = inode.turn.lock().await;
        self.flush_in_turn(inode).await?;
        let losses = file.lock_losses;
        let mut attempt = 1;
        let chunks = loop {
            match self.change_chunks(inode, what, offset, length).await {
                Err(error) if may_be_old(&error, attempt) => {
                    inode.state().layout.clear();
                    attempt += 1;
                }
                outcome => break outcome?,
            }
        };
        let written =
            Written { end: if keeps_size { 0 } else { end }, is_modified: true, is_durable: false };
        let told = self.extend(inode, written, chunks, (who, losses)).await;
        let mut state = inode.state();
        state.clean.remove(offset, length);
        state.epoch += 1;
        self.note_change(&mut state, told?);
        Ok(())
    }

    async fn change_chunks(
        &self,
        inode: &Arc<Inode>,
        what: Allocation,
        offset: u64,
        length: u64,
    ) -> Result<Vec<ChunkBytes>> {
        let mut changed = Vec::new();
        for part in self.existing_parts(inode, what, offset, length).await? {
            let ChunkPart { index, offset, length } = part;
            let chunk = match what {
                Allocation::Reserve => self.place(inode, &[index]).await?.pop(),
                Allocation::Punch | Allocation::Zero => self.locate(inode, index).await?,
            };
            let Some(chunk) = chunk else { continue };
            let change = match what {
                Allocation::Reserve => ChunkChange::Allocate { offset, length },
                Allocation::Punch => ChunkChange::Punch { offset, length },
                Allocation::Zero => ChunkChange::Zero { offset, length },
            };
            let bytes = self.cluster.change(&chunk, change).await?;
            changed.push(ChunkBytes { key: chunk.key, version: chunk.version, bytes });
        }
        Ok(changed)
    }

    /// The parts of a range that there is something to do for: holes are holes already, and what
    /// lies behind the last chunk is one.
    async fn existing_parts(
        &self,
        inode: &Arc<Inode>,
        what: Allocation,
        offset: u64,
        length: u64,
    ) -> Result<Vec<ChunkPart>> {
        let length = match what {
            Allocation::Reserve => length,
            Allocation::Punch | Allocation::Zero => {
                let last =
                    self.layout_from(inode.ino, 0).await?.last().map(|chunk| chunk.key.index);
                let end = last.map_or(0, |last| (last + 1) * CHUNK_SIZE);
                length.min(end.saturating_sub(offset))
            }
        };
        if length.div_ceil(CHUNK_SIZE) > limits::LAYOUT_CACHED_MAX as u64 {
            return Err(FsError::new(ErrorKind::NoSpace, "the range has too many chunks"));
        }
        Ok(chunk_parts(offset, length).collect())
    }

    /// The first offset from `offset` on with data, or with a hole, of which the end of the file is
    /// one.
    ///
    /// # Errors
    /// `NoSuchOffset` if there are no data up to the end, or `offset` lies behind it.
    pub async fn seek(
        self: &Arc<Self>,
        handle: Handle,
        offset: u64,
        target: Whence,
    ) -> Result<u64> {
        let file = self.inodes.file(handle)?;
        let inode = &file.inode;
        self.flush_inode(inode).await?;
        let size = self.getattr(inode.ino).await?.size;
        if offset >= size {
            return Err(no_such_offset());
        }
        let mut at = offset;
        for chunk in self.layout_from(inode.ino, chunk_index(offset)).await? {
            let start = chunk.key.index * CHUNK_SIZE;
            if at < start && target == Whence::Hole {
                return Ok(at);
            }
            at = at.max(start);
            match self.cluster.seek(&chunk, at - start, target).await?.map(|found| start + found) {
                Some(found) if found < size => return Ok(found),
                Some(_) => at = size,
                None => at = start + CHUNK_SIZE,
            }
        }
        match target {
            Whence::Data => Err(no_such_offset()),
            Whence::Hole => Ok(at.min(size)),
        }
    }

    /// Copies a range from one open file to another, by the servers where one has both ends;
    /// answers how many bytes, which may be fewer.
    ///
    /// # Errors
    /// `BadHandle`; `InvalidArgument` if the ranges overlap in one file; those of reading and
    /// writing.
    pub async fn copy_file_range(
        self: &Arc<Self>,
        (source, source_at): (Handle, u64),
        (target, target_at): (Handle, u64),
        length: u64,
        who: &Credentials,
    ) -> Result<u64> {
        let (from, to) = (self.inodes.file(source)?, self.inodes.file(target)?);
        from.permit(Access::READ)?;
        to.permit(Access::WRITE)?;
        self.check_locks(&from)?;
        self.check_locks(&to)?;
        self.flush_inode(&from.inode).await?;
        let size = self.getattr(from.inode.ino).await?.size;
        let length = length.min(size.saturating_sub(source_at)).min(limits::FILE_SIZE_MAX);
        let is_same = Arc::ptr_eq(&from.inode, &to.inode);
        if is_same && source_at.abs_diff(target_at) < length {
            return Err(FsError::new(ErrorKind::InvalidArgument, "the ranges overlap"));
        }
        // One chunk's part at a time: that is what a server can do in one call.
        let room = (CHUNK_SIZE - source_at % CHUNK_SIZE).min(CHUNK_SIZE - target_at % CHUNK_SIZE);
        let length = length.min(room);
        if length == 0 {
            return Ok(0);
        }
        let (source_place, target_place) = ((&from.inode, source_at), (&to.inode, target_at));
        if self.copy_at_servers(source_place, target_place, length, who).await? {
            return Ok(length);
        }
        let length = length.min(COPY_SIZE_MAX);
        let bytes = self.read_inode(&from.inode, source_at, length).await?;
        let copied = bytes.len() as u64;
        self.write(target, target_at, bytes, false, who).await?;
        Ok(copied)
    }

    /// Answers false if no server has both chunks, or one of them is a hole.
    async fn copy_at_servers(
        &self,
        (from, from_at): Place<'_>,
        (to, to_at): Place<'_>,
        length: u64,
        who: &Credentials,
    ) -> Result<bool> {
        let Some(source) = self.locate(from, chunk_index(from_at)).await? else {
            return Ok(false);
        };
        let _turn = to.turn.lock().await;
        self.flush_in_turn(to).await?;
        let target = self.place(to, &[chunk_index(to_at)]).await?.pop();
        let Some(target) = target else { return Ok(false) };
        if source.key == target.key {
            // Within one chunk the cuts of one call could meet the bytes of the other.
            return Ok(false);
        }
        let ends = ((&source, from_at % CHUNK_SIZE), (&target, to_at % CHUNK_SIZE));
        let bytes = match self.cluster.copy(ends.0, ends.1, length).await {
            Ok(Some(bytes)) => bytes,
            // The file changed meanwhile; reading and writing finds out what it is now.
            Err(error) if error.kind() == ErrorKind::Stale => {
                from.state().layout.clear();
                to.state().layout.clear();
                return Ok(false);
            }
            Ok(None) => return Ok(false),
            Err(error) => return Err(error),
        };
        self.tell_copied(to, &target, bytes, to_at + length, who).await?;
        to.state().clean.remove(to_at, length);
        Ok(true)
    }

    async fn tell_copied(
        &self,
        to: &Arc<Inode>,
        target: &ChunkLayout,
        bytes: u64,
        end: u64,
        who: &Credentials,
    ) -> Result<()> {
        let chunk = ChunkBytes { key: target.key, version: target.version, bytes };
        let written = Written { end, is_modified: true, is_durable: false };
        let losses = to.state().lock_losses;
        let told = self.extend(to, written, vec![chunk], (who, losses)).await;
        let mut state = to.state();
        state.epoch += 1;
        self.note_change(&mut state, told?);
        Ok(())
    }
}

fn no_such_offset() -> FsError {
    FsError::new(ErrorKind::NoSuchOffset, "there is nothing of that kind up to the end of the file")
}
