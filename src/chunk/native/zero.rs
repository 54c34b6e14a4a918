//! Making a range zeros, with or without giving its room back.

use std::sync::Arc;

use super::chunk::{BLOCK, Chunk};
use super::disk::ChunkFile;
use super::load::read_data;
use super::mark::Touched;
use super::read::in_memory;
use super::sum::Sum;
use super::{NativeStore, end_of};
use crate::error::Result;
use crate::types::{ChunkKey, ChunkVersion};

impl NativeStore {
    /// Makes a range a hole, and answers the bytes that the chunk holds then. What lies behind its
    /// end is left alone.
    ///
    /// # Errors
    /// `NotFound` if there is no such chunk; else as [`NativeStore::truncate`].
    pub fn punch(
        &self,
        key: &ChunkKey,
        at: &ChunkVersion,
        offset: u64,
        length: u64,
    ) -> Result<u64> {
        self.clear(key, at, (offset, length), |_, _, _, _| Ok(()))
    }

    /// Makes a range zeros and keeps its room, or gets some; answers the bytes that the chunk holds
    /// then. What lies behind its end is left alone.
    ///
    /// # Errors
    /// As [`NativeStore::punch`]; `NoSpace` if the disk is full, with the range zeros already.
    pub fn zero(&self, key: &ChunkKey, at: &ChunkVersion, offset: u64, length: u64) -> Result<u64> {
        self.room.take(length)?;
        self.clear(key, at, (offset, length), |chunk, file, from, length| {
            file.allocate(from, length)?;
            chunk.state().reserved.add(from, length);
            Ok(())
        })
    }

    fn clear(
        &self,
        key: &ChunkKey,
        at: &ChunkVersion,
        (offset, length): (u64, u64),
        afterwards: impl Fn(&Chunk, &dyn ChunkFile, u64, u64) -> Result<()>,
    ) -> Result<u64> {
        let end = end_of(offset, length)?;
        let chunk = self.chunk(key);
        let hold = self.begin_whole(&chunk, at)?;
        let state = chunk.state();
        let (length, taken) = (state.length, state.taken());
        // Behind the end there may be room that was only reserved.
        let end = end.min(length.max(state.reserved.end()));
        drop(state);
        if offset >= end {
            return Ok(taken);
        }
        let blocks: Vec<Touched> = Touched::range(offset, end.min(length)).collect();
        let sums = blocks.iter().map(|t| self.sum_without(&chunk, t.block, (offset, end)));
        let sums = sums.collect::<Result<Vec<Sum>>>()?;
        self.mark(&chunk, &hold, &blocks)?;
        let file = self.file_to_write(&chunk, length)?;
        let punched = file.punch(offset, end - offset);
        let sums = if punched.is_ok() { sums } else { self.sums_of(&chunk, &*file, &blocks) };
        let mut state = chunk.state();
        blocks.iter().zip(sums).for_each(|(touched, sum)| state.set_sum(touched.block, sum));
        drop(state);
        punched?;
        // Also what the range had reserved is gone.
        chunk.state().reserved.remove(offset, end);
        afterwards(&chunk, &*file, offset, end - offset)?;
        let taken = chunk.state().taken();
        Ok(taken)
    }

    /// The sums of blocks of which nobody knows what a failure has left in the file. They are marked,
    /// and the file has the last word, as after a crash.
    fn sums_of(&self, chunk: &Arc<Chunk>, file: &dyn ChunkFile, blocks: &[Touched]) -> Vec<Sum> {
        let sum = |touched: &Touched| {
            let start = touched.block as u64 * BLOCK;
            let length = file.length()?.min(start + BLOCK);
            Ok(Sum::of(&read_data(file, start, length)?))
        };
        let sums: Result<Vec<Sum>> = blocks.iter().map(sum).collect();
        sums.unwrap_or_else(|error| {
            chunk.state().is_broken = true;
            tracing::error!(chunk = %chunk.key, "cannot see what a failed change has left: {error}");
            blocks.iter().map(|touched| chunk.state().sum(touched.block)).collect()
        })
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
