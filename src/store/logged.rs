//! The homework's log and backup, above a store on disk.
//!
//! Every update is written to the log before it is applied; the log then has it in the operating
//! system's hands, so the death of the process loses nothing. Applied means: visible in an overlay
//! in memory, above the tables on disk. Those are the *backup*. After K updates one transaction
//! writes the overlay into them and empties the log: the backup is renewed in O(K), however large
//! the tables are. A start opens the backup and replays the log into the overlay.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::{self, Timestamp};
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::store::changes::{Changes, Collecting, Overlaid};
use crate::store::fjall::{Snapshot, Store};
use crate::store::panic::EndOnPanic;
use crate::store::table::Counts;
use crate::store::txn::{ReadTxn, TABLE_END, Table, Txn, check_key};
use crate::types::LogState;

/// The log: number of the update, 8 bytes, big-endian → [`Row`]s in postcard's form.
pub const LOG: Table = Table("log");
/// What is known of the backup: [`RENEWED`] and [`NEXT`] → 8 bytes each, big-endian.
pub const BACKUP: Table = Table("backup");

/// The tables that a [`Logged`] store has of its own.
pub const OWN_TABLES: [Table; 2] = [LOG, BACKUP];

/// When the backup was renewed, in milliseconds.
const RENEWED: &[u8] = b"renewed";
/// The number of the first update that is not in the backup.
const NEXT: &[u8] = b"next";

/// Entries of a table that are read or deleted at a time.
const PAGE_SIZE: usize = 1024;

/// One write of an update, as the log keeps it.
#[derive(Debug, Serialize, Deserialize)]
struct Row<'a> {
    table: &'a str,
    key: Bytes,
    /// `None` deletes.
    value: Option<Bytes>,
}

/// An update in the log, to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Its number; the first of all has 1.
    pub number: u64,
    /// What it writes, in the order of tables and keys; `None` deletes.
    pub writes: Vec<(Table, Bytes, Option<Bytes>)>,
}

/// Tables with a log.
pub struct Logged {
    store: Arc<Store>,
    tables: Vec<Table>,
    overlay: Changes,
    /// Number of the next update.
    next: u64,
    /// Updates in the log.
    log_len: u64,
    backup_every: u64,
}

impl Logged {
    /// Opens the store's tables and replays its log. The store must have been opened with these
    /// tables and [`OWN_TABLES`].
    ///
    /// # Errors
    /// `Corrupt` if an update in the log makes no sense, and what the disk says.
    pub fn open(store: Arc<Store>, tables: &[Table], backup_every: u64) -> Result<Self> {
        let mut logged = Self {
            store,
            tables: tables.to_vec(),
            overlay: Changes::default(),
            next: 0,
            log_len: 0,
            backup_every: backup_every.max(1),
        };
        logged.replay()?;
        Ok(logged)
    }

    /// The store below, to be synced without holding up updates.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Where log and backup stand; `count` says how much is in the tables.
    ///
    /// # Errors
    /// What the store says.
    pub fn state(&self, count: impl FnOnce(&dyn ReadTxn) -> Result<Counts>) -> Result<LogState> {
        self.store.read(|backup| {
            Ok(LogState {
                operations: self.log_len,
                backup_every: self.backup_every,
                backup_entries: count(backup)?.entries,
                renewed: number_in(backup, RENEWED)?.map(Timestamp),
            })
        })
    }

    /// The last updates in the log, at most so many.
    ///
    /// # Errors
    /// `Corrupt` if one makes no sense, and what the store says.
    pub fn last(&self, limit: u64) -> Result<Vec<Update>> {
        let from = self.next.saturating_sub(limit).to_be_bytes();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let rows = self.store.read(|backup| backup.scan(LOG, &from, TABLE_END, limit))?;
        let update = |(number, update): (Bytes, Bytes)| {
            let changes = decode(&update, &self.tables)?;
            let writes = changes.iter().map(|(table, k, v)| (table, k.clone(), v.clone()));
            Ok(Update { number: number_of(&number)? + 1, writes: writes.collect() })
        };
        rows.into_iter().map(update).collect()
    }

