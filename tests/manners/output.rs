//! A standard error or standard output that takes nothing stops no program.

use std::fs::File;
use std::io::{BufRead as _, BufReader, PipeReader, Write as _, pipe};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::common::cluster::{Cluster, Kind};
use crate::common::turn;
use crate::program::{Program, chunk, client, is_mounted, master};

/// What a pipe takes before who writes has to wait, in bytes (pipe(7)).
const PIPE_SIZE: usize = 65_536;

/// Somewhere to write to, and what has to live as long.
type Sink = (Stdio, Option<PipeReader>);

fn full_device() -> Sink {
    (File::options().write(true).open("/dev/full").unwrap().into(), None)
}

fn dead_pipe() -> Sink {
    let (_, writer) = pipe().unwrap();
    (writer.into(), None)
}

fn full_pipe() -> Sink {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(&[b'x'; PIPE_SIZE]).unwrap();
    (writer.into(), Some(reader))
}

type MakeSink = fn() -> Sink;

const SINKS: [(&str, MakeSink); 3] = [
    ("a full device", full_device),
    ("a pipe without a reader", dead_pipe),
    ("a full pipe", full_pipe),
];

#[test]
fn servers_whose_log_goes_nowhere_serve_and_end_on_sigterm() {
    for (what, sink) in SINKS {
        let dir = tempfile::tempdir().unwrap();
        for mut command in [master(dir.path()), chunk(dir.path(), "https://localhost:1")] {
            let (errors, _kept) = sink();
            command.args(["--log", "trace"]).stderr(errors);
            let mut server = Program::start(command, "listening on ");
            server.signal(Signal::TERM);
            assert!(server.end().success(), "{what}");
        }
    }
}

#[test]
fn a_mount_whose_log_goes_nowhere_works_and_ends_on_sigterm() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    for (what, sink) in SINKS {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("mnt");
        let (errors, _kept) = sink();
        let mut command = client(&cluster);
        command.args(["--log", "trace"]).stderr(errors);
        let mut mount = Program::mount(command, &at);
        for number in 0..20 {
            std::fs::write(at.join(format!("file-{number}")), [7; 10_000]).unwrap();
        }
        mount.signal(Signal::TERM);
        assert!(mount.end().success(), "{what}");
        assert!(!is_mounted(&at), "{what}");
    }
}

#[test]
fn an_error_at_the_start_is_no_reason_to_hang() {
    for (what, sink) in SINKS {
        let (errors, _kept) = sink();
        let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
        command.args(["/nowhere", "--ca", "/nowhere/ca"]).stderr(errors);
        assert_eq!(Program::of(&mut command).end().code(), Some(1), "{what}");
    }
}

#[test]
fn an_output_that_nobody_reads_keeps_no_server() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = master(dir.path());
    let (output, _kept) = full_pipe();
    let (log, errors) = pipe().unwrap();
    let mut server = Program::of(command.stdout(output).stderr(errors));
    drop(command);
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("serving")));
    server.signal(Signal::TERM);
    assert!(server.end().success());
}
