//! A mounted file system: a client process and its mountpoint, which is free again afterwards.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::cluster::Cluster;
use super::process::Process;
use super::python::Python;
use super::{SOON, wait_until};

/// A mount. Dropping it unmounts.
pub(crate) struct Mount {
    process: Process,
    path: PathBuf,
    // The last field: it is removed when nothing is mounted in it any more.
    dir: TempDir,
}

impl Mount {
    /// Mounts with our client.
    pub(crate) fn ours(cluster: &Cluster, options: &[&str]) -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_client"));
        Self::start(command, &cluster.client_options(), options)
    }

    /// The client's process.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Mounts with the Python client, which needs fusepy.
    pub(crate) fn python(python: &Python, cluster: &Cluster, options: &[&str]) -> Self {
        Self::start(python.command("memory.py"), &cluster.client_options(), options)
    }

    /// Mounts one of the original programs, which needs fusepy.
    pub(crate) fn original(python: &Python, cluster: &Cluster, options: &[&str]) -> Self {
        Self::start(python.command("originals.py"), &cluster.client_options(), options)
    }

    fn start(mut command: Command, cluster: &[String], options: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("there is a place for temporary directories");
        let path = dir.path().join("mnt");
        std::fs::create_dir(&path).expect("a temporary directory takes a directory");
        command.arg(&path).args(cluster).args(options);
        let process = Process::start("client", command, dir.path());
        let mut mount = Self { process, path, dir };
        wait_until("the client mounts", SOON, || {
            assert!(mount.process.is_running(), "it ended: {}", mount.process.log());
            is_mounted(&mount.path)
        });
        mount
    }

    /// A path in the file system.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The root of the file system.
    pub(crate) fn root(&self) -> &Path {
        &self.path
    }

    /// Stops the client as `kill` does, although something is in its way: it must unmount and end
    /// within `limit`, well or not.
    pub(crate) fn unmount_within(mut self, limit: Duration) {
        let start = std::time::Instant::now();
        let status = self.process.terminate();
        let took = start.elapsed();
        assert!(!is_mounted(&self.path), "{status}: still mounted\n{}", self.process.log());
        assert!(took < limit, "it took {took:?}\n{}", self.process.log());
    }

    /// Kills the client as `kill -9` does; the mount is still there, and dead.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// What the client wrote to standard error.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Stops the client as `kill` does: it must unmount and end well.
    pub(crate) fn unmount(mut self) {
        let status = self.process.terminate();
        assert!(!is_mounted(&self.path), "{status}: still mounted\n{}", self.process.log());
        assert!(status.success(), "{status}\n{}", self.process.log());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if is_mounted(&self.path) {
            // Lazily, as somebody may still have a file open; the client ends when they are done.
            let unmount = |tool: &str| Command::new(tool).arg("-uz").arg(&self.path).status();
            drop(unmount("fusermount3").or_else(|_| unmount("fusermount")));
        }
        let brief = Duration::from_secs(5);
        let deadline = std::time::Instant::now() + brief;
        while self.process.is_running() && std::time::Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

/// Whether something is mounted exactly there, as the kernel says without asking the client.
fn is_mounted(path: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("Linux has a mount table");
    let wanted = path.to_str().expect("temporary paths are UTF-8");
    table.lines().any(|line| line.split(' ').nth(4) == Some(wanted))
}
