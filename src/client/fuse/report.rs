//! Telling people, in the log, of errors that programs got: by paths, and each at most once a minute.

use crate::error::{ErrorKind, FsError};
use crate::ratelimit::RateLimit;

/// The reports of a mount.
#[derive(Debug, Default)]
pub(super) struct Reports(RateLimit);

impl Reports {
    /// Tells of an error, once and as loudly as it deserves: many errors are how programs find out how
    /// things are. `path` is only asked for if it is told.
    pub(super) fn tell(&self, operation: &str, path: impl FnOnce() -> String, error: &FsError) {
        let line = || format!("{operation} {}: {error}", path());
        match is_trouble(error.kind()) {
            true => self.0.warn(&error.to_string(), line),
            false => tracing::debug!("{}", line()),
        }
    }
}

/// Whether an error is news for whoever keeps the mount.
const fn is_trouble(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::NotFound
        | ErrorKind::Exists
        | ErrorKind::NotDirectory
        | ErrorKind::IsDirectory
        | ErrorKind::NotEmpty
        | ErrorKind::AccessDenied
        | ErrorKind::NotPermitted
        | ErrorKind::InvalidArgument
        | ErrorKind::NameTooLong
        | ErrorKind::TooManyLinks
        | ErrorKind::SymlinkLoop
        | ErrorKind::FileTooLarge
        | ErrorKind::NoAttribute
        | ErrorKind::BufferTooSmall
        | ErrorKind::TooBig
        | ErrorKind::CrossDevice
        | ErrorKind::BadHandle
        | ErrorKind::NoSuchOffset
        | ErrorKind::Unsupported
        // The kernel looks the name up anew.
        | ErrorKind::Stale
        | ErrorKind::WouldBlock
        | ErrorKind::Deadlock
        | ErrorKind::Interrupted => false,
        ErrorKind::NoSpace
        | ErrorKind::Busy
        | ErrorKind::NoLocks
        | ErrorKind::TooManyOpen
        | ErrorKind::TimedOut
        | ErrorKind::Unreachable
        | ErrorKind::UnknownServer
        | ErrorKind::Corrupt
        | ErrorKind::Protocol
        | ErrorKind::ReadOnly
        | ErrorKind::WrongCluster
        | ErrorKind::Io => true,
    }
}
