//! A native file system that follows its master, from attaching to detaching.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::fs::NativeFs;
use super::remote::Remote;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::rpc::{CallError, RpcClient};

/// A native file system that is attached to its master.
pub struct Attached {
    fs: Arc<NativeFs<Remote<RpcClient>>>,
    shutdown: CancellationToken,
    follower: JoinHandle<()>,
}

/// Whether the server at this URL is a master with a native file system. One of the homework's is
/// not, and has no methods to ask for their names.
///
/// # Errors
/// Those of the call, faults aside; `InvalidArgument` if it is a chunk server.
pub async fn is_native(client: &RpcClient, master: &str) -> Result<bool> {
    match client.methods(master).await {
        Ok(methods) if methods.contains("chunk.read") && !methods.contains("fs.attach") => {
            let message = format!("{master} is a chunk server; give the address of its master");
            Err(FsError::new(ErrorKind::InvalidArgument, message))
        }
        Ok(methods) => Ok(methods.contains("fs.attach")),
        Err(CallError::Fault(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached").finish_non_exhaustive()
    }
}

impl Attached {
    /// Attaches to a master under a name that people know the client by.
    ///
    /// # Errors
    /// Those of the call to the master.
    pub async fn new(client: RpcClient, master: &str, name: &str) -> Result<Self> {
        let fs = NativeFs::attach(Remote::new(client.clone(), master), name).await?;
        client.warm_up(master).await;
        let shutdown = CancellationToken::new();
        let follower = tokio::spawn(Arc::clone(&fs).run(shutdown.clone()));
        Ok(Self { fs, shutdown, follower })
    }

    /// The file system.
    #[must_use]
    pub fn fs(&self) -> Arc<NativeFs<Remote<RpcClient>>> {
        Arc::clone(&self.fs)
    }

    /// Sends what is only here.
    ///
    /// # Errors
    /// `Io` if something could not be sent.
    pub async fn store_all(&self) -> Result<()> {
        self.fs.store_all().await
    }

    /// Ends the session, as far as the master is quick about it: locks and open files are free.
    pub async fn detach(self) {
        self.shutdown.cancel();
        tokio::time::timeout(limits::STORE_ON_STOP_TIMEOUT / 2, self.fs.detach()).await.ok();
        self.follower.await.ok();
    }
}
