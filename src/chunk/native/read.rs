//! Reading a range, verified block by block.

use std::sync::Arc;

use bytes::Bytes;

use super::NativeStore;
use super::chunk::{BLOCK, Chunk};
use super::disk::ChunkFile;
use super::sum::Sum;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits::CHECKSUM_BLOCK_SIZE;
use crate::types::{ChunkKey, ChunkVersion};

impl NativeStore {
    /// Up to `length` bytes from `offset` on; fewer only at the chunk's end. Holes are zeros.
    ///
    /// A reader does not wait for writers: it takes the checksums of a moment and reads. If the
    /// block changes in between, the two do not fit, and the block is read again undisturbed.
    ///
    /// # Errors
    /// `NotFound` if there is no such chunk, `Stale` if it has another version, cuts made;
    /// `Corrupt` if a block does not fit its checksum, or a power cut may have taken some of the range.
    pub fn read(
        &self,
        key: &ChunkKey,
        at: &ChunkVersion,
        offset: u64,
        length: u64,
    ) -> Result<Bytes> {
        let chunk = self.chunk(key);
        let state = self.state_at(&chunk, at)?;
        state.check_not_torn(key, offset.saturating_add(length))?;
        let end = offset.saturating_add(length).min(state.length);
        if offset >= end {
            return Ok(Bytes::new());
        }
        let (first, last) = (block_of(offset), block_of(end - 1));
        let sums: Vec<Sum> = (first..=last).map(|block| state.sum(block)).collect();
        drop(state);
        if sums.iter().all(|sum| sum.is_hole()) {
            return Ok(Bytes::from(vec![0; in_memory(end - offset)]));
        }
        let start = first as u64 * BLOCK;
        let mut data = self.read_blocks(&chunk, first, &sums)?;
        // The last block was read as far as its checksum goes.
        let wanted = in_memory(end - start);
        data.resize(data.len().max(wanted), 0);
        let skipped = in_memory(offset - start);
        Ok(Bytes::from(data).slice(skipped..wanted))
    }

    /// The whole of some blocks in a row, verified; the last one as far as its checksum goes.
    fn read_blocks(&self, chunk: &Arc<Chunk>, first: usize, sums: &[Sum]) -> Result<Vec<u8>> {
        let file = self.disk.open(&chunk.key)?;
        let before_last = (sums.len() - 1) * CHECKSUM_BLOCK_SIZE;
        let length = before_last + sums.last().map_or(0, |sum| sum.len());
        let mut data = read_padded(file.as_deref(), first as u64 * BLOCK, length)?;
        for ((number, sum), block) in (first..).zip(sums).zip(data.chunks_mut(CHECKSUM_BLOCK_SIZE))
        {
            if sum.matches(block) {
                block[sum.len()..].fill(0);
            } else {
                let again = self.read_undisturbed(chunk, number)?;
                let common = again.len().min(block.len());
                block[..common].copy_from_slice(&again[..common]);
                block[common..].fill(0);
            }
        }
        Ok(data)
    }

    /// A block, verified, as far as its checksum goes, while nobody changes it.
    fn read_undisturbed(&self, chunk: &Arc<Chunk>, number: usize) -> Result<Vec<u8>> {
        let (_hold, state) = self.hold_blocks(chunk, &[number])?;
        let sum = state.sum(number);
        drop(state);
        self.read_held(chunk, number, sum)
    }

    /// A block, verified, as far as its checksum goes. The caller holds it.
    pub(super) fn read_held(&self, chunk: &Chunk, number: usize, sum: Sum) -> Result<Vec<u8>> {
        let file = self.disk.open(&chunk.key)?;
        let start = number as u64 * BLOCK;
        let data = read_padded(file.as_deref(), start, sum.len())?;
        if sum.matches(&data) {
            return Ok(data);
        }
        let message =
            format!("chunk {}: the block at {start} does not fit its checksum", chunk.key);
        Err(FsError::new(ErrorKind::Corrupt, message))
    }
}

/// The block in which an offset lies.
pub(super) fn block_of(offset: u64) -> usize {
    in_memory(offset / BLOCK)
}

/// A length within a chunk as a length in memory.
pub(super) fn in_memory(length: u64) -> usize {
    usize::try_from(length).expect("a chunk fits in memory")
}

/// A range of a file; what is missing of it is zeros.
fn read_padded(file: Option<&dyn ChunkFile>, offset: u64, length: usize) -> Result<Vec<u8>> {
    let mut data = file.map_or(Ok(Vec::new()), |file| file.read_at(offset, length))?;
    data.resize(length, 0);
    Ok(data)
}
