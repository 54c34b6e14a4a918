//! What the client remembers of names and attributes, and how long it may trust it.
//!
//! The master's event stream drops what others changed. While the stream is up, what is cached
//! holds until it is dropped; when it is down, nothing older than [`limits::MOUNT_CACHE_AGE`] is
//! used. An answer that was under way while its subject changed is not kept: that is what
//! [`Fence`] is for.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::fence::{Counts, Fence};
use super::lock;
use crate::client::bounded::Bounded;
use crate::limits;
use crate::types::{Attr, ChunkLayout, Ino, Name};

/// Names, absent names and attributes.
pub(super) struct Cache {
    attributes: Mutex<Bounded<Ino, Stamped<Attr>>>,
    /// What a name stands for, or that it is absent.
    entries: Mutex<Entries>,
    /// Extended attributes that an inode does not have.
    absent_xattrs: Mutex<Bounded<(Ino, Bytes), Stamped<u64>>>,
    /// Directories of which every name is known.
    complete: Mutex<Bounded<Ino, Stamped<Complete>>>,
    /// Where small files are, and the version of their contents that was there.
    places: Mutex<Bounded<Ino, Place>>,
    /// The version of the contents that the kernel's page cache is of.
    pages: Mutex<Bounded<Ino, u64>>,
    /// Changes known of: of attributes, of what else an inode has, of the names in a directory.
    attribute_changes: Counts,
    other_changes: Counts,
    name_changes: Counts,
    origin: Instant,
    /// When the event stream was last heard of, in milliseconds after `origin`.
    heard_ms: AtomicU64,
}

type Entries = Bounded<(Ino, Name), Stamped<Option<Ino>>>;

/// Where all contents of a small file are. No promise: whoever opens the file hears from the master
/// whether its contents are still of that version.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) chunk: ChunkLayout,
    pub(super) data_version: u64,
    pub(super) size: u64,
}

/// When all names of a directory were known: by the changes of names, and by what was forgotten of
/// the entries of the cache.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Complete {
    names: u64,
    losses: u64,
}

struct Stamped<T> {
    value: T,
    since: Instant,
}

impl<T> Stamped<T> {
    fn new(value: T) -> Self {
        Self { value, since: Instant::now() }
    }
}

impl Cache {
    pub(super) fn new() -> Self {
        Self {
            attributes: Mutex::new(Bounded::new(limits::INODES_CACHED_MAX)),
            entries: Mutex::new(Bounded::new(limits::ENTRIES_CACHED_MAX)),
            absent_xattrs: Mutex::new(Bounded::new(limits::INODES_CACHED_MAX)),
            pages: Mutex::new(Bounded::new(limits::INODES_CACHED_MAX)),
            places: Mutex::new(Bounded::new(limits::INODES_CACHED_MAX)),
            complete: Mutex::new(Bounded::new(limits::INODES_CACHED_MAX)),
            attribute_changes: Counts::new(),
            other_changes: Counts::new(),
            name_changes: Counts::new(),
            origin: Instant::now(),
            heard_ms: AtomicU64::new(0),
        }
    }

    /// To be taken before the master is asked about an inode, or about a name in a directory.
    pub(super) fn fence(&self) -> Fence {
        Fence::new(&self.name_changes, &self.attribute_changes)
    }

    /// The event stream answered: all that changed up to now has been dropped.
    pub(super) fn heard(&self) {
        let now_ms = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.store(now_ms, Ordering::Release);
    }

    fn is_fresh(&self, since: Instant) -> bool {
        let heard = self.origin + Duration::from_millis(self.heard_ms.load(Ordering::Acquire));
        since.max(heard).elapsed() < limits::MOUNT_CACHE_AGE
    }

    pub(super) fn attr(&self, ino: Ino) -> Option<Attr> {
        let mut attributes = lock(&self.attributes);
        let found = attributes.get(&ino)?;
        self.is_fresh(found.since).then(|| found.value.clone())
    }

    /// Keeps what the master told.
    pub(super) fn put_attr(&self, attr: &Attr, fence: &Fence) {
        let mut attributes = lock(&self.attributes);
        if fence.holds_for(attr.ino, &self.attribute_changes) {
            attributes.put(attr.ino, Stamped::new(attr.clone()));
        } else {
            attributes.remove(&attr.ino);
        }
    }

    /// Keeps what the answer to a change by this mount told. The master tells nobody else of that
    /// change here, so answers that it has overtaken are held off by this.
    pub(super) fn renew_attr(&self, attr: &Attr, fence: &Fence) {
        let mut attributes = lock(&self.attributes);
        let holds = fence.holds_for(attr.ino, &self.attribute_changes);
        self.attribute_changes.note(attr.ino);
        if holds {
            attributes.put(attr.ino, Stamped::new(attr.clone()));
        } else {
            attributes.remove(&attr.ino);
        }
    }

