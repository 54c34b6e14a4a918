//! How long a system call waits for a server that is away or hangs.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::cluster::{Cluster, Kind};
use crate::common::mount::Mount;
use crate::common::{SOON, turn, wait_until};

/// The timeout of mounts in these tests.
const TIMEOUT: Duration = Duration::from_secs(4);

/// What a busy machine may add to it. Before there was one deadline for each system call, the calls
/// below took twice the timeout and more.
const SLACK: Duration = Duration::from_secs(2);

/// A shell that runs one line.
fn shell(line: &str) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {line}")]).stdin(Stdio::null());
    command.spawn().unwrap()
}

/// Waits until a program waits for the file system, or has ended.
fn wait_until_it_waits(child: &mut Child) {
    wait_until("it waits in the kernel", SOON, || {
        let at = fs::read_to_string(format!("/proc/{}/wchan", child.id())).unwrap_or_default();
        let is_waiting = ["fuse", "request_wait", "folio", "page"].iter().any(|w| at.contains(w));
        is_waiting || child.try_wait().unwrap().is_some()
    });
}

fn end(mut child: Child) -> bool {
    wait_until("the program ends", SOON, || child.try_wait().unwrap().is_some());
    child.wait().unwrap().success()
}

fn at(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_server_that_is_started_again_is_waited_for() {
    let _turn = turn();
    for options in [&["--timeout", "60"][..], &["--timeout", "60", "--classic"]] {
        let mut cluster = Cluster::start(&Kind::Rust, 1);
        let mount = Mount::ours(&cluster, options);
        let path = |name: &str| at(&mount.path(name));
        fs::write(mount.path("file"), "contents").unwrap();

        cluster.master.process.kill();
        let mut child = shell(&format!("mkdir {}", path("directory")));
        wait_until_it_waits(&mut child);
        cluster.master.start_again();
        assert!(end(child), "{options:?}: mkdir while the master is away\n{}", mount.log());

        // Without a thing in memory here.
        let reader = Mount::ours(&cluster, options);
        reader.path("file").metadata().unwrap();
        let lines = [
            format!("cat {}", at(&reader.path("file"))),
            format!("dd if=/dev/zero of={} bs=4k count=5 conv=fsync status=none", path("new")),
        ];
        for line in lines {
            cluster.chunks[0].process.kill();
            let mut child = shell(&line);
            wait_until_it_waits(&mut child);
            cluster.chunks[0].start_again();
            assert!(end(child), "{options:?}: {line}\n{}\n{}", mount.log(), reader.log());
        }
    }
}

#[test]
fn a_flush_behind_a_programs_back_waits_as_well() {
    let _turn = turn();
    let mut cluster = Cluster::start(&Kind::Rust, 1);
    let mount = Mount::ours(&cluster, &["--timeout", "60", "--log", "info,htfs::rpc=debug"]);
    // Not this process: whatever it starts has its files as well for a moment, and closes them.
    let write = "import os, sys; f = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY); \
        os.write(f, b'text'); sys.stdin.readline(); os.fsync(f)";
    cluster.chunks[0].process.kill();
    let mut python = Command::new("python3");
    python.args(["-c", write]).arg(mount.path("file")).stdin(Stdio::piped());
    let mut writer = python.spawn().unwrap();
    wait_until("the mount tries to send it", SOON, || {
        mount.log().matches("trying again").count() > 5
    });
    cluster.chunks[0].start_again();
    drop(writer.stdin.take());
    assert!(end(writer), "{}", mount.log());
    assert_eq!(fs::read(mount.path("file")).unwrap(), b"text");
}

#[test]
fn a_hard_mount_waits_longer_and_its_programs_can_be_killed() {
    let _turn = turn();
    let mut cluster = Cluster::start(&Kind::Rust, 1);
    let options = ["--hard", "--timeout", "1", "--log", "info,htfs::rpc=debug"];
    let mount = Mount::ours(&cluster, &options);
    let start = Instant::now();
    cluster.master.process.kill();
    let mut child = shell(&format!("mkdir {}", at(&mount.path("directory"))));
    let mut killed = shell(&format!("mkdir {}", at(&mount.path("other"))));
    wait_until_it_waits(&mut child);
    wait_until_it_waits(&mut killed);
    killed.kill().unwrap();
    assert!(!end(killed));
    wait_until("several timeouts are over", SOON, || start.elapsed() > Duration::from_secs(4));
    assert!(child.try_wait().unwrap().is_none(), "it waits\n{}", mount.log());
    cluster.master.start_again();
    assert!(end(child), "{}", mount.log());
    // A server that hangs is waited for as well.
    fs::write(mount.path("file"), "contents").unwrap();
    let reader = Mount::ours(&cluster, &options);
    reader.path("file").metadata().unwrap();
    cluster.chunks[0].process.pause();
    let start = Instant::now();
    let mut child = shell(&format!("cat {}", at(&reader.path("file"))));
    wait_until("several timeouts are over", SOON, || start.elapsed() > Duration::from_secs(4));
    assert!(child.try_wait().unwrap().is_none(), "it waits\n{}", reader.log());
    cluster.chunks[0].process.go_on();
    assert!(end(child), "{}", reader.log());
    // And the client itself can leave, whoever waits for whatever.
    cluster.master.process.kill();
    let mut child = shell(&format!("ls {}", at(&mount.path("directory"))));
    wait_until_it_waits(&mut child);
    mount.unmount_within(Duration::from_secs(2));
    child.kill().unwrap();
    end(child);
}

#[test]
fn a_file_whose_opener_was_killed_meanwhile_is_not_kept_open() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let mount = Mount::ours(&cluster, &[]);
    let file = mount.path("file");
    let used = || {
        let room = rustix::fs::statvfs(mount.root()).unwrap();
        (room.f_blocks - room.f_bfree) * room.f_frsize
    };
    let before = used();
    fs::write(&file, vec![7; 3 << 20]).unwrap();
    wait_until("it shows", SOON, || used() >= before + (3 << 20));
    // The name is known, so it is the open that waits.
    file.metadata().unwrap();
    cluster.master.process.pause();
    let mut opener = shell(&format!("cat < {}", at(&file)));
    wait_until_it_waits(&mut opener);
    opener.kill().unwrap();
    assert!(!end(opener));
    cluster.master.process.go_on();
    wait_until("all is well again", SOON, || fs::remove_file(&file).is_ok());
    wait_until("nobody has it open", SOON, || used() < before + (1 << 20));
}

