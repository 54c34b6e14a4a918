//! Copying ranges from chunk to chunk, without the contents' passing through a client.

use bytes::Bytes;

use super::{At, Extent, NativeStore, Whence, end_of};
use crate::error::{ErrorKind, Result};
use crate::limits;
use crate::types::ChunkKey;

/// Where contents are copied from: this server or another.
pub trait ChunkSource {
    /// As [`NativeStore::read`].
    ///
    /// # Errors
    /// As there; and what can go wrong on the way.
    fn read(&self, key: &ChunkKey, at: &At, offset: u64, length: u64) -> Result<Bytes>;

    /// As [`NativeStore::seek`].
    ///
    /// # Errors
    /// As there; and what can go wrong on the way.
    fn seek(&self, key: &ChunkKey, at: &At, offset: u64, whence: Whence) -> Result<u64>;
}

impl ChunkSource for NativeStore {
    fn read(&self, key: &ChunkKey, at: &At, offset: u64, length: u64) -> Result<Bytes> {
        Self::read(self, key, at, offset, length)
    }

    fn seek(&self, key: &ChunkKey, at: &At, offset: u64, whence: Whence) -> Result<u64> {
        Self::seek(self, key, at, offset, whence)
    }
}

/// A place in a chunk to copy from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFrom {
    /// The chunk.
    pub key: ChunkKey,
    /// Its version, at least.
    pub at: At,
    /// Bytes from its beginning.
    pub offset: u64,
}

impl NativeStore {
    /// Copies `length` bytes to `offset` in a chunk; makes the chunk if there is none. What the
    /// source does not have is zeros, and its holes become holes.
    ///
    /// # Errors
    /// What reading or writing says; some of it may be copied then. `InvalidArgument` if the two
    /// ranges overlap.
    pub fn copy(
        &self,
        source: &dyn ChunkSource,
        from: &CopyFrom,
        (key, at): (&ChunkKey, &At),
        offset: u64,
        length: u64,
    ) -> Result<()> {
        let end = end_of(from.offset, length)?;
        self.lengthen(key, at, end_of(offset, length)?)?;
        let mut position = from.offset;
        while position < end {
            let find = |whence, limit: u64| match source.seek(&from.key, &from.at, position, whence)
            {
                Ok(found) => Ok(found.min(limit)),
                Err(error) if error.kind() == ErrorKind::NoSuchOffset => Ok(limit),
                Err(error) => Err(error),
            };
            let target = offset + (position - from.offset);
            let data_at = find(Whence::Data, end)?;
            if data_at > position {
                self.punch(key, at, target, data_at - position)?;
                position = data_at;
                continue;
            }
            // Whole blocks are verified: pieces end where blocks do.
            let piece_end = (position / limits::COPY_PIECE + 1) * limits::COPY_PIECE;
            let data_end = find(Whence::Hole, piece_end.min(end))?;
            let data = source.read(&from.key, &from.at, position, data_end - position)?;
            if data.is_empty() {
                break;
            }
            position += data.len() as u64;
            self.write(key, at, &[Extent { offset: target, data }])?;
        }
        Ok(())
    }
}
