//! What programs say when something is wrong, and how they end then.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::common::cluster::{Cluster, Kind};
use crate::common::{Shown, keys, turn, wait_until};
use crate::program::{Program, chunk, client, master};

#[test]
fn wrong_command_lines_and_files_are_explained() {
    let cases = trycmd::TestCases::new();
    for (name, path) in [
        ("master", env!("CARGO_BIN_EXE_master")),
        ("chunk", env!("CARGO_BIN_EXE_chunk")),
        ("client", env!("CARGO_BIN_EXE_client")),
        ("htfs", env!("CARGO_BIN_EXE_htfs")),
    ] {
        cases.register_bin(name, Path::new(path));
    }
    cases.case("tests/manners/messages/*.trycmd");
}

/// What a program says that cannot start.
fn complaint(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", Shown(&output));
    let text = String::from_utf8(output.stderr).unwrap();
    let line = text.lines().find(|line| line.starts_with("error: "));
    line.unwrap_or_else(|| panic!("no error in {text}")).to_owned()
}

#[test]
fn a_file_in_place_of_a_data_directory_is_called_one() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["master", "chunk"] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    for mut command in [master(dir.path()), chunk(dir.path(), "localhost:1")] {
        let line = complaint(&mut command);
        assert!(line.ends_with(" is not a directory"), "{line}");
    }
}

#[test]
fn who_cannot_have_the_port_leaves_nothing_behind() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let dir = tempfile::tempdir().unwrap();
    let mut master = Command::new(env!("CARGO_BIN_EXE_master"));
    master.args(["--listen", &format!("127.0.0.1:{port}")]);
    let mut chunk = Command::new(env!("CARGO_BIN_EXE_chunk"));
    chunk.args([&port, "--listen-host", "127.0.0.1"]);
    for mut command in [master, chunk] {
        command.arg("--cert").arg(&keys().certificate).arg("--key").arg(&keys().key);
        command.args(["--data-dir", "data"]).current_dir(&dir);
        let line = complaint(&mut command);
        assert!(line.contains("in use"), "{line}");
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0, "{line}");
    }
}

#[test]
fn a_chunk_server_in_place_of_a_master_is_called_one() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let dir = tempfile::tempdir().unwrap();
    let url = &cluster.chunks[0].url;
    let expected = format!("{url} is a chunk server; give the address of its master");
    for options in [&[][..], &["--classic"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
        command.arg(dir.path()).args(["--master", url, "--ca"]).arg(&keys().certificate);
        let line = complaint(command.args(options));
        assert!(line.ends_with(&expected), "{line}");
    }
    let log = dir.path().join("log");
    let mut command = chunk(dir.path(), url);
    command.stderr(std::fs::File::create(&log).unwrap());
    let _server = Program::start(command, "listening on ");
    wait_until("it says so", crate::common::SOON, || {
        let log = std::fs::read_to_string(&log).unwrap();
        log.contains("it is a chunk server; give the address of its master")
    });
}

#[test]
fn a_mount_says_what_it_is() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("mnt");
    let _mount = Program::mount(client(&cluster), &at);
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.split(' ').nth(4) == at.to_str()).unwrap();
    let expected = format!(" - fuse.htfs {} ", cluster.master.url);
    assert!(line.contains(&expected), "{line}");
}

#[test]
fn everybody_may_read_the_certificate_and_nobody_the_key() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("keys");
    let mut script = Command::new("bash");
    script.arg(crate::common::repository().join("openssl-gen.sh")).arg("--dir").arg(&made);
    crate::common::run(&mut script);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&made), 0o755);
    assert_eq!(mode(&made.join("cacert.pem")), 0o644);
    assert_eq!(mode(&made.join("privkey.pem")), 0o600);
}
