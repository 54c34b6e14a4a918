//! A program of ours with streams and signals of the test's choice.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::cluster::Cluster;
use crate::common::{SOON, keys, wait_until};

/// A running program. Dropping it kills it, and unmounts what it has mounted.
pub(crate) struct Program {
    pub(crate) child: Child,
    mountpoint: Option<std::path::PathBuf>,
}

impl Program {
    /// Starts it as it is.
    pub(crate) fn of(command: &mut Command) -> Self {
        Self { child: command.spawn().unwrap(), mountpoint: None }
    }

    /// Starts it and waits for a line of its output that begins with `ready`.
    pub(crate) fn start(mut command: Command, ready: &str) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut program = Self::of(&mut command);
        let stdout = BufReader::new(program.child.stdout.take().unwrap());
        let mut lines = stdout.lines().map_while(Result::ok);
        assert!(lines.any(|line| line.starts_with(ready)), "{command:?} never said \"{ready}\"");
        program
    }

    /// A mount of a cluster.
    pub(crate) fn mount(mut command: Command, at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        command.arg(at);
        let mut mount = Self::start(command, "mounted on ");
        mount.mountpoint = Some(at.to_owned());
        mount
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) fn end(&mut self) -> ExitStatus {
        wait_until("the program ends", SOON, || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(at) = self.mountpoint.as_ref().filter(|at| is_mounted(at)) {
            drop(Command::new("fusermount3").arg("-uz").arg(at).status());
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whether something is mounted there, as the kernel says without asking anybody.
pub(crate) fn is_mounted(at: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().any(|line| line.split(' ').nth(4) == at.to_str())
}

/// A master with its data in a directory.
pub(crate) fn master(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_master"));
    command.args(["--listen", "localhost:0", "--data-dir"]).arg(dir.join("master"));
    with_keys(command)
}

/// A chunk server of a master with its data in a directory.
pub(crate) fn chunk(dir: &Path, master: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chunk"));
    command.args(["0", "--master", master, "--data-dir"]).arg(dir.join("chunk"));
    with_keys(command)
}

fn with_keys(mut command: Command) -> Command {
    command.arg("--cert").arg(&keys().certificate).arg("--key").arg(&keys().key);
    command
}

/// A client of a cluster, but for its mountpoint.
pub(crate) fn client(cluster: &Cluster) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(cluster.client_options());
    command
}
