//! Where the contents of files live: the chunks of a file, and what writing and cutting do to them.
//!
//! A part of a file that has no chunk is a hole. A chunk is made by [`Namespace::allocate`] before
//! the first write to it; what was written counts when [`Namespace::extend`] says so. A truncation
//! forgets the chunks behind the new end and leaves a [`Cut`](crate::types::Cut) in the one that
//! the end is in; see [`ChunkLayout`] for how servers follow. A write that was under way to a chunk
//! which was forgotten or cut meanwhile is `Stale` when it is reported: the writer asks for the
//! layout again and repeats it, so that it comes after the truncation, whole.

use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::types::{Attr, ChunkKey, ChunkLayout, Credentials, Ino, ServerId};

use super::attr::too_large;
use super::records::{CHUNKS, Chunk, Contents, decode, encode, load, number_in, numbered_key};
use super::{Namespace, View};

/// Chunks at the beginning of a page that are asked for one by one.
const ASKED_SINGLY: u64 = limits::OPENED_LAYOUT_MAX as u64;

/// A part of a file's layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutPage {
    /// The file's size at that moment.
    pub size: u64,
    /// The version of its contents at that moment.
    pub data_version: u64,
    /// Its chunks, in their order; what lies between is a hole.
    pub chunks: Vec<ChunkLayout>,
    /// Whether there are no chunks behind these.
    pub is_last: bool,
}

/// What a writer tells of a chunk that it wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkUse {
    /// Which chunk.
    pub key: ChunkKey,
    /// The version that was written to.
    pub version: u64,
    /// Bytes it takes up on one server now.
    pub bytes: u64,
}

impl View<'_> {
    /// The chunks of a file from an index on: up to `limit`, and [`limits::LAYOUT_PAGE_MAX`].
    ///
    /// # Errors
    /// `Stale`; `IsDirectory`; `InvalidArgument` for anything else that is no regular file.
    pub fn layout(&self, ino: Ino, from: u64, limit: usize) -> Result<LayoutPage> {
        let inode = self.inode(ino)?;
        let contents = inode.contents()?;
        let limit = limit.clamp(1, limits::LAYOUT_PAGE_MAX);
        let records = self.chunks_from(ino, contents.size, from, limit)?;
        let is_last = records.len() < limit;
        let chunks = records.into_iter().map(|(index, chunk)| chunk.layout(ino, index)).collect();
        Ok(LayoutPage { size: contents.size, data_version: contents.data_version, chunks, is_last })
    }

    /// A chunk by its key; `None` if no file refers to it.
    ///
    /// # Errors
    /// Only those of the store.
    pub fn chunk_layout(&self, key: ChunkKey) -> Result<Option<ChunkLayout>> {
        let chunk = self.chunk(key.ino, key.index)?;
        let chunk = chunk.filter(|chunk| chunk.incarnation == key.incarnation);
        Ok(chunk.map(|chunk| chunk.layout(key.ino, key.index)))
    }

    pub(super) fn chunk(&self, ino: Ino, index: u64) -> Result<Option<Chunk>> {
        load(self.txn, CHUNKS, &numbered_key(ino, index))
    }

    /// The chunk that a writer wrote to, if it is still the same.
    fn written_chunk(&self, ino: Ino, used: &ChunkUse) -> Result<Chunk> {
        let ChunkUse { key, version, .. } = *used;
        let is_same =
            |chunk: &Chunk| chunk.incarnation == key.incarnation && chunk.version == version;
        let chunk = self.chunk(ino, key.index)?.filter(is_same);
        chunk.filter(|_| key.ino == ino).ok_or_else(overtaken)
    }

    /// Up to `limit` chunks of a file of that size from an index on, in their order; also those
    /// behind its end.
    ///
    /// A scan passes by every version of a record that the store has in memory, and of a chunk that
    /// is written to again and again these are tens of thousands. Asking for one key does not, so
    /// the first chunks are asked for one by one.
    pub(super) fn chunks_from(
        &self,
        ino: Ino,
        size: u64,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Chunk)>> {
        let count = size.div_ceil(limits::CHUNK_SIZE).max(1);
        let rest = count.min(from.saturating_add(ASKED_SINGLY)).max(from);
        let mut chunks = Vec::new();
        for index in from..rest {
            if chunks.len() < limit {
                chunks.extend(self.chunk(ino, index)?.map(|chunk| (index, chunk)));
            }
        }
        if chunks.len() < limit {
            let end = numbered_key(Ino(ino.0 + 1), 0);
            let from = numbered_key(ino, rest);
            for (key, value) in self.txn.scan(CHUNKS, &from, &end, limit - chunks.len())? {
                chunks.push((number_in(&key, 8)?, decode(CHUNKS, &value)?));
            }
        }
        Ok(chunks)
    }
}

