//! What goes wrong ends in an error: in time, and never in wrong data.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::mount::Mount;
use crate::common::{SOON, turn, wait_until};
use crate::{cluster, errno, mounts};

/// The files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn promise_5_no_silent_damage() {
    let _turn = turn();
    let cluster = cluster();
    let [mount] = mounts(&cluster);
    let contents: Vec<u8> = (0..300_007_u32).flat_map(u32::to_le_bytes).collect();
    let mut file = File::create(mount.path("file")).unwrap();
    file.write_all(&contents).unwrap();
    file.sync_all().unwrap();
    drop(file);

    let stored = cluster.chunks.iter().flat_map(|chunk| files(&chunk.dir));
    let is_the_chunk = |path: &PathBuf| fs::read(path).is_ok_and(|found| found == contents);
    let chunk = stored.filter(|path| is_the_chunk(path)).last().expect("the contents are stored");
    let file = File::options().write(true).open(&chunk).unwrap();
    file.write_all_at(&[contents[500_000] ^ 1], 500_000).unwrap();

    // A mount that has nothing of it in memory; and the one that wrote it, reading anew.
    let other = Mount::ours(&cluster, &[]);
    for mount in [&other, &mount] {
        let file = File::open(mount.path("file")).unwrap();
        let mut some = [0; 1000];
        if let Err(error) = file.read_exact_at(&mut some, 499_900) {
            assert_eq!(error.raw_os_error(), Some(libc::EIO));
        } else {
            assert_eq!(some, contents[499_900..500_900], "what was in memory is right, or nothing");
        }
        file.read_exact_at(&mut some, 900_000).unwrap();
        assert_eq!(some, contents[900_000..901_000], "the rest can be read");
    }
    assert_eq!(errno(fs::read(other.path("file"))), libc::EIO);
    // Writing a part of the damaged block would make its checksum right again over wrong bytes.
    let file = File::options().write(true).open(other.path("file")).unwrap();
    let written = file.write_all_at(b"new", 499_950).and_then(|()| file.sync_all());
    assert_eq!(errno(written), libc::EIO);
}

#[test]
fn promise_6_never_hung() {
    let _turn = turn();
    let cluster = cluster();
    let mount = Mount::ours(&cluster, &["--timeout", "3"]);
    fs::write(mount.path("file"), [7; 300_000]).unwrap();
    let reader = Mount::ours(&cluster, &["--timeout", "3"]);
    let opened = File::open(reader.path("file")).unwrap();

    // Servers that hang, and keep their connections: every call ends with an error.
    cluster.chunks.iter().for_each(|chunk| chunk.process.pause());
    let start = Instant::now();
    assert!(opened.read_at(&mut [0; 10], 0).is_err());
    let mut other = File::create(mount.path("other")).unwrap();
    assert!(other.write_all(b"text").and_then(|()| other.sync_all()).is_err());
    drop(other);
    assert!(start.elapsed() < SOON);
    // The master lives: names can be looked at all the while.
    assert_eq!(fs::read_dir(mount.root()).unwrap().count(), 2);
    cluster.master.process.pause();
    wait_until("names give errors, too", SOON, || fs::metadata(mount.path("new")).is_err());
    assert!(fs::create_dir(mount.path("dir")).is_err());

    // Everything is well again when they are.
    cluster.chunks.iter().chain([&cluster.master]).for_each(|server| server.process.go_on());
    wait_until("it can be read again", SOON, || {
        fs::read(mount.path("file")).is_ok_and(|found| found == [7; 300_000])
    });

    // A program that waits for a server that hangs can be killed, long before the time is over.
    let patient = Mount::ours(&cluster, &["--timeout", "200"]);
    patient.path("file").metadata().unwrap();
    cluster.chunks.iter().for_each(|chunk| chunk.process.pause());
    let mut cat = Command::new("cat").arg(patient.path("file")).spawn().unwrap();
    wait_until("cat waits in the kernel", SOON, || {
        let stack = fs::read_to_string(format!("/proc/{}/wchan", cat.id()));
        stack.is_ok_and(|at| at.contains("fuse") || at.contains("folio") || at.contains("page"))
    });
    cat.kill().unwrap();
    wait_until("cat is gone", SOON, || cat.try_wait().unwrap().is_some());

    // And the client leaves at once, with all servers hanging and a program in its way.
    cluster.master.process.pause();
    let mut cat = Command::new("cat").arg(patient.path("file")).spawn().unwrap();
    patient.unmount_within(Duration::from_secs(2));
    cat.kill().unwrap();
    cat.wait().unwrap();
    cluster.chunks.iter().chain([&cluster.master]).for_each(|server| server.process.go_on());
}
