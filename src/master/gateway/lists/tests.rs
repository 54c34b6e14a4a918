//! The orders in which clients delete names and put lists, one client or several, over time.

use std::collections::HashSet;
use std::sync::{Arc, Weak};

use super::{ListedEntry, Lists};
use crate::clock::Timestamp;
use crate::limits;
use crate::types::{Cookie, FileKind, Ino, Name};

const DIR: Ino = Ino::ROOT;
const NOW: Timestamp = Timestamp(1_000_000);

fn name(text: &str) -> Name {
    Name::new(text.to_owned()).unwrap()
}

fn list(names: &[&str]) -> HashSet<Name> {
    names.iter().map(|text| name(text)).collect()
}

fn entry(text: &str, kind: FileKind) -> ListedEntry {
    ListedEntry { name: name(text), cookie: Cookie(50), kind }
}

/// A client with a connection that it keeps.
#[derive(Default)]
struct Client(Arc<()>);

impl Client {
    fn token(&self) -> Weak<()> {
        Arc::downgrade(&self.0)
    }
}

/// Directories whose names all have cookies below 100.
#[derive(Default)]
struct Scene(Lists);

impl Scene {
    fn delete(&mut self, text: &str, by: &Weak<()>) -> bool {
        self.0.delete(DIR, &entry(text, FileKind::Directory), by, NOW)
    }

    fn put(&mut self, names: &[&str], by: &Weak<()>) {
        self.0.put(DIR, vec![list(names)], Cookie(100), by, NOW);
    }

    fn shown(&mut self) -> Vec<Name> {
        self.0.show(DIR, NOW)
    }
}

#[test]
fn a_rename_finds_the_old_name_and_the_next_list_ends_it() {
    let (mut scene, client) = (Scene::default(), Client::default());
    scene.put(&["a"], &client.token());
    assert!(scene.delete("a", &client.token()));
    assert_eq!(scene.shown(), [name("a")]);
    assert_eq!(scene.0.show(Ino(7), NOW), [], "it is of another directory");
    scene.put(&["b"], &client.token());
    assert_eq!(scene.shown(), []);
}

#[test]
fn an_unlink_leaves_nothing_behind() {
    let (mut scene, client) = (Scene::default(), Client::default());
    scene.put(&["a", "b"], &client.token());
    scene.put(&["b"], &client.token());
    assert!(!scene.delete("a", &client.token()));
    assert_eq!(scene.shown(), []);
    // What was made after that list, it says nothing about.
    let late = ListedEntry { cookie: Cookie(100), ..entry("late", FileKind::Regular) };
    assert!(scene.0.delete(DIR, &late, &client.token(), NOW));
}

#[test]
fn a_list_that_another_client_got_before_ends_nothing() {
    let (mut scene, one, other) = (Scene::default(), Client::default(), Client::default());
    scene.put(&["x"], &other.token());
    assert!(scene.delete("a", &one.token()), "the other one never knew of it");
    scene.put(&["x", "y"], &other.token());
    assert_eq!(scene.shown(), [name("a")]);
    scene.put(&["x", "y"], &other.token());
    assert_eq!(scene.shown(), [name("a")]);
    scene.put(&["x", "y"], &one.token());
    assert_eq!(scene.shown(), []);
}

#[test]
fn lists_that_are_taken_together_are_told_apart() {
    let (mut scene, one, other) = (Scene::default(), Client::default(), Client::default());
    // The other one's list, from before, is taken along with one's, which has the name.
    scene.0.put(DIR, vec![list(&["a", "x"]), list(&["x"])], Cookie(100), &one.token(), NOW);
    assert!(scene.delete("a", &one.token()));
    // One's list is taken along with the other one's.
    scene.0.put(DIR, vec![list(&["x"]), list(&["a", "x"])], Cookie(100), &other.token(), NOW);
    assert_eq!(scene.shown(), [name("a")]);
    scene.0.put(DIR, Vec::new(), Cookie(100), &one.token(), NOW);
    assert_eq!(scene.shown(), []);
    // What it has put last is one of two lists: a file that it deletes now is off the list, and a
    // directory may be on it.
    let x = |kind| entry("x", kind);
    scene.0.put(DIR, vec![list(&["x"]), list(&[])], Cookie(100), &other.token(), NOW);
    scene.0.put(DIR, Vec::new(), Cookie(100), &one.token(), NOW);
    assert!(!scene.0.delete(DIR, &x(FileKind::Regular), &one.token(), NOW));
    scene.0.put(DIR, Vec::new(), Cookie(100), &one.token(), NOW);
    assert!(scene.0.delete(DIR, &x(FileKind::Directory), &one.token(), NOW));
    assert!(scene.0.delete(DIR, &x(FileKind::Regular), &one.token(), NOW), "it has gone on since");
}

#[test]
fn clients_with_a_connection_for_each_call_go_by_what_they_have_seen() {
    let mut scene = Scene::default();
    let closed = || Client::default().token();
    scene.put(&["a", "b"], &closed());
    assert!(scene.delete("a", &closed()));
    scene.put(&["b"], &closed());
    assert_eq!(scene.shown(), [name("a")], "nobody has seen it before that list");
    scene.put(&["b"], &closed());
    assert_eq!(scene.shown(), []);
    // The order of unlink.
    scene.put(&[], &closed());
    assert!(!scene.delete("b", &closed()));
}

#[test]
fn a_client_that_dies_leaves_the_name_for_a_while_only() {
    let (mut scene, client) = (Scene::default(), Client::default());
    let grace_ms = u64::try_from(limits::DELETED_NAME_GRACE.as_millis()).unwrap();
    assert!(scene.delete("a", &client.token()));
    drop(client);
    assert_eq!(scene.0.show(DIR, Timestamp(NOW.0 + grace_ms - 1)), [name("a")]);
    assert_eq!(scene.0.show(DIR, Timestamp(NOW.0 + grace_ms)), []);
    assert!(scene.0.directories.is_empty() && scene.0.size == 0);
}

#[test]
fn a_name_stays_whatever_its_client_deletes_or_stores_next() {
    let (mut scene, client) = (Scene::default(), Client::default());
    scene.put(&[], &client.token());
    scene.put(&["a", "b"], &client.token());
    let file = |text| ListedEntry { cookie: Cookie(50), ..entry(text, FileKind::Regular) };
    assert!(scene.0.delete(DIR, &file("a"), &client.token(), NOW), "its last list has it");
    assert!(scene.0.delete(DIR, &file("b"), &client.token(), NOW));
    scene.0.go_on(&client.token());
    assert_eq!(scene.shown(), [name("a"), name("b")]);
    scene.put(&["b"], &client.token());
    assert_eq!(scene.shown(), [name("b")]);
}

#[test]
fn a_name_that_is_made_again_is_no_longer_deleted() {
    let (mut scene, client) = (Scene::default(), Client::default());
    assert!(scene.delete("a", &client.token()) && scene.delete("b", &client.token()));
    scene.0.restore(DIR, &name("a"));
    assert_eq!(scene.shown(), [name("b")]);
}
