//! Being known to the master: announcing this server until the master answers, and again from time
//! to time, and whenever the master does not know it any more.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use crate::chunk::contents::Contents;
use crate::chunk::identity::Identity;
use crate::chunk::native::NativeStore;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::chunk::{Optional, Read};
use crate::proto::classic::Register;
use crate::proto::cluster::Join;
use crate::rpc::{CallError, Fault, Method, RpcClient};
use crate::types::{ClusterId, ServerUrl};

/// Wait after the first failure; it doubles with every further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);

/// A chunk server on its way into a cluster.
pub struct Membership {
    /// How to call the master.
    pub client: RpcClient,
    /// The master's URL.
    pub master: String,
    /// Where this server is.
    pub url: ServerUrl,
    /// Who it is.
    pub who: Arc<Identity>,
    /// The values that it holds.
    pub contents: Arc<Contents>,
    /// And the chunks of files.
    pub chunks: Arc<NativeStore>,
    /// Told why the master does not take it, if waiting does not change that.
    pub refused: watch::Sender<Option<FsError>>,
}

/// What this server is to its master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Unknown to it.
    Outside,
    /// A member of its cluster.
    Member(ClusterId),
    /// Registered at one of the original programs, which asks for nothing more.
    Registered,
}

impl Membership {
    /// Announces the server until `shutdown`, and says in `standing` what came of it. When somebody
    /// else says there that it is outside, it is announced at once.
    pub async fn run(self, standing: watch::Sender<Standing>, shutdown: CancellationToken) {
        let mut changes = standing.subscribe();
        let mut backoff = BACKOFF_FIRST;
        let mut trouble = None;
        loop {
            let attempt = tokio::select! {
                () = shutdown.cancelled() => return,
                attempt = self.announce() => attempt,
            };
            let wait = match attempt {
                Ok(now) => {
                    if standing.send_replace(now) != now || trouble.is_some() {
                        tracing::info!(master = %self.master, url = %self.url, "joined");
                    }
                    trouble = None;
                    backoff = BACKOFF_FIRST;
                    match now {
                        Standing::Outside | Standing::Member(_) => limits::JOIN_PERIOD,
                        // The original programs announce themselves once, at their start.
                        Standing::Registered => return,
                    }
                }
                Err(error) => {
                    if error.kind() == ErrorKind::WrongCluster {
                        self.refused.send_replace(Some(error.clone()));
                    }
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
                () = is_put_out(&mut changes) => backoff = BACKOFF_FIRST,
            }
        }
    }

    async fn announce(&self) -> Result<Standing> {
        let join = block_in_place(|| self.joining())?;
        match self.client.call(&self.master, join).await {
            Ok(cluster) => {
                block_in_place(|| self.who.join(cluster))?;
                Ok(Standing::Member(cluster))
            }
            Err(CallError::Fault(fault)) if is_unknown_method(&fault) => {
                self.check_is_no_chunk_server().await?;
                let register = Register { server: self.url.clone() };
                self.client.call(&self.master, register).await?;
                Ok(Standing::Registered)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// # Errors
    /// `InvalidArgument` if what is taken for the master is a chunk server: it would keep the
    /// registration as it keeps everything, and say nothing.
    async fn check_is_no_chunk_server(&self) -> Result<()> {
        let is_chunk_server = match self.client.methods(&self.master).await {
            Ok(methods) => methods.contains(Read::NAME),
            // The original programs have no methods to ask for their names.
            Err(CallError::Fault(_)) => false,
            Err(error) => return Err(error.into()),
        };
        match is_chunk_server {
            true => {
                let message = "it is a chunk server; give the address of its master";
                Err(FsError::new(ErrorKind::InvalidArgument, message))
            }
            false => Ok(()),
        }
    }

    fn joining(&self) -> Result<Join> {
        let has_chunks = !self.chunks.list(None, 1)?.is_empty();
        // Without files of any it may go to another cluster.
        let cluster = self.who.cluster().filter(|_| has_chunks);
        Ok(Join {
            server: self.who.id().clone(),
            url: self.url.clone(),
            cluster: Optional(cluster),
            boot: self.who.boot(),
            process: self.who.process(),
            held: self.contents.counts()?.bytes,
            has_chunks,
        })
    }
}

/// Returns when the standing becomes that of a stranger.
async fn is_put_out(changes: &mut watch::Receiver<Standing>) {
    changes.mark_unchanged();
    loop {
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
        if *changes.borrow_and_update() == Standing::Outside {
            return;
        }
    }
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
