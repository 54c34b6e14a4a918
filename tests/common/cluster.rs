//! A master with chunk servers, ours or the original's, as processes of their own.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::keys;
use super::process::Process;
use super::python::Python;

/// Whose servers.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Ours.
    Rust,
    /// The original's, under this Python.
    Original(Python),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rust => write!(f, "our servers"),
            Self::Original(python) => write!(f, "servers under {python}"),
        }
    }
}

#[derive(Clone, Debug)]
enum Role {
    Master,
    Chunk { master: String },
}

/// A server: a process that can be killed and started again with the same name and data.
pub(crate) struct Server {
    /// Its URL.
    pub(crate) url: String,
    /// The running program.
    pub(crate) process: Process,
    /// Where it keeps everything.
    pub(crate) dir: PathBuf,
    kind: Kind,
    role: Role,
    options: Vec<String>,
}

impl Server {
    fn start(kind: &Kind, role: Role, options: &[String], dir: PathBuf) -> Self {
        std::fs::create_dir_all(&dir).expect("the test's directory takes a directory");
        let (url, process) = launch(kind, &role, options, &dir, 0);
        Self { url, process, dir, kind: kind.clone(), role, options: options.to_vec() }
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        let port = self.url.rsplit(':').next().and_then(|port| port.parse().ok());
        port.unwrap_or_else(|| panic!("{} has no port", self.url))
    }

    /// Starts it again, on the port it had, after it was killed or stopped.
    pub(crate) fn start_again(&mut self) {
        self.process.kill();
        let (url, process) = launch(&self.kind, &self.role, &self.options, &self.dir, self.port());
        assert_eq!(url, self.url);
        self.process = process;
    }
}

impl Server {
    /// Starts it again, with its data, on another port.
    pub(crate) fn start_elsewhere(&mut self) {
        self.process.kill();
        let (url, process) = launch(&self.kind, &self.role, &self.options, &self.dir, 0);
        (self.url, self.process) = (url, process);
    }

    /// Starts both again, after they were killed, each on the port of the other.
    pub(crate) fn swap_ports(&mut self, other: &mut Self) {
        std::mem::swap(&mut self.url, &mut other.url);
        self.start_again();
        other.start_again();
    }
}

/// Free memory, in bytes, from which on servers have their data there.
const MEMORY_MIN: u64 = 3 << 30;

/// Where servers keep their data: in memory if there is room. Most tests are about what is right, and
/// servers sync again and again.
fn place() -> TempDir {
    let memory = "/dev/shm";
    let free = rustix::fs::statvfs(memory).map_or(0, |found| found.f_bavail * found.f_frsize);
    let dir = if free >= MEMORY_MIN { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    dir.expect("there is a place for temporary directories")
}

fn launch(
    kind: &Kind,
    role: &Role,
    options: &[String],
    dir: &PathBuf,
    port: u16,
) -> (String, Process) {
    let mut command = match kind {
        Kind::Rust => rust_command(role, port),
        Kind::Original(python) => original_command(python, role, port),
    };
    command.arg("--cert").arg(&keys().certificate).arg("--key").arg(&keys().key);
    command.args(options).current_dir(dir);
    let name = match role {
        Role::Master => "master",
        Role::Chunk { .. } => "chunk",
    };
    let mut process = Process::start(name, command, dir);
    let url = process.wait_for_line("listening on ");
    (url, process)
}

fn rust_command(role: &Role, port: u16) -> Command {
    match role {
        Role::Master => {
            let mut command = Command::new(env!("CARGO_BIN_EXE_master"));
            command.arg("--listen").arg(format!("localhost:{port}")).args(["--data-dir", "data"]);
            command
        }
        Role::Chunk { master } => {
            let mut command = Command::new(env!("CARGO_BIN_EXE_chunk"));
            command.arg(port.to_string()).args(["--master", master, "--data-dir", "data"]);
            command.arg("--ca").arg(&keys().certificate);
            command
        }
    }
}

fn original_command(python: &Python, role: &Role, port: u16) -> Command {
    let mut command = python.command("simpleht_server.py");
    match role {
        Role::Master => command.args(["master", &port.to_string()]),
        Role::Chunk { master } => command.args(["chunk", &port.to_string(), "--master", master]),
    };
    command
}

/// A master and its chunk servers, in a temporary directory.
pub(crate) struct Cluster {
    /// The master.
    pub(crate) master: Server,
    /// The chunk servers, in the order of their start.
    pub(crate) chunks: Vec<Server>,
    kind: Kind,
    options: Vec<String>,
    // The last field: it is removed when the processes have ended.
    dir: TempDir,
}

impl Cluster {
    /// Starts servers and waits until all of them serve.
    pub(crate) fn start(kind: &Kind, chunks: usize) -> Self {
        Self::with_options(kind, chunks, &[])
    }

    /// The same, with these options for every server.
    pub(crate) fn with_options(kind: &Kind, chunks: usize, options: &[&str]) -> Self {
        Self::in_dir(place(), kind, chunks, options)
    }

    /// Our servers with their data on a real disk, for what is about disks.
    pub(crate) fn on_disk(chunks: usize) -> Self {
        let dir = tempfile::tempdir().expect("there is a place for temporary directories");
        Self::in_dir(dir, &Kind::Rust, chunks, &[])
    }

    fn in_dir(dir: TempDir, kind: &Kind, chunks: usize, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let master = Server::start(kind, Role::Master, &options, dir.path().join("master"));
        let mut cluster = Self { master, chunks: Vec::new(), kind: kind.clone(), options, dir };
        for _ in 0..chunks {
            cluster.add_chunk();
        }
        cluster
    }

    /// A cluster around a master that was started before, without chunk servers yet.
    pub(crate) fn around(master: Server) -> Self {
        Self { master, chunks: Vec::new(), kind: Kind::Rust, options: Vec::new(), dir: place() }
    }

    /// A master alone, with its data in a directory of the caller's.
    pub(crate) fn master_in(dir: &Path) -> Server {
        Server::start(&Kind::Rust, Role::Master, &[], dir.to_owned())
    }

    /// Starts a chunk server with its data in a directory of the caller's, who also keeps it.
    pub(crate) fn chunk_in(&self, dir: &Path) -> Server {
        let role = Role::Chunk { master: self.master.url.clone() };
        Server::start(&self.kind, role, &self.options, dir.to_owned())
    }

    /// Starts one more chunk server.
    pub(crate) fn add_chunk(&mut self) -> &mut Server {
        let dir = self.dir.path().join(format!("chunk-{}", self.chunks.len()));
        let role = Role::Chunk { master: self.master.url.clone() };
        self.chunks.push(Server::start(&self.kind, role, &self.options, dir));
        self.chunks.last_mut().expect("one was just pushed")
    }

    /// The options with which any client, ours or a Python one, finds and trusts this cluster.
    pub(crate) fn client_options(&self) -> [String; 4] {
        let certificate = keys().certificate.display().to_string();
        ["--master".to_owned(), self.master.url.clone(), "--ca".to_owned(), certificate]
    }
}
