//! Transactions over ordered tables of bytes: the narrow interface between what the servers
//! decide and where they keep it.

use bytes::Bytes;

use crate::error::{ErrorKind, FsError, Result};

/// The name of an ordered table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(pub &'static str);

/// One moment of a store, to read.
pub trait ReadTxn {
    /// The value under a key.
    ///
    /// # Errors
    /// `Io` or `Corrupt` if the store cannot be read.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>>;

    /// The size of the value under a key, in bytes, if possible without reading it.
    ///
    /// # Errors
    /// As [`ReadTxn::get`].
    fn size_of(&self, table: Table, key: &[u8]) -> Result<Option<u64>> {
        Ok(self.get(table, key)?.map(|value| value.len() as u64))
    }

    /// Up to `limit` entries with keys in `from..to`, in ascending order of their keys' bytes.
    ///
    /// # Errors
    /// As [`ReadTxn::get`].
    fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>>;
}

/// One transaction: it sees its own writes, and takes effect as a whole or not at all.
pub trait Txn: ReadTxn {
    /// Stores a value, in place of what was there.
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]);

    /// Deletes a key; nothing happens if it is not there.
    fn delete(&mut self, table: Table, key: &[u8]);
}

/// Longest key that a store can hold, in bytes.
const STORED_KEY_MAX: usize = u16::MAX as usize;

/// Checks that a store can hold a key. Below this, the database panics at one that it cannot hold.
///
/// # Errors
/// `InvalidArgument` for one that is empty or longer than 65,535 bytes.
pub(super) fn check_key(table: Table, key: &[u8]) -> Result<()> {
    let wrong = match key.len() {
        0 => "an empty key".to_owned(),
        1..=STORED_KEY_MAX => return Ok(()),
        length => format!("a key of {length} bytes"),
    };
    let message = format!("no store holds {wrong}, as was to be put into the table {}", table.0);
    Err(FsError::new(ErrorKind::InvalidArgument, message))
}

/// Greater than every key: the end of a scan over a whole table.
///
/// Keys of clients have at most [`crate::limits::KEY_SIZE_MAX`] bytes, and the tables put less
/// than the difference around them.
pub const TABLE_END: &[u8] = &[0xff; crate::limits::KEY_SIZE_MAX + 64];
