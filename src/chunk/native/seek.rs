//! Finding data and holes.

use super::chunk::BLOCK;
use super::read::block_of;
use super::{At, NativeStore};
use crate::error::{ErrorKind, FsError, Result};
use crate::types::ChunkKey;

/// What to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// Bytes that were written.
    Data,
    /// Bytes that were not; the end of the chunk is one.
    Hole,
}

impl NativeStore {
    /// The first offset from `offset` on with data, or with a hole. A hole is told from data by
    /// whole blocks, and at the end of what was written in a block.
    ///
    /// # Errors
    /// `NoSuchOffset` if there are no data up to the end, or `offset` lies behind it; else as
    /// [`NativeStore::read`].
    pub fn seek(&self, key: &ChunkKey, at: &At, offset: u64, whence: Whence) -> Result<u64> {
        let chunk = self.chunk(key);
        let state = self.readable(&chunk, at)?;
        let mut at = offset;
        while at < state.length {
            let start = at - at % BLOCK;
            let data_end = start + state.sum(block_of(at)).len() as u64;
            match whence {
                Whence::Data if at < data_end => return Ok(at),
                Whence::Hole if at >= data_end => return Ok(at),
                Whence::Hole => at = data_end,
                Whence::Data => at = start + BLOCK,
            }
        }
        if whence == Whence::Hole && offset < state.length {
            return Ok(state.length);
        }
        let message = format!("chunk {key} has no data from {offset} on");
        Err(FsError::new(ErrorKind::NoSuchOffset, message))
    }
}