    /// What a name stands for: `Some(None)` if it is known to be absent.
    pub(super) fn entry(&self, parent: Ino, name: &Name) -> Option<Option<Ino>> {
        let mut entries = lock(&self.entries);
        let found = entries.get(&(parent, name.clone()))?;
        self.is_fresh(found.since).then_some(found.value)
    }

    pub(super) fn put_entry(&self, parent: Ino, name: &Name, ino: Option<Ino>, fence: &Fence) {
        let mut entries = lock(&self.entries);
        if self.name_changes.of(parent) == fence.names_in(parent) {
            entries.put((parent, name.clone()), Stamped::new(ino));
        } else {
            entries.remove(&(parent, name.clone()));
        }
    }

    /// Takes over what a change by this mount made of names, each with its directory, as the master
    /// answered; as [`Self::renew_attr`].
    pub(super) fn renew_entries(&self, made: &[(Ino, &Name, Option<Ino>)], fence: &Fence) {
        let mut entries = lock(&self.entries);
        let mut complete = lock(&self.complete);
        let before = made.iter().map(|(parent, ..)| self.name_changes.of(*parent));
        let before: Vec<u64> = before.collect();
        made.iter().for_each(|(parent, ..)| self.name_changes.note(*parent));
        for ((parent, name, ino), names) in made.iter().zip(before) {
            if names != fence.names_in(*parent) {
                entries.remove(&(*parent, (*name).clone()));
                continue;
            }
            let known = complete.get_mut(parent).filter(|known| known.value.names == names);
            entries.put((*parent, (*name).clone()), Stamped::new(*ino));
            if let Some(known) = known {
                known.value.names = self.name_changes.of(*parent);
            }
        }
    }

    /// The names that the cache has of a directory are all it has, since `fence`; `losses` is of
    /// then.
    pub(super) fn put_complete(&self, directory: Ino, fence: &Fence, losses: u64) {
        let known = Complete { names: fence.names_in(directory), losses };
        lock(&self.complete).put(directory, Stamped::new(known));
    }

    /// How often entries were forgotten that may still be true.
    pub(super) fn losses(&self) -> u64 {
        lock(&self.entries).losses()
    }

    /// Whether a name is known not to be there because all others are known.
    pub(super) fn is_left_out(&self, directory: Ino, name: &Name) -> bool {
        let mut entries = lock(&self.entries);
        // One that is too old to be used may be there all the same.
        if entries.get(&(directory, name.clone())).is_some() {
            return false;
        }
        let now = Complete { names: self.name_changes.of(directory), losses: entries.losses() };
        let mut complete = lock(&self.complete);
        let Some(known) = complete.get(&directory) else { return false };
        known.value == now && self.is_fresh(known.since)
    }

    /// Whether the inode is known not to have an extended attribute. The kernel asks for some of
    /// them again and again, before a write or a look at permissions.
    pub(super) fn is_xattr_absent(&self, ino: Ino, name: &Bytes) -> bool {
        let mut absent = lock(&self.absent_xattrs);
        let Some(found) = absent.get(&(ino, name.clone())) else { return false };
        self.is_fresh(found.since) && self.other_changes.of(ino) == found.value
    }

    /// To be taken before the master is asked for an extended attribute.
    pub(super) fn xattr_fence(&self, ino: Ino) -> u64 {
        self.other_changes.of(ino)
    }

    pub(super) fn put_absent_xattr(&self, ino: Ino, name: Bytes, fence: u64) {
        lock(&self.absent_xattrs).put((ino, name), Stamped::new(fence));
    }

    pub(super) fn drop_attr(&self, ino: Ino) {
        self.attribute_changes.note(ino);
        self.other_changes.note(ino);
        lock(&self.attributes).remove(&ino);
    }

    /// As [`Self::drop_attr`], if they are of contents before this version.
    pub(super) fn drop_attr_before(&self, ino: Ino, data_version: u64) {
        self.attribute_changes.note(ino);
        self.other_changes.note(ino);
        let mut attributes = lock(&self.attributes);
        if attributes.get(&ino).is_some_and(|known| known.value.data_version < data_version) {
            attributes.remove(&ino);
        }
    }

    /// As [`Self::drop_attr`], if nothing but the inode's own attributes changed.
    pub(super) fn drop_attr_only(&self, ino: Ino) {
        self.attribute_changes.note(ino);
        lock(&self.attributes).remove(&ino);
    }

