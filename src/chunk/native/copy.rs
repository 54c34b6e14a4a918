//! Copying ranges from chunk to chunk, without the contents' passing through a client.

use bytes::Bytes;

use super::{NativeStore, end_of};
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::types::{ChunkKey, ChunkVersion, Extent, Whence};

/// Where contents are copied from: this server or another.
pub trait ChunkSource {
    /// As [`NativeStore::read`].
    ///
    /// # Errors
    /// As there; and what can go wrong on the way.
    fn read(&self, key: &ChunkKey, at: &ChunkVersion, offset: u64, length: u64) -> Result<Bytes>;

    /// As [`NativeStore::seek`].
    ///
    /// # Errors
    /// As there; and what can go wrong on the way.
    fn seek(
        &self,
        key: &ChunkKey,
        at: &ChunkVersion,
        offset: u64,
        whence: Whence,
    ) -> Result<Option<u64>>;
}

impl ChunkSource for NativeStore {
    fn read(&self, key: &ChunkKey, at: &ChunkVersion, offset: u64, length: u64) -> Result<Bytes> {
        Self::read(self, key, at, offset, length)
    }

    fn seek(
        &self,
        key: &ChunkKey,
        at: &ChunkVersion,
        offset: u64,
        whence: Whence,
    ) -> Result<Option<u64>> {
        Self::seek(self, key, at, offset, whence)
    }
}

/// A place in a chunk to copy from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFrom {
    /// The chunk.
    pub key: ChunkKey,
    /// Its version.
    pub at: ChunkVersion,
    /// Bytes from its beginning.
    pub offset: u64,
}

impl NativeStore {
    /// Copies `length` bytes to `offset` in a chunk, and answers the bytes it holds then. Makes the
    /// chunk if there is none. What the source does not have is zeros, and its holes become holes.
    ///
    /// # Errors
    /// What reading or writing says; some of it may be copied then. `InvalidArgument` if the two
    /// ranges overlap.
    pub fn copy(
        &self,
        source: &dyn ChunkSource,
        from: &CopyFrom,
        (key, at): (&ChunkKey, &ChunkVersion),
        offset: u64,
        length: u64,
    ) -> Result<u64> {
        let end = end_of(from.offset, length)?;
        if from.key == *key && from.offset.abs_diff(offset) < length {
            let message = "a range cannot be copied onto a part of itself";
            return Err(FsError::new(ErrorKind::InvalidArgument, message));
        }
        self.lengthen(key, at, end_of(offset, length)?)?;
        let mut position = from.offset;
        while position < end {
            let target = offset + (position - from.offset);
            match next_piece(source, from, position, end)? {
                Piece::Hole(length) => {
                    self.punch(key, at, target, length)?;
                    position += length;
                }
                Piece::Data(data) => {
                    position += data.len() as u64;
                    self.write(key, at, &[Extent { offset: target, data }])?;
                }
            }
        }
        let chunk = self.chunk(key);
        Ok(self.state(&chunk)?.taken())
    }
}

/// The next part of a source.
enum Piece {
    /// So many bytes that were never written.
    Hole(u64),
    Data(Bytes),
}

/// What the source has at `position`, up to `end`.
fn next_piece(source: &dyn ChunkSource, from: &CopyFrom, position: u64, end: u64) -> Result<Piece> {
    let find = |whence| source.seek(&from.key, &from.at, position, whence);
    let data_at = find(Whence::Data)?.unwrap_or(end).min(end);
    if data_at > position {
        return Ok(Piece::Hole(data_at - position));
    }
    // Whole blocks are verified: pieces end where blocks do.
    let piece_end = end.min((position / limits::COPY_PIECE + 1) * limits::COPY_PIECE);
    let data_end = find(Whence::Hole)?.unwrap_or(end).min(piece_end);
    let data = source.read(&from.key, &from.at, position, data_end - position)?;
    // It may have been cut meanwhile.
    Ok(if data.is_empty() { Piece::Hole(data_end - position) } else { Piece::Data(data) })
}
