//! Numbers that are given out once, whatever the master forgets in between.

use super::{ROOT, Scene, alice, name, refusal};
use crate::error::ErrorKind;
use crate::limits::CHUNK_SIZE;
use crate::master::namespace::records::{META, Superblock, SuperblockV1, encode};
use crate::master::namespace::{ChunkUse, Life};
use crate::store::Memory;
use crate::types::{ChunkKey, ChunkLayout, Ino, ServerId, SetAttr};

/// Inodes that are reserved at a time here.
const RANGE: u64 = 10;

impl Scene {
    /// A start of the master.
    fn begin_life(&mut self, number: u64) {
        let version_floor = 1000 * number;
        let generation = u32::try_from(number).unwrap();
        self.run(|ns| ns.begin_life(Life { number: number << 40, generation, version_floor }))
            .unwrap();
        self.run(|ns| ns.reserve_inodes(RANGE)).unwrap();
    }

    /// A file with a chunk of 1000 bytes.
    fn written(&mut self, text: &str) -> ChunkLayout {
        let ino = self.file(&alice(), Ino::ROOT, text, 0o644);
        let servers = [ServerId::new(1)];
        let chunk = self.run(|ns| ns.allocate(ino, 0, &servers)).unwrap();
        let used = ChunkUse { key: chunk.key, version: chunk.version, bytes: 1000 };
        self.run(|ns| ns.extend(&alice(), ino, 1000, &[used])).unwrap();
        chunk
    }

    fn cut(&mut self, ino: Ino, size: u64) -> ChunkLayout {
        let change = SetAttr { size: Some(size), ..SetAttr::default() };
        self.run(|ns| ns.setattr(&ROOT, ino, &change)).unwrap();
        self.look(|view| view.layout(ino, 0, 1)).unwrap().chunks[0].clone()
    }
}

/// What is on the disk at a power cut: all that was committed before a moment.
fn forgotten(scene: &mut Scene, work: impl FnOnce(&mut Scene) -> Vec<ChunkKey>) -> Vec<ChunkKey> {
    let kept: Memory = scene.store.clone();
    let keys = work(scene);
    scene.store = kept;
    keys
}

#[test]
fn what_was_given_out_and_forgotten_is_not_given_out_again() {
    let mut scene = Scene::new();
    scene.begin_life(1);
    let old = scene.written("old");
    let lost = forgotten(&mut scene, |scene| {
        let new = (0..5).map(|n| scene.written(&format!("lost-{n}")).key);
        let mut keys: Vec<ChunkKey> = new.collect();
        // And a new chunk in the place of one that was there.
        scene.cut(old.key.ino, 1000);
        let empty = SetAttr { size: Some(0), ..SetAttr::default() };
        scene.run(|ns| ns.setattr(&ROOT, old.key.ino, &empty)).unwrap();
        keys.push(scene.run(|ns| ns.allocate(old.key.ino, 0, &[ServerId::new(1)])).unwrap().key);
        keys
    });
    scene.begin_life(2);
    let mut again: Vec<ChunkKey> = (0..5).map(|n| scene.written(&format!("new-{n}")).key).collect();
    let inodes = lost[..5].iter().map(|key| key.ino).max().unwrap();
    assert!(again.iter().all(|key| key.ino > inodes), "{lost:?} {again:?}");
    let empty = SetAttr { size: Some(0), ..SetAttr::default() };
    scene.run(|ns| ns.setattr(&ROOT, old.key.ino, &empty)).unwrap();
    again.push(scene.run(|ns| ns.allocate(old.key.ino, 0, &[ServerId::new(1)])).unwrap().key);
    assert!(again.iter().all(|key| !lost.contains(key)), "{lost:?} {again:?}");
}

