//! Making room on a full disk: staged values that nobody comes for go, the oldest first.
//!
//! A value under a path lives as long as its client said, whether a master hears of it or not: some
//! programs use a chunk server as a hash table. What dead clients have left there goes with its time
//! to live, and before that only when the disk is full. What a dict at the master waits for stays,
//! and so does a file that a program keeps here as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use super::{Gateway, is_whole_file};
use crate::chunk::staged::Waiting;
use crate::error::{FsError, Result};
use crate::limits;
use crate::proto::Packed;
use crate::proto::gateway::Awaited;
use crate::types::Key;

/// Until `shutdown`, looks from time to time whether the disk is nearly full, and makes room then:
/// native contents need it, too, and cannot wait for it.
pub async fn keep_room(gateway: Arc<Gateway>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(limits::RECLAIM_PERIOD) => {}
        }
        let reclaimed = tokio::select! {
            () = shutdown.cancelled() => return,
            reclaimed = gateway.keep_room() => reclaimed,
        };
        if let Err(error) = reclaimed {
            tracing::debug!("staged values stay although the disk is nearly full: {error}");
        }
    }
}

impl Gateway {
    async fn keep_room(&self) -> Result<()> {
        let space = block_in_place(|| self.chunks.space())?;
        let wanted = limits::RECLAIM_ROOM_MAX.min(space.total / limits::RECLAIM_ROOM_PART);
        match wanted.saturating_sub(space.free) {
            0 => Ok(()),
            missing => self.reclaim(missing).await.map(|_| ()),
        }
    }

    /// Removes staged values, the oldest first, until `missing` bytes are free again. Answers how
    /// many bytes that freed: fewer if there are no more.
    ///
    /// # Errors
    /// What the disk says, and the master, without which nobody knows what is waited for.
    pub(super) async fn reclaim(&self, missing: u64) -> Result<u64> {
        let _alone = self.reclaiming.lock().await;
        let oldest = block_in_place(|| self.oldest_staged())?;
        let Some((_, first)) = oldest.first_key_value() else { return Ok(0) };
        // Where the master has no tree, what is under paths are the files.
        if !self.has_tree(&first.key).await? {
            return Ok(0);
        }
        let mut freed = 0;
        let oldest: Vec<Waiting> = oldest.into_values().collect();
        for some in oldest.chunks(limits::REPORT_PAGE_MAX) {
            let keys = some.iter().map(|waiting| waiting.key.clone()).collect();
            let awaited = self.awaited(keys).await?;
            for waiting in some.iter().filter(|waiting| !awaited.contains(&waiting.key)) {
                if freed >= missing {
                    break;
                }
                freed += block_in_place(|| self.remove_unclaimed(waiting))?;
            }
        }
        if freed > 0 {
            block_in_place(|| self.contents.sync())?;
        }
        Ok(freed)
    }

    async fn awaited(&self, keys: Vec<Key>) -> Result<Vec<Key>> {
        let call = Awaited { keys: Packed(keys) };
        let Packed(awaited) = self.peers.ask_master(call).await.map_err(FsError::from)?;
        Ok(awaited)
    }

    /// The staged values in files, by the number of the file: a later one has a higher number.
    fn oldest_staged(&self) -> Result<BTreeMap<u64, Waiting>> {
        let (mut oldest, mut after) = (BTreeMap::new(), None);
        loop {
            let (staged, last) = self.contents.waiting(after.as_ref())?;
            for waiting in staged {
                oldest.insert(waiting.file, waiting);
                if oldest.len() > limits::RECLAIMED_AT_ONCE_MAX {
                    oldest.pop_last();
                }
            }
            match last {
                Some(last) => after = Some(last),
                None => return Ok(oldest),
            }
        }
    }

    /// Removes a value, if it is no file of its own; answers its size, 0 if it stays.
    fn remove_unclaimed(&self, waiting: &Waiting) -> Result<u64> {
        let Waiting { key, size, .. } = waiting;
        let age = self.contents.age(waiting)?;
        let is_new = age.is_none_or(|age| age < self.reclaim_age_min);
        // One that cannot be read stays as well: somebody may want to know that.
        let is_whole = || self.contents.has(waiting, |value| is_whole_file(key, value));
        if is_new || is_whole().unwrap_or(true) || !self.contents.remove_staged(waiting)? {
            return Ok(0);
        }
        let age_s = age.unwrap_or_default().as_secs();
        tracing::warn!(
            age_s,
            size,
            "the disk is full: what was put under {key} is gone, as no client came for it"
        );
        Ok(*size)
    }
}
