//! Who may do what: permission bits, groups, sticky directories, set-id bits, attributes.

use super::{ROOT, Scene, alice, bob, name, refusal};
use crate::error::{ErrorKind, Result};
use crate::types::{
    Access, Attr, Change, Credentials, FileKind, FileTime, Ino, RenameMode, SetAttr, SetTime,
};

fn chmod(scene: &mut Scene, who: &Credentials, ino: Ino, mode: u32) -> Result<Attr> {
    let set = SetAttr { mode: Some(mode), ..SetAttr::default() };
    scene.run(|ns| ns.setattr(who, ino, &set))
}

fn chown(
    scene: &mut Scene,
    who: &Credentials,
    ino: Ino,
    uid: Option<u32>,
    gid: Option<u32>,
) -> Result<Attr> {
    scene.run(|ns| ns.setattr(who, ino, &SetAttr { uid, gid, ..SetAttr::default() }))
}

fn truncate(scene: &mut Scene, who: &Credentials, ino: Ino, size: u64) -> Result<Attr> {
    let set = SetAttr { size: Some(size), ..SetAttr::default() };
    scene.run(|ns| ns.setattr(who, ino, &set))
}

fn utimens(
    scene: &mut Scene,
    who: &Credentials,
    ino: Ino,
    atime: SetTime,
    mtime: SetTime,
) -> Result<Attr> {
    let set = SetAttr { atime, mtime, ..SetAttr::default() };
    scene.run(|ns| ns.setattr(who, ino, &set))
}

#[test]
fn the_class_that_fits_first_decides() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o047);
    let shared = Credentials { gid: alice().gid, ..bob() };
    let may = |who: &Credentials, wanted| scene.look(|v| v.access(who, file, wanted)).is_ok();
    assert!(!may(&alice(), Access::READ), "the owner has less than others");
    assert!(may(&shared, Access::READ) && !may(&shared, Access::WRITE));
    assert!(may(&bob(), Access::READ.and(Access::WRITE).and(Access::EXECUTE)));
    assert!(may(&ROOT, Access::READ.and(Access::WRITE).and(Access::EXECUTE)));
    let by_supplement = Credentials { groups: vec![alice().gid], ..bob() };
    assert!(!may(&by_supplement, Access::WRITE));
}

#[test]
fn the_superuser_executes_only_programs() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o666);
    let d = scene.directory(&alice(), Ino::ROOT, "d", 0o000);
    let execute = |ino| scene.look(|v| v.access(&ROOT, ino, Access::EXECUTE));
    assert_eq!(refusal(execute(file)), ErrorKind::AccessDenied);
    assert!(execute(d).is_ok());
}

#[test]
fn open_judges_by_kind_first() {
    let mut scene = Scene::new();
    let d = scene.directory(&alice(), Ino::ROOT, "d", 0o000);
    let link = scene.run(|ns| ns.symlink(&bob(), Ino::ROOT, &name("s"), "x".into())).unwrap().ino;
    let open = |ino, wanted| scene.look(|v| v.open(&bob(), ino, wanted));
    assert_eq!(refusal(open(link, Access::READ)), ErrorKind::SymlinkLoop);
    assert_eq!(refusal(open(d, Access::WRITE)), ErrorKind::IsDirectory);
    assert_eq!(refusal(open(d, Access::READ)), ErrorKind::AccessDenied);
    assert!(open(Ino::ROOT, Access::READ).is_ok());
}

#[test]
fn in_a_sticky_directory_only_owners_remove() {
    let mut scene = Scene::new();
    scene.chmod(Ino::ROOT, 0o1777);
    scene.file(&alice(), Ino::ROOT, "f", 0o666);
    scene.file(&bob(), Ino::ROOT, "g", 0o666);
    let (f, g) = ((Ino::ROOT, &name("f")), (Ino::ROOT, &name("g")));
    let answer = scene.run(|ns| ns.unlink(&bob(), f.0, f.1));
    assert_eq!(refusal(answer), ErrorKind::NotPermitted);
    let answer = scene.run(|ns| ns.rename(&bob(), f, g, RenameMode::Replace));
    assert_eq!(refusal(answer), ErrorKind::NotPermitted);
    let answer = scene.run(|ns| ns.rename(&alice(), f, g, RenameMode::Replace));
    assert_eq!(refusal(answer), ErrorKind::NotPermitted, "the one replaced counts as removed");
    chown(&mut scene, &ROOT, Ino::ROOT, Some(bob().uid), None).unwrap();
    scene.run(|ns| ns.unlink(&bob(), f.0, f.1)).unwrap();
}