    /// Reads what all updates so far have made.
    ///
    /// # Errors
    /// What `work` returns.
    pub fn read<T>(&self, work: impl FnOnce(&dyn ReadTxn) -> Result<T>) -> Result<T> {
        self.store.read(|base| work(&Overlaid { base, changes: &self.overlay }))
    }

    /// Makes one update of everything that `work` writes: logged, then applied. If it writes
    /// nothing, nothing is logged.
    ///
    /// # Errors
    /// What `work` returns, and those of [`Store::write`]; nothing has changed then.
    pub fn write<T>(&mut self, work: impl FnOnce(&mut dyn Txn) -> Result<T>) -> Result<T> {
        let _whole = EndOnPanic::new();
        let (value, changes) = self.collect(work)?;
        // What is in the log must come into the tables.
        changes.check_keys()?;
        self.log(changes).map(|()| value)
    }

    /// As [`Logged::write`] of earlier programs, which logged keys that no table can hold.
    #[cfg(test)]
    pub(crate) fn write_unchecked(
        &mut self,
        work: impl FnOnce(&mut dyn Txn) -> Result<()>,
    ) -> Result<()> {
        let ((), changes) = self.collect(work)?;
        self.log(changes)
    }

    fn collect<T>(&self, work: impl FnOnce(&mut dyn Txn) -> Result<T>) -> Result<(T, Changes)> {
        self.store.read(|base| {
            let base = Overlaid { base, changes: &self.overlay };
            let mut txn = Collecting::over(&base);
            let value = work(&mut txn)?;
            Ok((value, txn.changes))
        })
    }

    fn log(&mut self, changes: Changes) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let update = encode(&changes)?;
        let number = self.next.to_be_bytes();
        self.store.write(|txn| {
            txn.put(LOG, &number, &update);
            Ok(())
        })?;
        self.next += 1;
        self.log_len += 1;
        self.overlay.merge(changes);
        if self.log_len >= self.backup_every || self.overlay.size() > limits::LOG_SIZE_MAX {
            // The update itself is safe in the log: if this fails, the next one tries again.
            if let Err(error) = self.renew_backup() {
                tracing::warn!("the backup could not be renewed: {error}");
            }
        }
        Ok(())
    }

    /// Writes the overlay into the backup and empties the log.
    ///
    /// # Errors
    /// Those of [`Store::write`]; log and overlay are as before then.
    pub fn renew_backup(&mut self) -> Result<()> {
        if self.log_len == 0 {
            return Ok(());
        }
        self.store.write(|txn| {
            for (table, key, value) in self.overlay.iter() {
                if check_key(table, key).is_err() {
                    // Of an earlier program, which logged what no table can hold.
                    continue;
                }
                match value {
                    Some(value) => txn.put(table, key, value),
                    None => txn.delete(table, key),
                }
            }
            clear(txn, LOG)?;
            self.note_renewal(txn);
            Ok(())
        })?;
        self.overlay = Changes::default();
        self.log_len = 0;
        Ok(())
    }

    /// One moment of the tables, to be read at leisure.
    ///
    /// # Errors
    /// Those of [`Store::snapshot`].
    pub fn snapshot(&self) -> Result<LoggedSnapshot> {
        Ok(LoggedSnapshot { base: self.store.snapshot()?, overlay: self.overlay.clone() })
    }

    /// Runs `work` on the tables themselves, as one transaction, which makes a new backup with an
    /// empty log: for changes that are too large for the log.
    ///
    /// # Errors
    /// What `work` returns, and those of [`Store::write`]; nothing has changed then.
    pub fn replace<T>(&mut self, work: impl FnOnce(&mut dyn Txn) -> Result<T>) -> Result<T> {
        self.renew_backup()?;
        self.store.write(|txn| {
            self.note_renewal(txn);
            work(txn)
        })
    }

    fn note_renewal(&self, txn: &mut dyn Txn) {
        txn.put(BACKUP, RENEWED, &clock::now().0.to_be_bytes());
        txn.put(BACKUP, NEXT, &self.next.to_be_bytes());
    }

    fn replay(&mut self) -> Result<()> {
        self.next = self.store.read(|base| number_in(base, NEXT))?.unwrap_or(0);
        let mut from = Vec::new();
        loop {
            let page = self.store.read(|txn| txn.scan(LOG, &from, TABLE_END, PAGE_SIZE))?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            from = [last.as_ref(), &[0]].concat();
            for (number, update) in page {
                self.overlay.merge(decode(&update, &self.tables)?);
                self.next = number_of(&number)? + 1;
                self.log_len += 1;
            }
        }
    }
}

