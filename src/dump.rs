//! The files of `write_file` and `read_file`: a pickled dict of key → (value, date of expiry), as the
//! original writes it and reads it. Files of earlier versions of htfs are read as well ([`earlier`]).
//!
//! A dump is written as a whole or not at all, and checked as a whole before any of it is used.

mod earlier;

use std::fs::File;
use std::io::{BufReader, Seek};
use std::path::Path;

use jiff::civil::DateTime;

use crate::clock::{LocalTime, Timestamp};
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::pickle::{self, TableReader, TableWriter};
use crate::proto::python;
use crate::store::file;
use crate::types::{Key, StoredValue};

/// One entry of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// What is under it.
    pub value: StoredValue,
    /// When it is gone.
    pub expires: Timestamp,
}

/// Writes entries to a dump.
pub struct Writer<'a> {
    table: TableWriter<'a>,
    local: LocalTime,
    path: &'a Path,
    /// Bytes of values since the disk was looked at.
    unchecked: usize,
}

impl Writer<'_> {
    /// Adds an entry.
    ///
    /// # Errors
    /// `Corrupt` if the value is damaged, and what the disk says.
    pub fn entry(&mut self, entry: &Entry) -> Result<()> {
        let Entry { key, value, expires } = entry;
        self.check_disk(value.bytes.len())?;
        let object = python::from_value(value).map_err(|error| error.context(key))?;
        Ok(self.table.entry(&python::from_key(key), &object, self.local.date_of(*expires))?)
    }
}

impl Writer<'_> {
    /// Checks now and then that the disk has room for what the server itself needs.
    fn check_disk(&mut self, more: usize) -> Result<()> {
        self.unchecked = self.unchecked.saturating_add(more);
        if self.unchecked < limits::DUMP_CHECK_SIZE {
            return Ok(());
        }
        self.unchecked = 0;
        let dir = self.path.parent().unwrap_or(self.path);
        if file::free_space(dir)? >= limits::DISK_RESERVE {
            return Ok(());
        }
        Err(FsError::new(ErrorKind::NoSpace, "the disk has no room for such a file"))
    }
}

/// Writes a dump.
///
/// # Errors
/// What `entries` returns, and what the disk says; the file is as before then.
pub fn write(path: &Path, entries: impl FnOnce(&mut Writer<'_>) -> Result<()>) -> Result<()> {
    file::replace(path, |file| {
        let local = LocalTime::of_system();
        let table = TableWriter::new(file);
        let mut writer = Writer { table, local, path, unchecked: limits::DUMP_CHECK_SIZE };
        entries(&mut writer)?;
        Ok(writer.table.finish()?)
    })
}

/// A dump that was found to be whole.
pub struct Dump {
    file: File,
    format: Format,
    local: LocalTime,
}

enum Format {
    /// A pickled dict.
    Table(TableReader),
    /// That of earlier versions, for this role.
    Earlier(String),
}

impl Dump {
    /// Opens a dump and checks all of it. One of an earlier version must be of this role. An entry
    /// under the empty key, which the original takes and no store of ours holds, is left out.
    ///
    /// # Errors
    /// `NotFound` if there is no such file, `Corrupt` if it is no whole dump, `TooBig` over the
    /// limits, `InvalidArgument` if it holds what no program can have put, and what the disk says.
    pub fn open(path: &Path, role: &str) -> Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.len() > limits::DUMP_SIZE_MAX {
            let message = format!("the file has more than {} bytes", limits::DUMP_SIZE_MAX);
            return Err(FsError::new(ErrorKind::TooBig, message));
        }
        let format = match earlier::is_earlier(reader(&file)?)? {
            true => Format::Earlier(role.to_owned()),
            false => Format::Table(TableReader::look_over(reader(&file)?).map_err(no_dump)?),
        };
        let dump = Self { file, format, local: LocalTime::of_system() };
        let mut left_out = 0;
        dump.each(|entry| {
            left_out += u32::from(entry.is_none());
            Ok(())
        })?;
        if left_out > 0 {
            tracing::warn!(dump = %path.display(), "what is under the empty key is left out");
        }
        Ok(dump)
    }

    /// Gives the entries that have not expired, in the order of the file. Of equal keys the last one
    /// counts.
    ///
    /// # Errors
    /// What `each` returns, and what the disk says.
    pub fn read(&self, now: Timestamp, mut each: impl FnMut(Entry) -> Result<()>) -> Result<()> {
        let last = now.plus_seconds(limits::TTL_MAX_S);
        self.each(|entry| {
            let Some(entry) = entry else { return Ok(()) };
            let expires = entry.expires.min(last);
            if expires > now { each(Entry { expires, ..entry }) } else { Ok(()) }
        })
    }

    /// Gives all entries, `None` for one that cannot be stored.
    fn each(&self, mut each: impl FnMut(Option<Entry>) -> Result<()>) -> Result<()> {
        let from = reader(&self.file)?;
        match &self.format {
            Format::Earlier(role) => earlier::read(from, role, |(key, value, expires)| {
                if key.is_empty() {
                    return each(None);
                }
                each(Some(Entry { key: Key::new(key)?, value, expires }))
            }),
            Format::Table(table) => {
                let entry = |key, value, expiry| Ok(each(self.entry(key, value, expiry)?)?);
                table.read(from, entry).map_err(|failure: Failure| match failure {
                    Failure::Pickle(error) => no_dump(error),
                    Failure::Entry(error) => error,
                })
            }
        }
    }

    fn entry(
        &self,
        key: pickle::Value,
        value: pickle::Value,
        expiry: DateTime,
    ) -> Result<Option<Entry>> {
        if python::is_empty_key(&key) {
            return Ok(None);
        }
        let key = python::into_key(key).map_err(|error| error.context("a key"))?;
        let value = python::into_value(value).map_err(|error| error.context(&key))?;
        Ok(Some(Entry { key, value, expires: self.local.time_of(expiry) }))
    }
}

/// Why a table was not read to its end.
enum Failure {
    Pickle(pickle::PickleError),
    Entry(FsError),
}

impl From<pickle::PickleError> for Failure {
    fn from(error: pickle::PickleError) -> Self {
        Self::Pickle(error)
    }
}

impl From<FsError> for Failure {
    fn from(error: FsError) -> Self {
        Self::Entry(error)
    }
}

fn no_dump(error: pickle::PickleError) -> FsError {
    let error = FsError::from(error);
    match error.kind() {
        ErrorKind::Protocol => FsError::new(
            ErrorKind::Corrupt,
            format!("this is not a whole dump: {}", error.message()),
        ),
        _ => error,
    }
}

/// A reader of the whole file, which takes the place of those before it.
fn reader(file: &File) -> Result<BufReader<&File>> {
    let mut from = file;
    from.rewind()?;
    Ok(BufReader::with_capacity(1 << 16, from))
}

/// Counts what a dump brings into the tables of a server.
#[derive(Debug, Default)]
pub struct Kept(u64);

impl Kept {
    /// What an entry takes beside its key and its value.
    const OVERHEAD: usize = 256;

    /// Adds an entry with so many bytes of a value.
    ///
    /// # Errors
    /// `TooBig` over [`limits::DUMP_KEPT_MAX`].
    pub fn add(&mut self, key: &Key, bytes: usize) -> Result<()> {
        let size = Self::OVERHEAD.saturating_add(key.as_bytes().len()).saturating_add(bytes);
        self.0 = self.0.saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
        if self.0 > limits::DUMP_KEPT_MAX {
            let message = "the dump has more entries than a server can take at once";
            return Err(FsError::new(ErrorKind::TooBig, message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