#[test]
fn set_group_id_directories_pass_on_their_group() {
    let mut scene = Scene::new();
    let d = scene.directory(&alice(), Ino::ROOT, "d", 0o777);
    chown(&mut scene, &ROOT, d, None, Some(3000)).unwrap();
    scene.chmod(d, 0o2777);
    let sub = scene.directory(&bob(), d, "sub", 0o755);
    assert_eq!((scene.attr(sub).gid, scene.attr(sub).mode), (3000, 0o2755));
    let stranger = Credentials { uid: 9, gid: 9, groups: vec![], umask: 0o022 };
    let file = scene.file(&stranger, d, "f", 0o2777);
    assert_eq!((scene.attr(file).gid, scene.attr(file).mode), (3000, 0o755));
    let file = scene.file(&bob(), d, "g", 0o2777);
    assert_eq!(scene.attr(file).mode, 0o2777, "a member of the group may set its id");
}

#[test]
fn chmod_is_for_owners_and_keeps_the_group_honest() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    assert_eq!(refusal(chmod(&mut scene, &bob(), file, 0o666)), ErrorKind::NotPermitted);
    assert_eq!(chmod(&mut scene, &alice(), file, 0o106_755).unwrap().mode, 0o6755);
    assert_eq!(scene.attr(file).ctime, scene.now());
    chown(&mut scene, &ROOT, file, None, Some(77)).unwrap();
    assert_eq!(chmod(&mut scene, &alice(), file, 0o6755).unwrap().mode, 0o4755);
    let link = scene.run(|ns| ns.symlink(&ROOT, Ino::ROOT, &name("s"), "x".into())).unwrap().ino;
    assert_eq!(refusal(chmod(&mut scene, &ROOT, link, 0o644)), ErrorKind::Unsupported);
}

#[test]
fn chown_is_for_the_superuser_and_clears_set_id_bits() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o6755);
    let forbidden = [(Some(bob().uid), None), (None, Some(77)), (Some(bob().uid), Some(3000))];
    for (uid, gid) in forbidden {
        let answer = chown(&mut scene, &alice(), file, uid, gid);
        assert_eq!(refusal(answer), ErrorKind::NotPermitted);
    }
    let answer = chown(&mut scene, &bob(), file, None, Some(3000));
    assert_eq!(refusal(answer), ErrorKind::NotPermitted);
    let after = chown(&mut scene, &alice(), file, Some(alice().uid), Some(3000)).unwrap();
    assert_eq!((after.gid, after.mode), (3000, 0o755));
    scene.chmod(file, 0o6745);
    let after = chown(&mut scene, &ROOT, file, Some(bob().uid), None).unwrap();
    assert_eq!((after.uid, after.mode), (bob().uid, 0o2745), "without g+x the bit is no set-id");
    let answer = chown(&mut scene, &ROOT, file, Some(u32::MAX), None);
    assert_eq!(refusal(answer), ErrorKind::InvalidArgument);
    scene.chmod(Ino::ROOT, 0o3777);
    assert_eq!(chown(&mut scene, &ROOT, Ino::ROOT, Some(5), None).unwrap().mode, 0o3777);
}

