//! Locks of `fcntl(2)` and `flock(2)`, which hold across mounts.
//!
//! The library that speaks to the kernel does not tell which of the two a lock is. So both are
//! locks of ranges here, and those of `flock` cover the whole file: they see each other, as they do
//! on NFS.

use std::time::Duration;

use super::data::Cluster;
use super::fs::NativeFs;
use super::lock_owners::LockOutcome;
use super::session::is_unknown_session;
use crate::client::vfs::Handle;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::Packed;
use crate::proto::session::{GetLock, Lock, LockKind, SetLock};
use crate::rpc::Patience;
use crate::types::{Change, Ino};

/// First and last byte of a lock on all that a file can have.
const WHOLE_FILE: (u64, u64) = (0, i64::MAX.cast_unsigned());

impl<C: Cluster> NativeFs<C> {
    /// The lock that stands in the way of `lock`, if any. Its owner is the kernel's.
    ///
    /// # Errors
    /// Those of the master.
    pub async fn getlk(&self, ino: Ino, lock: Lock) -> Result<Option<Lock>> {
        self.session.locks.settled(ino).await;
        let lock = Lock { owner: self.session.locks.number(ino, lock.owner), ..lock };
        let call = |session| GetLock { session, ino, lock: Packed(lock) };
        let Packed(found) = self.ask_in_session(call).await?;
        Ok(found)
    }

    /// Sets or clears a lock through a handle of the file. If it `waits`, it asks again and again
    /// until it has the lock or `is_interrupted` says that the process that wants it got a signal.
    ///
    /// # Errors
    /// `WouldBlock` if the lock is held by another and this does not wait; `Interrupted`;
    /// `Deadlock`; others of the master.
    pub async fn setlk(
        &self,
        (ino, handle): (Ino, Handle),
        lock: Lock,
        waits: bool,
        is_interrupted: impl Fn() -> bool + Send,
    ) -> Result<()> {
        match lock.kind {
            LockKind::Unlock => self.unlock(ino, lock).await,
            LockKind::Read | LockKind::Write if waits => {
                while !self.try_lock((ino, handle), lock, limits::LOCK_WAIT).await? {
                    if is_interrupted() {
                        return Err(FsError::new(ErrorKind::Interrupted, "a signal came"));
                    }
                }
                self.see_others(ino).await
            }
            LockKind::Read | LockKind::Write => {
                if self.lock_at_once((ino, handle), lock).await? {
                    return self.see_others(ino).await;
                }
                Err(FsError::new(ErrorKind::WouldBlock, "another holds the lock"))
            }
        }
    }

    /// Answers whether it got the lock. If somebody has left meanwhile, it asks again: his release
    /// may have been read from the kernel before and come here afterwards.
    async fn lock_at_once(&self, file: (Ino, Handle), lock: Lock) -> Result<bool> {
        for _ in 0..limits::LOCK_ATTEMPTS_MAX {
            let leaves = self.session.locks.leaves();
            if self.try_lock(file, lock, Duration::ZERO).await? {
                return Ok(true);
            }
            if self.session.locks.leaves() == leaves {
                break;
            }
        }
        Ok(false)
    }

    /// Asks for a lock once, after those who are leaving the file have left.
    async fn try_lock(
        &self,
        (ino, handle): (Ino, Handle),
        lock: Lock,
        wait: Duration,
    ) -> Result<bool> {
        let locks = &self.session.locks;
        locks.settled(ino).await;
        let call = locks.begin(ino, lock.owner, handle);
        let answer = self.ask_for_lock(ino, Lock { owner: call.number, ..lock }, wait).await;
        let is_refused = match &answer {
            Ok(is_set) => !is_set,
            Err(error) => !error.kind().leaves_outcome_open(),
        };
        locks.end(call, if is_refused { LockOutcome::Refused } else { LockOutcome::Held });
        answer
    }

    /// Gives a lock up, also if what was written under it could not be sent.
    ///
    /// # Errors
    /// What stood in the way of the bytes, which are kept and go with the next flush; else those of
    /// the master.
    async fn unlock(&self, ino: Ino, lock: Lock) -> Result<()> {
        // Who gets the lock next sees what was written under it.
        let Some(inode) = self.inodes.get(ino) else { return self.clear_lock(ino, lock).await };
        match self.flush_inode(&inode).await {
            Ok(()) => self.clear_lock(ino, lock).await,
            Err(error) => {
                // Others must not wait for what cannot be sent; and the time for that may be over.
                let cleared = Patience::default().scope(self.clear_lock(ino, lock)).await;
                if let Err(more) = cleared {
                    tracing::debug!("{} is still locked: {more}", self.shown(ino));
                }
                Err(error)
            }
        }
    }

    async fn clear_lock(&self, ino: Ino, lock: Lock) -> Result<()> {
        let locks = &self.session.locks;
        let Some(call) = locks.begin_clearing(ino, lock.owner) else { return Ok(()) };
        let lock = Lock { owner: call.number, ..lock };
        let answer = self.ask_for_lock(ino, lock, Duration::ZERO).await;
        let is_all = (lock.start, lock.end) == WHOLE_FILE;
        let is_cleared = is_all && answer.is_ok();
        locks.end(call, if is_cleared { LockOutcome::Cleared } else { LockOutcome::Refused });
        answer.map(|_| ())
    }

    /// Asks once, of an owner with his number at the master; answers whether the lock is set, or
    /// cleared.
    async fn ask_for_lock(&self, ino: Ino, lock: Lock, wait: Duration) -> Result<bool> {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let call = |session| SetLock { session, ino, lock: Packed(lock), wait_ms };
        let session = self.session.id();
        match self.cluster.ask(call(session)).await {
            Err(error) if is_unknown_session(&error) => {}
            outcome => return outcome,
        }
        self.reattach(session).await;
        self.cluster.ask(call(self.session.id())).await
    }

    /// What others wrote under the lock counts from now on, whether or not its event has come.
    async fn see_others(&self, ino: Ino) -> Result<()> {
        match self.ask_attr(ino).await {
            Ok(attr) if self.cache.swap_pages(ino, attr.data_version) => return Ok(()),
            Ok(_) => {}
            // The lock is held, so nothing that is known of the file may be used any more.
            Err(error) => {
                tracing::debug!(%ino, "all that is known of a locked file is dropped: {error}");
                self.take_change(&Change::Contents(ino, u64::MAX));
            }
        }
        self.tell_kernel(move |notify| notify.contents_now(ino)).await
    }

    /// Frees the locks of those who leave a file, by their numbers. What cannot be told now is told
    /// when the session is renewed.
    pub(super) async fn free_locks(&self, ino: Ino, numbers: impl IntoIterator<Item = u64>) {
        let (start, end) = WHOLE_FILE;
        for owner in numbers {
            let lock = Lock { owner, is_flock: false, kind: LockKind::Unlock, start, end, pid: 0 };
            match self.ask_for_lock(ino, lock, Duration::ZERO).await {
                Ok(_) => self.session.locks.freed(ino, owner),
                Err(error) => {
                    self.told_log.warn(&format!("lock: {error}"), || {
                        format!("a lock on {} is given back later: {error}", self.shown(ino))
                    });
                    self.session.locks.is_late(ino, owner);
                }
            }
        }
    }

    /// Frees the locks that could not be freed before.
    pub(super) async fn free_late_locks(&self) {
        for (ino, number) in self.session.locks.late() {
            self.free_locks(ino, [number]).await;
        }
    }
}
