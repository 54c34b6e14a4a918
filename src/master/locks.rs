//! The locks on files, of all clients: byte ranges as with `fcntl(2)`, whole files as with
//! `flock(2)`. Pure. The two kinds never meet, as on Linux.
//!
//! A lock belongs to an *owner* within a session: a process for `fcntl`, an open file for `flock`.
//! An owner's own locks never stand in its way: a new one replaces what it covers of the old ones,
//! which are cut, split and joined, so that each byte has at most one lock of an owner.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::fs::SessionId;
use crate::proto::session::{Lock, LockKind};
use crate::types::Ino;

/// A lock with the session that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    session: SessionId,
    lock: Lock,
}

/// A request that waits.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    ino: Ino,
    held: Held,
}

/// Names a request that waits: its session, its owner, and a number.
pub type Ticket = (SessionId, u64, u64);

/// All locks.
#[derive(Debug, Default)]
pub struct Locks {
    inodes: HashMap<Ino, Vec<Held>>,
    /// How many ranges a session has locked, by inode.
    sessions: HashMap<SessionId, BTreeMap<Ino, usize>>,
    waiting: BTreeMap<Ticket, Wanted>,
    last_ticket: u64,
}

impl Held {
    fn is_of_same_owner(&self, other: &Self) -> bool {
        self.session == other.session
            && self.lock.owner == other.lock.owner
            && self.lock.is_flock == other.lock.is_flock
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.lock.start <= other.lock.end && other.lock.start <= self.lock.end
    }

    /// Whether the two cannot be held at once.
    fn conflicts(&self, other: &Self) -> bool {
        let is_exclusive = self.lock.kind == LockKind::Write || other.lock.kind == LockKind::Write;
        is_exclusive
            && self.lock.kind != LockKind::Unlock
            && other.lock.kind != LockKind::Unlock
            && self.lock.is_flock == other.lock.is_flock
            && !self.is_of_same_owner(other)
            && self.overlaps(other)
    }

    fn with_range(mut self, start: u64, end: u64) -> Self {
        self.lock.start = start;
        self.lock.end = end;
        self
    }
}

impl Locks {
    /// Sets or clears a lock. Answers whether that is done; if not, another's stands in the way.
    ///
    /// # Errors
    /// `InvalidArgument` for a range that ends before it begins; `NoLocks` if there are too many.
    pub fn set(&mut self, session: SessionId, ino: Ino, lock: Lock) -> Result<bool> {
        let wanted = Held { session, lock: normal(lock)? };
        let locks = self.inodes.entry(ino).or_default();
        if locks.iter().any(|held| held.conflicts(&wanted)) {
            // flock(2): who changes its lock lets go of the old one first. Otherwise two readers
            // who both want to write would wait for each other for ever.
            if wanted.lock.is_flock {
                locks.retain(|held| !held.is_of_same_owner(&wanted));
            }
            self.count(session, ino);
            return Ok(false);
        }
        let changed = replaced(locks, wanted);
        let is_growing = changed.len() > locks.len();
        if is_growing && changed.len() > limits::LOCKS_PER_INODE_MAX {
            return Err(too_many());
        }
        if is_growing && self.count_of(session) + 2 > limits::LOCKS_PER_SESSION_MAX {
            return Err(too_many());
        }
        self.inodes.insert(ino, changed);
        self.count(session, ino);
        Ok(true)
    }

    /// The lock that stands in the way of one, if any: the one that begins first.
    ///
    /// # Errors
    /// `InvalidArgument` as for [`Locks::set`].
    pub fn conflict(&self, session: SessionId, ino: Ino, lock: Lock) -> Result<Option<Lock>> {
        let wanted = Held { session, lock: normal(lock)? };
        let in_the_way = self.blockers(ino, wanted).map(|held| held.lock);
        Ok(in_the_way.min_by_key(|lock| lock.start))
    }

    /// Notes that somebody waits for a lock, until [`Locks::end_wait`].
    ///
    /// # Errors
    /// `Deadlock` if whoever stands in the way waits, maybe through others, for the asker; only for
    /// locks of `fcntl`, as on Linux.
    pub fn begin_wait(&mut self, session: SessionId, ino: Ino, lock: Lock) -> Result<Ticket> {
        let wanted = Wanted { ino, held: Held { session, lock: normal(lock)? } };
        if !lock.is_flock && self.is_deadlock(wanted) {
            let message = "whoever has the lock waits for one of the caller's own";
            return Err(FsError::new(ErrorKind::Deadlock, message));
        }
        self.last_ticket += 1;
        let ticket = (session, lock.owner, self.last_ticket);
        self.waiting.insert(ticket, wanted);
        Ok(ticket)
    }

    /// Nobody waits for that any more.
    pub fn end_wait(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }

