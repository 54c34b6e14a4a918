//! `cluster.*`: which chunk servers there are and where, what they tell the master about their native
//! chunks, and which of them they may delete.

use serde::{Deserialize, Serialize};

use crate::proto::chunk::Optional;
use crate::proto::field::{Field, Packed, method};
use crate::proto::values::{Done, to_server_url};
use crate::rpc::Value;
use crate::rpc::method::{WrongType, type_name};
use crate::types::{ChunkKey, ClusterId, ServerId, ServerUrl};

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
    /// A chunk server announces itself: which one it is, and where. It keeps its place in the cluster
    /// wherever it is started. Answers the cluster it belongs to from now on.
    [repeatable] Join = "cluster.join" {
        /// Which server: a random number that was made with its data.
        server: ServerId,
        /// Where it is.
        url: ServerUrl,
        /// Its cluster, "" if it has none yet.
        cluster: Optional<ClusterId>,
        /// How often it has been started. One that was started more often takes the place at once of a
        /// process that is gone; any other when that one's heartbeats have stopped.
        boot: u64,
        /// Another random number for every start, which only the server and its master know.
        process: u64,
        /// Bytes of values that it holds: the size it starts with.
        held: u64,
        /// Whether it holds chunks of files already.
        has_chunks: bool,
    } -> ClusterId
}

method! {
    /// The chunk servers with an identity of their own, and where they are: arrays of the identity
    /// that files name, the identity to call, and the URL. The first two differ only for files that
    /// were made before there were identities.
    [repeatable] ListMembers = "cluster.members" {} -> Vec<Member>
}

/// Where a chunk server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// By what files name it.
    pub named: ServerId,
    /// Which one it is.
    pub server: ServerId,
    /// Its URL.
    pub url: ServerUrl,
}

method! {
    /// A chunk server is alive, has this much room, and has deleted these chunks. Answers what it is
    /// to do.
    [repeatable] Heartbeat = "cluster.heartbeat" {
        /// Which server.
        server: ServerId,
        /// Its cluster.
        cluster: ClusterId,
        /// The number of its process, as in cluster.join.
        process: u64,
        /// Bytes on its disk.
        total: u64,
        /// Bytes that can still be written.
        free: u64,
        /// Bytes that its chunks take up.
        held: u64,
        /// A number for its disk, which servers that share it have in common; 0 if it is not known.
        disk: u64,
        /// What it has deleted since the last heartbeat, for good.
        deleted: Packed<Vec<ChunkKey>>,
        /// The chunks it has that no file refers to.
        strays: Packed<Strays>,
    } -> Packed<Orders>
}

/// What a chunk server is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// Chunks that no file refers to any more: it deletes them and says so the next time.
    pub delete: Vec<ChunkKey>,
    /// Somebody has confirmed that its strays may go.
    pub may_remove_strays: bool,
    /// The commits of the master that are on its disk, counted since its data were made; 0 if it has
    /// not synced any since its start. Less than before means that its data were set back.
    pub commits: u64,
}

/// The chunks of a server that no file refers to, although nobody has deleted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strays {
    /// Chunks on the server.
    pub chunks: u64,
    /// Strays among them.
    pub strays: u64,
    /// Strays that were set aside, in its folder `lost+found`.
    pub set_aside: u64,
    /// Seconds until the first of them is removed, if any will be.
    pub removed_in_s: Option<u64>,
    /// They are too many to be an accident of single files, or the data of the master are older than
    /// they were: none is touched until somebody says so.
    pub is_held_back: bool,
}

method! {
    /// Some of the chunks that a server holds, with their versions. Answers those that no file refers
    /// to.
    [repeatable] Report = "cluster.report" {
        /// Which server.
        server: ServerId,
        /// Its cluster.
        cluster: ClusterId,
        /// The number of its process, as in cluster.join.
        process: u64,
        /// What it holds.
        held: Packed<Vec<(ChunkKey, u64)>>,
    } -> Packed<Vec<ChunkKey>>
}

method! {
    /// The strays of every server: arrays of its identity, its URL, and what it says of them.
    [repeatable] ListStrays = "cluster.strays" {} -> Packed<Vec<ServerStrays>>
}

/// The strays of one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStrays {
    /// Which server.
    pub server: ServerId,
    /// Where it is.
    pub url: ServerUrl,
    /// What it said last.
    pub strays: Strays,
}

method! {
    /// Lets a server remove its strays, however many there are, as soon as it hears of it.
    [repeatable] RemoveStrays = "cluster.remove_strays" {
        /// Which server.
        server: ServerId,
    } -> Done
}
