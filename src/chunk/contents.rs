//! The contents of a chunk server: a hash table whose large values are in files.
//!
//! A value is written to its file before the index names it, so a crash leaves at most a file that
//! nothing refers to. The file of a value that was replaced is deleted only when the log that
//! says so is on the disk. Files are written and read without the lock on the index: a large `put`
//! keeps no `get` waiting.
//!
//! Lock order: `syncing`, then `pinned`, then one of `index` and `loose`; never two of the last.

mod dump;
mod log;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};

use tokio::task::block_in_place;

use crate::chunk::index::{Index, Place, Stored};
use crate::chunk::values::{self, Values};
use crate::clock::Timestamp;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::classic::Entry;
use crate::store::table::Counts;
use crate::store::{DataDir, Record as _, Store};
use crate::types::{Key, StoredValue, Ttl};

/// The role, in the data directory's marker and in dumps of earlier versions.
pub const ROLE: &str = "chunk";

/// How often an operation starts again because another one changed the entry in between. Each time
/// somebody else got on, so this is never reached by chance.
const ATTEMPTS_MAX: usize = 1000;

/// The contents. All calls may take the disk's time.
pub struct Contents {
    index: Mutex<Index>,
    pub(super) values: Values,
    store: Arc<Store>,
    /// Files that are not fully in order yet.
    loose: Mutex<Loose>,
    /// Held during a sync; those who wait find their work done.
    syncing: Mutex<()>,
    /// Read-locked while files of one moment of the index must not go.
    pinned: RwLock<()>,
}

#[derive(Default)]
struct Loose {
    /// Written, perhaps not on the disk.
    unsynced: Vec<u64>,
    /// Replaced, to be deleted when the log is on the disk.
    replaced: Vec<u64>,
}

impl Contents {
    /// Opens the contents in a data directory: what an earlier process acknowledged is on the disk
    /// when this returns, what it left over is gone, and what has expired is gone.
    ///
    /// # Errors
    /// `Corrupt` if the index is damaged, and what the disk says.
    pub fn open(dir: &DataDir, backup_every: u64, now: Timestamp) -> Result<Self> {
        let index = Index::open(dir, backup_every)?;
        values::sync_disk(dir.path())?;
        let used = index.files()?;
        let values = Values::open(dir.values()?, |id| used.contains(&id))?;
        let store = Arc::clone(index.store());
        let contents = Self {
            index: Mutex::new(index),
            values,
            store,
            loose: Mutex::default(),
            syncing: Mutex::default(),
            pinned: RwLock::default(),
        };
        while contents.sweep(now)? {}
        Ok(contents)
    }

    /// The value under a key. One that has expired is dropped.
    ///
    /// # Errors
    /// `Corrupt` if the stored bytes are not those that were put, and what the disk says.
    pub fn get(&self, key: &Key, now: Timestamp) -> Result<Option<Entry>> {
        Ok(self.find(key, now)?.map(|(stored, value)| {
            let ttl_s = stored.expires.since_ms(now) / 1000;
            Entry { value, ttl_s }
        }))
    }

    /// How many bytes the value under a key has; 0 if there is none.
    ///
    /// # Errors
    /// What the store says.
    pub fn size(&self, key: &Key) -> Result<u64> {
        Ok(self.index().get(key)?.map_or(0, |stored| stored.size()))
    }

    /// Stores a value for a time, or deletes the key if that is none.
    ///
    /// # Errors
    /// `NoSpace` if the disk is full, and what it says; nothing has changed then.
    pub fn put(&self, key: &Key, value: StoredValue, ttl: Ttl, now: Timestamp) -> Result<()> {
        let Some(new) = self.prepare(value, ttl, now)? else { return self.delete(key) };
        let put = self.index().put(key, &new);
        self.release(put.inspect_err(|error| self.discard_after(&new, error))?);
        Ok(())
    }

