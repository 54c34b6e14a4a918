//! Being known to the master: announcing this server until the master answers, and again from time
//! to time, so that a master that lost its data learns of it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::chunk::contents::Contents;
use crate::error::Result;
use crate::limits;
use crate::proto::classic::Register;
use crate::proto::server::Join;
use crate::rpc::{CallError, Fault, Method, RpcClient};
use crate::types::ServerUrl;

/// Wait after the first failure; it doubles with every further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);

/// A chunk server on its way into a cluster.
pub struct Membership {
    /// How to call the master.
    pub client: RpcClient,
    /// The master's URL.
    pub master: String,
    /// This server's name.
    pub server: ServerUrl,
    /// What it holds.
    pub contents: Arc<Contents>,
}

impl Membership {
    /// Announces the server until `shutdown`; `joined` becomes true with the first success.
    pub async fn run(self, joined: watch::Sender<bool>, shutdown: CancellationToken) {
        let mut backoff = BACKOFF_FIRST;
        let mut trouble = None;
        loop {
            let attempt = tokio::select! {
                () = shutdown.cancelled() => return,
                attempt = self.announce() => attempt,
            };
            let wait = match attempt {
                Ok(known_methods) => {
                    if !joined.send_replace(true) || trouble.is_some() {
                        tracing::info!(master = %self.master, server = %self.server, "joined");
                    }
                    trouble = None;
                    backoff = BACKOFF_FIRST;
                    match known_methods {
                        MasterKind::Ours => limits::JOIN_PERIOD,
                        // The original programs announce themselves once, at their start.
                        MasterKind::Other => return,
                    }
                }
                Err(error) => {
                    let error = error.to_string();
                    if trouble.as_ref() != Some(&error) {
                        tracing::warn!("waiting for the master at {}: {error}", self.master);
                        trouble = Some(error);
                    }
                    backoff = (backoff * 2).min(limits::JOIN_BACKOFF_MAX);
                    backoff
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(jittered(wait)) => {}
            }
        }
    }

    async fn announce(&self) -> Result<MasterKind> {
        let held = self.contents.counts()?.bytes;
        let join = Join { server: self.server.clone(), held };
        match self.client.call(&self.master, join).await {
            Ok(_) => Ok(MasterKind::Ours),
            Err(CallError::Fault(fault)) if is_unknown_method(&fault) => {
                let register = Register { server: self.server.clone() };
                self.client.call(&self.master, register).await?;
                Ok(MasterKind::Other)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Whose program the master is.
enum MasterKind {
    /// It takes [`Join`].
    Ours,
    /// It takes [`Register`] only.
    Other,
}

/// Whether a fault means that the server does not know the method. Python's `xmlrpc.server` says
/// so with code 1, which it uses for every exception, and these words.
fn is_unknown_method(fault: &Fault) -> bool {
    fault.code == Fault::UNKNOWN_METHOD
        || fault.message.contains(&format!("method \"{}\" is not supported", Join::NAME))
}

/// Between 3/4 and 5/4 of a time, so that servers that started together do not stay in step.
fn jittered(time: Duration) -> Duration {
    // A fresh `RandomState` is random; there is no need for a better source here.
    let random = u32::try_from(RandomState::new().hash_one(()) % 512).unwrap_or(0);
    time * (768 + random) / 1024
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{is_unknown_method, jittered};
    use crate::rpc::Fault;

    #[test]
    fn jitter_is_a_quarter() {
        for _ in 0..1000 {
            let time = jittered(Duration::from_secs(4));
            assert!((3..=5).contains(&time.as_secs()));
        }
    }

    #[test]
    fn an_unknown_method_is_told_from_other_faults() {
        let python = "<class 'Exception'>:method \"cluster.join\" is not supported";
        assert!(is_unknown_method(&Fault::new(1, python)));
        assert!(is_unknown_method(&Fault::new(Fault::UNKNOWN_METHOD, "")));
        assert!(!is_unknown_method(&Fault::new(1, "<class 'KeyError'>:'x'")));
    }
}
