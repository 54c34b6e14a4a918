//! The client: mounts a file system whose contents and attributes are on servers.
//!
//! [`fuse`] converts the kernel's requests for a [`vfs`]; [`mount`] has the mountpoint. Below them
//! is [`classic`], the homework's way to keep files, over [`calls`].

pub mod calls;
pub mod classic;
pub mod fuse;
pub mod mount;
pub mod native;
pub mod vfs;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::classic::Dialect;
use crate::rpc::RpcClient;
use crate::rpc::tls::Trust;
use crate::types::ServerUrl;

use classic::{HtProxy, Layout, Memory};
use mount::Mounted;
use vfs::Vfs as _;

/// Time between two attempts to find the master.
const ATTEMPT_PERIOD: Duration = Duration::from_millis(200);

/// What a client needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// An empty directory.
    pub mountpoint: PathBuf,
    /// The master's URL.
    pub master: String,
    /// The certificates to trust, in PEM form.
    pub ca: PathBuf,
    /// Seconds that files live; for ever if `None`.
    pub ttl_s: Option<u64>,
    /// Deadline of one call.
    pub timeout: Duration,
    /// How long to wait for a master and a chunk server.
    pub patience: Duration,
    /// The type in which new files are stored; as others do if `None`.
    pub dialect: Option<Dialect>,
    /// The form in which new files are stored; as others do if `None`.
    pub layout: Option<Layout>,
    /// Whether users other than the one who mounts may use the mount.
    pub allows_other: bool,
}

impl Config {
    /// A client of this master, with what is usual for the rest.
    #[must_use]
    pub fn new(mountpoint: PathBuf, master: String, ca: PathBuf) -> Self {
        Self {
            mountpoint,
            master,
            ca,
            ttl_s: None,
            timeout: limits::CALL_TIMEOUT,
            patience: limits::CALL_TIMEOUT,
            dialect: None,
            layout: None,
            allows_other: rustix::process::geteuid().is_root(),
        }
    }
}

/// A client that has mounted.
#[derive(Debug)]
pub struct Running {
    memory: Arc<Memory<RpcClient>>,
    mounted: Mounted,
}

impl Running {
    /// Where it has mounted.
    #[must_use]
    pub fn mountpoint(&self) -> &std::path::Path {
        self.mounted.mountpoint()
    }

    /// Returns when somebody else has unmounted it.
    ///
    /// # Errors
    /// What went wrong between the kernel and this process, if that is why.
    pub async fn ended(&mut self) -> Result<()> {
        self.mounted.ended().await
    }

    /// Stores what is only here, as far as the servers are quick about it, and unmounts.
    ///
    /// # Errors
    /// `Io` if something could not be stored; the mount is gone all the same.
    pub async fn stop(self) -> Result<()> {
        let limit = limits::STORE_ON_STOP_TIMEOUT;
        let stored = tokio::time::timeout(limit, self.memory.store_all()).await;
        self.mounted.unmount().await?;
        stored.unwrap_or_else(|_| {
            let message = format!("open files could not be stored within {limit:?}");
            Err(FsError::new(ErrorKind::Io, message))
        })
    }
}

/// Starts a client: waits for its servers, and mounts.
///
/// # Errors
/// Says in one line what is wrong with the certificates, the servers or the mountpoint.
pub async fn start(config: Config) -> Result<Running> {
    let trust = Trust::load(&config.ca)
        .map_err(|error| FsError::new(ErrorKind::InvalidArgument, error.to_string()))?;
    let master =
        ServerUrl::new(config.master.clone()).map_err(|error| error.context("the master's URL"))?;
    // What is wrong here is better known before minutes are spent on waiting.
    mount::check(&config.mountpoint)?;
    let client = RpcClient::new(trust, config.timeout);
    let memory = Arc::new(wait_for_servers(&config, &client, master.as_str()).await?);
    let mounted =
        Mounted::new(memory.clone(), &config.mountpoint, master.as_str(), config.allows_other)
            .await?;
    tracing::info!(%master, mountpoint = %mounted.mountpoint().display(), "mounted");
    Ok(Running { memory, mounted })
}

/// Opens the file system as soon as its servers are there.
async fn wait_for_servers(
    config: &Config,
    client: &RpcClient,
    master: &str,
) -> Result<Memory<RpcClient>> {
    let deadline = Instant::now() + config.patience;
    let mut is_announced = false;
    loop {
        let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let ttl_s = config.ttl_s.unwrap_or(limits::TTL_MAX_S);
        let dialect = config.dialect.unwrap_or_default();
        let proxy = HtProxy::new(client.clone(), master.to_owned(), dialect, ttl_s);
        let error = match Memory::open(proxy, config.dialect, config.layout, owner).await {
            Ok(memory) => return Ok(memory),
            Err(error) => error,
        };
        if !may_get_better(&error) || Instant::now() >= deadline {
            return Err(error);
        }
        if !is_announced {
            let patience_s = config.patience.as_secs();
            tracing::warn!("waiting up to {patience_s} s for the servers: {error}");
            is_announced = true;
        }
        tokio::time::sleep(ATTEMPT_PERIOD).await;
    }
}

/// Whether waiting helps: for servers that are on their way, not for wrong certificates.
fn may_get_better(error: &FsError) -> bool {
    match error.kind() {
        ErrorKind::Unreachable => !error.message().contains("certificate"),
        ErrorKind::TimedOut | ErrorKind::NoSpace | ErrorKind::Io => true,
        _ => false,
    }
}
