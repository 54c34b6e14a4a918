//! What the server holds.

use std::sync::atomic::Ordering;

use super::index::lock;
use super::record;
use super::{NativeStore, not_found};
use crate::error::Result;
use crate::limits;
use crate::types::{ChunkKey, ChunkStat, Space};

impl NativeStore {
    /// What a chunk is.
    ///
    /// # Errors
    /// `NotFound` if it is not here.
    pub fn stat(&self, key: &ChunkKey) -> Result<ChunkStat> {
        let chunk = self.chunk(key);
        let state = self.state(&chunk)?;
        if !state.exists {
            return Err(not_found(key));
        }
        Ok(ChunkStat { version: state.version, length: state.length, held: state.held })
    }

    /// The next chunks behind `after`, in the order of their keys; fewer than `limit` (at most
    /// [`limits::CHUNK_LIST_MAX`]) only at the end. Of chunks that are being written, lengths are
    /// those of the last sync.
    ///
    /// # Errors
    /// What the disk says.
    pub fn list(
        &self,
        after: Option<&ChunkKey>,
        limit: usize,
    ) -> Result<Vec<(ChunkKey, ChunkStat)>> {
        let limit = limit.min(limits::CHUNK_LIST_MAX);
        let heads = self.index.read(|txn| record::list(txn, after, limit))?;
        let stat = |head: record::Head| ChunkStat {
            version: head.version,
            length: head.length,
            held: head.held,
        };
        Ok(heads.into_iter().map(|(key, head)| (key, stat(head))).collect())
    }

    /// The server's room.
    ///
    /// # Errors
    /// What the disk says.
    pub fn space(&self) -> Result<Space> {
        let room = self.disk.room()?;
        let dirty: Vec<_> = lock(&self.dirty).values().cloned().collect();
        let changes = dirty.iter().map(|chunk| {
            let state = chunk.state();
            (state.held, state.recorded.held)
        });
        let (now, recorded) =
            changes.fold((0, 0), |(now, recorded), (n, r)| (now + n, recorded + r));
        let held = self.recorded_held.load(Ordering::Relaxed) + now;
        Ok(Space {
            total: room.total,
            free: room.free.saturating_sub(limits::DISK_RESERVE),
            held: held.saturating_sub(recorded),
        })
    }

    /// Adds up what all chunks hold.
    pub(super) fn count_held(&self) -> Result<()> {
        let mut last = None;
        loop {
            let page = self.list(last.as_ref(), limits::CHUNK_LIST_MAX)?;
            let held: u64 = page.iter().map(|(_, stat)| stat.held).sum();
            self.recorded_held.fetch_add(held, Ordering::Relaxed);
            match page.last() {
                Some((key, _)) => last = Some(*key),
                None => return Ok(()),
            }
        }
    }
}
