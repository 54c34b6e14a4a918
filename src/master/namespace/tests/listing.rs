//! Listing directories while they change.

use std::collections::BTreeMap;

use super::{ROOT, Scene, alice, name, refusal};
use crate::error::ErrorKind;
use crate::limits;
use crate::master::namespace::{Namespace, PageRequest};
use crate::types::{Cookie, DirPage, FileTime, Ino, Name, RenameMode};

fn page(scene: &Scene, after: Cookie, until: Option<Cookie>, limit: usize) -> DirPage {
    let request = PageRequest { after, until, limit, with_attr: true };
    scene.look(|view| view.readdir(Ino::ROOT, request)).unwrap()
}

/// Lists the root in pages of `limit`, with something happening behind every page.
fn list(scene: &mut Scene, limit: usize, mut between: impl FnMut(&mut Scene)) -> Vec<Name> {
    let (mut names, mut after, mut until) = (Vec::new(), Cookie::START, None);
    loop {
        let page = page(scene, after, until, limit);
        until = Some(page.until);
        names.extend(page.entries.iter().map(|entry| entry.name.clone()));
        assert!(page.entries.iter().all(|entry| entry.attr.as_ref().unwrap().ino == entry.ino));
        match page.entries.last() {
            Some(last) if !page.is_last => after = last.cookie,
            _ => return names,
        }
        between(scene);
    }
}

fn scene_with(count: usize) -> Scene {
    let mut scene = Scene::new();
    for i in 0..count {
        scene.file(&alice(), Ino::ROOT, &format!("f{i}"), 0o644);
    }
    scene
}

#[test]
fn names_that_stay_are_listed_once_whatever_comes_and_goes() {
    for limit in 1..6 {
        let mut scene = scene_with(20);
        let mut step = 0;
        let names = list(&mut scene, limit, |scene| {
            // Every third name goes, in any order, and a new one comes for each.
            if step < 18 {
                let old = name(&format!("f{}", (step * 7 + 3) % 18));
                scene.run(|ns| ns.unlink(&ROOT, Ino::ROOT, &old)).unwrap();
                scene.file(&alice(), Ino::ROOT, &format!("new{step}"), 0o644);
                step += 3;
            }
        });
        let mut times = BTreeMap::new();
        for found in names {
            *times.entry(found).or_insert(0) += 1;
        }
        for i in 0..20 {
            let stays = (0..step).step_by(3).all(|step| (step * 7 + 3) % 18 != i);
            let seen = times.get(&name(&format!("f{i}"))).copied().unwrap_or(0);
            assert!(seen == 1 || (!stays && seen == 0), "f{i} was seen {seen} times");
        }
    }
}

#[test]
fn a_reader_who_renames_what_he_reads_comes_to_an_end() {
    let mut scene = scene_with(10);
    let d = scene.directory(&alice(), Ino::ROOT, "d", 0o777);
    let mut step = 0;
    let names = list(&mut scene, 1, |scene| {
        // Out of the directory and in again under a new name, which is the last of all then.
        let (old, new) = (name(&format!("f{step}")), name(&format!("g{step}")));
        for (from, to) in [((Ino::ROOT, &old), (d, &old)), ((d, &old), (Ino::ROOT, &new))] {
            if step < 10 {
                scene.run(|ns| ns.rename(&alice(), from, to, RenameMode::Replace)).unwrap();
            }
        }
        step += 1;
    });
    assert_eq!(names.len(), 11);
}

#[test]
fn renaming_within_a_directory_keeps_the_place() {
    let mut scene = scene_with(3);
    let cookie = |scene: &Scene, text: &str| {
        let all = page(scene, Cookie::START, None, 100).entries;
        all.into_iter().find(|entry| entry.name == name(text)).unwrap().cookie
    };
    let places: Vec<_> = ["f0", "f1", "f2"].iter().map(|text| cookie(&scene, text)).collect();
    assert_eq!(places[0], Cookie::FIRST);
    let mut rename = |from: &str, to: &str, mode| {
        let (from, to) = (name(from), name(to));
        scene.run(|ns| ns.rename(&ROOT, (Ino::ROOT, &from), (Ino::ROOT, &to), mode)).unwrap();
    };
    rename("f0", "g", RenameMode::Replace);
    rename("f1", "f2", RenameMode::Replace);
    rename("g", "f2", RenameMode::Exchange);
    assert_eq!((cookie(&scene, "g"), cookie(&scene, "f2")), (places[0], places[2]));
}

#[test]
fn pages_know_their_end_and_their_parent() {
    let mut scene = scene_with(4);
    let last = page(&scene, Cookie::START, None, 5);
    assert_eq!((last.entries.len(), last.is_last, last.parent), (4, true, Ino::ROOT));
    assert!(!page(&scene, Cookie::START, None, 4).is_last);
    assert!(page(&scene, Cookie(u64::MAX), None, 4).entries.is_empty());
    assert_eq!(page(&scene, Cookie::START, None, 0).entries.len(), 1);
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    let request = PageRequest { after: Cookie::START, until: None, limit: 9, with_attr: false };
    let answer = scene.look(|view| view.readdir(file, request));
    assert_eq!(refusal(answer), ErrorKind::NotDirectory);
    let d = scene.directory(&alice(), Ino::ROOT, "d", 0o755);
    scene.run(|ns| ns.rmdir(&alice(), Ino::ROOT, &name("d"))).unwrap();
    assert!(scene.look(|view| view.readdir(d, request)).unwrap().entries.is_empty());
}

/// 100,000 names, made and listed and removed, without one operation that looks at all of them.
#[test]
fn large_directories_are_listed_in_pages() {
    use super::store::Engine;
    let mut scene = Scene::new();
    let count = 100_000;
    let now = FileTime::default();
    scene
        .store
        .transact(|txn| {
            let mut ns = Namespace::new(txn, now);
            for i in 0..count {
                ns.mkdir(&alice(), Ino::ROOT, &name(&format!("{i:x}")), 0o755)?;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(scene.attr(Ino::ROOT).size, count);
    assert_eq!(u64::from(scene.attr(Ino::ROOT).nlink), count + 2);
    let (mut seen, mut after) = (0, Cookie::START);
    loop {
        let page = page(&scene, after, None, usize::MAX);
        assert!(page.entries.len() <= limits::DIRECTORY_PAGE_MAX);
        seen += page.entries.len() as u64;
        match page.entries.last() {
            Some(last) => after = last.cookie,
            None => break,
        }
    }
    assert_eq!(seen, count);
}
