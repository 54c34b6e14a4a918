//! A set of writes that are not in a store yet, and reading through it: what a transaction sees of
//! itself, and the overlay of a logged store.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::Result;
use crate::store::txn::{ReadTxn, Table, Txn, check_key};

/// Writes by table and key; `None` is a deletion. The last write to a key wins.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    tables: BTreeMap<Table, BTreeMap<Bytes, Option<Bytes>>>,
    /// Bytes of all keys and values.
    size: usize,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn set(&mut self, table: Table, key: Bytes, value: Option<Bytes>) {
        let weight = |value: &Option<Bytes>| key.len() + value.as_ref().map_or(0, Bytes::len);
        self.size += weight(&value);
        let row = self.tables.entry(table).or_default();
        if let Some(old) = row.insert(key.clone(), value) {
            self.size -= weight(&old);
        }
    }

    /// What is written under a key: nothing yet, a deletion, or a value.
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Option<&Option<Bytes>> {
        self.tables.get(&table)?.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Table, &Bytes, &Option<Bytes>)> {
        self.tables
            .iter()
            .flat_map(|(table, rows)| rows.iter().map(move |(key, value)| (*table, key, value)))
    }

    /// Checks that everything these changes put can be stored.
    ///
    /// # Errors
    /// `InvalidArgument` says what cannot.
    pub(super) fn check_keys(&self) -> Result<()> {
        let mut puts = self.iter().filter(|(.., value)| value.is_some());
        puts.try_for_each(|(table, key, _)| check_key(table, key))
    }

    /// Lays `later` over these changes.
    pub(super) fn merge(&mut self, later: Self) {
        for (table, rows) in later.tables {
            for (key, value) in rows {
                self.set(table, key, value);
            }
        }
    }

    /// [`Txn::scan`] of what `base` would be with these changes applied.
    pub(super) fn scan_over(
        &self,
        base: &dyn ReadTxn,
        table: Table,
        range: (&[u8], &[u8]),
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        let (from, to) = range;
        let Some(changed) = self.tables.get(&table) else {
            return base.scan(table, from, to, limit);
        };
        let mut found = Vec::new();
        let mut start = from.to_vec();
        while found.len() < limit && start.as_slice() < to {
            let wanted = limit - found.len();
            let page = base.scan(table, &start, to, wanted)?;
            // Behind the last key of a full page, the base is not known yet.
            let end = match page.last() {
                Some((last, _)) if page.len() == wanted => [last.as_ref(), &[0]].concat(),
                _ => to.to_vec(),
            };
            let mut rows: BTreeMap<Bytes, Option<Bytes>> =
                page.into_iter().map(|(key, value)| (key, Some(value))).collect();
            let range = Bytes::from(start)..Bytes::copy_from_slice(&end);
            rows.extend(changed.range(range).map(|(key, value)| (key.clone(), value.clone())));
            let rows = rows.into_iter().filter_map(|(key, value)| Some((key, value?)));
            found.extend(rows.take(wanted));
            start = end;
        }
        Ok(found)
    }
}

/// A transaction that collects its writes above something that can be read.
pub(super) struct Collecting<'a> {
    base: &'a dyn ReadTxn,
    pub(super) changes: Changes,
}

impl<'a> Collecting<'a> {
    pub(super) fn over(base: &'a dyn ReadTxn) -> Self {
        Self { base, changes: Changes::default() }
    }
}

impl ReadTxn for Collecting<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        match self.changes.get(table, key) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(table, key),
        }
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        self.changes.scan_over(self.base, table, (from, to), limit)
    }
}

impl Txn for Collecting<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        let value = Some(Bytes::copy_from_slice(value));
        self.changes.set(table, Bytes::copy_from_slice(key), value);
    }

    fn delete(&mut self, table: Table, key: &[u8]) {
        self.changes.set(table, Bytes::copy_from_slice(key), None);
    }
}

/// Something that can be read, seen through changes that are not in it yet.
pub(super) struct Overlaid<'a> {
    pub(super) base: &'a dyn ReadTxn,
    pub(super) changes: &'a Changes,
}

impl ReadTxn for Overlaid<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        match self.changes.get(table, key) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(table, key),
        }
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        self.changes.scan_over(self.base, table, (from, to), limit)
    }
}
