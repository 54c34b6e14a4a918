//! The index of a chunk server: key → value, or the file that holds it.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::chunk::values::ValueFile;
use crate::chunk::{identity, native};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::limits;
use crate::store::logged::{self, LoggedSnapshot, clear};
use crate::store::table::{self, Counts};
use crate::store::{DataDir, HashTable, Logged, ReadTxn, Record, Store};
use crate::types::{Key, ValueKind};

/// Entries that a sweep or a scan handles at a time.
const PAGE_SIZE: usize = 256;

/// What is known of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stored {
    /// The XML-RPC type.
    pub kind: ValueKind,
    /// Where its bytes are.
    pub place: Place,
    /// When it is gone.
    pub expires: Timestamp,
}

/// Where the bytes of a value are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Place {
    /// Here; at most [`crate::limits::INLINE_VALUE_MAX`] of them.
    Inline(Bytes),
    /// In a file.
    File(ValueFile),
}

impl Stored {
    /// The file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&ValueFile> {
        match &self.place {
            Place::Inline(_) => None,
            Place::File(file) => Some(file),
        }
    }
}

impl Record for Stored {
    fn expires(&self) -> Timestamp {
        self.expires
    }

    fn size(&self) -> u64 {
        match &self.place {
            Place::Inline(bytes) => bytes.len().try_into().unwrap_or(u64::MAX),
            Place::File(file) => file.size,
        }
    }
}

pub(super) type Entries = HashTable<Stored>;

/// The index. Every change is one update, logged before it is applied.
pub struct Index {
    logged: Logged,
}

impl Index {
    /// Opens the index in a data directory.
    ///
    /// # Errors
    /// `Corrupt` if it is damaged, and what the disk says.
    pub fn open(dir: &DataDir, backup_every: u64) -> Result<Self> {
        let own = [&logged::OWN_TABLES[..], &native::TABLES, &identity::TABLES].concat();
        let tables = [table::TABLES.as_slice(), &own].concat();
        let store = Arc::new(Store::open(&dir.store(), &tables)?);
        let mut logged = Logged::open(store, &table::TABLES, backup_every)?;
        logged.write(|txn| Entries::remove_impossible(txn).map(drop))?;
        Ok(Self { logged })
    }

