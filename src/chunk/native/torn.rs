//! A chunk that a power cut may have torn off.
//!
//! Bytes that no sync has covered are gone with the power, and whoever had them acknowledged knows that
//! they were there: the master has the file's size. So they must not read as the zeros that are behind
//! the end of a chunk. Whatever is behind the end of a torn chunk is an error, until it is written again
//! from there on, or cut off.

use super::chunk::State;
use crate::error::{ErrorKind, FsError, Result};
use crate::types::{ChunkKey, Extent};

impl State {
    /// Checks that none of the bytes up to `end` can have been lost.
    pub(super) fn check_not_torn(&self, key: &ChunkKey, end: u64) -> Result<()> {
        if self.is_torn && end > self.length { Err(torn(key, self.length)) } else { Ok(()) }
    }

    /// Checks that extents, in their order, leave no gap in which nobody could see any more that
    /// something was lost.
    pub(super) fn check_gaps(&self, key: &ChunkKey, extents: &[Extent]) -> Result<()> {
        let mut known = self.length;
        for extent in extents.iter().filter(|extent| !extent.data.is_empty()) {
            if self.is_torn && extent.offset > known {
                return Err(torn(key, self.length));
            }
            known = known.max(extent.end());
        }
        Ok(())
    }
}

fn torn(key: &ChunkKey, length: u64) -> FsError {
    let message = format!(
        "chunk {key}: the machine lost its power before what was behind {length} was synced"
    );
    FsError::new(ErrorKind::Corrupt, message)
}
