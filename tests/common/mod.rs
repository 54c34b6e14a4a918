//! What the tests of whole programs share: real processes with directories and ports of their own,
//! which end with the test, whatever becomes of it.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod classic;
pub(crate) mod cluster;
pub(crate) mod mount;
pub(crate) mod process;
pub(crate) mod python;
pub(crate) mod rpc;
pub(crate) mod tree;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for something that ought to happen soon, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Time between two looks at a condition.
const POLL_PERIOD: Duration = Duration::from_millis(10);

/// Waits until a condition holds; panics with `what` when it takes longer than `limit`.
pub(crate) fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        thread::park_timeout(POLL_PERIOD);
    }
}

/// The right to load the machine. The tests of one program run at once, but those with many
/// processes, or with times in them, would only starve each other.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says that a test could not run here, on a line that `tests/run.sh` counts.
pub(crate) fn skipped(why: &str) {
    say(&format!("SKIPPED: {why}"));
}

/// Says something past the test runner, which hides what passing tests print.
pub(crate) fn say(what: &str) {
    use std::io::Write as _;
    let line = format!("\n{what}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("standard error takes a line");
}

/// The repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The directory of build results.
pub(crate) fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent")
}

/// Runs a command to its end; panics with its output if it fails.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", Shown(&output));
    output
}

/// The output of a command, for messages.
pub(crate) struct Shown<'a>(pub(crate) &'a Output);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        write!(f, "{}\n{}{}", self.0.status, text(&self.0.stdout), text(&self.0.stderr))
    }
}

/// The key and certificate that all servers of the tests have.
pub(crate) struct Keys {
    /// The private key.
    pub(crate) key: PathBuf,
    /// The certificate, which clients trust.
    pub(crate) certificate: PathBuf,
}

/// Keys made by `openssl-gen.sh`, once for every test program.
pub(crate) fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let name = concat!("keys-of-", env!("CARGO_CRATE_NAME"));
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // Those of the last run, if there was one.
        drop(std::fs::remove_dir_all(&dir));
        run(Command::new("bash").arg(repository().join("openssl-gen.sh")).arg("--dir").arg(&dir));
        Keys { key: dir.join("privkey.pem"), certificate: dir.join("cacert.pem") }
    })
}
