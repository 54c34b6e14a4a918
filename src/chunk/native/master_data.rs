//! Whether the data of the master are older than they were: set back to a backup, it does not know of
//! files that there are, and takes their chunks for nobody's.
//!
//! The master tells with each heartbeat how many commits it has on its disk. That number only grows
//! while its data are the same.

use serde::{Deserialize, Serialize};

use super::NativeStore;
use super::index::lock;
use super::record::META;
use crate::error::{ErrorKind, FsError, Result};
use crate::store::ReadTxn;

/// The name of the record.
const MASTER: &[u8] = b"master";

/// The version of the record.
const VERSION: u8 = 1;

/// Commits after which the number is noted again, so that not every heartbeat writes.
const NOTED_EVERY: u64 = 1000;

/// What is known of the master's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MasterData {
    /// The most commits that it has told of.
    newest: u64,
    /// It has told of fewer since, and nobody has said that this is as it should be.
    pub(super) are_older: bool,
}

impl MasterData {
    /// # Errors
    /// `Corrupt` if the record makes no sense, and what the store says.
    pub(super) fn load(txn: &dyn ReadTxn) -> Result<Self> {
        let Some(record) = txn.get(META, MASTER)? else { return Ok(Self::default()) };
        let damaged = || FsError::new(ErrorKind::Corrupt, "what is known of the master is damaged");
        match record.split_first() {
            Some((&VERSION, data)) => postcard::from_bytes(data).map_err(|_| damaged()),
            _ => Err(damaged()),
        }
    }

    /// The same after the master has told of so many commits.
    fn after(self, commits: u64) -> Self {
        Self {
            newest: self.newest.max(commits),
            are_older: self.are_older || commits < self.newest,
        }
    }

    /// The same after somebody has said that the data of the master are the right ones.
    pub(super) fn accepted(self) -> Self {
        Self { newest: 0, are_older: false }
    }
}

impl NativeStore {
    /// The master has so many commits on its disk; 0 if it does not know.
    ///
    /// # Errors
    /// What the disk says. It counts all the same.
    pub fn see_master(&self, commits: u64) -> Result<()> {
        if commits == 0 {
            return Ok(());
        }
        let (before, now) = {
            let mut book = lock(&self.strays);
            let before = book.master;
            book.master = before.after(commits);
            (before, book.master)
        };
        if now.are_older && !before.are_older {
            tracing::warn!(
                "the data of the master are older than they were: no chunk is touched that no file \
                 refers to, until somebody says htfs gc --confirm"
            );
        }
        let is_far = now.newest / NOTED_EVERY != before.newest / NOTED_EVERY;
        if is_far || now.are_older != before.are_older { self.keep_master(now) } else { Ok(()) }
    }

    pub(super) fn keep_master(&self, data: MasterData) -> Result<()> {
        let record = postcard::to_extend(&data, vec![VERSION]).expect("a number and a flag");
        let commit = self.index.commit_deletion(|txn| {
            txn.put(META, MASTER, &record);
            Ok(())
        })?;
        self.index.sync_to(commit)
    }
}
