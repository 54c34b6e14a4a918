//! What the client remembers of names and attributes, and how long it may trust it.
//!
//! The master's event stream drops what others changed. While the stream is up, what is cached
//! holds until it is dropped; when it is down, nothing older than [`limits::CACHE_AGE_MAX`] is
//! used. An answer that was under way while its subject changed is not kept: that is what
//! [`Fence`] is for.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::lock;
use crate::limits;
use crate::types::{Attr, Ino, Name};

/// A moment before a question to the master. What its answer tells of an inode is kept only if no
/// change of that inode became known in between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fence {
    /// Changes of the inode's group known of then.
    group: u64,
    /// Changes of anything known of then: for inodes that only the answer names.
    all: u64,
}

const FENCES: usize = 64;

/// Names, absent names and attributes.
pub(super) struct Cache {
    attributes: Mutex<Bounded<Ino, Stamped<Attr>>>,
    /// What a name stands for, or that it is absent.
    entries: Mutex<Entries>,
    /// Extended attributes that an inode does not have.
    absent_xattrs: Mutex<Bounded<(Ino, Bytes), Stamped<Fence>>>,
    /// The version of the contents that the kernel's page cache is of.
    pages: Mutex<Bounded<Ino, u64>>,
    /// Changes known of, counted per group of inodes.
    fences: [AtomicU64; FENCES],
    /// The same over all groups.
    changes: AtomicU64,
    origin: Instant,
    /// When the event stream was last heard of, in milliseconds after `origin`.
    heard_ms: AtomicU64,
}

type Entries = Bounded<(Ino, Name), Stamped<Option<Ino>>>;

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
            fences: std::array::from_fn(|_| AtomicU64::new(0)),
            changes: AtomicU64::new(0),
            origin: Instant::now(),
            heard_ms: AtomicU64::new(0),
        }
    }

    /// To be taken before the master is asked about an inode, or about a name in a directory.
    pub(super) fn fence(&self, ino: Ino) -> Fence {
        let all = self.changes.load(Ordering::Acquire);
        Fence { group: self.counter(ino).load(Ordering::Acquire), all }
    }

    /// A change of an inode, or of a name in a directory, became known.
    fn note_change(&self, ino: Ino) {
        self.counter(ino).fetch_add(1, Ordering::AcqRel);
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    fn holds(&self, ino: Ino, fence: Fence) -> bool {
        self.counter(ino).load(Ordering::Acquire) == fence.group
    }

    fn counter(&self, ino: Ino) -> &AtomicU64 {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(ino.0);
        &self.fences[usize::try_from(hash % FENCES as u64).unwrap_or(0)]
    }

    /// The event stream answered: all that changed up to now has been dropped.
    pub(super) fn heard(&self) {
        let now_ms = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.store(now_ms, Ordering::Release);
    }

    fn is_fresh(&self, since: Instant) -> bool {
        let heard = self.origin + Duration::from_millis(self.heard_ms.load(Ordering::Acquire));
        since.max(heard).elapsed() < limits::CACHE_AGE_MAX
    }

    pub(super) fn attr(&self, ino: Ino) -> Option<Attr> {
        let mut attributes = lock(&self.attributes);
        let found = attributes.get(&ino)?;
        self.is_fresh(found.since).then(|| found.value.clone())
    }

    pub(super) fn put_attr(&self, attr: &Attr, fence: Fence) {
        let mut attributes = lock(&self.attributes);
        if self.holds(attr.ino, fence) {
            attributes.put(attr.ino, Stamped::new(attr.clone()));
        } else {
            attributes.remove(&attr.ino);
        }
    }

    /// Keeps attributes of an inode that only the answer named. `fence` may be of any inode.
    pub(super) fn put_found_attr(&self, attr: &Attr, fence: Fence) {
        let mut attributes = lock(&self.attributes);
        if self.changes.load(Ordering::Acquire) == fence.all {
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

    pub(super) fn put_entry(&self, parent: Ino, name: &Name, ino: Option<Ino>, fence: Fence) {
        let mut entries = lock(&self.entries);
        if self.holds(parent, fence) {
            entries.put((parent, name.clone()), Stamped::new(ino));
        } else {
            entries.remove(&(parent, name.clone()));
        }
    }

    /// Whether the inode is known not to have an extended attribute. The kernel asks for some of
    /// them again and again, before a write or a look at permissions.
    pub(super) fn is_xattr_absent(&self, ino: Ino, name: &Bytes) -> bool {
        let mut absent = lock(&self.absent_xattrs);
        let Some(found) = absent.get(&(ino, name.clone())) else { return false };
        self.is_fresh(found.since) && self.holds(ino, found.value)
    }

    pub(super) fn put_absent_xattr(&self, ino: Ino, name: Bytes, fence: Fence) {
        lock(&self.absent_xattrs).put((ino, name), Stamped::new(fence));
    }

    pub(super) fn drop_attr(&self, ino: Ino) {
        self.note_change(ino);
        lock(&self.attributes).remove(&ino);
    }

    pub(super) fn drop_entry(&self, parent: Ino, name: &Name) {
        self.note_change(parent);
        lock(&self.entries).remove(&(parent, name.clone()));
    }

    pub(super) fn drop_attributes(&self) {
        for counter in &self.fences {
            counter.fetch_add(1, Ordering::AcqRel);
        }
        self.changes.fetch_add(1, Ordering::AcqRel);
        lock(&self.attributes).clear();
    }

    pub(super) fn drop_all(&self) {
        self.drop_attributes();
        lock(&self.entries).clear();
        lock(&self.pages).clear();
    }

    /// Notes that the kernel's pages are of this version, and answers whether they were before.
    pub(super) fn swap_pages(&self, ino: Ino, data_version: u64) -> bool {
        let mut pages = lock(&self.pages);
        let is_same = pages.get(&ino) == Some(&data_version);
        pages.put(ino, data_version);
        is_same
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

/// A map that forgets what was not used for longest, roughly: two generations, of which the older
/// is dropped when the younger is half the limit.
struct Bounded<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    limit: usize,
}

impl<K: Hash + Eq + Clone, V> Bounded<K, V> {
    fn new(limit: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), limit }
    }

    fn get(&mut self, key: &K) -> Option<&V> {
        if let Some(value) = self.old.remove(key) {
            self.put(key.clone(), value);
        }
        self.young.get(key)
    }

    fn put(&mut self, key: K, value: V) {
        self.old.remove(&key);
        self.young.insert(key, value);
        if self.young.len() * 2 > self.limit {
            self.old = std::mem::take(&mut self.young);
        }
    }

    fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{Bounded, Cache};
    use crate::types::{Ino, Name};

    #[test]
    fn a_bounded_map_keeps_what_is_used() {
        let mut map = Bounded::new(8);
        for key in 0..100 {
            map.put(key, key);
            assert!(map.get(&0).is_some(), "0 was dropped after {key}");
            assert!(map.young.len() + map.old.len() <= 8);
        }
        assert!(map.get(&50).is_none());
    }

    #[test]
    fn an_answer_older_than_a_change_is_not_kept() {
        let cache = Cache::new();
        let name = Name::new("n").unwrap();
        let before = cache.fence(Ino(7));
        cache.drop_entry(Ino(7), &name);
        cache.put_entry(Ino(7), &name, Some(Ino(8)), before);
        assert_eq!(cache.entry(Ino(7), &name), None);
        cache.put_entry(Ino(7), &name, None, cache.fence(Ino(7)));
        assert_eq!(cache.entry(Ino(7), &name), Some(None));
        cache.drop_all();
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
