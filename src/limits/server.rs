//! The limits of a server towards the network: bodies, connections, patience.

use std::time::Duration;

use super::{CALL_TIMEOUT, OPEN_CHUNK_FILES_MAX, WRITE_CALL_SIZE_MAX};

/// Largest body of a request or an answer, in bytes. One value of a hash table travels in one
/// body, as base64 (4 bytes for 3), so this also bounds a classic file.
pub const BODY_SIZE_MAX: usize = 512 << 20;

/// Bodies that a server holds in memory at once, in bytes, over all connections: those of requests as
/// far as they have arrived, and as much again of answers. Further ones wait their turn.
pub const BODIES_IN_MEMORY_MAX: usize = 1 << 30;

/// Those of one peer among them: the rest is for others, whatever one peer does. It is more than the
/// largest body, since all programs of one machine are one peer.
pub const BODIES_PER_PEER_MAX: usize = BODIES_IN_MEMORY_MAX / 4 * 3;

/// Memory that is reserved ahead of what has arrived of a body, in bytes, or as much as has arrived if
/// that is more. Calls of mounts are not larger, and grow in one step.
pub const BODY_AHEAD_MAX: usize = 4 << 20;

/// Longest time a request waits for room in memory.
pub const MEMORY_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest part of a body that is not base64 contents, in bytes: the XML that is built into values
/// of the heap, which take a multiple of their text.
pub const XML_SIZE_MAX: usize = 16 << 20;

/// Deepest nesting of XML elements in a body. A struct in an array in a call takes 11.
pub const XML_DEPTH_MAX: usize = 96;

/// Calls in one `system.multicall`.
pub const MULTICALL_MAX: usize = 1024;

/// Those of methods among them that make much more work than they are long: that reserve room on the
/// disk, copy chunks, write out whole tables, or wait for the disk.
pub const MULTICALL_HEAVY_MAX: usize = 16;

/// When a `system.multicall` begins with no further call: who waits for it has given up by then.
pub const MULTICALL_TIMEOUT: Duration = CALL_TIMEOUT;

/// Threads among which a process deals out its connections.
pub const SHARDS_MAX: usize = 16;

/// Connections a server serves at once.
pub const CONNECTIONS_MAX: usize = 1024;

/// Those of one peer among them: the rest is for others, whatever one peer does. A hundred mounts of
/// one machine, or behind one address, have some hundred.
pub const CONNECTIONS_PER_PEER_MAX: usize = CONNECTIONS_MAX / 4 * 3;

/// Connections that wait for a place; further ones are closed.
pub const CONNECTIONS_WAITING_MAX: usize = 1024;

/// Longest time that a connection waits for a place. Its peer has given up by then.
pub const PLACE_TIMEOUT: Duration = Duration::from_secs(30);

/// Time between two attempts to make a place free for a connection that waits.
pub const PLACE_PERIOD: Duration = Duration::from_millis(250);

/// Time in which nobody counts as slow: for a handshake, say, while many are under way.
pub const SLOWNESS_MIN: Duration = Duration::from_secs(3);

/// Slowest rate at which a peer sends or takes a body when others wait for its place or its memory, in
/// bytes per second. As long as nobody does, [`BODY_RATE_MIN`] holds.
pub const PRESSED_RATE_MIN: u64 = 1 << 20;

/// Descriptors that a server would like to have: for connections and those that wait, open chunks,
/// and the files of its tables.
pub const DESCRIPTORS_WANTED: u64 = 4096;

/// Longest time for a peer to finish its TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time for a peer to send the first request of a connection.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Silence on a connection after which the kernel asks whether its peer is still there.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// Longest time without a byte while a body is sent or an answer is taken.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Slowest rate at which a body may arrive, or an answer be taken, in bytes per second: who stays
/// below it for longer than [`STALL_TIMEOUT`], at the beginning or later, is not waited for. A peer
/// that sends a byte now and then would otherwise keep its place, and its room in memory, for ever. A
/// mount gives up a call that is slower; a classic client is waited for however long its file takes so.
pub const BODY_RATE_MIN: u64 = 32 << 10;

/// Longest time for requests under way to finish when a server stops.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

const _: () = {
    assert!(BODY_SIZE_MAX <= BODIES_PER_PEER_MAX && BODIES_PER_PEER_MAX < BODIES_IN_MEMORY_MAX);
    assert!(CONNECTIONS_PER_PEER_MAX < CONNECTIONS_MAX);
    assert!(BODY_RATE_MIN * CALL_TIMEOUT.as_secs() <= WRITE_CALL_SIZE_MAX as u64);
    assert!(WRITE_CALL_SIZE_MAX <= BODY_AHEAD_MAX);
    let descriptors = CONNECTIONS_MAX + CONNECTIONS_WAITING_MAX + 2 * OPEN_CHUNK_FILES_MAX;
    assert!((descriptors as u64) < DESCRIPTORS_WANTED);
    assert!(XML_SIZE_MAX < BODY_SIZE_MAX);
};
