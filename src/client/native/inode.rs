//! One open file: the state that all its handles in this mount share.
//!
//! Lock order: `turn`, then `state`. `turn` is held through the remote calls of one flush,
//! truncation or other change of contents, so that they come one after the other; `state` only for
//! moments, never over a call.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Notify;

use super::clean::{CleanBlocks, CleanTotal};
use super::dirty::DirtyExtents;
use super::layout::LayoutCache;
use super::lock;
use super::unsynced::Unsynced;
use crate::error::{ErrorKind, FsError};
use crate::limits;
use crate::types::{Attr, Credentials, Ino};

/// Written bytes on their way to the servers, in ascending order of offsets.
pub(super) type Flight = Arc<Vec<(u64, Bytes)>>;

/// An open file.
pub(super) struct Inode {
    pub(super) ino: Ino,
    /// Held by who changes contents at the servers.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Told of when a block that was on its way has come, or will not come.
    pub(super) arrived: Notify,
    state: Mutex<State>,
}

/// What is known of an open file, and what was written to it.
pub(super) struct State {
    /// As the master told last, with what this mount has sent since.
    pub(super) attr: Attr,
    /// Somebody else changed the file: `attr` is to be asked for again.
    pub(super) is_stale: bool,
    pub(super) dirty: DirtyExtents,
    /// When the oldest of `dirty` was written.
    pub(super) dirty_since: Option<Instant>,
    pub(super) flying: Flight,
    /// Who wrote last of `dirty`; the superuser only if nobody else did. What somebody else's write
    /// takes from the file (set-id bits) it must not be left with.
    pub(super) writer: Credentials,
    pub(super) layout: LayoutCache,
    pub(super) unsynced: Unsynced,
    pub(super) clean: CleanBlocks,
    /// Counts what changed at the servers as far as this mount knows. Bytes that were fetched
    /// while it changed may be from before or after.
    pub(super) epoch: u64,
    /// Where the reads of a sequential reader would go on, and how far to read ahead.
    pub(super) next_read: u64,
    pub(super) window: u64,
    /// Blocks that are on their way.
    pub(super) fetching: BTreeSet<u64>,
    /// Reads that followed no other.
    random_reads: u32,
    /// The last error of a flush that nobody waited for, and how many there were.
    pub(super) failure: Option<FsError>,
    pub(super) failures: u64,
    pub(super) is_flushing: bool,
    pub(super) handles: u32,
    /// Those that pass by the kernel's pages.
    pub(super) direct_handles: u32,
    /// Handles through which a shared mapping may be written to: those to read and to write.
    pub(super) mappable: u32,
    /// How often locks on the file were lost with a session.
    pub(super) lock_losses: u64,
}

