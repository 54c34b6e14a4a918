//! The contents in a file, and back.

use std::path::Path;
use std::sync::PoisonError;

use super::Contents;
use crate::chunk::index::{self, staged_under};
use crate::clock::Timestamp;
use crate::dump::{self, Dump, Kept};
use crate::error::Result;
use crate::limits;
use crate::types::{Key, TreePath};

impl Contents {
    /// Writes a dump of this moment.
    ///
    /// # Errors
    /// `Corrupt` if a value is damaged, and what the disk says; the file is as before then.
    pub fn write_dump(&self, path: &Path) -> Result<()> {
        let _pinned = self.pinned.read().unwrap_or_else(PoisonError::into_inner);
        let moment = self.index().snapshot()?;
        dump::write(path, |dump| {
            moment.read(|txn| {
                index::for_each(txn, |key, stored| {
                    if is_replaced(key) {
                        return Ok(());
                    }
                    let value = self.read(stored).map_err(|error| error.context(key))?;
                    dump.entry(&dump::Entry { key: key.clone(), value, expires: stored.expires })
                })
            })
        })
    }

    /// Puts the entries of a dump that have not expired in the place of all entries.
    ///
    /// # Errors
    /// `TooBig`, and what the disk says; nothing has changed then.
    pub fn load(&self, dump: &Dump, now: Timestamp) -> Result<()> {
        let mut entries = Vec::new();
        let mut kept = Kept::default();
        let loaded = dump.read(now, |entry| {
            let dump::Entry { key, value, expires } = entry;
            kept.add(&key, value.bytes.len().min(limits::INLINE_VALUE_MAX))?;
            entries.push((key, self.store_value(value, expires)?));
            Ok(())
        });
        let replaced = loaded.and_then(|()| self.index().replace_all(&entries));
        match replaced {
            Ok(old) => {
                self.loose().replaced.extend(old);
                Ok(())
            }
            Err(error) => {
                entries.iter().for_each(|(_, stored)| self.discard_after(stored, &error));
                Err(error)
            }
        }
    }
}

/// Whether a key is one of those under which values are kept that others have replaced: they are
/// nobody's but of the clients that are on their way to the master with them.
fn is_replaced(key: &Key) -> bool {
    let under = staged_under(key);
    under != *key && TreePath::of(&under).is_some()
}
