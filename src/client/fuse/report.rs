//! Telling people, in the log, of errors that programs got: by paths, and each at most once a minute.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{ErrorKind, FsError};
use crate::limits;

/// Time after which an error is told again, if there is still reason to.
const PERIOD: Duration = Duration::from_secs(60);

/// What was told lately.
#[derive(Debug, Default)]
pub(super) struct Reports {
    told: Mutex<HashMap<String, Told>>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    /// How often it happened since, and was not told.
    held_back: u64,
}

impl Reports {
    fn told(&self) -> MutexGuard<'_, HashMap<String, Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of an error, once and as loudly as it deserves: many errors are how programs find out how
    /// things are. `path` is only asked for if it is told.
    pub(super) fn tell(&self, operation: &str, path: impl FnOnce() -> String, error: &FsError) {
        if !is_trouble(error.kind()) {
            tracing::debug!("{operation} {}: {error}", path());
            return;
        }
        match self.take_turn(&error.to_string(), Instant::now()) {
            None => tracing::debug!("{operation} {}: {error}", path()),
            Some(0) => tracing::warn!("{operation} {}: {error}", path()),
            Some(more) => tracing::warn!("{operation} {}: {error} ({more} more before)", path()),
        }
    }

    /// Whether it is time to tell of something, and how often it was not told since the last time.
    fn take_turn(&self, what: &str, now: Instant) -> Option<u64> {
        let mut all = self.told();
        let is_recent = |told: &Told| now.saturating_duration_since(told.at) < PERIOD;
        if let Some(told) = all.get_mut(what) {
            if is_recent(told) {
                told.held_back += 1;
                return None;
            }
            told.at = now;
            return Some(std::mem::take(&mut told.held_back));
        }
        if all.len() >= limits::REPORTS_MAX {
            all.retain(|_, told| is_recent(told));
        }
        // With so many different ones, the log is no worse for one more that is told again.
        if all.len() < limits::REPORTS_MAX {
            all.insert(what.to_owned(), Told { at: now, held_back: 0 });
        }
        Some(0)
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{PERIOD, Reports};

    #[test]
    fn what_is_repeated_is_told_once_a_minute_and_counted() {
        let (reports, start) = (Reports::default(), Instant::now());
        assert_eq!(reports.take_turn("a", start), Some(0));
        assert_eq!(reports.take_turn("a", start + PERIOD / 2), None);
        assert_eq!(reports.take_turn("b", start + PERIOD / 2), Some(0));
        assert_eq!(reports.take_turn("a", start + PERIOD), Some(1));
        assert_eq!(reports.take_turn("a", start + PERIOD), None);
    }
}
