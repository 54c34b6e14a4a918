//! Making changes durable: step 3 of the crash rule.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::chunk::{BLOCK, Chunk, State};
use super::index::lock;
use super::record::{self, Head, Marks, PAGE_BLOCKS};
use super::{NativeStore, not_found};
use crate::error::{ErrorKind, FsError, Result};
use crate::limits::{self, CHUNK_SIZE};
use crate::types::ChunkKey;

/// A chunk at the beginning of a sync.
struct Round {
    length: u64,
    is_new: bool,
    /// Somebody wants this chunk synced, it is not the turn of all.
    is_once: bool,
    /// It was synced before.
    was_synced: bool,
}

impl NativeStore {
    /// Returns when everything written to these chunks before the call is on the disk.
    ///
    /// # Errors
    /// `NotFound` if one of them is not here, `ReadOnly` or what the disk says if it failed.
    pub fn sync(&self, keys: &[ChunkKey]) -> Result<()> {
        let (mut dirty, mut heads) = (Vec::new(), Vec::new());
        for key in keys {
            let chunk = self.chunk(key);
            let state = self.state(&chunk)?;
            if !state.exists {
                return Err(not_found(key));
            }
            heads.push(state.head_commit);
            if state.is_dirty {
                drop(state);
                dirty.push(chunk);
            }
        }
        self.sync_chunks(dirty, true)?;
        heads.into_iter().max().map_or(Ok(()), |commit| self.index.sync_to(commit))
    }

    /// Returns when everything done before the call is on the disk.
    ///
    /// # Errors
    /// What the disk says, now or since the start.
    pub fn sync_all(&self) -> Result<()> {
        let chunks = lock(&self.dirty).values().cloned().collect();
        let synced = self.sync_chunks(chunks, false);
        self.index.sync()?;
        synced
    }

