//! What ends a program, and what it does before.

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::common::cluster::{Cluster, Kind};
use crate::common::mount::Mount;
use crate::common::{SOON, turn, wait_until};
use crate::program::{Program, chunk, client, is_mounted, master};

#[test]
fn servers_end_well_on_sighup() {
    let dir = tempfile::tempdir().unwrap();
    for mut command in [master(dir.path()), chunk(dir.path(), "https://localhost:1")] {
        command.stderr(Stdio::null());
        let mut server = Program::start(command, "listening on ");
        server.signal(Signal::HUP);
        assert!(server.end().success());
    }
}

#[test]
fn a_mount_unmounts_and_stores_what_was_written_on_sighup() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("mnt");
    let mut mount = Program::mount(client(&cluster), &at);
    // Open until the end: nothing but the signal makes the client store it.
    let mut file = File::create(at.join("file")).unwrap();
    file.write_all(b"written").unwrap();
    mount.signal(Signal::HUP);
    assert!(mount.end().success());
    assert!(!is_mounted(&at));
    let other = Mount::ours(&cluster, &[]);
    assert_eq!(std::fs::read(other.path("file")).unwrap(), b"written");
}

#[test]
fn what_is_written_while_a_mount_ends_is_stored_or_refused() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("mnt");
    let mut mount = Program::mount(client(&cluster), &at);
    // It writes until it must not any more, and says how much that was.
    let script = "import os, sys\n\
        f = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)\n\
        n = 0\n\
        try:\n    while True: n += os.write(f, b'x' * 10)\n\
        except OSError: print(n)";
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(at.join("file")).stdout(Stdio::piped());
    let writer = python.spawn().unwrap();
    let other = Mount::ours(&cluster, &[]);
    let size = || std::fs::metadata(other.path("file")).map_or(0, |found| found.len());
    wait_until("it writes", SOON, || size() > 0);
    mount.signal(Signal::TERM);
    assert!(mount.end().success());
    let output = writer.wait_with_output().unwrap();
    let written: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert_eq!(size(), written);
}

#[test]
fn who_was_started_with_nohup_lives_on() {
    let dir = tempfile::tempdir().unwrap();
    let plain = master(dir.path());
    let mut command = Command::new("nohup");
    let log = dir.path().join("log");
    command.arg(plain.get_program()).args(plain.get_args()).stderr(File::create(&log).unwrap());
    let mut server = Program::start(command, "listening on ");
    server.signal(Signal::HUP);
    server.signal(Signal::TERM);
    assert!(server.end().success());
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("SIGTERM") && !log.contains("SIGHUP"), "{log}");
}