    /// Frees all locks of a session, and answers where it had some.
    pub fn release(&mut self, session: SessionId) -> Vec<Ino> {
        let inodes = self.sessions.remove(&session).unwrap_or_default();
        for ino in inodes.keys() {
            if let Some(locks) = self.inodes.get_mut(ino) {
                locks.retain(|held| held.session != session);
                if locks.is_empty() {
                    self.inodes.remove(ino);
                }
            }
        }
        inodes.into_keys().collect()
    }

    /// The sessions that have locks.
    #[must_use]
    pub fn holders(&self) -> Vec<SessionId> {
        self.sessions.keys().copied().collect()
    }

    /// The locks that a session has on an inode, to be kept.
    #[must_use]
    pub fn of(&self, session: SessionId, ino: Ino) -> Vec<Lock> {
        let locks = self.inodes.get(&ino).into_iter().flatten();
        locks.filter(|held| held.session == session).map(|held| held.lock).collect()
    }

    /// Puts back what [`Locks::of`] said, in the place of what the session has now.
    pub fn restore(&mut self, session: SessionId, ino: Ino, kept: &[Lock]) {
        let locks = self.inodes.entry(ino).or_default();
        locks.retain(|held| held.session != session);
        locks.extend(kept.iter().map(|lock| Held { session, lock: *lock }));
        self.count(session, ino);
    }

    fn blockers(&self, ino: Ino, wanted: Held) -> impl Iterator<Item = &Held> {
        let locks = self.inodes.get(&ino).into_iter().flatten();
        locks.filter(move |held| held.conflicts(&wanted))
    }

    /// Whether those in the way of a request wait for its owner. Looks at a bounded number of
    /// requests: a longer circle ends when the time of one of its waits is over.
    fn is_deadlock(&self, wanted: Wanted) -> bool {
        let mut seen = HashSet::new();
        let mut requests = vec![wanted];
        while let Some(request) = requests.pop() {
            for held in self.blockers(request.ino, request.held) {
                if held.is_of_same_owner(&wanted.held) {
                    return true;
                }
                if seen.len() >= limits::LOCK_CHAIN_MAX
                    || !seen.insert((held.session, held.lock.owner))
                {
                    continue;
                }
                let (session, owner) = (held.session, held.lock.owner);
                let its = self.waiting.range((session, owner, 0)..=(session, owner, u64::MAX));
                requests.extend(its.map(|(_, request)| *request));
            }
        }
        false
    }

    /// Takes note of how many ranges a session has locked in an inode.
    fn count(&mut self, session: SessionId, ino: Ino) {
        let locks = self.inodes.get(&ino);
        if locks.is_some_and(Vec::is_empty) {
            self.inodes.remove(&ino);
        }
        let ranges = self.of(session, ino).len();
        let inodes = self.sessions.entry(session).or_default();
        if ranges > 0 {
            inodes.insert(ino, ranges);
        } else {
            inodes.remove(&ino);
        }
        if inodes.is_empty() {
            self.sessions.remove(&session);
        }
    }

    fn count_of(&self, session: SessionId) -> usize {
        self.sessions.get(&session).map_or(0, |inodes| inodes.values().sum())
    }
}

/// Checks a request; `flock` is about the whole file, whatever range it names.
fn normal(lock: Lock) -> Result<Lock> {
    if lock.is_flock {
        return Ok(Lock { start: 0, end: u64::MAX, ..lock });
    }
    if lock.start > lock.end {
        return Err(FsError::new(ErrorKind::InvalidArgument, "the range ends before it begins"));
    }
    Ok(lock)
}

fn too_many() -> FsError {
    FsError::new(ErrorKind::NoLocks, "there are too many locks, on the file or in the session")
}

/// The locks with `new` in the place of what its owner had in that range. Neighbours that are alike
/// become one.
fn replaced(locks: &[Held], new: Held) -> Vec<Held> {
    let mut result = Vec::with_capacity(locks.len() + 2);
    let mut joined = new;
    for held in locks {
        if !held.is_of_same_owner(&new) {
            result.push(*held);
        } else if held.lock.kind == new.lock.kind && touches(held, &new) {
            let start = joined.lock.start.min(held.lock.start);
            joined = joined.with_range(start, joined.lock.end.max(held.lock.end));
        } else if held.overlaps(&new) {
            if held.lock.start < new.lock.start {
                result.push(held.with_range(held.lock.start, new.lock.start - 1));
            }
            if held.lock.end > new.lock.end {
                result.push(held.with_range(new.lock.end + 1, held.lock.end));
            }
        } else {
            result.push(*held);
        }
    }
    if new.lock.kind != LockKind::Unlock {
        result.push(joined);
    }
    result
}

/// Whether two ranges overlap or lie side by side.
fn touches(a: &Held, b: &Held) -> bool {
    a.lock.start <= b.lock.end.saturating_add(1) && b.lock.start <= a.lock.end.saturating_add(1)
}

#[cfg(test)]
mod tests;
