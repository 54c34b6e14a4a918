//! Shortening files: forgetting the chunks behind the end, and cutting the one it is in.

use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::types::{ChunkKey, ChunkLayout, Cut, DroppedChunk, Ino, ServerId};

use super::Namespace;
use super::records::{CHUNKS, Chunk, Contents, numbered_key};

/// The version of a new chunk.
const FIRST_VERSION: u64 = 1;

impl Namespace<'_> {
    /// Sets the size of a file, and lets go of all that lies behind it. `contents` are changed but
    /// not stored.
    ///
    /// # Errors
    /// `Busy` if the chunk at the new end has too many cuts that its servers do not know of.
    pub(super) fn truncate(&mut self, ino: Ino, contents: &mut Contents, size: u64) -> Result<()> {
        // Growing leaves the chunks alone. With the same size there may still be chunks behind the
        // end, of writers that did not come to report them.
        if size <= contents.size {
            let (last, keep) = (size / limits::CHUNK_SIZE, size % limits::CHUNK_SIZE);
            if keep > 0 && size < contents.size {
                self.cut_chunk(ino, contents, last, keep)?;
            }
            let first_dropped = if keep > 0 { last + 1 } else { last };
            self.drop_chunks(ino, contents, first_dropped, usize::MAX)?;
        }
        contents.size = size;
        Ok(())
    }

    fn cut_chunk(
        &mut self,
        ino: Ino,
        contents: &mut Contents,
        index: u64,
        keep: u64,
    ) -> Result<()> {
        let Some(mut chunk) = self.view().chunk(ino, index)? else { return Ok(()) };
        chunk.cut(keep, self.view().superblock()?.version_floor)?;
        self.effects.has_cuts = true;
        let incarnation = chunk.incarnation;
        let bytes = chunk.bytes.min(keep);
        self.set_chunk_bytes(contents, ChunkKey { ino, index, incarnation }, chunk, bytes)
    }

    /// Forgets up to `limit` chunks of a file from an index on, and answers whether these were all.
    /// `contents` are changed but not stored.
    pub(super) fn drop_chunks(
        &mut self,
        ino: Ino,
        contents: &mut Contents,
        from: u64,
        limit: usize,
    ) -> Result<bool> {
        let (mut dropped, mut freed) = (0, 0);
        let is_finished = loop {
            let page = limits::LAYOUT_PAGE_MAX.min(limit - dropped);
            let chunks = self.view().chunks_from(ino, contents.size, from, page)?;
            let is_last = chunks.len() < page;
            dropped += chunks.len();
            for (index, chunk) in chunks {
                self.txn.delete(CHUNKS, &numbered_key(ino, index));
                freed += chunk.bytes;
                self.count_bytes(chunk.bytes, 0, &chunk.replicas)?;
                let key = ChunkKey { ino, index, incarnation: chunk.incarnation };
                self.effects.dropped.push(DroppedChunk { key, replicas: chunk.replicas });
            }
            if is_last || dropped == limit {
                break is_last;
            }
        };
        if dropped > 0 {
            // The places of the chunks are free; who takes them gets another name.
            contents.incarnation += 1;
            contents.bytes = contents.bytes.saturating_sub(freed);
        }
        Ok(is_finished)
    }
}

impl Chunk {
    pub(super) fn new(incarnation: u64, replicas: &[ServerId]) -> Self {
        Self {
            incarnation,
            version: FIRST_VERSION,
            cuts_from: FIRST_VERSION,
            cuts: Vec::new(),
            bytes: 0,
            replicas: replicas.to_vec(),
        }
    }

    pub(super) fn layout(self, ino: Ino, index: u64) -> ChunkLayout {
        ChunkLayout {
            key: ChunkKey { ino, index, incarnation: self.incarnation },
            version: self.version,
            cuts_from: self.cuts_from,
            cuts: self.cuts,
            bytes: self.bytes,
            replicas: self.replicas,
        }
    }

    /// Leaves the first `keep` bytes: to be done by the servers. The version is `floor` at least.
    fn cut(&mut self, keep: u64, floor: u64) -> Result<()> {
        // Who makes this cut needs none of those that would have left more.
        self.cuts.retain(|earlier| earlier.keep < keep);
        if self.cuts.len() >= limits::CUTS_PENDING_MAX {
            let message = "the servers of the chunk still have to carry out earlier truncations";
            return Err(FsError::new(ErrorKind::Busy, message));
        }
        self.version = (self.version + 1).max(floor);
        self.cuts.push(Cut { version: self.version, keep });
        Ok(())
    }

    /// Notes that all replicas have `version`, and answers whether that was news.
    pub(super) fn reached(&mut self, version: u64) -> bool {
        if version <= self.cuts_from || version > self.version {
            return false;
        }
        self.cuts.retain(|cut| cut.version > version);
        self.cuts_from = version;
        true
    }
}