    /// [`Contents::put`], if the key holds exactly `expected`; says whether it did.
    ///
    /// # Errors
    /// As [`Contents::put`] and [`Contents::get`].
    pub fn replace(
        &self,
        key: &Key,
        expected: Option<&StoredValue>,
        (value, ttl): (StoredValue, Ttl),
        now: Timestamp,
    ) -> Result<bool> {
        let new = self.prepare(value, ttl, now)?;
        let replaced = self.replace_prepared(key, expected, new.as_ref(), now);
        match (&new, &replaced) {
            (Some(new), Ok(false)) => self.discard(new),
            (Some(new), Err(error)) => self.discard_after(new, error),
            _ => {}
        }
        replaced
    }

    fn replace_prepared(
        &self,
        key: &Key,
        expected: Option<&StoredValue>,
        new: Option<&Stored>,
        now: Timestamp,
    ) -> Result<bool> {
        for _ in 0..ATTEMPTS_MAX {
            let (seen, found) = self.find(key, now)?.unzip();
            let is_expected = match (&found, expected) {
                (Some(found), Some(expected)) => found.is_answered_as(expected),
                (found, expected) => found.is_none() && expected.is_none(),
            };
            if !is_expected {
                return Ok(false);
            }
            let mut index = self.index();
            // The value was compared without the lock; it is still this one if its record is.
            if index.get(key)?.filter(|stored| stored.expires > now) != seen {
                continue;
            }
            let old = match new {
                Some(new) => index.put(key, new)?,
                None => index.remove(key)?,
            };
            drop(index);
            self.release(old);
            return Ok(true);
        }
        Err(FsError::new(ErrorKind::Busy, format!("{key} changes all the time")))
    }

    /// Returns when everything acknowledged before the call is on the disk, and deletes the files
    /// that are not needed any more.
    ///
    /// # Errors
    /// `ReadOnly` if the disk failed, now or before.
    pub fn sync(&self) -> Result<()> {
        let _syncing = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let Loose { unsynced, replaced } = std::mem::take(&mut *self.loose());
        let gone: HashSet<u64> = replaced.iter().copied().collect();
        let ids: Vec<u64> = unsynced.iter().copied().filter(|id| !gone.contains(id)).collect();
        if let Err(error) = self.values.sync(&ids) {
            return Err(self.store.refuse_writes(format!("cannot sync contents: {error}")));
        }
        if let Err(error) = self.store.sync() {
            let mut loose = self.loose();
            loose.unsynced.extend(unsynced);
            loose.replaced.extend(replaced);
            return Err(error);
        }
        match self.pinned.try_write() {
            Ok(_) => replaced.into_iter().for_each(|id| self.values.delete(id)),
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => {
                self.loose().replaced.extend(replaced);
            }
        }
        Ok(())
    }

    /// Deletes some entries that have expired. Says whether there may be more.
    ///
    /// # Errors
    /// What the store says.
    pub fn sweep(&self, now: Timestamp) -> Result<bool> {
        let removed = self.index().remove_expired(now)?;
        let any = !removed.is_empty();
        removed.into_iter().for_each(|old| self.release(Some(old)));
        Ok(any)
    }

    /// The store of the index.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// How much there is.
    ///
    /// # Errors
    /// What the store says.
    pub fn counts(&self) -> Result<Counts> {
        self.index().counts()
    }

    /// Some entries with keys greater than `after`, each with its value as far as it can be read.
    ///
    /// # Errors
    /// What the store says.
    pub fn page(&self, after: Option<&Key>) -> Result<Vec<(Key, Stored, Result<StoredValue>)>> {
        let page = self.index().page(after)?;
        let row = |(key, stored): (Key, Stored)| {
            let value = self.read(&stored);
            (key, stored, value)
        };
        Ok(page.into_iter().map(row).collect())
    }

