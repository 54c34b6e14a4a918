//! Making, finding, removing and renaming names.

use super::store::Engine;
use super::{ROOT, Scene, alice, bob, name, refusal};
use crate::error::ErrorKind;
use crate::master::namespace::{CreateOpen, Reaped};
use crate::types::{Access, Change, Credentials, FileKind, Ino, RenameMode};

const READ: CreateOpen = CreateOpen { is_exclusive: false, wanted: Access::READ };

#[test]
fn mkdir_counts_links_and_sets_times() {
    let mut scene = Scene::new();
    let made = scene.run(|ns| ns.mkdir(&alice(), Ino::ROOT, &name("d"), 0o7755)).unwrap();
    assert_eq!((made.kind, made.mode, made.nlink), (FileKind::Directory, 0o1755, 2));
    assert_eq!((made.uid, made.gid), (alice().uid, alice().gid));
    let root = scene.attr(Ino::ROOT);
    assert_eq!((root.nlink, root.size, root.mtime, root.ctime), (3, 1, scene.now(), scene.now()));
    assert_eq!(scene.look(|v| v.lookup(&bob(), Ino::ROOT, &name("d"))).unwrap(), made);
    let changed = [Change::Entry(Ino::ROOT, name("d")), Change::Attributes(Ino::ROOT)];
    assert_eq!(scene.effects.changes, changed.into());
}

#[test]
fn errors_of_new_names_come_in_the_order_of_linux() {
    let mut scene = Scene::new();
    let file = scene.file(&ROOT, Ino::ROOT, "f", 0o644);
    let d = scene.directory(&ROOT, Ino::ROOT, "d", 0o755);
    scene.file(&ROOT, d, "taken", 0o644);
    let mut mkdir = |parent, text: &str| {
        refusal(scene.run(|ns| ns.mkdir(&alice(), parent, &name(text), 0o755)))
    };
    assert_eq!(mkdir(Ino(99), "x"), ErrorKind::Stale);
    assert_eq!(mkdir(file, "x"), ErrorKind::NotDirectory);
    assert_eq!(mkdir(d, "taken"), ErrorKind::Exists, "even for those who may not write");
    assert_eq!(mkdir(d, "x"), ErrorKind::AccessDenied);
    scene.chmod(d, 0o666);
    let answer = scene.run(|ns| ns.mkdir(&alice(), d, &name("taken"), 0o755));
    assert_eq!(refusal(answer), ErrorKind::AccessDenied, "without search nothing is seen");
}

#[test]
fn nothing_is_made_in_a_directory_that_was_removed() {
    let mut scene = Scene::new();
    let d = scene.directory(&alice(), Ino::ROOT, "d", 0o755);
    scene.run(|ns| ns.rmdir(&alice(), Ino::ROOT, &name("d"))).unwrap();
    assert_eq!(scene.effects.orphaned, [d]);
    assert_eq!(scene.attr(d).nlink, 0);
    let answer = scene.run(|ns| ns.mkdir(&alice(), d, &name("x"), 0o755));
    assert_eq!(refusal(answer), ErrorKind::NotFound);
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    let answer = scene.run(|ns| ns.link(&alice(), file, d, &name("x")));
    assert_eq!(refusal(answer), ErrorKind::NotFound);
    let from = (Ino::ROOT, &name("f"));
    let answer = scene.run(|ns| ns.rename(&alice(), from, (d, &name("x")), RenameMode::Replace));
    assert_eq!(refusal(answer), ErrorKind::NotFound);
}

#[test]
fn devices_are_for_the_superuser() {
    let mut scene = Scene::new();
    for (kind, rdev) in [(FileKind::CharDevice, 0x0103), (FileKind::BlockDevice, 0x0800)] {
        let text = name(&format!("{kind:?}"));
        let mut mknod =
            |who: &Credentials| scene.run(|ns| ns.mknod(who, Ino::ROOT, &text, kind, 0o644, rdev));
        assert_eq!(refusal(mknod(&alice())), ErrorKind::NotPermitted);
        let made = mknod(&ROOT).unwrap();
        assert_eq!((made.kind, made.rdev), (kind, rdev));
    }
    for (kind, error) in [
        (FileKind::Directory, ErrorKind::NotPermitted),
        (FileKind::Symlink, ErrorKind::InvalidArgument),
    ] {
        let answer = scene.run(|ns| ns.mknod(&ROOT, Ino::ROOT, &name("x"), kind, 0o644, 0));
        assert_eq!(refusal(answer), error);
    }
}

