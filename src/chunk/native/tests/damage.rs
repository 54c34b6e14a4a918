//! What lies damaged on the disk is found, and never returned.

use proptest::prelude::{any, prop, prop_assert, proptest};

use super::model::{self, Keys, Model, any_op};
use super::sim::{Death, World};
use super::{cases, extent, key, kind, start, v1};
use crate::error::ErrorKind;
use crate::types::ChunkVersion;

proptest! {
    #![proptest_config(cases(60))]

    /// Whatever was done before: one flipped bit anywhere in synced data is found, before and after
    /// any crash, and the other blocks can be read.
    #[test]
    fn a_flipped_bit_is_found(
        ops in prop::collection::vec(any_op(), 1..12),
        place in any::<prop::sample::Index>(), bit in 0..8u8, crash in any::<Option<bool>>(),
    ) {
        let world = World::new(3);
        let mut store = start(&world);
        let (mut model, keys) = (Model::default(), Keys::default());
        for op in &ops {
            op.run(&store, &keys).unwrap();
            model.run(op);
        }
        store.sync_all().unwrap();
        // Zeros may be a hole, in which nothing can be damaged.
        let all = (1..4).flat_map(|ino| {
            let image = model.now(ino).unwrap_or_default();
            let full: Vec<_> = (0..).zip(image).filter(|(_, byte)| *byte != 0).collect();
            full.into_iter().map(move |(at, _)| (ino, at))
        });
        let all: Vec<(u64, u64)> = all.collect();
        if all.is_empty() {
            return Ok(());
        }
        let &(ino, at) = place.get(&all);
        let (key, at_version) = (keys.of(ino), ChunkVersion::of(keys.version(ino)));
        world.flip(&key, at, bit);
        if let Some(kill) = crash {
            world.reboot(if kill { Death::Kill } else { Death::PowerCut });
            store = start(&world);
            store.inspect().unwrap();
        }
        let block = at / 65_536 * 65_536;
        prop_assert!(kind(store.read(&key, &at_version, at, 1)) == ErrorKind::Corrupt);
        prop_assert!(kind(store.read(&key, &at_version, block, 65_536)) == ErrorKind::Corrupt);
        let image = model.now(ino).unwrap();
        for start in (0..image.len() as u64).step_by(65_536).filter(|start| *start != block) {
            let found = store.read(&key, &at_version, start, 65_536).unwrap();
            let from = usize::try_from(start).unwrap();
            prop_assert!(found == image[from..image.len().min(from + 65_536)]);
        }
        // Who writes the whole block anew can read it again.
        let end = image.len().min(usize::try_from(block).unwrap() + 65_536);
        let fresh = vec![5; end - usize::try_from(block).unwrap()];
        store.write(&key, &at_version, &extent(block, fresh.clone())).unwrap();
        prop_assert!(store.read(&key, &at_version, block, fresh.len() as u64).unwrap() == fresh);
        prop_assert!(model::read(&store, &key).is_ok());
    }
}

#[test]
fn a_partial_write_does_not_hide_the_damage_beside_it() {
    let world = World::new(1);
    let store = start(&world);
    store.write(&key(1), &v1(), &extent(0, vec![1; 100_000])).unwrap();
    store.sync_all().unwrap();
    world.flip(&key(1), 50_000, 3);
    let partial = extent(4096, vec![2; 4096]);
    assert_eq!(kind(store.write(&key(1), &v1(), &partial)), ErrorKind::Corrupt);
    assert_eq!(kind(store.read(&key(1), &v1(), 4096, 10)), ErrorKind::Corrupt);
    assert_eq!(kind(store.truncate(&key(1), &v1(), 60_000)), ErrorKind::Corrupt);
    assert_eq!(kind(store.punch(&key(1), &v1(), 10, 10)), ErrorKind::Corrupt);
    // Damage that comes later is not noticed by the next write, and not hidden by it either.
    store.write(&key(1), &v1(), &extent(70_000, vec![2; 4096])).unwrap();
    world.flip(&key(1), 90_000, 3);
    store.write(&key(1), &v1(), &extent(70_000, vec![3; 4096])).unwrap();
    assert_eq!(kind(store.read(&key(1), &v1(), 70_000, 10)), ErrorKind::Corrupt);
    // What is replaced or cut as a whole does not matter any more.
    store.write(&key(1), &v1(), &extent(65_536, vec![4; 65_536])).unwrap();
    assert_eq!(store.read(&key(1), &v1(), 70_000, 10).unwrap(), vec![4; 10]);
    store.truncate(&key(1), &v1(), 0).unwrap();
    assert_eq!(store.stat(&key(1)).unwrap().length, 0);
}

#[test]
fn a_lost_or_shortened_file_is_found() {
    let world = World::new(1);
    let store = start(&world);
    for ino in [1, 2] {
        store.write(&key(ino), &v1(), &extent(0, vec![1; 100_000])).unwrap();
    }
    store.sync_all().unwrap();
    drop(store);
    world.remove(&key(1));
    world.disk().open(&key(2)).unwrap().unwrap().set_length(70_000).unwrap();
    let store = start(&world);
    store.inspect().unwrap();
    assert_eq!(store.stat(&key(1)).unwrap().length, 100_000);
    assert_eq!(kind(store.read(&key(1), &v1(), 0, 1)), ErrorKind::Corrupt);
    assert_eq!(store.read(&key(2), &v1(), 0, 10).unwrap(), vec![1; 10]);
    assert_eq!(kind(store.read(&key(2), &v1(), 65_536, 10)), ErrorKind::Corrupt);
    // Longer again, it is no better.
    store.write(&key(2), &v1(), &extent(100_000, vec![1])).unwrap();
    assert_eq!(kind(store.read(&key(2), &v1(), 65_536, 10)), ErrorKind::Corrupt);
}

#[test]
fn a_failed_sync_is_never_followed_by_a_promise() {
    let world = World::new(1);
    let store = start(&world);
    for ino in [1, 2] {
        store.write(&key(ino), &v1(), &extent(0, vec![1; 100_000])).unwrap();
    }
    world.state().fails_to_sync = true;
    assert_eq!(kind(store.sync(&[key(1)])), ErrorKind::Io);
    world.state().fails_to_sync = false;
    assert_eq!(kind(store.sync(&[key(1)])), ErrorKind::ReadOnly);
    assert_eq!(kind(store.write(&key(1), &v1(), &extent(0, vec![1]))), ErrorKind::ReadOnly);
    assert_eq!(store.read(&key(1), &v1(), 0, 1).unwrap(), vec![1]);
    // The others are not touched by it.
    store.sync(&[key(2)]).unwrap();
}
