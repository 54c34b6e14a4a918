//! Locks that end with the file that they were taken through, whatever the kernel says later.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::mount::Mount;
use crate::common::{SOON, run, turn, wait_until};
use crate::{cluster, mounts};

/// Times that each of those who compete for a lock gets it.
const ROUNDS: u32 = 400;

/// Longest that somebody waits for a lock which all others hold for moments only.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens the file, locks it and closes it, again and again. The kernel names the lock by the address
/// of the open file, which it uses again, and tells of the end of the old one some time later.
fn lock_and_close(path: &Path, inside: &AtomicU32) {
    for round in 0..ROUNDS {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let since = Instant::now();
        while file.try_lock().is_err() {
            assert!(since.elapsed() < PATIENCE, "round {round}: the lock has leaked");
            thread::yield_now();
        }
        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "round {round}: two have the lock");
        thread::yield_now();
        inside.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn a_lock_of_flock_ends_when_its_file_is_closed() {
    let _turn = turn();
    let cluster = cluster();
    let mounts: [Mount; 2] = mounts(&cluster);
    for shares in [&mounts[..1], &mounts[..]] {
        let name = format!("locked on {} mounts", shares.len());
        File::create(shares[0].path(&name)).unwrap();
        let inside = AtomicU32::new(0);
        thread::scope(|scope| {
            for place in shares.iter().chain(shares) {
                let (path, inside) = (place.path(&name), &inside);
                scope.spawn(move || lock_and_close(&path, inside));
            }
        });
    }
}

/// `fcntl(2)` with `F_OFD_SETLK`: locks that belong to the open file, not to the process. A descriptor
/// that was duplicated keeps them.
const DESCRIPTION_LOCKS: &str = "
import fcntl, os, struct, sys, time

def lock(fd, kind=fcntl.F_WRLCK, start=0):
    F_OFD_SETLK = 37
    fcntl.fcntl(fd, F_OFD_SETLK, struct.pack('hhqqixxxx', kind, 0, start, 10, 0))

def is_refused(fd):
    try:
        lock(fd)
    except BlockingIOError:
        return True

here, there = sys.argv[1:]
open(here, 'w').close()
for round in range(20):
    holder, other = os.open(here, os.O_RDWR), os.open(there, os.O_RDWR)
    # Ranges of its own, and one that is given back.
    lock(holder), lock(holder, start=20), lock(holder, fcntl.F_UNLCK, 20)
    assert is_refused(other)
    copy = os.dup(holder)
    os.close(holder)
    assert is_refused(other), 'the file is still open'
    os.close(copy)
    deadline = time.monotonic() + 20
    while is_refused(other):
        assert time.monotonic() < deadline, f'round {round}: the lock has outlived its file'
    os.close(other)
";

#[test]
fn a_lock_of_an_open_file_description_ends_with_it() {
    let _turn = turn();
    let cluster = cluster();
    let [here, there]: [Mount; 2] = mounts(&cluster);
    for other in [&here, &there] {
        let files = [here.path("file"), other.path("file")];
        run(Command::new("python3").args(["-c", DESCRIPTION_LOCKS]).args(files));
    }
}

#[test]
fn a_lock_is_free_although_what_was_written_under_it_cannot_be_sent() {
    let _turn = turn();
    let cluster = cluster();
    let holder = Mount::ours(&cluster, &["--timeout", "2"]);
    let other = Mount::ours(&cluster, &[]);
    let mut file = File::create(holder.path("file")).unwrap();
    file.lock().unwrap();
    file.write_all(b"text").unwrap();
    cluster.chunks.iter().for_each(|chunk| chunk.process.pause());
    let start = Instant::now();
    file.unlock().expect_err("it could not be sent");
    assert!(start.elapsed() < Duration::from_secs(4), "it took {:?}", start.elapsed());
    let next = File::open(other.path("file")).unwrap();
    let limit = Duration::from_secs(10);
    wait_until("the lock is free", limit, || next.try_lock().is_ok());
    cluster.chunks.iter().for_each(|chunk| chunk.process.go_on());
    wait_until("it is sent after all", SOON, || file.sync_all().is_ok());
    assert_eq!(std::fs::read(other.path("file")).unwrap(), b"text");
}
