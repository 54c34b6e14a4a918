//! A full disk: an error at the caller, nothing half done, and the servers go on. Each test mounts
//! a small disk of its own, which only root may; whoever is not root sees the tests fail.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::classic::{Classic, DIALECTS};
use common::cluster::{Cluster, Kind};
use common::mount::Mount;
use common::rpc::{Rpc, key_of};
use common::{SOON, keys, run, wait_until};
use htfs::chunk;
use htfs::error::{ErrorKind, FsError};
use htfs::limits;
use htfs::proto::classic::{Dialect, Get, Put};
use htfs::store::{Store, TABLE_END, Table};
use htfs::types::{StoredValue, Ttl, ValueKind};

/// A disk of its own, in memory. Dropping it unmounts it.
struct Disk {
    path: PathBuf,
}

impl Disk {
    fn mount(path: PathBuf, size_mib: u64) -> Self {
        std::fs::create_dir_all(&path).expect("the test's directory takes a directory");
        let size = format!("size={size_mib}m,mode=700");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path));
        Self { path }
    }

    /// Fills it up to `left` bytes, as somebody else would.
    fn fill(&self, left: u64) -> PathBuf {
        let free = htfs::store::file::free_space(&self.path).expect("it is mounted");
        let path = self.path.join("lost+found");
        std::fs::create_dir_all(&path).expect("there is room for a directory");
        let file = path.join("filler");
        let bytes = usize::try_from(free.saturating_sub(left)).expect("it is small");
        std::fs::write(&file, vec![0; bytes]).expect("so much was free");
        file
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.path).status());
    }
}

fn put(rpc: &Rpc, url: &str, key: &str, size: usize, ttl_s: i64) -> Result<(), FsError> {
    let bytes = vec![u8::try_from(key.len()).unwrap_or(0); size].into();
    let value = StoredValue { kind: ValueKind::Base64, bytes };
    let call = Put { key: key_of(key), dialect: Dialect::String, value, ttl: Ttl::from_s(ttl_s) };
    Ok(rpc.call(url, call).map(|_| ())?)
}

fn size_of(rpc: &Rpc, url: &str, key: &str) -> Option<usize> {
    let call = Get { key: key_of(key), dialect: Dialect::String };
    rpc.call(url, call).expect("a full server answers").map(|entry| entry.value.bytes.len())
}

fn assert_full(result: Result<(), FsError>) {
    let error = result.expect_err("the disk is full");
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
}

const MIB: usize = 1 << 20;
const DAY_S: i64 = 86_400;

/// Puts values until the disk is full; gives their number.
fn put_until_full(rpc: &Rpc, url: &str) -> usize {
    for number in 0.. {
        if let Err(error) = put(rpc, url, &format!("key {number}"), 2 * MIB, DAY_S) {
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
            return number;
        }
    }
    unreachable!("a disk is not endless")
}

/// A cluster whose chunk server is on a small disk: the disk is mounted where the server will have
/// its data.
fn mount_below(dir: &Path) -> Disk {
    Disk::mount(dir.join("data"), 128)
}

#[test]
fn a_full_chunk_server_goes_on_and_has_room_again_after_deletions() {
    let cluster = Cluster::start(&Kind::Rust, 0);
    let dir = tempfile::tempdir().expect("there is a place for temporary directories");
    let disk = mount_below(dir.path());
    let chunk = cluster.chunk_in(dir.path());
    let (rpc, url) = (Rpc::new(), chunk.url.as_str());
    put(&rpc, url, "old", MIB, DAY_S).expect("there is room");
    let full_at = put_until_full(&rpc, url);
    assert!(full_at > 10, "{full_at}");

    // Nothing has changed by the puts that failed, and everything else is there.
    assert_full(put(&rpc, url, "old", 3 * MIB, DAY_S));
    assert_eq!(size_of(&rpc, url, "old"), Some(MIB));
    assert_eq!(size_of(&rpc, url, &format!("key {full_at}")), None);
    for number in 0..full_at {
        assert_eq!(size_of(&rpc, url, &format!("key {number}")), Some(2 * MIB), "key {number}");
    }

    // Somebody else takes what was kept for deletions; nothing can be changed then.
    let filler = disk.fill(0);
    assert_full(put(&rpc, url, "key 0", 1, DAY_S));
    assert_full(put(&rpc, url, "key 0", 0, 0));
    assert_eq!(size_of(&rpc, url, "key 0"), Some(2 * MIB));
    std::fs::remove_file(filler).expect("it is ours");

    for number in 0..full_at {
        put(&rpc, url, &format!("key {number}"), 0, 0).expect("a deletion has room");
        assert_eq!(size_of(&rpc, url, &format!("key {number}")), None);
    }
    let again = put_until_full(&rpc, url);
    assert!(again.abs_diff(full_at) <= 1, "{again} instead of {full_at}");
}

