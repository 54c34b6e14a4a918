//! Finding data and holes.

use super::NativeStore;
use super::chunk::BLOCK;
use super::read::block_of;
use crate::error::Result;
use crate::limits::CHUNK_SIZE;
use crate::types::{ChunkKey, ChunkVersion, Whence};

impl NativeStore {
    /// The first offset from `offset` on with data, or with a hole; `None` if there is none in the
    /// chunk. What lies behind the end is a hole. Data begin where blocks begin, holes there or
    /// where what was written in a block ends.
    ///
    /// # Errors
    /// As [`NativeStore::read`].
    pub fn seek(
        &self,
        key: &ChunkKey,
        at: &ChunkVersion,
        offset: u64,
        whence: Whence,
    ) -> Result<Option<u64>> {
        let chunk = self.chunk(key);
        let state = self.state_at(&chunk, at)?;
        let mut offset = offset;
        while offset < state.length {
            let start = offset - offset % BLOCK;
            let data_end = start + state.sum(block_of(offset)).len() as u64;
            match whence {
                Whence::Data if offset < data_end => return Ok(Some(offset)),
                Whence::Hole if offset >= data_end => return Ok(Some(offset)),
                Whence::Hole => offset = data_end,
                Whence::Data => offset = start + BLOCK,
            }
        }
        if state.is_torn {
            // Whoever looks for data must come across what was lost.
            return Ok(Some(offset).filter(|&at| whence == Whence::Data && at < CHUNK_SIZE));
        }
        Ok(Some(offset).filter(|&offset| whence == Whence::Hole && offset < CHUNK_SIZE))
    }
}