impl Inode {
    /// An open file with these attributes. `clean_total` counts clean bytes over all files.
    pub(super) fn new(attr: Attr, clean_total: &Arc<CleanTotal>) -> Self {
        let state = State {
            is_stale: false,
            dirty: DirtyExtents::default(),
            dirty_since: None,
            flying: Flight::default(),
            writer: Credentials::ROOT,
            layout: LayoutCache::default(),
            unsynced: Unsynced::default(),
            clean: CleanBlocks::new(clean_total),
            epoch: 0,
            next_read: 0,
            window: 0,
            fetching: BTreeSet::new(),
            random_reads: 0,
            failure: None,
            failures: 0,
            is_flushing: false,
            handles: 0,
            direct_handles: 0,
            mappable: 0,
            lock_losses: 0,
            attr,
        };
        let (ino, turn) = (state.attr.ino, tokio::sync::Mutex::default());
        Self { ino, turn, arrived: Notify::new(), state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    /// The size with what was written here and not yet sent.
    pub(super) fn size(&self) -> u64 {
        let flying = self.flying.last().map_or(0, |(offset, data)| offset + data.len() as u64);
        self.attr.size.max(self.dirty.end()).max(flying)
    }

    /// Takes over attributes that the master told of: contents of another version are forgotten.
    pub(super) fn note_attr(&mut self, attr: Attr) {
        // An answer may be overtaken by that to a flush; versions only grow.
        if attr.data_version < self.attr.data_version {
            return;
        }
        if attr.data_version > self.attr.data_version {
            self.forget_contents();
        }
        self.attr = attr;
    }

    /// As [`Self::note_attr`]; answers what is true now, with what was written here and not yet
    /// sent.
    pub(super) fn update(&mut self, attr: Attr) -> Attr {
        self.note_attr(attr);
        Attr { size: self.size(), ..self.attr.clone() }
    }

    /// Written bytes that the servers do not have, or have not said that they do.
    pub(super) fn unsent_byte_count(&self) -> u64 {
        let flying = self.flying.iter().map(|(_, data)| data.len() as u64);
        flying.sum::<u64>() + self.dirty.byte_count()
    }

    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.flying.is_empty()
    }

    /// Takes a write.
    pub(super) fn write(&mut self, offset: u64, data: Bytes, who: &Credentials) {
        let is_first = self.dirty.is_empty();
        self.dirty.take_in(offset, data);
        self.dirty_since.get_or_insert_with(Instant::now);
        if is_first || !who.is_superuser() {
            self.writer.clone_from(who);
        }
    }

    /// What is to be sent now. The caller holds the turn.
    pub(super) fn take_off(&mut self) -> Option<Flight> {
        if self.dirty.is_empty() {
            return None;
        }
        self.dirty_since = None;
        self.flying = Arc::new(self.dirty.take());
        Some(Arc::clone(&self.flying))
    }

    /// Forgets bytes that were written here and could not be sent.
    pub(super) fn forget_written(&mut self, offset: u64, length: u64) {
        self.dirty.remove(offset, length);
        if self.dirty.is_empty() {
            self.dirty_since = None;
        }
    }

    /// The flight arrived: its bytes are at the servers.
    pub(super) fn land(&mut self) {
        let flight = std::mem::take(&mut self.flying);
        for (offset, data) in flight.iter() {
            self.clean.remove(*offset, data.len() as u64);
        }
        self.epoch += 1;
    }

    /// The flight of this writer failed: what was not overwritten since is still to be sent. Parts of
    /// it may have arrived.
    pub(super) fn turn_back(&mut self, writer: Credentials) {
        let flight = std::mem::take(&mut self.flying);
        for (offset, data) in flight.iter() {
            self.clean.remove(*offset, data.len() as u64);
            let end = offset + data.len() as u64;
            let mut at = *offset;
            let newer = self.dirty.covered(*offset, data.len() as u64);
            for (covered, length) in newer.into_iter().chain([(end, 0)]) {
                let gap = data.slice(distance(at - offset)..distance(covered - offset));
                self.dirty.write(at, &gap);
                at = covered + length;
            }
        }
        self.dirty_since.get_or_insert_with(Instant::now);
        if !writer.is_superuser() {
            self.writer = writer;
        }
        self.epoch += 1;
    }

    /// Copies what was written here over bytes that came from the servers.
    pub(super) fn overlay(&self, offset: u64, buffer: &mut [u8]) {
        for (start, data) in self.flying.iter() {
            super::copy_overlap((*start, data), (offset, buffer));
        }
        self.dirty.read_over(offset, buffer);
    }

    /// Contents changed at the servers otherwise than by a flight from here.
    pub(super) fn forget_contents(&mut self) {
        self.layout.clear();
        self.unsynced.note_all();
        self.clean.clear();
        self.epoch += 1;
    }

    /// Keeps an error of a flush that nobody waited for, until each handle has told of it.
    pub(super) fn fail(&mut self, error: FsError) {
        self.failure = Some(error);
        self.failures += 1;
    }

    /// How far to read ahead of this read: twice as far every time while reads follow each other.
    /// One block, that of the read itself, if many reads follow no other; 0 if only few do.
    pub(super) fn read_ahead(&mut self, offset: u64, length: u64) -> u64 {
        // Readahead of the kernel arrives a little out of order; that is still sequential.
        let is_next = offset.abs_diff(self.next_read) <= self.window.max(limits::READ_BLOCK_SIZE)
            && (offset == 0 || self.next_read > 0);
        self.window = match (is_next, self.window) {
            (false, _) => 0,
            (true, 0) => limits::READ_BLOCK_SIZE,
            (true, window) => (window * 2).min(limits::READ_AHEAD_MAX),
        };
        self.next_read = offset + length;
        if self.window > 0 {
            return self.window;
        }
        self.random_reads = self.random_reads.saturating_add(1);
        let keeps_all =
            self.random_reads > limits::RANDOM_READS && self.clean.keep_all(self.attr.size);
        if keeps_all { limits::READ_BLOCK_SIZE } else { 0 }
    }
}

/// Whether to try once more with places of chunks that are asked for anew: these were old, or may
/// have been, if a server does not have a chunk.
pub(super) fn may_be_old(error: &FsError, attempt: u32) -> bool {
    match error.kind() {
        ErrorKind::Stale => attempt < limits::STALE_ATTEMPTS_MAX,
        ErrorKind::Corrupt => attempt == 1,
        _ => false,
    }
}

/// A distance within a buffer in memory.
fn distance(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The error for bytes behind the largest possible offset.
pub(super) fn too_large() -> FsError {
    FsError::new(ErrorKind::FileTooLarge, "the file would be larger than is possible")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::{Inode, State};
    use crate::limits;
    use crate::types::{Attr, Credentials, Ino};

    fn contents(state: &State) -> Vec<u8> {
        let mut buffer = vec![b'.'; usize::try_from(state.size()).unwrap()];
        state.overlay(0, &mut buffer);
        buffer
    }

    #[test]
    fn a_flight_that_turns_back_does_not_hide_newer_bytes() {
        let inode = Inode::new(Attr::of_empty_file(Ino(2)), &Arc::default());
        let mut state = inode.state();
        state.write(2, Bytes::from_static(b"aaaaaa"), &Credentials::ROOT);
        state.take_off().unwrap();
        state.write(4, Bytes::from_static(b"bb"), &Credentials::ROOT);
        assert_eq!(contents(&state), b"..aabbaa");
        state.turn_back(Credentials::ROOT);
        assert_eq!(contents(&state), b"..aabbaa");
        assert_eq!(state.dirty.byte_count(), 6);
        state.take_off().unwrap();
        state.land();
        assert!(!state.is_dirty());
    }

    #[test]
    fn a_write_of_the_superuser_does_not_stand_for_one_of_somebody_else() {
        let somebody = Credentials { uid: 7, ..Credentials::ROOT };
        let inode = Inode::new(Attr::of_empty_file(Ino(2)), &Arc::default());
        let mut state = inode.state();
        state.write(0, Bytes::from_static(b"a"), &somebody);
        state.write(1, Bytes::from_static(b"b"), &Credentials::ROOT);
        assert_eq!(state.writer, somebody);
        state.take_off().unwrap();
        state.write(2, Bytes::from_static(b"c"), &Credentials::ROOT);
        assert_eq!(state.writer, Credentials::ROOT);
        state.turn_back(somebody.clone());
        assert_eq!(state.writer, somebody);
    }

    #[test]
    fn the_size_is_that_of_the_latest_contents_known() {
        let inode = Inode::new(Attr::of_empty_file(Ino(2)), &Arc::default());
        let mut state = inode.state();
        state.attr.size = 100;
        state.attr.data_version = 5;
        let told = |size, data_version| Attr { size, data_version, ..Attr::of_empty_file(Ino(2)) };
        assert_eq!(state.update(told(40, 4)).size, 100, "that was before the last write from here");
        assert_eq!(state.update(told(40, 6)).size, 40, "another mount has cut it");
        state.write(60, Bytes::from_static(b"abc"), &Credentials::ROOT);
        assert_eq!(state.update(told(40, 6)).size, 63);
    }

    #[test]
    fn only_readers_in_order_are_read_ahead_of() {
        let inode = Inode::new(Attr::of_empty_file(Ino(2)), &Arc::default());
        let mut state = inode.state();
        let windows: Vec<u64> = (0..8).map(|n| state.read_ahead(n * 4096, 4096)).collect();
        assert!(windows.is_sorted() && windows[0] > 0 && windows[7] == 8 << 20, "{windows:?}");
        assert_eq!(state.read_ahead(1 << 30, 4096), 0);
        assert_eq!(state.read_ahead(5 << 30, 4096), 0);
    }

    #[test]
    fn whole_blocks_are_for_who_comes_back() {
        let inode = Inode::new(Attr::of_empty_file(Ino(2)), &Arc::default());
        let mut state = inode.state();
        state.attr.size = 16 << 20;
        let mut read = |n: u64| state.read_ahead((n * 7 % 15) << 20, 4096);
        let first: Vec<u64> = (1..=u64::from(limits::RANDOM_READS)).map(&mut read).collect();
        assert!(first.iter().all(|window| *window == 0), "{first:?}");
        assert_eq!(read(99), limits::READ_BLOCK_SIZE);
        state.attr.size = 1 << 60;
        assert_eq!(state.read_ahead(5 << 30, 4096), 0, "there is no room for all of it");
    }
}
