//! After a power cut, what was acknowledged and not synced is there or an error, and never the zeros of
//! a file that was cut short; what was never written is zeros.

use std::sync::Arc;

use proptest::prelude::{any, prop, proptest};

use super::model::{self, Keys, Model, Op};
use super::sim::{Death, World};
use super::{NativeStore, cases, extent, key, kind, start, v1};
use crate::error::ErrorKind;
use crate::limits;
use crate::types::{ChunkVersion, Cut, Whence};

/// A machine that lost its power when a chunk had `synced` bytes, and `length` were acknowledged, of
/// which none has reached the disk; the index has all.
fn torn(synced: u64, length: u64) -> (Arc<World>, NativeStore) {
    let world = World::new(1);
    let store = start(&world);
    let bytes = |length: u64| vec![7; usize::try_from(length).unwrap()];
    if synced > 0 {
        store.write(&key(1), &v1(), &extent(0, bytes(synced))).unwrap();
        store.sync_all().unwrap();
    }
    store.write(&key(1), &v1(), &extent(synced, bytes(length - synced))).unwrap();
    drop(store);
    world.keep_index();
    world.reboot(Death::PowerCut);
    let store = start(&world);
    store.inspect().unwrap();
    (world, store)
}

#[test]
fn bytes_that_a_power_cut_took_are_an_error_and_not_zeros() {
    for (synced, length) in [(0, 40_000), (0, 200_000), (30_000, 70_000), (70_000, 70_001)] {
        let (world, mut store) = torn(synced, length);
        for attempt in 0..3 {
            assert_eq!(store.read(&key(1), &v1(), 0, synced).unwrap().len() as u64, synced);
            for (offset, length) in [(0, length), (synced, length - synced), (length - 1, 1)] {
                let read = store.read(&key(1), &v1(), offset, length);
                assert_eq!(kind(read), ErrorKind::Corrupt, "{synced} of {length}");
            }
            // Nothing that lies behind makes zeros of them, nor does anybody who looks for data.
            let gap = store.write(&key(1), &v1(), &extent(length, vec![8; 10]));
            assert_eq!(kind(gap), ErrorKind::Corrupt);
            store.truncate(&key(1), &v1(), 300_000).unwrap();
            store.allocate(&key(1), &v1(), (0, 300_000), true).unwrap();
            let data = store.seek(&key(1), &v1(), synced, Whence::Data).unwrap();
            assert_eq!(data, Some(synced));
            store.sync_all().unwrap();
            drop(store);
            world.reboot(if attempt == 0 { Death::Kill } else { Death::PowerCut });
            store = start(&world);
        }
    }
}

#[test]
fn what_was_lost_can_be_written_again_or_cut_off() {
    let (world, mut store) = torn(30_000, 70_000);
    store.write(&key(1), &v1(), &extent(30_000, vec![8; 10_000])).unwrap();
    drop(store);
    world.reboot(Death::Kill);
    store = start(&world);
    assert_eq!(store.read(&key(1), &v1(), 30_000, 10_000).unwrap(), vec![8; 10_000]);
    assert_eq!(kind(store.read(&key(1), &v1(), 39_999, 2)), ErrorKind::Corrupt);
    for (version, keep) in [(2, 50_000), (3, 40_000)] {
        let cuts = vec![Cut { version, keep }];
        let at = ChunkVersion { version, cuts_from: version - 1, cuts, must_exist: true };
        store.cut(&key(1), &at).unwrap();
    }
    // Cut off at its end, it has lost nothing.
    let v3 = ChunkVersion::of(3);
    store.write(&key(1), &v3, &extent(60_000, vec![9; 10])).unwrap();
    drop(store);
    world.reboot(Death::Kill);
    let store = start(&world);
    let data = store.read(&key(1), &v3, 0, 70_000).unwrap();
    assert_eq!((data.len(), data[39_999], data[40_000], data[60_000]), (60_010, 8, 0, 9));
}

#[test]
fn what_is_synced_or_was_left_by_a_kill_is_not_torn() {
    for death in [Death::Kill, Death::PowerCut] {
        let world = World::new(1);
        let store = start(&world);
        store.write(&key(1), &v1(), &extent(0, vec![7; 100_000])).unwrap();
        store.sync(&[key(1)]).unwrap();
        store.write(&key(2), &v1(), &extent(0, vec![7; 100])).unwrap();
        if death == Death::PowerCut {
            store.sync_all().unwrap();
        }
        drop(store);
        world.reboot(death);
        let store = start(&world);
        for (ino, length) in [(1, 100_000), (2, 100)] {
            // What is behind the end of a chunk is zeros, and no error.
            let data = store.read(&key(ino), &v1(), 0, limits::CHUNK_SIZE).unwrap();
            assert_eq!(data.len(), length);
            store.write(&key(ino), &v1(), &extent(200_000, vec![8])).unwrap();
        }
    }
}

#[test]
fn appending_and_syncing_waits_for_the_index_once() {
    let world = World::new(1);
    let store = start(&world);
    store.write(&key(1), &v1(), &extent(0, vec![1; 100_000])).unwrap();
    store.sync_all().unwrap();
    let before = world.state().index_syncs;
    for step in 0..50u64 {
        store.write(&key(1), &v1(), &extent(100_000 + step * 4096, vec![1; 4096])).unwrap();
        store.sync(&[key(1)]).unwrap();
    }
    let syncs = world.state().index_syncs - before;
    assert!(syncs <= 2, "{syncs}");
    store.sync_all().unwrap();
    assert!(!store.is_dirty(), "the round of all chunks leaves none open");
}

/// Appends to some chunks, now and then a sync, and a power cut that leaves of each file what was
/// written first: every byte is right, or an error.
fn append_and_lose(steps: &[(u64, u64, u8)], seed: u64) {
    let world = World::new(seed);
    world.state().keeps_order = true;
    let (mut model, keys) = (Model::default(), Keys::default());
    let store = start(&world);
    for &(ino, length, what) in steps {
        let end = model.now(ino).map_or(0, |image| image.len() as u64);
        let op = match what % 6 {
            0 => Op::Sync(ino),
            1 => Op::SyncAll,
            _ => Op::Write(ino, vec![(end, length, what | 1)]),
        };
        op.run(&store, &keys).unwrap();
        model.run(&op);
    }
    drop(store);
    world.reboot(Death::PowerCut);
    let store = start(&world);
    store.inspect().unwrap();
    for ino in 1..4 {
        let Some(expected) = model.now(ino) else { continue };
        let at = keys.at(ino);
        for (offset, byte) in (0u64..).zip(&expected).step_by(997) {
            match store.read(&keys.of(ino), &at, offset, 1) {
                Ok(found) => assert_eq!(found, vec![*byte], "chunk {ino} at {offset}"),
                // The master knows that it was there.
                Err(error) => assert!(
                    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound),
                    "{error}"
                ),
            }
        }
        let found = model::read(&store, &keys.of(ino)).unwrap();
        assert!(found.is_none_or(|found| expected.starts_with(&found)), "chunk {ino}");
    }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn no_power_cut_makes_zeros_of_what_was_appended(
        steps in prop::collection::vec((1..4u64, 1..60_000u64, any::<u8>()), 1..12),
        seed in any::<u64>(),
    ) {
        append_and_lose(&steps, seed);
    }
}
