//! From the disk into memory, and what a crash left undone.

use std::sync::{Arc, MutexGuard};

use super::NativeStore;
use super::chunk::{BLOCK, Chunk, Hold, State};
use super::disk::ChunkFile;
use super::record::{self, Recorded};
use super::sum::Sum;
use crate::error::{ErrorKind, FsError, Result};
use crate::types::ChunkKey;

impl NativeStore {
    /// A chunk's state, filled in.
    pub(super) fn state<'a>(&self, chunk: &'a Arc<Chunk>) -> Result<MutexGuard<'a, State>> {
        let mut state = chunk.state();
        if !state.is_loaded {
            self.load(chunk, &mut state)?;
        }
        Ok(state)
    }

    /// [`Chunk::hold_whole`] of a chunk whose state is filled in. It may have been set aside by
    /// whoever held it before.
    pub(super) fn hold_whole<'a>(
        &self,
        chunk: &'a Arc<Chunk>,
    ) -> Result<(Hold<'a>, MutexGuard<'a, State>)> {
        loop {
            let (hold, state) = chunk.hold_whole(self.state(chunk)?);
            if state.is_loaded {
                return Ok((hold, state));
            }
            drop(state);
            drop(hold);
        }
    }

    /// [`Chunk::hold_blocks`], likewise.
    pub(super) fn hold_blocks<'a>(
        &self,
        chunk: &'a Arc<Chunk>,
        blocks: &[usize],
    ) -> Result<(Hold<'a>, MutexGuard<'a, State>)> {
        loop {
            let (hold, state) = chunk.hold_blocks(self.state(chunk)?, blocks.to_vec());
            if state.is_loaded {
                return Ok((hold, state));
            }
            drop(state);
            drop(hold);
        }
    }

    fn load(&self, chunk: &Arc<Chunk>, state: &mut State) -> Result<()> {
        let key = &chunk.key;
        if let Some(recorded) = self.index.read(|txn| record::read(txn, key))? {
            let file = self.open_wherever(key)?;
            let recorded = self.redo_cut(key, recorded, file.as_deref())?;
            let contents = Contents::of(&recorded, file.as_deref())?;
            state.exists = true;
            state.version = recorded.head.version;
            state.length = contents.length;
            state.recorded = recorded.head;
            let open = recorded.head.open;
            state.is_torn = recorded.head.is_torn || open.is_some_and(|boot| boot != self.boot);
            // It may be as young as this, for all that is known here.
            state.head_commit = self.index.last();
            state.cut = recorded.marks.cut;
            let mut is_dirty = open.is_some()
                || contents.length != recorded.head.length
                || !recorded.marks.is_empty();
            for (number, (sum, is_recorded)) in contents.blocks.into_iter().enumerate() {
                state.set_sum(number, sum);
                let block = state.block_mut(number);
                block.is_dirty = !is_recorded;
                block.is_marked = recorded.marks.has_bit(number);
                is_dirty |= !is_recorded;
            }
            if is_dirty {
                state.is_touched = true;
                self.note_dirty(chunk, state);
            }
        }
        state.is_loaded = true;
        Ok(())
    }
}

impl NativeStore {
    /// The file of a chunk, brought back if it was set aside.
    fn open_wherever(&self, key: &ChunkKey) -> Result<Option<Arc<dyn ChunkFile>>> {
        match self.disk.open(key)? {
            None if self.is_set_aside(key) => {
                self.bring_back(key)?;
                Ok(self.disk.open(key)?)
            }
            file => Ok(file),
        }
    }

    /// Makes a cut that a crash may have prevented.
    fn redo_cut(
        &self,
        key: &ChunkKey,
        mut recorded: Recorded,
        file: Option<&dyn ChunkFile>,
    ) -> Result<Recorded> {
        let Some(length) = recorded.head.cut_to.take() else { return Ok(recorded) };
        if let Some(file) = file
            && file.length()? > length
        {
            file.set_length(length)?;
            file.sync()?;
        }
        // A sync since the cut was begun has recorded checksums of what was behind it.
        let number = u32::try_from(length / BLOCK).expect("a chunk has few blocks");
        let cut = recorded.marks.cut.map_or(number, |cut| cut.min(number));
        recorded.marks.cut = Some(cut);
        // It may have failed because the disk is full, and has to be made to free some of it.
        self.index.commit_deletion(|txn| {
            record::put_head(txn, key, &recorded.head);
            record::put_marks(txn, key, &recorded.marks);
            Ok(())
        })?;
        Ok(recorded)
    }
}

/// What a chunk holds after a start, by its record and its file.
struct Contents {
    length: u64,
    /// Each with whether its sum is the recorded one.
    blocks: Vec<(Sum, bool)>,
}

impl Contents {
    /// Believes the record wherever it counts, so that damage shows when the block is read, and
    /// the file everywhere else, so that nothing that was acknowledged is lost.
    fn of(recorded: &Recorded, file: Option<&dyn ChunkFile>) -> Result<Self> {
        let file_length = file.map_or(Ok(0), ChunkFile::length)?;
        let synced = recorded.head.length;
        // Where the record counts, the file cannot be shorter, unless it is damaged.
        let counts_to = recorded.marks.cut.map_or(synced, |cut| synced.min(u64::from(cut) * BLOCK));
        let length = file_length.max(counts_to);
        let mut blocks = Vec::new();
        for start in (0..length).step_by(usize::try_from(BLOCK).expect("a block is small")) {
            let number = blocks.len();
            let counts = start < synced && !recorded.marks.contains(number);
            let known = if counts { recorded.sum(number) } else { Sum::HOLE };
            let unknown = if counts { start.max(synced) } else { start };
            if known.len() as u64 > synced.saturating_sub(start) {
                let message = "the index of the chunks contradicts itself";
                return Err(FsError::new(ErrorKind::Corrupt, message));
            }
            let end = file_length.min(start + BLOCK);
            let data = file.map_or(Ok(Vec::new()), |file| read_data(file, unknown, end))?;
            let sum = if data.is_empty() {
                known
            } else {
                let at = usize::try_from(unknown - start).expect("within a block");
                known.write(at, &[], &data)
            };
            blocks.push((sum, counts && data.is_empty()));
        }
        Ok(Self { length, blocks })
    }
}

/// A range of a file; nothing if it is a hole.
pub(super) fn read_data(file: &dyn ChunkFile, from: u64, end: u64) -> Result<Vec<u8>> {
    if from >= end || file.next_data(from)?.is_none_or(|data| data >= end) {
        return Ok(Vec::new());
    }
    let length = usize::try_from(end - from).expect("within a block");
    Ok(file.read_at(from, length)?)
}
