//! One open database of fjall, with its tables, transactions and errors in our terms.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use ::fjall::{
    Error, KeyspaceCreateOptions, LsmError, PersistMode, Readable, SingleWriterTxDatabase,
    SingleWriterTxKeyspace, SingleWriterWriteTx,
};
use bytes::Bytes;

use crate::error::{ErrorKind, FsError};
use crate::store::fjall::damage;
use crate::store::txn::{ReadTxn, Table, Txn, check_key};

type Result<T, E = FsError> = std::result::Result<T, E>;

/// A memtable is written out at this size: small, so that a nearly full disk has room for it.
const MEMTABLE_SIZE_MAX: u64 = 8 << 20;

/// Journals are kept until every table has written out what is in them; at this size the tables
/// that hold them back are made to. It bounds the disk they take and the time of a start.
const JOURNALS_SIZE_MAX: u64 = 128 << 20;

/// Threads that write memtables out and compact tables.
const WORKERS: usize = 2;

/// The table in which every commit leaves its number.
const COMMITS: &str = "commits";
const LAST_COMMIT: &[u8] = b"last";

pub(super) struct Database {
    path: PathBuf,
    fjall: SingleWriterTxDatabase,
    tables: HashMap<Table, SingleWriterTxKeyspace>,
    commits: SingleWriterTxKeyspace,
    last_commit: AtomicU64,
    /// Which file is damaged, once a read has failed for that.
    damage: OnceLock<String>,
}

impl Database {
    pub(super) fn open(path: &Path, tables: &[Table]) -> Result<Self> {
        let describe = |error: Error| match error {
            Error::Locked => FsError::new(
                ErrorKind::Busy,
                format!("{} is in use by another process", path.display()),
            ),
            error => with_damage(&error, || damage::describe(path))
                .context(format!("cannot open {}", path.display())),
        };
        let fjall = SingleWriterTxDatabase::builder(path)
            .worker_threads(WORKERS)
            .max_journaling_size(JOURNALS_SIZE_MAX)
            .open()
            .map_err(describe)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_SIZE_MAX);
        let open = |name| fjall.keyspace(name, options).map_err(describe);
        let commits = open(COMMITS)?;
        let tables = tables
            .iter()
            .map(|table| Ok((*table, open(table.0)?)))
            .collect::<Result<HashMap<_, _>>>()?;
        let last = commits.get(LAST_COMMIT).map_err(describe)?;
        let last =
            last.and_then(|bytes| bytes.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes);
        Ok(Self {
            path: path.to_owned(),
            fjall,
            tables,
            commits,
            last_commit: AtomicU64::new(last),
            damage: OnceLock::new(),
        })
    }

    /// Runs `work` in a transaction and commits it: the number of the commit, what `work`
    /// returned, and whether fjall took it.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&mut dyn Txn) -> Result<T>,
    ) -> Result<(u64, T, Result<(), Error>)> {
        let (txn, refused) = (self.fjall.write_tx(), Ok(()));
        let mut writing = Writing { txn, database: self, refused };
        let value = work(&mut writing)?;
        let Writing { mut txn, refused, .. } = writing;
        refused?;
        // The transaction holds fjall's lock on writers, so commits happen in this order.
        let number = self.last_commit.fetch_add(1, Ordering::Relaxed) + 1;
        txn.insert(&self.commits, LAST_COMMIT, number.to_be_bytes());
        Ok((number, value, txn.commit()))
    }

    /// The number of the last commit: after [`Database::open`], of the last one on disk.
    pub(super) fn last_commit(&self) -> u64 {
        self.last_commit.load(Ordering::Relaxed)
    }

    pub(super) fn snapshot(&self) -> ::fjall::Snapshot {
        self.fjall.read_tx()
    }

    pub(super) fn read(&self) -> impl ReadTxn + '_ {
        Reading { snapshot: self.snapshot(), database: self }
    }

    pub(super) fn read_at(&self, snapshot: &::fjall::Snapshot) -> impl ReadTxn + '_ {
        Reading { snapshot: snapshot.clone(), database: self }
    }

    /// Syncs what was committed before the call. Not by `persist(SyncAll)`: that holds fjall's lock
    /// on the journal, which would keep writers waiting, and writes the journal's times, too.
    pub(super) fn sync(&self) -> Result<(), Error> {
        // Says if a write has failed in the background.
        self.fjall.persist(PersistMode::Buffer)?;
        // If it is full meanwhile, fjall syncs it itself.
        let journal = newest_journal(&self.path)?;
        Ok(File::open(journal)?.sync_data()?)
    }

    fn keyspace(&self, table: Table) -> &SingleWriterTxKeyspace {
        self.tables.get(&table).expect("every table is named when the store is opened")
    }

    fn get(&self, from: &impl Readable, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        let value = from.get(self.keyspace(table), key).map_err(|error| self.unread(&error))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(
        &self,
        snapshot: &impl Readable,
        table: Table,
        (from, to): (&[u8], &[u8]),
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        if from >= to {
            return Ok(Vec::new());
        }
        let entries = snapshot.range(self.keyspace(table), from..to).take(limit);
        entries
            .map(|entry| {
                let (key, value) = entry.into_inner().map_err(|error| self.unread(&error))?;
                Ok((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)))
            })
            .collect()
    }

    /// Why something was not read.
    fn unread(&self, error: &Error) -> FsError {
        let damage = || self.damage.get_or_init(|| self.find_damage()).clone();
        with_damage(error, damage).context(format!("cannot read {}", self.path.display()))
    }

    /// Looked for once: it takes a while.
    fn find_damage(&self) -> String {
        let damage = damage::describe(&self.path);
        tracing::error!("the store {} is damaged: {damage}", self.path.display());
        damage
    }
}

