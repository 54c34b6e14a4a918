//! What the three programs have in common: options, logging, signals, exit codes.

use std::future::Future;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::error::{FsError, Result};

/// Options about the log.
#[derive(Args, Clone, Debug)]
pub struct LogArgs {
    /// How much to log to standard error: error, warn, info, debug or trace, or filters such as
    /// `info,htfs::rpc=debug`
    #[arg(long = "log", value_name = "LEVEL", default_value = "info", env = "HTFS_LOG")]
    pub level: String,
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

/// Runs a program: `work` gets a token that SIGINT and SIGTERM cancel. An error ends in one line
/// on standard error and exit code 1; wrong options end in 2 before this.
pub fn run<F>(log: &LogArgs, work: impl FnOnce(CancellationToken) -> F) -> ExitCode
where
    F: Future<Output = Result<()>>,
{
    // Whatever a program of ours writes is for nobody else: fjall's files, too.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    crate::store::panic::end_on_panic_of_workers();
    let result = start_log(&log.level).and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let result = runtime.block_on(async {
            let shutdown = CancellationToken::new();
            cancel_on_signal(shutdown.clone())?;
            work(shutdown).await
        });
        // A thread that still waits for a name server, say, must not keep the program.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(level: &str) -> Result<()> {
    let filter = EnvFilter::try_new(level).map_err(|error| {
        let message = format!("--log {level}: {error}");
        FsError::new(crate::error::ErrorKind::InvalidArgument, message)
    })?;
    // What goes wrong in the store comes to us as results, too; the rest is of no interest.
    let quiet = crate::store::QUIET.iter().chain(crate::client::fuse::QUIET);
    let filter = quiet.fold(filter, |filter, quiet| match quiet.parse() {
        Ok(quiet) => filter.add_directive(quiet),
        Err(_) => filter,
    });
    // A second role in the same process finds the log in place.
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours);
    log.with_writer(std::io::stderr).try_init().ok();
    Ok(())
}

fn cancel_on_signal(shutdown: CancellationToken) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => tracing::info!("stopping on SIGINT"),
            _ = terminate.recv() => tracing::info!("stopping on SIGTERM"),
        }
        shutdown.cancel();
    });
    Ok(())
}

/// Tells the parent that the program serves: the one line on standard output that tests and
/// scripts wait for. Nobody may be listening there.
pub fn announce(url: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening on {url}").and_then(|()| out.flush()).ok();
}
