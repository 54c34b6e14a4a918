//! Unchanged contents of one open file, in blocks, for readers that go through it in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::limits;

/// Blocks of [`limits::READ_BLOCK_SIZE`] bytes by number. A shorter one has zeros behind it: what
/// lies behind the end of the file is not the business of this type.
#[derive(Debug)]
pub(super) struct CleanBlocks {
    blocks: BTreeMap<u64, Bytes>,
    byte_count: u64,
    /// Bytes that may be kept.
    limit: u64,
    total: Arc<CleanTotal>,
}

/// Bytes kept over all files of the mount.
#[derive(Debug)]
pub(super) struct CleanTotal {
    bytes: AtomicU64,
    limit: u64,
}

impl Default for CleanTotal {
    fn default() -> Self {
        let system = rustix::system::sysinfo();
        let memory = u64::from(system.mem_unit) * system.totalram;
        let (least, most) = limits::CLEAN_TOTAL_RANGE;
        let limit = (memory / limits::CLEAN_TOTAL_SHARE).clamp(least, most);
        Self { bytes: AtomicU64::new(0), limit }
    }
}

/// The number of the block with this byte.
pub(super) const fn block_of(offset: u64) -> u64 {
    offset / limits::READ_BLOCK_SIZE
}

impl CleanBlocks {
    pub(super) fn new(total: &Arc<CleanTotal>) -> Self {
        let limit = limits::CLEAN_MAX;
        Self { blocks: BTreeMap::new(), byte_count: 0, limit, total: Arc::clone(total) }
    }

    /// Keeps all blocks of a file of this size from now on, if there may be so many; answers
    /// whether it does.
    pub(super) fn keep_all(&mut self, size: u64) -> bool {
        let is_possible = size.saturating_add(limits::READ_BLOCK_SIZE) <= self.total.limit / 2;
        if is_possible {
            self.limit = self.total.limit / 2;
        }
        is_possible
    }

    fn grow(&mut self, bytes: usize) {
        self.byte_count += bytes as u64;
        self.total.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn shrink(&mut self, bytes: u64) {
        self.byte_count -= bytes;
        self.total.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn has(&self, block: u64) -> bool {
        self.blocks.contains_key(&block)
    }

    /// A range that lies in one block, without a copy.
    pub(super) fn slice(&self, offset: u64, length: u64) -> Option<Bytes> {
        let data = self.blocks.get(&block_of(offset))?;
        let from = usize::try_from(offset % limits::READ_BLOCK_SIZE).ok()?;
        let to = from.checked_add(usize::try_from(length).ok()?)?;
        (to <= data.len()).then(|| data.slice(from..to))
    }

    /// Fills a buffer of zeros that begins at `offset`, or answers false if a block is missing.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> bool {
        let end = offset + buffer.len() as u64;
        for block in block_of(offset)..=block_of(end.saturating_sub(1)) {
            let Some(data) = self.blocks.get(&block) else { return false };
            let start = block * limits::READ_BLOCK_SIZE;
            super::copy_overlap((start, data), (offset, buffer));
        }
        true
    }

    /// Keeps blocks that begin at the block border `offset`, and forgets others if they get too
    /// many: first those behind the reader, then those farthest ahead.
    pub(super) fn insert(&mut self, offset: u64, mut data: Bytes) {
        let mut block = block_of(offset);
        let newest = block;
        while !data.is_empty() {
            let size = usize::try_from(limits::READ_BLOCK_SIZE).unwrap_or(usize::MAX);
            let piece = data.split_to(size.min(data.len()));
            self.grow(piece.len());
            if let Some(replaced) = self.blocks.insert(block, piece) {
                self.shrink(replaced.len() as u64);
            }
            block += 1;
        }
        while self.byte_count > self.limit {
            let first = self.blocks.first_key_value().map(|(block, _)| *block);
            let victim = match first {
                Some(first) if first < newest => Some(first),
                _ => self.blocks.last_key_value().map(|(block, _)| *block),
            };
            let Some(victim) = victim else { break };
            self.remove_block(victim);
        }
        if self.total.bytes.load(Ordering::Relaxed) > self.total.limit {
            self.clear();
        }
    }

    fn remove_block(&mut self, block: u64) {
        if let Some(data) = self.blocks.remove(&block) {
            self.shrink(data.len() as u64);
        }
    }

    /// Forgets the blocks that a range touches.
    pub(super) fn remove(&mut self, offset: u64, length: u64) {
        let last = block_of(offset.saturating_add(length.max(1)) - 1);
        let touched: Vec<u64> =
            self.blocks.range(block_of(offset)..=last).map(|(block, _)| *block).collect();
        for block in touched {
            self.remove_block(block);
        }
    }

    pub(super) fn clear(&mut self) {
        self.blocks.clear();
        self.shrink(self.byte_count);
    }
}

impl Drop for CleanBlocks {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::CleanBlocks;
    use crate::limits::{CLEAN_MAX, READ_BLOCK_SIZE};
    use bytes::Bytes;
    use std::sync::Arc;

    #[test]
    fn blocks_are_read_over_their_borders() {
        let mut clean = CleanBlocks::new(&Arc::default());
        let size = usize::try_from(READ_BLOCK_SIZE).unwrap();
        let data: Vec<u8> = (0..size + 10).map(|at| u8::try_from(at % 251).unwrap()).collect();
        clean.insert(READ_BLOCK_SIZE, Bytes::from(data.clone()));
        let mut buffer = [0; 30];
        assert!(clean.read(2 * READ_BLOCK_SIZE - 10, &mut buffer));
        assert_eq!(&buffer[..20], &data[size - 10..]);
        assert_eq!(&buffer[20..], [0; 10]);
        assert!(!clean.read(READ_BLOCK_SIZE - 1, &mut buffer));
        clean.remove(2 * READ_BLOCK_SIZE, 1);
        assert!(clean.has(1) && !clean.has(2));
        assert_eq!(clean.byte_count, READ_BLOCK_SIZE);
    }

    #[test]
    fn no_more_is_kept_than_is_allowed() {
        let mut clean = CleanBlocks::new(&Arc::default());
        let block = Bytes::from(vec![1; usize::try_from(READ_BLOCK_SIZE).unwrap()]);
        let count = 2 * CLEAN_MAX / READ_BLOCK_SIZE;
        for number in 0..count {
            clean.insert(number * READ_BLOCK_SIZE, block.clone());
            assert!(clean.byte_count <= CLEAN_MAX);
        }
        assert!(clean.has(count - 1) && !clean.has(0));
    }
}
