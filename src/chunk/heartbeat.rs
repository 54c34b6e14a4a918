//! Heartbeats: telling the master that this server is alive, what room it has and what it holds,
//! and deleting what the master answers has been deleted.
//!
//! What was deleted is told with the next heartbeat, and again until one of them was answered; the
//! master forgets a deletion only then. So none is lost when either of the two dies in between.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::chunk::identity::Identity;
use crate::chunk::membership::Standing;
use crate::chunk::native::{Kept, NativeStore};
use crate::error::{ErrorKind, Result};
use crate::limits;
use crate::proto::Packed;
use crate::proto::cluster::{Heartbeat, Orders, Report, Strays};
use crate::rpc::RpcClient;
use crate::store::in_background;
use crate::types::{ChunkKey, ClusterId, Space};

/// The chunks that heartbeats are about. The methods may wait for the disk.
pub trait Holdings: Send + Sync + 'static {
    /// The room there is.
    ///
    /// # Errors
    /// What the disk says.
    fn space(&self) -> Result<Space>;

    /// The next chunks behind `after`, up to `limit`, in the order of their keys, with their
    /// versions; none at the end.
    ///
    /// # Errors
    /// What the disk says.
    fn held(&self, after: Option<&ChunkKey>, limit: usize) -> Result<Vec<(ChunkKey, u64)>>;

    /// Deletes chunks, for good; answers those of which it cannot.
    ///
    /// # Errors
    /// What the disk says.
    fn delete(&self, keys: &[ChunkKey]) -> Result<Kept>;

    /// Of a page of chunks, these are nobody's, says the master; an empty page ends a round through
    /// all of them. `uptime_ms` is that of the server.
    ///
    /// # Errors
    /// What the disk says.
    fn learn_strays(&self, page: &[ChunkKey], strays: &[ChunkKey], uptime_ms: u64) -> Result<()>;

    /// Strays may be removed, somebody says.
    ///
    /// # Errors
    /// What the disk says.
    fn confirm_strays(&self) -> Result<()>;

    /// The master has so many commits on its disk; 0 if it does not know.
    ///
    /// # Errors
    /// What the disk says.
    fn see_master(&self, commits: u64) -> Result<()>;

    /// How many chunks are nobody's.
    fn strays(&self, uptime_ms: u64) -> Strays;
}

impl Holdings for NativeStore {
    fn space(&self) -> Result<Space> {
        self.space()
    }

    fn held(&self, after: Option<&ChunkKey>, limit: usize) -> Result<Vec<(ChunkKey, u64)>> {
        Ok(self.list(after, limit)?.into_iter().map(|(key, stat)| (key, stat.version)).collect())
    }

    fn delete(&self, keys: &[ChunkKey]) -> Result<Kept> {
        self.delete(keys)
    }

    fn learn_strays(&self, page: &[ChunkKey], strays: &[ChunkKey], uptime_ms: u64) -> Result<()> {
        self.learn_strays(page, strays, uptime_ms)
    }

    fn confirm_strays(&self) -> Result<()> {
        self.confirm_strays()
    }

    fn see_master(&self, commits: u64) -> Result<()> {
        self.see_master(commits)
    }

    fn strays(&self, uptime_ms: u64) -> Strays {
        self.strays(uptime_ms)
    }
}

/// The heart of a chunk server.
pub struct Heart {
    /// How to call the master.
    pub client: RpcClient,
    /// The master's URL.
    pub master: String,
    /// Who this server is.
    pub who: Arc<Identity>,
    /// What it holds.
    pub holdings: Arc<dyn Holdings>,
    /// A number for the disk that this is on.
    pub disk: u64,
}

/// What one beat leaves for the next.
#[derive(Default)]
struct Pulse {
    /// Deleted, but the master may not know it yet.
    deleted: Vec<ChunkKey>,
    /// The last chunk that was reported in this round.
    reported: Option<ChunkKey>,
    /// Could not be deleted the last time.
    kept: Kept,
    /// When the uptime was last noted, on itself, in milliseconds.
    uptime_kept_ms: u64,
}

impl Pulse {
    /// Says what cannot be deleted, if it is not what was said before.
    fn tell_kept(&mut self, kept: Kept) {
        if let Some((_, error)) = kept.first().filter(|_| kept != self.kept) {
            tracing::warn!(
                chunks = kept.len(),
                "chunks that are not needed any more stay: {error}"
            );
        }
        self.kept = kept;
    }
}

/// How a heartbeat was answered.
enum Answered {
    /// All that was to be deleted is.
    All,
    /// There may be more to delete.
    More,
}

