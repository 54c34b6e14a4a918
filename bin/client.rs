//! The `client` program: arguments in, [`htfs::client`] out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use htfs::cli::{self, LogArgs};
use htfs::client::classic::Layout;
use htfs::client::{self, Config, Running};
use htfs::embedded::Embedded;
use htfs::error::Result;
use htfs::proto::classic::Dialect;
use htfs::types::ServerUrl;
use tokio_util::sync::CancellationToken;

/// A small call allocates dozens of times.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Mounts an htfs as an ordinary directory
///
/// It runs until SIGINT, SIGTERM or SIGHUP, or until the directory is unmounted with `umount` or
/// `fusermount3 -u`; it prints `mounted on <DIR>` when programs can use it.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Where to mount: an empty directory
    mountpoint: PathBuf,

    /// The master: its host, perhaps with a port, or its URL
    #[arg(
        long,
        value_name = "HOST[:PORT]",
        default_value = "localhost:8443",
        value_parser = cli::values::master_url,
        conflicts_with = "embedded"
    )]
    master: ServerUrl,

    /// The certificates to trust, in PEM form: the cacert.pem of the servers
    #[arg(
        long,
        value_name = "FILE",
        default_value = "keys/cacert.pem",
        conflicts_with = "embedded"
    )]
    ca: PathBuf,

    /// Run a master and three chunk servers inside this process, with keys and data in DIR (made if
    /// it does not exist)
    #[arg(long, value_name = "DIR")]
    embedded: Option<PathBuf>,

    /// Mount as the homework's clients do, file by file as one value each; without it only where
    /// the master is one of the homework's
    #[arg(long)]
    classic: bool,

    /// Let files expire after this many seconds [default: never]; implies --classic
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    ttl: Option<u64>,

    /// How long a system call waits for servers that are away or slow, in seconds: the program gets an
    /// error then
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,

    /// Wait for servers for ever, as with NFS: programs can be killed meanwhile
    #[arg(long, conflicts_with = "soft")]
    hard: bool,

    /// Give up after --timeout; this is the default
    #[arg(long)]
    soft: bool,

    /// Wait at the start up to this many seconds for a master and a chunk server
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,

    /// How keys and values of new files go to the servers, for Python clients that expect one or
    /// the other; anything but auto implies --classic
    #[arg(long, value_enum, default_value_t = DialectArg::Auto)]
    dialect: DialectArg,

    /// How the contents of new files are stored, for Python clients that expect one or the other;
    /// anything but auto implies --classic
    #[arg(long, value_enum, default_value_t = ContentsArg::Auto)]
    contents: ContentsArg,

    /// Let other users use the mount, too [default: only if root mounts]
    #[arg(long)]
    allow_other: bool,

    /// Let programs run with the rights that set-id bits and capabilities in the file system give
    /// them: whoever can write to the cluster can become root here then. Only root can ask for it
    #[arg(long)]
    suid: bool,

    /// Let device files in the file system be opened; with the same danger
    #[arg(long)]
    dev: bool,

    #[command(flatten)]
    log: LogArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum DialectArg {
    /// As the root directory has it; if there is none yet, as the master takes keys, binary if it
    /// takes both
    Auto,
    /// As <string> where the bytes are text
    String,
    /// As <base64>
    Binary,
}

#[derive(Clone, Copy, ValueEnum)]
enum ContentsArg {
    /// As the files in the root directory have it; if there are none yet, raw with keys that are
    /// strings, pickled with others
    Auto,
    /// The bytes of the file
    Raw,
    /// A pickle of the bytes
    Pickled,
}

impl Args {
    /// Whether to mount the classic way: asked for, or by an option that only means something so.
    fn is_classic(&self) -> bool {
        let has_form =
            !matches!((self.dialect, self.contents), (DialectArg::Auto, ContentsArg::Auto));
        self.classic || self.ttl.is_some() || has_form
    }

    fn apply_to(&self, config: Config) -> Config {
        Config {
            ttl_s: self.ttl,
            timeout: Duration::from_secs(self.timeout),
            is_hard: self.hard,
            patience: Duration::from_secs(self.wait),
            dialect: match self.dialect {
                DialectArg::Auto => None,
                DialectArg::String => Some(Dialect::String),
                DialectArg::Binary => Some(Dialect::Binary),
            },
            layout: match self.contents {
                ContentsArg::Auto => None,
                ContentsArg::Raw => Some(Layout::Raw),
                ContentsArg::Pickled => Some(Layout::Pickled),
            },
            allows_other: self.allow_other || config.allows_other,
            trusts_set_id: self.suid,
            trusts_devices: self.dev,
            is_classic: self.is_classic(),
            ..config
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::run(&args.log, |shutdown| run(&args, shutdown))
}

async fn run(args: &Args, shutdown: CancellationToken) -> Result<()> {
    let Some(dir) = &args.embedded else {
        let (mountpoint, master, ca) = (&args.mountpoint, &args.master, &args.ca);
        let config = Config::new(mountpoint.clone(), master.as_str().to_owned(), ca.clone());
        let config = args.apply_to(config);
        return mount(config, shutdown).await;
    };
    // What cannot be mounted needs no servers.
    client::mount::check(&args.mountpoint)?;
    let Some(servers) = Embedded::start(dir, &shutdown).await? else { return Ok(()) };
    let (master, ca) = (servers.master_url().to_owned(), servers.certificate().to_owned());
    tell(dir, &master, &ca);
    let config = Config::new(args.mountpoint.clone(), master, ca);
    let result = mount(args.apply_to(config), shutdown).await;
    result.and(servers.stop().await)
}

/// Mounts, until a signal or somebody else ends it. A signal ends the wait for servers as well.
async fn mount(config: Config, shutdown: CancellationToken) -> Result<()> {
    let Some(started) = shutdown.run_until_cancelled(client::start(config)).await else {
        return Ok(());
    };
    let mut running: Running = started?;
    htfs::output::say(&format!("mounted on {}", running.mountpoint().display()));
    let ended = shutdown.run_until_cancelled(running.ended()).await.unwrap_or(Ok(()));
    // Whoever has unmounted it: the master is told, so that nobody waits for this session.
    let stopped = running.stop().await;
    ended.and(stopped)
}

fn tell(dir: &Path, master: &str, ca: &Path) {
    htfs::output::say(&format!(
        "keys and data are in {}\nthe master is {master}; other clients on this machine find it \
         with --master {master} --ca {}\nCtrl-C stops it; the same command starts it again, with \
         the same files",
        dir.display(),
        ca.display()
    ));
}
