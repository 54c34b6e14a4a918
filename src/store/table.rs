//! The hash table of the homework: keys, records that expire, and an index by time, so that a
//! sweep need not look at every entry.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Timestamp;
use crate::error::{ErrorKind, FsError, Result};
use crate::store::txn::{ReadTxn, TABLE_END, Table, Txn};
use crate::types::Key;

/// Key → record, in postcard's form.
pub const ENTRIES: Table = Table("entries");
/// Time of expiry (milliseconds, 8 bytes, big-endian), then the key → nothing.
pub const EXPIRY: Table = Table("expiry");
/// Name of a counter → 8 bytes, big-endian.
pub const COUNTERS: Table = Table("counters");

/// The tables that a [`HashTable`] lives in.
pub const TABLES: [Table; 3] = [ENTRIES, EXPIRY, COUNTERS];

const ENTRY_COUNT: &[u8] = b"entries";
const BYTE_COUNT: &[u8] = b"bytes";

/// What is stored under a key.
pub trait Record: Serialize + DeserializeOwned {
    /// When it is gone.
    fn expires(&self) -> Timestamp;

    /// Bytes of contents in it.
    fn size(&self) -> u64;
}

/// How much is in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries, expired ones that nobody touched yet among them.
    pub entries: u64,
    /// Bytes of contents in all of them.
    pub bytes: u64,
}

/// The operations; the entries themselves are in the [`TABLES`] of the transaction at hand.
pub struct HashTable<R>(PhantomData<fn() -> R>);

impl<R: Record> HashTable<R> {
    /// The record under a key, expired or not.
    ///
    /// # Errors
    /// `Corrupt` if it cannot be decoded, and what the store says.
    pub fn get(txn: &dyn ReadTxn, key: &Key) -> Result<Option<R>> {
        let bytes = txn.get(ENTRIES, key.as_bytes())?;
        bytes.map(|bytes| decode(key, &bytes)).transpose()
    }

    /// About how many bytes there are under a key.
    ///
    /// # Errors
    /// What the store says.
    pub fn size(txn: &dyn ReadTxn, key: &Key) -> Result<u64> {
        Ok(txn.size_of(ENTRIES, key.as_bytes())?.unwrap_or(0))
    }

    /// Stores a record and returns the one that was there.
    ///
    /// # Errors
    /// As [`HashTable::get`].
    pub fn put(txn: &mut dyn Txn, key: &Key, record: &R) -> Result<Option<R>> {
        let old = Self::get(txn, key)?;
        if let Some(old) = &old {
            txn.delete(EXPIRY, &expiry_key(old.expires(), key));
        }
        let bytes = postcard::to_allocvec(record)
            .map_err(|error| FsError::new(ErrorKind::Io, error.to_string()))?;
        txn.put(ENTRIES, key.as_bytes(), &bytes);
        txn.put(EXPIRY, &expiry_key(record.expires(), key), &[]);
        Self::count(txn, old.as_ref(), Some(record))?;
        Ok(old)
    }

    /// Deletes a key and returns what was there.
    ///
    /// # Errors
    /// As [`HashTable::get`].
    pub fn remove(txn: &mut dyn Txn, key: &Key) -> Result<Option<R>> {
        let old = Self::get(txn, key)?;
        if let Some(old) = &old {
            txn.delete(ENTRIES, key.as_bytes());
            txn.delete(EXPIRY, &expiry_key(old.expires(), key));
            Self::count(txn, Some(old), None)?;
        }
        Ok(old)
    }

    /// Removes the entry under the empty key, which earlier programs logged although no table can
    /// hold it, and returns it. For a start, before anything else is read.
    ///
    /// # Errors
    /// As [`HashTable::get`].
    pub fn remove_impossible(txn: &mut dyn Txn) -> Result<Option<R>> {
        Self::remove(txn, &Key::empty())
    }

    /// Up to `limit` keys that have expired.
    ///
    /// # Errors
    /// What the store says.
    pub fn expired(txn: &dyn ReadTxn, now: Timestamp, limit: usize) -> Result<Vec<Key>> {
        let end = (now.0.saturating_add(1)).to_be_bytes();
        let rows = txn.scan(EXPIRY, &[], &end, limit)?;
        rows.into_iter().map(|(row, _)| Key::new(row.slice(8..))).collect()
    }

