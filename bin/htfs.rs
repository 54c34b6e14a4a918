//! The `htfs` program: arguments in, [`htfs::admin`] out.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use htfs::admin::{self, log::Log, status::Status, strays::Garbage};
use htfs::cli::{self, LogArgs};
use htfs::error::{self, FsError, Result};
use htfs::limits;
use htfs::types::ServerUrl;
use serde::Serialize;

/// Looks at the servers of an htfs
///
/// Exit code 0 means that all servers have answered, 1 that one has not, 2 that the command line was
/// wrong.
#[derive(Parser)]
#[command(version, name = "htfs")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows log and backup of every server
    ///
    /// For each: its role, the operations in its log and at how many the backup is renewed, the entries
    /// in the backup, and when it was renewed.
    #[command(after_help = "Example: the master and the chunk servers that it knows\n  \
        htfs status --master https://localhost:8443 --ca keys/cacert.pem")]
    Status {
        /// The master to ask, and the chunk servers that it knows
        #[arg(
            long,
            value_name = "HOST[:PORT]",
            default_value = "localhost:8443",
            value_parser = cli::values::master_url,
            conflicts_with = "server"
        )]
        master: ServerUrl,

        /// Ask this server instead; can be given several times
        #[arg(long, value_name = "HOST:PORT", value_parser = cli::values::server_url)]
        server: Vec<ServerUrl>,

        #[command(flatten)]
        common: Common,
    },
    /// Shows the last operations in the log of a server
    ///
    /// Each with its number, what it does, the key, and the size. Operations that are in the backup
    /// already are not in the log any more.
    #[command(after_help = "Example: the last five operations of a chunk server\n  \
        htfs log --server https://localhost:9001 --limit 5 --ca keys/cacert.pem")]
    Log {
        /// The server to ask
        #[arg(
            long,
            value_name = "HOST:PORT",
            default_value = "localhost:8443",
            value_parser = cli::values::server_url
        )]
        server: ServerUrl,

        /// How many operations to show at most
        #[arg(long, value_name = "N", default_value_t = limits::LOG_SHOWN_DEFAULT,
              value_parser = clap::value_parser!(u64).range(1..=limits::LOG_SHOWN_MAX))]
        limit: u64,

        #[command(flatten)]
        common: Common,
    },
    /// Shows the chunks that no file refers to, and removes them
    ///
    /// Nobody has deleted these: a crash left them, or the master has forgotten their files. Each server
    /// keeps them for a week, the second hour on in its folder lost+found, and removes them then. If
    /// they are more than a hundred and more than one in a hundred of its chunks, it keeps all of them
    /// until somebody has looked why and confirms that they may go.
    #[command(after_help = "Example: look at them\n  \
        htfs gc --master https://localhost:8443 --ca keys/cacert.pem")]
    Gc {
        /// The master to ask
        #[arg(
            long,
            value_name = "HOST[:PORT]",
            default_value = "localhost:8443",
            value_parser = cli::values::master_url
        )]
        master: ServerUrl,

        /// Let the servers remove them now, for good
        #[arg(long)]
        confirm: bool,

        /// Do not ask whether that is meant
        #[arg(long, requires = "confirm")]
        yes: bool,

        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args)]
struct Common {
    /// The certificates to trust, in PEM form: the cacert.pem of the servers
    #[arg(long, value_name = "FILE", default_value = "keys/cacert.pem")]
    ca: PathBuf,

    /// Print JSON, for programs
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogArgs,
}

impl Command {
    fn common(&self) -> &Common {
        match self {
            Self::Status { common, .. } | Self::Log { common, .. } | Self::Gc { common, .. } => {
                common
            }
        }
    }

    async fn run(&self) -> Result<()> {
        let common = self.common();
        let client = admin::client(&common.ca)?;
        match self {
            Self::Status { master, server, .. } => {
                let status = match server.as_slice() {
                    [] => Status::of_cluster(&client, master.clone()).await,
                    servers => Status::of(&client, servers.to_vec()).await,
                };
                common.print(&status).await?;
                status.check()
            }
            Self::Log { server, limit, .. } => {
                common.print(&Log::of(&client, server.clone(), *limit).await?).await
            }
            Self::Gc { master, confirm, yes, .. } => {
                let garbage = Garbage::of(&client, master).await?;
                common.print(&garbage).await?;
                if *confirm && garbage.strays() > 0 && (*yes || ask(garbage.strays()).await?) {
                    garbage.remove(&client, master).await?;
                }
                Ok(())
            }
        }
    }
}

impl Common {
    /// Whoever reads may take his time; a signal ends the program all the same.
    async fn print(&self, answer: &(impl Serialize + Display)) -> Result<()> {
        let text = if self.json { admin::json(answer)? + "\n" } else { answer.to_string() };
        tokio::task::spawn_blocking(move || print(&text)).await.map_err(std::io::Error::from)?
    }
}

/// [`is_meant`]; a signal ends the program meanwhile.
async fn ask(strays: u64) -> Result<bool> {
    tokio::task::spawn_blocking(move || is_meant(strays)).await.map_err(std::io::Error::from)?
}

/// Asks on a terminal whether chunks are to be removed; elsewhere nobody can be asked.
fn is_meant(strays: u64) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        let message = "nobody can be asked here whether that is meant: give --yes";
        return Err(FsError::new(error::ErrorKind::InvalidArgument, message));
    }
    write!(std::io::stderr(), "Remove {strays} chunks for good? [y/N] ")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(FsError::from),
    }
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let log = command.common().log.clone();
    cli::run(&log, |shutdown| async move {
        let interrupted = FsError::new(error::ErrorKind::Interrupted, "interrupted");
        shutdown.run_until_cancelled(command.run()).await.unwrap_or(Err(interrupted))
    })
}
