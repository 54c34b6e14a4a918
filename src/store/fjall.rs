//! Tables on disk: the only user of fjall.
//!
//! What fjall 3.1 does, read in its source and relied upon here:
//!
//! * `commit` hands the whole batch to the operating system with `write(2)` before it returns
//!   (`PersistMode::Buffer`, the default), so the death of this process loses no commit. Only a
//!   sync of the journal makes commits survive a power cut. A journal that is full is synced before
//!   the next one is made, and so is the directory after that.
//! * A batch ends in a checksum and a magic number. Recovery cuts the journal behind the last whole
//!   batch: a commit torn by `kill -9` is gone as a whole. Damage in the *middle* of a batch whose
//!   end is there (a power cut can write pages out of order) is refused with an error instead.
//! * The journal's 64 MiB are not allocated beforehand (the file is sparse), so a full disk shows
//!   as a failed `write(2)` in `commit`, with half a batch in the file and the rest still in
//!   fjall's buffer. fjall then refuses every further write until it is opened anew; a flush of a
//!   memtable that fails in the background has the same effect. When it is closed, fjall tries to
//!   write its buffer once more, so a commit that failed can still happen.
//!
//! Hence: writes stop while there is still some room ([`limits::DISK_RESERVE_LAST`]), deletions have
//! a part of their own ([`limits::DELETION_RESERVE`]), and if somebody else uses that up, the database is closed and opened again at once, which cuts the half
//! batch off; a number in every commit then tells whether it has happened after all. A failed
//! write or sync of any other kind ends all writing until a restart: after a failed `fsync` nobody
//! knows what is on the disk (Rebello et al., "Can Applications Recover from fsync Failures?",
//! USENIX ATC 2020).

mod damage;
mod database;
mod reserve;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use ::fjall::Error;

use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::store::file;
use crate::store::panic::EndOnPanic;
use crate::store::txn::{ReadTxn, Table, Txn};

use database::{Database, describe, io_error, is_no_space};
use reserve::Reserve;

/// A disk with so much room, in bytes, need not be asked again for [`ROOMY_FOR`] whether it has its
/// reserve: no disk fills that fast.
const ROOMY: u64 = 1 << 30;
const ROOMY_FOR: Duration = Duration::from_millis(20);

/// What a transaction is for, when there is little room left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To change something.
    Change,
    /// To take something away, so that there is room again, here or at other servers.
    Deletion,
}

/// Tables on disk, with one writer at a time and any number of readers.
pub struct Store {
    path: PathBuf,
    tables: Vec<Table>,
    state: RwLock<State>,
    /// Commits since the start, and one for all that were there then: the process that made those
    /// may have died before it synced them. What [`Store::sync`] measures its work by.
    committed: AtomicU64,
    /// The value of `committed` that is on disk for certain. Held during a sync, so that all who
    /// wait for it share the next one.
    synced: Mutex<u64>,
    /// The number of the last commit, counted since the data were made, that is on disk for certain;
    /// 0 before the first sync.
    durable: AtomicU64,
    /// When the disk was seen to have plenty of room.
    roomy_at: Mutex<Option<Instant>>,
    reserve: Reserve,
}

struct State {
    /// `None` while the disk is too full even to open the database.
    database: Option<Arc<Database>>,
    /// Why nothing is written any more until a restart.
    failure: Option<FsError>,
}

impl Store {
    /// Opens, or makes, the tables in a directory.
    ///
    /// # Errors
    /// `Busy` if another process has them open, `Corrupt` if they are damaged, and what the disk
    /// says.
    pub fn open(path: &Path, tables: &[Table]) -> Result<Self> {
        let reserve = Reserve::of(path);
        let database = open_with(&reserve, || Database::open(path, tables))?;
        let store = Self {
            path: path.to_owned(),
            tables: tables.to_vec(),
            state: RwLock::new(State { database: Some(Arc::new(database)), failure: None }),
            committed: AtomicU64::new(1),
            synced: Mutex::new(0),
            durable: AtomicU64::new(0),
            roomy_at: Mutex::new(None),
            reserve,
        };
        store.reserve.keep(file::free_space(path)?);
        Ok(store)
    }

    /// Runs `work` as one transaction: all of it or nothing. When this returns, the process may
    /// die without losing it. `work` must not use the store except through its argument.
    ///
    /// # Errors
    /// What `work` returns; `NoSpace` if the disk is full, `ReadOnly` after a failure of the disk,
    /// `InvalidArgument` if a key was put that no table can hold. Nothing has changed then, except
    /// that after a failure of the disk itself nobody can know.
    ///
    /// A panic of `work` ends the process.
    pub fn write<T>(&self, work: impl FnOnce(&mut dyn Txn) -> Result<T>) -> Result<T> {
        self.write_for(Purpose::Change, work)
    }

