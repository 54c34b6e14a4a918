//! Strays: chunks that no file refers to, although nobody has deleted them. The master has forgotten
//! them, or it is the wrong one, so they are not deleted at once but counted, then set aside in the
//! folder `lost+found`, and removed only when they have been nobody's for long.
//!
//! Ages are counted on the server's own uptime, which no clock that is set wrongly can move. A chunk
//! that a file refers to after all, or that somebody reads, is brought back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::index::lock;
use super::master_data::MasterData;
use super::record::{STRAYS, decode_key, encode_key};
use super::{NativeStore, chunk::Chunk};
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::cluster::Strays;
use crate::store::{ReadTxn, TABLE_END};
use crate::types::ChunkKey;

/// The version of the records.
const VERSION: u8 = 1;

/// What is known of a stray.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stray {
    /// When it was first found to be one, on the server's uptime, in milliseconds.
    since_ms: u64,
    is_set_aside: bool,
}

/// The strays of a server, and how far the round through all its chunks is.
#[derive(Default)]
pub(super) struct StrayBook {
    strays: BTreeMap<ChunkKey, Stray>,
    /// Chunks and strays seen in this round, and in the last one that came to its end.
    seen: Count,
    counted: Option<Count>,
    /// Somebody has said that strays may go: in this round, or in the next.
    confirmed: Confirmed,
    pub(super) master: MasterData,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    chunks: u64,
    strays: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Confirmed {
    #[default]
    No,
    /// From the beginning of the next round on.
    NextRound,
    ThisRound,
}

/// What has to be done about a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Note,
    SetAside,
    Remove,
    BringBack,
}

impl StrayBook {
    /// # Errors
    /// `Corrupt` if a record makes no sense, and what the store says.
    pub(super) fn load(txn: &dyn ReadTxn) -> Result<Self> {
        let rows = txn.scan(STRAYS, &[], TABLE_END, limits::STRAYS_KNOWN_MAX)?;
        let strays =
            rows.into_iter().map(|(key, record)| Ok((decode_key(&key)?, decode(&record)?)));
        let (strays, master) = (strays.collect::<Result<_>>()?, MasterData::load(txn)?);
        Ok(Self { strays, master, ..Self::default() })
    }

    /// A chunk is gone.
    pub(super) fn forget(&mut self, key: &ChunkKey) {
        self.strays.remove(key);
    }

    /// Whether it is the master that has forgotten: its data are older than they were, or there are too
    /// many strays, by the last whole round, to be an accident of single files; before there was one
    /// nobody knows.
    fn is_held_back(&self) -> bool {
        self.master.are_older
            || self.counted.is_none_or(Count::is_too_much)
            || self.seen.is_too_many()
    }

    fn step(&self, key: &ChunkKey, is_stray: bool, now_ms: u64) -> Option<Step> {
        let Some(stray) = self.strays.get(key) else {
            let is_noted = is_stray && self.strays.len() < limits::STRAYS_KNOWN_MAX;
            return is_noted.then_some(Step::Note);
        };
        if !is_stray {
            return Some(Step::BringBack);
        }
        if self.confirmed == Confirmed::ThisRound {
            return Some(Step::Remove);
        }
        if self.is_held_back() {
            return None;
        }
        let age_ms = u128::from(now_ms.saturating_sub(stray.since_ms));
        if age_ms >= limits::STRAY_KEPT.as_millis() {
            return Some(Step::Remove);
        }
        (age_ms >= limits::STRAY_GRACE.as_millis() && !stray.is_set_aside).then_some(Step::SetAside)
    }

    fn end_round(&mut self) {
        self.counted = Some(std::mem::take(&mut self.seen));
        self.confirmed = match self.confirmed {
            Confirmed::NextRound => Confirmed::ThisRound,
            Confirmed::ThisRound | Confirmed::No => Confirmed::No,
        };
    }

    /// Strays there are: those that are known, or seen in a round if there are more.
    fn count(&self, counted: Count) -> u64 {
        let known = self.strays.len() as u64;
        let is_full = self.strays.len() >= limits::STRAYS_KNOWN_MAX;
        if is_full { counted.strays.max(known) } else { known }
    }

    fn status(&self, now_ms: u64) -> Strays {
        let counted = self.counted.unwrap_or(self.seen);
        let is_held_back = self.is_held_back() && !self.strays.is_empty();
        let first_ms = self.strays.values().map(|stray| stray.since_ms).min();
        let kept_s = limits::STRAY_KEPT.as_secs();
        let removed_in_s = first_ms
            .filter(|_| !is_held_back)
            .map(|since_ms| kept_s.saturating_sub(now_ms.saturating_sub(since_ms) / 1000));
        Strays {
            chunks: counted.chunks,
            strays: self.count(counted),
            set_aside: self.strays.values().filter(|stray| stray.is_set_aside).count() as u64,
            removed_in_s,
            is_held_back,
        }
    }
}

impl Count {
    fn is_too_many(self) -> bool {
        self.strays > limits::STRAYS_MANY
    }

    fn is_too_much(self) -> bool {
        self.is_too_many() && self.strays * limits::STRAYS_SHARE > self.chunks
    }
}

