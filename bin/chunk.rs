//! The `chunk` program: arguments in, [`htfs::chunk`] out.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use htfs::cli::{self, IdentityArgs, LogArgs};
use htfs::listen::Listen;
use htfs::types::ServerUrl;
use htfs::{chunk, limits};

/// A small call allocates dozens of times.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A chunk server of an htfs: keeps the contents of files
///
/// It serves XML-RPC over HTTPS, prints `listening on <URL>` when it does, makes itself known to
/// the master as soon as that answers, and stops on SIGINT, SIGTERM and SIGHUP. All it has
/// acknowledged survives `kill -9`.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The port to listen on; 0 takes any free one
    #[arg(value_parser = cli::values::port)]
    port: u16,

    /// The master: its host, perhaps with a port, or its URL
    #[arg(long, value_name = "HOST[:PORT]", default_value = "localhost:8443",
          value_parser = cli::values::master_url)]
    master: ServerUrl,

    /// The host name or address to listen on
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    listen_host: String,

    /// The URL under which clients reach this server, if it is not https://HOST:PORT
    #[arg(long, value_name = "URL")]
    advertise: Option<String>,

    /// Where to keep the contents; made if it does not exist, readable by its owner only [default:
    /// data/chunk-PORT]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    #[command(flatten)]
    identity: IdentityArgs,

    /// The certificates to trust for the master, in PEM form [default: the one of --cert]
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
        let data_dir =
            args.data_dir.unwrap_or_else(|| PathBuf::from(format!("data/chunk-{}", args.port)));
        let running = chunk::start(chunk::Config {
            listen: Listen { host: args.listen_host, port: args.port },
            advertise: args.advertise,
            ca: args.ca,
            backup_every: args.backup_every,
            ..chunk::Config::new(
                args.master.as_str().to_owned(),
                data_dir,
                args.identity.cert,
                args.identity.key,
            )
        })
        .await?;
        cli::announce(running.url().as_str());
        shutdown.cancelled().await;
        running.stop().await
    })
}
