//! Reserving room on the disk.

use super::{NativeStore, end_of};
use crate::error::Result;
use crate::types::{ChunkKey, ChunkVersion};

impl NativeStore {
    /// Reserves room for a range, so that writing there does not meet a full disk, and answers the
    /// bytes that the chunk takes up; with `extend`, the chunk becomes at least as long. Contents stay
    /// as they are. Makes the chunk if there is none.
    ///
    /// # Errors
    /// As [`NativeStore::write`]; after `NoSpace` nothing has changed but some room reserved.
    pub fn allocate(
        &self,
        key: &ChunkKey,
        at: &ChunkVersion,
        (offset, length): (u64, u64),
        extend: bool,
    ) -> Result<u64> {
        let end = end_of(offset, length)?;
        self.room.take(length)?;
        let chunk = self.chunk(key);
        let hold = self.begin_whole_or_make(&chunk, at)?;
        self.mark(&chunk, &hold, &[])?;
        let file = self.file_to_write(&chunk, end)?;
        if length > 0 {
            file.allocate(offset, length)?;
            chunk.state().reserved.add(offset, length);
        }
        let state = chunk.state();
        // What a power cut has taken would be zeros.
        let is_longer = end > state.length && !state.is_torn;
        drop(state);
        if extend && is_longer {
            file.set_length(end)?;
            chunk.state().length = end;
        }
        let taken = chunk.state().taken();
        Ok(taken)
    }
}