impl NativeStore {
    /// The master has looked at a page of the server's chunks, and found these to be nobody's. None
    /// at all on the page ends a round. `now_ms` is the server's uptime.
    ///
    /// # Errors
    /// What the disk says; what it says so of is tried again in the next round.
    pub fn learn_strays(&self, page: &[ChunkKey], strays: &[ChunkKey], now_ms: u64) -> Result<()> {
        let nobodys: BTreeSet<&ChunkKey> = strays.iter().collect();
        if page.is_empty() {
            lock(&self.strays).end_round();
            return Ok(());
        }
        let mut outcome = Ok(());
        for key in page {
            let is_stray = nobodys.contains(key);
            let step = {
                let mut book = lock(&self.strays);
                book.seen.chunks += 1;
                book.seen.strays += u64::from(is_stray);
                book.step(key, is_stray, now_ms)
            };
            if let Some(step) = step {
                outcome = outcome.and(self.take_step(key, step, now_ms));
            }
        }
        outcome
    }

    /// Somebody has said that all strays may go: they do in the next round, if they are still
    /// nobody's then.
    ///
    /// # Errors
    /// What the disk says, if it has to be noted that the master's data are the right ones.
    pub fn confirm_strays(&self) -> Result<()> {
        let (before, accepted) = {
            let mut book = lock(&self.strays);
            book.confirmed = Confirmed::NextRound;
            let before = book.master;
            book.master = before.accepted();
            (before, book.master)
        };
        if before.are_older { self.keep_master(accepted) } else { Ok(()) }
    }

    /// How many strays there are. `now_ms` is the server's uptime.
    #[must_use]
    pub fn strays(&self, now_ms: u64) -> Strays {
        lock(&self.strays).status(now_ms)
    }

    fn take_step(&self, key: &ChunkKey, step: Step, now_ms: u64) -> Result<()> {
        match step {
            Step::Note => self.note_stray(key, Stray { since_ms: now_ms, is_set_aside: false }),
            Step::SetAside => {
                tracing::warn!(chunk = %key, "no file refers to the chunk: it is set aside");
                self.set_aside(key)
            }
            Step::Remove => {
                tracing::warn!(chunk = %key, "no file refers to the chunk: it is removed");
                match self.delete(std::slice::from_ref(key))?.pop() {
                    Some((_, error)) => Err(error),
                    None => self.forget_stray(key),
                }
            }
            Step::BringBack => {
                // Loading it brings it back.
                drop(self.state(&self.chunk(key))?);
                self.forget_stray(key)
            }
        }
    }

    fn note_stray(&self, key: &ChunkKey, stray: Stray) -> Result<()> {
        self.index.commit_deletion(|txn| {
            txn.put(STRAYS, &encode_key(key), &encode(stray));
            Ok(())
        })?;
        lock(&self.strays).strays.insert(*key, stray);
        Ok(())
    }

    fn forget_stray(&self, key: &ChunkKey) -> Result<()> {
        self.index.commit_deletion(|txn| {
            txn.delete(STRAYS, &encode_key(key));
            Ok(())
        })?;
        lock(&self.strays).strays.remove(key);
        Ok(())
    }

    /// Moves the file of a stray. One that is in use waits for another round, and what is small enough
    /// to be in the index stays there.
    fn set_aside(&self, key: &ChunkKey) -> Result<()> {
        let Some(stray) = lock(&self.strays).strays.get(key).copied() else { return Ok(()) };
        let chunk: Arc<Chunk> = self.chunk(key);
        let (_hold, state) = self.hold_whole(&chunk)?;
        if !state.exists || state.is_dirty {
            return Ok(());
        }
        drop(state);
        // The record first: a file that is not where it should be is looked for there.
        self.note_stray(key, Stray { is_set_aside: true, ..stray })?;
        self.disk.set_aside(key)?;
        chunk.state().unload();
        Ok(())
    }

    /// Brings back the file of a chunk that was set aside.
    pub(super) fn bring_back(&self, key: &ChunkKey) -> Result<()> {
        let stray = lock(&self.strays).strays.get(key).copied();
        let Some(stray) = stray.filter(|stray| stray.is_set_aside) else { return Ok(()) };
        if self.disk.bring_back(key)? {
            tracing::warn!(chunk = %key, "the chunk is wanted after all: it is brought back");
        }
        self.note_stray(key, Stray { is_set_aside: false, ..stray })
    }

    /// Whether a chunk was set aside.
    pub(super) fn is_set_aside(&self, key: &ChunkKey) -> bool {
        lock(&self.strays).strays.get(key).is_some_and(|stray| stray.is_set_aside)
    }
}

fn encode(stray: Stray) -> Vec<u8> {
    postcard::to_extend(&stray, vec![VERSION]).expect("a number and a flag have a binary form")
}

fn decode(record: &[u8]) -> Result<Stray> {
    let damaged = || FsError::new(ErrorKind::Corrupt, "the table of strays is damaged");
    match record.split_first() {
        Some((&VERSION, stray)) => postcard::from_bytes(stray).map_err(|_| damaged()),
        _ => Err(damaged()),
    }
}

#[cfg(test)]
mod tests;
