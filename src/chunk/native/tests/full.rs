//! A full disk: refused before anything has changed where possible, whole where not; and the server
//! goes on.

use super::sim::{Death, Refusal, World};
use super::{extent, key, kind, start, v1};
use crate::error::ErrorKind;
use crate::limits::DISK_RESERVE;

#[test]
fn a_full_disk_refuses_what_grows_and_takes_what_does_not() {
    let world = World::new(1);
    let store = start(&world);
    store.write(&key(1), &v1(), &extent(0, vec![1; 65_536])).unwrap();
    store.write(&key(2), &v1(), &extent(0, vec![1; 65_536])).unwrap();
    world.state().capacity = DISK_RESERVE + 1_000_000;
    drop(store);
    let store = start(&world);
    let mut offset = 0;
    let full = loop {
        match store.write(&key(3), &v1(), &extent(offset, vec![1; 4096])) {
            Ok(_) => offset += 4096,
            Err(error) => break error,
        }
        assert!(offset < 1_000_000, "it never fills");
    };
    assert_eq!(full.kind(), ErrorKind::NoSpace);
    store.write(&key(1), &v1(), &extent(100, vec![2; 4096])).unwrap();
    assert_eq!(kind(store.write(&key(9), &v1(), &extent(0, vec![1]))), ErrorKind::NoSpace);
    assert_eq!(kind(store.allocate(&key(1), &v1(), (0, 1 << 20), true)), ErrorKind::NoSpace);
    assert_eq!(store.read(&key(1), &v1(), 100, 4096).unwrap(), vec![2; 4096]);
    store.sync_all().unwrap();
    store.delete(&[key(2)]).unwrap();
}

#[test]
fn a_server_starts_on_a_full_disk_after_a_restart_of_the_machine() {
    let world = World::new(1);
    let store = start(&world);
    store.write(&key(1), &v1(), &extent(0, vec![1; 100_000])).unwrap();
    store.sync_all().unwrap();
    drop(store);
    world.reboot(Death::PowerCut);
    // Of the start of the machine nothing can be noted.
    world.refuse_after(0, 1, Refusal::Full);
    let store = start(&world);
    assert_eq!(store.read(&key(1), &v1(), 0, 100_000).unwrap(), vec![1; 100_000]);
    // When there is room again, nothing that is written is taken for older than it is.
    store.write(&key(1), &v1(), &extent(100_000, vec![2; 10])).unwrap();
    drop(store);
    world.reboot(Death::Kill);
    let store = start(&world);
    assert_eq!(store.read(&key(1), &v1(), 100_000, 10).unwrap(), vec![2; 10]);
}

/// If others fill the disk, a write can end in the middle of a block.
#[test]
fn a_write_that_the_disk_cuts_short_leaves_readable_blocks() {
    for short_at in [0, 1, 10_000, 65_536, 70_000, 131_000] {
        let world = World::new(1);
        let store = start(&world);
        store.write(&key(1), &v1(), &extent(0, vec![1; 100_000])).unwrap();
        store.sync_all().unwrap();
        // The allowance was taken while there was room.
        world.state().capacity = short_at;
        assert_eq!(
            kind(store.write(&key(1), &v1(), &extent(0, vec![2; 140_000]))),
            ErrorKind::NoSpace
        );
        let data = store.read(&key(1), &v1(), 0, 140_000).unwrap();
        for (at, byte) in (0u64..).zip(&data) {
            assert_eq!(*byte, if at < short_at { 2 } else { 1 }, "at {at} of {short_at}");
        }
        assert_eq!(data.len() as u64, short_at.max(100_000));
    }
}