/// A chunk server in this process with its data on a small disk, for which no value is too young.
fn chunk_on(disk: &Disk, master: &str) -> (tokio::runtime::Runtime, chunk::Running) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let (cert, key) = (keys().certificate.clone(), keys().key.clone());
    let config = chunk::Config::new(master.to_owned(), disk.path.join("data"), cert, key);
    let config = chunk::Config { reclaim_age_min: Duration::ZERO, ..config };
    let mut running = runtime.block_on(chunk::start(config)).expect("the chunk server starts");
    runtime.block_on(running.joined()).expect("the master takes it");
    (runtime, running)
}

#[test]
fn on_a_full_disk_the_oldest_values_go_that_nobody_comes_for() {
    let cluster = Cluster::start(&Kind::Rust, 0);
    let dir = tempfile::tempdir().expect("there is a place for temporary directories");
    let disk = Disk::mount(dir.path().join("disk"), 128);
    let (runtime, chunk) = chunk_on(&disk, &cluster.master.url);
    let (rpc, url) = (Rpc::new(), chunk.url().as_str());
    let classic = Classic::new(&cluster.master.url, DIALECTS[2]);
    classic.write("/file", &[7; 2 * MIB]).expect("there is room");
    put(&rpc, url, "no path", 2 * MIB, DAY_S).expect("there is room");
    // A dict at the master waits for one, and one is a whole file of a program without a master.
    put(&rpc, url, "/awaited", 2 * MIB, DAY_S).expect("there is room");
    let awaited = StoredValue { kind: ValueKind::String, bytes: "no dict".into() };
    rpc.put_value(&cluster.master.url, "/awaited", awaited).expect("put");
    let text = "x".repeat(2 * MIB);
    let whole = format!("(dS'st_mode'\nI33188\nsS'contents'\nS'{text}'\ns.");
    let whole = StoredValue { kind: ValueKind::String, bytes: whole.into() };
    rpc.put_value(url, "/whole", whole).expect("there is room");

    let many = 100;
    for number in 0..many {
        put(&rpc, url, &format!("/dead {number}"), 2 * MIB, DAY_S).expect("room is made");
    }
    let is_there = |number: usize| size_of(&rpc, url, &format!("/dead {number}")).is_some();
    let left = (0..many).filter(|number| is_there(*number)).count();
    assert!((10..60).contains(&left), "{left} of {many} are left");
    assert!((many - left..many).all(is_there), "the latest ones are left");
    for kept in ["no path", "/awaited", "/whole"] {
        assert!(size_of(&rpc, url, kept).is_some(), "{kept} is gone");
    }
    assert_eq!(classic.read("/file").expect("get").expect("it is there").len(), 2 * MIB);
    // Native contents get room as well, and what has none left is refused.
    wait_until("there is room for others", SOON, || {
        let free = htfs::store::file::free_space(&disk.path).expect("it is mounted");
        free > limits::DISK_RESERVE + 128 * MIB as u64 / limits::RECLAIM_ROOM_PART
    });
    assert_full(put(&rpc, url, "too large", 200 * MIB, DAY_S));
    runtime.block_on(chunk.stop()).expect("it stops well");
}

