//! Room on the disk that is kept for deletions, whoever else fills the rest: a file of real blocks,
//! which goes when a deletion finds no room, and comes back when there is plenty.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::FallocateFlags;

use crate::error::Result;
use crate::limits::{DELETION_RESERVE, DISK_RESERVE};
use crate::store::file;

/// The file, in the directory of the tables: fjall passes over names that it does not know.
const NAME: &str = "reserve";

/// The file of one store.
pub(super) struct Reserve {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Kept,
    Gone,
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
            State::Gone => DELETION_RESERVE,
            State::Kept | State::Impossible => 0,
        }
    }

    /// Makes the file if it is not there and there is room for it beside everything else.
    pub(super) fn keep(&self, free: u64) {
        let mut state = self.state();
        if *state != State::Gone || free <= DISK_RESERVE + DELETION_RESERVE {
            return;
        }
        *state = State::Kept;
        if let Err(error) = self.make() {
            *state = State::Impossible;
            fs::remove_file(&self.path).ok();
            tracing::info!("no room is kept for deletions: {error}");
        }
    }

    fn make(&self) -> Result<()> {
        // What is there was cut short by a crash.
        fs::remove_file(&self.path).ok();
        let file: File = file::create_private(&self.path)?;
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, DELETION_RESERVE)
            .map_err(std::io::Error::from)?;
        Ok(())
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