    /// Up to `limit` entries with keys greater than `after`, in the order of their keys' bytes.
    ///
    /// # Errors
    /// As [`HashTable::get`].
    pub fn page(txn: &dyn ReadTxn, after: Option<&Key>, limit: usize) -> Result<Vec<(Key, R)>> {
        let from = after.map_or_else(Vec::new, |key| [key.as_bytes(), &[0]].concat());
        let rows = txn.scan(ENTRIES, &from, TABLE_END, limit)?;
        rows.into_iter()
            .map(|(key, bytes)| {
                let key = Key::new(key)?;
                let record = decode(&key, &bytes)?;
                Ok((key, record))
            })
            .collect()
    }

    /// How much there is.
    ///
    /// # Errors
    /// What the store says.
    pub fn counts(txn: &dyn ReadTxn) -> Result<Counts> {
        Ok(Counts { entries: counter(txn, ENTRY_COUNT)?, bytes: counter(txn, BYTE_COUNT)? })
    }

    fn count(txn: &mut dyn Txn, old: Option<&R>, new: Option<&R>) -> Result<()> {
        let counts = Self::counts(txn)?;
        let number = |record: Option<&R>| u64::from(record.is_some());
        let size = |record: Option<&R>| record.map_or(0, Record::size);
        let entries = (counts.entries + number(new)).saturating_sub(number(old));
        let bytes = (counts.bytes + size(new)).saturating_sub(size(old));
        txn.put(COUNTERS, ENTRY_COUNT, &entries.to_be_bytes());
        txn.put(COUNTERS, BYTE_COUNT, &bytes.to_be_bytes());
        Ok(())
    }
}

fn counter(txn: &dyn ReadTxn, name: &[u8]) -> Result<u64> {
    let bytes = txn.get(COUNTERS, name)?;
    Ok(bytes.and_then(|bytes| bytes.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes))
}

fn expiry_key(expires: Timestamp, key: &Key) -> Vec<u8> {
    [&expires.0.to_be_bytes(), key.as_bytes()].concat()
}

fn decode<R: Record>(key: &Key, bytes: &[u8]) -> Result<R> {
    let damaged = |_| FsError::new(ErrorKind::Corrupt, format!("the entry of {key} is damaged"));
    postcard::from_bytes(bytes).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::{Strategy, any, prop, prop_assert_eq, proptest};
    use serde::{Deserialize, Serialize};

    use super::{HashTable, Record};
    use crate::clock::Timestamp;
    use crate::store::memory::Memory;
    use crate::types::Key;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Lease(u64, u64);

    impl Record for Lease {
        fn expires(&self) -> Timestamp {
            Timestamp(self.0)
        }

        fn size(&self) -> u64 {
            self.1
        }
    }

    type Leases = HashTable<Lease>;

    fn key() -> impl Strategy<Value = Key> {
        prop::collection::vec(0u8..3, 1..4).prop_map(|bytes| Key::new(bytes).unwrap())
    }

    proptest! {
        /// Entries, expiry index and counters agree with a map, whatever is put and removed.
        #[test]
        fn the_table_is_a_map(
            edits in prop::collection::vec((key(), any::<Option<(u8, u8)>>()), 0..30),
            now in 0u64..256,
        ) {
            let mut memory = Memory::new();
            let mut model = BTreeMap::new();
            for (key, record) in edits {
                let old = match record {
                    Some((expires, size)) => {
                        let lease = Lease(expires.into(), size.into());
                        let old = Leases::put(&mut memory, &key, &lease).unwrap();
                        prop_assert_eq!(&old, &model.insert(key, lease));
                        continue;
                    }
                    None => Leases::remove(&mut memory, &key).unwrap(),
                };
                prop_assert_eq!(old, model.remove(&key));
            }
            let counts = Leases::counts(&memory).unwrap();
            prop_assert_eq!(counts.entries, model.len() as u64);
            prop_assert_eq!(counts.bytes, model.values().map(|lease| lease.1).sum::<u64>());
            let mut expired = Leases::expired(&memory, Timestamp(now), 100).unwrap();
            expired.sort();
            let expected: Vec<Key> = model.iter()
                .filter(|(_, lease)| lease.0 <= now).map(|(key, _)| key.clone()).collect();
            prop_assert_eq!(expired, expected);
            let page = Leases::page(&memory, None, 100).unwrap();
            prop_assert_eq!(page, model.into_iter().collect::<Vec<_>>());
        }
    }
}