#[test]
fn create_opens_what_is_there_unless_it_is_exclusive() {
    let mut scene = Scene::new();
    let mut create = |who: &Credentials, text: &str, mode, open| {
        scene.run(|ns| ns.create(who, Ino::ROOT, &name(text), mode, open))
    };
    let (made, is_new) = create(&alice(), "f", 0o000, READ).unwrap();
    assert!(is_new, "a new file opens whatever its mode");
    let write = CreateOpen { wanted: Access::WRITE, ..READ };
    assert_eq!(refusal(create(&bob(), "f", 0o644, write)), ErrorKind::AccessDenied);
    let exclusive = CreateOpen { is_exclusive: true, ..READ };
    assert_eq!(refusal(create(&alice(), "f", 0o644, exclusive)), ErrorKind::Exists);
    assert_eq!(create(&ROOT, "f", 0o644, READ).unwrap(), (made, false));
    scene.directory(&alice(), Ino::ROOT, "d", 0o755);
    let answer = scene.run(|ns| ns.create(&alice(), Ino::ROOT, &name("d"), 0o644, READ));
    assert_eq!(refusal(answer), ErrorKind::IsDirectory);
}

#[test]
fn symlinks_keep_their_target() {
    let mut scene = Scene::new();
    let mut symlink = |target: Vec<u8>| {
        scene.run(|ns| ns.symlink(&alice(), Ino::ROOT, &name("s"), target.into()))
    };
    assert_eq!(refusal(symlink(vec![])), ErrorKind::NotFound);
    assert_eq!(refusal(symlink(vec![b'x'; 4096])), ErrorKind::NameTooLong);
    assert_eq!(refusal(symlink(b"a\0b".to_vec())), ErrorKind::InvalidArgument);
    let made = symlink(b"/no\xffwhere".to_vec()).unwrap();
    assert_eq!((made.mode, made.size), (0o777, 9));
    assert_eq!(&scene.look(|v| v.readlink(made.ino)).unwrap()[..], b"/no\xffwhere");
    assert_eq!(refusal(scene.look(|v| v.readlink(Ino::ROOT))), ErrorKind::InvalidArgument);
}

#[test]
fn an_inode_goes_when_its_last_name_and_its_last_holder_have_gone() {
    let mut scene = Scene::new();
    let before = scene.store.len();
    let file = scene.file(&alice(), Ino::ROOT, "one", 0o644);
    let linked = scene.run(|ns| ns.link(&alice(), file, Ino::ROOT, &name("two"))).unwrap();
    assert_eq!((linked.nlink, linked.ctime), (2, scene.now()));
    let left = scene.run(|ns| ns.unlink(&alice(), Ino::ROOT, &name("one"))).unwrap();
    assert_eq!((left.nlink, left.ctime), (1, scene.now()));
    assert!(scene.effects.orphaned.is_empty());
    assert_eq!(scene.run(|ns| ns.reap(file)).unwrap(), Reaped::Nothing);
    scene.run(|ns| ns.unlink(&alice(), Ino::ROOT, &name("two"))).unwrap();
    assert_eq!(scene.effects.orphaned, [file]);
    let answer = scene.run(|ns| ns.link(&alice(), file, Ino::ROOT, &name("three")));
    assert_eq!(refusal(answer), ErrorKind::NotFound, "nothing comes back from there");
    assert_eq!(scene.look(|v| v.orphans(Ino(0), 9)).unwrap().len(), 1);
    assert_eq!(scene.run(|ns| ns.reap(file)).unwrap(), Reaped::All);
    assert_eq!(scene.run(|ns| ns.reap(file)).unwrap(), Reaped::Nothing);
    assert_eq!(refusal(scene.look(|v| v.getattr(file))), ErrorKind::Stale);
    assert_eq!(scene.store.len(), before, "records were left behind");
}

#[test]
fn directories_have_one_name_and_go_only_when_empty() {
    let mut scene = Scene::new();
    let d = scene.directory(&alice(), Ino::ROOT, "d", 0o755);
    scene.file(&alice(), d, "f", 0o644);
    let answer = scene.run(|ns| ns.link(&ROOT, d, Ino::ROOT, &name("e")));
    assert_eq!(refusal(answer), ErrorKind::NotPermitted);
    let answer = scene.run(|ns| ns.unlink(&ROOT, Ino::ROOT, &name("d")));
    assert_eq!(refusal(answer), ErrorKind::IsDirectory);
    let answer = scene.run(|ns| ns.rmdir(&ROOT, Ino::ROOT, &name("d")));
    assert_eq!(refusal(answer), ErrorKind::NotEmpty);
    let answer = scene.run(|ns| ns.rmdir(&ROOT, d, &name("f")));
    assert_eq!(refusal(answer), ErrorKind::NotDirectory);
    scene.run(|ns| ns.unlink(&ROOT, d, &name("f"))).unwrap();
    scene.run(|ns| ns.rmdir(&ROOT, Ino::ROOT, &name("d"))).unwrap();
    assert_eq!(scene.attr(Ino::ROOT).nlink, 2);
}

