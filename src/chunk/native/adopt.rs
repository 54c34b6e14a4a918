//! Making a value that a classic client has put the contents of a native file.

use bytes::Bytes;

use super::NativeStore;
use crate::error::Result;
use crate::limits::CHUNK_SIZE;
use crate::proto::gateway::Staged;
use crate::types::{ChunkKey, ChunkVersion, Extent, Key};

/// The values that classic clients have put, of which some are contents of files to be.
pub trait StagedValues: Send + Sync {
    /// The contents of a file of `size` bytes that the latest value means that can: the value itself
    /// if it is that long, else what it is the pickled form of. And which value it is.
    ///
    /// # Errors
    /// `NotFound` if there is no value, `InvalidArgument` if none is contents of that size.
    fn contents(&self, key: &Key, size: u64) -> Result<(Staged, Bytes)>;

    /// Removes the value with this token and those that were staged before it, or all if that is 0;
    /// says whether there was one.
    ///
    /// # Errors
    /// What the disk says.
    fn discard(&self, key: &Key, token: u64) -> Result<bool>;

    /// Returns when everything acknowledged before the call is on the disk.
    ///
    /// # Errors
    /// What the disk says.
    fn sync(&self) -> Result<()>;
}

impl NativeStore {
    /// Writes the value under `key` into the chunks of a file of `size` bytes from `first` on. A file
    /// over [`CHUNK_SIZE`] goes on in the chunks with the following indexes; an empty one gets none.
    /// What these held is replaced: with a newer version than theirs nobody takes the old for the
    /// new. The value stays, so that a caller that dies can begin again.
    ///
    /// # Errors
    /// As [`StagedValues::contents`] and [`NativeStore::write`].
    pub fn take(
        &self,
        staged: &dyn StagedValues,
        key: &Key,
        (first, version): (&ChunkKey, u64),
        size: u64,
    ) -> Result<Staged> {
        let (value, contents) = staged.contents(key, size)?;
        let at = ChunkVersion::of(version);
        let mut chunk = *first;
        let mut rest = contents;
        while !rest.is_empty() {
            let length = rest.len().min(usize::try_from(CHUNK_SIZE).unwrap_or(usize::MAX));
            let data = rest.split_to(length);
            self.truncate(&chunk, &at, 0)?;
            self.write(&chunk, &at, &[Extent { offset: 0, data }])?;
            chunk.index += 1;
        }
        Ok(value)
    }
}
