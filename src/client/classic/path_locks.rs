//! One task at a time for each path, within this client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

use crate::client::classic::key_path::KeyPath;

/// Locks by path. They are held while servers are asked.
///
/// Order: the tree (see `Memory`), then files, then the directories they are in; of two files the
/// one whose path sorts first. So a task that holds a lock only ever waits for one further up.
#[derive(Debug, Default)]
pub struct PathLocks {
    locks: Mutex<HashMap<KeyPath, Weak<tokio::sync::Mutex<()>>>>,
}

/// Dead entries are swept when the map has grown to this many.
const SWEEP_AT: usize = 1024;

/// Whoever has it has the path to himself.
pub type PathGuard = OwnedMutexGuard<()>;

impl PathLocks {
    /// Waits for a path.
    pub async fn lock(&self, path: &KeyPath) -> PathGuard {
        self.of(path).lock_owned().await
    }

    /// Waits for two paths.
    pub async fn lock_both(
        &self,
        one: &KeyPath,
        other: &KeyPath,
    ) -> (PathGuard, Option<PathGuard>) {
        let (first, second) = (one.min(other), one.max(other));
        let guard = self.lock(first).await;
        let second = if first == second { None } else { Some(self.lock(second).await) };
        (guard, second)
    }

    fn of(&self, path: &KeyPath) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(path).and_then(Weak::upgrade) {
            return lock;
        }
        if locks.len() >= SWEEP_AT {
            locks.retain(|_, lock| lock.strong_count() > 0);
        }
        let lock = Arc::default();
        locks.insert(path.clone(), Arc::downgrade(&lock));
        lock
    }
}
