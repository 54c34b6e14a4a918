//! Room on the disk that is kept for deletions, whoever else fills the rest: a file of real blocks,
//! which goes when a deletion finds no room, and comes back when there is plenty.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::error::{ErrorKind, Result};
use crate::limits::{DELETION_RESERVE, DISK_RESERVE};
use crate::store::file;

/// The file, in the directory of the tables: fjall passes over names that it does not know.
const NAME: &str = "reserve";

/// Time after which the file is tried to be made again.
const RETRY_PERIOD: Duration = Duration::from_secs(60);

/// The file of one store.
pub(super) struct Reserve {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Kept,
    Gone,
    /// It could not be made, at this moment.
    Failed(Instant),
    /// The file system gives no room beforehand.
    Impossible,
}

impl Reserve {
    /// The reserve of the store in a directory, as an earlier process left it.
    pub(super) fn of(store: &Path) -> Self {
        let path = store.join(NAME);
        let is_whole = |found: fs::Metadata| found.blocks() * 512 >= DELETION_RESERVE;
        let is_kept = fs::metadata(&path).is_ok_and(is_whole);
        let state = Mutex::new(if is_kept { State::Kept } else { State::Gone });
        Self { path, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of what is free that are to be left for deletions, because the file is not there.
    pub(super) fn missing(&self) -> u64 {
        match *self.state() {
            State::Gone | State::Failed(_) => DELETION_RESERVE,
            State::Kept | State::Impossible => 0,
        }
    }

    /// Makes the file if it is not there and there is room for it beside everything else.
    /// If that fails, it is tried again later, unless the file system cannot do it.
    pub(super) fn keep(&self, free: u64) {
        self.keep_with(free, || self.make());
    }

    fn keep_with(&self, free: u64, make: impl FnOnce() -> Result<()>) {
        let mut state = self.state();
        let is_wanted = match *state {
            State::Gone => true,
            State::Failed(at) => at.elapsed() >= RETRY_PERIOD,
            State::Kept | State::Impossible => false,
        };
        if !is_wanted || free <= DISK_RESERVE + DELETION_RESERVE {
            return;
        }
        *state = State::Kept;
        if let Err(error) = make() {
            *state = match error.kind() {
                ErrorKind::Unsupported => State::Impossible,
                _ => State::Failed(Instant::now()),
            };
            fs::remove_file(&self.path).ok();
            tracing::info!("no room is kept for deletions: {error}");
        }
    }

    fn make(&self) -> Result<()> {
        // What is there was cut short by a crash.
        fs::remove_file(&self.path).ok();
        let file: File = file::create_private(&self.path)?;
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, DELETION_RESERVE).map_err(
            |errno| match errno {
                // By the kernel, or by a file system in user space.
                Errno::NOSYS => std::io::Error::from(Errno::OPNOTSUPP).into(),
                _ => std::io::Error::from(errno).into(),
            },
        )
    }

    /// Gives the room to whoever deletes; says whether there was any.
    pub(super) fn release(&self) -> bool {
        let mut state = self.state();
        if *state != State::Kept {
            return false;
        }
        match fs::remove_file(&self.path) {
            Ok(()) => {
                *state = State::Gone;
                tracing::warn!("the disk is full: the room that was kept for deletions is used");
                true
            }
            Err(error) => {
                tracing::error!("the room that is kept for deletions cannot be used: {error}");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{DELETION_RESERVE, RETRY_PERIOD, Reserve, State};
    use crate::error::{ErrorKind, FsError, Result};

    const PLENTY: u64 = 1 << 40;

    fn failure(kind: ErrorKind) -> Result<()> {
        Err(FsError::new(kind, "it fails"))
    }

    #[test]
    fn a_passing_failure_is_no_reason_to_keep_no_room_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::of(dir.path());
        for kind in [ErrorKind::NoSpace, ErrorKind::Io] {
            reserve.keep_with(PLENTY, || failure(kind));
            assert_eq!(reserve.missing(), DELETION_RESERVE);
            reserve.keep_with(PLENTY, || panic!("it is too early"));
            *reserve.state() = State::Failed(Instant::now().checked_sub(RETRY_PERIOD).unwrap());
        }
        reserve.keep_with(PLENTY, || Ok(()));
        assert!(*reserve.state() == State::Kept);
    }

    #[test]
    fn what_the_file_system_cannot_do_is_not_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::of(dir.path());
        reserve.keep_with(PLENTY, || failure(ErrorKind::Unsupported));
        assert!(*reserve.state() == State::Impossible && reserve.missing() == 0);
    }
}
