//! One chunk in memory: its checksums, what of them is ahead of the disk, and who works on it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::index::{Commit, lock};
use super::mark::Touched;
use super::record::{Head, Marks};
use super::reserved::Reserved;
use super::sum::Sum;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits::CHECKSUM_BLOCK_SIZE;
use crate::types::ChunkKey;

/// [`CHECKSUM_BLOCK_SIZE`] as the offsets' type.
pub(super) const BLOCK: u64 = CHECKSUM_BLOCK_SIZE as u64;

/// A chunk that is in use, or was a short time ago.
///
/// Lock order: `turn`, then a [`Hold`], then `state`. Nobody waits for the disk with `state` held,
/// except while it is loaded and for commits that are only handed to the operating system.
pub(super) struct Chunk {
    pub(super) key: ChunkKey,
    state: Mutex<State>,
    /// Something that was held is free again.
    freed: Condvar,
    /// Held through a sync or a deletion: there is one at a time.
    pub(super) turn: Mutex<()>,
}

/// One block of a chunk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Block {
    /// What the file holds, once nobody holds the block.
    pub(super) sum: Sum,
    /// Changed since the last sync: `sum` may be ahead of the index.
    pub(super) is_dirty: bool,
    /// The index knows that its checksum does not count. Only then may a byte be changed that lies
    /// below [`State::synced_length`].
    pub(super) is_marked: bool,
    /// Changed, or about to be, since the sync under way began.
    pub(super) is_touched: bool,
    /// Held by a writer.
    is_busy: bool,
}

/// What is known of a chunk.
#[derive(Default)]
pub(super) struct State {
    /// Whether the rest has been filled in.
    pub(super) is_loaded: bool,
    /// Whether there is such a chunk.
    pub(super) exists: bool,
    pub(super) version: u64,
    /// In bytes; the file is as long.
    pub(super) length: u64,
    /// At least one for every block below `length`.
    blocks: Vec<Block>,
    /// Bytes in it that are no holes.
    pub(super) held: u64,
    /// Where room was asked for.
    pub(super) reserved: Reserved,
    /// As [`Head::is_torn`].
    pub(super) is_torn: bool,
    /// What the index has.
    pub(super) recorded: Head,
    /// As [`Marks::cut`]: all blocks from this one on are marked.
    pub(super) cut: Option<u32>,
    /// Where the chunk was cut since the sync under way began.
    pub(super) touched_from: Option<u32>,
    /// Anything has changed since the last sync.
    pub(super) is_dirty: bool,
    /// Anything has changed since the sync under way began.
    pub(super) is_touched: bool,
    /// The commit that made the chunk or its present version, or the end of a cut. Before it is on
    /// the disk, no sync has ended.
    pub(super) head_commit: Commit,
    /// The file was made since the last sync; its name has to be synced too.
    pub(super) is_new: bool,
    /// Syncing the file failed: what is on the disk is not known until a restart looks.
    pub(super) is_broken: bool,
    busy_blocks: usize,
    is_held_whole: bool,
    /// Those who wait for the whole chunk; they go before writers.
    pub(super) waiting_for_whole: usize,
}

impl State {
    /// The length at the last sync. What lies below it is changed only under marks.
    pub(super) fn synced_length(&self) -> u64 {
        self.recorded.length
    }

    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    pub(super) fn sum(&self, block: usize) -> Sum {
        self.blocks.get(block).map_or(Sum::HOLE, |block| block.sum)
    }

    /// A block, with those before it, all holes if they are new.
    pub(super) fn block_mut(&mut self, block: usize) -> &mut Block {
        if self.blocks.len() <= block {
            self.blocks.resize(block + 1, Block::default());
        }
        &mut self.blocks[block]
    }

    /// Says what a block is now.
    pub(super) fn set_sum(&mut self, block: usize, sum: Sum) {
        let old = std::mem::replace(&mut self.block_mut(block).sum, sum);
        self.held = self.held - old.len() as u64 + sum.len() as u64;
    }

    /// Bytes that the chunk takes up on the disk: what it holds, and what is reserved beside that.
    pub(super) fn taken(&self) -> u64 {
        if self.reserved.is_empty() {
            return self.held;
        }
        let only_reserved = (0..self.reserved.block_count()).map(|block| {
            self.reserved.in_block(block).saturating_sub(self.sum(block).len() as u64)
        });
        self.held + only_reserved.sum::<u64>()
    }

    /// Forgets the blocks from this one on.
    pub(super) fn drop_blocks(&mut self, from: usize) {
        let dropped = self.blocks.drain(from.min(self.blocks.len())..);
        self.held -= dropped.map(|block| block.sum.len() as u64).sum::<u64>();
    }

