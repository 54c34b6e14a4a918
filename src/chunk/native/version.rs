//! Making a chunk, and bringing one that is behind to the version that is meant.

use std::sync::{Arc, MutexGuard};

use super::chunk::{BLOCK, Chunk, Hold, State};
use super::record::{self, Head};
use super::{NativeStore, not_found};
use crate::error::{ErrorKind, FsError, Result};
use crate::types::{ChunkKey, ChunkVersion, Cut};

/// How a chunk stands to a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has it.
    AsMeant,
    /// It has to make some cuts.
    Behind,
    /// There is no such chunk.
    Absent,
}

/// How a chunk stands to a version; `Stale` if it cannot come to it.
pub(super) fn standing(state: &State, key: &ChunkKey, at: &ChunkVersion) -> Result<Standing> {
    if !state.exists {
        return Ok(Standing::Absent);
    }
    if state.version == at.version {
        return Ok(Standing::AsMeant);
    }
    if (at.cuts_from..at.version).contains(&state.version) {
        return Ok(Standing::Behind);
    }
    let message =
        format!("chunk {key} has version {} here, the call names {}", state.version, at.version);
    Err(FsError::new(ErrorKind::Stale, message))
}

impl NativeStore {
    /// Makes the cuts that a chunk has not made yet, and answers the bytes it holds then. To a
    /// chunk that is newer nothing happens, so this can be repeated at any time.
    ///
    /// # Errors
    /// `NotFound` if there is no such chunk, `Stale` if it has missed more than the cuts; as
    /// [`NativeStore::truncate`].
    pub fn cut(&self, key: &ChunkKey, at: &ChunkVersion) -> Result<u64> {
        let chunk = self.chunk(key);
        let state = self.state(&chunk)?;
        if state.exists && state.version >= at.version {
            return Ok(state.taken());
        }
        drop(state);
        let _hold = self.begin_whole(&chunk, at)?;
        let taken = chunk.state().taken();
        Ok(taken)
    }

    /// The state of a chunk that has the version that is meant.
    pub(super) fn state_at<'a>(
        &self,
        chunk: &'a Arc<Chunk>,
        at: &ChunkVersion,
    ) -> Result<MutexGuard<'a, State>> {
        loop {
            let state = self.state(chunk)?;
            match standing(&state, &chunk.key, at)? {
                Standing::AsMeant => return Ok(state),
                Standing::Absent => return Err(not_found(&chunk.key)),
                Standing::Behind => drop(state),
            }
            self.begin_whole(chunk, at)?;
        }
    }

    /// Holds the whole of a chunk that has the version that is meant.
    pub(super) fn begin_whole<'a>(
        &self,
        chunk: &'a Arc<Chunk>,
        at: &ChunkVersion,
    ) -> Result<Hold<'a>> {
        let (hold, state) = self.hold_whole(chunk)?;
        state.check_sound(&chunk.key)?;
        let standing = standing(&state, &chunk.key, at)?;
        drop(state);
        match standing {
            Standing::AsMeant => {}
            Standing::Absent => return Err(not_found(&chunk.key)),
            Standing::Behind => {
                let mut cuts = at.cuts.clone();
                cuts.sort_unstable_by_key(|cut| cut.version);
                let known = cuts.into_iter().filter(|cut| cut.version <= at.version);
                known.into_iter().try_for_each(|cut| self.make_cut(chunk, &hold, cut))?;
                self.set_version(chunk, at.version)?;
            }
        }
        Ok(hold)
    }

    /// As [`NativeStore::begin_whole`], and makes the chunk if there is none, unless there must be.
    pub(super) fn begin_whole_or_make<'a>(
        &self,
        chunk: &'a Arc<Chunk>,
        at: &ChunkVersion,
    ) -> Result<Hold<'a>> {
        let (hold, state) = self.hold_whole(chunk)?;
        if !state.exists {
            drop(state);
            if at.must_exist {
                return Err(not_found(&chunk.key));
            }
            self.make(chunk, at.version)?;
            return Ok(hold);
        }
        drop(state);
        drop(hold);
        self.begin_whole(chunk, at)
    }

    fn make(&self, chunk: &Arc<Chunk>, version: u64) -> Result<()> {
        self.room.take(BLOCK)?;
        // A file that is there already is what a deletion left when the machine died.
        self.disk.create(&chunk.key, 0)?.set_length(0)?;
        let mut state = chunk.state();
        state.recorded.open = Some(self.boot);
        self.commit_version(chunk, &mut state, version)?;
        state.exists = true;
        state.is_new = true;
        Ok(())
    }

    fn make_cut(&self, chunk: &Arc<Chunk>, hold: &Hold<'_>, cut: Cut) -> Result<()> {
        let state = chunk.state();
        let (version, length) = (state.version, state.length);
        let reserved = state.reserved.end();
        // One that failed half-way, or one that cuts off what a power cut has taken.
        let is_begun = state.recorded.cut_to.is_some() || state.is_torn;
        drop(state);
        if version >= cut.version {
            return Ok(());
        }
        if cut.keep < length || is_begun && cut.keep == length {
            return self.shorten(chunk, hold, cut.keep, Some(cut.version));
        }
        if cut.keep < reserved {
            self.file_to_write(chunk, length)?.punch(cut.keep, reserved - cut.keep)?;
            chunk.state().reserved.remove(cut.keep, u64::MAX);
        }
        self.set_version(chunk, cut.version)
    }

    /// For good: who is told of a cut forgets it, and could not bring the chunk up to the version
    /// again.
    fn set_version(&self, chunk: &Arc<Chunk>, version: u64) -> Result<()> {
        let mut state = chunk.state();
        if state.version == version {
            return Ok(());
        }
        self.commit_version(chunk, &mut state, version)?;
        let commit = state.head_commit;
        drop(state);
        self.index.sync_to(commit)
    }

    /// Records a version, at which there is no cut to be made.
    pub(super) fn commit_version(
        &self,
        chunk: &Arc<Chunk>,
        state: &mut State,
        version: u64,
    ) -> Result<()> {
        // Open in an earlier boot, it would be torn again at the next start.
        let open = state.recorded.open.map(|_| self.boot);
        let is_torn = state.is_torn;
        let head = Head { version, cut_to: None, open, is_torn, ..state.recorded };
        self.commit_head(chunk, state, head)?;
        state.version = version;
        Ok(())
    }

    /// Records a head; the chunk's next sync waits until it is on the disk.
    fn commit_head(&self, chunk: &Arc<Chunk>, state: &mut State, head: Head) -> Result<()> {
        state.head_commit = self.index.commit(|txn| {
            record::put_head(txn, &chunk.key, &head);
            Ok(())
        })?;
        state.recorded = head;
        state.is_touched = true;
        self.note_dirty(chunk, state);
        Ok(())
    }
}
