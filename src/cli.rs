//! What the programs have in common: options, logging, signals, exit codes.

pub mod log;
pub mod outlet;
pub mod values;

use std::future::Future;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::limits;

use log::LogFilter;
use outlet::{Outlet, Unlocked};

/// Standard error, and standard output for announcements. `None` if the system gives no thread.
static ERRORS: LazyLock<Option<Outlet>> =
    LazyLock::new(|| Outlet::start("log", Unlocked(std::io::stderr())).ok());
static ANNOUNCEMENTS: LazyLock<Option<Outlet>> =
    LazyLock::new(|| Outlet::start("announce", Unlocked(std::io::stdout())).ok());

/// Options about the log.
#[derive(Args, Clone, Debug)]
pub struct LogArgs {
    /// How much to log to standard error: off, error, warn, info, debug or trace, or filters such as
    /// `info,htfs::rpc=debug`
    #[arg(long = "log", value_name = "LEVEL", default_value = "info", env = "HTFS_LOG")]
    pub level: LogFilter,
}

/// Options about a server's identity.
#[derive(Args, Clone, Debug)]
pub struct IdentityArgs {
    /// The server's certificate, in PEM form
    #[arg(long, value_name = "FILE", default_value = "keys/cacert.pem")]
    pub cert: PathBuf,

    /// The private key of the certificate, in PEM form
    #[arg(long, value_name = "FILE", default_value = "keys/privkey.pem")]
    pub key: PathBuf,
}

/// Runs a program: `work` gets a token that SIGINT, SIGTERM and SIGHUP cancel. An error ends in one
/// line on standard error and exit code 1; wrong options end in 2 before this.
pub fn run<F>(log: &LogArgs, work: impl FnOnce(CancellationToken) -> F) -> ExitCode
where
    F: Future<Output = Result<()>>,
{
    // Whatever a program of ours writes is for nobody else: fjall's files, too.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    if let Some(errors) = &*ERRORS {
        log::start(&log.level, errors.clone());
    }
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        complain(&format!("{panic}\n{backtrace}"));
        // The process may be about to end.
        flush();
    }));
    crate::store::panic::end_on_panic_of_workers(flush);
    let result = run_to_end(work);
    if let Err(error) = &result {
        complain(&format!("error: {error}"));
    }
    flush();
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_to_end<F>(work: impl FnOnce(CancellationToken) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        cancel_on_signal(shutdown.clone())?;
        work(shutdown).await
    });
    // A thread that still waits for a name server, say, must not keep the program.
    runtime.shutdown_background();
    result
}

fn cancel_on_signal(shutdown: CancellationToken) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Who started it with `nohup` wants it to live on.
    let mut hang_up = match is_ignored(SignalKind::hangup()) {
        true => None,
        false => Some(signal(SignalKind::hangup())?),
    };
    tokio::spawn(async move {
        let hung_up = async {
            match &mut hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => tracing::info!("stopping on SIGINT"),
            _ = terminate.recv() => tracing::info!("stopping on SIGTERM"),
            _ = hung_up => tracing::info!("stopping on SIGHUP"),
        }
        shutdown.cancel();
    });
    Ok(())
}

/// Whether the process was started with a signal that it is not to hear of (proc_pid_status(5)).
fn is_ignored(kind: SignalKind) -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}

/// Tells the parent that the program serves: the one line on standard output that tests and
/// scripts wait for. Nobody may be listening there.
pub fn announce(url: &str) {
    say(&format!("listening on {url}"));
}

/// Writes lines to standard output, as soon as somebody takes them.
pub fn say(text: &str) {
    send(ANNOUNCEMENTS.as_ref(), text);
}

/// Writes lines to standard error, as soon as somebody takes them.
fn complain(text: &str) {
    send(ERRORS.as_ref(), text);
}

fn send(outlet: Option<&Outlet>, text: &str) {
    let line = format!("{text}\n");
    match outlet {
        Some(outlet) => outlet.send(line.into_bytes()),
        // The last resort, at a start that is about to fail.
        None => std::io::stderr().write_all(line.as_bytes()).unwrap_or_default(),
    }
}

/// Gives what was said last a moment to be written.
fn flush() {
    for outlet in [ERRORS.as_ref(), ANNOUNCEMENTS.as_ref()].into_iter().flatten() {
        outlet.flush(limits::OUTPUT_FLUSH_TIMEOUT);
    }
}
