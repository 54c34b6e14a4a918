//! Locks against a model that knows every byte, and the scenes the model does not have.

use std::collections::BTreeMap;

use proptest::prelude::{Strategy, any, prop, prop_assert_eq, proptest};

use super::Locks;
use crate::error::ErrorKind;
use crate::limits;
use crate::proto::session::{Lock, LockKind};
use crate::types::Ino;

const FILE: Ino = Ino(3);
const OTHER_FILE: Ino = Ino(4);
/// Bytes that the model knows.
const BYTES: u64 = 12;

fn lock(owner: u64, kind: LockKind, start: u64, end: u64) -> Lock {
    Lock { owner, is_flock: false, kind, start, end, pid: 1 }
}

fn flock(owner: u64, kind: LockKind) -> Lock {
    Lock { is_flock: true, ..lock(owner, kind, 0, 0) }
}

fn kind() -> impl Strategy<Value = LockKind> {
    (0..3_usize).prop_map(|n| [LockKind::Read, LockKind::Write, LockKind::Unlock][n])
}

/// For each byte: who has locked it, and how.
type Model = BTreeMap<u64, BTreeMap<(u64, u64), LockKind>>;

fn model_set(model: &mut Model, holder: (u64, u64), lock: Lock) -> bool {
    let is_in_the_way = |(other, kind): (&(u64, u64), &LockKind)| {
        *other != holder && (*kind == LockKind::Write || lock.kind == LockKind::Write)
    };
    let is_blocked = lock.kind != LockKind::Unlock
        && (lock.start..=lock.end)
            .any(|byte| model.get(&byte).is_some_and(|h| h.iter().any(is_in_the_way)));
    if is_blocked {
        return false;
    }
    for byte in lock.start..=lock.end {
        let holders = model.entry(byte).or_default();
        match lock.kind {
            LockKind::Unlock => holders.remove(&holder),
            kind => holders.insert(holder, kind),
        };
    }
    true
}

/// What the locks say about each byte, and whether an owner has more ranges than it needs.
fn bytes_of(locks: &Locks) -> Model {
    let mut model = Model::new();
    for held in locks.inodes.get(&FILE).into_iter().flatten() {
        for byte in held.lock.start..=held.lock.end {
            let holder = (held.session, held.lock.owner);
            let twice = model.entry(byte).or_default().insert(holder, held.lock.kind);
            assert!(twice.is_none(), "byte {byte} has two locks of {holder:?}");
        }
    }
    model
}

proptest! {
    #[test]
    fn every_byte_has_the_lock_that_the_model_gives_it(
        requests in prop::collection::vec(
            (0..2_u64, 0..2_u64, kind(), 0..BYTES, 0..BYTES, any::<bool>()), 0..40),
    ) {
        let mut locks = Locks::default();
        let mut model = Model::new();
        for (session, owner, kind, a, b, ends) in requests {
            if ends && kind == LockKind::Unlock {
                locks.release(session);
                model.values_mut().for_each(|h| h.retain(|holder, _| holder.0 != session));
                continue;
            }
            let lock = lock(owner, kind, a.min(b), a.max(b));
            let expected = model_set(&mut model, (session, owner), lock);
            prop_assert_eq!(locks.conflict(session, FILE, lock).unwrap().is_none(), expected);
            prop_assert_eq!(locks.set(session, FILE, lock).unwrap(), expected);
            let mut wanted = model.clone();
            wanted.retain(|_, holders| !holders.is_empty());
            prop_assert_eq!(bytes_of(&locks), wanted);
        }
        (0..2).for_each(|session| { locks.release(session); });
        prop_assert_eq!((locks.inodes.len(), locks.sessions.len()), (0, 0));
    }
}

#[test]
fn neighbours_become_one_and_holes_split() {
    let mut locks = Locks::default();
    for (start, end) in [(0, 9), (20, 29), (10, 19)] {
        assert!(locks.set(1, FILE, lock(1, LockKind::Write, start, end)).unwrap());
    }
    assert_eq!(locks.of(1, FILE), [lock(1, LockKind::Write, 0, 29)]);
    locks.set(1, FILE, lock(1, LockKind::Unlock, 10, 10)).unwrap();
    assert_eq!(locks.of(1, FILE).len(), 2);
    locks.set(1, FILE, lock(1, LockKind::Read, 0, u64::MAX)).unwrap();
    assert_eq!(locks.of(1, FILE), [lock(1, LockKind::Read, 0, u64::MAX)]);
    let kept = locks.of(1, FILE);
    let mut restored = Locks::default();
    restored.restore(1, FILE, &kept);
    assert!(!restored.set(2, FILE, lock(1, LockKind::Write, 5, 5)).unwrap());
}

#[test]
fn flock_and_fcntl_do_not_meet() {
    let mut locks = Locks::default();
    assert!(locks.set(1, FILE, lock(1, LockKind::Write, 0, 9)).unwrap());
    assert!(locks.set(2, FILE, flock(1, LockKind::Write)).unwrap());
    assert!(!locks.set(1, FILE, flock(1, LockKind::Read)).unwrap());
}

#[test]
fn two_readers_who_want_to_write_do_not_block_each_other_for_ever() {
    let mut locks = Locks::default();
    assert!(locks.set(1, FILE, flock(1, LockKind::Read)).unwrap());
    assert!(locks.set(2, FILE, flock(1, LockKind::Read)).unwrap());
    assert!(!locks.set(1, FILE, flock(1, LockKind::Write)).unwrap());
    assert!(locks.set(2, FILE, flock(1, LockKind::Write)).unwrap());
}

#[test]
fn circles_of_waiting_are_found() {
    let mut locks = Locks::default();
    let write = |owner| lock(owner, LockKind::Write, 0, 0);
    assert!(locks.set(1, FILE, write(1)).unwrap());
    assert!(locks.set(2, OTHER_FILE, write(1)).unwrap());
    assert!(locks.set(3, Ino(5), write(1)).unwrap());
    let first = locks.begin_wait(1, OTHER_FILE, write(1)).unwrap();
    locks.begin_wait(2, Ino(5), write(1)).unwrap();
    let closing = locks.begin_wait(3, FILE, write(1));
    assert_eq!(closing.unwrap_err().kind(), ErrorKind::Deadlock);
    assert!(locks.begin_wait(3, FILE, flock(1, LockKind::Write)).is_ok());
    locks.end_wait(first);
    assert!(locks.begin_wait(3, FILE, write(1)).is_ok(), "the circle is open again");
}

#[test]
fn there_are_not_too_many_locks() {
    let mut locks = Locks::default();
    for n in 0..limits::LOCKS_PER_INODE_MAX as u64 {
        assert!(locks.set(1, FILE, lock(1, LockKind::Read, 2 * n, 2 * n)).unwrap());
    }
    let more = locks.set(1, FILE, lock(2, LockKind::Read, 0, 0));
    assert_eq!(more.unwrap_err().kind(), ErrorKind::NoLocks);
    assert!(locks.set(1, FILE, lock(1, LockKind::Unlock, 0, 0)).unwrap());
    assert_eq!(
        locks.set(1, FILE, lock(1, LockKind::Read, 9, 5)).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
}
