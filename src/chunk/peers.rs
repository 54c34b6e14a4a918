//! The other servers of the cluster: the master, and the chunk servers that it knows.

use std::sync::Arc;

use crate::addresses::{Addresses, Located};
use crate::error::{FsError, Result};
use crate::proto::cluster::ListMembers;
use crate::rpc::{CallError, Method, RpcClient};
use crate::types::ServerId;

/// The servers beside this one. Clones share what is known of them.
#[derive(Clone)]
pub struct Peers {
    client: RpcClient,
    master: Arc<str>,
    addresses: Arc<Addresses>,
}

impl Peers {
    /// Those of the cluster of this master.
    #[must_use]
    pub fn new(client: RpcClient, master: &str) -> Self {
        Self { client, master: master.into(), addresses: Arc::default() }
    }

    /// Asks the master.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn ask_master<M: Method>(
        &self,
        call: M,
    ) -> std::result::Result<M::Answer, CallError> {
        self.client.call(&self.master, call).await
    }

    /// Which server a layout names, and where it is. Only what the master knows is ever called.
    ///
    /// # Errors
    /// `UnknownServer`; that the master cannot be asked.
    pub async fn locate(&self, name: &ServerId) -> Result<Arc<Located>> {
        self.addresses.of_member(name, || self.members()).await
    }

    /// Asks another chunk server, wherever it is now.
    ///
    /// # Errors
    /// As [`Peers::locate`]; those of the call.
    pub async fn ask<M: Method + Clone>(&self, name: &ServerId, call: M) -> Result<M::Answer> {
        let located = self.locate(name).await?;
        match self.client.call(&located.address, call.clone()).await {
            Err(error @ CallError::Unreachable { .. }) => {
                let members = || self.members();
                match self.addresses.instead_of(name, &located, members).await {
                    Ok(Some(moved)) => Ok(self.client.call(&moved.address, call).await?),
                    Ok(None) | Err(_) => Err(error.into()),
                }
            }
            outcome => outcome.map_err(FsError::from),
        }
    }

    async fn members(&self) -> Result<Vec<crate::proto::cluster::Member>> {
        self.client.call(&self.master, ListMembers {}).await.map_err(FsError::from)
    }
}
