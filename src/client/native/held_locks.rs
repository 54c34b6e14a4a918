//! The locks that this mount may have, and what becomes of files whose locks are lost.
//!
//! The master frees the locks of a session that was not renewed in time: others get them, and
//! change what was guarded. A program that still believes in its lock must not go on. So all
//! descriptors of the file that were open then give `EIO`, as on NFS, until they are closed, and
//! what was written under the lock and not yet sent is dropped, which `close` and `fsync` tell.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::data::Cluster;
use super::fs::NativeFs;
use super::inodes::OpenFile;
use super::lock;
use crate::error::{ErrorKind, FsError, Result};
use crate::types::Ino;

/// Who may have locks, by file: the kernel's lock owners.
#[derive(Default)]
pub(super) struct HeldLocks(Mutex<HashMap<Ino, HashSet<u64>>>);

impl HeldLocks {
    /// Notes that an owner is about to get a lock. Answers whether he had none on the file.
    pub(super) fn note(&self, ino: Ino, owner: u64) -> bool {
        lock(&self.0).entry(ino).or_default().insert(owner)
    }

    /// The owner has no lock on the file any more.
    pub(super) fn forget(&self, ino: Ino, owner: u64) {
        let mut held = lock(&self.0);
        if let Some(owners) = held.get_mut(&ino) {
            owners.remove(&owner);
            if owners.is_empty() {
                held.remove(&ino);
            }
        }
    }

    /// Nobody has the file open any more, so nobody has a lock on it.
    pub(super) fn forget_file(&self, ino: Ino) {
        lock(&self.0).remove(&ino);
    }

    /// Whether the owner may have a lock on the file: only then it costs a call to free it.
    pub(super) fn has(&self, ino: Ino, owner: u64) -> bool {
        lock(&self.0).get(&ino).is_some_and(|owners| owners.contains(&owner))
    }

    /// Whether anybody may have a lock on the file.
    fn has_file(&self, ino: Ino) -> bool {
        lock(&self.0).contains_key(&ino)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    fn take(&self) -> Vec<Ino> {
        std::mem::take(&mut *lock(&self.0)).into_keys().collect()
    }
}

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
        if self.session.is_lease_over() && self.session.held.has_file(file.inode.ino) {
            self.lose_locks();
        }
        if file.inode.state().lock_losses == file.lock_losses { Ok(()) } else { Err(locks_lost()) }
    }

    /// All locks are free at the master, or may be.
    pub(super) fn lose_locks(&self) {
        let files = self.session.held.take();
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
