//! The smallest store there can be, for the tests: an ordered map in memory.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::Result;
use crate::store::{Table, Txn};

/// A store that the suites of the namespace run over.
pub(in super::super) trait Store {
    /// Runs a transaction and keeps what it wrote, unless it fails.
    fn transact<T>(&mut self, work: impl FnOnce(&mut dyn Txn) -> Result<T>) -> Result<T>;

    /// Looks at what is kept.
    fn look<T>(&self, work: impl FnOnce(&dyn Txn) -> Result<T>) -> Result<T>;
}

type Key = (Table, Vec<u8>);

/// Keeps everything in a map.
#[derive(Default)]
pub(in super::super) struct MapStore {
    kept: BTreeMap<Key, Bytes>,
}

/// A transaction: what is kept, and over it what was written. `None` is a deletion.
struct MapTxn<'s> {
    kept: &'s BTreeMap<Key, Bytes>,
    written: BTreeMap<Key, Option<Bytes>>,
}

impl Store for MapStore {
    fn transact<T>(&mut self, work: impl FnOnce(&mut dyn Txn) -> Result<T>) -> Result<T> {
        let mut txn = MapTxn { kept: &self.kept, written: BTreeMap::new() };
        let answer = work(&mut txn);
        let written = txn.written;
        if answer.is_err() {
            assert!(written.is_empty(), "an operation that failed has written {written:?}");
        }
        for (key, value) in written {
            match value {
                Some(value) => drop(self.kept.insert(key, value)),
                None => drop(self.kept.remove(&key)),
            }
        }
        answer
    }

    fn look<T>(&self, work: impl FnOnce(&dyn Txn) -> Result<T>) -> Result<T> {
        let txn = MapTxn { kept: &self.kept, written: BTreeMap::new() };
        work(&txn)
    }
}

impl MapStore {
    /// Records there are, in all tables.
    pub(in super::super) fn len(&self) -> usize {
        self.kept.len()
    }
}

impl Txn for MapTxn<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        let key = (table, key.to_vec());
        let kept = || self.kept.get(&key).cloned();
        Ok(self.written.get(&key).map_or_else(kept, Clone::clone))
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.written.insert((table, key.to_vec()), Some(Bytes::copy_from_slice(value)));
    }

    fn delete(&mut self, table: Table, key: &[u8]) {
        self.written.insert((table, key.to_vec()), None);
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        if from >= to {
            return Ok(Vec::new());
        }
        let range = (table, from.to_vec())..(table, to.to_vec());
        // What was written hides at most as many of what is kept.
        let written: BTreeMap<_, _> = self.written.range(range.clone()).collect();
        let kept = self.kept.range(range).filter(|(key, _)| !written.contains_key(key));
        let mut found: BTreeMap<&Key, &Bytes> = kept.take(limit).collect();
        found.extend(written.iter().filter_map(|(key, value)| Some((*key, value.as_ref()?))));
        let copy = |(key, value): (&Key, &Bytes)| (Bytes::from(key.1.clone()), value.clone());
        Ok(found.into_iter().take(limit).map(copy).collect())
    }
}
