//! Locks of `fcntl(2)` and `flock(2)`, which hold across mounts.
//!
//! The library that speaks to the kernel does not tell which of the two a lock is. So both are
//! locks of ranges here, and those of `flock` cover the whole file: they see each other, as they do
//! on NFS.

use std::time::Duration;

use super::data::Cluster;
use super::fs::NativeFs;
use super::session::is_unknown_session;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::Packed;
use crate::proto::fs::SessionId;
use crate::proto::session::{GetLock, Lock, LockKind, SetLock};
use crate::types::Ino;

/// First and last byte of a lock on all that a file can have.
const WHOLE_FILE: (u64, u64) = (0, i64::MAX.cast_unsigned());

impl<C: Cluster> NativeFs<C> {
    /// The lock that stands in the way of `lock`, if any.
    ///
    /// # Errors
    /// Those of the master.
    pub async fn getlk(&self, ino: Ino, lock: Lock) -> Result<Option<Lock>> {
        let call = |session| GetLock { session, ino, lock: Packed(lock) };
        let Packed(found) = self.ask_in_session(call).await?;
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
            LockKind::Read | LockKind::Write => {}
        }
        loop {
            if self.ask_for_lock(ino, lock, wait_ms).await? {
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

    /// Asks once; answers whether the lock is set, or cleared.
    async fn ask_for_lock(&self, ino: Ino, lock: Lock, wait_ms: u64) -> Result<bool> {
        let session = self.session.id();
        match self.ask_for_lock_in(session, ino, lock, wait_ms).await {
            Err(error) if is_unknown_session(&error) => {}
            outcome => return outcome,
        }
        self.reattach(session).await;
        self.ask_for_lock_in(self.session.id(), ino, lock, wait_ms).await
    }

    async fn ask_for_lock_in(
        &self,
        session: SessionId,
        ino: Ino,
        lock: Lock,
        wait_ms: u64,
    ) -> Result<bool> {
        let held = &self.session.held;
        // Before the call: if its answer gets lost, the lock may have been set.
        let is_first = lock.kind != LockKind::Unlock && held.note(ino, lock.owner);
        let call = SetLock { session, ino, lock: Packed(lock), wait_ms };
        let answer = self.cluster.ask(call).await;
        let is_refused = match &answer {
            Ok(is_set) => !is_set,
            Err(error) => is_unknown_session(error),
        };
        let is_all_cleared =
            lock.kind == LockKind::Unlock && (lock.start, lock.end) == WHOLE_FILE && answer.is_ok();
        if is_first && is_refused || is_all_cleared {
            held.forget(ino, lock.owner);
        }
        answer
    }

    /// What others wrote under the lock counts from now on, whether or not its event has come.
    async fn see_others(&self, ino: Ino) -> Result<()> {
        let now = self.ask_attr(ino).await?.data_version;
        if self.cache.swap_pages(ino, now) {
            return Ok(());
        }
        self.tell_kernel(move |notify| notify.contents_now(ino)).await
    }

    /// Clears all locks that an owner has on a file.
    pub(super) async fn unlock_owner(&self, ino: Ino, owner: u64) {
        if !self.session.held.has(ino, owner) {
            return;
        }
        let (start, end) = WHOLE_FILE;
        let lock = Lock { owner, is_flock: false, kind: LockKind::Unlock, start, end, pid: 0 };
        if let Err(error) = self.ask_for_lock(ino, lock, 0).await {
            tracing::warn!(%ino, "a lock was not given back: {error}");
        }
    }
}