impl Heart {
    /// Beats while the server is a member, until `shutdown`, or until the master turns out to be one
    /// of the original programs. `heard` becomes true with the first answer, or in that case.
    pub async fn run(
        self,
        standing: watch::Sender<Standing>,
        heard: watch::Sender<bool>,
        shutdown: CancellationToken,
    ) {
        let mut pulse = Pulse::default();
        let mut trouble = None;
        let mut changes = standing.subscribe();
        loop {
            let beat = async {
                let inside = changes.wait_for(|standing| *standing != Standing::Outside).await;
                match inside.map(|standing| *standing) {
                    Ok(Standing::Member(cluster)) => Some(self.beat(cluster, &mut pulse).await),
                    _ => None,
                }
            };
            let beat = tokio::select! {
                () = shutdown.cancelled() => return,
                beat = beat => beat,
            };
            let Some(beat) = beat else {
                heard.send_replace(true);
                return;
            };
            let pause = match beat {
                Ok(Answered::More) => continue,
                Ok(Answered::All) => {
                    trouble = None;
                    heard.send_replace(true);
                    limits::HEARTBEAT_PERIOD
                }
                Err(error) => {
                    if must_join_again(error.kind()) {
                        standing.send_replace(Standing::Outside);
                    }
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
    async fn beat(&self, cluster: ClusterId, pulse: &mut Pulse) -> Result<Answered> {
        let uptime_ms = self.keep_uptime(pulse).await;
        let space = self.with_holdings(|holdings| holdings.space()).await?;
        let strays = self.with_holdings(move |holdings| Ok(holdings.strays(uptime_ms))).await?;
        let beat = Heartbeat {
            server: self.who.id().clone(),
            cluster,
            process: self.who.process(),
            total: space.total,
            free: space.free,
            held: space.held,
            disk: self.disk,
            deleted: Packed(pulse.deleted.clone()),
            strays: Packed(strays),
        };
        let Packed(orders) = self.client.call(&self.master, beat).await?;
        let Orders { delete: garbage, may_remove_strays, commits } = orders;
        pulse.deleted.clear();
        if may_remove_strays {
            tracing::warn!("chunks that no file refers to may be removed, somebody says");
            noted(self.with_holdings(|holdings| holdings.confirm_strays()).await);
        }
        noted(self.with_holdings(move |holdings| holdings.see_master(commits)).await);
        if !garbage.is_empty() {
            tracing::debug!(chunks = garbage.len(), "deleting");
            let keys = garbage.clone();
            let kept = self.with_holdings(move |holdings| holdings.delete(&keys)).await?;
            let is_kept = |key: &ChunkKey| kept.iter().any(|(kept, _)| kept == key);
            pulse.deleted = garbage.into_iter().filter(|key| !is_kept(key)).collect();
            pulse.tell_kept(kept);
        }
        if pulse.deleted.len() >= limits::DELETIONS_PER_HEARTBEAT_MAX {
            return Ok(Answered::More);
        }
        self.report(cluster, pulse, uptime_ms).await?;
        Ok(Answered::All)
    }

    async fn report(&self, cluster: ClusterId, pulse: &mut Pulse, uptime_ms: u64) -> Result<()> {
        let after = pulse.reported;
        let page =
            move |holdings: &dyn Holdings| holdings.held(after.as_ref(), limits::REPORT_PAGE_MAX);
        let held = self.with_holdings(page).await?;
        let keys: Vec<ChunkKey> = held.iter().map(|(key, _)| *key).collect();
        let strays = match held.is_empty() {
            true => Vec::new(),
            false => {
                let (server, process) = (self.who.id().clone(), self.who.process());
                let report = Report { server, cluster, process, held: Packed(held) };
                let Packed(strays) = self.client.call(&self.master, report).await?;
                strays
            }
        };
        pulse.reported = keys.last().copied();
        let learn = move |holdings: &dyn Holdings| holdings.learn_strays(&keys, &strays, uptime_ms);
        self.with_holdings(learn).await
    }

    /// The server's uptime, noted from time to time. If it cannot be noted, as on a full disk, the
    /// server only seems younger than it is.
    async fn keep_uptime(&self, pulse: &mut Pulse) -> u64 {
        let now_ms = self.who.uptime_ms();
        let age_ms = u128::from(now_ms.saturating_sub(pulse.uptime_kept_ms));
        if age_ms >= limits::UPTIME_PERIOD.as_millis() {
            let who = Arc::clone(&self.who);
            noted(in_background(move || who.keep_uptime()).await);
            pulse.uptime_kept_ms = now_ms;
        }
        now_ms
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

/// What could not be noted, as on a full disk, counts until the server is restarted.
fn noted(outcome: Result<()>) {
    if let Err(error) = outcome {
        tracing::debug!("the uptime, or what the master says, is not noted: {error}");
    }
}

/// Whether an error means that the master does not take this server for a member any more.
fn must_join_again(error: ErrorKind) -> bool {
    matches!(error, ErrorKind::UnknownServer | ErrorKind::WrongCluster | ErrorKind::Busy)
}
