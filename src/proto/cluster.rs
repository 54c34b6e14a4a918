//! `cluster.*`: what chunk servers tell the master about their native chunks, and which of them
//! they may delete.

use crate::proto::field::{Packed, method};
use crate::proto::values::Done;
use crate::types::{ChunkKey, ServerUrl};

method! {
    /// A chunk server is alive, has this much room, and has deleted these chunks. Answers some
    /// chunks that no file refers to any more: it deletes them and says so the next time.
    [repeatable] Heartbeat = "cluster.heartbeat" {
        /// Its URL, as in cluster.join.
        server: ServerUrl,
        /// Bytes on its disk.
        total: u64,
        /// Bytes that can still be written.
        free: u64,
        /// Bytes that its chunks take up.
        held: u64,
        /// What it has deleted since the last heartbeat, for good.
        deleted: Packed<Vec<ChunkKey>>,
    } -> Packed<Vec<ChunkKey>>
}

method! {
    /// Some of the chunks that a server holds. Those that no file refers to are deleted through
    /// cluster.heartbeat, after a time of grace.
    [repeatable] Report = "cluster.report" {
        /// Its URL.
        server: ServerUrl,
        /// What it holds.
        held: Packed<Vec<ChunkKey>>,
    } -> Done
}
