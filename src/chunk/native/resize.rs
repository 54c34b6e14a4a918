//! Cutting and lengthening a chunk.

use std::sync::Arc;

use super::chunk::{BLOCK, Chunk, Hold};
use super::disk::ChunkFile;
use super::read::{block_of, in_memory};
use super::record::{self, Head};
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
        let taken = chunk.state().taken();
        Ok(taken)
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
    fn set_length(&self, chunk: &Arc<Chunk>, hold: &Hold<'_>, length: u64) -> Result<()> {
        let state = chunk.state();
        let (old, is_torn) = (state.length, state.is_torn);
        drop(state);
        if length < old || is_torn && length == old {
            return self.shorten(chunk, hold, length, None);
        }
        if is_torn {
            return Ok(()); // what was lost would be zeros
        }
        let file = self.file_to_write(chunk, length)?;
        self.mark(chunk, hold, &[])?;
        file.set_length(length)?;
        chunk.state().length = length;
        Ok(())
    }

    /// Cuts a chunk. With `version`, it has that version afterwards: both for good, whatever
    /// happens. If it fails, the chunk is behind that version still, and whoever names it tries
    /// again. The caller holds the whole of it.
    pub(super) fn shorten(
        &self,
        chunk: &Arc<Chunk>,
        _: &Hold<'_>,
        length: u64,
        version: Option<u64>,
    ) -> Result<()> {
        let (last, at) = (block_of(length), length % BLOCK);
        let sum = chunk.state().sum(last);
        // Only a verified block tells the sum of its beginning.
        let kept = if at != 0 && sum.len() as u64 > at {
            Sum::of(&self.read_held(chunk, last, sum)?[..in_memory(at)])
        } else {
            sum
        };
        let file = self.file_to_write(chunk, length)?;
        self.mark_cut(chunk, length, version)?;
        file.set_length(length)?;
        let mut state = chunk.state();
        state.drop_blocks(if at == 0 { last } else { last + 1 });
        state.reserved.remove(length, u64::MAX);
        if at != 0 {
            state.set_sum(last, kept);
            state.touch(last);
        }
        state.length = length;
        let was_torn = std::mem::take(&mut state.is_torn);
        match version {
            Some(version) => {
                drop(state);
                self.settle_cut(chunk, &*file, version)
            }
            None if was_torn => {
                let version = state.version;
                self.commit_version(chunk, &mut state, version)
            }
            None => Ok(()),
        }
    }

    /// Gets it onto the disk that a chunk is about to be cut to this length. With a version, a start
    /// makes the cut if it is not made, until [`NativeStore::settle_cut`].
    fn mark_cut(&self, chunk: &Arc<Chunk>, length: u64, version: Option<u64>) -> Result<()> {
        let number = u32::try_from(length / BLOCK).expect("a chunk has few blocks");
        let mut state = chunk.state();
        state.check_sound(&chunk.key)?;
        self.note_dirty(chunk, &mut state);
        state.is_touched = true;
        state.touched_from = Some(state.touched_from.map_or(number, |from| from.min(number)));
        let is_marked = state.cut.is_some_and(|cut| cut <= number);
        let needs_mark = !is_marked && length < state.synced_length();
        if !needs_mark && version.is_none() {
            return Ok(());
        }
        let head = match version {
            Some(version) => Head { version, cut_to: Some(length), ..state.recorded },
            None => state.recorded,
        };
        let cut = if needs_mark { Some(number) } else { state.cut };
        let marks = state.marks_with_cut(cut);
        let commit = self.index.commit(|txn| {
            record::put_head(txn, &chunk.key, &head);
            record::put_marks(txn, &chunk.key, &marks);
            Ok(())
        })?;
        // The chunk has the version when the cut is made, not before: what is behind the cut is
        // still there, and nobody who names the version may see it.
        (state.recorded, state.cut) = (head, cut);
        drop(state);
        self.index.sync_to(commit)
    }

    /// The cut is made for good, and what is written from now on must survive the next start: as long
    /// as the record has the cut, nothing is written at its version.
    fn settle_cut(&self, chunk: &Arc<Chunk>, file: &dyn ChunkFile, version: u64) -> Result<()> {
        if let Err(error) = file.sync() {
            chunk.state().is_broken = true;
            return Err(error.into());
        }
        let mut state = chunk.state();
        self.commit_version(chunk, &mut state, version)
    }
}