#[test]
fn rename_replaces_and_leaves_an_orphan() {
    let mut scene = Scene::new();
    let d = scene.directory(&alice(), Ino::ROOT, "d", 0o777);
    let (f, g) = (scene.file(&alice(), Ino::ROOT, "f", 0o644), scene.file(&bob(), d, "g", 0o644));
    let places = ((Ino::ROOT, &name("f")), (d, &name("g")));
    scene.run(|ns| ns.rename(&alice(), places.0, places.1, RenameMode::Replace)).unwrap();
    assert_eq!(scene.look(|v| v.lookup(&ROOT, d, &name("g"))).unwrap().ino, f);
    assert_eq!((scene.attr(f).ctime, scene.attr(g).ctime), (scene.now(), scene.now()));
    assert_eq!(scene.effects.orphaned, [g]);
    for change in [
        Change::Entry(Ino::ROOT, name("f")),
        Change::Entry(d, name("g")),
        Change::Attributes(Ino::ROOT),
        Change::Attributes(d),
        Change::Attributes(f),
        Change::Attributes(g),
    ] {
        assert!(scene.effects.changes.contains(&change), "{change:?} was not told");
    }
}

#[test]
fn rename_forbids_loops_and_mismatches() {
    let mut scene = Scene::new();
    let a = scene.directory(&alice(), Ino::ROOT, "a", 0o755);
    let b = scene.directory(&alice(), a, "b", 0o755);
    scene.file(&alice(), b, "f", 0o644);
    scene.file(&alice(), Ino::ROOT, "f", 0o644);
    let mut rename = |from: (Ino, &str), to: (Ino, &str), mode| {
        let (from, to) = ((from.0, &name(from.1)), (to.0, &name(to.1)));
        scene.run(|ns| ns.rename(&alice(), from, to, mode))
    };
    let root = Ino::ROOT;
    for (from, to, mode, error) in [
        ((root, "a"), (b, "x"), RenameMode::Replace, ErrorKind::InvalidArgument),
        ((root, "a"), (a, "x"), RenameMode::Replace, ErrorKind::InvalidArgument),
        ((root, "a"), (b, "f"), RenameMode::Exchange, ErrorKind::InvalidArgument),
        ((b, "f"), (root, "a"), RenameMode::Exchange, ErrorKind::InvalidArgument),
        ((b, "f"), (root, "a"), RenameMode::Replace, ErrorKind::NotEmpty),
        ((root, "f"), (root, "a"), RenameMode::Replace, ErrorKind::IsDirectory),
        ((root, "a"), (root, "f"), RenameMode::Replace, ErrorKind::NotDirectory),
        ((root, "a"), (root, "f"), RenameMode::NoReplace, ErrorKind::Exists),
        ((root, "a"), (root, "x"), RenameMode::Exchange, ErrorKind::NotFound),
        ((root, "x"), (root, "f"), RenameMode::NoReplace, ErrorKind::NotFound),
    ] {
        assert_eq!(refusal(rename(from, to, mode)), error, "{from:?} to {to:?}, {mode:?}");
    }
    rename((root, "f"), (b, "f"), RenameMode::Exchange).unwrap();
    rename((a, "b"), (root, "f"), RenameMode::Exchange).unwrap();
    assert_eq!(scene.look(|v| v.parent(b)).unwrap(), root);
    assert_eq!((scene.attr(root).nlink, scene.attr(a).nlink), (4, 2));
}

#[test]
fn two_names_of_one_inode_stay() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    scene.run(|ns| ns.link(&alice(), file, Ino::ROOT, &name("g"))).unwrap();
    let places = ((Ino::ROOT, &name("f")), (Ino::ROOT, &name("g")));
    scene.run(|ns| ns.rename(&bob(), places.0, places.1, RenameMode::Replace)).unwrap();
    assert_eq!(scene.attr(file).nlink, 2);
    assert!(scene.effects.changes.is_empty());
}
