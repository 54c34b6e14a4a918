//! Cutting and lengthening a chunk.

use std::sync::Arc;

use super::chunk::{BLOCK, Chunk, Hold};
use super::read::{block_of, in_memory};
use super::record;
use super::sum::Sum;
use super::{NativeStore, end_of};
use crate::error::Result;
use crate::types::{ChunkKey, ChunkVersion};

impl NativeStore {
    /// Sets a chunk's length, and answers the bytes it holds then; what is new are zeros. Makes the
    /// chunk if there is none.
    ///
    /// # Errors
    /// As [`NativeStore::write`]; `Corrupt` if the last block that stays is damaged.
    pub fn truncate(&self, key: &ChunkKey, at: &ChunkVersion, length: u64) -> Result<u64> {
        end_of(0, length)?;
        let chunk = self.chunk(key);
        let hold = self.begin_whole_or_make(&chunk, at)?;
        self.set_length(&chunk, &hold, length)?;
        let held = chunk.state().held;
        Ok(held)
    }

    /// Makes a chunk at least so long; what is new are zeros. Makes the chunk if there is none.
    pub(super) fn lengthen(&self, key: &ChunkKey, at: &ChunkVersion, length: u64) -> Result<()> {
        end_of(0, length)?;
        let chunk = self.chunk(key);
        let hold = self.begin_whole_or_make(&chunk, at)?;
        let is_shorter = chunk.state().length < length;
        if is_shorter { self.set_length(&chunk, &hold, length) } else { Ok(()) }
    }

    /// Cuts or lengthens a chunk. The caller holds the whole of it.
    pub(super) fn set_length(
        &self,
        chunk: &Arc<Chunk>,
        hold: &Hold<'_>,
        length: u64,
    ) -> Result<()> {
        let state = chunk.state();
        let (is_cut, last, at) = (length < state.length, block_of(length), length % BLOCK);
        let sum = state.sum(last);
        drop(state);
        let file = self.file_to_write(chunk)?;
        if !is_cut {
            self.mark(chunk, hold, &[])?;
            file.set_length(length)?;
            chunk.state().length = length;
            return Ok(());
        }
        // Only a verified block tells the sum of its beginning.
        let kept = if at != 0 && sum.len() as u64 > at {
            Sum::of(&self.read_held(chunk, last, sum)?[..in_memory(at)])
        } else {
            sum
        };
        self.mark_cut(chunk, length)?;
        file.set_length(length)?;
        let mut state = chunk.state();
        state.drop_blocks(if at == 0 { last } else { last + 1 });
        if at != 0 {
            state.set_sum(last, kept);
            state.touch(last);
        }
        state.length = length;
        Ok(())
    }

    /// Gets it onto the disk that a chunk is about to be cut to this length.
    fn mark_cut(&self, chunk: &Arc<Chunk>, length: u64) -> Result<()> {
        let number = u32::try_from(length / BLOCK).expect("a chunk has few blocks");
        let mut state = chunk.state();
        state.check_sound(&chunk.key)?;
        self.note_dirty(chunk, &mut state);
        state.is_touched = true;
        state.touched_from = Some(state.touched_from.map_or(number, |from| from.min(number)));
        let is_known = state.cut.is_some_and(|cut| cut <= number);
        if is_known || length >= state.synced_length() {
            return Ok(());
        }
        let before = state.cut.replace(number);
        let marks = state.marks();
        let committed = self.index.commit(|txn| {
            record::put_marks(txn, &chunk.key, &marks);
            Ok(())
        });
        drop(state);
        let synced = committed.and_then(|commit| self.index.sync_to(commit));
        synced.inspect_err(|_| chunk.state().cut = before)
    }
}
