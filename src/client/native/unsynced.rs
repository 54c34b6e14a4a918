//! Which chunks of an open file have changed since they were last synced: an `fsync` costs what was
//! written since the last one, not what the file has.

use std::collections::BTreeSet;

/// The chunks, by their indexes.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    /// `None` if it may be any.
    chunks: Option<BTreeSet<u64>>,
    /// Counts what became known here.
    changes: u64,
}

/// What was to be synced at the beginning of a sync.
#[derive(Debug)]
pub(super) struct Due {
    /// `None` for all there are.
    pub(super) chunks: Option<BTreeSet<u64>>,
    changes: u64,
}

impl Unsynced {
    /// This mount has changed a chunk.
    pub(super) fn note(&mut self, index: u64) {
        self.changes += 1;
        if let Some(chunks) = &mut self.chunks {
            chunks.insert(index);
        }
    }

    /// Others may have changed any.
    pub(super) fn note_all(&mut self) {
        self.changes += 1;
        self.chunks = None;
    }

    /// What a sync that begins now has to cover.
    pub(super) fn due(&self) -> Due {
        Due { chunks: self.chunks.clone(), changes: self.changes }
    }

    /// A sync has covered this. What became known meanwhile may have come too late for it.
    pub(super) fn done(&mut self, due: &Due) {
        if self.changes == due.changes {
            self.chunks = Some(BTreeSet::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Unsynced;

    #[test]
    fn a_sync_covers_what_was_known_when_it_began() {
        let mut unsynced = Unsynced::default();
        let due = unsynced.due();
        assert_eq!(due.chunks, None, "what was before is not known");
        unsynced.done(&due);
        assert_eq!(unsynced.due().chunks, Some(BTreeSet::new()));
        unsynced.note(7);
        let due = unsynced.due();
        unsynced.note(7);
        unsynced.done(&due);
        assert_eq!(unsynced.due().chunks, Some([7].into()), "it was written again meanwhile");
        let due = unsynced.due();
        unsynced.note_all();
        unsynced.done(&due);
        assert_eq!(unsynced.due().chunks, None);
    }
}
