//! Dumps as earlier versions of htfs have written them; read only.
//!
//! Format, numbers little-endian: the 12 bytes `htfs dump 1\n`; the role as a row; the rows, each a
//! `u32` length above 0 and that many bytes, in postcard's form; a `u32` 0; the `u64` number of rows
//! after the role; the CRC32C of everything before it, `u32`. A row of a master is key, value, end,
//! and what the key contributed to the sizes of servers; one of a chunk server key, type, end, bytes.

use std::io::Read;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::clock::Timestamp;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::types::{StoredValue, ValueKind};

const MAGIC: &[u8; 12] = b"htfs dump 1\n";

/// Largest row: a value of the largest body, with its key and what else there is.
const ROW_SIZE_MAX: usize = limits::BODY_SIZE_MAX + (1 << 20);

/// The roles, by the names they have in dumps.
const MASTER: &str = "master";
const CHUNK: &str = "chunk";

/// Whether a file begins like such a dump.
pub(super) fn is_earlier(from: impl Read) -> Result<bool> {
    let mut start = Vec::new();
    from.take(MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok(start == MAGIC)
}

/// A key, what is under it, and when it is gone.
pub(super) type Row = (Bytes, StoredValue, Timestamp);

/// Gives the entries of a dump of this role.
///
/// # Errors
/// `Corrupt` if it is no whole dump of the role, and what `each` returns.
pub(super) fn read(
    from: impl Read,
    role: &str,
    mut each: impl FnMut(Row) -> Result<()>,
) -> Result<()> {
    let mut rows = Rows { from, checksum: 0 };
    rows.bytes(MAGIC.len())?;
    let found: Option<String> = rows.row()?;
    if found.as_deref() != Some(role) {
        return Err(damaged("it belongs to another kind of server"));
    }
    let mut count = 0u64;
    while let Some(entry) = rows.entry(role)? {
        each(entry)?;
        count += 1;
    }
    if rows.bytes(8)? != count.to_le_bytes() {
        return Err(damaged("entries are missing"));
    }
    let expected = rows.checksum.to_le_bytes();
    if rows.bytes(4)? != expected {
        return Err(damaged("its checksum is wrong"));
    }
    Ok(())
}

struct Rows<R> {
    from: R,
    checksum: u32,
}

impl<R: Read> Rows<R> {
    fn entry(&mut self, role: &str) -> Result<Option<Row>> {
        match role {
            MASTER => self.row(),
            CHUNK => {
                let row: Option<(Bytes, ValueKind, Timestamp, Bytes)> = self.row()?;
                Ok(row
                    .map(|(key, kind, expires, bytes)| (key, StoredValue { kind, bytes }, expires)))
            }
            _ => Err(damaged("it belongs to another kind of server")),
        }
    }

    /// The next row, of which what is behind the wanted members is left out.
    fn row<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let mut length = [0; 4];
        length.copy_from_slice(&self.bytes(4)?);
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length == 0 {
            return Ok(None);
        }
        if length > ROW_SIZE_MAX {
            return Err(damaged("an entry is longer than is possible"));
        }
        let row = self.bytes(length)?;
        let row =
            postcard::take_from_bytes(&row).map_err(|_| damaged("an entry makes no sense"))?;
        Ok(Some(row.0))
    }

    /// The next bytes. The vector grows with what is there: a wrong length costs no memory.
    fn bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(length).unwrap_or(u64::MAX);
        (&mut self.from).take(limit).read_to_end(&mut bytes)?;
        if bytes.len() < length {
            return Err(damaged("its end is missing"));
        }
        self.checksum = crc32c::crc32c_append(self.checksum, &bytes);
        Ok(bytes)
    }
}

fn damaged(how: &str) -> FsError {
    FsError::new(ErrorKind::Corrupt, format!("this is not a whole dump: {how}"))
}
