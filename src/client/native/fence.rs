//! Telling answers that were overtaken by a change from those that still hold.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::types::Ino;

const GROUPS: usize = 64;

/// Changes that became known, counted per group of inodes: a few inodes share a count, so that a
/// change of one now and then spoils an answer about another.
#[derive(Debug)]
pub(super) struct Counts([AtomicU64; GROUPS]);

/// A moment before a question to the master. What its answer tells is kept only if no change of
/// that became known in between.
#[derive(Clone, Debug)]
pub(super) struct Fence {
    /// Changes of names in directories known of then, and of attributes. Of all groups: which inode
    /// a name stands for only the answer tells.
    names: [u64; GROUPS],
    attributes: [u64; GROUPS],
}

impl Fence {
    pub(super) fn new(names: &Counts, attributes: &Counts) -> Self {
        Self { names: names.all(), attributes: attributes.all() }
    }

    /// Changes of the names in a directory that were known of then.
    pub(super) fn names_in(&self, directory: Ino) -> u64 {
        self.names[group(directory)]
    }

    /// Whether the attributes of an inode are none that are known to have changed since.
    pub(super) fn holds_for(&self, ino: Ino, attributes: &Counts) -> bool {
        self.attributes[group(ino)] == attributes.of(ino)
    }
}

impl Counts {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    fn all(&self) -> [u64; GROUPS] {
        self.0.each_ref().map(|count| count.load(Ordering::Acquire))
    }

    pub(super) fn of(&self, ino: Ino) -> u64 {
        self.0[group(ino)].load(Ordering::Acquire)
    }

    /// A change became known.
    pub(super) fn note(&self, ino: Ino) {
        self.0[group(ino)].fetch_add(1, Ordering::AcqRel);
    }

    /// Anything may have changed.
    pub(super) fn note_all(&self) {
        self.0.iter().for_each(|count| {
            count.fetch_add(1, Ordering::AcqRel);
        });
    }
}

fn group(ino: Ino) -> usize {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(ino.0);
    usize::try_from(hash % GROUPS as u64).unwrap_or(0)
}