    /// [`Store::write`] for a purpose: a deletion may use the room that is kept for it.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write_for<T>(
        &self,
        purpose: Purpose,
        work: impl FnOnce(&mut dyn Txn) -> Result<T>,
    ) -> Result<T> {
        let _whole = EndOnPanic::new();
        match purpose {
            Purpose::Change => self.check_room(limits::DISK_RESERVE_LAST)?,
            Purpose::Deletion => self.check_room_to_delete()?,
        }
        let (number, failed, value) = {
            let state = self.opened()?;
            let database = writable(&state)?;
            let (number, value, committed) = database.write(work)?;
            let Err(failed) = committed else {
                self.committed.fetch_add(1, Ordering::Release);
                return Ok(value);
            };
            (number, failed, value)
        };
        self.recover(number, &failed).map(|()| value)
    }

    /// Reads from one moment of the store.
    ///
    /// # Errors
    /// What `work` returns.
    pub fn read<T>(&self, work: impl FnOnce(&dyn ReadTxn) -> Result<T>) -> Result<T> {
        let state = self.opened()?;
        let database = readable(&state)?;
        work(&database.read())
    }

    /// One moment of the store, to be read at leisure.
    ///
    /// # Errors
    /// If the disk is too full to open the store.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let state = self.opened()?;
        let database = readable(&state)?;
        Ok(Snapshot { snapshot: database.snapshot(), database: Arc::clone(database) })
    }

    /// Returns when everything committed before the call is on the disk. Callers who wait at the
    /// same time share one sync.
    ///
    /// # Errors
    /// `ReadOnly` if the disk failed, now or before.
    pub fn sync(&self) -> Result<()> {
        let wanted = self.committed.load(Ordering::Acquire);
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if *synced >= wanted {
            return Ok(());
        }
        if *synced == 0 {
            self.sync_what_was_found()?;
        }
        let reached = self.committed.load(Ordering::Acquire);
        let result = {
            let state = self.opened()?;
            let database = writable(&state)?;
            let last = database.last_commit();
            database.sync().map(|()| last)
        };
        match result {
            Ok(last) => {
                *synced = reached;
                self.durable.fetch_max(last, Ordering::Release);
                Ok(())
            }
            Err(error) => Err(self.fail("cannot sync", &error)),
        }
    }

    /// Writes through what an earlier process left to the operating system, in whatever files: the
    /// database would sync only what this process has written.
    fn sync_what_was_found(&self) -> Result<()> {
        let synced = std::fs::File::open(&self.path)
            .and_then(|directory| Ok(rustix::fs::syncfs(&directory)?));
        synced.map_err(|error| {
            self.refuse_writes(format!("cannot sync {}: {error}", self.path.display()))
        })
    }

    /// How many commits are on the disk for certain, counted since the data were made; 0 before the
    /// first sync since the start.
    #[must_use]
    pub fn durable_commits(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Whether there are commits that no sync has covered.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        let synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        *synced < self.committed.load(Ordering::Acquire)
    }

    /// Checks that the disk has more than `reserve` bytes left; for no more than the reserve of the
    /// server it is enough that it had [`ROOMY`] bytes just now.
    ///
    /// # Errors
    /// `NoSpace` if it has not.
    pub fn check_room(&self, reserve: u64) -> Result<()> {
        let seen = *self.roomy_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_roomy = seen.is_some_and(|seen| seen.elapsed() < ROOMY_FOR);
        // More than that is somebody's contents, which fill the disk themselves.
        match is_roomy && reserve <= limits::DISK_RESERVE {
            true => Ok(()),
            false => self.look_for_room(reserve),
        }
    }

    fn look_for_room(&self, reserve: u64) -> Result<()> {
        let free = file::free_space(&self.path)?;
        let seen = (free > ROOMY).then(Instant::now);
        *self.roomy_at.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        self.reserve.keep(free);
        match free.saturating_sub(self.reserve.missing()) > reserve {
            true => Ok(()),
            false => Err(self.full()),
        }
    }

    fn check_room_to_delete(&self) -> Result<()> {
        if self.check_room(limits::DISK_RESERVE_LAST).is_ok() {
            return Ok(());
        }
        let has_room =
            || -> Result<bool> { Ok(file::free_space(&self.path)? > limits::DISK_RESERVE_LAST) };
        match has_room()? || (self.reserve.release() && has_room()?) {
            true => Ok(()),
            false => Err(self.full()),
        }
    }

    fn full(&self) -> FsError {
        FsError::new(ErrorKind::NoSpace, format!("the disk of {} is full", self.path.display()))
    }

    /// The state, with the database opened again if it was closed for want of room.
    fn opened(&self) -> Result<RwLockReadGuard<'_, State>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.database.is_some() || state.failure.is_some() {
            return Ok(state);
        }
        drop(state);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.database.is_none() {
            let open = || Database::open(&self.path, &self.tables);
            state.database = Some(Arc::new(open_with(&self.reserve, open)?));
        }
        drop(state);
        Ok(self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// After a failed commit: goes on if only the disk was full. `Ok` if the commit with this
    /// number has happened after all.
    fn recover(&self, number: u64, error: &Error) -> Result<()> {
        let is_full = match error {
            Error::Poisoned => self.look_for_room(limits::DISK_RESERVE).is_err(),
            _ => io_error(error).is_some_and(is_no_space),
        };
        if !is_full {
            return Err(self.fail("cannot write", error));
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        match state.database.take().map(Arc::try_unwrap) {
            // Somebody reads a snapshot, so it cannot be closed, and whether the commit happens
            // will be known only then.
            Some(Err(in_use)) => {
                state.database = Some(in_use);
                drop(state);
                return Err(self.fail("cannot write while a dump is under way", error));
            }
            Some(Ok(database)) => drop(database),
            None => {}
        }
        tracing::warn!(store = %self.path.display(), "the disk is full; opening the store again");
        let database = open_with(&self.reserve, || Database::open(&self.path, &self.tables))
            .map_err(|error| error.context("the disk is full, and the store does not open"))?;
        let happened = database.last_commit() >= number;
        state.database = Some(Arc::new(database));
        if !happened {
            return Err(self.full());
        }
        self.committed.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Ends all writing until a restart, for this reason: nobody knows what is on the disk.
    pub fn refuse_writes(&self, reason: String) -> FsError {
        let failure = FsError::new(
            ErrorKind::ReadOnly,
            format!("{reason}; nothing is stored any more until the server is restarted"),
        );
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.failure.is_none() {
            tracing::error!("{failure}");
        }
        state.failure.get_or_insert(failure).clone()
    }

    fn fail(&self, what: &str, error: &Error) -> FsError {
        self.refuse_writes(format!("{what} in {}: {}", self.path.display(), describe(error)))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.is_dirty()
            && let Err(error) = self.sync()
        {
            tracing::error!("the last updates may not be on the disk: {error}");
        }
    }
}

/// Opens a database. Reading needs one, too, so it may take the room that is kept for deletions.
fn open_with(reserve: &Reserve, open: impl Fn() -> Result<Database>) -> Result<Database> {
    match open() {
        Err(error) if error.kind() == ErrorKind::NoSpace && reserve.release() => open(),
        opened => opened,
    }
}

fn readable<'a>(state: &'a RwLockReadGuard<'_, State>) -> Result<&'a Arc<Database>> {
    let closed = || FsError::new(ErrorKind::ReadOnly, "the store is closed after a failure");
    state.database.as_ref().ok_or_else(closed)
}

fn writable<'a>(state: &'a RwLockReadGuard<'_, State>) -> Result<&'a Arc<Database>> {
    match &state.failure {
        Some(failure) => Err(failure.clone()),
        None => readable(state),
    }
}

/// One moment of a [`Store`].
pub struct Snapshot {
    snapshot: ::fjall::Snapshot,
    database: Arc<Database>,
}

impl Snapshot {
    /// Reads.
    ///
    /// # Errors
    /// What `work` returns.
    pub fn read<T>(&self, work: impl FnOnce(&dyn ReadTxn) -> Result<T>) -> Result<T> {
        work(&self.database.read_at(&self.snapshot))
    }
}

#[cfg(test)]
mod tests {
    use super::Store;
    use crate::store::{Table, Txn};

    const T: Table = Table("t");

    #[test]
    fn what_an_earlier_process_committed_is_not_taken_for_synced() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &[T]).unwrap();
        assert!(store.is_dirty(), "nobody knows what the last process synced");
        store.sync().unwrap();
        assert!(!store.is_dirty());
        let put = |txn: &mut dyn Txn| {
            txn.put(T, b"k", b"v");
            Ok(())
        };
        store.write(put).unwrap();
        assert!(store.is_dirty());
        drop(store);
        assert!(Store::open(dir.path(), &[T]).unwrap().is_dirty());
    }
}
