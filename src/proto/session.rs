//! Sessions of clients at the master: what a client holds open, what it must be told, its locks.
//!
//! A session lives as long as it is renewed. When it ends, whatever it held is free: files without
//! a name that only it had open, and its locks.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::proto::chunk::Optional;
use crate::proto::field::{Packed, method};
use crate::proto::fs::SessionId;
use crate::proto::values::Done;
use crate::types::{Change, ClusterId, Ino};

/// A new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its number, hard to guess.
    pub id: SessionId,
    /// It ends this long after the last renewal, in milliseconds.
    pub lease_ms: u64,
    /// Events after this number are news to it.
    pub last_event: u64,
    /// The cluster that the master is of.
    pub cluster: ClusterId,
}

/// What changed since the client asked last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// The number of the last of these; to be named in the next question.
    pub last_event: u64,
    /// Events were missed: nothing that is cached may be trusted.
    pub is_overflow: bool,
    /// What changed, oldest first; what the session did itself only if it asked for that.
    pub changes: Vec<Change>,
}

/// Whose lock, which part, what kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Who holds it within the session: the kernel's lock owner.
    pub owner: u64,
    /// A lock of `flock(2)`, which is about the whole file and never meets those of `fcntl(2)`.
    pub is_flock: bool,
    /// Read, write or unlock.
    pub kind: LockKind,
    /// First byte.
    pub start: u64,
    /// Last byte, included.
    pub end: u64,
    /// The process, for `F_GETLK`.
    pub pid: u32,
}

/// What a lock allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockKind {
    /// Shared with other readers.
    Read,
    /// Alone.
    Write,
    /// No lock.
    Unlock,
}

method! {
    /// Opens a session.
    [once] Attach = "fs.attach" {
        /// What people know the client by, for logs: UTF-8 text.
        client: Bytes,
        /// The cluster it was attached to before, "" if to none: another one refuses it.
        cluster: Optional<ClusterId>,
    } -> Packed<Session>
}

method! {
    /// Keeps a session alive and says which inodes it holds open.
    [repeatable] Renew = "fs.renew" {
        /// The session.
        session: SessionId,
        /// What it holds open.
        open: Packed<Vec<Ino>>,
    } -> Done
}

method! {
    /// Ends a session.
    [repeatable] Detach = "fs.detach" {
        /// The session.
        session: SessionId,
    } -> Done
}

method! {
    /// Waits until something changed, and tells what.
    [repeatable] WaitEvents = "fs.events" {
        /// The session.
        session: SessionId,
        /// The last event it knows.
        after: u64,
        /// How long to wait at most, in milliseconds; an empty answer then.
        wait_ms: u64,
        /// Whether to tell what the session did itself, too: it may not have got the answer.
        own: bool,
    } -> Packed<Events>
}

method! {
    /// Sets or clears a lock, waiting for others for a bounded time; answers whether it is held.
    [once] SetLock = "fs.setlk" {
        /// The session.
        session: SessionId,
        /// The file.
        ino: Ino,
        /// The lock.
        lock: Packed<Lock>,
        /// How long to wait at most, in milliseconds.
        wait_ms: u64,
    } -> bool
}

method! {
    /// The lock that stands in the way of one, if any.
    [repeatable] GetLock = "fs.getlk" {
        /// The session.
        session: SessionId,
        /// The file.
        ino: Ino,
        /// The lock one would like.
        lock: Packed<Lock>,
    } -> Packed<Option<Lock>>
}
