//! The index of the chunks: transactions in order, and the certainty that one is on the disk.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::store::{Purpose, ReadTxn, Store, Txn};

/// A store of tables that loses no commit when the process dies, and none before the last
/// successful [`IndexStore::sync`] when the machine does. After a power cut a beginning of the
/// order of commits is there, never a later one without an earlier one.
pub trait IndexStore: Send + Sync {
    /// Runs `work` as one transaction.
    ///
    /// # Errors
    /// What `work` returns, and what the disk says; then nothing has changed.
    fn write(&self, work: &mut dyn FnMut(&mut dyn Txn) -> Result<()>) -> Result<()>;

    /// [`IndexStore::write`] for a deletion, which may use room that is kept for it.
    ///
    /// # Errors
    /// As [`IndexStore::write`].
    fn write_deletion(&self, work: &mut dyn FnMut(&mut dyn Txn) -> Result<()>) -> Result<()> {
        self.write(work)
    }

    /// Reads from one moment.
    ///
    /// # Errors
    /// What `work` returns, and what the disk says.
    fn read(&self, work: &mut dyn FnMut(&dyn ReadTxn) -> Result<()>) -> Result<()>;

    /// Writes everything that was committed before the call through to the disk.
    ///
    /// # Errors
    /// What the disk says; the store must take no more writes then.
    fn sync(&self) -> Result<()>;
}

impl IndexStore for Store {
    fn write(&self, work: &mut dyn FnMut(&mut dyn Txn) -> Result<()>) -> Result<()> {
        Self::write(self, |txn| work(txn))
    }

    fn write_deletion(&self, work: &mut dyn FnMut(&mut dyn Txn) -> Result<()>) -> Result<()> {
        self.write_for(Purpose::Deletion, |txn| work(txn))
    }

    fn read(&self, work: &mut dyn FnMut(&dyn ReadTxn) -> Result<()>) -> Result<()> {
        Self::read(self, |txn| work(txn))
    }

    fn sync(&self) -> Result<()> {
        Self::sync(self)
    }
}

/// The place of a commit in the order of all commits since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Commit(u64);

/// The index.
pub(super) struct Index {
    store: Arc<dyn IndexStore>,
    /// The last commit. Held while committing: the numbers are in the order of the commits.
    committed: Mutex<Commit>,
    sync: Mutex<Synced>,
    synced: Condvar,
}

#[derive(Default)]
struct Synced {
    /// Commits up to this one are on the disk.
    synced: Commit,
    is_running: bool,
}

impl Index {
    pub(super) fn new(store: Arc<dyn IndexStore>) -> Self {
        // The first number stands for all commits of the processes before.
        let committed = Mutex::new(Commit(1));
        Self { store, committed, sync: Mutex::default(), synced: Condvar::new() }
    }

    pub(super) fn read<T>(&self, work: impl Fn(&dyn ReadTxn) -> Result<T>) -> Result<T> {
        let mut answer = None;
        self.store.read(&mut |txn| {
            answer = Some(work(txn)?);
            Ok(())
        })?;
        Ok(answer.expect("the work was done"))
    }

    /// Commits; the process may die now.
    pub(super) fn commit(
        &self,
        mut work: impl FnMut(&mut dyn Txn) -> Result<()>,
    ) -> Result<Commit> {
        let mut last = lock(&self.committed);
        self.store.write(&mut work)?;
        last.0 += 1;
        Ok(*last)
    }

    /// [`Index::commit`] for a deletion.
    pub(super) fn commit_deletion(
        &self,
        mut work: impl FnMut(&mut dyn Txn) -> Result<()>,
    ) -> Result<Commit> {
        let mut last = lock(&self.committed);
        self.store.write_deletion(&mut work)?;
        last.0 += 1;
        Ok(*last)
    }

    /// Returns when a commit is on the disk. Those who wait at the same time share a sync.
    pub(super) fn sync_to(&self, commit: Commit) -> Result<()> {
        let mut sync = lock(&self.sync);
        loop {
            if sync.synced >= commit {
                return Ok(());
            }
            if !sync.is_running {
                break;
            }
            sync = self.synced.wait(sync).unwrap_or_else(PoisonError::into_inner);
        }
        sync.is_running = true;
        drop(sync);
        let reached = self.last();
        let result = self.store.sync();
        let mut sync = lock(&self.sync);
        sync.is_running = false;
        if result.is_ok() {
            sync.synced = reached;
        }
        drop(sync);
        self.synced.notify_all();
        result
    }

    /// The last commit.
    pub(super) fn last(&self) -> Commit {
        *lock(&self.committed)
    }

    /// Whether all commits are on the disk.
    pub(super) fn is_synced(&self) -> bool {
        let last = self.last();
        lock(&self.sync).synced >= last
    }

    /// Returns when all that was committed before the call is on the disk.
    pub(super) fn sync(&self) -> Result<()> {
        self.sync_to(self.last())
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while a lock is held is a bug that has been reported; the data behind it are still
    // only what the disk and the checks after it make of them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