    /// Whether a change to a block would be a surprise for the index.
    pub(super) fn needs_mark(&self, touched: &Touched) -> bool {
        let block = touched.block;
        let is_marked = self.blocks.get(block).is_some_and(|block| block.is_marked)
            || self.cut.is_some_and(|cut| block >= cut as usize);
        !is_marked && touched.from < self.synced_length()
    }

    /// Notes that a block is about to change.
    pub(super) fn touch(&mut self, block: usize) {
        let block = self.block_mut(block);
        block.is_dirty = true;
        block.is_touched = true;
    }

    /// The marks that the index has, or is about to have.
    pub(super) fn marks(&self) -> Marks {
        self.marks_with_cut(self.cut)
    }

    /// The same, with this as [`Marks::cut`].
    pub(super) fn marks_with_cut(&self, cut: Option<u32>) -> Marks {
        let marked = self.blocks.iter().enumerate().filter(|(_, block)| block.is_marked);
        Marks::new(marked.map(|(number, _)| number), cut)
    }

    /// Whether changes may be made and promised.
    pub(super) fn check_sound(&self, key: &ChunkKey) -> Result<()> {
        if !self.is_broken {
            return Ok(());
        }
        let message = format!(
            "chunk {key} takes no more changes: the disk failed to keep some; restart the server"
        );
        Err(FsError::new(ErrorKind::ReadOnly, message))
    }

    /// There is no such chunk any more. Who holds it still does.
    pub(super) fn forget(&mut self) {
        *self = Self {
            is_loaded: true,
            is_held_whole: self.is_held_whole,
            waiting_for_whole: self.waiting_for_whole,
            ..Self::default()
        };
    }

    /// It has to be loaded again. Who holds it still does.
    pub(super) fn unload(&mut self) {
        self.forget();
        self.is_loaded = false;
    }

    fn is_free(&self, blocks: &[usize]) -> bool {
        let is_busy = |block: &usize| self.blocks.get(*block).is_some_and(|block| block.is_busy);
        !self.is_held_whole && self.waiting_for_whole == 0 && !blocks.iter().any(is_busy)
    }

    /// Begins a sync: from here on, changes are told apart from those that it covers.
    pub(super) fn begin_sync(&mut self) {
        self.is_touched = self.busy_blocks > 0;
        self.touched_from = None;
        for block in &mut self.blocks {
            block.is_touched = block.is_busy;
        }
    }

    /// Ends a sync, with what the index has now.
    pub(super) fn finish_sync(&mut self, head: Head, marks: &Marks) {
        self.recorded = head;
        self.cut = marks.cut;
        self.is_dirty = self.is_touched;
        for (number, block) in self.blocks.iter_mut().enumerate() {
            block.is_dirty = block.is_touched;
            block.is_marked = marks.has_bit(number);
        }
    }
}

impl Chunk {
    pub(super) fn new(key: ChunkKey) -> Self {
        Self { key, state: Mutex::default(), freed: Condvar::new(), turn: Mutex::default() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Waits until nobody else changes any of these blocks, and holds them.
    pub(super) fn hold_blocks<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        blocks: Vec<usize>,
    ) -> (Hold<'a>, MutexGuard<'a, State>) {
        while !state.is_free(&blocks) {
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        for &block in &blocks {
            state.block_mut(block).is_busy = true;
        }
        state.busy_blocks += blocks.len();
        (Hold { chunk: self, what: Held::Blocks(blocks) }, state)
    }

    /// Waits until nobody else changes anything, and holds the whole chunk.
    pub(super) fn hold_whole<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
    ) -> (Hold<'a>, MutexGuard<'a, State>) {
        state.waiting_for_whole += 1;
        while state.is_held_whole || state.busy_blocks > 0 {
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting_for_whole -= 1;
        state.is_held_whole = true;
        (Hold { chunk: self, what: Held::Whole }, state)
    }

    /// Waits until nobody holds the whole chunk.
    pub(super) fn wait_for_part<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
    ) -> MutexGuard<'a, State> {
        while state.is_held_whole {
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }
}

/// The right to change some blocks, or the whole chunk, until it is dropped. Not to be dropped
/// with the state locked.
pub(super) struct Hold<'a> {
    chunk: &'a Chunk,
    what: Held,
}

enum Held {
    Blocks(Vec<usize>),
    Whole,
}

impl Hold<'_> {
    /// The blocks, in the order they were asked for; none if the whole chunk is held.
    pub(super) fn blocks(&self) -> &[usize] {
        match &self.what {
            Held::Blocks(blocks) => blocks,
            Held::Whole => &[],
        }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut state = self.chunk.state();
        match &self.what {
            Held::Blocks(blocks) => {
                state.busy_blocks -= blocks.len();
                for &block in blocks {
                    state.block_mut(block).is_busy = false;
                }
            }
            Held::Whole => state.is_held_whole = false,
        }
        drop(state);
        self.chunk.freed.notify_all();
    }
}
