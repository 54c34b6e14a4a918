//! The pages of a chunk for which room was asked for, whether or not they were written to: what
//! `fallocate` has reserved counts as taken up.
//!
//! Kept in memory only. After a restart, or when the chunk has been out of use for long, what it
//! answers is what was written to it.

use super::chunk::BLOCK;
use super::read::{block_of, in_memory};

/// Room is given in units of so many bytes.
const PAGE: u64 = 4096;

/// For every block a bit for each of its pages.
#[derive(Debug, Default)]
pub(super) struct Reserved(Vec<u16>);

const _: () = assert!(BLOCK / PAGE == u16::BITS as u64, "a block's pages have a bit each");

impl Reserved {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes that a range has room, with the whole of the pages that it begins and ends in.
    pub(super) fn add(&mut self, offset: u64, length: u64) {
        if length == 0 {
            return;
        }
        let (from, to) = (offset / PAGE, (offset + length).div_ceil(PAGE));
        self.0.resize(self.0.len().max(block_of((to - 1) * PAGE) + 1), 0);
        (from..to).for_each(|page| self.set(page, true));
    }

    /// Notes that the room of a range was given back, as far as it covers whole pages.
    pub(super) fn remove(&mut self, offset: u64, end: u64) {
        let last = self.0.len() as u64 * (BLOCK / PAGE);
        let (from, to) = (offset.div_ceil(PAGE), (end / PAGE).min(last));
        (from..to).for_each(|page| self.set(page, false));
        let is_used = |pages: &u16| *pages != 0;
        self.0.truncate(self.0.iter().rposition(is_used).map_or(0, |last| last + 1));
    }

    /// Bytes reserved in a block.
    pub(super) fn in_block(&self, block: usize) -> u64 {
        self.0.get(block).map_or(0, |pages| u64::from(pages.count_ones()) * PAGE)
    }

    /// Behind this offset nothing is reserved.
    pub(super) fn end(&self) -> u64 {
        self.0.len() as u64 * BLOCK
    }

    /// Blocks up to the last one with room in it.
    pub(super) fn block_count(&self) -> usize {
        self.0.len()
    }

    fn set(&mut self, page: u64, is_reserved: bool) {
        let bit = 1_u16 << (page % u64::from(u16::BITS));
        let pages = &mut self.0[in_memory(page / u64::from(u16::BITS))];
        *pages = if is_reserved { *pages | bit } else { *pages & !bit };
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, PAGE, Reserved};

    #[test]
    fn whole_pages_come_and_go() {
        let mut reserved = Reserved::default();
        let sum = |reserved: &Reserved| {
            (0..reserved.block_count()).map(|block| reserved.in_block(block)).sum::<u64>()
        };
        reserved.add(PAGE - 1, 2);
        assert_eq!((sum(&reserved), reserved.block_count()), (2 * PAGE, 1));
        reserved.add(0, PAGE + 1);
        assert_eq!(sum(&reserved), 2 * PAGE, "they were reserved before");
        reserved.add(3 * BLOCK - 1, 2);
        assert_eq!((sum(&reserved), reserved.block_count()), (4 * PAGE, 4));
        reserved.remove(1, 3 * BLOCK + PAGE - 1);
        assert_eq!(sum(&reserved), 2 * PAGE, "the first and the last are not covered");
        reserved.remove(0, u64::MAX);
        assert!(reserved.is_empty());
    }
}
