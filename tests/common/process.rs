//! A program that a test started: its standard output by lines, its standard error in a file, and
//! a sure end.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::{SOON, wait_until};

/// Longest life of a process. When it is over the process is killed, so that a test that waits for
/// it, perhaps inside a file system, fails instead of hanging.
const LIFETIME: Duration = Duration::from_secs(600);

/// A running program. Dropping it kills it.
pub(crate) struct Process {
    name: String,
    child: Child,
    lines: Mutex<Receiver<String>>,
    errors: PathBuf,
    watch: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Process {
    /// Starts a program; its standard error goes to a file in `dir`.
    pub(crate) fn start(name: &str, mut command: Command, dir: &Path) -> Self {
        let errors = dir.join(format!("{name}.err"));
        let log = File::options().create(true).append(true).open(&errors);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.expect("the test's directory takes a file"))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // Nobody may be listening any more, but the program must not block on the pipe.
                drop(sender.send(line));
            }
        });
        let watch = Some(watch(pid_of(&child)));
        let lines = Mutex::new(lines);
        Self { name: name.to_owned(), child, lines, errors, watch }
    }

    fn next_line(&mut self, limit: Duration) -> Result<String, RecvTimeoutError> {
        self.lines.get_mut().unwrap_or_else(PoisonError::into_inner).recv_timeout(limit)
    }

    /// Waits for a line of standard output that begins with `prefix`, and gives the rest of it.
    pub(crate) fn wait_for_line(&mut self, prefix: &str) -> String {
        let deadline = Instant::now() + SOON;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next_line(left) {
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix(prefix) {
                        return rest.to_owned();
                    }
                }
                Err(end) => panic!("{}: no line \"{prefix}\": {end}\n{}", self.name, self.log()),
            }
        }
    }

    /// Takes lines of standard output up to one that contains `mark`, which is the last of them.
    pub(crate) fn lines_until(&mut self, mark: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let deadline = Instant::now() + SOON;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.next_line(left);
            lines.push(line.unwrap_or_else(|end| panic!("no \"{mark}\" in {lines:?}: {end}")));
            if lines.last().is_some_and(|line| line.contains(mark)) {
                return lines;
            }
        }
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// A line of `/proc/PID/status`, such as that of `VmHWM`: its first number.
    pub(crate) fn status_number(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.expect("the process is there");
        let line = status.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        number.unwrap_or_else(|| panic!("no {name} in {status}"))
    }

    /// What it wrote to standard error.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        signal(pid_of(&self.child), Signal::TERM);
        wait_until(&format!("{} stops", self.name), SOON, || !self.is_running());
        self.child.wait().expect("a child can be waited for")
    }

    /// Lets it hang: it keeps its connections, and answers nothing, until it goes on.
    pub(crate) fn pause(&self) {
        let pid = pid_of(&self.child);
        signal(pid, Signal::STOP);
        // Until the last of its threads stands, it may still answer.
        let stopped = waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED);
        stopped.expect("a child can be waited for");
    }

    /// Lets it go on after a pause.
    pub(crate) fn go_on(&self) {
        signal(pid_of(&self.child), Signal::CONT);
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        // The watch must not live to see another process with this number.
        if let Some((stop, watch)) = self.watch.take() {
            drop(stop);
            drop(watch.join());
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        self.kill();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(30)..].join("\n");
            eprintln!("--- {} (ended: {ended:?}):\n{tail}", self.name);
        }
    }
}

fn pid_of(child: &Child) -> Pid {
    let number = i32::try_from(child.id()).expect("process numbers are small");
    Pid::from_raw(number).expect("process numbers are not 0")
}

/// Sends a signal; a process that has ended takes none.
fn signal(pid: Pid, signal: Signal) {
    kill_process(pid, signal).ok();
}

/// Kills the process when its lifetime is over, unless the sender is dropped before.
fn watch(pid: Pid) -> (Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = mpsc::channel();
    let watch = thread::spawn(move || {
        if stopped.recv_timeout(LIFETIME) == Err(RecvTimeoutError::Timeout) {
            signal(pid, Signal::KILL);
        }
    });
    (stop, watch)
}