#[test]
fn a_full_master_goes_on() {
    let dir = tempfile::tempdir().expect("there is a place for temporary directories");
    let disk = mount_below(dir.path());
    let master = Cluster::master_in(dir.path());
    let (rpc, url) = (Rpc::new(), master.url.as_str());
    put(&rpc, url, "a", 10, DAY_S).expect("there is room");
    put(&rpc, url, "b", 10, DAY_S).expect("there is room");

    let filler = disk.fill(limits::DISK_RESERVE - (1 << 20));
    assert_full(put(&rpc, url, "a", 20, DAY_S));
    assert_full(put(&rpc, url, "new", 1, DAY_S));
    assert_eq!(size_of(&rpc, url, "a"), Some(10));
    put(&rpc, url, "b", 0, 0).expect("a deletion has room");
    assert_eq!(size_of(&rpc, url, "b"), None);
    std::fs::remove_file(filler).expect("it is ours");

    let filler = disk.fill(0);
    assert_full(put(&rpc, url, "a", 0, 0));
    assert_eq!(size_of(&rpc, url, "a"), Some(10));
    std::fs::remove_file(filler).expect("it is ours");
    put(&rpc, url, "a", 20, DAY_S).expect("there is room again");
    assert_eq!(size_of(&rpc, url, "a"), Some(20));
}

#[test]
fn a_write_that_meets_the_end_of_the_disk_has_not_happened() {
    const T: Table = Table("t");
    let dir = tempfile::tempdir().expect("there is a place for temporary directories");
    let disk = Disk::mount(dir.path().join("disk"), 128);
    let path = disk.path.join("store");
    let keys = |store: &Store| {
        let rows = store.read(|txn| txn.scan(T, &[], TABLE_END, 100)).expect("it can be read");
        rows.into_iter().map(|(key, _)| key.to_vec()).collect::<Vec<_>>()
    };
    let put = |store: &Store, key: &[u8], size: usize| {
        store.write(|txn| {
            txn.put(T, key, &vec![7; size]);
            Ok(())
        })
    };
    let large = usize::try_from(3 * limits::DISK_RESERVE_LAST).expect("it is small");
    {
        let store = Store::open(&path, &[T]).expect("there is room");
        put(&store, b"a", 10).expect("there is room");
        let filler = disk.fill(2 * limits::DISK_RESERVE_LAST);
        for _ in 0..3 {
            assert_full(put(&store, b"large", large));
            assert_eq!(keys(&store), [b"a"]);
        }
        put(&store, b"b", 10).expect("there is room for this one");
        store.sync().expect("the disk is well");
        std::fs::remove_file(filler).expect("it is ours");
        put(&store, b"c", large).expect("there is room");
        assert_eq!(keys(&store), [b"a", b"b", b"c"]);
    }
    let store = Store::open(&path, &[T]).expect("it is whole");
    assert_eq!(keys(&store), [b"a", b"b", b"c"]);
}

/// The error of what must fail because a disk is full.
fn assert_no_space<T>(result: std::io::Result<T>) {
    let error = result.map(drop).expect_err("the disk is full");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
}