#[test]
fn who_may_write_may_touch_and_only_owners_choose_times() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o446);
    let at = SetTime::At(FileTime::new(-5, 999).unwrap());
    let (now, keep) = (SetTime::Now, SetTime::Keep);
    for (atime, mtime) in [(at, at), (at, keep), (keep, now), (now, keep), (now, at)] {
        let answer = utimens(&mut scene, &bob(), file, atime, mtime);
        assert_eq!(refusal(answer), ErrorKind::NotPermitted);
        utimens(&mut scene, &alice(), file, atime, mtime).unwrap();
    }
    let none = SetTime::At(FileTime { seconds: 0, nanoseconds: 1_000_000_000 });
    for (atime, mtime) in [(none, keep), (now, none)] {
        let answer = utimens(&mut scene, &alice(), file, atime, mtime);
        assert_eq!(refusal(answer), ErrorKind::InvalidArgument);
    }
    let touched = utimens(&mut scene, &bob(), file, now, now).unwrap();
    let times = (touched.atime, touched.mtime, touched.ctime);
    assert_eq!(times, (scene.now(), scene.now(), scene.now()));
    scene.chmod(file, 0o444);
    let answer = utimens(&mut scene, &bob(), file, now, now);
    assert_eq!(refusal(answer), ErrorKind::AccessDenied);
    utimens(&mut scene, &bob(), file, keep, keep).unwrap();
    assert!(scene.effects.changes.is_empty(), "to keep both times needs nothing and does nothing");
    let after = utimens(&mut scene, &alice(), file, keep, at).unwrap();
    assert_eq!((after.mtime.seconds, after.atime), (-5, touched.atime));
}

#[test]
fn truncate_needs_write_permission_or_a_handle() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o4555);
    let d = scene.directory(&alice(), Ino::ROOT, "d", 0o755);
    let fifo = scene.run(|ns| ns.mknod(&alice(), d, &name("p"), FileKind::Fifo, 0o644, 0));
    assert_eq!(refusal(truncate(&mut scene, &bob(), d, 0)), ErrorKind::IsDirectory);
    let answer = truncate(&mut scene, &bob(), fifo.unwrap().ino, 0);
    assert_eq!(refusal(answer), ErrorKind::InvalidArgument);
    assert_eq!(refusal(truncate(&mut scene, &alice(), file, 0)), ErrorKind::AccessDenied);
    assert_eq!(refusal(truncate(&mut scene, &ROOT, file, 1 << 63)), ErrorKind::FileTooLarge);
    assert_eq!(truncate(&mut scene, &ROOT, file, 5).unwrap().mode, 0o4555);
    let set = SetAttr { size: Some(9), by_handle: true, ..SetAttr::default() };
    let after = scene.run(|ns| ns.setattr(&alice(), file, &set)).unwrap();
    assert_eq!((after.size, after.mode, after.mtime), (9, 0o555, scene.now()));
    assert!(scene.effects.changes.contains(&Change::Contents(file, after.data_version)));
}

#[test]
fn a_directory_that_moves_is_written_to() {
    let mut scene = Scene::new();
    let a = scene.directory(&alice(), Ino::ROOT, "a", 0o777);
    let b = scene.directory(&alice(), Ino::ROOT, "b", 0o777);
    scene.directory(&alice(), a, "d", 0o755);
    let (here, there, elsewhere) = ((a, &name("d")), (a, &name("e")), (b, &name("d")));
    scene.run(|ns| ns.rename(&bob(), here, there, RenameMode::Replace)).unwrap();
    let answer = scene.run(|ns| ns.rename(&bob(), there, elsewhere, RenameMode::Replace));
    assert_eq!(refusal(answer), ErrorKind::AccessDenied);
    scene.run(|ns| ns.rename(&alice(), there, elsewhere, RenameMode::Replace)).unwrap();
}

#[test]
fn access_times_are_relative() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    assert!(scene.run(|ns| ns.accessed(file)).unwrap());
    assert!(!scene.run(|ns| ns.accessed(file)).unwrap(), "nothing was written since");
    truncate(&mut scene, &alice(), file, 1).unwrap();
    assert!(scene.run(|ns| ns.accessed(file)).unwrap());
    scene.seconds += 86_400;
    assert!(scene.run(|ns| ns.accessed(file)).unwrap());
}
