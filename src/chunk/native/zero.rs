//! Making a range zeros, with or without giving its room back.

use std::sync::Arc;

use super::chunk::{BLOCK, Chunk};
use super::disk::ChunkFile;
use super::read::{block_of, in_memory};
use super::sum::Sum;
use super::{At, NativeStore, end_of, not_found};
use crate::error::Result;
use crate::types::ChunkKey;

impl NativeStore {
    /// Makes a range a hole. What lies behind the chunk's end is left alone.
    ///
    /// # Errors
    /// `NotFound` if there is no such chunk; else as [`NativeStore::truncate`].
    pub fn punch(&self, key: &ChunkKey, at: &At, offset: u64, length: u64) -> Result<()> {
        self.clear(key, at, (offset, length), |file, from, length| Ok(file.punch(from, length)?))
    }

    /// Makes a range zeros and keeps its room, or gets some. What lies behind the chunk's end is
    /// left alone.
    ///
    /// # Errors
    /// As [`NativeStore::punch`]; `NoSpace` if the disk is full, with the range zeros already.
    pub fn zero(&self, key: &ChunkKey, at: &At, offset: u64, length: u64) -> Result<()> {
        self.room.take(length)?;
        self.clear(key, at, (offset, length), |file, from, length| {
            file.punch(from, length)?;
            Ok(file.allocate(from, length)?)
        })
    }

    fn clear(
        &self,
        key: &ChunkKey,
        at: &At,
        (offset, length): (u64, u64),
        clear: impl Fn(&dyn ChunkFile, u64, u64) -> Result<()>,
    ) -> Result<()> {
        let end = end_of(offset, length)?;
        let chunk = self.chunk(key);
        if !self.state(&chunk)?.exists {
            return Err(not_found(key));
        }
        let hold = self.begin_whole(&chunk, at)?;
        let end = end.min(chunk.state().length);
        if offset >= end {
            return Ok(());
        }
        let blocks: Vec<usize> = (block_of(offset)..=block_of(end - 1)).collect();
        let sums = blocks.iter().map(|&block| self.sum_without(&chunk, block, (offset, end)));
        let sums = sums.collect::<Result<Vec<Sum>>>()?;
        self.mark(&chunk, &hold, &blocks)?;
        let file = self.file_to_write(&chunk)?;
        let result = clear(&*file, offset, end - offset);
        let mut state = chunk.state();
        blocks.into_iter().zip(sums).for_each(|(block, sum)| state.set_sum(block, sum));
        drop(state);
        result
    }

    /// The sum of a block when a range of the chunk is zeros. The caller holds the chunk.
    fn sum_without(&self, chunk: &Arc<Chunk>, block: usize, range: (u64, u64)) -> Result<Sum> {
        let sum = chunk.state().sum(block);
        let start = block as u64 * BLOCK;
        let from = in_memory(range.0.saturating_sub(start)).min(sum.len());
        let to = in_memory(range.1 - start).min(sum.len());
        if from == to {
            return Ok(sum);
        }
        if (from, to) == (0, sum.len()) {
            return Ok(Sum::HOLE);
        }
        let mut data = self.read_held(chunk, block, sum)?;
        if to == data.len() {
            data.truncate(from);
        } else {
            data[from..to].fill(0);
        }
        Ok(Sum::of(&data))
    }
}
