//! A chunk server that joins is called back before it is believed: clients will be sent to its URL,
//! and whoever is taken for a server speaks for its chunks.
//!
//! It is asked at its URL who it is. If another process joined before as the same server, that one is
//! asked as well, where it was: as long as it answers, the new one is a copy.
//!
//! The classic `register` takes what it is told, as the original does.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::task::block_in_place;

use super::FileSystem;
use crate::error::{ErrorKind, FsError};
use crate::limits;
use crate::master::members::{Found, Process};
use crate::proto::chunk::IsProcess;
use crate::proto::cluster::Join;
use crate::rpc::{Barrier, CallError, Fault, Peer, Registry, RpcClient};
use crate::types::{ClusterId, ServerAddress, ServerId, ServerUrl};

impl FileSystem {
    /// Offers `cluster.join`. Whoever joins is called back with `client`, if there is one.
    pub fn add_join(self: &Arc<Self>, registry: &mut Registry, client: Option<RpcClient>) {
        let files = Arc::clone(self);
        registry.add(move |call: Join, caller| {
            let (files, client) = (Arc::clone(&files), client.clone());
            async move {
                let url = call.url.clone();
                let joined = files.look_and_join(client.as_ref(), call, caller.peer()).await;
                joined.inspect_err(|error| files.tell_refusal(&url, error))
            }
        });
    }

    async fn look_and_join(
        &self,
        client: Option<&RpcClient>,
        call: Join,
        peer: Peer,
    ) -> Result<ClusterId, FsError> {
        let last = self.master.members().last_process(&call.server);
        if let Some(client) = client {
            check_place(&call.url, peer)?;
            let own = Process { url: call.url.clone(), number: call.process };
            if last.as_ref() != Some(&own) || !self.is_alive(&call.server) {
                call_back(client, &call.server, &own).await?;
            }
        }
        let last = match last.filter(|last| last.number != call.process) {
            Some(last) => Some((last.number, look_for(client, &last, &call).await)),
            None => None,
        };
        block_in_place(|| self.join(call, last))
    }
}

/// # Errors
/// `InvalidArgument` if the server is not to be reached where it says, or another one is there.
async fn call_back(
    client: &RpcClient,
    server: &ServerId,
    process: &Process,
) -> Result<(), FsError> {
    let url = &process.url;
    let message = match ask(client, server, process).await {
        Ok(true) => return Ok(()),
        Ok(false) => format!(
            "at {url}, where clients would look for this server, another process answers; see \
             --listen-host and --advertise"
        ),
        Err(CallError::Unreachable { barrier: Barrier::Tls, reason, .. }) => format!(
            "the master cannot make sure that this server is at {url}: {reason} (the file is on the \
             master's machine; see its --ca)"
        ),
        Err(CallError::Fault(fault)) if fault.code == Fault::UNKNOWN_METHOD => format!(
            "the server at {url} cannot say who it is: it is of an earlier version than the master"
        ),
        // What it says itself may be anything, and as long as it likes.
        Err(CallError::Fault(fault)) => {
            format!("the server at {url} does not say who it is (fault {})", fault.code)
        }
        Err(error) => format!(
            "the master cannot reach this server at {url}, where clients would look for it \
             ({error}); see --listen-host and --advertise"
        ),
    };
    Err(FsError::new(ErrorKind::InvalidArgument, message))
}

/// How the last process is found of a server as which another one joins. Without a client nobody is
/// looked for.
async fn look_for(client: Option<&RpcClient>, last: &Process, join: &Join) -> Found {
    // Where the new one has answered the old one cannot be.
    let Some(client) = client.filter(|_| last.url != join.url) else { return Found::Gone };
    found(&ask(client, &join.server, last).await)
}

/// What an answer, or none, says of a process that was asked for.
fn found(answer: &Result<bool, CallError>) -> Found {
    match answer {
        Ok(true) => Found::There,
        Ok(false) => Found::Gone,
        Err(CallError::Unreachable { barrier, .. }) => match barrier {
            Barrier::NoConnection | Barrier::OtherServer | Barrier::Url => Found::Gone,
            // Somebody is there.
            Barrier::Tls | Barrier::Overload => Found::Unclear,
        },
        Err(_) => Found::Unclear,
    }
}

/// Asks whether a process of a server is where it should be, in limited time.
async fn ask(client: &RpcClient, server: &ServerId, at: &Process) -> Result<bool, CallError> {
    let address = ServerAddress::new(server, &at.url);
    let call = IsProcess { server: server.clone(), process: at.number };
    let timeout = limits::CALL_BACK_TIMEOUT;
    let answer = tokio::time::timeout(timeout, client.call(address.as_str(), call)).await;
    answer.unwrap_or_else(|_| Err(CallError::TimedOut { server: at.url.to_string(), timeout }))
}

/// # Errors
/// `InvalidArgument` if a server on another machine says that it is on this one.
fn check_place(url: &ServerUrl, peer: Peer) -> Result<(), FsError> {
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

    use super::{check_place, found};
    use crate::master::members::Found;
    use crate::rpc::{Barrier, CallError, Fault};
    use crate::types::ServerUrl;

    fn unreachable(barrier: Barrier) -> CallError {
        let (server, reason) = ("https://certificate:9001".to_owned(), "a certificate".to_owned());
        CallError::Unreachable { server, barrier, reason }
    }

    #[test]
    fn only_who_cannot_be_connected_to_or_is_another_is_gone() {
        assert_eq!(found(&Ok(true)), Found::There);
        assert_eq!(found(&Ok(false)), Found::Gone);
        for barrier in [Barrier::NoConnection, Barrier::OtherServer, Barrier::Url] {
            assert_eq!(found(&Err(unreachable(barrier))), Found::Gone);
        }
        for barrier in [Barrier::Tls, Barrier::Overload] {
            assert_eq!(found(&Err(unreachable(barrier))), Found::Unclear);
        }
        let fault = Fault::new(Fault::UNKNOWN_METHOD, "chunk.identity");
        assert_eq!(found(&Err(CallError::Fault(fault))), Found::Unclear);
    }

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
