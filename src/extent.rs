//! Pure arithmetic on byte ranges: how a range of a file falls into chunks.

use crate::limits::CHUNK_SIZE;

/// A part of one chunk that a range of a file covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPart {
    /// Which chunk of the file, from 0.
    pub index: u32,
    /// First byte within the chunk.
    pub offset: u64,
    /// Number of bytes, at least 1.
    pub length: u64,
}

/// The index of the chunk that holds a byte of a file.
///
/// Offsets are below [`crate::limits::FILE_SIZE_MAX`], so the index fits.
#[must_use]
pub fn chunk_index(offset: u64) -> u32 {
    u32::try_from(offset / CHUNK_SIZE).unwrap_or(u32::MAX)
}

/// Cuts a range of a file at the borders of its chunks, in ascending order.
pub fn chunk_parts(offset: u64, length: u64) -> impl Iterator<Item = ChunkPart> {
    let end = offset.saturating_add(length);
    let mut at = offset;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let within = at % CHUNK_SIZE;
        let part = ChunkPart {
            index: chunk_index(at),
            offset: within,
            length: (CHUNK_SIZE - within).min(end - at),
        };
        at += part.length;
        Some(part)
    })
}

/// How many chunks a file of this size can have.
#[must_use]
pub fn chunk_count(size: u64) -> u32 {
    u32::try_from(size.div_ceil(CHUNK_SIZE)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{ChunkPart, chunk_count, chunk_parts};
    use crate::limits::CHUNK_SIZE;
    use proptest::prelude::*;

    #[test]
    fn a_range_over_a_border_falls_into_two_chunks() {
        let parts: Vec<_> = chunk_parts(CHUNK_SIZE - 1, 3).collect();
        let expected = [
            ChunkPart { index: 0, offset: CHUNK_SIZE - 1, length: 1 },
            ChunkPart { index: 1, offset: 0, length: 2 },
        ];
        assert_eq!(parts, expected);
        assert_eq!(chunk_parts(5, 0).count(), 0);
        assert_eq!([0, 1, CHUNK_SIZE, CHUNK_SIZE + 1].map(chunk_count), [0, 1, 1, 2]);
    }

    proptest! {
        #[test]
        fn parts_cover_the_range_without_gap_or_overlap(offset in 0..1_u64 << 40, length in 0..1_u64 << 30) {
            let mut at = offset;
            for part in chunk_parts(offset, length) {
                prop_assert_eq!(u64::from(part.index) * CHUNK_SIZE + part.offset, at);
                prop_assert!(part.length > 0 && part.offset + part.length <= CHUNK_SIZE);
                at += part.length;
            }
            prop_assert_eq!(at, offset + length);
        }
    }
}