#[test]
fn on_a_mount_files_can_be_read_and_deleted_while_the_disk_of_the_master_is_full() {
    let dir = tempfile::tempdir().expect("there is a place for temporary directories");
    let disk = mount_below(dir.path());
    let mut cluster = Cluster::around(Cluster::master_in(dir.path()));
    cluster.add_chunk();
    let mount = Mount::ours(&cluster, &[]);
    let contents = vec![7; 3 * MIB];
    for name in ["read", "delete", "empty"] {
        std::fs::write(mount.path(name), &contents).expect("there is room");
    }
    std::fs::create_dir(mount.path("dir")).expect("there is room");

    let filler = disk.fill(0);
    assert_no_space(std::fs::write(mount.path("new"), "x"));
    assert_no_space(std::fs::rename(mount.path("read"), mount.path("other")));
    // Nobody has read it yet, so this is when its time of access would change.
    assert!(std::fs::read(mount.path("read")).expect("it can be opened") == contents);
    std::fs::remove_file(mount.path("delete")).expect("a deletion has room");
    std::fs::remove_dir(mount.path("dir")).expect("a deletion has room");
    let empty = std::fs::File::options().write(true).truncate(true).open(mount.path("empty"));
    drop(empty.expect("to empty a file is a deletion"));
    let names = || std::fs::read_dir(mount.root()).expect("it is a directory").count();
    assert_eq!(names(), 2);
    // Another mount finds the master as it is, and deletes as well.
    let other = Mount::ours(&cluster, &[]);
    assert!(std::fs::read(other.path("read")).expect("it can be opened") == contents);
    std::fs::remove_file(other.path("empty")).expect("a deletion has room");
    assert_no_space(std::fs::write(mount.path("new"), "x"));
    std::fs::remove_file(filler).expect("it is ours");

    std::fs::write(mount.path("new"), "x").expect("there is room again");
    assert_eq!(std::fs::read(other.path("new")).expect("it is there"), b"x");
    // Room is kept once more.
    let filler = disk.fill(0);
    std::fs::remove_file(mount.path("new")).expect("a deletion has room");
    std::fs::remove_file(filler).expect("it is ours");
}

#[test]
fn deleting_on_a_mount_frees_a_disk_that_is_full_to_the_last_byte() {
    let dir = tempfile::tempdir().expect("there is a place for temporary directories");
    let disk = Disk::mount(dir.path().join("disk"), 192);
    let below = |name: &str| {
        let path = disk.path.join(name);
        std::fs::create_dir(&path).expect("there is room");
        path
    };
    let mut cluster = Cluster::around(Cluster::master_in(&below("master")));
    cluster.chunks.push(cluster.chunk_in(&below("chunk")));
    let mount = Mount::ours(&cluster, &[]);
    let size = 20 * MIB;
    for number in 0..3 {
        let name = mount.path(&format!("file {number}"));
        std::fs::write(name, vec![7; size]).expect("there is room");
    }
    disk.fill(0);
    for number in 0..3 {
        let name = mount.path(&format!("file {number}"));
        std::fs::remove_file(name).expect("a deletion has room");
    }
    wait_until("the chunks are deleted", SOON, || {
        let free = htfs::store::file::free_space(&disk.path).expect("it is mounted");
        free > 3 * size as u64
    });
    std::fs::write(mount.path("new"), vec![7; MIB]).expect("there is room again");
}

#[test]
fn an_append_that_finds_a_full_disk_leaves_neither_zeros_nor_a_part() {
    let dir = tempfile::tempdir().expect("there is a place for temporary directories");
    let disk = mount_below(dir.path());
    let mut cluster = Cluster::start(&Kind::Rust, 0);
    cluster.chunks.push(cluster.chunk_in(dir.path()));
    let (mount, other) = (Mount::ours(&cluster, &[]), Mount::ours(&cluster, &[]));
    let path = mount.path("log");
    let record = |number: usize| format!("record {number};").repeat(1 << 12).into_bytes();
    let append = |number: usize| {
        let mut log = std::fs::File::options().append(true).create(true).open(&path)?;
        std::io::Write::write_all(&mut log, &record(number))
    };
    let written: usize = 3;
    (0..written).for_each(|number| append(number).expect("there is room"));
    let filler = disk.fill(limits::DISK_RESERVE);
    let mut whole: Vec<u8> = (0..written).flat_map(record).collect();
    for _ in 0..3 {
        // What is left of the room that the server gives away without asking is not much.
        let mut number = written;
        let refused = loop {
            match append(number) {
                Ok(()) => whole.extend(record(number)),
                refused => break refused,
            }
            number += 1;
            assert!(number < 10_000, "it never fills");
        };
        assert_no_space(refused);
        for mount in [&mount, &other] {
            let found = std::fs::read(mount.path("log")).expect("it can be read");
            assert!(found == whole, "{} bytes instead of {}", found.len(), whole.len());
        }
    }
    std::fs::remove_file(filler).expect("it is ours");
    append(7).expect("there is room again");
    whole.extend(record(7));
    assert!(std::fs::read(other.path("log")).expect("it can be read") == whole);
}
