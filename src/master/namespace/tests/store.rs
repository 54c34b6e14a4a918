//! The engines that the suites of the namespace run over.

use bytes::Bytes;

use crate::error::Result;
use crate::master::namespace::TABLES;
use crate::store::{Memory, ReadTxn, Store, TABLE_END, Table, Txn};

/// Runs transactions.
pub(super) trait Engine {
    /// Runs a transaction and keeps what it wrote, unless it fails.
    fn transact<T>(&mut self, work: impl FnOnce(&mut dyn Txn) -> Result<T>) -> Result<T>;

    /// Looks at what is kept.
    fn look<T>(&self, work: impl FnOnce(&dyn ReadTxn) -> Result<T>) -> Result<T>;

    /// Records there are, in all tables.
    fn len(&self) -> usize {
        let count = |txn: &dyn ReadTxn| -> Result<usize> {
            let rows = TABLES.map(|table| txn.scan(table, &[], TABLE_END, usize::MAX));
            rows.into_iter().map(|rows| rows.map(|rows| rows.len())).sum()
        };
        self.look(count).unwrap()
    }
}

impl Engine for Memory {
    fn transact<T>(&mut self, work: impl FnOnce(&mut dyn Txn) -> Result<T>) -> Result<T> {
        Self::write(self, |txn| watched(txn, work))
    }

    fn look<T>(&self, work: impl FnOnce(&dyn ReadTxn) -> Result<T>) -> Result<T> {
        Self::read(self, work)
    }
}

impl Engine for Store {
    fn transact<T>(&mut self, work: impl FnOnce(&mut dyn Txn) -> Result<T>) -> Result<T> {
        Self::write(self, |txn| watched(txn, work))
    }

    fn look<T>(&self, work: impl FnOnce(&dyn ReadTxn) -> Result<T>) -> Result<T> {
        Self::read(self, work)
    }
}

/// A transaction that counts what is written.
struct Watched<'t> {
    txn: &'t mut dyn Txn,
    writes: usize,
}

/// Does some work, and makes sure that it has written nothing if it fails.
fn watched<T>(txn: &mut dyn Txn, work: impl FnOnce(&mut dyn Txn) -> Result<T>) -> Result<T> {
    let mut txn = Watched { txn, writes: 0 };
    let answer = work(&mut txn);
    assert!(answer.is_ok() || txn.writes == 0, "an operation that failed has written");
    answer
}

impl ReadTxn for Watched<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        self.txn.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        self.txn.scan(table, from, to, limit)
    }
}

impl Txn for Watched<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.writes += 1;
        self.txn.put(table, key, value);
    }

    fn delete(&mut self, table: Table, key: &[u8]) {
        self.writes += 1;
        self.txn.delete(table, key);
    }
}
