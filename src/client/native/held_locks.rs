//! What becomes of files whose locks are lost.
//!
//! The master frees the locks of a session that was not renewed in time: others get them, and
//! change what was guarded. A program that still believes in its lock must not go on. So all
//! descriptors of the file that were open then give `EIO`, as on NFS, until they are closed, and
//! what was written under the lock and not yet sent is dropped, which `close` and `fsync` tell.

use std::sync::atomic::Ordering;

use super::data::Cluster;
use super::fs::NativeFs;
use super::inodes::OpenFile;
use crate::error::{ErrorKind, FsError, Result};

/// The error for those who believe in a lock that is lost.
pub(super) fn locks_lost() -> FsError {
    FsError::new(ErrorKind::Io, "the locks on the file were lost with the session")
}

impl<C: Cluster> NativeFs<C> {
    /// Checks that no lock was lost on a file since the handle was opened.
    ///
    /// # Errors
    /// `Io` if one was.
    pub(super) fn check_locks(&self, file: &OpenFile) -> Result<()> {
        // The lease may have ended while nobody could ask the master.
        if self.session.is_lease_over() && self.session.locks.has_file(file.inode.ino) {
            self.lose_locks();
        }
        if file.inode.state().lock_losses == file.lock_losses { Ok(()) } else { Err(locks_lost()) }
    }

    /// All locks are free at the master, or may be.
    pub(super) fn lose_locks(&self) {
        let files = self.session.locks.lose();
        if files.is_empty() {
            return;
        }
        tracing::error!(
            files = files.len(),
            "the session was not renewed in time, and the locks of this mount are lost; \
             descriptors of the files that were locked give errors until they are closed"
        );
        for inode in files.into_iter().filter_map(|ino| self.inodes.get(ino)) {
            let mut state = inode.state();
            state.lock_losses += 1;
            state.fail(locks_lost());
            let dropped = state.dirty.byte_count();
            state.dirty.take();
            state.dirty_since = None;
            self.dirty_bytes.fetch_sub(dropped, Ordering::Relaxed);
        }
    }
}
