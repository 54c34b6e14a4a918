//! Records of the master that are young enough to be taken for true.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::client::classic::ht_proxy::Record;
use crate::client::classic::key_path::KeyPath;
use crate::limits;

/// By path: what the master had, or that it has been removed here, and since when that is known.
#[derive(Debug, Default)]
pub struct RecordCache {
    entries: Mutex<HashMap<KeyPath, Entry>>,
}

#[derive(Debug)]
struct Entry {
    /// None for what this client removed. It only keeps an answer that is still on its way, and
    /// older, from being taken for the truth: another client may make the file anew at any time.
    record: Option<Arc<Record>>,
    known_since: Instant,
}

impl Entry {
    fn is_young(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.known_since) < limits::ATTRIBUTES_AGE_MAX
    }
}

impl RecordCache {
    /// The record of a path, if it is known and young.
    #[must_use]
    pub fn get(&self, path: &KeyPath) -> Option<Arc<Record>> {
        let now = Instant::now();
        let entries = self.entries();
        entries.get(path).filter(|entry| entry.is_young(now))?.record.clone()
    }

    /// Remembers the answer to a question that was asked at `asked`, unless something newer is
    /// known.
    pub fn insert(&self, path: &KeyPath, record: Option<Arc<Record>>, asked: Instant) {
        let mut entries = self.entries();
        if entries.len() >= limits::ATTRIBUTES_CACHED_MAX && !entries.contains_key(path) {
            let now = Instant::now();
            entries.retain(|_, entry| entry.is_young(now));
            if entries.len() >= limits::ATTRIBUTES_CACHED_MAX {
                entries.clear();
            }
        }
        let is_newer = entries.get(path).is_none_or(|known| known.known_since <= asked);
        if is_newer {
            entries.insert(path.clone(), Entry { record, known_since: asked });
        }
    }

    /// Forgets everything below a directory, and the directory.
    pub fn forget_tree(&self, dir: &KeyPath) {
        self.entries().retain(|path, _| path != dir && !path.is_below(dir));
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<KeyPath, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::RecordCache;
    use crate::client::classic::ht_proxy::Record;
    use crate::client::classic::key_path::KeyPath;
    use crate::limits;
    use crate::pickle::Attributes;
    use crate::proto::classic::Dialect;

    #[test]
    fn only_young_and_newest_answers_count() {
        let cache = RecordCache::default();
        let root = KeyPath::root().unwrap();
        let record = |size| {
            let attributes = Attributes { size, ..Attributes::default() };
            Some(Arc::new(Record { attributes, dialect: Dialect::Binary, ttl_s: 1 }))
        };
        let size = || cache.get(&root).map(|record| record.attributes.size);
        let early = Instant::now();
        let late = Instant::now();
        cache.insert(&root, record(1), late);
        assert_eq!(size(), Some(1));
        cache.insert(&root, record(2), late);
        assert_eq!(size(), Some(2));
        if early < late {
            cache.insert(&root, record(3), early);
            assert_eq!(size(), Some(2), "an answer that was asked for earlier");
        }
        cache.insert(&root, None, Instant::now());
        cache.insert(&root, record(4), late);
        assert_eq!(size(), None, "an answer from before the removal");
        let old = Instant::now().checked_sub(limits::ATTRIBUTES_AGE_MAX).unwrap();
        let other = RecordCache::default();
        other.insert(&root, record(5), old);
        assert_eq!(other.get(&root), None);
    }
}
