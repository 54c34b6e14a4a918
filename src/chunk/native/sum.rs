//! The checksum of one block, and how it changes when bytes of the block change.
//!
//! CRC32C is linear: for blocks of equal length, `crc(a) ^ crc(b)` depends on `a ^ b` only, and
//! bytes that follow act on a checksum as a matrix does. So overwriting 4 KiB takes the checksums
//! of the old and the new 4 KiB and not the whole block (measured in `benches/chunk_store.rs`).
//! Linearity also keeps damage visible: an error somewhere else in the block stays an error of the
//! new checksum, although nobody has read that place.

use std::array;
use std::sync::LazyLock;

use crc32c::{crc32c, crc32c_append, crc32c_combine};

use crate::limits::CHECKSUM_BLOCK_SIZE;

/// Log2 of the block size, in bytes.
const BLOCK_BITS: usize = CHECKSUM_BLOCK_SIZE.trailing_zeros() as usize;

/// Zeros, as many as a block has.
pub(super) static ZEROS: [u8; CHECKSUM_BLOCK_SIZE] = [0; CHECKSUM_BLOCK_SIZE];

/// What is known of a block: the CRC32C of its first `len` bytes, and that all bytes behind them
/// are zeros. The block that was never written (a hole) has `len` 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    crc: u32,
    len: u32,
}

impl Sum {
    /// A block that was never written.
    pub(super) const HOLE: Self = Self { crc: 0, len: 0 };

    /// Of a block that begins with `data` and ends in zeros.
    pub(super) fn of(data: &[u8]) -> Self {
        Self { crc: crc32c(data), len: block_len(data.len()) }
    }

    /// From its parts, as they were recorded; `None` if no block is like that.
    pub(super) fn from_parts(crc: u32, len: u32) -> Option<Self> {
        let possible = if len == 0 { crc == 0 } else { len as usize <= CHECKSUM_BLOCK_SIZE };
        possible.then_some(Self { crc, len })
    }

    /// Checksum and length, for the record.
    pub(super) fn parts(self) -> (u32, u32) {
        (self.crc, self.len)
    }

    /// Bytes that the checksum covers.
    pub(super) fn len(self) -> usize {
        self.len as usize
    }

    /// Whether the block was never written.
    pub(super) fn is_hole(self) -> bool {
        self.len == 0
    }

    /// Whether a block that begins with `data` is the one that was summed. What is missing of
    /// `data` counts as zeros; what it has behind [`Sum::len`] does not count.
    pub(super) fn matches(self, data: &[u8]) -> bool {
        let covered = &data[..data.len().min(self.len())];
        let missing = &ZEROS[..self.len() - covered.len()];
        crc32c_append(crc32c(covered), missing) == self.crc
    }

    /// After `data` was written at `at`. `old` is what was there before: the part of the range
    /// that lies within [`Sum::len`].
    pub(super) fn write(self, at: usize, old: &[u8], data: &[u8]) -> Self {
        if at == 0 && data.len() >= self.len() {
            return Self::of(data);
        }
        let padded = self.pad(at);
        let (over, behind) = data.split_at(old.len());
        padded.replace(at, old, over).append(behind)
    }

    /// Covers the zeros up to `len` as well; nothing changes if it does already.
    fn pad(self, len: usize) -> Self {
        self.append(&ZEROS[..len.saturating_sub(self.len())])
    }

    fn append(self, data: &[u8]) -> Self {
        let crc = shift(self.crc, data.len()) ^ crc32c(data);
        Self { crc, len: block_len(self.len() + data.len()) }
    }

    fn replace(self, at: usize, old: &[u8], new: &[u8]) -> Self {
        let behind = self.len() - at - new.len();
        Self { crc: self.crc ^ shift(crc32c(old) ^ crc32c(new), behind), len: self.len }
    }
}

fn block_len(len: usize) -> u32 {
    assert!(len <= CHECKSUM_BLOCK_SIZE, "a block has no {len} bytes");
    u32::try_from(len).expect("a block is small")
}

/// What becomes of a checksum when `zeros` more bytes, all 0, follow, but for the constant that
/// depends on their number only.
fn shift(crc: u32, zeros: usize) -> u32 {
    /// For every power of two up to a block: what becomes of each bit of a checksum.
    static BY_POWER: LazyLock<[[u32; 32]; BLOCK_BITS + 1]> = LazyLock::new(|| {
        array::from_fn(|power| array::from_fn(|bit| crc32c_combine(1 << bit, 0, 1 << power)))
    });
    let powers = BY_POWER.iter().enumerate().filter(|(power, _)| zeros >> power & 1 == 1);
    powers.fold(crc, |crc, (_, images)| {
        let bits = images.iter().enumerate();
        bits.fold(0, |sum, (bit, image)| sum ^ (image & (crc >> bit & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::{CHECKSUM_BLOCK_SIZE, Sum};

    /// The way of the long hand: the sum after a write, from the whole block.
    fn written(block: &mut Vec<u8>, sum: Sum, at: usize, data: &[u8]) -> Sum {
        let end = at + data.len();
        let old = block[at.min(block.len())..end.min(block.len())].to_vec();
        block.resize(block.len().max(end), 0);
        block[at..end].copy_from_slice(data);
        sum.write(at, &old, data)
    }

    proptest! {
        #[test]
        fn a_sum_follows_every_write(
            writes in prop::collection::vec(
                (0..CHECKSUM_BLOCK_SIZE, prop::collection::vec(any::<u8>(), 1..9000)), 1..8),
        ) {
            let (mut block, mut sum) = (Vec::new(), Sum::HOLE);
            for (at, mut data) in writes {
                data.truncate(CHECKSUM_BLOCK_SIZE - at);
                sum = written(&mut block, sum, at, &data);
                prop_assert_eq!(sum, Sum::of(&block));
                prop_assert!(sum.matches(&block));
            }
        }

        /// A write beside the damage does not make it good.
        #[test]
        fn damage_stays_visible(at in 0usize..60_000, flipped in 0usize..60_000, bit in 0..8u8) {
            let mut block = vec![7; 60_000];
            let mut sum = Sum::of(&block);
            let end = (at + 4096).min(block.len());
            block[flipped] ^= 1 << bit;
            sum = written(&mut block, sum, at, &vec![1; end - at]);
            prop_assert!(!sum.matches(&block));
        }
    }

    #[test]
    fn what_is_missing_of_a_block_counts_as_zeros() {
        assert!(Sum::of(&[1, 2, 0, 0]).matches(&[1, 2]));
        assert!(!Sum::of(&[1, 2, 0, 3]).matches(&[1, 2]));
        assert!(Sum::HOLE.matches(&[]));
        assert_eq!(Sum::from_parts(1, 0), None);
        assert_eq!(Sum::from_parts(0, 65_537), None);
    }
}
