//! Versions: who is behind makes the cuts it has missed; all others are refused.

use super::sim::World;
use super::{extent, key, kind, start, v1};
use crate::error::ErrorKind;
use crate::types::{ChunkVersion, Cut};

/// A version, with the cuts that bring up any chunk from `cuts_from` on.
fn with_cuts(version: u64, cuts_from: u64, cuts: &[(u64, u64)]) -> ChunkVersion {
    let cuts = cuts.iter().map(|&(version, keep)| Cut { version, keep }).collect();
    ChunkVersion { version, cuts_from, cuts, must_exist: false }
}

#[test]
fn another_version_is_refused() {
    let store = start(&World::new(1));
    let v2 = ChunkVersion::of(2);
    store.write(&key(1), &v2, &extent(0, vec![7; 100])).unwrap();
    for other in [v1(), ChunkVersion::of(3), with_cuts(4, 3, &[(4, 10)])] {
        assert_eq!(kind(store.write(&key(1), &other, &extent(0, vec![1]))), ErrorKind::Stale);
        assert_eq!(kind(store.truncate(&key(1), &other, 0)), ErrorKind::Stale);
        assert_eq!(kind(store.punch(&key(1), &other, 0, 1)), ErrorKind::Stale);
        assert_eq!(kind(store.read(&key(1), &other, 0, 1)), ErrorKind::Stale);
    }
    assert_eq!(store.read(&key(1), &v2, 0, 1000).unwrap(), vec![7; 100]);
}

#[test]
fn who_is_behind_forgets_first() {
    let store = start(&World::new(1));
    store.write(&key(1), &v1(), &extent(0, vec![7; 100])).unwrap();
    let v3 = with_cuts(3, 1, &[(3, 50), (2, 10)]);
    store.write(&key(1), &v3, &extent(20, vec![9])).unwrap();
    let expected = [vec![7; 10], vec![0; 10], vec![9]].concat();
    assert_eq!(store.read(&key(1), &v3, 0, 100).unwrap(), expected);
    // A read finds it in time, too.
    let v4 = with_cuts(4, 1, &[(2, 10), (3, 50), (4, 5)]);
    assert_eq!(store.read(&key(1), &v4, 0, 100).unwrap(), vec![7; 5]);
    assert_eq!(store.stat(&key(1)).unwrap().version, 4);
}

#[test]
fn cuts_can_be_repeated() {
    let store = start(&World::new(1));
    let v2 = with_cuts(2, 1, &[(2, 10)]);
    assert_eq!(kind(store.cut(&key(1), &v2)), ErrorKind::NotFound);
    store.write(&key(1), &v1(), &extent(0, vec![7; 100])).unwrap();
    assert_eq!(store.cut(&key(1), &v2).unwrap(), 10);
    store.write(&key(1), &v2, &extent(10, vec![8; 90])).unwrap();
    assert_eq!(store.cut(&key(1), &v2).unwrap(), 100);
    store.cut(&key(1), &v1()).unwrap();
    assert_eq!(store.stat(&key(1)).unwrap().version, 2);
}

#[test]
fn a_chunk_that_must_exist_is_not_made_anew() {
    let store = start(&World::new(1));
    let known = ChunkVersion { must_exist: true, ..v1() };
    assert_eq!(kind(store.write(&key(1), &known, &extent(0, vec![7]))), ErrorKind::NotFound);
    assert_eq!(kind(store.allocate(&key(1), &known, (0, 9), true)), ErrorKind::NotFound);
    assert_eq!(kind(store.stat(&key(1))), ErrorKind::NotFound);
    store.write(&key(1), &v1(), &extent(0, vec![7])).unwrap();
    store.write(&key(1), &known, &extent(1, vec![8])).unwrap();
    assert_eq!(store.read(&key(1), &known, 0, 9).unwrap(), vec![7, 8]);
}