impl Namespace<'_> {
    /// The chunk at an index, made on these servers if there is none.
    ///
    /// # Errors
    /// `Stale`; `IsDirectory` or `InvalidArgument` for what is no regular file; `FileTooLarge`;
    /// `NoSpace` if there is no chunk and no server for one.
    pub fn allocate(&mut self, ino: Ino, index: u64, replicas: &[ServerId]) -> Result<ChunkLayout> {
        let inode = self.inode(ino)?;
        let contents = inode.contents()?;
        if index > limits::FILE_SIZE_MAX / limits::CHUNK_SIZE {
            return Err(too_large());
        }
        if let Some(chunk) = self.view().chunk(ino, index)? {
            return Ok(chunk.layout(ino, index));
        }
        if replicas.is_empty() {
            return Err(FsError::new(ErrorKind::NoSpace, "there is no chunk server with room"));
        }
        let chunk = Chunk::new(self.incarnation(contents.incarnation)?, replicas);
        self.save_chunk(ino, index, &chunk);
        Ok(chunk.layout(ino, index))
    }

    /// Completes a write: the file reaches at least to `end`, and these chunks were written to.
    ///
    /// # Errors
    /// As [`Namespace::allocate`], and `Stale` also if a chunk is not what the writer wrote to.
    pub fn extend(
        &mut self,
        who: &Credentials,
        ino: Ino,
        end: u64,
        uses: &[ChunkUse],
    ) -> Result<Attr> {
        let mut inode = self.inode(ino)?;
        let contents = inode.contents_mut()?;
        if end > limits::FILE_SIZE_MAX {
            return Err(too_large());
        }
        for used in uses {
            self.view().written_chunk(ino, used)?;
        }
        for used in uses {
            let mut chunk = self.view().written_chunk(ino, used)?;
            if chunk.reached(used.version) || chunk.bytes != used.bytes {
                self.set_chunk_bytes(contents, used.key, chunk, used.bytes)?;
            }
        }
        contents.size = contents.size.max(end);
        self.mark_written(who, ino, &mut inode)?;
        self.save_inode(ino, &inode);
        Ok(inode.attr(ino))
    }

    /// Makes room for `length` bytes at the end of a file and answers the offset of that room, in
    /// the same order for all who append. Until they are written the bytes read as zeros.
    ///
    /// # Errors
    /// As [`Namespace::allocate`].
    pub fn append(&mut self, who: &Credentials, ino: Ino, length: u64) -> Result<u64> {
        let mut inode = self.inode(ino)?;
        let contents = inode.contents_mut()?;
        let offset = contents.size;
        if length == 0 {
            return Ok(offset);
        }
        let end = offset.checked_add(length).filter(|end| *end <= limits::FILE_SIZE_MAX);
        contents.size = end.ok_or_else(too_large)?;
        self.mark_written(who, ino, &mut inode)?;
        self.save_inode(ino, &inode);
        Ok(offset)
    }

    /// Gives the room of an append back, from `offset` to the end: with a cut, so that bytes that
    /// came there, or are still on their way, do not show up later. If the contents have another
    /// version than they had with that room, somebody wrote since, and nothing happens.
    ///
    /// # Errors
    /// As [`Namespace::append`], and `Busy` as for a truncation.
    pub fn abort_append(
        &mut self,
        who: &Credentials,
        ino: Ino,
        offset: u64,
        data_version: u64,
    ) -> Result<Attr> {
        let mut inode = self.inode(ino)?;
        let contents = inode.contents_mut()?;
        if contents.data_version == data_version && offset < contents.size {
            self.truncate(ino, contents, offset)?;
            self.mark_written(who, ino, &mut inode)?;
            self.save_inode(ino, &inode);
        }
        Ok(inode.attr(ino))
    }

    /// Notes that all replicas of a chunk have a version, and so made the cuts up to it. Nothing
    /// happens if the chunk is another one by now.
    ///
    /// # Errors
    /// Only those of the store.
    pub fn cut_done(&mut self, used: ChunkUse) -> Result<()> {
        let ChunkKey { ino, index, incarnation } = used.key;
        let Some(mut inode) = self.view().find_inode(ino)? else { return Ok(()) };
        let Some(mut chunk) = self.view().chunk(ino, index)? else { return Ok(()) };
        let Ok(contents) = inode.contents_mut() else { return Ok(()) };
        if chunk.incarnation != incarnation || !chunk.reached(used.version) {
            return Ok(());
        }
        let bytes = if chunk.version == used.version { used.bytes } else { chunk.bytes };
        self.set_chunk_bytes(contents, used.key, chunk, bytes)?;
        self.save_inode(ino, &inode);
        Ok(())
    }

    fn save_chunk(&mut self, ino: Ino, index: u64, chunk: &Chunk) {
        self.txn.put(CHUNKS, &numbered_key(ino, index), &encode(chunk));
    }

    /// Stores a chunk that takes up so many bytes now; `contents` are changed but not stored.
    pub(super) fn set_chunk_bytes(
        &mut self,
        contents: &mut Contents,
        key: ChunkKey,
        mut chunk: Chunk,
        bytes: u64,
    ) -> Result<()> {
        // What a client reports is not taken beyond what is possible.
        let bytes = bytes.min(limits::CHUNK_SIZE);
        let before = std::mem::replace(&mut chunk.bytes, bytes);
        contents.bytes = contents.bytes.saturating_sub(before).saturating_add(bytes);
        self.save_chunk(key.ino, key.index, &chunk);
        self.count_bytes(before, bytes, &chunk.replicas)
    }
}

fn overtaken() -> FsError {
    FsError::new(ErrorKind::Stale, "the chunk was cut or forgotten while it was written to")
}
