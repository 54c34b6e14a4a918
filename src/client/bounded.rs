//! A map with a limit, for what may be forgotten.

use std::collections::HashMap;
use std::hash::Hash;

/// A map that forgets what was not used for longest, roughly: two generations, of which the older
/// is dropped when the younger is half the limit.
pub(super) struct Bounded<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    limit: usize,
    /// Counts how often a generation was forgotten.
    losses: u64,
}

impl<K: Hash + Eq + Clone, V> Bounded<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), limit, losses: 0 }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<&V> {
        if !self.old.is_empty()
            && let Some(value) = self.old.remove(key)
        {
            self.put(key.clone(), value);
        }
        self.young.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.get(key)?;
        self.young.get_mut(key)
    }

    pub(super) fn put(&mut self, key: K, value: V) {
        if !self.old.is_empty() {
            self.old.remove(&key);
        }
        self.young.insert(key, value);
        if self.young.len() * 2 > self.limit {
            self.losses += u64::from(!self.old.is_empty());
            self.old = std::mem::take(&mut self.young);
        }
    }

    pub(super) fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    /// How often something was forgotten that nobody had removed.
    pub(super) fn losses(&self) -> u64 {
        self.losses
    }
}

#[cfg(test)]
mod tests {
    use super::Bounded;

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
    fn what_is_forgotten_is_counted() {
        let mut map = Bounded::new(8);
        (0..5).for_each(|key| map.put(key, ()));
        assert_eq!(map.losses(), 0);
        (5..20).for_each(|key| map.put(key, ()));
        assert!(map.losses() > 0 && map.get(&0).is_none());
    }
}
