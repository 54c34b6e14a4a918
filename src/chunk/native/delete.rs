//! Deleting chunks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::chunk::{Chunk, Hold};
use super::index::lock;
use super::{NativeStore, record};
use crate::error::{FsError, Result};
use crate::types::ChunkKey;

/// Chunks that could not be deleted, and why.
pub type Kept = Vec<(ChunkKey, FsError)>;

impl NativeStore {
    /// Deletes chunks; those that are not here are deleted already. When it returns, that is on
    /// the disk. One that cannot be deleted keeps none of the others: these are answered.
    ///
    /// # Errors
    /// What the disk says. If it says so of a file, its chunk is deleted all the same, and the file
    /// is removed after the next start.
    pub fn delete(&self, keys: &[ChunkKey]) -> Result<Kept> {
        let mut chunks: Vec<_> = keys.iter().map(|key| self.chunk(key)).collect();
        // Everybody who takes several turns takes them in this order, and before any hold.
        chunks.sort_unstable_by_key(|chunk| chunk.key);
        chunks.dedup_by_key(|chunk| chunk.key);
        let _turns: Vec<_> = chunks.iter().map(|chunk| lock(&chunk.turn)).collect();
        let (mut held, mut kept) = (Vec::with_capacity(chunks.len()), Vec::new());
        for chunk in &chunks {
            match self.hold_whole(chunk) {
                Ok((hold, state)) => {
                    let exists = state.exists;
                    // A hold ends with the state locked.
                    drop(state);
                    if exists {
                        held.push((chunk, hold));
                    }
                }
                Err(error) => {
                    kept.push((chunk.key, error.context(chunk.key)));
                }
            }
        }
        self.delete_held(&held)?;
        Ok(kept)
    }

    fn delete_held(&self, held: &[(&Arc<Chunk>, Hold<'_>)]) -> Result<()> {
        if held.is_empty() {
            return Ok(());
        }
        let commit = self.index.commit_deletion(|txn| {
            held.iter().try_for_each(|(chunk, _)| record::delete(txn, &chunk.key))
        })?;
        // A file without a record is nobody's, a record without a file is damage: so the record
        // goes first, and for good.
        self.index.sync_to(commit)?;
        let mut result = Ok(());
        for (chunk, _) in held {
            let mut state = chunk.state();
            lock(&self.dirty).remove(&chunk.key);
            lock(&self.strays).forget(&chunk.key);
            self.recorded_held.fetch_sub(state.recorded.held, Ordering::Relaxed);
            state.forget();
            drop(state);
            result = result.and(self.disk.remove(&chunk.key));
        }
        Ok(result?)
    }

    /// Removes the file of a chunk, if there is no such chunk.
    pub(super) fn remove_orphan(&self, key: &ChunkKey) -> Result<()> {
        let chunk = self.chunk(key);
        let (_hold, state) = self.hold_whole(&chunk)?;
        if !state.exists {
            drop(state);
            self.disk.remove(key)?;
        }
        Ok(())
    }
}