/// An error, with the files that are damaged if that is what is wrong.
fn with_damage(error: &Error, damage: impl FnOnce() -> String) -> FsError {
    let error = FsError::from(error);
    match error.kind() {
        ErrorKind::Corrupt => FsError::new(ErrorKind::Corrupt, format!("{} ({error})", damage())),
        _ => error,
    }
}

/// The journal that commits go to: the last one.
fn newest_journal(path: &Path) -> io::Result<PathBuf> {
    journals(path)?.pop().ok_or_else(|| io::Error::other("the store has no journal"))
}

/// The journals of a store, `<number>.jnl`, in the order of their numbers.
pub(super) fn journals(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut journals: Vec<(u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let is_journal = path.extension().is_some_and(|extension| extension == "jnl");
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        journals.extend(number.filter(|_| is_journal).map(|number| (number, path)));
    }
    journals.sort_unstable();
    Ok(journals.into_iter().map(|(_, path)| path).collect())
}

struct Reading<'a> {
    snapshot: ::fjall::Snapshot,
    database: &'a Database,
}

struct Writing<'a> {
    txn: SingleWriterWriteTx<'a>,
    database: &'a Database,
    /// Whether a key was put that fjall would panic at.
    refused: Result<()>,
}

impl ReadTxn for Reading<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        self.database.get(&self.snapshot, table, key)
    }

    fn size_of(&self, table: Table, key: &[u8]) -> Result<Option<u64>> {
        let size = self.snapshot.size_of(self.database.keyspace(table), key);
        Ok(size.map_err(|error| self.database.unread(&error))?.map(u64::from))
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        self.database.scan(&self.snapshot, table, (from, to), limit)
    }
}

impl ReadTxn for Writing<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        self.database.get(&self.txn, table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        self.database.scan(&self.txn, table, (from, to), limit)
    }
}

impl Txn for Writing<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        if let Err(error) = check_key(table, key) {
            self.refused = Err(error);
            return;
        }
        self.txn.insert(self.database.keyspace(table), key, value);
    }

    fn delete(&mut self, table: Table, key: &[u8]) {
        // What cannot be there is gone.
        if check_key(table, key).is_ok() {
            self.txn.remove(self.database.keyspace(table), key);
        }
    }
}

pub(super) fn io_error(error: &Error) -> Option<&io::Error> {
    match error {
        Error::Io(error) | Error::Storage(LsmError::Io(error)) => Some(error),
        _ => None,
    }
}

pub(super) fn is_no_space(error: &io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

pub(super) fn describe(error: &Error) -> String {
    match (error, io_error(error)) {
        (_, Some(error)) => error.to_string(),
        (Error::Poisoned, None) => "an earlier write failed in the background".to_owned(),
        (error, None) => format!("{error:?}"),
    }
}

impl From<&Error> for FsError {
    fn from(error: &Error) -> Self {
        let kind = match (error, io_error(error)) {
            (_, Some(error)) if is_no_space(error) => ErrorKind::NoSpace,
            (_, Some(_)) => ErrorKind::Io,
            (Error::Locked, None) => ErrorKind::Busy,
            (Error::Poisoned, None) => ErrorKind::ReadOnly,
            _ => ErrorKind::Corrupt,
        };
        Self::new(kind, describe(error))
    }
}
