//! The locks of all clients with those who wait for them, and on disk: a lock that was given
//! outlives the death of the master, as everything that was acknowledged.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::task::block_in_place;

use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::master::locks::{Locks, Ticket};
use crate::proto::fs::SessionId;
use crate::proto::session::{Lock, LockKind};
use crate::store::{Purpose, Store, TABLE_END, Table};
use crate::types::Ino;

/// Session and inode (64 bits each, big-endian) → the locks, in postcard's form.
const LOCKS: Table = Table("lock");

/// The table of this module.
pub const TABLES: [Table; 1] = [LOCKS];

/// Rows that are read at a time.
const PAGE_SIZE: usize = 1024;

/// All locks.
///
/// The lock on `locks` is taken before the store is written, never inside of a transaction.
pub struct LockTable {
    store: Arc<Store>,
    locks: Mutex<Locks>,
    /// Where somebody waits: how many, and what wakes them.
    queues: Mutex<HashMap<Ino, (usize, Arc<Notify>)>>,
    waiters: Semaphore,
}

impl LockTable {
    /// The locks that are in the store.
    ///
    /// # Errors
    /// What the store says.
    pub fn open(store: Arc<Store>) -> Result<Self> {
        let mut locks = Locks::default();
        let mut from = Vec::new();
        loop {
            let rows = store.read(|txn| txn.scan(LOCKS, &from, TABLE_END, PAGE_SIZE))?;
            let Some((last, _)) = rows.last() else { break };
            from = [last.as_ref(), &[0]].concat();
            for (key, value) in rows {
                let (session, ino) = parse_key(&key)?;
                let kept: Vec<Lock> = postcard::from_bytes(&value).map_err(|_| damaged())?;
                locks.restore(session, ino, &kept);
            }
        }
        Ok(Self {
            store,
            locks: Mutex::new(locks),
            queues: Mutex::default(),
            waiters: Semaphore::new(limits::WAITERS_MAX),
        })
    }

    /// Sets or clears a lock, waiting up to `wait` for others. Answers whether that is done.
    /// `check` says whether the session goes on: whoever ends it calls [`LockTable::release`] only
    /// afterwards, so that no lock is given to a session that is over.
    ///
    /// # Errors
    /// Those of `check`, of [`Locks::set`] and [`Locks::begin_wait`], and of the store; then
    /// nothing has changed.
    pub async fn set(
        &self,
        (session, ino, lock): (SessionId, Ino, Lock),
        wait: Duration,
        check: impl Fn() -> Result<()>,
    ) -> Result<bool> {
        if self.try_set(session, ino, lock, &check)? {
            return Ok(true);
        }
        let Ok(_permit) = self.waiters.try_acquire() else { return Ok(false) };
        if wait.is_zero() {
            return Ok(false);
        }
        let deadline = tokio::time::Instant::now() + wait.min(limits::WAIT_MAX);
        let waiting = self.begin_wait(session, ino, lock)?;
        loop {
            let mut freed = std::pin::pin!(waiting.freed.notified());
            // Registered before looking, so that no unlock falls in between.
            freed.as_mut().enable();
            if self.try_set(session, ino, lock, &check)? {
                return Ok(true);
            }
            if tokio::time::timeout_at(deadline, freed).await.is_err() {
                return Ok(false);
            }
        }
    }

    /// The lock that stands in the way of one, if any.
    ///
    /// # Errors
    /// Those of [`Locks::conflict`].
    pub fn conflict(&self, session: SessionId, ino: Ino, lock: Lock) -> Result<Option<Lock>> {
        self.locks().conflict(session, ino, lock)
    }

    /// Frees all locks of a session.
    ///
    /// # Errors
    /// What the store says; the locks are free all the same until a restart.
    pub fn release(&self, session: SessionId) -> Result<()> {
        let inodes = self.locks().release(session);
        inodes.iter().for_each(|ino| self.wake(*ino));
        if inodes.is_empty() {
            return Ok(());
        }
        self.store.write_for(Purpose::Deletion, |txn| {
            inodes.iter().for_each(|ino| txn.delete(LOCKS, &row_key(session, *ino)));
            Ok(())
        })
    }

    /// The sessions that have locks.
    #[must_use]
    pub fn holders(&self) -> Vec<SessionId> {
        self.locks().holders()
    }

    fn try_set(
        &self,
        session: SessionId,
        ino: Ino,
        lock: Lock,
        check: impl Fn() -> Result<()>,
    ) -> Result<bool> {
        let mut locks = self.locks();
        check()?;
        let before = locks.of(session, ino);
        let is_done = locks.set(session, ino, lock)?;
        let after = locks.of(session, ino);
        if before == after {
            return Ok(is_done);
        }
        if let Err(error) = block_in_place(|| self.save(session, ino, &after)) {
            locks.restore(session, ino, &before);
            return Err(error);
        }
        drop(locks);
        // Also a write lock that became a read lock lets others in.
        if lock.kind != LockKind::Write || !is_done {
            self.wake(ino);
        }
        Ok(is_done)
    }

    fn save(&self, session: SessionId, ino: Ino, locks: &[Lock]) -> Result<()> {
        let purpose = if locks.is_empty() { Purpose::Deletion } else { Purpose::Change };
        self.store.write_for(purpose, |txn| {
            if locks.is_empty() {
                txn.delete(LOCKS, &row_key(session, ino));
                return Ok(());
            }
            let row = postcard::to_allocvec(locks).expect("locks have a binary form");
            txn.put(LOCKS, &row_key(session, ino), &row);
            Ok(())
        })
    }

    fn begin_wait(&self, session: SessionId, ino: Ino, lock: Lock) -> Result<Waiting<'_>> {
        let ticket = self.locks().begin_wait(session, ino, lock)?;
        let mut queues = self.queues();
        let (count, freed) = queues.entry(ino).or_default();
        *count += 1;
        Ok(Waiting { table: self, ino, ticket, freed: Arc::clone(freed) })
    }

    fn wake(&self, ino: Ino) {
        if let Some((_, freed)) = self.queues().get(&ino) {
            freed.notify_waiters();
        }
    }

    fn locks(&self) -> MutexGuard<'_, Locks> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Ino, (usize, Arc<Notify>)>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits. Ends with the call, also if its connection breaks.
struct Waiting<'a> {
    table: &'a LockTable,
    ino: Ino,
    ticket: Ticket,
    freed: Arc<Notify>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.table.locks().end_wait(self.ticket);
        let mut queues = self.table.queues();
        if let Some((count, _)) = queues.get_mut(&self.ino) {
            *count -= 1;
            if *count == 0 {
                queues.remove(&self.ino);
            }
        }
    }
}

fn row_key(session: SessionId, ino: Ino) -> Vec<u8> {
    [session.to_be_bytes(), ino.0.to_be_bytes()].concat()
}

fn parse_key(key: &[u8]) -> Result<(SessionId, Ino)> {
    let (numbers, []) = key.as_chunks::<8>() else { return Err(damaged()) };
    let [session, ino] = *numbers else { return Err(damaged()) };
    Ok((u64::from_be_bytes(session), Ino(u64::from_be_bytes(ino))))
}

fn damaged() -> FsError {
    FsError::new(ErrorKind::Corrupt, "the table of locks is damaged")
}
