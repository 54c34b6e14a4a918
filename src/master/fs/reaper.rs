//! Frees what nobody has open any more, and ends the sessions that were not renewed.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use super::{FileSystem, Origin, lock};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::limits;
use crate::master::namespace::{Reaped, View};
use crate::ratelimit::RateLimit;
use crate::store::{Purpose, Store};
use crate::types::Ino;

/// Orphans that are read, or freed, at a time.
const PAGE_SIZE: usize = 256;

/// The inodes that had no name when the master was started.
pub(super) fn load(store: &Store, now: Timestamp) -> Result<BTreeMap<Ino, Timestamp>> {
    let mut orphans = BTreeMap::new();
    let mut after = Ino(0);
    loop {
        let page = store.read(|txn| View::new(txn).orphans(after, PAGE_SIZE))?;
        let Some((last, _)) = page.last() else { return Ok(orphans) };
        after = *last;
        orphans.extend(page.into_iter().map(|(ino, _)| (ino, now)));
    }
}

/// Reaps from time to time, until `shutdown`.
pub async fn reap_periodically(files: Arc<FileSystem>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(limits::REAP_PERIOD) => {}
        }
        let done = block_in_place(|| files.expire_sessions().and_then(|()| files.reap()));
        if let Err(error) = done {
            tracing::warn!("files without a name stay for now: {error}");
        }
        files.tell_silent();
    }
}

/// Reserves numbers for inodes from time to time, until `shutdown`. Reaping may take longer than there
/// are any.
pub async fn keep_numbers_periodically(files: Arc<FileSystem>, shutdown: CancellationToken) {
    let limit = RateLimit::default();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(limits::NUMBERS_PERIOD) => {}
        }
        if let Err(error) = block_in_place(|| files.keep_numbers()) {
            limit.warn_line(&format!("no inode numbers could be reserved: {error}"));
        }
    }
}

impl FileSystem {
    /// Frees the orphans that no session can hold.
    fn reap(&self) -> Result<()> {
        let mut after = Ino(0);
        loop {
            let page: Vec<(Ino, Timestamp)> = {
                let orphans = lock(&self.orphans);
                let behind = orphans.range(Ino(after.0 + 1)..).take(PAGE_SIZE);
                behind.map(|(ino, since)| (*ino, *since)).collect()
            };
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = *last;
            for (ino, since) in page {
                if self.reap_one(ino, since)? {
                    lock(&self.orphans).remove(&ino);
                }
            }
        }
    }

    /// Frees an orphan if nobody can hold it, and answers whether it is gone.
    fn reap_one(&self, ino: Ino, since: Timestamp) -> Result<bool> {
        // Most have to wait: they are left out without a transaction.
        while !lock(&self.sessions).may_hold(ino, since) {
            let nobody = Origin::NOBODY;
            let reaped = self.change_for(Purpose::Deletion, nobody, |ns| {
                if lock(&self.sessions).may_hold(ino, since) {
                    return Ok(Reaped::Part);
                }
                ns.reap(ino)
            })?;
            if reaped != Reaped::Part {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
