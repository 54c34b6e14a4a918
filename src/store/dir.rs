//! A server's data directory: private, of one role and format, and open in one process only.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{ErrorKind, FsError, Result};
use crate::store::file;

/// The file that says what the directory is.
const MARKER: &str = "htfs";
/// The version of everything in a data directory. One that is not this is refused.
const FORMAT: u32 = 1;
/// The file whose lock says that the directory is in use; it holds the number of the process.
const LOCK: &str = "lock";

/// An open data directory.
///
/// Its contents: the marker `htfs`, `lock`, `store/` (the tables), `dumps/` (files of
/// `write_file`) and, at a chunk server, `values/` and `chunks/` (contents). No name that a caller
/// chooses is ever made anywhere but in `dumps/`.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

impl DataDir {
    /// Opens the data directory of a role, or makes it.
    ///
    /// # Errors
    /// `Busy` if another process has it open; `InvalidArgument` if it belongs to another role or
    /// version or is no data directory; and what the disk says.
    pub fn open(path: &Path, role: &str) -> Result<Self> {
        file::create_private_dir(path)?;
        check_is_ours_or_empty(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
        let lock = lock(path)?;
        let expected = format!("htfs {role} {FORMAT}\n");
        let marker = path.join(MARKER);
        if !marker.try_exists()? {
            file::replace(&marker, |file| Ok(file.write_all(expected.as_bytes())?))?;
        }
        let found = fs::read_to_string(&marker)?;
        if found != expected {
            return Err(FsError::new(
                ErrorKind::InvalidArgument,
                format!(
                    "{} holds \"{}\" and not \"{}\"; give another --data-dir",
                    path.display(),
                    found.trim_end(),
                    expected.trim_end()
                ),
            ));
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the tables are.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// Where contents are, at a chunk server; made if it is not there.
    ///
    /// # Errors
    /// What the disk says.
    pub fn values(&self) -> Result<PathBuf> {
        let path = self.path.join("values");
        file::create_private_dir(&path)?;
        Ok(path)
    }

    /// Where native chunks are, at a chunk server.
    #[must_use]
    pub fn chunks(&self) -> PathBuf {
        self.path.join("chunks")
    }

    /// The file of a dump. Any plain name is good: the directory is for dumps alone.
    ///
    /// # Errors
    /// `InvalidArgument` if it is not a plain name, and what the disk says.
    pub fn dump(&self, name: &str) -> Result<PathBuf> {
        file::check_plain_name(name)?;
        let dumps = self.path.join("dumps");
        file::create_private_dir(&dumps)?;
        Ok(dumps.join(name))
    }
}

/// Refuses directories in which somebody else has files: their permissions are about to change.
fn check_is_ours_or_empty(path: &Path) -> Result<()> {
    if path.join(MARKER).try_exists()? {
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        // What a crash in the middle of `open` leaves, and what a fresh ext4 has.
        let is_harmless = name == LOCK
            || name == "lost+found"
            || name.to_string_lossy().starts_with(&format!("{MARKER}."));
        if !is_harmless {
            return Err(FsError::new(
                ErrorKind::InvalidArgument,
                format!(
                    "{} is not empty and no data directory of htfs; give another --data-dir",
                    path.display()
                ),
            ));
        }
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File> {
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path.join(LOCK))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            lock.read_to_string(&mut holder).ok();
            return Err(FsError::new(
                ErrorKind::Busy,
                format!("{} is in use by process {}", path.display(), holder.trim()),
            ));
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())?;
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::DataDir;
    use crate::error::ErrorKind;

    #[test]
    fn only_one_may_have_it_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = DataDir::open(&path, "master").unwrap();
        let error = DataDir::open(&path, "master").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert!(error.message().contains(&std::process::id().to_string()), "{error}");
        drop(first);
        DataDir::open(&path, "master").unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn another_role_or_a_strangers_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        drop(DataDir::open(&path, "master").unwrap());
        assert_eq!(DataDir::open(&path, "chunk").unwrap_err().kind(), ErrorKind::InvalidArgument);
        let home = dir.path().join("home");
        std::fs::create_dir(&home).unwrap();
        std::fs::write(home.join("letter"), "dear").unwrap();
        let mode = home.metadata().unwrap().permissions().mode();
        assert!(DataDir::open(&home, "master").is_err());
        assert_eq!(home.metadata().unwrap().permissions().mode(), mode);
        assert_eq!(std::fs::read_dir(&home).unwrap().count(), 1);
    }
}