    /// The record and the value under a key, unless it has expired.
    pub(super) fn find(&self, key: &Key, now: Timestamp) -> Result<Option<(Stored, StoredValue)>> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(stored) = self.index().get(key)? else { return Ok(None) };
            if stored.expires <= now {
                // It is gone either way; that a full disk keeps its row is no error of the
                // caller's.
                if let Err(error) = self.delete_expired(key, now) {
                    tracing::warn!("an expired entry stays: {error}");
                }
                return Ok(None);
            }
            match self.read(&stored) {
                Ok(value) => return Ok(Some((stored, value))),
                // Replaced, and its file deleted, since the index was asked: ask again.
                Err(_) if self.index().get(key)?.as_ref() != Some(&stored) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let message = format!("the file with the contents of {key} is missing");
                    return Err(FsError::new(ErrorKind::Corrupt, message));
                }
                Err(error) => return Err(error.context(format!("the contents of {key}"))),
            }
        }
        Err(FsError::new(ErrorKind::Busy, format!("{key} changes all the time")))
    }

    fn read(&self, stored: &Stored) -> Result<StoredValue> {
        let bytes = match &stored.place {
            Place::Inline(bytes) => bytes.clone(),
            Place::File(file) => block_in_place(|| self.values.read(file))?,
        };
        Ok(StoredValue { kind: stored.kind, bytes })
    }

    /// Brings a value to its place; `None` if it is to be deleted.
    pub(super) fn prepare(
        &self,
        value: StoredValue,
        ttl: Ttl,
        now: Timestamp,
    ) -> Result<Option<Stored>> {
        if ttl.is_zero() {
            return Ok(None);
        }
        self.store_value(value, ttl.end(now)).map(Some)
    }

    fn store_value(&self, value: StoredValue, expires: Timestamp) -> Result<Stored> {
        let StoredValue { kind, bytes } = value;
        self.make_room(bytes.len())?;
        let place = if bytes.len() <= limits::INLINE_VALUE_MAX {
            Place::Inline(bytes)
        } else {
            let file = self.values.write(&bytes)?;
            self.loose().unsynced.push(file.id);
            Place::File(file)
        };
        Ok(Stored { kind, place, expires })
    }

    /// Checks that there is room for a value. Room that replaced values take counts as free: they
    /// are deleted if need be.
    fn make_room(&self, size: usize) -> Result<()> {
        let wanted = u64::try_from(size).unwrap_or(u64::MAX).saturating_add(limits::DISK_RESERVE);
        let checked = self.store.check_room(wanted);
        if checked.is_ok() || self.loose().replaced.is_empty() {
            return checked;
        }
        self.sync()?;
        self.store.check_room(wanted)
    }

    /// Bytes that have to be freed for a value of this size; 0 if there is room.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn missing_room(&self, size: usize) -> Result<u64> {
        let wanted = u64::try_from(size).unwrap_or(u64::MAX).saturating_add(limits::DISK_RESERVE);
        let free = crate::store::file::free_space(self.values.path())?;
        Ok(wanted.saturating_add(1).saturating_sub(free))
    }

    fn delete(&self, key: &Key) -> Result<()> {
        let old = self.index().remove(key)?;
        self.release(old);
        Ok(())
    }

    /// Deletes an entry if its record is as wanted; says whether it did.
    pub(super) fn remove_if(
        &self,
        key: &Key,
        is_wanted: impl FnOnce(&Stored) -> bool,
    ) -> Result<bool> {
        let mut index = self.index();
        if !index.get(key)?.is_some_and(|stored| is_wanted(&stored)) {
            return Ok(false);
        }
        let old = index.remove(key)?;
        drop(index);
        self.release(old);
        Ok(true)
    }

    fn delete_expired(&self, key: &Key, now: Timestamp) -> Result<()> {
        // It may have been put anew since.
        self.remove_if(key, |stored| stored.expires <= now).map(|_| ())
    }

    /// The file of a record that the index has no more may go, when the log is on the disk.
    pub(super) fn release(&self, old: Option<Stored>) {
        if let Some(file) = old.as_ref().and_then(Stored::file) {
            self.loose().replaced.push(file.id);
        }
    }

    /// The file of a record that never came into the index goes at once.
    fn discard(&self, new: &Stored) {
        if let Some(file) = new.file() {
            self.loose().unsynced.retain(|id| *id != file.id);
            self.values.delete(file.id);
        }
    }

    /// [`Contents::discard`] after a failure, if it is certain that the index does not have it.
    pub(super) fn discard_after(&self, new: &Stored, error: &FsError) {
        if error.kind() != ErrorKind::ReadOnly {
            self.discard(new);
        }
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        // A panic leaves no half-made change behind: changes are made in the store, as a whole.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn loose(&self) -> MutexGuard<'_, Loose> {
        self.loose.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
