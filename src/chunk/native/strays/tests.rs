//! What is done about strays, and when.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::chunk::index::Index as Values;
use crate::chunk::native::NativeStore;
use crate::chunk::native::record::{HEADS, encode_key};
use crate::error::ErrorKind;
use crate::limits;
use crate::store::{DataDir, Txn};
use crate::types::{ChunkKey, ChunkVersion, Extent, Ino};

/// Larger than what is kept in the index.
const SIZE: usize = 100_000;

struct Scene {
    dir: tempfile::TempDir,
    store: NativeStore,
}

fn open(path: &Path) -> NativeStore {
    let dir = DataDir::open(path, "chunk").unwrap();
    let values = Values::open(&dir, 1000).unwrap();
    NativeStore::open(values.store().clone(), &dir.chunks()).unwrap()
}

fn key(number: u64) -> ChunkKey {
    ChunkKey { ino: Ino(number), index: 0, incarnation: 5 }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

impl Scene {
    fn new(chunks: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        for number in 1..=chunks {
            // Small ones are quick to make; a few are files.
            let size = if number <= 3 { SIZE } else { 10 };
            let data = vec![u8::try_from(number % 250).unwrap(); size].into();
            store.write(&key(number), &ChunkVersion::of(1), &[Extent { offset: 0, data }]).unwrap();
        }
        store.sync_all().unwrap();
        Self { dir, store }
    }

    fn again(self) -> Self {
        let Self { dir, store } = self;
        drop(store);
        let store = open(dir.path());
        store.inspect().unwrap();
        Self { dir, store }
    }

    fn keys(&self) -> Vec<ChunkKey> {
        self.store.list(None, 10_000).unwrap().into_iter().map(|(key, _)| key).collect()
    }

    /// A round through all chunks, of which the master says that those up to `last` are nobody's.
    fn round(&self, last: u64, now_ms: u64) {
        let keys = self.keys();
        let strays: Vec<_> = keys.iter().copied().filter(|key| key.ino.0 <= last).collect();
        self.store.learn_strays(&keys, &strays, now_ms).unwrap();
        self.store.learn_strays(&[], &[], now_ms).unwrap();
    }

    fn set_aside(&self) -> BTreeSet<String> {
        let folder = self.dir.path().join("chunks/lost+found");
        let names = std::fs::read_dir(folder).into_iter().flatten();
        names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn first_byte(&self, number: u64) -> u8 {
        let read = self.store.read(&key(number), &ChunkVersion::of(1), 0, 10);
        read.unwrap()[0]
    }
}

#[test]
fn strays_are_set_aside_and_removed_when_their_time_has_come() {
    let scene = Scene::new(50);
    scene.round(2, 0);
    scene.round(2, 1000);
    assert_eq!(scene.set_aside().len(), 0, "they may be wanted yet");
    let grace = ms(limits::STRAY_GRACE);
    scene.round(2, grace);
    assert_eq!(scene.set_aside(), BTreeSet::from([key(1).to_string(), key(2).to_string()]));
    let status = scene.store.strays(grace);
    assert_eq!((status.chunks, status.strays, status.set_aside), (50, 2, 2));
    assert!(!status.is_held_back);
    assert_eq!(status.removed_in_s, Some((limits::STRAY_KEPT - limits::STRAY_GRACE).as_secs()));

    // A restart changes nothing about that; another second on the server's own clock does.
    let scene = scene.again();
    let kept = ms(limits::STRAY_KEPT);
    scene.round(2, kept - 1);
    assert_eq!(scene.set_aside().len(), 2);
    scene.round(2, kept);
    assert_eq!(scene.set_aside().len(), 0);
    assert_eq!(scene.keys().len(), 48);
    let read = scene.store.read(&key(1), &ChunkVersion::of(1), 0, 10);
    assert_eq!(read.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(scene.store.strays(kept).strays, 0);
}

#[test]
fn what_is_wanted_after_all_is_brought_back() {
    let scene = Scene::new(50);
    for now_ms in [0, 1, ms(limits::STRAY_GRACE)] {
        scene.round(3, now_ms);
    }
    assert_eq!(scene.set_aside().len(), 3);
    // Somebody reads one; of another the master says that a file refers to it.
    let scene = scene.again();
    assert_eq!(scene.first_byte(1), 1);
    assert_eq!(scene.set_aside().len(), 2);
    let keys = scene.keys();
    scene.store.learn_strays(&keys, &[key(3)], ms(limits::STRAY_GRACE) + 1).unwrap();
    assert_eq!(scene.set_aside(), BTreeSet::from([key(3).to_string()]));
    assert_eq!((scene.first_byte(2), scene.first_byte(3)), (2, 3));
}

#[test]
fn a_chunk_that_cannot_be_loaded_keeps_no_other_one() {
    let scene = Scene::new(3).again();
    let damage = |txn: &mut dyn Txn| {
        txn.put(HEADS, &encode_key(&key(2)), b"no record");
        Ok(())
    };
    scene.store.index.commit(damage).unwrap();
    let kept = scene.store.delete(&[key(1), key(2), key(3)]).unwrap();
    assert_eq!(kept.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [key(2)]);
    assert_eq!(kept[0].1.kind(), ErrorKind::Corrupt);
    assert!(scene.store.read(&key(1), &ChunkVersion::of(1), 0, 1).is_err());
}

#[test]
fn a_master_that_was_set_back_removes_nothing_until_somebody_says_so() {
    let scene = Scene::new(10);
    let late = 2 * ms(limits::STRAY_KEPT);
    scene.store.see_master(5000).unwrap();
    scene.store.see_master(0).unwrap();
    scene.store.see_master(5000).unwrap();
    scene.round(1, 0);
    scene.round(1, 1);
    assert!(!scene.store.strays(1).is_held_back);
    scene.store.see_master(4990).unwrap();
    let scene = scene.again();
    // It has as many commits again by now, but they are others.
    scene.store.see_master(6000).unwrap();
    for now_ms in [2, late, late + 1] {
        scene.round(1, now_ms);
    }
    assert_eq!((scene.keys().len(), scene.set_aside().len()), (10, 0));
    assert!(scene.store.strays(late).is_held_back);

    scene.store.confirm_strays().unwrap();
    scene.store.see_master(6001).unwrap();
    scene.round(1, late + 2);
    scene.round(1, late + 3);
    assert_eq!(scene.keys().len(), 9);
    assert!(!scene.again().store.strays(late).is_held_back);
}

#[test]
fn who_waits_for_a_chunk_that_is_set_aside_gets_it_back() {
    let scene = Scene::new(1);
    let grace_ms = ms(limits::STRAY_GRACE);
    scene.round(1, 0);
    scene.round(1, 1);
    let chunk = scene.store.chunk(&key(1));
    let first = chunk.hold_whole(scene.store.state(&chunk).unwrap());
    drop(first.1);
    std::thread::scope(|scope| {
        // One that writes, and one that sets it aside: both wait.
        let writer = scope.spawn(|| {
            let extents = [Extent { offset: 10, data: vec![9; 10].into() }];
            scene.store.write(&key(1), &ChunkVersion::of(1), &extents).map(drop)
        });
        let aside = scope.spawn(|| scene.round(1, grace_ms + 2));
        while chunk.state().waiting_for_whole == 0 {
            std::thread::yield_now();
        }
        drop(first.0);
        aside.join().unwrap();
        writer.join().unwrap().unwrap();
    });
    let read = scene.store.read(&key(1), &ChunkVersion::of(1), 0, SIZE as u64).unwrap();
    let expected = [vec![1; 10], vec![9; 10], vec![1; SIZE - 20]].concat();
    assert_eq!(read, expected);
}

#[test]
fn nothing_goes_when_there_are_too_many_until_somebody_says_so() {
    let many = limits::STRAYS_MANY + 1;
    let scene = Scene::new(many + 10);
    let late = 2 * ms(limits::STRAY_KEPT);
    for now_ms in [0, 1, late, late + 1] {
        scene.round(many, now_ms);
    }
    assert_eq!(scene.set_aside().len(), 0);
    assert_eq!(scene.keys().len() as u64, many + 10);
    let status = scene.store.strays(late);
    assert!(status.is_held_back);
    assert_eq!((status.strays, status.removed_in_s), (many, None));

    scene.store.confirm_strays().unwrap();
    // Not in the middle of a round: those that were seen in it are not known to be strays still.
    scene.store.learn_strays(&[key(1)], &[key(1)], late + 2).unwrap();
    assert_eq!(scene.keys().len() as u64, many + 10);
    scene.store.learn_strays(&[], &[], late + 2).unwrap();
    scene.round(many, late + 3);
    assert_eq!(scene.keys().len(), 10);
}
