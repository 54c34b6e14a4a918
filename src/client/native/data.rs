//! What the native client asks the chunk servers: contents of chunks, in ranges.

use std::future::Future;

use bytes::Bytes;

use crate::error::Result;
use crate::types::{ChunkKey, ChunkLayout, Extent, ServerId, Whence};

/// A change of a chunk other than writing to it. Offsets and lengths are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkChange {
    /// Make the cuts of the layout, nothing else.
    Cut,
    /// Reserve room; contents stay.
    Allocate {
        /// Where the range begins.
        offset: u64,
        /// How long it is.
        length: u64,
    },
    /// Make a hole.
    Punch {
        /// Where the range begins.
        offset: u64,
        /// How long it is.
        length: u64,
    },
    /// Make zeros and keep the room.
    Zero {
        /// Where the range begins.
        offset: u64,
        /// How long it is.
        length: u64,
    },
}

/// The chunk servers. Every call names the chunk by its layout: the replicas to ask, the version
/// they must have, and the cuts that bring one up to it that is behind.
///
/// All are `Stale` if a replica has another version than that, cuts made: the layout is old.
pub trait ChunkIo: Send + Sync + 'static {
    /// Up to `length` bytes; fewer only at the chunk's end, none from a chunk that was never
    /// written. Takes another replica if one fails.
    ///
    /// # Errors
    /// `Stale`; `Corrupt` if no replica has the bytes whole; no answer.
    fn read(
        &self,
        chunk: &ChunkLayout,
        offset: u64,
        length: u64,
    ) -> impl Future<Output = Result<Bytes>> + Send;

    /// Writes extents to every replica and answers the bytes that the chunk takes up now.
    ///
    /// # Errors
    /// `Stale`; `NoSpace`; no answer.
    fn write(
        &self,
        chunk: &ChunkLayout,
        extents: Vec<Extent>,
    ) -> impl Future<Output = Result<u64>> + Send;

    /// Changes every replica and answers the bytes that the chunk takes up now.
    ///
    /// # Errors
    /// As [`ChunkIo::write`].
    fn change(
        &self,
        chunk: &ChunkLayout,
        change: ChunkChange,
    ) -> impl Future<Output = Result<u64>> + Send;

    /// The first offset from `offset` on with data, or a hole; `None` if there are no data, or no
    /// hole before the end of the full chunk.
    ///
    /// # Errors
    /// As [`ChunkIo::read`].
    fn seek(
        &self,
        chunk: &ChunkLayout,
        offset: u64,
        target: Whence,
    ) -> impl Future<Output = Result<Option<u64>>> + Send;

    /// Copies between two chunks without the bytes coming here, if one server has both; answers
    /// the bytes that the target takes up now, or `None` if no server does.
    ///
    /// # Errors
    /// As [`ChunkIo::write`].
    fn copy(
        &self,
        source: (&ChunkLayout, u64),
        target: (&ChunkLayout, u64),
        length: u64,
    ) -> impl Future<Output = Result<Option<u64>>> + Send;

    /// Returns when these chunks are on the disk of the server.
    ///
    /// # Errors
    /// What the disk says; no answer.
    fn sync(
        &self,
        server: &ServerId,
        chunks: Vec<ChunkKey>,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// Master and chunk servers together: all that a native client talks to.
pub trait Cluster: super::meta::Meta + ChunkIo {}

impl<T: super::meta::Meta + ChunkIo> Cluster for T {}
