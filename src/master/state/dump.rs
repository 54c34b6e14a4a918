//! The hash table of the master in a file, and back.

use std::path::Path;

use super::{Entries, PAGE_SIZE, State, Stored};
use crate::clock::Timestamp;
use crate::dump::{self, Dump, Kept};
use crate::error::Result;
use crate::master::accounts::{self, Charge};
use crate::proto::form;
use crate::store::logged::{LoggedSnapshot, clear};
use crate::store::{ReadTxn, TABLE_END, Txn, table};
use crate::types::{Key, ServerId, StoredValue};

impl State {
    /// One moment of everything, for [`write_dump`].
    ///
    /// # Errors
    /// What the store says.
    pub fn snapshot(&self) -> Result<LoggedSnapshot> {
        self.logged.snapshot()
    }

    /// Puts the entries of a dump that have not expired in the place of all entries, each charged with
    /// what its dict says of size and server.
    ///
    /// # Errors
    /// `TooBig`, and what the disk says; nothing has changed then.
    pub fn load(&mut self, dump: &Dump, now: Timestamp) -> Result<()> {
        let sizes = self.logged.replace(|txn| {
            give_all_back(txn)?;
            for table in table::TABLES.into_iter().chain([accounts::CHARGES, accounts::PENDING]) {
                clear(txn, table)?;
            }
            let mut kept = Kept::default();
            dump.read(now, |entry| {
                let dump::Entry { key, value, expires } = entry;
                kept.add(&key, value.bytes.len())?;
                let charge = charge_of(&value);
                // An entry with an equal key before it is replaced.
                accounts::give_back(txn, &key)?;
                Entries::put(txn, &key, &Stored { value, expires })?;
                accounts::restore(txn, &key, charge).map(|_| ())
            })?;
            accounts::sizes(txn)
        })?;
        self.show(&sizes);
        Ok(())
    }
}

/// What the client that stored a dict has announced with `changeSize`.
fn charge_of(value: &StoredValue) -> Charge {
    let placed = form::read_attributes(value).ok().and_then(|attributes| {
        let size = attributes.size;
        attributes.contents.map(|server| Charge::settled(ServerId::from(&server), size))
    });
    placed.unwrap_or_default()
}

fn give_all_back(txn: &mut dyn Txn) -> Result<()> {
    let mut after = None;
    loop {
        let page = charged_keys(txn, after.as_ref())?;
        let Some(last) = page.last().cloned() else { return Ok(()) };
        for key in page {
            accounts::give_back(txn, &key)?;
        }
        after = Some(last);
    }
}

fn charged_keys(txn: &dyn ReadTxn, after: Option<&Key>) -> Result<Vec<Key>> {
    let from = after.map_or_else(Vec::new, |key| [key.as_bytes(), &[0]].concat());
    let rows = txn.scan(accounts::CHARGES, &from, TABLE_END, PAGE_SIZE)?;
    rows.into_iter().map(|(key, _)| Key::new(key)).collect()
}

/// Writes a dump of one moment.
///
/// # Errors
/// What the disk says; the file is as before then.
pub fn write_dump(moment: &LoggedSnapshot, path: &Path) -> Result<()> {
    dump::write(path, |dump| {
        let mut after = None;
        loop {
            let page = moment.read(|txn| Entries::page(txn, after.as_ref(), PAGE_SIZE))?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, Stored { value, expires }) in page {
                dump.entry(&dump::Entry { key, value, expires })?;
            }
        }
    })
}
