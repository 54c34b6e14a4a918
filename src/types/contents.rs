//! Contents of chunks as they are asked for: ranges, versions, what a server holds.

use bytes::Bytes;

use super::{ChunkLayout, Cut};

/// Which version of a chunk somebody means, and how a replica that is behind gets there.
///
/// A replica of this version is as meant. One that is older, but not older than `cuts_from`, makes
/// the cuts above its version; then it is, too. Any other is stale, or the caller's knowledge is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkVersion {
    /// The version.
    pub version: u64,
    /// The oldest version that the cuts bring up to it; the same as that without cuts.
    pub cuts_from: u64,
    /// The cuts, in any order.
    pub cuts: Vec<Cut>,
    /// Bytes were written to the chunk before. A server that does not have it has lost it, and must
    /// not make it anew as if what was in it had been zeros.
    pub must_exist: bool,
}

impl ChunkVersion {
    /// A version, and nothing that brings up an older one.
    #[must_use]
    pub fn of(version: u64) -> Self {
        Self { version, cuts_from: version, cuts: Vec::new(), must_exist: false }
    }
}

impl From<&ChunkLayout> for ChunkVersion {
    fn from(layout: &ChunkLayout) -> Self {
        let ChunkLayout { version, cuts_from, ref cuts, bytes, .. } = *layout;
        Self { version, cuts_from, cuts: cuts.clone(), must_exist: bytes > 0 }
    }
}

/// A piece of contents and where in a chunk it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Bytes from the beginning of the chunk.
    pub offset: u64,
    /// The contents.
    pub data: Bytes,
}

impl Extent {
    /// The offset behind the last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.data.len() as u64)
    }
}

/// What to look for in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// Bytes that were written.
    Data,
    /// Bytes that were not; those behind the end count.
    Hole,
}

/// A chunk from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkStat {
    /// The version of its contents.
    pub version: u64,
    /// Its length, in bytes.
    pub length: u64,
    /// Bytes in it that are no holes.
    pub held: u64,
}

/// The room of a chunk server, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// The size of its disk.
    pub total: u64,
    /// What can still be written.
    pub free: u64,
    /// What its chunks hold, holes aside.
    pub held: u64,
}
