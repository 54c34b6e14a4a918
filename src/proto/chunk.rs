//! `chunk.*`: native contents at a chunk server. Each method has the name of the operation of the
//! store behind it.
//!
//! A chunk's key is its text, `<inode>.<index>` or `<inode>.<index>.<incarnation>`. Offsets and
//! lengths are in bytes, from the beginning of the chunk. Methods that change a chunk answer the
//! bytes it holds afterwards, holes aside.

mod fields;

use bytes::Bytes;

use crate::limits::{CHUNK_LIST_MAX, CHUNK_SIZE};
use crate::proto::field::{Field, method};
use crate::proto::values::Done;
use crate::rpc::{Method, Params, Value, WrongType};
use crate::types::{ChunkKey, ChunkStat, ChunkVersion, Extent, ServerId, Space, Whence};

/// What a [`Listed`] takes in memory as a value, in bytes, at most about.
const LISTED_SIZE: u64 = 512;

method! {
    /// Up to length bytes from offset on; fewer only at the chunk's end. Holes are zeros.
    [repeatable] Read = "chunk.read" {
        /// Which chunk.
        chunk: ChunkKey,
        /// In which version.
        version: ChunkVersion,
        /// Where to begin.
        offset: u64,
        /// How much.
        length: u64,
    } -> Bytes, at most |call| call.length.min(CHUNK_SIZE)
}

method! {
    /// Writes pieces of contents, each an array of its offset and its base64, in their order. Makes
    /// the chunk if there is none.
    [repeatable] Write = "chunk.write" {
        /// Which chunk.
        chunk: ChunkKey,
        /// In which version.
        version: ChunkVersion,
        /// The pieces.
        extents: Vec<Extent>,
    } -> u64
}

method! {
    /// Cuts a chunk, or makes it longer, by zeros. Makes the chunk if there is none.
    [repeatable] Truncate = "chunk.truncate" {
        /// Which chunk.
        chunk: ChunkKey,
        /// In which version.
        version: ChunkVersion,
        /// Its length then.
        length: u64,
    } -> u64
}

method! {
    /// Makes the cuts that come with the version, unless the chunk has made them. Does nothing to a
    /// chunk that is newer.
    [repeatable] MakeCuts = "chunk.cut" {
        /// Which chunk.
        chunk: ChunkKey,
        /// The version it has then, with its cuts.
        version: ChunkVersion,
    } -> u64
}

method! {
    /// Reserves room on the disk for a range; contents stay as they are. Makes the chunk if there
    /// is none.
    [repeatable] Allocate = "chunk.allocate" {
        /// Which chunk.
        chunk: ChunkKey,
        /// In which version.
        version: ChunkVersion,
        /// Where the range begins.
        offset: u64,
        /// How long it is.
        length: u64,
        /// Whether the chunk becomes as long as the range reaches.
        extend: bool,
    } -> u64
}

method! {
    /// Makes a range a hole, up to the chunk's end.
    [repeatable] Punch = "chunk.punch" {
        /// Which chunk.
        chunk: ChunkKey,
        /// In which version.
        version: ChunkVersion,
        /// Where the range begins.
        offset: u64,
        /// How long it is.
        length: u64,
    } -> u64
}

method! {
    /// Makes a range zeros, up to the chunk's end, and keeps its room on the disk.
    [repeatable] Zero = "chunk.zero" {
        /// Which chunk.
        chunk: ChunkKey,
        /// In which version.
        version: ChunkVersion,
        /// Where the range begins.
        offset: u64,
        /// How long it is.
        length: u64,
    } -> u64
}

method! {
    /// The first offset from offset on with "data" or a "hole"; -1 if there is none in the chunk.
    /// What lies behind its end is a hole.
    [repeatable] Seek = "chunk.seek" {
        /// Which chunk.
        chunk: ChunkKey,
        /// In which version.
        version: ChunkVersion,
        /// Where to begin.
        offset: u64,
        /// What to look for.
        whence: Whence,
    } -> Found
}

method! {
    /// Copies a range of another chunk, from another server if that is named (else ""), without
    /// its passing through the caller. Makes the chunk if there is none.
    [repeatable] Copy = "chunk.copy" {
        /// The server that has the other chunk; this one if empty.
        from_server: Optional<ServerId>,
        /// The other chunk.
        from_chunk: ChunkKey,
        /// In which version.
        from_version: ChunkVersion,
        /// Where the range begins.
        from_offset: u64,
        /// The chunk to write to.
        chunk: ChunkKey,
        /// In which version.
        version: ChunkVersion,
        /// Where the copy begins.
        offset: u64,
        /// How long it is.
        length: u64,
    } -> u64
}

method! {
    /// Deletes chunks, for good: those that are not here are deleted already.
    [repeatable] Delete = "chunk.delete" {
        /// Which.
        chunks: Vec<ChunkKey>,
    } -> Done
}

method! {
    /// What a chunk is: {"version", "length", "held": the bytes that are no holes}.
    [repeatable] Stat = "chunk.stat" {
        /// Which chunk.
        chunk: ChunkKey,
    } -> ChunkStat
}

method! {
    /// The chunks that the server holds, in pages: an array of [key, version, length, held] for
    /// those behind a key ("" for the first page); an empty one at the end.
    [repeatable] List = "chunk.list" {
        /// The last key of the page before.
        after: Optional<ChunkKey>,
        /// Chunks at most.
        limit: u32,
    } -> Vec<Listed>, at most |call| u64::from(call.limit).min(CHUNK_LIST_MAX as u64) * LISTED_SIZE
}

method! {
    /// The server's room, in bytes: {"total", "free", "held": what its chunks hold, holes aside}.
    [repeatable] GetSpace = "chunk.space" {} -> Space
}

method! {
    /// Whether this is the chunk server with an identity, and its process has a number, as in
    /// cluster.join. The number itself is told to nobody: who knows it can speak for the server.
    [repeatable] IsProcess = "chunk.identity" {
        /// Which server.
        server: ServerId,
        /// The number of its process.
        process: u64,
    } -> bool
}

/// `chunk.sync(chunks)`: everything written to these chunks is on the disk; without the parameter
/// everything that the server has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncChunks {
    /// Which chunks; `None` for everything.
    pub chunks: Option<Vec<ChunkKey>>,
}

impl Method for SyncChunks {
    const NAME: &'static str = "chunk.sync";
    const HELP: &'static str = "chunk.sync(chunks): returns True when everything that was written \
        to these chunks before the call is on the disk; without chunks, everything that the server \
        has acknowledged.";
    const SIGNATURES: &'static [&'static [&'static str]] = &[&["boolean"], &["boolean", "array"]];
    const REPEATABLE: bool = true;
    type Answer = Done;

    fn into_params(self) -> Vec<Value> {
        self.chunks.map(Field::into_value).into_iter().collect()
    }

    fn from_params(mut params: Params) -> Result<Self, WrongType> {
        let chunks = params.take_if_any("chunks", Field::from_value)?;
        params.finish()?;
        Ok(Self { chunks })
    }
}

/// A parameter that may be an empty text instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Optional<T>(pub Option<T>);

/// The answer of [`Seek`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found(pub Option<u64>);

/// A chunk in a page of [`List`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: ChunkKey,
    /// What it is.
    pub stat: ChunkStat,
}