#[test]
fn versions_of_cuts_grow_from_life_to_life() {
    let mut scene = Scene::new();
    scene.begin_life(1);
    let key = scene.written("f").key;
    let mut lost = 0;
    forgotten(&mut scene, |scene| {
        lost = scene.cut(key.ino, 500).version;
        Vec::new()
    });
    scene.begin_life(2);
    assert!(scene.cut(key.ino, 700).version > lost);
    // A clock that went back does not change that.
    let before = scene.cut(key.ino, 600).version;
    scene.begin_life(1);
    assert!(scene.cut(key.ino, 550).version > before);
}

#[test]
fn no_number_is_given_out_that_is_not_reserved() {
    let mut scene = Scene::new();
    scene.begin_life(1);
    assert!(!scene.look(|view| view.needs_inodes(RANGE)).unwrap());
    for n in 0..RANGE {
        scene.file(&alice(), Ino::ROOT, &format!("{n}"), 0o644);
    }
    assert!(scene.look(|view| view.needs_inodes(RANGE)).unwrap());
    let refused = scene.run(|ns| ns.mkdir(&alice(), Ino::ROOT, &name("d"), 0o755));
    assert_eq!(refusal(refused), ErrorKind::Io);
    scene.run(|ns| ns.reserve_inodes(RANGE)).unwrap();
    scene.directory(&alice(), Ino::ROOT, "d", 0o755);
}

#[test]
fn chunks_of_unknown_files_show_how_far_the_numbers_were() {
    let mut scene = Scene::new();
    scene.begin_life(1);
    let known = scene.written("f").key;
    let ahead = ChunkKey { ino: Ino(known.ino.0 + 1_000_000), ..known };
    assert!(!scene.run(|ns| ns.see_foreign_chunk(known)).unwrap());
    assert!(scene.run(|ns| ns.see_foreign_chunk(ahead)).unwrap());
    scene.run(|ns| ns.reserve_inodes(RANGE)).unwrap();
    assert!(scene.file(&alice(), Ino::ROOT, "g", 0o644) > ahead.ino);
    // A number that nobody can have come to takes all others with it.
    let absurd = ChunkKey { ino: Ino(u64::MAX - 1), ..known };
    assert!(scene.run(|ns| ns.see_foreign_chunk(absurd)).unwrap());
    assert!(scene.file(&alice(), Ino::ROOT, "h", 0o644) < Ino(2_000_000));
}

#[test]
fn a_version_that_was_forgotten_stands() {
    let mut scene = Scene::new();
    scene.begin_life(1);
    let chunk = scene.written("f");
    scene.run(|ns| ns.see_newer_version(chunk.key, 77)).unwrap();
    let now = scene.look(|view| view.chunk_layout(chunk.key)).unwrap().unwrap();
    assert_eq!((now.version, now.cuts_from, now.cuts), (77, 77, Vec::new()));
    assert_eq!(now.key, chunk.key);
    // One that is older changes nothing, nor does one of another chunk.
    scene.run(|ns| ns.see_newer_version(chunk.key, 5)).unwrap();
    let other = ChunkKey { incarnation: chunk.key.incarnation + 1, ..chunk.key };
    scene.run(|ns| ns.see_newer_version(other, 99)).unwrap();
    let now = scene.look(|view| view.chunk_layout(chunk.key)).unwrap().unwrap();
    assert_eq!(now.version, 77);
    let used = ChunkUse { key: chunk.key, version: 77, bytes: CHUNK_SIZE };
    scene.run(|ns| ns.extend(&alice(), chunk.key.ino, CHUNK_SIZE, &[used])).unwrap();
}

#[test]
fn the_superblock_of_earlier_versions_is_read() {
    let mut scene = Scene::new();
    let before = scene.file(&alice(), Ino::ROOT, "before", 0o644);
    let superblock: Superblock = scene.look(|view| view.superblock()).unwrap();
    let earlier = SuperblockV1::from(superblock);
    scene
        .store
        .write(|txn| {
            txn.put(META, b"superblock", &encode(&earlier));
            Ok(())
        })
        .unwrap();
    assert!(scene.file(&alice(), Ino::ROOT, "between", 0o644) > before);
    scene.begin_life(1);
    scene.file(&alice(), Ino::ROOT, "after", 0o644);
}
