//! The client: mounts a file system whose contents and attributes are on servers.
//!
//! [`native`] is the file system of our own masters. [`classic`] is the homework's way to keep files,
//! for its masters and for those who ask for it: [`fuse`] converts the kernel's requests for a
//! [`vfs`], and [`mount`] has the mountpoint. Both go over [`calls`].

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
use crate::proto::Packed;
use crate::proto::classic::Dialect;
use crate::proto::fs::StatFileSystem;
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
    /// Mount as the homework's clients do, also where the master has a native file system.
    pub is_classic: bool,
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
            is_classic: false,
        }
    }
}

/// A client that has mounted.
#[derive(Debug)]
pub struct Running {
    mountpoint: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Classic { memory: Arc<Memory<RpcClient>>, mounted: Mounted },
    Native(native::start::Running),
}

impl Running {
    /// Where it has mounted.
    #[must_use]
    pub fn mountpoint(&self) -> &std::path::Path {
        &self.mountpoint
    }

    /// Returns when somebody else has unmounted it.
    ///
    /// # Errors
    /// What went wrong between the kernel and this process, if that is why.
    pub async fn ended(&mut self) -> Result<()> {
        match &mut self.kind {
            Kind::Classic { mounted, .. } => mounted.ended().await,
            Kind::Native(running) => {
                running.ended().await;
                Ok(())
            }
        }
    }

    /// Stores what is only here, as far as the servers are quick about it, and unmounts.
    ///
    /// # Errors
    /// `Io` if something could not be stored; the mount is gone all the same.
    pub async fn stop(self) -> Result<()> {
        let (memory, mounted) = match self.kind {
            Kind::Classic { memory, mounted } => (memory, mounted),
            Kind::Native(running) => return running.stop().await,
        };
        let limit = limits::STORE_ON_STOP_TIMEOUT;
        let stored = tokio::time::timeout(limit, memory.store_all()).await;
        mounted.unmount().await?;
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
    if !config.is_classic {
        if wait_for_master(&config, &client, master.as_str()).await? {
            return start_native(config, client, &master).await;
        }
        tracing::info!(%master, "it is one of the homework's: mounting as with --classic");
    }
    let memory = Arc::new(wait_for_servers(&config, &client, master.as_str()).await?);
    let mounted =
        Mounted::new(memory.clone(), &config.mountpoint, master.as_str(), config.allows_other)
            .await?;
    let mountpoint = mounted.mountpoint().to_path_buf();
    tracing::info!(%master, mountpoint = %mountpoint.display(), "mounted, classic");
    Ok(Running { mountpoint, kind: Kind::Classic { memory, mounted } })
}

async fn start_native(config: Config, client: RpcClient, master: &ServerUrl) -> Result<Running> {
    let mountpoint = config.mountpoint;
    let native = native::start::Config {
        mountpoint: mountpoint.clone(),
        master: master.as_str().to_owned(),
        timeout: config.timeout,
        allows_other: config.allows_other,
    };
    let running = native::start::start(client, native).await?;
    tracing::info!(%master, mountpoint = %mountpoint.display(), "mounted");
    Ok(Running { mountpoint, kind: Kind::Native(running) })
}

/// Waits for the master, and answers whether it has a native file system; if so, waits for a chunk
/// server as well.
async fn wait_for_master(config: &Config, client: &RpcClient, master: &str) -> Result<bool> {
    wait(config, async || {
        if !native::start::is_native(client, master).await? {
            return Ok(false);
        }
        let Packed(room) = client.call(master, StatFileSystem {}).await?;
        if room.total == 0 {
            let message = "the master knows no chunk server yet; start one";
            return Err(FsError::new(ErrorKind::NoSpace, message));
        }
        Ok(true)
    })
    .await
}

/// Opens the file system as soon as its servers are there.
async fn wait_for_servers(
    config: &Config,
    client: &RpcClient,
    master: &str,
) -> Result<Memory<RpcClient>> {
    wait(config, async || {
        let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let ttl_s = config.ttl_s.unwrap_or(limits::TTL_MAX_S);
        let dialect = config.dialect.unwrap_or_default();
        let proxy = HtProxy::new(client.clone(), master.to_owned(), dialect, ttl_s);
        Memory::open(proxy, config.dialect, config.layout, owner).await
    })
    .await
}

/// Tries until something succeeds, or it is certain or the patience at an end that it does not.
async fn wait<T>(config: &Config, attempt: impl AsyncFn() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + config.patience;
    let mut is_announced = false;
    loop {
        let error = match attempt().await {
            Ok(done) => return Ok(done),
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
