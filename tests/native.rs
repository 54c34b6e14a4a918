//! The native client against a cluster in the same process.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod fake_cluster;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fake_cluster::FakeCluster;

use htfs::client::native::NativeFs;
use htfs::client::vfs::{self, Attempt, Handle, OpenFlags};
use htfs::error::ErrorKind;
use htfs::limits::CHUNK_SIZE;
use htfs::proto::session::{Lock, LockKind};
use htfs::types::{Attr, Cookie, Credentials, Ino, Name, RenameMode, SetAttr, Whence};

const ROOT: Credentials = Credentials::ROOT;
const READ_WRITE: OpenFlags = OpenFlags(libc::O_RDWR);
const APPEND: OpenFlags = OpenFlags(libc::O_RDWR | libc::O_APPEND);

type Fs = Arc<NativeFs<FakeCluster>>;

fn name(text: &str) -> Name {
    Name::new(text.as_bytes().to_vec()).unwrap()
}

async fn create(fs: &Fs, text: &str) -> (Handle, Ino) {
    let (attr, open) = fs.create(Ino::ROOT, &name(text), 0o644, READ_WRITE, &ROOT).await.unwrap();
    (open.handle, attr.ino)
}

async fn write(fs: &Fs, handle: Handle, offset: u64, data: &[u8]) {
    fs.write(handle, offset, Bytes::copy_from_slice(data), false, &ROOT).await.unwrap();
}

async fn read_all(fs: &Fs, ino: Ino) -> Vec<u8> {
    let open = fs.open(ino, READ_WRITE, &ROOT).await.unwrap();
    let data = fs.read(open.handle, 0, 1 << 20).await.unwrap();
    fs.release(open.handle).await.unwrap();
    data.to_vec()
}

async fn truncate(fs: &Fs, ino: Ino, size: u64) -> Attr {
    let change = SetAttr { size: Some(size), ..SetAttr::default() };
    fs.setattr(ino, None, change, &ROOT).await.unwrap()
}

async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "it did not happen");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_after_a_close_sees_what_was_written() {
    let cluster = FakeCluster::new();
    let ((a, _guard_a), (b, _guard_b)) = (cluster.client().await, cluster.client().await);
    let (handle, ino) = create(&a, "f").await;
    for round in 0..20_u8 {
        let text = vec![b'a' + round; 100 + usize::from(round)];
        write(&a, handle, 0, &text).await;
        a.flush(handle, 1).await.unwrap();
        assert_eq!(read_all(&b, ino).await, text);
        assert_eq!(b.getattr(ino).await.unwrap().size, text.len() as u64);
    }
}

#[tokio::test]
async fn a_small_file_takes_three_calls_to_write_and_two_to_read() {
    let cluster = FakeCluster::new();
    let ((a, _guard_a), (b, _guard_b)) = (cluster.client().await, cluster.client().await);
    let calls =
        || cluster.asked.load(Ordering::SeqCst) + cluster.chunk_calls.load(Ordering::SeqCst);
    let before = calls();
    let (handle, ino) = create(&a, "f").await;
    write(&a, handle, 0, b"hello").await;
    a.flush(handle, 1).await.unwrap();
    a.release(handle).await.unwrap();
    assert_eq!(calls() - before, 3);

    let before = calls();
    let open = b.open(ino, READ_WRITE, &ROOT).await.unwrap();
    assert_eq!(b.read(open.handle, 0, 4096).await.unwrap(), "hello");
    assert_eq!(calls() - before, 2);
    let before = calls();
    b.lookup(Ino::ROOT, &name("f"), &ROOT).await.unwrap();
    b.lookup(Ino::ROOT, &name("f"), &ROOT).await.unwrap();
    assert_eq!(calls() - before, 1);
}

#[tokio::test]
async fn nobody_is_asked_for_the_capabilities_of_a_new_file() {
    let cluster = FakeCluster::new();
    let (fs, _guard) = cluster.client().await;
    let capability = || Bytes::from_static(b"security.capability");
    // Enough for some of which the attributes are dropped with those of the directory.
    for number in 0..200 {
        let (handle, ino) = create(&fs, &format!("f{number}")).await;
        let before = cluster.asked.load(Ordering::SeqCst);
        let absent = fs.getxattr(ino, capability(), &ROOT).await.unwrap_err();
        assert_eq!(absent.kind(), ErrorKind::NoAttribute);
        assert_eq!(cluster.asked.load(Ordering::SeqCst), before, "file {number}");
        fs.release(handle).await.unwrap();
    }
}

