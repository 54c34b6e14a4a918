//! What is stored: limits of counts, the check of invariants, records that nobody wrote.

use super::store::Engine;
use super::{ROOT, Scene, alice, name, refusal};
use crate::error::{ErrorKind, Result};
use crate::limits;
use crate::master::namespace::records::{ENTRIES, INODES, ORDER, ORPHANS, ino_key, named_key};
use crate::master::namespace::{Namespace, RootAttr, View};
use crate::store::Txn;
use crate::types::{FileTime, Ino, RenameMode};

/// One operation in a store that is deliberately out of order, so without the check.
fn run<T>(scene: &mut Scene, work: impl FnOnce(&mut Namespace<'_>) -> Result<T>) -> Result<T> {
    scene.store.transact(|txn| work(&mut Namespace::new(txn, FileTime::default())))
}

fn set_links(scene: &mut Scene, ino: Ino, nlink: u32) {
    run(scene, |ns| {
        let mut inode = ns.inode(ino)?;
        inode.nlink = nlink;
        ns.save_inode(ino, &inode);
        Ok(())
    })
    .unwrap();
}

#[test]
fn links_have_a_limit() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    let d = scene.directory(&alice(), Ino::ROOT, "d", 0o755);
    scene.directory(&alice(), d, "sub", 0o755);
    set_links(&mut scene, file, limits::LINKS_MAX - 1);
    run(&mut scene, |ns| ns.link(&alice(), file, Ino::ROOT, &name("g"))).unwrap();
    let answer = run(&mut scene, |ns| ns.link(&alice(), file, Ino::ROOT, &name("h")));
    assert_eq!(refusal(answer), ErrorKind::TooManyLinks);
    set_links(&mut scene, Ino::ROOT, limits::LINKS_MAX);
    let answer = run(&mut scene, |ns| ns.mkdir(&alice(), Ino::ROOT, &name("e"), 0o755));
    assert_eq!(refusal(answer), ErrorKind::TooManyLinks);
    let (sub, new) = ((d, &name("sub")), (Ino::ROOT, &name("sub")));
    let answer = run(&mut scene, |ns| ns.rename(&alice(), sub, new, RenameMode::Replace));
    assert_eq!(refusal(answer), ErrorKind::TooManyLinks);
    let (f, d) = ((Ino::ROOT, &name("d")), (Ino::ROOT, &name("e")));
    run(&mut scene, |ns| ns.rename(&alice(), f, d, RenameMode::Replace)).unwrap();
}

#[test]
fn a_store_is_formatted_once() {
    let mut scene = Scene::new();
    assert_eq!(scene.attr(Ino::ROOT).generation, 7);
    let root = RootAttr { mode: 0o755, uid: 0, gid: 0 };
    assert_eq!(refusal(scene.run(|ns| ns.format(8, root))), ErrorKind::Exists);
    let empty = crate::store::Memory::default();
    assert!(!empty.look(|txn| View::new(txn).is_formatted()).unwrap());
    assert_eq!(refusal(empty.look(|txn| View::new(txn).statfs())), ErrorKind::Corrupt);
}

#[test]
fn inode_numbers_are_never_used_again() {
    let mut scene = Scene::new();
    let first = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    scene.run(|ns| ns.unlink(&alice(), Ino::ROOT, &name("f"))).unwrap();
    scene.run(|ns| ns.reap(first)).unwrap();
    assert!(scene.file(&alice(), Ino::ROOT, "f", 0o644) > first);
    assert_eq!(scene.look(|view| view.statfs()).unwrap().inodes, 2);
}

#[test]
fn the_check_finds_what_is_wrong() {
    let damages: [fn(&mut dyn Txn); 5] = [
        |txn| txn.delete(INODES, &ino_key(Ino(2))),
        |txn| txn.delete(ENTRIES, &named_key(Ino::ROOT, b"f")),
        |txn| txn.delete(ORDER, &super::super::records::numbered_key(Ino::ROOT, 3)),
        |txn| txn.put(ORPHANS, &ino_key(Ino(2)), &[1, 0, 0]),
        |txn| txn.delete(INODES, &ino_key(Ino::ROOT)),
    ];
    for damage in damages {
        let mut scene = Scene::new();
        scene.file(&ROOT, Ino::ROOT, "f", 0o644);
        scene
            .store
            .transact(|txn| {
                damage(txn);
                Ok(())
            })
            .unwrap();
        assert_ne!(scene.look(|view| view.check()).unwrap(), Vec::<String>::new());
    }
}

#[test]
fn a_record_of_another_version_is_not_guessed_at() {
    for value in [&[2, 0, 0][..], &[1, 0], &[]] {
        let mut scene = Scene::new();
        scene
            .store
            .transact(|txn| {
                txn.put(INODES, &ino_key(Ino(9)), value);
                Ok(())
            })
            .unwrap();
        assert_eq!(refusal(scene.look(|view| view.getattr(Ino(9)))), ErrorKind::Corrupt);
    }
}
