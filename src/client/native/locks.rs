//! Locks of `fcntl(2)` and `flock(2)`, which hold across mounts.
//!
//! The library that speaks to the kernel does not tell which of the two a lock is. So both are
//! locks of ranges here, and those of `flock` cover the whole file: they see each other, as they do
//! on NFS.

use std::time::Duration;

use super::data::Cluster;
use super::fs::NativeFs;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::Packed;
use crate::proto::session::{GetLock, Lock, LockKind, SetLock};
use crate::types::Ino;

impl<C: Cluster> NativeFs<C> {
    /// The lock that stands in the way of `lock`, if any.
    ///
    /// # Errors
    /// Those of the master.
    pub async fn getlk(&self, ino: Ino, lock: Lock) -> Result<Option<Lock>> {
        let call = GetLock { session: self.session.id(), ino, lock: Packed(lock) };
        let Packed(found) = self.cluster.ask(call).await?;
        Ok(found)
    }

    /// Sets or clears a lock. If it `waits`, it asks again and again until it has the lock or
    /// `is_interrupted` says that the process that wants it got a signal.
    ///
    /// # Errors
    /// `WouldBlock` if the lock is held by another and this does not wait; `Interrupted`;
    /// `Deadlock`; others of the master.
    pub async fn setlk(
        &self,
        ino: Ino,
        lock: Lock,
        waits: bool,
        is_interrupted: impl Fn() -> bool + Send,
    ) -> Result<()> {
        let wait = if waits { limits::LOCK_WAIT } else { Duration::ZERO };
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        match lock.kind {
            // Who gets the lock next sees what was written under it.
            LockKind::Unlock => {
                if let Some(inode) = self.inodes.get(ino) {
                    self.flush_inode(&inode).await?;
                }
            }
            LockKind::Read | LockKind::Write => self.session.note_locked(ino),
        }
        loop {
            let call = SetLock { session: self.session.id(), ino, lock: Packed(lock), wait_ms };
            if self.cluster.ask(call).await? {
                return match lock.kind {
                    LockKind::Unlock => Ok(()),
                    LockKind::Read | LockKind::Write => self.see_others(ino).await,
                };
            }
            if !waits {
                return Err(FsError::new(ErrorKind::WouldBlock, "another holds the lock"));
            }
            if is_interrupted() {
                return Err(FsError::new(ErrorKind::Interrupted, "a signal came"));
            }
        }
    }

    /// What others wrote under the lock counts from now on, whether or not its event has come.
    async fn see_others(&self, ino: Ino) -> Result<()> {
        let Some(inode) = self.inodes.get(ino) else { return Ok(()) };
        let before = inode.state().attr.data_version;
        let now = self.ask_attr(ino).await?.data_version;
        if now != before {
            self.cache.drop_pages(ino);
            self.notify.get().inspect(|notify| notify.contents(ino));
        }
        Ok(())
    }

    /// Clears all locks that an owner has on a file.
    pub(super) async fn unlock_owner(&self, ino: Ino, owner: u64) {
        if !self.session.has_locked(ino) {
            return;
        }
        let (start, end) = (0, i64::MAX.cast_unsigned());
        let lock = Lock { owner, is_flock: false, kind: LockKind::Unlock, start, end, pid: 0 };
        let call = SetLock { session: self.session.id(), ino, lock: Packed(lock), wait_ms: 0 };
        if let Err(error) = self.cluster.ask(call).await {
            tracing::warn!(%ino, "a lock was not given back: {error}");
        }
    }
}
