//! A server's data directory: private, of one role and format, and open in one process only.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::store::file;
use crate::store::format::{self, MARKER};

/// The file whose lock says that the directory is in use; it holds the number of the process.
const LOCK: &str = "lock";
/// The directory of the tables.
const STORE: &str = "store";
/// At a chunk server, the directory of values that are files.
const VALUES: &str = "values";
/// At a chunk server, the directory of native chunks.
const CHUNKS: &str = "chunks";
/// Where earlier versions kept dumps.
const OLD_DUMPS: &str = "dumps";

/// The names in a data directory that are not for dumps. What begins with [`MARKER`] or [`STORE`] is
/// kept for what may come.
const OWN_NAMES: [&str; 6] = [MARKER, LOCK, STORE, VALUES, CHUNKS, OLD_DUMPS];

/// An open data directory.
///
/// Its contents: the marker `htfs`, `lock`, `store/` (the tables) and, at a chunk server, `values/`
/// and `chunks/` (contents). Beside them are the files of `write_file`, by the names that callers
/// chose, as with the original: none of these is one of the directory's own.
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
    /// to a newer program or is no data directory; and what the disk says.
    pub fn open(path: &Path, role: &str) -> Result<Self> {
        file::create_private_dir(path)?;
        check_is_ours_or_empty(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
        let lock = lock(path)?;
        format::claim(path, role)?;
        file::remove_unfinished(path)?;
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
        self.path.join(STORE)
    }

    /// Where contents are, at a chunk server; made if it is not there.
    ///
    /// # Errors
    /// What the disk says.
    pub fn values(&self) -> Result<PathBuf> {
        let path = self.path.join(VALUES);
        file::create_private_dir(&path)?;
        Ok(path)
    }

    /// Where native chunks are, at a chunk server.
    #[must_use]
    pub fn chunks(&self) -> PathBuf {
        self.path.join(CHUNKS)
    }

    /// The file of a dump that is to be written.
    ///
    /// # Errors
    /// `InvalidArgument` if it is no plain name, or a name of something else; `NoSpace` if there are
    /// too many already.
    pub fn dump_to_write(&self, name: &str) -> Result<PathBuf> {
        let path = self.dump(name)?;
        if !path.try_exists()? && fs::read_dir(&self.path)?.count() >= limits::DUMPS_MAX {
            let message =
                format!("there are {} files already; take one of them", limits::DUMPS_MAX);
            return Err(FsError::new(ErrorKind::NoSpace, message));
        }
        Ok(path)
    }

    /// The file of a dump, be it there or not.
    fn dump(&self, name: &str) -> Result<PathBuf> {
        let name = plain_name(name)?;
        let path = self.path.join(name);
        check_is_file(&path, name)?;
        Ok(path)
    }

    /// The file of a dump that is to be read: where earlier versions kept it, if it is only there.
    ///
    /// # Errors
    /// `InvalidArgument` as for [`DataDir::dump_to_write`].
    pub fn dump_to_read(&self, name: &str) -> Result<PathBuf> {
        let path = self.dump(name)?;
        let name = plain_name(name)?;
        let old = self.path.join(OLD_DUMPS).join(name);
        if path.try_exists()? || !old.try_exists()? {
            return Ok(path);
        }
        check_is_file(&old, name)?;
        Ok(old)
    }
}

/// The name of a file of a dump, perhaps with a `./` in front of it.
fn plain_name(name: &str) -> Result<&str> {
    let name = name.strip_prefix("./").unwrap_or(name);
    file::check_plain_name(name)?;
    let is_own = OWN_NAMES.contains(&name) || name.starts_with(MARKER) || name.starts_with(STORE);
    if is_own {
        return Err(FsError::new(
            ErrorKind::InvalidArgument,
            format!("\"{name}\" is a name that the server keeps for itself; take another one"),
        ));
    }
    Ok(name)
}

/// Refuses what is there and no file: no dump of ours takes its place, nor is it read.
fn check_is_file(path: &Path, name: &str) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => Err(FsError::new(
            ErrorKind::InvalidArgument,
            format!("\"{name}\" is no plain file in the data directory; take another name"),
        )),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
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
    use std::path::Path;

    use super::{DataDir, OWN_NAMES};
    use crate::error::ErrorKind;
    use crate::limits;

    #[test]
    fn dumps_are_in_the_directory_itself_and_have_no_name_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let data = DataDir::open(&path, "chunk").unwrap();
        let there = path.join("dump");
        for name in ["dump", "./dump"] {
            assert_eq!(data.dump_to_write(name).unwrap(), there);
            assert_eq!(data.dump_to_read(name).unwrap(), there);
        }
        // Earlier versions had a directory for them, from which what has no newer one is read.
        std::fs::create_dir(path.join("dumps")).unwrap();
        std::fs::write(path.join("dumps/dump"), "old").unwrap();
        assert_eq!(data.dump_to_read("./dump").unwrap(), path.join("dumps/dump"));
        assert_eq!(data.dump_to_write("dump").unwrap(), there);
        std::fs::write(&there, "new").unwrap();
        assert_eq!(data.dump_to_read("dump").unwrap(), there);

        std::os::unix::fs::symlink("/etc/passwd", path.join("link")).unwrap();
        std::fs::create_dir(path.join("directory")).unwrap();
        let others =
            ["htfs-x", "store.old", "link", "directory", "../dump", "././dump", ".//x", "./"];
        for name in OWN_NAMES.into_iter().chain(others) {
            for refused in [data.dump_to_write(name), data.dump_to_read(name)] {
                assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidArgument, "{name}");
            }
        }
    }

    #[test]
    fn what_a_crash_left_of_a_dump_goes_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path(), "chunk").unwrap());
        let names = |path: &Path| std::fs::read_dir(path).unwrap().count();
        let before = names(dir.path());
        std::fs::write(dir.path().join("dump.unfinished"), "half").unwrap();
        std::fs::write(dir.path().join("dump"), "whole").unwrap();
        drop(DataDir::open(dir.path(), "chunk").unwrap());
        assert_eq!(names(dir.path()), before + 1);
    }

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

    #[test]
    fn dumps_are_not_without_number() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path(), "chunk").unwrap();
        let mut made = 0;
        while let Ok(path) = data.dump_to_write(&format!("dump-{made}")) {
            std::fs::write(path, "").unwrap();
            made += 1;
        }
        assert!(made > limits::DUMPS_MAX - 10 && made <= limits::DUMPS_MAX, "{made}");
        data.dump_to_write("dump-1").unwrap();
        let refused = data.dump_to_write("other").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NoSpace);
        data.dump_to_read("other").unwrap();
    }
}