    pub(super) fn drop_entry(&self, parent: Ino, name: &Name) {
        self.name_changes.note(parent);
        lock(&self.entries).remove(&(parent, name.clone()));
    }

    pub(super) fn drop_attributes(&self) {
        self.attribute_changes.note_all();
        self.other_changes.note_all();
        lock(&self.attributes).clear();
    }

    pub(super) fn drop_all(&self) {
        self.drop_attributes();
        self.name_changes.note_all();
        lock(&self.entries).clear();
        lock(&self.pages).clear();
    }

    /// Where a small file was when its directory was listed.
    pub(super) fn place(&self, ino: Ino) -> Option<Place> {
        lock(&self.places).get(&ino).cloned()
    }

    pub(super) fn put_place(&self, ino: Ino, place: Place) {
        lock(&self.places).put(ino, place);
    }

    /// Notes that the kernel's pages are of this version, and answers whether they were before.
    pub(super) fn swap_pages(&self, ino: Ino, data_version: u64) -> bool {
        let mut pages = lock(&self.pages);
        let is_same = pages.get(&ino) == Some(&data_version);
        pages.put(ino, data_version);
        is_same
    }

    /// Whether the kernel's pages are of this version.
    pub(super) fn has_pages(&self, ino: Ino, data_version: u64) -> bool {
        lock(&self.pages).get(&ino) == Some(&data_version)
    }

    /// As [`Self::drop_pages`], unless they are of this version or a later one; then the kernel is
    /// told. Nobody [notes](Self::swap_pages) another version in between.
    pub(super) fn drop_pages_before(&self, ino: Ino, data_version: u64, tell: impl FnOnce()) {
        let mut pages = lock(&self.pages);
        if pages.get(&ino).is_none_or(|version| *version < data_version) {
            pages.remove(&ino);
            tell();
        }
    }

    /// Our own write took the contents from one version to the next: the kernel has it already.
    pub(super) fn step_pages(&self, ino: Ino, from: u64, to: u64) {
        let mut pages = lock(&self.pages);
        if pages.get(&ino) == Some(&from) {
            pages.put(ino, to);
        }
    }

    pub(super) fn drop_pages(&self, ino: Ino) {
        lock(&self.pages).remove(&ino);
    }
}

#[cfg(test)]
mod tests {
    use super::Cache;
    use crate::types::{Ino, Name};

    #[test]
    fn an_answer_older_than_a_change_is_not_kept() {
        let cache = Cache::new();
        let name = Name::new("n").unwrap();
        let before = cache.fence();
        cache.drop_entry(Ino(7), &name);
        cache.put_entry(Ino(7), &name, Some(Ino(8)), &before);
        assert_eq!(cache.entry(Ino(7), &name), None);
        cache.put_entry(Ino(7), &name, None, &cache.fence());
        assert_eq!(cache.entry(Ino(7), &name), Some(None));
        cache.drop_all();
        assert_eq!(cache.entry(Ino(7), &name), None);
    }

    #[test]
    fn a_complete_directory_stays_so_until_others_change_it() {
        let (cache, name) = (Cache::new(), Name::new("n").unwrap());
        let fence = cache.fence();
        cache.put_complete(Ino(7), &fence, cache.losses());
        let other = Name::new("o").unwrap();
        assert!(cache.is_left_out(Ino(7), &other));
        cache.renew_entries(&[(Ino(7), &name, Some(Ino(8)))], &fence);
        assert!(cache.is_left_out(Ino(7), &other), "a change by this mount leaves nothing unknown");
        assert_eq!(cache.entry(Ino(7), &name), Some(Some(Ino(8))));
        assert!(!cache.is_left_out(Ino(7), &name));
        let fence = cache.fence();
        cache.drop_entry(Ino(7), &Name::new("m").unwrap());
        assert!(!cache.is_left_out(Ino(7), &other));
        cache.renew_entries(&[(Ino(7), &name, None)], &fence);
        assert!(
            !cache.is_left_out(Ino(7), &other),
            "the change came too late to vouch for anything"
        );
        assert_eq!(cache.entry(Ino(7), &name), None);
    }

    #[test]
    fn pages_are_known_by_their_version() {
        let cache = Cache::new();
        assert!(!cache.swap_pages(Ino(3), 5));
        assert!(cache.swap_pages(Ino(3), 5));
        cache.step_pages(Ino(3), 5, 6);
        assert!(cache.swap_pages(Ino(3), 6));
        cache.step_pages(Ino(3), 5, 9);
        assert!(!cache.swap_pages(Ino(3), 9));
    }
}
