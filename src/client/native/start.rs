//! A native mount from its beginning to its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle as Runtime;
use tokio::task::{JoinHandle, block_in_place};
use tokio_util::sync::CancellationToken;

use super::fs::NativeFs;
use super::fuse::{self, Mounted};
use super::remote::Remote;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::rpc::{CallError, RpcClient};

/// Time between two looks whether the mount is still there.
const ENDED_PERIOD: Duration = Duration::from_millis(100);

/// What a native mount needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// An empty directory.
    pub mountpoint: PathBuf,
    /// The master's URL.
    pub master: String,
    /// Each request of the kernel ends within this time.
    pub timeout: Duration,
    /// Whether users other than the one who mounts may use the mount.
    pub allows_other: bool,
}

/// A native mount.
pub struct Running {
    fs: Arc<NativeFs<Remote<RpcClient>>>,
    mounted: Mounted,
    shutdown: CancellationToken,
    follower: JoinHandle<()>,
}

/// Whether the server at this URL is a master with a native file system. One of the homework's is
/// not, and has no methods to ask for their names.
///
/// # Errors
/// Those of the call, faults aside.
pub async fn is_native(client: &RpcClient, master: &str) -> std::result::Result<bool, CallError> {
    match client.methods(master).await {
        Ok(methods) => Ok(methods.contains("fs.attach")),
        Err(CallError::Fault(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Attaches to the master and mounts.
///
/// # Errors
/// Says in one line what is wrong with the master or the mountpoint.
pub async fn start(client: RpcClient, config: Config) -> Result<Running> {
    let remote = Remote::new(client, &config.master);
    let name = format!("{} (process {})", config.mountpoint.display(), std::process::id());
    let fs = NativeFs::attach(remote, &name).await?;
    let shutdown = CancellationToken::new();
    let follower = tokio::spawn(Arc::clone(&fs).run(shutdown.clone()));
    let Config { mountpoint, master, timeout, allows_other } = config;
    let (mounting, runtime) = (Arc::clone(&fs), Runtime::current());
    let mounted = tokio::task::spawn_blocking(move || {
        let options = fuse::Options { source: master, timeout, allows_other };
        fuse::mount(&mounting, &mountpoint, options, runtime)
            .map_err(|error| error.context(format!("cannot mount {}", mountpoint.display())))
    })
    .await
    .unwrap_or_else(|error| Err(super::given_up(&error)));
    match mounted {
        Ok(mounted) => Ok(Running { fs, mounted, shutdown, follower }),
        Err(error) => {
            shutdown.cancel();
            fs.detach().await;
            Err(error)
        }
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

impl Running {
    /// Returns when somebody else has unmounted it.
    pub async fn ended(&self) {
        // The thread that serves the kernel can only be asked.
        while !self.is_over() {
            tokio::time::sleep(ENDED_PERIOD).await;
        }
    }

    /// Whether somebody else has unmounted it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.mounted.is_over()
    }

    /// Sends what is only here, as far as the servers are quick about it, and unmounts.
    ///
    /// # Errors
    /// `Io` if something could not be sent; the mount is gone all the same.
    pub async fn stop(self) -> Result<()> {
        let limit = limits::STORE_ON_STOP_TIMEOUT;
        let stored = tokio::time::timeout(limit, self.fs.store_all()).await;
        // Whatever the servers do, the mount is gone before they are told.
        if let Err(error) = block_in_place(|| self.mounted.unmount()) {
            tracing::error!("it stays mounted: {error}");
        }
        self.shutdown.cancel();
        let parting = async {
            self.fs.detach().await;
            while !self.mounted.is_over() {
                tokio::time::sleep(ENDED_PERIOD).await;
            }
        };
        if tokio::time::timeout(limit / 2, parting).await.is_err() {
            tracing::warn!("programs still have files open, or the master does not answer");
        }
        self.mounted.leave();
        self.follower.await.ok();
        stored.unwrap_or_else(|_| {
            let message = format!("what was written could not be sent within {limit:?}");
            Err(FsError::new(ErrorKind::Io, message))
        })
    }
}