/// One moment of a [`Logged`] store.
pub struct LoggedSnapshot {
    base: Snapshot,
    overlay: Changes,
}

impl LoggedSnapshot {
    /// Reads.
    ///
    /// # Errors
    /// What `work` returns.
    pub fn read<T>(&self, work: impl FnOnce(&dyn ReadTxn) -> Result<T>) -> Result<T> {
        self.base.read(|base| work(&Overlaid { base, changes: &self.overlay }))
    }
}

/// Deletes everything in a table.
///
/// # Errors
/// What the store says.
pub fn clear(txn: &mut dyn Txn, table: Table) -> Result<()> {
    let mut from = Vec::new();
    loop {
        // Behind what was deleted: passing over that again and again would take the square of its time.
        let page = txn.scan(table, &from, TABLE_END, PAGE_SIZE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        from = [last.as_ref(), &[0]].concat();
        for (key, _) in page {
            txn.delete(table, &key);
        }
    }
}

/// What is known of the backup.
fn number_in(base: &dyn ReadTxn, what: &[u8]) -> Result<Option<u64>> {
    base.get(BACKUP, what)?.map(|number| number_of(&number)).transpose()
}

fn number_of(bytes: &[u8]) -> Result<u64> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| damaged())
}

fn encode(changes: &Changes) -> Result<Vec<u8>> {
    let rows: Vec<Row<'_>> = changes
        .iter()
        .map(|(table, key, value)| Row { table: table.0, key: key.clone(), value: value.clone() })
        .collect();
    postcard::to_allocvec(&rows).map_err(|error| FsError::new(ErrorKind::Io, error.to_string()))
}

fn decode(update: &[u8], tables: &[Table]) -> Result<Changes> {
    let rows: Vec<Row<'_>> = postcard::from_bytes(update).map_err(|_| damaged())?;
    let mut changes = Changes::default();
    for row in rows {
        let table = tables.iter().find(|table| table.0 == row.table).ok_or_else(damaged)?;
        changes.set(*table, row.key, row.value);
    }
    Ok(changes)
}

