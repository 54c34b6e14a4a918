//! The log and the backup of a hash table, as they are shown.

use crate::clock::Timestamp;

/// Where log and backup stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogState {
    /// Operations in the log.
    pub operations: u64,
    /// The backup is renewed when there are so many.
    pub backup_every: u64,
    /// Entries in the backup.
    pub backup_entries: u64,
    /// When it was renewed, if it ever was.
    pub renewed: Option<Timestamp>,
}

/// One operation in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its number; the first of all has 1.
    pub number: u64,
    /// What it does: `put`, `delete`, or the name of another method.
    pub what: String,
    /// To which key, or which server, in printable form.
    pub key: String,
    /// How many bytes there are now, if that means anything.
    pub size: Option<u64>,
    /// How many other entries it puts or deletes.
    pub more: u64,
}
