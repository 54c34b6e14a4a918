//! What a change waits for before it begins: its blocks, and their marks. Steps 1 and 2 of the
//! crash rule.

use std::sync::Arc;

use super::chunk::{BLOCK, Chunk, Hold, State};
use super::read::block_of;
use super::record::Head;
use super::sum::Sum;
use super::version::{Standing, standing};
use super::{NativeStore, record};
use crate::error::Result;
use crate::types::{ChunkKey, ChunkVersion, Extent};

/// A block that is about to change, from this offset in the chunk on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Touched {
    pub(super) block: usize,
    pub(super) from: u64,
}

impl Touched {
    /// The blocks of a range.
    pub(super) fn range(from: u64, to: u64) -> impl Iterator<Item = Self> {
        let blocks = if from < to { block_of(from)..block_of(to - 1) + 1 } else { 0..0 };
        blocks.map(move |block| Self { block, from: from.max(block as u64 * BLOCK) })
    }

    /// The blocks of extents, in ascending order, each once.
    fn all(extents: &[Extent]) -> Vec<Self> {
        let ranges = extents.iter().flat_map(|extent| Self::range(extent.offset, extent.end()));
        let mut all: Vec<_> = ranges.collect();
        all.sort_unstable();
        all.dedup_by_key(|touched| touched.block);
        all
    }
}

impl NativeStore {
    /// Holds the blocks of extents, with their marks on the disk; answers their sums.
    pub(super) fn begin_write<'a>(
        &self,
        chunk: &'a Arc<Chunk>,
        at: &ChunkVersion,
        extents: &[Extent],
    ) -> Result<(Hold<'a>, Vec<Sum>)> {
        let touched = Touched::all(extents);
        loop {
            let blocks: Vec<_> = touched.iter().map(|touched| touched.block).collect();
            let (hold, state) = self.hold_blocks(chunk, &blocks)?;
            let standing = standing(&state, &chunk.key, at)?;
            if standing == Standing::AsMeant {
                state.check_gaps(&chunk.key, extents)?;
            }
            let sums: Vec<Sum> = touched.iter().map(|touched| state.sum(touched.block)).collect();
            let clean = touched.iter().zip(&sums).filter(|(touched, _)| state.needs_mark(touched));
            let clean: Vec<(usize, Sum)> = clean.map(|(block, sum)| (block.block, *sum)).collect();
            drop(state);
            if standing == Standing::AsMeant {
                for (block, sum) in kept_in_part(clean, extents) {
                    self.read_held(chunk, block, sum)?;
                }
                self.mark(chunk, &hold, &touched)?;
                return Ok((hold, sums));
            }
            drop(hold);
            self.begin_whole_or_make(chunk, at)?;
        }
    }

    /// Whether a write would be the first one since a sync to one of its blocks.
    pub(super) fn has_unmarked(&self, key: &ChunkKey, extents: &[Extent]) -> bool {
        let chunk = self.chunk(key);
        let Ok(state) = self.state(&chunk) else { return true };
        let touched = Touched::all(extents);
        let needs_mark = touched.iter().any(|touched| state.needs_mark(touched));
        needs_mark || state.exists && self.head_to_open(&state, &touched).is_some()
    }

    /// Gets the marks of blocks onto the disk that are about to change. The caller holds them.
    pub(super) fn mark(&self, chunk: &Arc<Chunk>, _: &Hold<'_>, touched: &[Touched]) -> Result<()> {
        let mut state = chunk.state();
        state.check_sound(&chunk.key)?;
        self.note_dirty(chunk, &mut state);
        state.is_touched = true;
        touched.iter().for_each(|touched| state.touch(touched.block));
        let unmarked = touched.iter().filter(|touched| state.needs_mark(touched));
        let unmarked: Vec<usize> = unmarked.map(|touched| touched.block).collect();
        let head = self.head_to_open(&state, touched);
        if unmarked.is_empty() && head.is_none() {
            return Ok(());
        }
        unmarked.iter().for_each(|&block| state.block_mut(block).is_marked = true);
        let marks = state.marks();
        let committed = self.index.commit(|txn| {
            record::put_marks(txn, &chunk.key, &marks);
            if let Some(head) = &head {
                record::put_head(txn, &chunk.key, head);
            }
            Ok(())
        });
        if let Some(head) = head.filter(|_| committed.is_ok()) {
            state.recorded = head;
        }
        drop(state);
        // Nobody else relies on these marks meanwhile: the blocks are held.
        committed.and_then(|commit| self.index.sync_to(commit)).inspect_err(|_| {
            let mut state = chunk.state();
            unmarked.iter().for_each(|&block| state.block_mut(block).is_marked = false);
        })
    }
}

impl NativeStore {
    /// The head of a chunk that is opened by a change behind its recorded length; `None` if it is open,
    /// or there is no such change.
    fn head_to_open(&self, state: &State, touched: &[Touched]) -> Option<Head> {
        let end = touched.last().map_or(0, |touched| (touched.block as u64 + 1) * BLOCK);
        let opens = end > state.synced_length() && state.recorded.open != Some(self.boot);
        opens.then_some(Head { open: Some(self.boot), is_torn: state.is_torn, ..state.recorded })
    }
}

/// Those of the blocks of which the extents leave something.
fn kept_in_part(mut blocks: Vec<(usize, Sum)>, extents: &[Extent]) -> Vec<(usize, Sum)> {
    for extent in extents {
        // A short extent replaces short blocks only. They are the last ones, and so there are few.
        if extent.data.len() as u64 >= BLOCK || blocks.len() <= 2 {
            blocks.retain(|(block, sum)| {
                let start = *block as u64 * BLOCK;
                start < extent.offset || extent.end() < start + sum.len() as u64
            });
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::{Sum, Touched, kept_in_part};
    use crate::types::Extent;

    fn extent(offset: u64, length: usize) -> Extent {
        Extent { offset, data: vec![0; length].into() }
    }

    #[test]
    fn every_block_is_touched_once_from_the_lowest_offset_on() {
        let extents = [extent(70_000, 10), extent(65_600, 10), extent(65_530, 10), extent(5, 0)];
        let all: Vec<_> = Touched::all(&extents).iter().map(|t| (t.block, t.from)).collect();
        assert_eq!(all, [(0, 65_530), (1, 65_536)]);
    }

    #[test]
    fn replaced_blocks_need_no_look() {
        let full = Sum::of(&[1; 65_536]);
        let blocks = vec![(0, full), (1, full), (2, full), (3, Sum::of(&[1; 10]))];
        let kept = kept_in_part(blocks, &[extent(100, 196_510)]);
        assert_eq!(kept.iter().map(|(block, _)| *block).collect::<Vec<_>>(), [0, 3]);
        assert_eq!(kept_in_part(kept, &[extent(196_608, 10)]).len(), 1);
    }
}