    /// Whether anything has changed since the last sync.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !lock(&self.dirty).is_empty() || !self.index.is_synced()
    }

    /// Syncs all of them; says of the first that failed why.
    fn sync_chunks(&self, mut chunks: Vec<Arc<Chunk>>, is_once: bool) -> Result<()> {
        match chunks.as_slice() {
            [] => Ok(()),
            [chunk] => self.sync_one(chunk, is_once),
            several if several.len() <= limits::SYNCED_SINGLY_MAX => {
                self.sync_several(several, is_once)
            }
            _ => {
                // The order in which their turns are taken.
                chunks.sort_unstable_by_key(|chunk| chunk.key);
                chunks.dedup_by_key(|chunk| chunk.key);
                self.sync_many(&chunks, is_once)
            }
        }
    }

    fn sync_one(&self, chunk: &Arc<Chunk>, is_once: bool) -> Result<()> {
        let _turn = lock(&chunk.turn);
        let Some(round) = begin(chunk, is_once)? else { return Ok(()) };
        let synced = self.sync_file(chunk, &round);
        self.finish(chunk, &round, synced)
    }

    fn sync_file(&self, chunk: &Chunk, round: &Round) -> Result<()> {
        if let Some(file) = self.disk.open(&chunk.key)? {
            file.sync()?;
        }
        if round.is_new {
            self.disk.sync_name(&chunk.key)?;
        }
        Ok(())
    }

    /// Side by side, so that the disk has something to choose from.
    fn sync_several(&self, chunks: &[Arc<Chunk>], is_once: bool) -> Result<()> {
        let next = AtomicUsize::new(0);
        let result = Mutex::new(Ok(()));
        thread::scope(|scope| {
            for _ in 0..chunks.len().min(limits::SYNC_THREADS_MAX) {
                scope.spawn(|| {
                    while let Some(chunk) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Err(error) = self.sync_one(chunk, is_once) {
                            *lock(&result) = Err(error);
                        }
                    }
                });
            }
        });
        result.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// With one sync of the whole file system.
    fn sync_many(&self, chunks: &[Arc<Chunk>], is_once: bool) -> Result<()> {
        let _turns: Vec<_> = chunks.iter().map(|chunk| lock(&chunk.turn)).collect();
        let mut result = Ok(());
        let mut begun = Vec::new();
        for chunk in chunks {
            match begin(chunk, is_once) {
                Ok(round) => begun.extend(round.map(|round| (chunk, round))),
                Err(error) => result = Err(error),
            }
        }
        let synced = self.disk.sync_all().map_err(FsError::from);
        for (chunk, round) in &begun {
            result = result.and(self.finish(chunk, round, synced.clone()));
        }
        result
    }

    /// The commit at the end of a sync.
    fn finish(&self, chunk: &Arc<Chunk>, round: &Round, synced: Result<()>) -> Result<()> {
        let mut state = chunk.state();
        if let Err(error) = synced {
            // The system may have dropped what it could not write, and would say "done" next time.
            state.is_broken = true;
            let what = format!("chunk {} may have lost changes", chunk.key);
            return Err(FsError::new(ErrorKind::Io, error.context(what).message().to_owned()));
        }
        // Whoever has synced something that was there before syncs again soon: the chunk stays open,
        // and he does not wait for the index each time.
        let stays_open = state.is_touched || round.is_once && round.was_synced;
        let open = state.recorded.open.filter(|&boot| stays_open && boot == self.boot);
        let (held, is_torn) = (state.held, state.is_torn);
        let head = Head { length: round.length, held, open, is_torn, ..state.recorded };
        let marks = marks_after(&state, round.length);
        let pages = changed_pages(&state);
        self.index.commit(|txn| {
            record::put_head(txn, &chunk.key, &head);
            record::put_marks(txn, &chunk.key, &marks);
            for &page in &pages {
                let blocks = page * PAGE_BLOCKS..(page + 1) * PAGE_BLOCKS;
                let sums: Vec<_> = blocks.map(|block| state.sum(block)).collect();
                record::put_page(txn, &chunk.key, page, &sums);
            }
            Ok(())
        })?;
        self.recorded_held.fetch_add(head.held, Ordering::Relaxed);
        self.recorded_held.fetch_sub(state.recorded.held, Ordering::Relaxed);
        state.finish_sync(head, &marks);
        // The next round of all chunks closes it.
        state.is_dirty |= open.is_some();
        state.is_new &= !round.is_new;
        if !state.is_dirty {
            lock(&self.dirty).remove(&chunk.key);
        }
        Ok(())
    }
}

/// `None` if there is nothing to sync.
fn begin(chunk: &Chunk, is_once: bool) -> Result<Option<Round>> {
    let mut state = chunk.wait_for_part(chunk.state());
    if !state.exists || !state.is_dirty {
        return Ok(None);
    }
    state.check_sound(&chunk.key)?;
    state.begin_sync();
    let (length, is_new) = (state.length, state.is_new);
    let was_synced = state.synced_length() > 0;
    Ok(Some(Round { length, is_new, is_once, was_synced }))
}

/// What has to be marked when `length` is the recorded length: all that was touched meanwhile.
fn marks_after(state: &State, length: u64) -> Marks {
    let touched = state.blocks().iter().enumerate().filter(|(_, block)| block.is_touched);
    let numbers = touched.map(|(number, _)| number).filter(|&n| n as u64 * BLOCK < length);
    Marks::new(numbers, state.touched_from)
}

/// The pages with checksums that the index does not have.
fn changed_pages(state: &State) -> Vec<usize> {
    let all = usize::try_from(CHUNK_SIZE / BLOCK).expect("few").div_ceil(PAGE_BLOCKS);
    let is_cut = |page: usize| state.cut.is_some_and(|cut| (page + 1) * PAGE_BLOCKS > cut as usize);
    let is_dirty = |page: usize| {
        let blocks = state.blocks().iter().skip(page * PAGE_BLOCKS).take(PAGE_BLOCKS);
        blocks.into_iter().any(|block| block.is_dirty)
    };
    (0..all).filter(|&page| is_cut(page) || is_dirty(page)).collect()
}