fn damaged() -> FsError {
    FsError::new(ErrorKind::Corrupt, "the log has an update that makes no sense")
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::{Logged, OWN_TABLES};
    use crate::clock;
    use crate::error::{ErrorKind, FsError, Result};
    use crate::store::fjall::Store;
    use crate::store::table::Counts;
    use crate::store::txn::{ReadTxn, TABLE_END, Table, Txn};
    use crate::types::LogState;

    const T: Table = Table("t");

    fn open(path: &Path, backup_every: u64) -> Logged {
        let tables = [&[T][..], &OWN_TABLES].concat();
        let store = Arc::new(Store::open(path, &tables).unwrap());
        Logged::open(store, &[T], backup_every).unwrap()
    }

    fn put_text(logged: &mut Logged, key: &str, value: &str) {
        let put = |txn: &mut dyn Txn| {
            txn.put(T, key.as_bytes(), value.as_bytes());
            Ok(())
        };
        logged.write(put).unwrap();
    }

    fn state(logged: &Logged) -> LogState {
        let count = |txn: &dyn ReadTxn| {
            let entries = txn.scan(T, &[], TABLE_END, 100)?.len() as u64;
            Ok(Counts { entries, bytes: 0 })
        };
        logged.state(count).unwrap()
    }

    fn len(logged: &Logged) -> u64 {
        state(logged).operations
    }

    fn all(logged: &Logged) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let rows = logged.read(|txn| txn.scan(T, &[], TABLE_END, 100)).unwrap();
        rows.iter().map(|(k, v)| (text(k), text(v))).collect()
    }

    #[test]
    fn with_k_5_seven_edits_leave_two_operations_and_a_backup() {
        let dir = tempfile::tempdir().unwrap();
        let mut logged = open(dir.path(), 5);
        for edit in 0..7 {
            put_text(&mut logged, &format!("k{edit}"), "v");
        }
        assert_eq!(len(&logged), 2);
        assert_eq!(state(&logged).backup_entries, 5);
        let before = all(&logged);
        drop(logged);
        let logged = open(dir.path(), 5);
        assert_eq!(len(&logged), 2);
        assert_eq!(all(&logged), before);
    }

    #[test]
    fn updates_in_the_log_have_numbers_that_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut logged = open(dir.path(), 5);
        let numbers = |logged: &Logged, limit| {
            let last = logged.last(limit).unwrap();
            last.into_iter().map(|update| update.number).collect::<Vec<_>>()
        };
        assert_eq!(state(&logged).renewed, None);
        for edit in 0..7 {
            put_text(&mut logged, &format!("k{edit}"), "v");
        }
        assert_eq!((numbers(&logged, 10), numbers(&logged, 1)), (vec![6, 7], vec![7]));
        assert_eq!(logged.last(1).unwrap()[0].writes, [(T, "k6".into(), Some("v".into()))]);
        let renewed = state(&logged).renewed;
        assert!(renewed.is_some_and(|at| at <= clock::now()), "{renewed:?}");

        logged.renew_backup().unwrap();
        drop(logged);
        let mut logged = open(dir.path(), 5);
        assert!(numbers(&logged, 10).is_empty());
        put_text(&mut logged, "k", "v");
        assert_eq!(numbers(&logged, 10), [8], "although the log was empty at the start");
        assert!(state(&logged).renewed >= renewed);
    }

    #[test]
    fn an_update_that_fails_or_writes_nothing_is_not_logged() {
        let dir = tempfile::tempdir().unwrap();
        let mut logged = open(dir.path(), 5);
        let failed: Result<()> = logged.write(|txn| {
            txn.put(T, b"a", b"1");
            Err(FsError::new(ErrorKind::Exists, "no"))
        });
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Exists);
        logged.write(|_| Ok(())).unwrap();
        assert_eq!((len(&logged), all(&logged).len()), (0, 0));
    }

    #[test]
    fn a_key_that_no_table_can_hold_is_refused_and_keeps_nothing_from_the_backup() {
        let dir = tempfile::tempdir().unwrap();
        let mut logged = open(dir.path(), 5);
        for key in [&b""[..], &[7; 1 << 16]] {
            let put = |txn: &mut dyn Txn| {
                txn.put(T, b"beside", b"v");
                txn.put(T, key, b"v");
                Ok(())
            };
            assert_eq!(logged.write(put).unwrap_err().kind(), ErrorKind::InvalidArgument);
            assert_eq!(logged.replace(put).unwrap_err().kind(), ErrorKind::InvalidArgument);
            let delete = |txn: &mut dyn Txn| {
                txn.delete(T, key);
                Ok(())
            };
            logged.store().write(delete).unwrap();
            assert!(all(&logged).is_empty());
            // An earlier program has logged it.
            logged.write_unchecked(put).unwrap();
            drop(logged);
            logged = open(dir.path(), 5);
            for edit in 0..7 {
                put_text(&mut logged, &format!("k{edit}"), "v");
            }
            assert!(len(&logged) < 5, "the backup was renewed");
            logged.replace(|txn| super::clear(txn, T)).unwrap();
        }
    }

    #[test]
    fn deletions_in_the_log_hide_what_the_backup_has() {
        let dir = tempfile::tempdir().unwrap();
        let mut logged = open(dir.path(), 2);
        put_text(&mut logged, "a", "1");
        put_text(&mut logged, "b", "2");
        logged
            .write(|txn| {
                txn.delete(T, b"a");
                Ok(())
            })
            .unwrap();
        assert_eq!(all(&logged), [("b".to_owned(), "2".to_owned())]);
        drop(logged);
        let mut logged = open(dir.path(), 2);
        assert_eq!(all(&logged), [("b".to_owned(), "2".to_owned())]);
        let swap = |txn: &mut dyn Txn| {
            super::clear(txn, T)?;
            txn.put(T, b"c", b"3");
            Ok(())
        };
        logged.replace(swap).unwrap();
        assert_eq!(all(&logged), [("c".to_owned(), "3".to_owned())]);
        assert_eq!(len(&logged), 0);
    }
}