    /// The store below.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        self.logged.store()
    }

    /// The tables with their log.
    #[must_use]
    pub fn logged(&self) -> &Logged {
        &self.logged
    }

    /// What is known of the value under a key, expired or not.
    ///
    /// # Errors
    /// What the store says.
    pub fn get(&self, key: &Key) -> Result<Option<Stored>> {
        self.logged.read(|txn| Entries::get(txn, key))
    }

    /// Stores, and returns what was there.
    ///
    /// # Errors
    /// What the store says; nothing has changed then.
    pub fn put(&mut self, key: &Key, stored: &Stored) -> Result<Option<Stored>> {
        self.logged.write(|txn| Entries::put(txn, key, stored))
    }

    /// What earlier programs did of a `put` under the empty key.
    #[cfg(test)]
    pub(super) fn put_under_the_empty_key(&mut self, stored: &Stored) {
        let put = self.logged.write_unchecked(|txn| {
            let empty = &Key::empty();
            Entries::put(txn, empty, stored).map(drop)
        });
        put.expect("a log takes everything");
    }

    /// As [`Index::put`], or [`Index::remove`] with `None`, for what a classic client stages: what was
    /// there is kept under keys of its own, the latest so many of them. Returns what is not kept.
    ///
    /// # Errors
    /// What the store says; nothing has changed then.
    pub fn stage(
        &mut self,
        key: &Key,
        new: Option<&Stored>,
        now: Timestamp,
    ) -> Result<Vec<Stored>> {
        self.logged.write(|txn| {
            let mut gone = Vec::new();
            if let Some(old) = Entries::remove(txn, key)? {
                let mut kept = older(txn, key)?;
                let number = kept.last().map_or(0, |(number, ..)| number + 1);
                if kept.len() == limits::STAGED_KEPT_MAX {
                    gone.extend(Entries::remove(txn, &kept.remove(0).1)?);
                }
                match older_key(key, number) {
                    Some(place) if old.expires > now => drop(Entries::put(txn, &place, &old)?),
                    _ => gone.push(old),
                }
            }
            if let Some(new) = new {
                Entries::put(txn, key, new)?;
            }
            Ok(gone)
        })
    }

    /// What is staged under a key and was not taken, with the keys where it is, the latest first.
    ///
    /// # Errors
    /// What the store says.
    pub fn staged(&self, key: &Key) -> Result<Vec<(Key, Stored)>> {
        self.logged.read(|txn| staged(txn, key))
    }

    /// Deletes what is staged under a key from the latest value on that is wanted, and returns it:
    /// what was staged before it has been overtaken.
    ///
    /// # Errors
    /// What the store says; nothing has changed then.
    pub fn remove_staged(
        &mut self,
        key: &Key,
        is_wanted: impl Fn(&Stored) -> bool,
    ) -> Result<Vec<Stored>> {
        self.logged.write(|txn| {
            let all = staged(txn, key)?;
            let overtaken = all.iter().skip_while(|(_, stored)| !is_wanted(stored));
            let removed = overtaken.map(|(place, _)| Entries::remove(txn, place));
            Ok(removed.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
        })
    }

    /// Deletes, and returns what was there.
    ///
    /// # Errors
    /// What the store says; nothing has changed then.
    pub fn remove(&mut self, key: &Key) -> Result<Option<Stored>> {
        self.logged.write(|txn| Entries::remove(txn, key))
    }

    /// Deletes some entries that have expired and returns them.
    ///
    /// # Errors
    /// What the store says; nothing has changed then.
    pub fn remove_expired(&mut self, now: Timestamp) -> Result<Vec<Stored>> {
        self.logged.write(|txn| {
            let expired = Entries::expired(txn, now, PAGE_SIZE)?;
            let removed = expired.iter().map(|key| Entries::remove(txn, key));
            Ok(removed.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
        })
    }

    /// Entries with keys greater than `after`.
    ///
    /// # Errors
    /// What the store says.
    pub fn page(&self, after: Option<&Key>) -> Result<Vec<(Key, Stored)>> {
        self.logged.read(|txn| Entries::page(txn, after, PAGE_SIZE))
    }

    /// One moment of the index.
    ///
    /// # Errors
    /// What the store says.
    pub fn snapshot(&self) -> Result<LoggedSnapshot> {
        self.logged.snapshot()
    }

    /// The numbers of all files that entries refer to.
    ///
    /// # Errors
    /// What the store says.
    pub fn files(&self) -> Result<HashSet<u64>> {
        self.logged.read(files)
    }

    /// Puts these entries in the place of all others; returns the files of those. Of equal keys the last
    /// one counts.
    ///
    /// # Errors
    /// What the store says; nothing has changed then.
    pub fn replace_all(&mut self, entries: &[(Key, Stored)]) -> Result<HashSet<u64>> {
        self.logged.replace(|txn| {
            let mut old = files(txn)?;
            for table in table::TABLES {
                clear(txn, table)?;
            }
            for (key, stored) in entries {
                let earlier = Entries::put(txn, key, stored)?;
                old.extend(earlier.as_ref().and_then(Stored::file).map(|file| file.id));
            }
            Ok(old)
        })
    }

    /// How much there is.
    ///
    /// # Errors
    /// What the store says.
    pub fn counts(&self) -> Result<Counts> {
        self.logged.read(Entries::counts)
    }
}

/// Between a path and the number of a value that was staged there before others.
const OLDER_MARK: u8 = 0;

/// Where a value is kept when another one is staged under its key, if such a key can be.
fn older_key(key: &Key, number: u64) -> Option<Key> {
    Key::new([key.as_bytes(), &[OLDER_MARK], &number.to_be_bytes()].concat()).ok()
}

/// The key under which a value was staged that is kept under this one now; the key itself if it is
/// none of these.
#[must_use]
pub fn staged_under(place: &Key) -> Key {
    match place.as_bytes().split_last_chunk::<8>() {
        Some(([path @ .., OLDER_MARK], _)) => Key::new(path.to_vec()).unwrap_or(place.clone()),
        _ => place.clone(),
    }
}

/// Values that were staged under a key before the last one: their numbers, in ascending order, where
/// they are kept, and what they are.
fn older(txn: &dyn ReadTxn, key: &Key) -> Result<Vec<(u64, Key, Stored)>> {
    let Ok(before) = Key::new([key.as_bytes(), &[OLDER_MARK]].concat()) else {
        return Ok(Vec::new());
    };
    let page = Entries::page(txn, Some(&before), limits::STAGED_KEPT_MAX)?;
    let own = page.into_iter().filter_map(|(place, stored)| {
        let number = place.as_bytes().strip_prefix(before.as_bytes())?.try_into().ok()?;
        Some((u64::from_be_bytes(number), place, stored))
    });
    Ok(own.collect())
}

fn staged(txn: &dyn ReadTxn, key: &Key) -> Result<Vec<(Key, Stored)>> {
    let last = Entries::get(txn, key)?.map(|stored| (key.clone(), stored));
    let older = older(txn, key)?.into_iter().rev().map(|(_, place, stored)| (place, stored));
    Ok(last.into_iter().chain(older).collect())
}

fn files(txn: &dyn ReadTxn) -> Result<HashSet<u64>> {
    let mut files = HashSet::new();
    for_each(txn, |_, stored| {
        files.extend(stored.file().map(|file| file.id));
        Ok(())
    })?;
    Ok(files)
}

/// Visits all entries of one moment, in the order of their keys.
///
/// # Errors
/// What `visit` returns, and what the store says.
pub fn for_each(
    txn: &dyn ReadTxn,
    mut visit: impl FnMut(&Key, &Stored) -> Result<()>,
) -> Result<()> {
    let mut after = None;
    loop {
        let page = Entries::page(txn, after.as_ref(), PAGE_SIZE)?;
        for (key, stored) in &page {
            visit(key, stored)?;
        }
        let Some((last, _)) = page.into_iter().next_back() else { return Ok(()) };
        after = Some(last);
    }
}
