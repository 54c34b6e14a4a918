//! Files that must survive: private, replaced as a whole or not at all, in place when the call
//! returns.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{ErrorKind, FsError, Result};

/// Longest name of a file of a dump: what file systems take, less room for a suffix.
const FILE_NAME_MAX: usize = 200;

/// What a file is called while it is being written.
const UNFINISHED: &str = ".unfinished";

/// Makes a directory that only its owner may read, and its parents; nothing if it is there.
///
/// # Errors
/// What the disk says.
pub fn create_private_dir(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
        match fs::metadata(path) {
            Ok(found) if !found.is_dir() => {
                let message = format!("{} is not a directory", path.display());
                FsError::new(ErrorKind::NotDirectory, message)
            }
            _ => FsError::from(error).context(format!("cannot make {}", path.display())),
        }
    })
}

/// Makes a new file that only its owner may read.
///
/// # Errors
/// `Exists` if it is there, and what the disk says.
pub fn create_private(path: &Path) -> Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|error| FsError::from(error).context(format!("cannot make {}", path.display())))
}

/// Makes the names in a directory durable.
///
/// # Errors
/// What the disk says.
pub fn sync_dir(path: &Path) -> Result<()> {
    Ok(File::open(path)?.sync_all()?)
}

/// Writes a file as a whole: under another name first, so that a crash, a full disk or a failure
/// of `write` leaves the old one as it was.
///
/// # Errors
/// What `write` returns, and what the disk says.
pub fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    fs::remove_file(&unfinished).ok(); // left by a crash
    let result = write_and_rename(&unfinished, path, write);
    if result.is_err() {
        fs::remove_file(&unfinished).ok();
    }
    result
}

/// Removes what a crash has left of files that [`replace`] was writing in a directory.
///
/// # Errors
/// What the disk says.
pub fn remove_unfinished(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_unfinished = entry.file_name().as_encoded_bytes().ends_with(UNFINISHED.as_bytes());
        if is_unfinished && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn write_and_rename(
    unfinished: &Path,
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<()>,
) -> Result<()> {
    let mut file = BufWriter::new(create_private(unfinished)?);
    write(&mut file)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    drop(file);
    fs::rename(unfinished, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Checks that a name is one of a file and not a path.
///
/// # Errors
/// `InvalidArgument` says what is wrong with it.
pub fn check_plain_name(name: &str) -> Result<()> {
    let wrong = if name.is_empty() {
        "it is empty"
    } else if name.len() > FILE_NAME_MAX {
        "it is too long"
    } else if name.contains('/') || name.contains('\\') {
        "it has a path"
    } else if name.starts_with('.') {
        "it begins with a dot"
    } else if name.ends_with(UNFINISHED) {
        "its ending is reserved"
    } else if name.chars().any(char::is_control) {
        "it has control characters"
    } else {
        return Ok(());
    };
    let shown = name.chars().take(80).flat_map(char::escape_default).collect::<String>();
    Err(FsError::new(
        ErrorKind::InvalidArgument,
        format!("\"{shown}\" is not a plain file name: {wrong}"),
    ))
}

/// Bytes that may still be written to the disk of a path by an ordinary user.
///
/// # Errors
/// What the disk says.
pub fn free_space(path: &Path) -> Result<u64> {
    let disk = rustix::fs::statvfs(path).map_err(std::io::Error::from)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::{check_plain_name, replace};
    use crate::error::{ErrorKind, FsError};

    #[test]
    fn a_replacement_that_fails_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        replace(&path, |file| Ok(file.write_all(b"old")?)).unwrap();
        let failed = replace(&path, |file| {
            file.write_all(b"new")?;
            Err(FsError::new(ErrorKind::Io, "no"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_path_is_not_a_plain_name() {
        for good in ["dump", "a b.txt", "Ümlaut"] {
            check_plain_name(good).unwrap();
        }
        for bad in ["", ".", "..", "../x", "a/b", "/etc/passwd", "a\0b", ".x", "x.unfinished"] {
            assert!(check_plain_name(bad).is_err(), "{bad:?} was taken");
        }
    }
}
