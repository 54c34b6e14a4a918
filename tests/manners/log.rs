//! What the log says, and in which form.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::common::cluster::{Cluster, Kind};
use crate::common::mount::Mount;
use crate::common::{SOON, turn, wait_until};
use crate::program::{Program, client, is_mounted, master};

#[test]
fn the_journal_gets_levels_and_no_times() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    for (is_journal, begins) in [(true, "<6>"), (false, "20")] {
        let file = File::create(&log).unwrap();
        let found = file.metadata().unwrap();
        let stream = format!("{}:{}", found.dev(), found.ino() + u64::from(!is_journal));
        let mut command = master(dir.path());
        command.env("JOURNAL_STREAM", stream).stderr(file);
        let mut server = Program::start(command, "listening on ");
        server.signal(Signal::TERM);
        assert!(server.end().success());
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.lines().count() > 1, "{text}");
        assert!(text.lines().all(|line| line.starts_with(begins)), "{text}");
    }
}

#[test]
fn a_terminal_whose_owner_wants_no_colours_gets_none() {
    for (no_color, has_colours) in [("", true), ("1", false)] {
        // One each: the first server may still be about to end.
        let dir = tempfile::tempdir().unwrap();
        let plain = master(dir.path());
        let quoted: Vec<String> = std::iter::once(plain.get_program())
            .chain(plain.get_args())
            .map(|word| format!("'{}'", word.to_str().unwrap()))
            .collect();
        // On a terminal of its own.
        let mut command = Command::new("script");
        command.args(["-qefc", &quoted.join(" "), "/dev/null"]).env("NO_COLOR", no_color);
        let mut terminal = Program::of(command.stdin(Stdio::null()).stdout(Stdio::piped()));
        let lines = BufReader::new(terminal.child.stdout.take().unwrap()).lines();
        let line = lines.map_while(Result::ok).find(|line| line.contains("serving")).unwrap();
        assert_eq!(line.contains('\u{1b}'), has_colours, "{line:?}");
    }
}

#[test]
fn a_mount_names_paths_and_says_it_once() {
    let _turn = turn();
    let mut cluster = Cluster::start(&Kind::Rust, 1);
    let writer = Mount::ours(&cluster, &[]);
    fs::create_dir(writer.path("directory")).unwrap();
    fs::write(writer.path("directory/file"), vec![7; 1 << 20]).unwrap();
    let mount = Mount::ours(&cluster, &["--timeout", "1"]);
    let path = mount.path("directory/file");
    cluster.chunks[0].process.kill();
    for _ in 0..5 {
        assert!(fs::read(&path).is_err());
    }
    let log = mount.log();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert!(warnings.len() <= 2, "{log}");
    assert!(warnings.iter().all(|line| line.contains(path.to_str().unwrap())), "{log}");
    assert!(!warnings.is_empty() && !log.contains("inode"), "{log}");
}

#[test]
fn a_mount_says_once_that_a_server_hangs() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let writer = Mount::ours(&cluster, &[]);
    fs::write(writer.path("file"), vec![7; 1 << 20]).unwrap();
    let mount = Mount::ours(&cluster, &["--timeout", "1"]);
    let path = mount.path("file");
    cluster.chunks[0].process.pause();
    for _ in 0..6 {
        assert!(fs::read(&path).is_err());
    }
    cluster.chunks[0].process.go_on();
    let log = mount.log();
    let warnings = log.lines().filter(|line| line.contains("WARN")).count();
    assert!((1..=2).contains(&warnings), "{log}");
    assert!(log.contains("did not answer within 0.9 s"), "{log}");
}

#[test]
fn a_mount_says_once_that_changes_are_in_doubt() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let mount = Mount::ours(&cluster, &["--timeout", "1"]);
    let file = File::create(mount.path("file")).unwrap();
    cluster.master.process.pause();
    for mode in 0..5 {
        file.set_permissions(fs::Permissions::from_mode(0o600 + mode)).unwrap_err();
    }
    cluster.master.process.go_on();
    let log = mount.log();
    let lines = log.lines().filter(|line| line.contains("whether a change was made")).count();
    assert!((1..=2).contains(&lines), "{log}");
}

#[test]
fn what_could_not_be_stored_is_named() {
    let _turn = turn();
    for options in [&[][..], &["--classic"]] {
        let cluster = Cluster::start(&Kind::Rust, 1);
        let dir = tempfile::tempdir().unwrap();
        let (at, log) = (dir.path().join("mnt"), dir.path().join("log"));
        let mut command = client(&cluster);
        command.args(options).stderr(File::create(&log).unwrap());
        let mut mount = Program::mount(command, &at);
        let path = at.join("unstored");
        let mut file = File::create(&path).unwrap();
        cluster.chunks[0].process.pause();
        file.write_all(b"0123456789").unwrap();
        mount.signal(Signal::TERM);
        assert_eq!(mount.end().code(), Some(1));
        assert!(!is_mounted(&at));
        let expected =
            format!("{}: 10 written bytes could not be stored, and are lost", path.display());
        let log = fs::read_to_string(&log).unwrap();
        assert!(log.contains(&expected), "{options:?}: {log}");
        wait_until("the descriptor can be closed", SOON, || file.flush().is_ok());
    }
}