#[test]
fn no_system_call_takes_longer_than_the_timeout() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let timeout = TIMEOUT.as_secs().to_string();
    let mount = Mount::ours(&cluster, &["--timeout", &timeout]);
    fs::write(mount.path("file"), vec![7; 3 << 20]).unwrap();
    fs::create_dir(mount.path("directory")).unwrap();
    let reader = Mount::ours(&cluster, &["--timeout", &timeout]);
    let file = File::open(reader.path("file")).unwrap();

    // The kernel reads ahead, and asks once more for what did not come.
    cluster.chunks[0].process.pause();
    let start = Instant::now();
    std::io::Read::read(&mut &file, &mut [0; 4096]).unwrap_err();
    let took = start.elapsed();
    cluster.chunks[0].process.go_on();
    assert!(took < TIMEOUT + SLACK, "reading took {took:?}");

    // Whoever changes a directory waits in the kernel for the one before.
    cluster.master.process.pause();
    let make = |number: i32| {
        let path = mount.path(&format!("directory/{number}"));
        let start = Instant::now();
        fs::create_dir(path).unwrap_err();
        start.elapsed()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|number| scope.spawn(move || make(number))).collect();
        for thread in threads {
            let took = thread.join().unwrap();
            assert!(took < TIMEOUT + SLACK, "in one directory it took {took:?}");
        }
    });
    cluster.master.process.go_on();
    wait_until("all is well again", SOON, || fs::create_dir(mount.path("directory/last")).is_ok());
}

/// How long each call took, made by a thread of its own, some a moment later than the others.
fn times(calls: Vec<(Duration, Box<dyn FnOnce() + Send>)>) -> Vec<Duration> {
    let run = |(later, call): (Duration, Box<dyn FnOnce() + Send>)| {
        thread::spawn(move || {
            let begin = Instant::now();
            wait_until("its turn has come", SOON, || begin.elapsed() >= later);
            let start = Instant::now();
            call();
            start.elapsed()
        })
    };
    let threads: Vec<_> = calls.into_iter().map(run).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

#[test]
fn who_waits_behind_a_rename_waits_no_longer_than_the_timeout() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let mount = Mount::ours(&cluster, &["--timeout", &TIMEOUT.as_secs().to_string()]);
    let path = |number: i32, name: &str| mount.path(&format!("{name}{number}"));
    for number in 0..6 {
        fs::create_dir(path(number, "from")).unwrap();
        fs::create_dir(path(number, "to")).unwrap();
        fs::write(path(number, "from").join("a"), "").unwrap();
    }
    // The kernel knows all names that are there, and which are not.
    for number in 0..6 {
        path(number, "from").join("a").metadata().unwrap();
        path(number, "to").join("a").metadata().unwrap_err();
    }
    cluster.master.process.pause();
    let later = Duration::from_millis;
    let mut calls: Vec<(Duration, Box<dyn FnOnce() + Send>)> = Vec::new();
    for number in 0..6 {
        let (from, to) = (path(number, "from").join("a"), path(number, "to").join("a"));
        let begin = later(if number == 0 { 0 } else { 100 });
        calls.push((begin, Box::new(move || drop(fs::rename(from, to).unwrap_err()))));
    }
    let new = path(0, "to").join("x");
    calls.push((later(200), Box::new(move || drop(fs::create_dir(new).unwrap_err()))));
    let times = times(calls);
    cluster.master.process.go_on();
    assert!(times.iter().all(|took| *took < TIMEOUT + SLACK), "{times:?}");
}
