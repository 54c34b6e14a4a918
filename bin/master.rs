//! The `master` program: arguments in, [`htfs::master`] out.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use htfs::cli::{self, IdentityArgs, LogArgs};
use htfs::listen::Listen;
use htfs::{limits, master};

/// A small call allocates dozens of times.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The master of an htfs: keeps names and attributes, and says which chunk server holds what
///
/// It serves XML-RPC over HTTPS, prints `listening on <URL>` when it does, and stops on SIGINT, SIGTERM
/// and SIGHUP. All it has acknowledged survives `kill -9`.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Where to listen; port 0 takes any free port
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8443")]
    listen: Listen,

    /// Where to keep the data; made if it does not exist, readable by its owner only
    #[arg(long, value_name = "DIR", default_value = "data/master")]
    data_dir: PathBuf,

    #[command(flatten)]
    identity: IdentityArgs,

    /// The certificates to trust for the chunk servers, in PEM form [default: the one of --cert]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Updates in the log before the backup is renewed and the log emptied
    #[arg(long, value_name = "K", default_value_t = limits::BACKUP_EVERY_DEFAULT,
          value_parser = clap::value_parser!(u64).range(1..))]
    backup_every: u64,

    #[command(flatten)]
    log: LogArgs,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::run(&args.log, |shutdown| async move {
        let running = master::start(master::Config {
            listen: args.listen,
            ca: args.ca,
            backup_every: args.backup_every,
            ..master::Config::new(args.data_dir, args.identity.cert, args.identity.key)
        })
        .await?;
        cli::announce(running.url());
        shutdown.cancelled().await;
        running.stop().await
    })
}
