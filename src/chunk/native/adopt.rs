//! Making a value that a classic client has put the contents of a native file.

use bytes::Bytes;

use super::NativeStore;
use crate::error::Result;
use crate::limits::CHUNK_SIZE;
use crate::proto::gateway::Staged;
use crate::types::{ChunkKey, ChunkVersion, Extent, Key};

/// The values that classic clients have put, of which some are contents of files to be.
pub trait StagedValues: Send + Sync {
    /// The contents of a file of `size` bytes that a value means: the value itself if it is that
    /// long, else what it is the pickled form of. And which value it is.
    ///
    /// # Errors
    /// `NotFound` if there is no such value, `InvalidArgument` if it is no contents of that size.
    fn contents(&self, key: &Key, size: u64) -> Result<(Staged, Bytes)>;

    /// Removes a value if it is still the one with this token, or any if that is 0; says whether it
    /// did.
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
    /// Makes the value under `key` the contents of a file of `size` bytes, whose first chunk is
    /// `first`, and removes the value; the number of chunks it has become. A file over
    /// [`CHUNK_SIZE`] goes on in the chunks with the following indexes. What these held is
    /// replaced: with a newer version than theirs nobody takes the old for the new.
    ///
    /// # Errors
    /// As [`StagedValues::contents`] and [`NativeStore::write`]; the value is there still.
    pub fn adopt(
        &self,
        staged: &dyn StagedValues,
        key: &Key,
        (first, version): (&ChunkKey, u64),
        size: u64,
    ) -> Result<u64> {
        let (value, contents) = staged.contents(key, size)?;
        let count = self.write_chunks((first, version), contents, 1)?;
        staged.discard(key, value.token)?;
        Ok(count)
    }

    /// As [`NativeStore::adopt`], but leaves the value, so that a caller that dies can begin again;
    /// an empty file gets no chunk.
    ///
    /// # Errors
    /// As [`NativeStore::adopt`].
    pub fn take(
        &self,
        staged: &dyn StagedValues,
        key: &Key,
        first: (&ChunkKey, u64),
        size: u64,
    ) -> Result<Staged> {
        let (value, contents) = staged.contents(key, size)?;
        self.write_chunks(first, contents, 0)?;
        Ok(value)
    }

    /// Writes contents into chunks from the first one on, `count_min` of them at least.
    fn write_chunks(
        &self,
        (first, version): (&ChunkKey, u64),
        contents: Bytes,
        count_min: u64,
    ) -> Result<u64> {
        let at = ChunkVersion::of(version);
        let mut chunk = *first;
        let mut rest = contents;
        let mut count = 0;
        while !rest.is_empty() || count < count_min {
            let length = rest.len().min(usize::try_from(CHUNK_SIZE).unwrap_or(usize::MAX));
            let data = rest.split_to(length);
            self.truncate(&chunk, &at, 0)?;
            self.write(&chunk, &at, &[Extent { offset: 0, data }])?;
            chunk.index += 1;
            count += 1;
        }
        Ok(count)
    }
}
