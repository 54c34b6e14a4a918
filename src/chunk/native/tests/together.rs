//! Many at once on one chunk: writers, readers, syncs, deletions, and a crash in the middle.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::sim::{Death, World};
use super::{extent, key, start, v1};
use crate::error::ErrorKind;

/// Each writer owns every fourth run of this many bytes: blocks are shared.
const RUN: u64 = 10_000;
const WRITERS: u64 = 4;

/// Writers count upwards in their runs, while others read and sync; until the machine dies. Then
/// nothing acknowledged may be missing.
fn count_until_death(seed: u64, death: Death) {
    let world = World::new(seed);
    let store = start(&world);
    world.die_after(200 + seed % 97);
    let acknowledged: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    let synced: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (store, world, acknowledged) = (&store, &world, &acknowledged);
            scope.spawn(move || {
                for count in 1..=200u8 {
                    for run in 0..5 {
                        let offset = (run * WRITERS + writer) * RUN;
                        let data = vec![count; usize::try_from(RUN).unwrap()];
                        if store.write(&key(1), &v1(), &extent(offset, data)).is_err() {
                            assert!(world.is_dead());
                            return;
                        }
                    }
                    let writer = usize::try_from(writer).unwrap();
                    acknowledged[writer].store(count.into(), Ordering::SeqCst);
                }
            });
        }
        scope.spawn(|| {
            while !world.is_dead() {
                let counts: Vec<u64> =
                    acknowledged.iter().map(|count| count.load(Ordering::SeqCst)).collect();
                if store.sync(&[key(1)]).is_ok() {
                    for (synced, count) in synced.iter().zip(counts) {
                        synced.store(count, Ordering::SeqCst);
                    }
                }
            }
        });
        scope.spawn(|| {
            while !world.is_dead() {
                // Who dies in the middle of a write does not say how far it came.
                if let Err(error) = store.read(&key(1), &v1(), 0, 20 * RUN) {
                    assert!(world.is_dead() || error.kind() == ErrorKind::NotFound, "{error}");
                }
            }
        });
    });
    world.reboot(death);
    let store = start(&world);
    let promised = if death == Death::Kill { acknowledged } else { synced };
    let data = store.read(&key(1), &v1(), 0, 20 * RUN).unwrap_or_default();
    for (at, run) in data.chunks(usize::try_from(RUN).unwrap()).enumerate() {
        let promised = promised[at % promised.len()].load(Ordering::SeqCst);
        let least = run.iter().min().copied().unwrap_or(0);
        assert!(u64::from(least) >= promised, "run {at} has {least}, {promised} was promised");
    }
}

#[test]
fn what_was_acknowledged_to_many_survives() {
    for seed in 0..8 {
        count_until_death(seed, Death::Kill);
        count_until_death(seed, Death::PowerCut);
    }
}

#[test]
fn deletions_and_writes_of_one_chunk_do_not_mix() {
    let world = World::new(1);
    let store = start(&world);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..200 {
                store.delete(&[key(2), key(1)]).unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        for tag in 1..3u8 {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    for ino in [1, 2] {
                        store.write(&key(ino), &v1(), &extent(0, vec![tag; 70_000])).unwrap();
                    }
                    store.sync_all().unwrap();
                }
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                match store.read(&key(1), &v1(), 0, 70_000) {
                    Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
                    // A read of several blocks is no moment's image, but each block is.
                    Ok(data) => {
                        assert!(
                            data.chunks(65_536).all(|block| block.iter().all(|b| *b == block[0]))
                        );
                    }
                }
            }
        });
    });
    store.delete(&[key(1), key(2)]).unwrap();
    assert!(!world.has_file(&key(1)) && !world.has_file(&key(2)));
    assert_eq!(store.space().unwrap().held, 0);
}
