//! The client as a program: what it says when something is wrong, and the mode with all servers in
//! one process.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::cluster::{Cluster, Kind};
use common::mount::Mount;
use common::process::Process;
use common::python::Python;
use common::{keys, turn};

fn client(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(arguments).arg("--ca").arg(&keys().certificate);
    command
}

/// What a client that cannot start says; its status must be 1.
fn complaint(command: &mut Command) -> String {
    let output = command.output().expect("the client can be started");
    let text = String::from_utf8(output.stderr).expect("it speaks UTF-8");
    assert_eq!(output.status.code(), Some(1), "{text}");
    let line = text.lines().find(|line| line.starts_with("error: "));
    line.unwrap_or_else(|| panic!("no error in {text}")).to_owned()
}

#[test]
fn wrong_mountpoints_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    assert!(complaint(&mut client(&[&path("none")])).contains("mkdir -p"));
    fs::write(path("file"), "").unwrap();
    assert!(complaint(&mut client(&[&path("file")])).contains("not a directory"));
    fs::create_dir_all(path("full/x")).unwrap();
    assert!(complaint(&mut client(&[&path("full")])).contains("not empty"));
}

#[test]
fn only_root_can_ask_for_set_id_bits_and_devices_and_not_on_a_classic_mount() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(path("mnt")).unwrap();
    // Where somebody else finds them.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_client"), path("client")).unwrap();
    fs::copy(&keys().certificate, path("ca")).unwrap();
    fs::set_permissions(path("ca"), fs::Permissions::from_mode(0o644)).unwrap();
    let cluster = Cluster::start(&Kind::Rust, 1);
    for option in ["--suid", "--dev"] {
        let mut nobody = Command::new("setpriv");
        nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        nobody.args([
            path("client"),
            path("mnt"),
            option.to_owned(),
            "--ca".to_owned(),
            path("ca"),
        ]);
        let line = complaint(&mut nobody);
        assert!(line.contains("only root"), "{line}");
        let at = path("mnt");
        let classic = [&at, "--classic", option, "--master", &cluster.master.url];
        let line = complaint(&mut client(&classic));
        assert!(line.contains("classic"), "{line}");
    }
}

#[test]
fn a_mount_whose_client_died_is_recognised() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let mut mount = Mount::ours(&cluster, &[]);
    let at = mount.root().to_str().unwrap().to_owned();
    assert!(complaint(&mut client(&[&at])).contains("mounted on"), "a mount that lives");
    mount.kill();
    let complaint = complaint(&mut client(&[&at]));
    assert!(complaint.contains(&format!("fusermount3 -uz {at}")), "{complaint}");
}

#[test]
fn servers_that_are_missing_or_not_to_be_trusted_are_named() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap();
    // Port 1 of the loopback address has no listener anywhere.
    let nobody = ["--master", "https://localhost:1", "--wait", "1"];
    let start = Instant::now();
    let line = complaint(&mut client(&[&[at], &nobody[..]].concat()));
    assert!(line.contains("https://localhost:1"), "{line}");
    assert!(start.elapsed() >= Duration::from_secs(1));

    let cluster = Cluster::start(&Kind::Rust, 0);
    let line = complaint(&mut client(&[at, "--master", &cluster.master.url, "--wait", "1"]));
    assert!(line.contains("chunk server"), "{line}");
    let other = tempfile::tempdir().unwrap();
    make_keys(other.path());
    let mut wrong = Command::new(env!("CARGO_BIN_EXE_client"));
    let start = Instant::now();
    wrong
        .args([at, "--master", &cluster.master.url])
        .arg("--ca")
        .arg(other.path().join("cacert.pem"));
    let line = complaint(&mut wrong);
    assert!(line.contains("certificate"), "{line}");
    assert!(start.elapsed() < Duration::from_secs(10), "waiting does not make it better");
}

#[test]
fn a_dialect_that_the_servers_do_not_speak_is_an_error_at_once() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap();
    for python in Python::all() {
        for (keys, asked) in [("string", "binary"), ("binary", "string")] {
            let kind = Kind::Original(python.clone());
            let cluster = Cluster::with_options(&kind, 1, &["--keys", keys]);
            let start = Instant::now();
            let master = ["--master", &cluster.master.url];
            let line = complaint(&mut client(&[&[at, "--dialect", asked], &master[..]].concat()));
            assert!(line.contains(&format!("use --dialect {keys}")), "{kind}: {line}");
            assert!(line.contains(&cluster.master.url), "{kind}: {line}");
            assert!(start.elapsed() < Duration::from_secs(10), "waiting does not make it better");
        }
    }
}

