//! Small chunks: in the index, and out of it when they grow.

use super::sim::{Death, World};
use super::{extent, key, kind, start, v1};
use crate::error::ErrorKind;
use crate::limits;

#[test]
fn a_small_chunk_has_no_file_until_it_grows() {
    let world = World::new(1);
    let store = start(&world);
    let small = limits::SMALL_FILE_MAX;
    store.write(&key(1), &v1(), &extent(0, vec![1; 100])).unwrap();
    store.truncate(&key(1), &v1(), small).unwrap();
    store.sync_all().unwrap();
    assert!(world.is_in_index(&key(1)) && !world.has_file(&key(1)));
    store.write(&key(1), &v1(), &extent(small, vec![2])).unwrap();
    assert!(!world.is_in_index(&key(1)) && world.has_file(&key(1)));
    let data = store.read(&key(1), &v1(), 0, 1 << 20).unwrap();
    assert_eq!((data.len() as u64, data[99], data[100]), (small + 1, 1, 0));
    assert_eq!(data.last(), Some(&2));
    // Never back: who has the file open writes into it.
    store.truncate(&key(1), &v1(), 10).unwrap();
    assert!(!world.is_in_index(&key(1)) && world.has_file(&key(1)));
    // What is large from the beginning is never in the index.
    let pieces = [extent(0, vec![1; 10]), extent(small, vec![1; 10])].concat();
    store.write(&key(2), &v1(), &pieces).unwrap();
    assert!(!world.is_in_index(&key(2)) && world.has_file(&key(2)));
}

#[test]
fn a_deleted_small_chunk_leaves_nothing() {
    let world = World::new(1);
    let store = start(&world);
    store.write(&key(1), &v1(), &extent(0, vec![1; 100])).unwrap();
    assert_eq!(world.state().index_syncs, 1, "that of the start");
    store.delete(&[key(1)]).unwrap();
    assert!(!world.is_in_index(&key(1)));
    assert_eq!(kind(store.read(&key(1), &v1(), 0, 1)), ErrorKind::NotFound);
}

#[test]
fn one_sync_of_the_index_makes_a_small_chunk_durable() {
    let world = World::new(1);
    let store = start(&world);
    store.write(&key(1), &v1(), &extent(0, vec![1; 100])).unwrap();
    let before = world.state().index_syncs;
    store.sync(&[key(1)]).unwrap();
    assert_eq!(world.state().index_syncs, before + 1);
}

#[test]
fn what_a_move_left_when_it_died_is_not_seen_again() {
    let small = limits::SMALL_FILE_MAX;
    for steps in 0..20 {
        let world = World::new(steps);
        let store = start(&world);
        store.write(&key(1), &v1(), &extent(0, vec![1; 100])).unwrap();
        world.die_after(steps);
        let moved = store.write(&key(1), &v1(), &extent(100, vec![2; 20_000]));
        drop(store);
        world.reboot(Death::Kill);
        if moved.is_ok() {
            assert!(steps > 4, "it was not long enough to die in");
            return;
        }
        let store = start(&world);
        store.truncate(&key(1), &v1(), 50).unwrap();
        store.write(&key(1), &v1(), &extent(small, vec![3; 10])).unwrap();
        let data = store.read(&key(1), &v1(), 0, small).unwrap();
        assert!(data[..50].iter().all(|byte| *byte == 1) && data[50..].iter().all(|b| *b == 0));
    }
    panic!("the move never came to its end");
}

#[test]
fn a_failed_sync_of_a_move_promises_nothing_and_loses_nothing() {
    let world = World::new(1);
    let store = start(&world);
    store.write(&key(1), &v1(), &extent(0, vec![1; 100])).unwrap();
    store.sync_all().unwrap();
    world.state().fails_to_sync = true;
    let large = extent(100, vec![2; 100_000]);
    assert_eq!(kind(store.write(&key(1), &v1(), &large)), ErrorKind::Io);
    world.state().fails_to_sync = false;
    assert!(world.is_in_index(&key(1)));
    assert_eq!(store.read(&key(1), &v1(), 0, 1 << 20).unwrap(), vec![1; 100]);
    store.write(&key(1), &v1(), &large).unwrap();
    assert_eq!(store.read(&key(1), &v1(), 0, 1 << 20).unwrap().len(), 100_100);
}

#[test]
fn appending_waits_for_no_marks() {
    let world = World::new(1);
    let store = start(&world);
    for step in 0..50u64 {
        store.write(&key(1), &v1(), &extent(step * 4096, vec![1; 4096])).unwrap();
        store.sync(&[key(1)]).unwrap();
    }
    let syncs = world.state().index_syncs;
    assert!(syncs < 10, "{syncs}");
}
