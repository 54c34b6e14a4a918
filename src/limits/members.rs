//! Of chunk servers as members of a cluster: how often they tell what, and when what nobody refers to
//! is removed.

use std::time::Duration;

/// Chunk servers without an identity that have no file, as those of the original programs at first. Each
/// costs the master little; but a file that is given to one that is not there is lost.
pub const SERVERS_UNUSED_MAX: usize = 1024;

/// Members without anything that are forgotten at once when there is no room for one more: looking for
/// them takes long, and they are back when they announce themselves again.
pub const MEMBERS_FORGOTTEN_AT_ONCE: usize = 1024;

/// Time between two announcements of a chunk server at the master, in the mean.
pub const JOIN_PERIOD: Duration = Duration::from_secs(5);

/// Longest time between two attempts of a chunk server to reach the master.
pub const JOIN_BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Time between two heartbeats of a chunk server.
pub const HEARTBEAT_PERIOD: Duration = Duration::from_secs(3);

/// Time until the next attempt after a heartbeat that failed.
pub const HEARTBEAT_RETRY: Duration = Duration::from_millis(500);

/// A chunk server that was silent for so long gets no new chunks.
pub const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(15);

/// Chunks that one answer to a heartbeat tells to delete.
pub const DELETIONS_PER_HEARTBEAT_MAX: usize = 1000;

/// Chunks that one `cluster.report` can name.
pub const REPORT_PAGE_MAX: usize = 1000;

/// A chunk that a server holds and no file refers to is set aside after this long, counted while the
/// server is up.
pub const STRAY_GRACE: Duration = Duration::from_secs(3600);

/// And removed after this long: time to notice that a master was started with older data.
pub const STRAY_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// So many chunks that no file refers to can be what crashes of clients and servers left. Of more,
/// none is touched if they are also more than one in [`STRAYS_SHARE`] chunks of the server.
pub const STRAYS_MANY: u64 = 100;

/// See [`STRAYS_MANY`].
pub const STRAYS_SHARE: u64 = 100;

/// Chunks without a file that a server keeps an eye on, in its memory; it comes to others when these
/// are gone.
pub const STRAYS_KNOWN_MAX: usize = 100_000;

/// Least time between two questions of a client, or chunk server, for where chunk servers are.
pub const ADDRESSES_AGE_MIN: Duration = Duration::from_millis(500);

/// How long a chunk server takes another one's URL for one of the cluster without asking again.
pub const REGISTERED_AGE_MAX: Duration = Duration::from_secs(60);

/// Time between two notes of how long a chunk server has been up.
pub const UPTIME_PERIOD: Duration = Duration::from_secs(60);

/// Longest time for a chunk server that joins to answer when it is called back.
pub const CALL_BACK_TIMEOUT: Duration = Duration::from_secs(5);

/// Silence after which a chunk server is called lost.
pub const SERVER_LOST_AFTER: Duration = Duration::from_secs(600);