#[test]
fn an_embedded_system_is_nobody_elses() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let (data, at) = (dir.path().join("data"), dir.path().join("mnt"));
    fs::create_dir(&at).unwrap();
    fs::create_dir_all(data.join("keys")).unwrap();
    let refused = |words: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
        let line = complaint(command.arg(&at).arg("--embedded").arg(&data));
        assert!(line.contains(words), "{line}");
    };
    let give = |path: &Path, to: u32| std::os::unix::fs::chown(path, Some(to), None).unwrap();
    let own = fs::metadata(&data).unwrap().uid();
    for path in [data.clone(), data.join("keys")] {
        give(&path, 4711);
        refused("belongs to user 4711");
        give(&path, own);
    }
    fs::write(data.join("keys/privkey.pem"), "mine").unwrap();
    give(&data.join("keys/privkey.pem"), 4711);
    refused("belongs to user 4711");
    fs::remove_dir_all(data.join("keys")).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
    refused("written by everybody");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0, "nothing was made");
}

fn make_keys(dir: &Path) {
    let mut script = Command::new("bash");
    script.arg(common::repository().join("openssl-gen.sh")).arg("--dir").arg(dir);
    common::run(&mut script);
}

/// A client with all servers inside, and a guard for its mount.
struct Embedded {
    process: Process,
    mountpoint: std::path::PathBuf,
}

impl Embedded {
    fn start(dir: &Path) -> Self {
        let mountpoint = dir.join("mnt");
        fs::create_dir_all(&mountpoint).expect("a temporary directory takes a directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
        command.arg("--embedded").arg(dir.join("data")).arg(&mountpoint);
        let mut process = Process::start("embedded", command, dir);
        process.wait_for_line("mounted on ");
        Self { process, mountpoint }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let mut unmount = Command::new("fusermount3");
        drop(unmount.args(["-uzq"]).arg(&self.mountpoint).output());
    }
}

#[test]
fn one_process_keeps_files_over_restarts() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let mut embedded = Embedded::start(dir.path());
        let file = |n: i32| embedded.mountpoint.join(format!("file-{n}"));
        for n in 0..round {
            assert_eq!(fs::read_to_string(file(n)).unwrap(), format!("round {n}"));
        }
        fs::write(file(round), format!("round {round}")).unwrap();
        if round == 1 {
            // What close has acknowledged survives this as well.
            embedded.process.kill();
            continue;
        }
        assert!(embedded.process.terminate().success(), "{}", embedded.process.log());
        assert_eq!(fs::read_dir(&embedded.mountpoint).unwrap().count(), 0, "it is unmounted");
    }
    let readable =
        Command::new("find").arg(dir.path().join("data")).args(["-perm", "/077"]).output();
    let readable = String::from_utf8(readable.unwrap().stdout).unwrap();
    let keys = dir.path().join("data/keys");
    let public = [keys.clone(), keys.join("cacert.pem")].map(|path| path.display().to_string());
    let others: Vec<&str> =
        readable.lines().filter(|path| !public.iter().any(|p| p == path)).collect();
    assert_eq!(others, [""; 0], "nothing but the certificate is for others");
}

#[test]
fn a_mount_that_somebody_else_unmounts_ends_the_client() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let mut embedded = Embedded::start(dir.path());
    fs::write(embedded.mountpoint.join("f"), "x").unwrap();
    common::run(Command::new("fusermount3").arg("-u").arg(&embedded.mountpoint));
    common::wait_until("the client ends", common::SOON, || !embedded.process.is_running());
}

#[test]
fn an_embedded_system_without_its_master_says_what_to_do() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let mut embedded = Embedded::start(dir.path());
    fs::write(embedded.mountpoint.join("f"), "x").unwrap();
    assert!(embedded.process.terminate().success(), "{}", embedded.process.log());
    let data = dir.path().join("data");
    fs::remove_dir_all(data.join("master")).unwrap();
    let mut command = Command::new("timeout");
    command.args(["60", env!("CARGO_BIN_EXE_client")]).arg(&embedded.mountpoint);
    let line = complaint(command.arg("--embedded").arg(&data));
    let words = format!("files that {}/master does not know: put", data.display());
    assert!(line.contains(&words), "{line}");
}
