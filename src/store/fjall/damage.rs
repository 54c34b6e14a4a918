//! Which file of a damaged store it is.
//!
//! fjall's errors name no file. What it writes down itself tells: in `keyspaces/N`, the file `current`
//! holds the number of a version (`u64`, little-endian), and the archive `vNUMBER` has a section
//! `tables`: a count of levels (`u8`), for each a count of runs (`u8`), for each a count of tables
//! (`u32`), for each its number (`u64`), the kind of its checksum (`u8`, 0 for XXH3), the checksum of
//! its whole file `tables/NUMBER` (`u128`), and a number that does not matter here (`u64`).
//! (lsm-tree 3.1, `version/recovery.rs`.) Journals, `NUMBER.jnl`, have no such list.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use sfa::Reader;
use xxhash_rust::xxh3::Xxh3Default;

use super::database::journals;

/// Bytes that are read at once.
const READ_SIZE: usize = 1 << 20;

const XXH3: u8 = 0;

/// What is damaged in the store of a directory, for people. It reads all of it.
pub(super) fn describe(store: &Path) -> String {
    let damaged = damaged_tables(store).unwrap_or_default();
    if !damaged.is_empty() {
        return list(&damaged, "not as they were written: ");
    }
    // The tables are what they were; only those are left.
    match journals(store).unwrap_or_default() {
        journals if journals.is_empty() => "its journal is missing".to_owned(),
        journals => list(&journals, "its tables are whole, so the damage is in the journal: "),
    }
}

fn list(files: &[PathBuf], before: &str) -> String {
    let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    before.to_owned() + &names.join(", ")
}

/// The files of all keyspaces that are not what was written.
fn damaged_tables(store: &Path) -> io::Result<Vec<PathBuf>> {
    let mut damaged = Vec::new();
    for keyspace in fs::read_dir(store.join("keyspaces"))? {
        let keyspace = keyspace?.path();
        // One that was being made when the power failed has no version, and is thrown away.
        if keyspace.join("current").exists() {
            damaged.extend(damaged_in(&keyspace)?);
        }
    }
    Ok(damaged)
}

fn damaged_in(keyspace: &Path) -> io::Result<Vec<PathBuf>> {
    let version = current_version(keyspace)?;
    let tables = match tables(&version) {
        Ok(tables) => tables,
        Err(_) if current_version(keyspace)? != version => return Ok(Vec::new()),
        Err(_) => return Ok(vec![version]),
    };
    let mut damaged = Vec::new();
    for table in tables {
        let path = keyspace.join("tables").join(table.number.to_string());
        let is_whole = match checksum(&path) {
            Ok(found) => found == table.checksum,
            // In a store that is in use a newer version may have done away with it.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                current_version(keyspace)? != version
            }
            // The disk cannot read it.
            Err(_) => false,
        };
        if !is_whole {
            damaged.push(path);
        }
    }
    Ok(damaged)
}

fn current_version(keyspace: &Path) -> io::Result<PathBuf> {
    let mut number = [0; 8];
    File::open(keyspace.join("current"))?.read_exact(&mut number)?;
    Ok(keyspace.join(format!("v{}", u64::from_le_bytes(number))))
}

struct Listed {
    number: u64,
    checksum: u128,
}

/// The tables of a version.
fn tables(version: &Path) -> io::Result<Vec<Listed>> {
    let archive = Reader::new(version).map_err(|error| io::Error::other(format!("{error:?}")))?;
    let section = archive.toc().section(b"tables").ok_or(ErrorKind::InvalidData)?;
    let mut from = section.buf_reader(version)?;
    let mut tables = Vec::new();
    for _ in 0..u8::from_le_bytes(take(&mut from)?) {
        for _ in 0..u8::from_le_bytes(take(&mut from)?) {
            for _ in 0..u32::from_le_bytes(take(&mut from)?) {
                let number = u64::from_le_bytes(take(&mut from)?);
                if take(&mut from)? != [XXH3] {
                    return Err(ErrorKind::InvalidData.into());
                }
                let checksum = u128::from_le_bytes(take(&mut from)?);
                let _: [u8; 8] = take(&mut from)?;
                tables.push(Listed { number, checksum });
            }
        }
    }
    Ok(tables)
}

fn take<const SIZE: usize>(from: &mut impl Read) -> io::Result<[u8; SIZE]> {
    let mut bytes = [0; SIZE];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn checksum(path: &Path) -> io::Result<u128> {
    let (mut file, mut hash) = (File::open(path)?, Xxh3Default::new());
    let mut bytes = vec![0; READ_SIZE];
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(hash.digest128()),
            size => hash.update(&bytes[..size]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::FileExt as _;
    use std::path::{Path, PathBuf};

    use super::{damaged_tables, describe, journals};
    use crate::error::{ErrorKind, FsError};
    use crate::store::Table;
    use crate::store::fjall::Store;

    const T: Table = Table("t");

    /// More rows than a memtable holds, so that some are in tables and some in the journal.
    const ROWS: u32 = 300;

    fn filled() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &[T]).unwrap();
        for row in 0..ROWS {
            let value = vec![row.to_le_bytes()[0]; 64 << 10];
            store
                .write(|txn| {
                    txn.put(T, &row.to_be_bytes(), &value);
                    Ok(())
                })
                .unwrap();
        }
        dir
    }

    fn flip(path: &Path, offset: u64) {
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[!byte[0]], offset).unwrap();
    }

    fn biggest_table(store: &Path) -> PathBuf {
        let keyspaces = std::fs::read_dir(store.join("keyspaces")).unwrap();
        let folders = keyspaces.map(|keyspace| keyspace.unwrap().path().join("tables"));
        let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
        files
            .map(|file| file.unwrap().path())
            .max_by_key(|file| file.metadata().unwrap().len())
            .unwrap()
    }

    fn read_all(store: &Path) -> Result<(), FsError> {
        let store = Store::open(store, &[T])?;
        for row in 0..ROWS {
            store.read(|txn| txn.get(T, &row.to_be_bytes()))?;
        }
        Ok(())
    }

    #[test]
    fn a_damaged_table_is_named() {
        let dir = filled();
        read_all(dir.path()).unwrap();
        assert_eq!(damaged_tables(dir.path()).unwrap(), Vec::<PathBuf>::new());
        let table = biggest_table(dir.path());
        flip(&table, table.metadata().unwrap().len() / 3);
        let error = read_all(dir.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(table.to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_table_that_is_missing_is_named() {
        let dir = filled();
        let table = biggest_table(dir.path());
        std::fs::remove_file(&table).unwrap();
        let error = read_all(dir.path()).unwrap_err();
        assert!(error.to_string().contains(table.to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_damaged_version_is_named() {
        let dir = filled();
        let table = biggest_table(dir.path());
        let keyspace = table.parent().unwrap().parent().unwrap();
        let version = super::current_version(keyspace).unwrap();
        flip(&version, version.metadata().unwrap().len() - 20);
        let error = read_all(dir.path()).unwrap_err();
        assert!(error.to_string().contains(version.to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_damaged_journal_is_named() {
        let dir = filled();
        let journal = journals(dir.path()).unwrap().pop().unwrap();
        flip(&journal, 1000);
        let error = read_all(dir.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(journal.to_str().unwrap()), "{error}");
        assert!(describe(dir.path()).contains("tables are whole"));
    }
}
