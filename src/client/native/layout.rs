//! Where the chunks of one open file are, as far as the client was told.

use std::collections::HashMap;

use crate::extent::chunk_count;
use crate::limits;
use crate::types::ChunkLayout;

/// Chunks by index; `None` is a hole. What is not in the map was not asked for yet.
#[derive(Debug, Default)]
pub(super) struct LayoutCache {
    chunks: HashMap<u64, Option<ChunkLayout>>,
}

impl LayoutCache {
    pub(super) fn get(&self, index: u64) -> Option<&Option<ChunkLayout>> {
        self.chunks.get(&index)
    }

    /// The chunk, if it is known to be there.
    pub(super) fn chunk(&self, index: u64) -> Option<&ChunkLayout> {
        self.chunks.get(&index)?.as_ref()
    }

    /// All chunks that are known, if the first `count` are known, or known to be holes.
    pub(super) fn all(&self, count: u64) -> Option<Vec<ChunkLayout>> {
        let is_known = count <= self.chunks.len() as u64
            && (0..count).all(|index| self.chunks.contains_key(&index));
        is_known.then(|| self.chunks.values().flatten().cloned().collect())
    }

    /// Takes what the master told of some chunks.
    pub(super) fn learn(&mut self, chunks: Vec<ChunkLayout>) {
        if self.chunks.len() + chunks.len() > limits::LAYOUT_CACHED_MAX {
            self.chunks.clear();
        }
        for chunk in chunks {
            self.chunks.insert(chunk.key.index, Some(chunk));
        }
    }

    /// Takes the answer for a whole range of indexes: what is not in it is a hole.
    pub(super) fn learn_range(&mut self, from: u64, count: u64, chunks: Vec<ChunkLayout>) {
        if self.chunks.len() as u64 + count > limits::LAYOUT_CACHED_MAX as u64 {
            self.chunks.clear();
        }
        self.chunks.extend((from..from + count).map(|index| (index, None)));
        self.learn(chunks);
    }

    /// Takes what came with the opening of a file of this size: all of its chunks, if it is small.
    pub(super) fn learn_opened(&mut self, size: u64, chunks: Vec<ChunkLayout>) {
        if chunk_count(size) == 1 && !chunks.is_empty() {
            return self.learn_range(0, 1, chunks);
        }
        self.learn(chunks);
    }

    /// A chunk was written to: this is what it takes up.
    pub(super) fn set_bytes(&mut self, index: u64, bytes: u64) {
        if let Some(Some(chunk)) = self.chunks.get_mut(&index) {
            // The writer made all cuts there were.
            chunk.bytes = bytes;
        }
    }

    pub(super) fn clear(&mut self) {
        self.chunks.clear();
    }
}
