//! A chunk server that joins is called back before its URL is believed: clients will be sent there.
//!
//! The classic `register` takes what it is told, as the original does.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::task::block_in_place;

use super::FileSystem;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::cluster::Join;
use crate::rpc::{CallError, Peer, Registry, RpcClient};
use crate::types::{ServerAddress, ServerUrl};

impl FileSystem {
    /// Offers `cluster.join`. Whoever joins is called back with `client`, if there is one.
    pub fn add_join(self: &Arc<Self>, registry: &mut Registry, client: Option<RpcClient>) {
        let files = Arc::clone(self);
        registry.add(move |call: Join, caller| {
            let (files, client) = (Arc::clone(&files), client.clone());
            async move {
                if let Some(client) = client {
                    check_place(&call.url, caller.peer())?;
                    files.call_back(&client, &call).await?;
                }
                block_in_place(|| files.join(call))
            }
        });
    }

    /// # Errors
    /// `InvalidArgument` if the server is not to be reached where it says, or another one is there.
    async fn call_back(&self, client: &RpcClient, join: &Join) -> Result<()> {
        let is_known = self.master.members().url_of(&join.server).as_ref() == Some(&join.url);
        if is_known && self.is_alive(&join.server) {
            return Ok(());
        }
        let address = ServerAddress::new(&join.server, &join.url);
        let called = client.methods(address.as_str());
        let reason = match tokio::time::timeout(limits::CALL_BACK_TIMEOUT, called).await {
            Ok(Ok(_) | Err(CallError::Fault(_))) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {:?}", limits::CALL_BACK_TIMEOUT),
        };
        if reason.contains("certificate") {
            // It is there; clients have certificates of their own to trust.
            tracing::debug!(url = %join.url, "called back: {reason}");
            return Ok(());
        }
        let message = format!(
            "the master cannot reach this server at {}, where clients would look for it ({reason}); \
             see --listen-host and --advertise",
            join.url
        );
        Err(FsError::new(ErrorKind::InvalidArgument, message))
    }
}

/// # Errors
/// `InvalidArgument` if a server on another machine says that it is on this one.
fn check_place(url: &ServerUrl, peer: Peer) -> Result<()> {
    if matches!(peer, Peer::Loopback | Peer::Unknown) {
        return Ok(());
    }
    let host = url.host();
    let is_loopback =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !is_loopback {
        return Ok(());
    }
    let message = format!(
        "{url} is on every machine another one, and this server is not on the master's: give it \
         --listen-host and --advertise, so that others can reach it"
    );
    Err(FsError::new(ErrorKind::InvalidArgument, message))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::check_place;
    use crate::types::ServerUrl;

    #[test]
    fn who_calls_from_elsewhere_is_not_at_a_loopback_address() {
        let check = |url: &str, peer: &str| {
            check_place(&ServerUrl::new(url).unwrap(), peer.parse::<IpAddr>().unwrap().into())
        };
        for url in ["https://localhost:9001", "https://127.0.0.2:9001", "https://[::1]:9001/RPC2"] {
            for own in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
                check(url, own).unwrap();
            }
            let error = check(url, "10.0.0.5").unwrap_err();
            assert!(error.message().starts_with(url), "{error}");
        }
        check("https://files:9001", "10.0.0.5").unwrap();
        check("https://10.0.0.5:9001", "::ffff:10.0.0.5").unwrap();
    }
}
