//! The other chunk servers of the cluster, as the master knows them: contents are copied from nowhere
//! else, whatever a caller names.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::remote::RemoteSource;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::cluster::{ListServers, ServerUrls};
use crate::rpc::RpcClient;
use crate::types::ServerUrl;

/// The chunk servers of a cluster.
pub struct Peers {
    client: RpcClient,
    master: ServerUrl,
    known: Mutex<Known>,
    /// Held by the one that asks the master: the others wait for the same answer.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    servers: HashSet<ServerUrl>,
    /// When the master was asked.
    asked: Option<Instant>,
}

impl Peers {
    /// Those that this master knows.
    #[must_use]
    pub fn new(client: RpcClient, master: ServerUrl) -> Self {
        Self { client, master, known: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    /// One of them, to copy from. To be called as [`RemoteSource`] is.
    ///
    /// # Errors
    /// `UnknownServer` if the master does not know it; what asking the master says.
    pub(super) fn source(&self, server: ServerUrl) -> Result<RemoteSource> {
        Handle::current().block_on(self.check(&server))?;
        Ok(RemoteSource::new(self.client.clone(), server))
    }

    async fn check(&self, server: &ServerUrl) -> Result<()> {
        let begun = Instant::now();
        if self.knows(server, begun.checked_sub(limits::KNOWN_SERVERS_AGE_MAX)) {
            return Ok(());
        }
        let _asking = self.asking.lock().await;
        let asked = self.known().asked;
        if asked.is_none_or(|asked| asked < begun) {
            if let Some(asked) = asked {
                tokio::time::sleep_until(asked + limits::KNOWN_SERVERS_PERIOD).await;
            }
            self.ask().await?;
        }
        if self.knows(server, None) {
            return Ok(());
        }
        let message = format!("the master knows no chunk server {server}");
        Err(FsError::new(ErrorKind::UnknownServer, message))
    }

    async fn ask(&self) -> Result<()> {
        let asked = Instant::now();
        let ServerUrls(servers) = self.client.call(self.master.as_str(), ListServers {}).await?;
        *self.known() = Known { servers: servers.into_iter().collect(), asked: Some(asked) };
        Ok(())
    }

    /// Whether the master knew a server when it was asked last, and that is not before `since`.
    fn knows(&self, server: &ServerUrl, since: Option<Instant>) -> bool {
        let known = self.known();
        known.asked.is_some() && known.asked >= since && known.servers.contains(server)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // It changes in single steps.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
