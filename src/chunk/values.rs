//! Values in files: one plain file each, never changed once it is written, with a checksum per
//! block that is kept elsewhere and verified on every read.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::store::file;

/// A value in a file, as the index keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ValueFile {
    /// Number of the file, never used twice while anything refers to it.
    pub id: u64,
    /// Bytes in it.
    pub size: u64,
    /// CRC32C of every [`limits::CHECKSUM_BLOCK_SIZE`] bytes; the last block may be shorter.
    checksums: Vec<u32>,
}

/// The directory of the files.
#[derive(Debug)]
pub struct Values {
    path: PathBuf,
    next: AtomicU64,
}

impl Values {
    /// Opens the directory and deletes every file in it that `is_used` does not know: what crashed
    /// writes and interrupted deletions have left. Nothing may be written meanwhile.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(path: PathBuf, is_used: impl Fn(u64) -> bool) -> Result<Self> {
        let mut next = 1;
        let mut orphans = 0u64;
        for entry in fs::read_dir(&path)? {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| u64::from_str_radix(name, 16).ok());
            next = next.max(id.map_or(0, |id| id.saturating_add(1)));
            if !id.is_some_and(&is_used) {
                fs::remove_file(path.join(name))?;
                orphans += 1;
            }
        }
        if orphans > 0 {
            tracing::info!(orphans, "deleted files that nothing refers to");
        }
        Ok(Self { path, next: AtomicU64::new(next) })
    }

    /// Writes a new file, into the operating system's hands; [`Values::sync`] makes it durable.
    ///
    /// # Errors
    /// `NoSpace` if the disk is full, and what it says; nothing is left behind then.
    pub fn write(&self, bytes: &[u8]) -> Result<ValueFile> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.path_of(id);
        let written = file::create_private(&path).and_then(|mut file| Ok(file.write_all(bytes)?));
        if let Err(error) = written {
            fs::remove_file(&path).ok();
            return Err(error.context("cannot store the value"));
        }
        let size = bytes.len().try_into().unwrap_or(u64::MAX);
        Ok(ValueFile { id, size, checksums: checksums(bytes).collect() })
    }

    /// Reads a file and verifies every block of it.
    ///
    /// # Errors
    /// `NotFound` if it is gone, `Corrupt` if it is not what was written, and what the disk says.
    pub fn read(&self, value: &ValueFile) -> Result<Bytes> {
        let bytes = fs::read(self.path_of(value.id))?;
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size != value.size {
            let expected = value.size;
            return Err(corrupt(format!("there are {size} bytes instead of {expected}")));
        }
        let damaged =
            checksums(&bytes).zip(&value.checksums).position(|(found, stored)| found != *stored);
        match damaged {
            Some(block) => Err(corrupt(format!("the checksum of block {block} is wrong"))),
            None => Ok(bytes.into()),
        }
    }

    /// Makes the contents of files durable; those that are gone do not matter.
    ///
    /// # Errors
    /// What the disk says.
    pub fn sync(&self, ids: &[u64]) -> Result<()> {
        for id in ids {
            match fs::File::open(self.path_of(*id)) {
                Ok(file) => file.sync_all()?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        if ids.is_empty() { Ok(()) } else { file::sync_dir(&self.path) }
    }

    /// Where the files are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How long ago a file was written; `None` if it is gone. A clock that was put back says 0.
    ///
    /// # Errors
    /// What the disk says.
    pub fn age(&self, id: u64) -> Result<Option<Duration>> {
        match fs::metadata(self.path_of(id)).and_then(|file| file.modified()) {
            Ok(at) => Ok(Some(clock::now_system().duration_since(at).unwrap_or_default())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a file. One that cannot be deleted is an orphan, for the next start.
    pub fn delete(&self, id: u64) {
        if let Err(error) = fs::remove_file(self.path_of(id)) {
            tracing::warn!("the file {id:016x} of an old value stays: {error}");
        }
    }

    fn path_of(&self, id: u64) -> PathBuf {
        self.path.join(format!("{id:016x}"))
    }
}

/// Makes everything on the disk of a directory durable, whoever wrote it.
///
/// # Errors
/// What the disk says.
pub fn sync_disk(path: &Path) -> Result<()> {
    let directory = fs::File::open(path)?;
    rustix::fs::syncfs(&directory).map_err(|error| std::io::Error::from(error).into())
}

fn checksums(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks(limits::CHECKSUM_BLOCK_SIZE).map(crc32c::crc32c)
}

fn corrupt(how: String) -> FsError {
    FsError::new(ErrorKind::Corrupt, how)
}

#[cfg(test)]
mod tests {
    use super::Values;
    use crate::error::ErrorKind;
    use crate::limits::CHECKSUM_BLOCK_SIZE;

    #[test]
    fn damage_anywhere_is_an_error_and_never_data() {
        let dir = tempfile::tempdir().unwrap();
        let values = Values::open(dir.path().to_owned(), |_| true).unwrap();
        let bytes: Vec<u8> = (0..=255).cycle().take(3 * CHECKSUM_BLOCK_SIZE + 5).collect();
        let value = values.write(&bytes).unwrap();
        assert_eq!(values.read(&value).unwrap(), bytes);
        let path = values.path_of(value.id);
        for at in [0, CHECKSUM_BLOCK_SIZE - 1, CHECKSUM_BLOCK_SIZE, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            assert_eq!(values.read(&value).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        for size in [0, CHECKSUM_BLOCK_SIZE, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..size]).unwrap();
            assert_eq!(values.read(&value).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(values.read(&value).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn orphans_go_at_the_start_and_numbers_are_not_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let values = Values::open(dir.path().to_owned(), |_| true).unwrap();
        let used = values.write(b"used").unwrap();
        let orphan = values.write(b"orphan").unwrap();
        std::fs::write(dir.path().join("stray"), "?").unwrap();
        let values = Values::open(dir.path().to_owned(), |id| id == used.id).unwrap();
        assert_eq!(values.read(&used).unwrap(), b"used".as_slice());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(values.write(b"new").unwrap().id > orphan.id);
    }
}
