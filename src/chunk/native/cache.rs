//! A bounded map of shared things that can be had again when they are dropped: open files, tables
//! of checksums.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use super::index::lock;

/// When the cache is full, one in this many of its entries goes at once, so that looking for the
/// oldest costs little for each.
const EVICTED_PART: usize = 8;

/// At most `max` entries, but for those that somebody else uses: they stay, because two of a kind
/// would not know of each other.
pub(super) struct Cache<K, V: ?Sized> {
    max: usize,
    entries: Mutex<Entries<K, V>>,
}

struct Entries<K, V: ?Sized> {
    map: HashMap<K, Entry<V>>,
    /// Counts uses; the time by which entries are old.
    tick: u64,
}

struct Entry<V: ?Sized> {
    value: Arc<V>,
    used: u64,
}

impl<K: Hash + Eq + Clone, V: ?Sized> Cache<K, V> {
    pub(super) fn new(max: usize) -> Self {
        Self { max, entries: Mutex::new(Entries { map: HashMap::new(), tick: 0 }) }
    }

    pub(super) fn get(&self, key: &K) -> Option<Arc<V>> {
        let mut entries = lock(&self.entries);
        entries.tick += 1;
        let tick = entries.tick;
        let entry = entries.map.get_mut(key)?;
        entry.used = tick;
        Some(Arc::clone(&entry.value))
    }

    /// The entry under a key; `value`, if there is none yet.
    pub(super) fn get_or_insert(&self, key: &K, value: impl FnOnce() -> Arc<V>) -> Arc<V> {
        if let Some(value) = self.get(key) {
            return value;
        }
        let value = value();
        let mut entries = lock(&self.entries);
        entries.make_room(self.max);
        let used = entries.tick;
        let entry = entries.map.entry(key.clone()).or_insert(Entry { value, used });
        Arc::clone(&entry.value)
    }

    pub(super) fn remove(&self, key: &K) {
        lock(&self.entries).map.remove(key);
    }
}

impl<K: Hash + Eq, V: ?Sized> Entries<K, V> {
    fn make_room(&mut self, max: usize) {
        if self.map.len() < max {
            return;
        }
        let is_free = |entry: &Entry<V>| Arc::strong_count(&entry.value) == 1;
        let mut ages: Vec<u64> =
            self.map.values().filter(|entry| is_free(entry)).map(|entry| entry.used).collect();
        if ages.is_empty() {
            return;
        }
        let last = (ages.len() - 1).min(max / EVICTED_PART);
        let (_, &mut oldest, _) = ages.select_nth_unstable(last);
        self.map.retain(|_, entry| entry.used > oldest || !is_free(entry));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Cache;

    #[test]
    fn the_oldest_go_and_the_used_stay() {
        let cache = Cache::new(64);
        let used = cache.get_or_insert(&0, || Arc::new(0));
        for key in 1..1000 {
            cache.get_or_insert(&key, || Arc::new(key));
        }
        assert!(Arc::ptr_eq(&used, &cache.get(&0).unwrap()));
        assert!(cache.get(&999).is_some());
        assert!(cache.get(&1).is_none());
        assert!(super::lock(&cache.entries).map.len() <= 64);
    }
}
