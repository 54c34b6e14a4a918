//! A tree of files with everything that a copy must keep, for comparing copies.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};

/// What is at one path.
#[derive(PartialEq, Eq)]
pub(crate) struct Entry {
    mode: u32,
    owner: (u32, u32),
    device: u64,
    /// That of a directory is the file system's own affair.
    size: u64,
    mtime: (i64, i64),
    links: u64,
    /// The first of the paths in the tree that are the same inode.
    same_as: PathBuf,
    /// Of a file its checksum, of a symbolic link its target.
    contents: Vec<u8>,
    /// POSIX ACLs among them.
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, owner, device, size, mtime, links, same_as, contents, xattrs } = self;
        write!(f, "{mode:o} {owner:?} dev {device:x} size {size} {mtime:?} links {links} ")?;
        write!(f, "as {same_as:?} {}", contents.escape_ascii())?;
        let show = |(name, value): (&Vec<u8>, &Vec<u8>)| {
            write!(f, " {}={}", name.escape_ascii(), value.escape_ascii())
        };
        xattrs.iter().try_for_each(show)
    }
}

/// Everything below a directory, and itself, by its path from there.
pub(crate) fn describe(root: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut paths = vec![PathBuf::new()];
    let mut at = 0;
    while at < paths.len() {
        let path = root.join(&paths[at]);
        if path.symlink_metadata().unwrap().is_dir() {
            let names = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name());
            let below: Vec<PathBuf> = names.map(|name| paths[at].join(name)).collect();
            paths.extend(below);
        }
        at += 1;
    }
    paths.sort();
    let mut inodes = HashMap::new();
    let entry = |path: PathBuf| {
        let entry = describe_one(root, &path, &mut inodes);
        (path, entry)
    };
    paths.into_iter().map(entry).collect()
}

fn describe_one(root: &Path, path: &Path, inodes: &mut HashMap<u64, PathBuf>) -> Entry {
    let full = root.join(path);
    let found = full.symlink_metadata().unwrap();
    let contents = if found.is_file() {
        crc32c::crc32c(&fs::read(&full).unwrap()).to_be_bytes().to_vec()
    } else if found.is_symlink() {
        fs::read_link(&full).unwrap().into_os_string().into_encoded_bytes()
    } else {
        Vec::new()
    };
    let is_dir = found.is_dir();
    Entry {
        mode: found.mode(),
        owner: (found.uid(), found.gid()),
        device: found.rdev(),
        size: if is_dir { 0 } else { found.size() },
        mtime: (found.mtime(), found.mtime_nsec()),
        links: if is_dir { 0 } else { found.nlink() },
        same_as: inodes.entry(found.ino()).or_insert_with(|| path.to_owned()).clone(),
        contents,
        xattrs: xattrs(&full),
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65_536];
    let length = llistxattr(path, names.as_mut_slice()).unwrap();
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 65_536];
        let length = lgetxattr(path, name, value.as_mut_slice()).unwrap();
        value.truncate(length);
        (name.to_vec(), value)
    };
    names.map(value).collect()
}

/// Panics with the first paths that are different.
pub(crate) fn assert_same(found: &Path, expected: &Path) {
    let (ours, theirs) = (describe(found), describe(expected));
    let missing = theirs.keys().filter(|path| !ours.contains_key(*path));
    let other = ours.iter().filter(|(path, entry)| theirs.get(*path) != Some(entry));
    let paths: Vec<&PathBuf> = missing.chain(other.map(|(path, _)| path)).take(5).collect();
    let show =
        |path: &&PathBuf| format!("{path:?}\n  {:?}\n  {:?}", ours.get(*path), theirs.get(*path));
    let shown: Vec<String> = paths.iter().map(show).collect();
    assert!(paths.is_empty(), "{found:?} is not as {expected:?}:\n{}", shown.join("\n"));
}
