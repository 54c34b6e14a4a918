//! Files that classic clients have put and that are not in the tree yet: tried again as soon as the
//! chunk server with their contents answers, or the directory that they are in is there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};

use tokio::task::block_in_place;

use super::dict::Dict;
use super::look::Place;
use super::{Gateway, has_chunks};
use crate::clock::{self, Timestamp};
use crate::error::Result;
use crate::limits;
use crate::master::namespace::View;
use crate::proto::classic::Put;
use crate::proto::form;
use crate::rpc::Caller;
use crate::types::{FileKind, Key, StoredValue, TreePath, Ttl};

/// Paths in the plain table that may come into the tree.
#[derive(Debug, Default)]
pub(super) struct Pending {
    turns: BTreeMap<Key, Turn>,
    /// The path that is being tried.
    trying: Option<(Key, Promotion)>,
    /// How many were added.
    count: u64,
}

/// Whether the entry that is being tried is still what its path is to be: a client that puts or
/// deletes the path ends that.
#[derive(Clone, Debug, Default)]
pub(super) struct Promotion(Arc<AtomicBool>);

impl Promotion {
    pub(super) fn is_overtaken(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// When a path is tried.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    /// Another number each time the path is added.
    number: u64,
    at: Timestamp,
    /// The wait after the next failure.
    wait_ms: u64,
}

impl Pending {
    fn add(&mut self, key: Key) {
        self.overtake(&key);
        if self.turns.len() < limits::PENDING_MAX || self.turns.contains_key(&key) {
            self.count += 1;
            self.turns.insert(key, Turn { number: self.count, ..Turn::default() });
        }
    }

    fn overtake(&self, key: &Key) {
        if let Some((_, promotion)) = self.trying.as_ref().filter(|(trying, _)| trying == key) {
            promotion.0.store(true, Ordering::SeqCst);
        }
    }

    fn remove(&mut self, key: &Key, number: u64) {
        if self.turns.get(key).is_some_and(|turn| turn.number == number) {
            self.turns.remove(key);
        }
    }

    fn due(&self, now: Timestamp) -> Vec<(Key, u64)> {
        let due = self.turns.iter().filter(|(_, turn)| turn.at <= now);
        due.map(|(key, turn)| (key.clone(), turn.number)).collect()
    }

    /// Each time that a path is tried in vain, it waits twice as long.
    fn put_off(&mut self, key: &Key, now: Timestamp) {
        let first = u64::try_from(limits::PENDING_PERIOD.as_millis()).unwrap_or(u64::MAX);
        let last = u64::try_from(limits::SWEEP_PERIOD.as_millis()).unwrap_or(u64::MAX);
        if let Some(turn) = self.turns.get_mut(key) {
            let wait_ms = turn.wait_ms.clamp(first, last);
            turn.at = Timestamp(now.0.saturating_add(wait_ms));
            turn.wait_ms = wait_ms * 2;
        }
    }
}

/// A dict that names a chunk server, and so may be a file of the tree.
fn shared_dict(value: &StoredValue) -> Option<Dict> {
    Dict::read(value).filter(|dict| dict.attributes.contents.is_some())
}

/// What came of trying.
enum Tried {
    /// There is nothing more to try.
    Over,
    /// It was not even tried, as it needs a server or a directory that is not there.
    Waits,
    /// It was tried in vain.
    Failed,
}

impl Gateway {
    /// A path in the plain table that may come into the tree.
    pub(super) fn add_pending(&self, key: Key) {
        self.pending().add(key);
    }

    /// A client puts or deletes a path: an older entry of it does not come into the tree any more. To
    /// be called before the transaction that does so.
    pub(super) fn overtake_pending(&self, key: &Key) {
        self.pending().overtake(key);
    }

    /// Finds those that an earlier process left.
    ///
    /// # Errors
    /// What the store says.
    pub(super) fn find_pending(&self) -> Result<()> {
        let mut after = None;
        loop {
            let page = self.master.state().page(after.as_ref())?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, stored) in page {
                if TreePath::of(&key).is_some() && shared_dict(&stored.value).is_some() {
                    self.add_pending(key);
                }
            }
        }
    }

    /// Tries those whose servers are alive, parents before what is in them.
    pub(super) async fn retry_pending(&self) {
        let keys = self.pending().due(clock::uptime());
        for (key, number) in keys {
            let promotion = Promotion::default();
            self.pending().trying = Some((key.clone(), promotion.clone()));
            let tried = self.retry(&key, promotion).await;
            self.pending().trying = None;
            match tried {
                Ok(Tried::Over) => self.pending().remove(&key, number),
                Ok(Tried::Waits) => {}
                Ok(Tried::Failed) => self.pending().put_off(&key, clock::uptime()),
                Err(error) => {
                    tracing::warn!("{key} is not in the tree yet: {error}");
                    self.pending().put_off(&key, clock::uptime());
                }
            }
        }
    }

    /// Tries to bring one path into the tree.
    async fn retry(&self, key: &Key, promotion: Promotion) -> Result<Tried> {
        let entry = block_in_place(|| self.master.state().get(key, clock::now()))?;
        let (Some(entry), Some(path)) = (entry, TreePath::of(key)) else {
            return Ok(Tried::Over);
        };
        let Some(dict) = shared_dict(&entry.value) else { return Ok(Tried::Over) };
        let server = dict.attributes.contents.as_ref().map(|url| self.master.members().at(url));
        if has_chunks(dict.kind) && !server.is_some_and(|server| self.files.is_alive(&server)) {
            return Ok(Tried::Waits);
        }
        let place = |txn: &dyn crate::store::ReadTxn| Place::of(View::new(txn), &path);
        match block_in_place(|| self.files.store().read(place))? {
            Place::Nowhere => return Ok(Tried::Waits),
            place if place.ino().is_some() && place != Place::Root => {
                // Somebody has made a file there since: that is what is under the path.
                block_in_place(|| self.forget_plain(key));
                return Ok(Tried::Over);
            }
            _ => {}
        }
        let dialect = form::dialect_of(&entry.value).unwrap_or_default();
        let ttl = Ttl::from_s(i64::try_from(entry.ttl_s.max(1)).unwrap_or(i64::MAX));
        let put = Put { key: key.clone(), dialect, value: entry.value, ttl };
        let is_done = self.put_dict(&path, &dict, &put, Some(&promotion)).await?;
        if is_done && dict.kind == FileKind::Directory {
            self.take_lists(&put, &dict, &Caller::default()).await;
        }
        Ok(match is_done {
            true => Tried::Over,
            // Whoever overtook it has said what is to be tried next, if anything.
            false if promotion.is_overtaken() => Tried::Waits,
            false => Tried::Failed,
        })
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        // Single steps: a panic leaves nothing half-done.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
