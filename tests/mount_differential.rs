//! The same random operations on the mount and on a plain directory: results, errors and what is
//! left must be the same.

mod common;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use common::cluster::{Cluster, Kind};
use common::mount::Mount;
use common::turn;

const OPERATIONS: usize = 1000;

/// Few names, so that operations meet.
const NAMES: [&str; 8] = ["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "f"];

#[derive(Clone, Debug)]
enum Operation {
    Write { name: &'static str, offset: u64, size: usize, fill: u8 },
    Append { name: &'static str, size: usize, fill: u8 },
    Replace { name: &'static str, size: usize, fill: u8 },
    Open { name: &'static str },
    WriteOpen { name: &'static str, offset: u64, size: usize, fill: u8 },
    ReadOpen { name: &'static str },
    Close { name: &'static str },
    Truncate { name: &'static str, size: u64 },
    Read { name: &'static str },
    Stat { name: &'static str },
    Chmod { name: &'static str, mode: u32 },
    Rename { from: &'static str, to: &'static str },
    Unlink { name: &'static str },
    Mkdir { name: &'static str },
    Rmdir { name: &'static str },
    Symlink { name: &'static str },
    Link { from: &'static str, to: &'static str },
    List { name: &'static str },
}

/// Marsaglia's xorshift: the same numbers for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn name(&mut self) -> &'static str {
        NAMES[usize::try_from(self.below(NAMES.len() as u64)).expect("it is small")]
    }

    fn operation(&mut self, has_links: bool) -> Operation {
        use Operation as Op;
        let (name, offset) = (self.name(), self.below(10_000));
        let size = usize::try_from(self.below(9000)).expect("it is small");
        let fill = b'a' + u8::try_from(self.below(26)).expect("it is small");
        match self.below(20) {
            0 | 1 => Op::Write { name, offset, size, fill },
            2 => Op::Append { name, size, fill },
            3 | 4 => Op::Replace { name, size, fill },
            5 => Op::Open { name },
            6 => Op::WriteOpen { name, offset, size, fill },
            7 => Op::ReadOpen { name },
            8 => Op::Close { name },
            9 => Op::Truncate { name, size: offset },
            10 | 11 => Op::Read { name },
            12 => Op::Stat { name },
            13 => Op::Chmod { name, mode: 0o400 | u32::try_from(offset % 0o400).expect("small") },
            14 => Op::Rename { from: name, to: self.name() },
            15 => Op::Unlink { name },
            16 | 17 => Op::Mkdir { name },
            18 if offset.is_multiple_of(3) => Op::Symlink { name },
            18 => Op::Rmdir { name },
            19 if has_links && offset.is_multiple_of(2) => Op::Link { from: name, to: self.name() },
            _ => Op::List { name },
        }
    }
}

/// A directory under test, and the files that are open in it.
struct Side<'a> {
    root: &'a Path,
    open: HashMap<&'static str, File>,
}

impl Side<'_> {
    /// What an operation brings, as text, so that sides can be compared.
    fn perform(&mut self, operation: &Operation) -> String {
        match self.attempt(operation) {
            Ok(result) => result,
            Err(error) => format!("errno {:?}", error.raw_os_error()),
        }
    }

    fn attempt(&mut self, operation: &Operation) -> io::Result<String> {
        use Operation as Op;
        let path = |name: &str| self.root.join(name);
        let data = |size: usize, fill: u8| vec![fill; size];
        match *operation {
            Op::Write { name, offset, size, fill } => {
                let options =
                    OpenOptions::new().write(true).create(true).truncate(false).open(path(name));
                options?.write_all_at(&data(size, fill), offset)?;
            }
            Op::Append { name, size, fill } => {
                let file = OpenOptions::new().append(true).open(path(name))?;
                io::Write::write_all(&mut &file, &data(size, fill))?;
            }
            Op::Replace { name, size, fill } => fs::write(path(name), data(size, fill))?,
            Op::Open { name } => {
                let file = OpenOptions::new().read(true).write(true).open(path(name))?;
                self.open.insert(name, file);
            }
            Op::WriteOpen { name, offset, size, fill } => {
                if let Some(file) = self.open.get(name) {
                    file.write_all_at(&data(size, fill), offset)?;
                }
            }
            Op::ReadOpen { name } => {
                if let Some(file) = self.open.get(name) {
                    return Ok(format!("{} {}", file.metadata()?.nlink(), sum(&read_all(file)?)));
                }
            }
            Op::Close { name } => drop(self.open.remove(name)),
            Op::Truncate { name, size } => {
                OpenOptions::new().write(true).open(path(name))?.set_len(size)?;
            }
            Op::Read { name } => return Ok(sum(&fs::read(path(name))?)),
            Op::Stat { name } => return describe(&path(name)),
            Op::Chmod { name, mode } => {
                fs::set_permissions(path(name), fs::Permissions::from_mode(mode))?;
            }
            Op::Rename { from, to } => fs::rename(path(from), path(to))?,
            Op::Unlink { name } => fs::remove_file(path(name))?,
            Op::Mkdir { name } => fs::create_dir(path(name))?,
            Op::Rmdir { name } => fs::remove_dir(path(name))?,
            Op::Symlink { name } => std::os::unix::fs::symlink("a", path(name))?,
            Op::Link { from, to } => fs::hard_link(path(from), path(to))?,
            Op::List { name } => return list(&path(name)),
        }
        Ok(String::new())
    }
}

fn read_all(file: &File) -> io::Result<Vec<u8>> {
    let size = usize::try_from(file.metadata()?.len()).expect("files are small here");
    let mut contents = vec![0; size];
    file.read_exact_at(&mut contents, 0)?;
    Ok(contents)
}

/// Enough to tell two contents apart.
fn sum(contents: &[u8]) -> String {
    let hash = contents
        .iter()
        .fold(5381_u64, |hash, byte| hash.wrapping_mul(33).wrapping_add(u64::from(*byte)));
    format!("{} bytes, {hash:x}", contents.len())
}

fn describe(path: &Path) -> io::Result<String> {
    let metadata = fs::symlink_metadata(path)?;
    // Sizes of directories are each file system's own affair.
    let size = if metadata.is_dir() { 0 } else { metadata.len() };
    Ok(format!("{:o} {} {size}", metadata.mode(), metadata.nlink()))
}

fn list(path: &Path) -> io::Result<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        names.push(format!("{:?} {:?}", entry.file_name(), entry.file_type()?));
    }
    names.sort();
    Ok(names.join(", "))
}

/// Everything below a directory, with its attributes and contents.
fn tree(root: &Path, below: &Path, found: &mut Vec<String>) {
    let path = root.join(below);
    let described = describe(&path).expect("it is there");
    let contents = fs::symlink_metadata(&path).expect("it is there").is_file();
    let contents = contents.then(|| sum(&fs::read(&path).expect("root reads everything")));
    found.push(format!("{}: {described} {contents:?}", below.display()));
    if fs::symlink_metadata(&path).expect("it is there").is_dir() {
        let entries = fs::read_dir(&path).expect("it can be listed");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("to its end").file_name()).collect();
        names.sort();
        names.iter().for_each(|name| tree(root, &below.join(name), found));
    }
}

#[test]
fn random_operations_do_what_they_do_in_a_plain_directory() {
    compare(&[], true, &[1, 2, 3, 4]);
}

#[test]
fn and_on_a_classic_mount() {
    compare(&["--classic"], false, &[5]);
}

/// Performs the operations that follow from each seed on a mount with these options.
fn compare(options: &[&str], has_links: bool, seeds: &[u64]) {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 3);
    for seed in seeds {
        let plain = tempfile::tempdir().expect("there is a place for temporary directories");
        let mount = Mount::ours(&cluster, options);
        let root = mount.path(&format!("seed-{seed}"));
        fs::create_dir(&root).expect("a new directory");
        let mut sides = [
            Side { root: plain.path(), open: HashMap::new() },
            Side { root: &root, open: HashMap::new() },
        ];
        fs::set_permissions(plain.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ seed);
        let mut done = Vec::new();
        for _ in 0..OPERATIONS {
            let operation = random.operation(has_links);
            let [expected, found] = sides.each_mut().map(|side| side.perform(&operation));
            done.push(operation);
            let last = &done[done.len().saturating_sub(12)..];
            assert_eq!(found, expected, "seed {seed}, after {last:#?}");
        }
        drop(sides);
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        tree(plain.path(), Path::new(""), &mut expected);
        tree(&root, Path::new(""), &mut found);
        assert_eq!(found, expected, "seed {seed}");
        mount.unmount();
        let mount = Mount::ours(&cluster, options);
        found.clear();
        tree(&mount.path(&format!("seed-{seed}")), Path::new(""), &mut found);
        assert_eq!(found, expected, "seed {seed}, from another mount");
        mount.unmount();
    }
}
