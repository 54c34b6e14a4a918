//! The bytes of one file that were written but not yet sent: an ordered map of extents that never
//! overlap and never touch.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

/// Written bytes by offset in the file.
///
/// Invariant: extents are not empty and do not overlap. Two small ones that would touch are one, up
/// to [`DirtyExtents::EXTENT_SIZE_MAX`] (so that appending never copies more than that).
#[derive(Debug, Default)]
pub struct DirtyExtents {
    extents: BTreeMap<u64, BytesMut>,
    byte_count: u64,
}

impl DirtyExtents {
    /// Largest extent that a touching write is appended to.
    const EXTENT_SIZE_MAX: usize = 1 << 20;

    /// Writes from this size on are extents of their own.
    const LARGE: usize = 128 << 10;

    /// Bytes held.
    #[must_use]
    pub fn byte_count(&self) -> u64 {
        self.byte_count
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// The offset behind the last byte held, 0 if there is none.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.extents.last_key_value().map_or(0, |(offset, data)| offset + data.len() as u64)
    }

    /// Takes a write as [`Self::write`] does; a large one is kept as it is, without a copy.
    pub fn take_in(&mut self, offset: u64, data: Bytes) {
        if data.len() < Self::LARGE {
            return self.write(offset, &data);
        }
        self.remove(offset, data.len() as u64);
        self.byte_count += data.len() as u64;
        let data = data.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        self.extents.insert(offset, data);
    }

    /// Takes a write: it hides what was written there before.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        if data.is_empty() || self.overwrite_within(offset, data) {
            return;
        }
        self.remove(offset, data.len() as u64);
        self.byte_count += data.len() as u64;
        if let Some((start, extent)) = self.extents.range_mut(..offset).next_back()
            && start + extent.len() as u64 == offset
            && extent.len() + data.len() <= Self::EXTENT_SIZE_MAX
        {
            extent.extend_from_slice(data);
            return;
        }
        self.extents.insert(offset, BytesMut::from(data));
    }

    /// Overwrites in place if one extent covers the whole range.
    fn overwrite_within(&mut self, offset: u64, data: &[u8]) -> bool {
        let Some((start, extent)) = self.extents.range_mut(..=offset).next_back() else {
            return false;
        };
        let Ok(from) = usize::try_from(offset - start) else { return false };
        match extent.get_mut(from..from + data.len()) {
            Some(covered) => {
                covered.copy_from_slice(data);
                true
            }
            None => false,
        }
    }

    /// Forgets the bytes of a range.
    pub fn remove(&mut self, offset: u64, length: u64) {
        let end = offset.saturating_add(length);
        self.split_at(offset);
        self.split_at(end);
        let inside: Vec<u64> = self.extents.range(offset..end).map(|(start, _)| *start).collect();
        for start in inside {
            if let Some(data) = self.extents.remove(&start) {
                self.byte_count -= data.len() as u64;
            }
        }
    }

    /// Makes sure that no extent crosses `at`.
    fn split_at(&mut self, at: u64) {
        let Some((start, extent)) = self.extents.range_mut(..at).next_back() else { return };
        let Ok(keep) = usize::try_from(at - start) else { return };
        if keep < extent.len() {
            let tail = extent.split_off(keep);
            self.extents.insert(at, tail);
        }
    }

    /// Copies what is held of a range over `buffer`, whose first byte is at `offset`.
    pub fn read_over(&self, offset: u64, buffer: &mut [u8]) {
        let end = offset + buffer.len() as u64;
        let first = self.extents.range(..=offset).next_back().map_or(offset, |(start, _)| *start);
        for (start, data) in self.extents.range(first..end) {
            let from = offset.max(*start);
            let to = end.min(start + data.len() as u64);
            if from >= to {
                continue;
            }
            let source = as_index(from - start)..as_index(to - start);
            let target = as_index(from - offset)..as_index(to - offset);
            buffer[target].copy_from_slice(&data[source]);
        }
    }

    /// The held parts of a range, as `(offset, length)`, in ascending order.
    #[must_use]
    pub fn covered(&self, offset: u64, length: u64) -> Vec<(u64, u64)> {
        let end = offset.saturating_add(length);
        let first = self.extents.range(..=offset).next_back().map_or(offset, |(start, _)| *start);
        let clip = |(start, data): (&u64, &BytesMut)| {
            let from = offset.max(*start);
            let to = end.min(start + data.len() as u64);
            (from < to).then(|| (from, to - from))
        };
        self.extents.range(first..end).filter_map(clip).collect()
    }

    /// Takes everything out, in ascending order of offsets.
    pub fn take(&mut self) -> Vec<(u64, Bytes)> {
        self.byte_count = 0;
        let extents = std::mem::take(&mut self.extents);
        extents.into_iter().map(|(offset, data)| (offset, data.freeze())).collect()
    }
}

/// A distance within an extent, which is in memory and so fits.
fn as_index(distance: u64) -> usize {
    usize::try_from(distance).expect("a distance within a buffer in memory fits a usize")
}

#[cfg(test)]
mod tests {
    use super::{DirtyExtents, as_index};
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        Write(u64, Vec<u8>),
        Remove(u64, u64),
        Take,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => (0..300_u64, prop::collection::vec(any::<u8>(), 0..60)).prop_map(|(o, d)| Op::Write(o, d)),
            2 => (0..300_u64, 0..100_u64).prop_map(|(o, l)| Op::Remove(o, l)),
            1 => Just(Op::Take),
        ]
    }

    proptest! {
        #[test]
        fn extents_agree_with_an_array_of_optional_bytes(ops in prop::collection::vec(op(), 1..40)) {
            let mut dirty = DirtyExtents::default();
            let mut model: Vec<Option<u8>> = vec![None; 512];
            for op in ops {
                match op {
                    Op::Write(offset, data) => {
                        dirty.write(offset, &data);
                        for (at, byte) in (as_index(offset)..).zip(data) {
                            model[at] = Some(byte);
                        }
                    }
                    Op::Remove(offset, length) => {
                        dirty.remove(offset, length);
                        model[as_index(offset)..as_index(offset + length)].fill(None);
                    }
                    Op::Take => {
                        for (offset, data) in dirty.take() {
                            let range = as_index(offset)..as_index(offset) + data.len();
                            let expected: Vec<_> = data.iter().copied().map(Some).collect();
                            prop_assert_eq!(&model[range.clone()], &expected[..]);
                            model[range].fill(None);
                        }
                        prop_assert!(model.iter().all(Option::is_none));
                    }
                }
                let mut buffer = vec![0; 512];
                dirty.read_over(0, &mut buffer);
                let expected: Vec<u8> = model.iter().map(|b| b.unwrap_or(0)).collect();
                prop_assert_eq!(&buffer, &expected);
                let count = model.iter().flatten().count() as u64;
                prop_assert_eq!(dirty.byte_count(), count);
                let covered: u64 = dirty.covered(0, 512).iter().map(|(_, length)| length).sum();
                prop_assert_eq!(covered, count);
                prop_assert_eq!(dirty.end(), model.iter().rposition(Option::is_some).map_or(0, |at| at as u64 + 1));
            }
        }
    }
}
