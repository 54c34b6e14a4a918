//! `cluster.*`: what chunk servers tell the master about their native chunks, and which of them
//! they may delete.

use crate::proto::field::{Field, Packed, method};
use crate::proto::values::{Done, to_server_url};
use crate::rpc::Value;
use crate::rpc::method::{WrongType, type_name};
use crate::types::{ChunkKey, ServerUrl};

/// URLs of chunk servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrls(pub Vec<ServerUrl>);

impl Field for ServerUrls {
    const TYPE: &'static str = "array";

    fn into_value(self) -> Value {
        Value::Array(self.0.into_iter().map(Field::into_value).collect())
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        match value {
            Value::Array(urls) => {
                Ok(Self(urls.into_iter().map(to_server_url).collect::<Result<_, _>>()?))
            }
            other => Err(WrongType::new(format!("expected array, got {}", type_name(&other)))),
        }
    }
}

method! {
    /// The chunk servers that the master knows.
    [repeatable] ListServers = "cluster.servers" {} -> ServerUrls
}

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
