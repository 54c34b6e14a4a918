//! Names, and what others see of files and when.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::common::mount::Mount;
use crate::common::{SOON, turn, wait_until};
use crate::{cluster, mounts};

const NAMES: usize = 60;

/// Who won how many of the names that all tried to make, or to move, at once.
fn compete(mounts: &[Mount], attempt: impl Fn(&Mount, usize) -> bool + Sync) -> usize {
    let start = Barrier::new(mounts.len());
    thread::scope(|scope| {
        let work = |mount| {
            let (start, attempt) = (&start, &attempt);
            scope.spawn(move || {
                start.wait();
                (0..NAMES).filter(|number| attempt(mount, *number)).count()
            })
        };
        let workers: Vec<_> = mounts.iter().map(work).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    })
}

#[test]
fn promise_1_namespace() {
    let _turn = turn();
    let cluster = cluster();
    let mounts: [Mount; 3] = mounts(&cluster);
    let [first, second, third] = &mounts;
    fs::create_dir(first.path("from")).unwrap();
    fs::create_dir(first.path("to")).unwrap();

    // Of all who make the same name, one does; of all who move it, one does.
    let made = compete(&mounts, |mount, number| {
        match File::create_new(mount.path(&format!("from/{number}"))) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::AlreadyExists);
                false
            }
        }
    });
    assert_eq!(made, NAMES);
    let moved = compete(&mounts, |mount, number| {
        let (from, to) = (format!("from/{number}"), format!("to/{number}"));
        // Without the flag the kernel itself may say that all is well, and do nothing: where it has
        // the old name in its cache, both are names of one file.
        let flags = RenameFlags::NOREPLACE;
        match renameat_with(CWD, mount.path(&from), CWD, mount.path(&to), flags) {
            Ok(()) => true,
            Err(error) => {
                assert!([Errno::NOENT, Errno::EXIST].contains(&error), "{error}");
                false
            }
        }
    });
    assert_eq!(moved, NAMES);
    for mount in &mounts {
        assert_eq!(fs::read_dir(mount.path("from")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(mount.path("to")).unwrap().count(), NAMES);
    }

    // While a name is replaced again and again, it is never absent, and never half of something.
    let is_over = AtomicBool::new(false);
    fs::write(first.path("name"), "0".repeat(1000)).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=50_u32 {
                let digit = (round % 10).to_string();
                fs::write(second.path("new"), digit.repeat(1000)).unwrap();
                fs::rename(second.path("new"), second.path("name")).unwrap();
            }
            is_over.store(true, Ordering::Release);
        });
        while !is_over.load(Ordering::Acquire) {
            let found = fs::read(third.path("name")).unwrap();
            assert!(found.len() == 1000 && found.iter().all(|byte| *byte == found[0]));
        }
    });
}

#[test]
fn promise_2_close_to_open() {
    let _turn = turn();
    let mut cluster = cluster();
    let [writer, reader] = mounts(&cluster);
    let (written, seen) = (writer.path("file"), reader.path("file"));
    for round in 0..200_usize {
        let text = format!("{round} ").repeat(1 + round * 37 % 4000);
        let mut file = File::create(&written).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        // Both ends of a write are promised: closing, and fsync with the file still open.
        let kept_open = (round % 2 == 0).then(|| {
            file.sync_data().unwrap();
            file
        });
        let opened = File::open(&seen).unwrap();
        assert_eq!(opened.metadata().unwrap().size(), text.len() as u64, "round {round}");
        let mut found = vec![0; text.len()];
        opened.read_exact_at(&mut found, 0).unwrap();
        assert!(found == text.as_bytes(), "round {round}: old contents");
        drop(kept_open);
    }

    // Without opening anything: the event stream tells.
    fs::remove_file(&written).unwrap();
    wait_until("the name is gone elsewhere", SOON, || !seen.exists());
    fs::write(&written, "12345").unwrap();
    wait_until("it is there again", SOON, || seen.metadata().is_ok_and(|found| found.len() == 5));

    // Without the stream, what is cached is not used for long: the master hangs, and whoever looks
    // has to wait for it instead of being shown what was.
    let [hurried] = [Mount::ours(&cluster, &["--timeout", "1"])];
    let looked_at = hurried.path("file");
    assert_eq!(looked_at.metadata().unwrap().len(), 5);
    cluster.master.process.pause();
    wait_until("what is cached has expired", SOON, || looked_at.metadata().is_err());
    cluster.master.process.go_on();
    wait_until("the master is asked again", SOON, || looked_at.metadata().is_ok());
    cluster.master.process.kill();
}

#[test]
fn a_plain_rename_that_another_mount_was_faster_with_fails() {
    let _turn = turn();
    let cluster = cluster();
    let [first, second]: [Mount; 2] = mounts(&cluster);
    let mut done_twice = Vec::new();
    for number in 0..NAMES {
        let (from, to) = (format!("from {number}"), format!("to {number}"));
        fs::write(first.path(&from), "moved").unwrap();
        // Every other time there is something to be replaced, which the late mount knows, too.
        if number % 2 == 0 {
            fs::write(first.path(&to), "replaced").unwrap();
            wait_until("the news arrive", SOON, || fs::metadata(second.path(&to)).is_ok());
        }
        // The kernel of the late mount has the old name in its cache.
        wait_until("the news arrive", SOON, || fs::metadata(second.path(&from)).is_ok());
        fs::rename(first.path(&from), first.path(&to)).unwrap();
        match fs::rename(second.path(&from), second.path(&to)) {
            Ok(()) => done_twice.push(number),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
        }
        wait_until("the news arrive", SOON, || {
            fs::read(second.path(&to)).is_ok_and(|found| found == b"moved")
        });
    }
    assert_eq!(done_twice, [0; 0], "two mounts have moved one name");
}
