//! Tables in memory, for tests and models: the same transactions, nothing on disk.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::Result;
use crate::store::changes::{Changes, Collecting};
use crate::store::txn::{ReadTxn, Table, Txn};

/// Ordered tables in maps.
///
/// As a [`Txn`] itself, its writes take effect one by one; [`Memory::write`] makes many of them
/// one transaction.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    tables: BTreeMap<Table, BTreeMap<Bytes, Bytes>>,
}

impl Memory {
    /// No tables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `work` as one transaction: if it fails, nothing of it has happened.
    ///
    /// # Errors
    /// What `work` returns.
    pub fn write<T>(&mut self, work: impl FnOnce(&mut dyn Txn) -> Result<T>) -> Result<T> {
        let mut txn = Collecting::over(self);
        let value = work(&mut txn)?;
        let changes = txn.changes;
        self.apply(&changes);
        Ok(value)
    }

    /// Reads.
    ///
    /// # Errors
    /// What `work` returns.
    pub fn read<T>(&self, work: impl FnOnce(&dyn ReadTxn) -> Result<T>) -> Result<T> {
        work(self)
    }

    fn apply(&mut self, changes: &Changes) {
        for (table, key, value) in changes.iter() {
            let rows = self.tables.entry(table).or_default();
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
    }
}

impl ReadTxn for Memory {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.tables.get(&table).and_then(|rows| rows.get(key)).cloned())
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        let Some(rows) = self.tables.get(&table).filter(|_| from < to) else {
            return Ok(Vec::new());
        };
        let range = Bytes::copy_from_slice(from)..Bytes::copy_from_slice(to);
        Ok(rows.range(range).take(limit).map(|(k, v)| (k.clone(), v.clone())).collect())
    }
}

impl Txn for Memory {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        let rows = self.tables.entry(table).or_default();
        rows.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    }

    fn delete(&mut self, table: Table, key: &[u8]) {
        if let Some(rows) = self.tables.get_mut(&table) {
            rows.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::{Strategy, any, prop, prop_assert_eq, proptest};

    use super::Memory;
    use crate::error::{ErrorKind, FsError};
    use crate::store::txn::{ReadTxn, Table, Txn};

    const TABLE: Table = Table("t");

    #[test]
    fn a_transaction_that_fails_has_not_happened() {
        let mut memory = Memory::new();
        let failed: crate::error::Result<()> = memory.write(|txn| {
            txn.put(TABLE, b"a", b"1");
            Err(FsError::new(ErrorKind::Io, "no"))
        });
        assert!(failed.is_err());
        assert_eq!(memory.get(TABLE, b"a").unwrap(), None);
    }

    fn short_key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(0u8..3, 0..3)
    }

    proptest! {
        /// Inside a transaction, reads see the writes laid over the base as one ordered table.
        #[test]
        fn a_transaction_sees_its_own_writes(
            base in prop::collection::btree_map(short_key(), any::<u8>(), 0..10),
            writes in prop::collection::vec((short_key(), any::<Option<u8>>()), 0..10),
            from in short_key(), to in short_key(), limit in 0usize..6,
        ) {
            let mut memory = Memory::new();
            for (key, value) in &base {
                memory.put(TABLE, key, &[*value]);
            }
            let mut model: BTreeMap<Vec<u8>, u8> = base;
            memory.write(|txn| {
                for (key, value) in writes {
                    match value {
                        Some(value) => { txn.put(TABLE, &key, &[value]); model.insert(key, value); }
                        None => { txn.delete(TABLE, &key); model.remove(&key); }
                    }
                }
                let found: Vec<_> = txn.scan(TABLE, &from, &to, limit)?
                    .into_iter().map(|(k, v)| (k.to_vec(), v[0])).collect();
                let expected: Vec<_> = model.iter()
                    .filter(|(k, _)| **k >= from && **k < to)
                    .take(limit).map(|(k, v)| (k.clone(), *v)).collect();
                assert_eq!(found, expected);
                Ok(())
            }).unwrap();
            let found = memory.scan(TABLE, &[], &[9], 100).unwrap();
            prop_assert_eq!(found.len(), model.len());
        }
    }
}
