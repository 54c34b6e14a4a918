//! The files of `write_file` and `read_file`.
//!
//! Format, version 1, numbers little-endian: the 12 bytes `htfs dump 1\n`; the role as a row; the
//! rows, each a `u32` length above 0 and that many bytes (postcard's form of whatever the server
//! keeps); a `u32` 0; the `u64` number of rows after the role; the CRC32C of everything before it,
//! `u32`. A dump is written as a whole or not at all, and checked as a whole before any of it is
//! used.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::store::file;

const MAGIC: &[u8; 12] = b"htfs dump 1\n";

/// Largest row: a value of the largest body, with its key and checksums.
const ROW_SIZE_MAX: usize = limits::BODY_SIZE_MAX + (1 << 20);

/// Writes rows to a dump.
pub struct Writer<'a> {
    to: &'a mut dyn Write,
    checksum: u32,
    rows: u64,
}

impl Writer<'_> {
    /// Adds a row.
    ///
    /// # Errors
    /// What the disk says.
    pub fn row(&mut self, row: &impl Serialize) -> Result<()> {
        let bytes = postcard::to_allocvec(row)
            .map_err(|error| FsError::new(ErrorKind::Io, error.to_string()))?;
        let length = u32::try_from(bytes.len())
            .map_err(|_| FsError::new(ErrorKind::TooBig, "an entry is too big for a dump"))?;
        self.write(&length.to_le_bytes())?;
        self.write(&bytes)?;
        self.rows += 1;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        Ok(self.to.write_all(bytes)?)
    }
}

/// Writes a dump of a role's rows.
///
/// # Errors
/// What `rows` returns, and what the disk says; the file is as before then.
pub fn write(
    path: &Path,
    role: &str,
    rows: impl FnOnce(&mut Writer<'_>) -> Result<()>,
) -> Result<()> {
    file::replace(path, |file| {
        let mut writer = Writer { to: file, checksum: 0, rows: 0 };
        writer.write(MAGIC)?;
        writer.row(&role)?;
        writer.rows = 0;
        rows(&mut writer)?;
        writer.write(&0u32.to_le_bytes())?;
        let count = writer.rows.to_le_bytes();
        writer.write(&count)?;
        let checksum = writer.checksum.to_le_bytes();
        writer.write(&checksum)
    })
}

/// Reads a dump: all of it is checked first, then `each` gets the rows.
///
/// # Errors
/// `NotFound` if there is no such file, `Corrupt` if it is no whole dump of this role, and what
/// `each` returns.
pub fn read<R: DeserializeOwned>(
    path: &Path,
    role: &str,
    mut each: impl FnMut(R) -> Result<()>,
) -> Result<()> {
    let file = File::open(path)?;
    Reader::new(&file).run::<R>(role, |_| Ok(()))?;
    let file = File::open(path)?;
    Reader::new(&file).run(role, &mut each)
}

struct Reader<'a> {
    from: BufReader<&'a File>,
    checksum: u32,
}

impl<'a> Reader<'a> {
    fn new(file: &'a File) -> Self {
        Self { from: BufReader::with_capacity(1 << 16, file), checksum: 0 }
    }

    fn run<R: DeserializeOwned>(
        mut self,
        role: &str,
        mut each: impl FnMut(R) -> Result<()>,
    ) -> Result<()> {
        if self.bytes(MAGIC.len())? != MAGIC {
            return Err(damaged("it does not begin like one"));
        }
        let found: Option<String> = self.row()?;
        if found.as_deref() != Some(role) {
            return Err(damaged("it belongs to another kind of server"));
        }
        let mut rows = 0u64;
        while let Some(row) = self.row()? {
            each(row)?;
            rows += 1;
        }
        let count = self.bytes(8)?;
        if count != rows.to_le_bytes() {
            return Err(damaged("entries are missing"));
        }
        let expected = self.checksum.to_le_bytes();
        if self.bytes(4)? != expected {
            return Err(damaged("its checksum is wrong"));
        }
        Ok(())
    }

    fn row<R: DeserializeOwned>(&mut self) -> Result<Option<R>> {
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
        postcard::from_bytes(&row).map(Some).map_err(|_| damaged("an entry makes no sense"))
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

#[cfg(test)]
mod tests {
    use super::{read, write};
    use crate::error::ErrorKind;

    #[test]
    fn every_damaged_byte_and_every_cut_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dump");
        let rows = [(1u8, "one".to_owned()), (2, "two".to_owned())];
        write(&path, "master", |dump| rows.iter().try_for_each(|row| dump.row(row))).unwrap();
        let mut found = Vec::new();
        read(&path, "master", |row: (u8, String)| {
            found.push(row);
            Ok(())
        })
        .unwrap();
        assert_eq!(found, rows);

        let whole = std::fs::read(&path).unwrap();
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let error = read(&path, "master", |_: (u8, String)| -> crate::error::Result<()> {
                panic!("a row of a damaged dump was used")
            });
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Corrupt);
        };
        for at in 0..whole.len() {
            refused(&whole[..at]);
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            refused(&flipped);
        }
        std::fs::write(&path, &whole).unwrap();
        assert!(read(&path, "chunk", |_: (u8, String)| Ok(())).is_err());
    }
}
