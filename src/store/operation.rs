//! An update in a log as the operation that it is for people.

use crate::store::logged::Update;
use crate::store::table::{ENTRIES, Record};
use crate::types::{Key, Operation};

impl Update {
    /// What the update does to the entries of a hash table; `None` if it does nothing.
    #[must_use]
    pub fn on_entries<R: Record>(&self) -> Option<Operation> {
        let entries = || self.writes.iter().filter(|(table, ..)| *table == ENTRIES);
        // Where an entry takes the place of others, that is what was meant.
        let (_, key, value) = entries().find(|(.., value)| value.is_some()).or(entries().next())?;
        let record = value.as_ref().and_then(|bytes| postcard::from_bytes::<R>(bytes).ok());
        let what = if value.is_some() { "put" } else { "delete" };
        let more = entries().count() as u64 - 1;
        Some(Operation { more, ..self.operation(what, key, record.map(|record| record.size())) })
    }

    /// The update as an operation on one thing.
    #[must_use]
    pub fn operation(&self, what: &str, key: &[u8], size: Option<u64>) -> Operation {
        let number = self.number;
        Operation { number, what: what.to_owned(), key: printable(key), size, more: 0 }
    }
}

/// A key as it is printed everywhere.
fn printable(key: &[u8]) -> String {
    Key::new(key.to_vec()).map_or_else(|_| key.escape_ascii().to_string(), |key| key.to_string())
}
