//! The same on a real folder and a real index.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use super::super::{NativeStore, TABLES};
use super::{extent, key, kind, v1};
use crate::chunk::native::{ChunkSource, CopyFrom};
use crate::error::{ErrorKind, Result};
use crate::store::Store;
use crate::types::Whence;

fn open(folder: &Path) -> NativeStore {
    let store = Arc::new(Store::open(&folder.join("index"), &TABLES).unwrap());
    NativeStore::open(store, &folder.join("chunks")).unwrap()
}

#[test]
fn contents_survive_a_restart_and_damage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.write(&key(7), &v1(), &extent(1 << 20, vec![3; 200_000])).unwrap();
    store.sync_all().unwrap();
    store.write(&key(8), &v1(), &extent(0, vec![4; 10])).unwrap();
    drop(store);
    let store = open(folder.path());
    store.inspect().unwrap();
    assert_eq!(store.read(&key(7), &v1(), (1 << 20) - 5, 10).unwrap(), [[0; 5], [3; 5]].concat());
    assert_eq!(store.read(&key(8), &v1(), 0, 100).unwrap(), vec![4; 10]);
    drop(store);
    let file =
        walk(&folder.path().join("chunks")).into_iter().find(|p| p.ends_with("7.0")).unwrap();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let mut data = std::fs::read(&file).unwrap();
    data[(1 << 20) + 100_000] ^= 1;
    std::fs::write(&file, data).unwrap();
    let store = open(folder.path());
    assert_eq!(kind(store.read(&key(7), &v1(), (1 << 20) + 100_000, 1)), ErrorKind::Corrupt);
    assert_eq!(store.read(&key(7), &v1(), 1 << 20, 1).unwrap(), vec![3]);
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn holes_are_found_and_copied_as_holes() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.write(&key(1), &v1(), &extent(10 << 20, vec![1; 100_000])).unwrap();
    store.lengthen(&key(1), &v1(), 30 << 20).unwrap();
    let seek = |offset, whence| store.seek(&key(1), &v1(), offset, whence).unwrap();
    let end = (10 << 20) + 100_000;
    assert_eq!(seek(5, Whence::Hole), Some(5));
    assert_eq!(seek(5, Whence::Data), Some(10 << 20));
    assert_eq!(seek(10 << 20, Whence::Hole), Some(end));
    assert_eq!(seek(end, Whence::Data), None);
    assert_eq!(seek(40 << 20, Whence::Hole), Some(40 << 20));
    assert_eq!(seek(64 << 20, Whence::Hole), None);
    let from = CopyFrom { key: key(1), at: v1(), offset: 0 };
    store.copy(&store, &from, (&key(2), &v1()), 0, 30 << 20).unwrap();
    let read = |ino| ChunkSource::read(&store, &key(ino), &v1(), 0, 64 << 20).unwrap();
    assert!(read(1) == read(2));
    assert_eq!(store.stat(&key(2)).unwrap().held, 100_000);
    store.punch(&key(2), &v1(), 10 << 20, 100_000).unwrap();
    assert_eq!(store.stat(&key(2)).unwrap().held, 0);
    store.sync_all().unwrap();
    assert_eq!(store.space().unwrap().held, 100_000);
}

#[test]
fn a_folder_without_its_index_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.write(&key(1), &v1(), &extent(0, vec![1; 100_000])).unwrap();
    store.sync_all().unwrap();
    drop(store);
    std::fs::rename(folder.path().join("index"), folder.path().join("lost")).unwrap();
    assert_eq!(kind(reopen(folder.path())), ErrorKind::Corrupt);
    assert_eq!(walk(&folder.path().join("chunks")).len(), 2);
}

#[test]
fn an_empty_folder_without_its_index_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    // It is in the index, with its contents.
    store.write(&key(1), &v1(), &extent(0, vec![1])).unwrap();
    store.sync_all().unwrap();
    drop(store);
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    assert_eq!(kind(reopen(folder.path())), ErrorKind::Corrupt);
}

fn reopen(folder: &Path) -> Result<()> {
    let index = Arc::new(Store::open(&folder.join("index"), &TABLES).unwrap());
    NativeStore::open(index, &folder.join("chunks")).map(drop)
}

#[test]
fn deleted_chunks_and_forgotten_files_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let chunks = folder.path().join("chunks");
    for ino in 1..100 {
        store.write(&key(ino), &v1(), &extent(0, vec![1; 20_000])).unwrap();
    }
    store.sync_all().unwrap();
    let find = |name: &str| walk(&chunks).into_iter().find(|path| path.ends_with(name)).unwrap();
    let forgotten = find("98.0");
    std::fs::hard_link(&forgotten, folder.path().join("saved")).unwrap();
    let keys: Vec<_> = (1..99).map(key).collect();
    store.delete(&keys).unwrap();
    store.delete(&keys).unwrap();
    assert_eq!(kind(store.read(&key(5), &v1(), 0, 1)), ErrorKind::NotFound);
    assert_eq!(store.list(None, 10).unwrap().len(), 1);
    std::fs::rename(folder.path().join("saved"), forgotten).unwrap();
    store.inspect().unwrap();
    assert_eq!(walk(&chunks).len(), 2, "the identity and one chunk");
    assert_eq!(store.read(&key(99), &v1(), 0, 1).unwrap(), vec![1]);
}
