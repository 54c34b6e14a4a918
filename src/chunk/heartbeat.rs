//! Heartbeats: telling the master that this server is alive, what room it has and what it holds,
//! and deleting what the master answers that no file refers to any more.
//!
//! What was deleted is told with the next heartbeat, and again until one of them was answered; the
//! master forgets a deletion only then. So none is lost when either of the two dies in between.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::chunk::native::NativeStore;
use crate::error::{ErrorKind, Result};
use crate::limits;
use crate::proto::Packed;
use crate::proto::cluster::{Heartbeat, Report};
use crate::rpc::{CallError, Fault, Method, RpcClient};
use crate::store::in_background;
use crate::types::{ChunkKey, ServerUrl, Space};

/// The chunks that heartbeats are about. The methods may wait for the disk.
pub trait Holdings: Send + Sync + 'static {
    /// The room there is.
    ///
    /// # Errors
    /// What the disk says.
    fn space(&self) -> Result<Space>;

    /// The next chunks behind `after`, up to `limit`, in the order of their keys; none at the end.
    ///
    /// # Errors
    /// What the disk says.
    fn keys(&self, after: Option<&ChunkKey>, limit: usize) -> Result<Vec<ChunkKey>>;

    /// Deletes chunks, for good.
    ///
    /// # Errors
    /// What the disk says.
    fn delete(&self, keys: &[ChunkKey]) -> Result<()>;
}

impl Holdings for NativeStore {
    fn space(&self) -> Result<Space> {
        self.space()
    }

    fn keys(&self, after: Option<&ChunkKey>, limit: usize) -> Result<Vec<ChunkKey>> {
        Ok(self.list(after, limit)?.into_iter().map(|(key, _)| key).collect())
    }

    fn delete(&self, keys: &[ChunkKey]) -> Result<()> {
        self.delete(keys)
    }
}

/// The heart of a chunk server.
pub struct Heart {
    /// How to call the master.
    pub client: RpcClient,
    /// The master's URL.
    pub master: String,
    /// This server's name.
    pub server: ServerUrl,
    /// What it holds.
    pub holdings: Arc<dyn Holdings>,
}

/// What one beat leaves for the next.
#[derive(Default)]
struct Pulse {
    /// Deleted, but the master may not know it yet.
    deleted: Vec<ChunkKey>,
    /// The last chunk that was reported in this round.
    reported: Option<ChunkKey>,
}

/// How a heartbeat was answered.
enum Answered {
    /// All that was to be deleted is.
    All,
    /// There may be more to delete.
    More,
    /// Not at all: the master knows no heartbeats.
    Unknown,
}

impl Heart {
    /// Beats until `shutdown`, or until the master turns out to be one that knows no native chunks.
    /// `heard` becomes true with the first answer of either kind.
    pub async fn run(self, heard: watch::Sender<bool>, shutdown: CancellationToken) {
        let mut pulse = Pulse::default();
        let mut trouble = None;
        loop {
            let beat = tokio::select! {
                () = shutdown.cancelled() => return,
                beat = self.beat(&mut pulse) => beat,
            };
            let pause = match beat {
                Ok(Answered::More) => continue,
                Ok(Answered::All) => {
                    trouble = None;
                    heard.send_replace(true);
                    limits::HEARTBEAT_PERIOD
                }
                Ok(Answered::Unknown) => {
                    heard.send_replace(true);
                    return;
                }
                Err(error) => {
                    // That the master is not there is said by the membership.
                    let is_there = error.kind() != ErrorKind::Unreachable;
                    if is_there && trouble.as_ref() != Some(&error) {
                        tracing::warn!("the heartbeat failed: {error}");
                        trouble = Some(error);
                    }
                    limits::HEARTBEAT_RETRY
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One heartbeat, the deletions it asks for, and a page of the report.
    async fn beat(&self, pulse: &mut Pulse) -> Result<Answered> {
        let space = self.with_holdings(|holdings| holdings.space()).await?;
        let beat = Heartbeat {
            server: self.server.clone(),
            total: space.total,
            free: space.free,
            held: space.held,
            deleted: Packed(pulse.deleted.clone()),
        };
        let garbage = match self.client.call(&self.master, beat).await {
            Ok(Packed(garbage)) => garbage,
            Err(CallError::Fault(fault)) if is_unknown_method(&fault) => {
                return Ok(Answered::Unknown);
            }
            Err(error) => return Err(error.into()),
        };
        pulse.deleted.clear();
        if !garbage.is_empty() {
            tracing::debug!(chunks = garbage.len(), "deleting");
            let keys = garbage.clone();
            self.with_holdings(move |holdings| holdings.delete(&keys)).await?;
            pulse.deleted = garbage;
        }
        if pulse.deleted.len() >= limits::DELETIONS_PER_HEARTBEAT_MAX {
            return Ok(Answered::More);
        }
        self.report(pulse).await?;
        Ok(Answered::All)
    }

    async fn report(&self, pulse: &mut Pulse) -> Result<()> {
        let after = pulse.reported;
        let page =
            move |holdings: &dyn Holdings| holdings.keys(after.as_ref(), limits::REPORT_PAGE_MAX);
        let held = self.with_holdings(page).await?;
        pulse.reported = held.last().copied();
        if !held.is_empty() {
            let report = Report { server: self.server.clone(), held: Packed(held) };
            self.client.call(&self.master, report).await?;
        }
        Ok(())
    }

    /// Runs what may take the disk's time where it keeps nobody waiting.
    async fn with_holdings<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Holdings) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let holdings = Arc::clone(&self.holdings);
        in_background(move || work(&*holdings)).await
    }
}

/// Whether a fault means that the master is not one of ours, in its own words or in Python's.
fn is_unknown_method(fault: &Fault) -> bool {
    fault.code == Fault::UNKNOWN_METHOD
        || fault.message.contains(&format!("method \"{}\" is not supported", Heartbeat::NAME))
}
