//! Making, cutting and lengthening a chunk, and its version.

use std::sync::Arc;

use super::chunk::{BLOCK, Chunk, Hold};
use super::index::Commit;
use super::read::{block_of, in_memory};
use super::record::{self, Head};
use super::sum::Sum;
use super::{At, NativeStore, end_of, stale};
use crate::error::Result;
use crate::types::{ChunkKey, Cut};

impl NativeStore {
    /// Sets a chunk's length; what is new are zeros. Makes the chunk if there is none.
    ///
    /// # Errors
    /// As [`NativeStore::write`]; `Corrupt` if the last block that stays is damaged.
    pub fn truncate(&self, key: &ChunkKey, at: &At, length: u64) -> Result<()> {
        end_of(0, length)?;
        let chunk = self.chunk(key);
        let hold = self.begin_whole(&chunk, at)?;
        self.set_length(&chunk, &hold, length)
    }

    /// Makes a chunk at least so long; what is new are zeros. Makes the chunk if there is none.
    ///
    /// # Errors
    /// As [`NativeStore::truncate`].
    pub fn lengthen(&self, key: &ChunkKey, at: &At, length: u64) -> Result<()> {
        end_of(0, length)?;
        let chunk = self.chunk(key);
        let hold = self.begin_whole(&chunk, at)?;
        let is_shorter = chunk.state().length < length;
        if is_shorter { self.set_length(&chunk, &hold, length) } else { Ok(()) }
    }

    /// Makes the cuts that a chunk does not know of yet: it forgets what lies from `keep` on, and
    /// has that version. This can be repeated at any time.
    ///
    /// # Errors
    /// `NotFound` if there is no such chunk; as [`NativeStore::truncate`].
    pub fn cut(&self, key: &ChunkKey, at: &At) -> Result<()> {
        self.apply_cuts(&self.chunk(key), at)
    }

    pub(super) fn apply_cuts(&self, chunk: &Arc<Chunk>, at: &At) -> Result<()> {
        let (hold, state) = chunk.hold_whole(self.state(chunk)?);
        if !state.exists {
            return Err(super::not_found(&chunk.key));
        }
        drop(state);
        self.apply_cuts_held(chunk, &hold, at)
    }

    fn apply_cuts_held(&self, chunk: &Arc<Chunk>, hold: &Hold<'_>, at: &At) -> Result<()> {
        let mut cuts = at.cuts.clone();
        cuts.sort_unstable_by_key(|cut| cut.version);
        let known = cuts.into_iter().filter(|cut| cut.version <= at.version);
        for cut in known {
            self.apply_cut(chunk, hold, cut)?;
        }
        Ok(())
    }

    /// Holds a whole chunk at a version; makes it if there is none.
    pub(super) fn begin_whole<'a>(&self, chunk: &'a Arc<Chunk>, at: &At) -> Result<Hold<'a>> {
        let (hold, state) = chunk.hold_whole(self.state(chunk)?);
        let (exists, version) = (state.exists, state.version);
        state.check_sound(&chunk.key)?;
        drop(state);
        if exists && version > at.version {
            return Err(stale(&chunk.key, at.version, version));
        }
        if !exists || version < at.version {
            self.advance_held(chunk, &hold, at)?;
        }
        Ok(hold)
    }

    /// Makes a chunk, or takes it to a newer version, unless somebody else was faster.
    pub(super) fn advance(&self, chunk: &Arc<Chunk>, at: &At) -> Result<()> {
        self.begin_whole(chunk, at).map(drop)
    }

    fn advance_held(&self, chunk: &Arc<Chunk>, hold: &Hold<'_>, at: &At) -> Result<()> {
        if !chunk.state().exists {
            return self.make(chunk, at.version);
        }
        self.apply_cuts_held(chunk, hold, at)?;
        self.set_version(chunk, at.version)
    }

    fn make(&self, chunk: &Arc<Chunk>, version: u64) -> Result<()> {
        self.room.take(BLOCK)?;
        // A file that is there already is what a deletion left when the machine died.
        self.disk.create(&chunk.key)?.set_length(0)?;
        let mut state = chunk.state();
        let head = Head { version, ..Head::default() };
        state.head_commit = self.put_head(chunk, &head)?;
        state.recorded = head;
        state.version = version;
        state.exists = true;
        state.is_new = true;
        state.is_touched = true;
        self.note_dirty(chunk, &mut state);
        Ok(())
    }

    fn apply_cut(&self, chunk: &Arc<Chunk>, hold: &Hold<'_>, cut: Cut) -> Result<()> {
        let state = chunk.state();
        let (version, length) = (state.version, state.length);
        drop(state);
        if version >= cut.version {
            return Ok(());
        }
        if cut.keep < length {
            self.set_length(chunk, hold, cut.keep)?;
        }
        self.set_version(chunk, cut.version)
    }

    fn set_version(&self, chunk: &Arc<Chunk>, version: u64) -> Result<()> {
        let mut state = chunk.state();
        if state.version == version {
            return Ok(());
        }
        let head = Head { version, ..state.recorded };
        state.head_commit = self.put_head(chunk, &head)?;
        state.recorded = head;
        state.version = version;
        state.is_touched = true;
        self.note_dirty(chunk, &mut state);
        Ok(())
    }

    fn put_head(&self, chunk: &Chunk, head: &Head) -> Result<Commit> {
        self.index.commit(|txn| {
            record::put_head(txn, &chunk.key, head);
            Ok(())
        })
    }

    /// Cuts or lengthens a chunk. The caller holds the whole of it.
    fn set_length(&self, chunk: &Arc<Chunk>, hold: &Hold<'_>, length: u64) -> Result<()> {
        let state = chunk.state();
        let (is_cut, last, at) = (length < state.length, block_of(length), length % BLOCK);
        let sum = state.sum(last);
        drop(state);
        let file = self.file_to_write(chunk)?;
        if !is_cut {
            self.mark(chunk, hold, &[])?;
            file.set_length(length)?;
            chunk.state().length = length;
            return Ok(());
        }
        // Only a verified block tells the sum of its beginning.
        let kept = if at != 0 && sum.len() as u64 > at {
            Sum::of(&self.read_held(chunk, last, sum)?[..in_memory(at)])
        } else {
            sum
        };
        self.mark_cut(chunk, length)?;
        file.set_length(length)?;
        let mut state = chunk.state();
        state.drop_blocks(if at == 0 { last } else { last + 1 });
        if at != 0 {
            state.set_sum(last, kept);
            state.touch(last);
        }
        state.length = length;
        Ok(())
    }

    /// Gets it onto the disk that a chunk is about to be cut to this length.
    fn mark_cut(&self, chunk: &Arc<Chunk>, length: u64) -> Result<()> {
        let number = u32::try_from(length / BLOCK).expect("a chunk has few blocks");
        let mut state = chunk.state();
        state.check_sound(&chunk.key)?;
        self.note_dirty(chunk, &mut state);
        state.is_touched = true;
        state.touched_from = Some(state.touched_from.map_or(number, |from| from.min(number)));
        let is_known = state.cut.is_some_and(|cut| cut <= number);
        if is_known || length >= state.synced_length() {
            return Ok(());
        }
        let before = state.cut.replace(number);
        let marks = state.marks();
        let committed = self.index.commit(|txn| {
            record::put_marks(txn, &chunk.key, &marks);
            Ok(())
        });
        drop(state);
        let synced = committed.and_then(|commit| self.index.sync_to(commit));
        synced.inspect_err(|_| chunk.state().cut = before)
    }
}
