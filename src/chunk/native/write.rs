//! Writing ranges.

use std::sync::Arc;

use super::chunk::BLOCK;
use super::disk::ChunkFile;
use super::read::{block_of, in_memory};
use super::small::is_small;
use super::sum::Sum;
use super::{NativeStore, end_of};
use crate::error::Result;
use crate::limits;
use crate::types::{ChunkKey, ChunkVersion, Extent};

impl NativeStore {
    /// Writes extents in their order, and answers the bytes that the chunk takes up. Makes the
    /// chunk if there is none. Writes to different blocks go on side by side.
    ///
    /// # Errors
    /// `Stale` if the chunk has another version, cuts made; `FileTooLarge` behind the end of a chunk,
    /// `NoSpace` if the disk is full. If anything was written before the error, it is whole bytes
    /// with checksums that fit.
    pub fn write(&self, key: &ChunkKey, at: &ChunkVersion, extents: &[Extent]) -> Result<u64> {
        for extent in extents {
            end_of(extent.offset, extent.data.len() as u64)?;
        }
        self.limit_dirty()?;
        let chunk = self.chunk(key);
        let (hold, sums) = self.begin_write(&chunk, at, extents)?;
        self.room.take(growth(&sums, hold.blocks(), extents))?;
        let file = self.file_to_write(&chunk, end_of_all(extents))?;
        let mut writing = Writing { file, blocks: hold.blocks(), sums, end: 0, is_unknown: false };
        let result = extents.iter().try_for_each(|extent| writing.write(extent));
        let Writing { sums, end, is_unknown, .. } = writing;
        let mut state = chunk.state();
        state.is_broken |= is_unknown;
        for (&block, sum) in hold.blocks().iter().zip(sums) {
            state.set_sum(block, sum);
        }
        state.length = state.length.max(end);
        let taken = state.taken();
        drop(state);
        result.map(|()| taken)
    }

    /// Syncs, if so many chunks wait for it that they would fill the memory.
    fn limit_dirty(&self) -> Result<()> {
        if self.must_sync_first() { self.sync_all() } else { Ok(()) }
    }

    /// Whether so many chunks wait for a sync that the next write has to make one.
    fn must_sync_first(&self) -> bool {
        super::lock(&self.dirty).len() >= limits::DIRTY_CHUNKS_MAX
    }

    /// Whether a write would, as things are, wait for a sync before it changes anything.
    pub(super) fn waits_for_disk(&self, key: &ChunkKey, extents: &[Extent]) -> bool {
        self.must_sync_first() || self.has_unmarked(key, extents) || self.outgrows(key, extents)
    }

    /// Whether a chunk is too large for the index after a write, and was not before.
    fn outgrows(&self, key: &ChunkKey, extents: &[Extent]) -> bool {
        let length = self.chunk(key).state().length;
        length > 0 && is_small(length) && !is_small(end_of_all(extents))
    }
}

fn end_of_all(extents: &[Extent]) -> u64 {
    extents.iter().map(Extent::end).max().unwrap_or_default()
}

/// Bytes by which the blocks grow, at most: what the disk has to have room for.
fn growth(sums: &[Sum], blocks: &[usize], extents: &[Extent]) -> u64 {
    let covered: u64 = sums.iter().map(|sum| sum.len() as u64).sum();
    let written: u64 = extents.iter().map(|extent| extent.data.len() as u64).sum();
    // Blocks that are full already cannot grow.
    written.min(blocks.len() as u64 * BLOCK - covered)
}

/// A write under way.
struct Writing<'a> {
    file: Arc<dyn ChunkFile>,
    blocks: &'a [usize],
    /// The sums of these blocks, as the file is now.
    sums: Vec<Sum>,
    /// The end of what was written.
    end: u64,
    /// Whether there is a block that has changed and cannot be read.
    is_unknown: bool,
}

impl Writing<'_> {
    fn write(&mut self, extent: &Extent) -> Result<()> {
        if extent.data.is_empty() {
            return Ok(());
        }
        let before = self.overwritten(extent)?;
        let result = self.file.write_at(extent.offset, &extent.data);
        let written = result.as_ref().map_or_else(|(written, _)| *written, |()| extent.data.len());
        let mut data = &extent.data[..written];
        for (slot, old) in before {
            if data.is_empty() {
                break; // the disk took no more
            }
            let offset = extent.end() - (extent.data.len() - written + data.len()) as u64;
            let room = in_memory(BLOCK - offset % BLOCK).min(data.len());
            let (part, rest) = data.split_at(room);
            match self.sum_after(slot, offset, &old, part) {
                Ok(sum) => self.sums[slot] = sum,
                Err(error) => {
                    self.is_unknown = true;
                    tracing::error!("cannot see what a failed write has left: {error}");
                }
            }
            data = rest;
        }
        if written > 0 {
            self.end = self.end.max(extent.offset + written as u64);
        }
        result.map_err(|(_, error)| error.into())
    }

    /// The sum of a block after `part` was written at `offset`, over `old`.
    fn sum_after(&self, slot: usize, offset: u64, old: &[u8], part: &[u8]) -> Result<Sum> {
        let (at, sum) = (in_memory(offset % BLOCK), self.sums[slot]);
        let overwritten = part.len().min(sum.len().saturating_sub(at));
        if overwritten == part.len().min(old.len()) || at == 0 && part.len() >= sum.len() {
            return Ok(sum.write(at, &old[..overwritten.min(old.len())], part));
        }
        // The whole block was to be written, and the disk was full in the middle of it.
        Ok(Sum::of(&self.file.read_at(offset - at as u64, sum.len())?))
    }

    /// For every block of an extent its place among `blocks`, and the bytes there that the new
    /// ones take the place of, as far as the sum covers them.
    fn overwritten(&self, extent: &Extent) -> Result<Vec<(usize, Vec<u8>)>> {
        let first = block_of(extent.offset);
        let slot = self.blocks.binary_search(&first).expect("all blocks of the call are held");
        let numbers = first..=block_of(extent.end() - 1);
        // Extents have no gaps, so their blocks stand side by side.
        (slot..)
            .zip(numbers)
            .map(|(slot, number)| {
                let start = number as u64 * BLOCK;
                let from = extent.offset.max(start);
                let to = extent.end().min(start + self.sums[slot].len() as u64);
                if from >= to
                    || (from == start && extent.end() >= start + self.sums[slot].len() as u64)
                {
                    return Ok((slot, Vec::new()));
                }
                let length = in_memory(to - from);
                let mut old = self.file.read_at(from, length)?;
                old.resize(length, 0);
                Ok((slot, old))
            })
            .collect()
    }
}