#[tokio::test]
async fn a_rename_that_comes_too_late_does_not_look_done() {
    let cluster = FakeCluster::new();
    // This one hears no news.
    let late = NativeFs::attach(cluster.clone(), "late").await.unwrap();
    let (other, _guard) = cluster.client().await;
    let (a, b) = (name("a"), name("b"));
    other.mkdir(Ino::ROOT, &a, 0o755, &ROOT).await.unwrap();
    let look = |name: &Name| vfs::Vfs::lookup(&late, Ino::ROOT, name.clone(), ROOT, Attempt::First);
    let ino = look(&a).await.unwrap().ino;
    other.rename((Ino::ROOT, &a), (Ino::ROOT, &b), RenameMode::Replace, &ROOT).await.unwrap();
    // The kernel still trusts the old name, and asks for the new one.
    assert_eq!(look(&b).await.unwrap_err().kind(), ErrorKind::Stale);
    // So it begins once more, with the old one.
    assert_eq!(look(&a).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(look(&b).await.unwrap().ino, ino);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_drop_what_others_have_cached() {
    let cluster = FakeCluster::new();
    let ((a, _guard_a), (b, _guard_b)) = (cluster.client().await, cluster.client().await);
    assert!(b.lookup(Ino::ROOT, &name("late"), &ROOT).await.is_err());
    let (handle, ino) = create(&a, "late").await;
    until(async || b.lookup(Ino::ROOT, &name("late"), &ROOT).await.is_ok()).await;
    write(&a, handle, 0, b"12345").await;
    a.flush(handle, 1).await.unwrap();
    until(async || b.getattr(ino).await.unwrap().size == 5).await;
    a.unlink(Ino::ROOT, &name("late"), &ROOT).await.unwrap();
    until(async || b.lookup(Ino::ROOT, &name("late"), &ROOT).await.is_err()).await;
    // The handle goes on to work.
    write(&a, handle, 5, b"6").await;
    assert_eq!(a.read(handle, 0, 100).await.unwrap(), "123456");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_open_and_cut_elsewhere_has_its_new_size() {
    let cluster = FakeCluster::new();
    let ((a, _guard_a), (b, _guard_b)) = (cluster.client().await, cluster.client().await);
    let (handle, ino) = create(&a, "f").await;
    write(&a, handle, 0, &[7; 1000]).await;
    a.flush(handle, 1).await.unwrap();
    let held = b.open(ino, READ_WRITE, &ROOT).await.unwrap();
    assert_eq!(b.getattr(ino).await.unwrap().size, 1000);
    truncate(&a, ino, 300).await;
    // The attributes come with the name here, not asked for by inode.
    until(async || b.lookup(Ino::ROOT, &name("f"), &ROOT).await.unwrap().size == 300).await;
    assert_eq!(b.getattr(ino).await.unwrap().size, 300);
    assert_eq!(b.read(held.handle, 0, 4096).await.unwrap().len(), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_land_whole_and_once() {
    let cluster = FakeCluster::new();
    let (first, _guard) = cluster.client().await;
    let (handle, ino) = create(&first, "log").await;
    first.release(handle).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..10 {
        let cluster = cluster.clone();
        writers.spawn(async move {
            let (fs, _guard) = cluster.client().await;
            let open = fs.open(ino, APPEND, &ROOT).await.unwrap();
            for line in 0..20 {
                let text = format!("client {number} line {line:02}\n");
                fs.write(open.handle, 0, text.into(), true, &ROOT).await.unwrap();
            }
            fs.flush(open.handle, 1).await.unwrap();
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let text = String::from_utf8(read_all(&first, ino).await).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 200);
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 200, "a line came twice or was torn");
}

#[tokio::test]
async fn an_error_of_a_background_write_is_told_once_and_nothing_is_lost() {
    let cluster = FakeCluster::new();
    let (fs, _guard) = cluster.client().await;
    let (handle, ino) = create(&fs, "f").await;
    cluster.failing_writes.store(1, Ordering::SeqCst);
    write(&fs, handle, 0, b"precious").await;
    // Old writes are sent without being asked to; that fails.
    until(async || cluster.failing_writes.load(Ordering::SeqCst) == 0).await;
    until(async || {
        let again = fs.write(handle, 0, Bytes::from_static(b"P"), false, &ROOT).await;
        again.is_err_and(|error| error.kind() == ErrorKind::NoSpace)
    })
    .await;
    fs.flush(handle, 1).await.unwrap();
    assert_eq!(read_all(&fs, ino).await.to_ascii_lowercase(), b"precious");
    cluster.failing_writes.store(1, Ordering::SeqCst);
    write(&fs, handle, 0, b"q").await;
    assert_eq!(fs.flush(handle, 1).await.unwrap_err().kind(), ErrorKind::NoSpace);
    fs.flush(handle, 1).await.unwrap();
    assert_eq!(read_all(&fs, ino).await.to_ascii_lowercase(), b"qrecious");
}

#[tokio::test]
async fn an_append_that_fails_leaves_nothing_behind() {
    let cluster = FakeCluster::new();
    let ((a, _a), (b, _b)) = (cluster.client().await, cluster.client().await);
    let (_, ino) = create(&a, "f").await;
    let flags = OpenFlags(libc::O_RDWR | libc::O_APPEND);
    for options in [0, libc::O_SYNC] {
        truncate(&a, ino, 0).await;
        let flags = OpenFlags(flags.0 | options);
        let handle = a.open(ino, flags, &ROOT).await.unwrap().handle;
        let append = async |text: &'static [u8]| {
            a.write(handle, 0, Bytes::from_static(text), true, &ROOT).await
        };
        assert_eq!(append(b"one;").await.unwrap(), 0);
        cluster.failing_writes.store(1, Ordering::SeqCst);
        assert_eq!(append(b"two, longer;").await.unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(a.dirty_byte_count(), 0, "no later attempt brings it after all");
        for fs in [&a, &b] {
            assert_eq!(fs.getattr(ino).await.unwrap().size, 4);
            assert_eq!(read_all(fs, ino).await, b"one;");
        }
        assert_eq!(append(b"six;").await.unwrap(), 4);
        assert_eq!(read_all(&b, ino).await, b"one;six;");
        a.release(handle).await.unwrap();
    }
}

#[tokio::test]
async fn cuts_and_holes_read_as_zeros() {
    let cluster = FakeCluster::new();
    let (fs, _guard) = cluster.client().await;
    let (handle, ino) = create(&fs, "f").await;
    write(&fs, handle, 0, b"abcdefgh").await;
    truncate(&fs, ino, 4).await;
    truncate(&fs, ino, 8).await;
    assert_eq!(fs.read(handle, 0, 100).await.unwrap(), "abcd\0\0\0\0");
    // Over the border of a chunk.
    write(&fs, handle, CHUNK_SIZE - 2, b"wxyz").await;
    assert_eq!(fs.read(handle, CHUNK_SIZE - 3, 100).await.unwrap(), "\0wxyz");
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    fs.fallocate(handle, CHUNK_SIZE - 1, 2, mode, &ROOT).await.unwrap();
    assert_eq!(fs.read(handle, CHUNK_SIZE - 3, 100).await.unwrap(), "\0w\0\0z");
    fs.fallocate(handle, 1, 2, libc::FALLOC_FL_ZERO_RANGE, &ROOT).await.unwrap();
    assert_eq!(fs.read(handle, 0, 5).await.unwrap(), "a\0\0d\0");
    let found = fs.seek(handle, 4, Whence::Data).await.unwrap();
    assert_eq!(found, CHUNK_SIZE - 2);
    assert_eq!(fs.seek(handle, found, Whence::Hole).await.unwrap(), CHUNK_SIZE - 1);
    assert_eq!(fs.seek(handle, CHUNK_SIZE + 1, Whence::Data).await.unwrap(), CHUNK_SIZE + 1);
    let behind = fs.seek(handle, CHUNK_SIZE + 2, Whence::Hole).await.unwrap_err();
    assert_eq!(behind.kind(), ErrorKind::NoSuchOffset);
    let collapse = fs.fallocate(handle, 0, 1, libc::FALLOC_FL_COLLAPSE_RANGE, &ROOT).await;
    assert_eq!(collapse.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_fsync_costs_what_was_written_since_the_last() {
    let cluster = FakeCluster::new();
    let ((a, _guard_a), (b, _guard_b)) = (cluster.client().await, cluster.client().await);
    let (handle, ino) = create(&a, "f").await;
    // Each chunk may have a server of its own.
    let synced = || {
        let calls = std::mem::take(&mut *cluster.synced.lock().unwrap());
        let mut indexes = calls.concat();
        indexes.sort_unstable();
        indexes
    };
    for index in 0..3 {
        write(&a, handle, index * CHUNK_SIZE, b"first").await;
    }
    a.flush(handle, 1).await.unwrap();
    assert!(synced().is_empty());
    a.fsync(handle).await.unwrap();
    assert_eq!(synced(), [0, 1, 2], "all that was sent before");
    a.fsync(handle).await.unwrap();
    assert!(synced().is_empty(), "nothing was written");
    write(&a, handle, CHUNK_SIZE, b"again").await;
    a.fsync(handle).await.unwrap();
    assert_eq!(synced(), [1]);
    write(&a, handle, 2 * CHUNK_SIZE, b"again").await;
    a.flush(handle, 1).await.unwrap();
    write(&a, handle, 0, b"again").await;
    a.fsync(handle).await.unwrap();
    assert_eq!(synced(), [0, 2], "with what was sent meanwhile");

    let other = b.open(ino, READ_WRITE, &ROOT).await.unwrap();
    write(&b, other.handle, 5, b"there").await;
    b.flush(other.handle, 1).await.unwrap();
    // What another mount changed may be anywhere, once this one has heard of it.
    until(async || {
        a.fsync(handle).await.unwrap();
        synced() == [0, 1, 2]
    })
    .await;
    assert_eq!(a.read(handle, 0, 10).await.unwrap(), "againthere");
}

#[tokio::test]
async fn a_hundred_truncations_in_one_chunk_do_not_pile_up() {
    let cluster = FakeCluster::new();
    let (fs, _guard) = cluster.client().await;
    let (handle, ino) = create(&fs, "f").await;
    write(&fs, handle, 0, &[7; 1000]).await;
    for round in 0..200 {
        truncate(&fs, ino, 100 + round).await;
        truncate(&fs, ino, 1000).await;
    }
    let data = fs.read(handle, 0, 1000).await.unwrap();
    assert!(data[..100].iter().all(|byte| *byte == 7) && data[100..].iter().all(|byte| *byte == 0));
}

#[tokio::test]
async fn copies_are_made_by_the_servers() {
    let cluster = FakeCluster::new();
    let (fs, _guard) = cluster.client().await;
    let ((from, _), (to, ino)) = (create(&fs, "from").await, create(&fs, "to").await);
    write(&fs, from, 10, b"contents").await;
    write(&fs, to, 0, b"0123456789").await;
    assert_eq!(fs.copy_file_range((from, 10), (to, 4), 100, &ROOT).await.unwrap(), 8);
    assert_eq!(read_all(&fs, ino).await, b"0123contents");
    // Within one file, and overlapping.
    assert_eq!(fs.copy_file_range((to, 0), (to, 8), 4, &ROOT).await.unwrap(), 4);
    assert_eq!(read_all(&fs, ino).await, b"0123cont0123");
    let overlap = fs.copy_file_range((to, 0), (to, 1), 4, &ROOT).await.unwrap_err();
    assert_eq!(overlap.kind(), ErrorKind::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_hold_between_mounts_and_a_signal_ends_the_wait() {
    let cluster = FakeCluster::new();
    let ((a, _guard_a), (b, _guard_b)) = (cluster.client().await, cluster.client().await);
    let (handle, ino) = create(&a, "f").await;
    let lock = |kind| Lock {
        owner: 9,
        is_flock: false,
        kind,
        start: 0,
        end: i64::MAX.cast_unsigned(),
        pid: 1,
    };
    let other = b.open(ino, READ_WRITE, &ROOT).await.unwrap().handle;
    a.setlk((ino, handle), lock(LockKind::Write), false, || false).await.unwrap();
    let refused = b.setlk((ino, other), lock(LockKind::Write), false, || false).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    let interrupted =
        b.setlk((ino, other), lock(LockKind::Write), true, || true).await.unwrap_err();
    assert_eq!(interrupted.kind(), ErrorKind::Interrupted);
    a.flush(handle, 9).await.unwrap();
    b.setlk((ino, other), lock(LockKind::Write), true, || false).await.unwrap();
}

#[tokio::test]
async fn a_large_directory_is_listed_in_pages() {
    let cluster = FakeCluster::new();
    let (fs, _guard) = cluster.client().await;
    for number in 0..2500 {
        fs.mkdir(Ino::ROOT, &name(&format!("d{number}")), 0o755, &ROOT).await.unwrap();
    }
    let handle = fs.opendir(Ino::ROOT, &ROOT).await.unwrap();
    let (mut after, mut seen) = (Cookie::START, 0);
    loop {
        let entries = fs.readdir(handle, after, true, &ROOT).await.unwrap().entries;
        let Some(last) = entries.last() else { break };
        // As the kernel does, which has room for some of them only.
        let taken = entries.len().min(100);
        seen += taken;
        after = if taken == entries.len() { last.cookie } else { entries[taken - 1].cookie };
    }
    assert_eq!(seen, 2500);
}

#[tokio::test]
async fn a_small_directory_is_listed_by_the_call_that_opens_it() {
    let cluster = FakeCluster::new();
    let (fs, _guard) = cluster.client().await;
    for number in 0..10 {
        create(&fs, &format!("f{number}")).await;
    }
    let before = cluster.asked.load(Ordering::SeqCst);
    let handle = fs.opendir(Ino::ROOT, &ROOT).await.unwrap();
    let asked = || cluster.asked.load(Ordering::SeqCst) - before;
    // What goes meanwhile is not there any more, not even for the kernel's own cache.
    fs.unlink(Ino::ROOT, &name("f3"), &ROOT).await.unwrap();
    let entries = fs.readdir(handle, Cookie::START, true, &ROOT).await.unwrap().entries;
    assert_eq!(entries.len(), 9);
    assert!(entries.iter().all(|entry| entry.attr.is_some()));
    let last = entries.last().unwrap().cookie;
    assert!(fs.readdir(handle, last, true, &ROOT).await.unwrap().entries.is_empty());
    assert_eq!(asked(), 2, "to open it and to remove a name");
    // From the start again it is what it is now.
    create(&fs, "new").await;
    let again = fs.readdir(handle, Cookie::START, true, &ROOT).await.unwrap().entries;
    assert_eq!(again.len(), 10);
}

#[tokio::test]
async fn names_that_go_while_a_directory_is_listed_do_not_end_the_listing() {
    let cluster = FakeCluster::new();
    let (fs, _guard) = cluster.client().await;
    for number in 0..100 {
        create(&fs, &format!("f{number:02}")).await;
    }
    let handle = fs.opendir(Ino::ROOT, &ROOT).await.unwrap();
    let first = fs.readdir(handle, Cookie::START, true, &ROOT).await.unwrap().entries;
    assert!(first.len() < 100);
    // All that is known goes, but for the first one that the kernel has taken.
    for entry in &first[1..] {
        fs.unlink(Ino::ROOT, &entry.name, &ROOT).await.unwrap();
    }
    let rest = fs.readdir(handle, first[0].cookie, true, &ROOT).await.unwrap().entries;
    assert_eq!(rest.len(), 100 - first.len());
}

#[tokio::test]
async fn sequential_readers_are_read_ahead_of() {
    let cluster = FakeCluster::new();
    let ((a, _guard_a), (b, _guard_b)) = (cluster.client().await, cluster.client().await);
    let (handle, ino) = create(&a, "f").await;
    let size = 4 << 20;
    let data: Vec<u8> = (0..size).map(|at: u32| u8::try_from(at % 253).unwrap()).collect();
    write(&a, handle, 0, &data).await;
    a.flush(handle, 1).await.unwrap();
    let open = b.open(ino, READ_WRITE, &ROOT).await.unwrap();
    let before = cluster.chunk_calls.load(Ordering::SeqCst);
    for at in (0..size).step_by(16 << 10) {
        let piece = b.read(open.handle, u64::from(at), 16 << 10).await.unwrap();
        let from = usize::try_from(at).unwrap();
        assert_eq!(piece, data[from..from + (16 << 10)]);
    }
    let calls = cluster.chunk_calls.load(Ordering::SeqCst) - before;
    assert!(calls <= 40, "{calls} calls for 256 reads");
}
