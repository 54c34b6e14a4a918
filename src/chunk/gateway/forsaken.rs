//! Removing staged values whose clients never came to the master: they have died, or another client's
//! work has taken the place of theirs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use super::Gateway;
use crate::chunk::native::StagedValues as _;
use crate::chunk::staged::Waiting;
use crate::error::{FsError, Result};
use crate::limits;
use crate::proto::Packed;
use crate::proto::gateway::Awaited;
use crate::types::Key;

/// Since when values are known to be staged.
#[derive(Default)]
struct Watched(HashMap<(Key, u64), Instant>);

impl Watched {
    /// Takes over what is staged now, some of it at a time.
    fn note(&mut self, before: &Self, staged: Vec<Waiting>) {
        for Waiting { key, token } in staged {
            if self.0.len() < limits::STAGED_WATCHED_MAX {
                let value = (key, token);
                let since = before.0.get(&value).copied().unwrap_or_else(Instant::now);
                self.0.insert(value, since);
            }
        }
    }

    fn older_than(&self, grace: Duration) -> Vec<(Key, u64)> {
        let old = self.0.iter().filter(|(_, since)| since.elapsed() >= grace);
        old.map(|(value, _)| value.clone()).collect()
    }
}

/// Until `shutdown`, looks every `period` for values that were staged longer than `grace` ago and
/// for which no dict at the master waits.
pub async fn forget_forsaken(
    gateway: Arc<Gateway>,
    (period, grace): (Duration, Duration),
    shutdown: CancellationToken,
) {
    let mut watched = Watched::default();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(period) => {}
        }
        let looked = tokio::select! {
            () = shutdown.cancelled() => return,
            looked = gateway.look_for_forsaken(&mut watched, grace) => looked,
        };
        if let Err(error) = looked {
            tracing::debug!("staged values of clients that have died stay for now: {error}");
        }
    }
}

impl Gateway {
    async fn look_for_forsaken(&self, watched: &mut Watched, grace: Duration) -> Result<()> {
        let (mut now, mut after) = (Watched::default(), None);
        loop {
            let (staged, last) = block_in_place(|| self.contents.waiting(after.as_ref()))?;
            now.note(watched, staged);
            if last.is_none() {
                break;
            }
            after = last;
        }
        *watched = now;
        let old = watched.older_than(grace);
        // Only a master with a tree ever takes them.
        if old.is_empty() || !self.has_tree(&old[0].0).await? {
            return Ok(());
        }
        for some in old.chunks(limits::REPORT_PAGE_MAX) {
            let keys = some.iter().map(|(key, _)| key.clone()).collect();
            let call = Awaited { keys: Packed(keys) };
            let asked = self.client.call(&self.master, call).await.map_err(FsError::from);
            let Packed(awaited) = asked?;
            for (key, token) in some.iter().filter(|(key, _)| !awaited.contains(key)) {
                if block_in_place(|| self.contents.discard(key, *token))? {
                    tracing::info!("{key}: nobody came for what was put here");
                }
            }
        }
        Ok(())
    }
}
