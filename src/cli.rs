//! What the programs have in common: options, logging, signals, exit codes.

pub mod log;
pub mod values;

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::output::{self, complain};

use log::LogFilter;

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
    if let Some(errors) = output::errors() {
        log::start(&log.level, errors.clone());
    }
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        complain(&format!("{panic}\n{backtrace}"));
        // The process may be about to end.
        output::flush();
    }));
    crate::store::panic::end_on_panic_of_workers();
    let result = run_to_end(work);
    if let Err(error) = &result {
        complain(&format!("error: {error}"));
    }
    output::flush();
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
    output::say(&format!("listening on {url}"));
}
