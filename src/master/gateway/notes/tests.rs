//! The notes, over a map.

use super::{
    Expiry, Habit, Note, expired, forget, learn, learn_type, learned, learned_type, list_form,
    load, own_list_form, save, save_unlisted, set_list_form,
};
use crate::clock::Timestamp;
use crate::proto::classic::Dialect;
use crate::proto::form::Layout;
use crate::proto::path_list::ListForm;
use crate::store::{Memory, ReadTxn as _, Txn as _};
use crate::types::{Attr, Ino, Name};

fn name(text: &'static str) -> Name {
    Name::new(text).unwrap()
}

fn note(at: u64, place: Option<(Ino, Name)>) -> Note {
    Note {
        expiry: Some(Expiry { at: Timestamp(at), data_version: 3, place }),
        form: Some((Dialect::String, Layout::Raw)),
        ..Note::default()
    }
}

fn attr(data_version: u64) -> Attr {
    Attr { data_version, ..Attr::of_empty_file(Ino(7)) }
}

#[test]
fn notes_are_found_by_their_inodes_and_their_ends() {
    let mut store = Memory::new();
    for (ino, at) in [(1, 300), (2, 100), (3, 200)] {
        save(&mut store, Ino(ino), &note(at, None)).unwrap();
    }
    assert_eq!(load(&store, Ino(2)).unwrap(), Some(note(100, None)));
    assert_eq!(load(&store, Ino(4)).unwrap(), None);
    assert_eq!(expired(&store, Timestamp(99), 10).unwrap(), []);
    assert_eq!(expired(&store, Timestamp(200), 10).unwrap(), [Ino(2), Ino(3)]);
    assert_eq!(expired(&store, Timestamp(200), 1).unwrap(), [Ino(2)]);
    // Another end takes the place of the one before.
    save(&mut store, Ino(2), &note(400, None)).unwrap();
    assert_eq!(expired(&store, Timestamp(200), 10).unwrap(), [Ino(3)]);
    save_unlisted(&mut store, Ino(3), &note(200, None)).unwrap();
    assert_eq!(expired(&store, Timestamp(200), 10).unwrap(), []);
    assert!(load(&store, Ino(3)).unwrap().is_some());
    forget(&mut store, Ino(1)).unwrap();
    forget(&mut store, Ino(1)).unwrap();
    assert_eq!(expired(&store, Timestamp(1000), 10).unwrap(), [Ino(2)]);
}

#[test]
fn what_is_written_or_renamed_since_does_not_expire() {
    let place = (Ino::ROOT, name("f"));
    let note = note(100, Some(place.clone()));
    let here = Some((Ino::ROOT, &place.1));
    assert_eq!(note.expires(&attr(3), here), Some(Timestamp(100)));
    assert_eq!(note.expires(&attr(4), here), None);
    let elsewhere = name("g");
    assert_eq!(note.expires(&attr(3), Some((Ino::ROOT, &elsewhere))), None);
    assert_eq!(note.expires(&attr(3), Some((Ino(5), &place.1))), None);
    assert_eq!(note.expires(&attr(3), None), None);
}

#[test]
fn the_layout_of_each_dialect_is_remembered() {
    let mut store = Memory::new();
    assert_eq!(learned(&store, Dialect::Binary).unwrap(), None);
    learn(&mut store, Dialect::Binary, Layout::Raw).unwrap();
    learn(&mut store, Dialect::String, Layout::Pickled).unwrap();
    learn(&mut store, Dialect::String, Layout::Raw).unwrap();
    learn(&mut store, Dialect::Binary, Layout::Pickled).unwrap();
    assert_eq!(learned(&store, Dialect::String).unwrap(), Some(Layout::Raw));
    assert_eq!(learned(&store, Dialect::Binary).unwrap(), Some(Layout::Pickled));
}

#[test]
fn the_form_of_a_list_is_that_of_the_directory_or_of_the_dialect() {
    let mut store = Memory::new();
    let [string, binary] = [Dialect::String, Dialect::Binary];
    assert_eq!(list_form(&store, Ino(7), string).unwrap(), None);
    set_list_form(&mut store, Ino(7), string, (ListForm::Strings, string));
    set_list_form(&mut store, Ino(8), string, (ListForm::Tuple, binary));
    set_list_form(&mut store, Ino(8), string, (ListForm::Other, string));
    set_list_form(&mut store, Ino(7), binary, (ListForm::Binaries, binary));
    assert_eq!(list_form(&store, Ino(7), string).unwrap(), Some((ListForm::Strings, string)));
    assert_eq!(list_form(&store, Ino(9), string).unwrap(), Some((ListForm::Tuple, binary)));
    assert_eq!(list_form(&store, Ino(9), binary).unwrap(), Some((ListForm::Binaries, binary)));
    // A note that is saved again keeps it, an inode that goes does not.
    save(&mut store, Ino(7), &note(1, None)).unwrap();
    assert_eq!(own_list_form(&store, Ino(7), string).unwrap(), Some((ListForm::Strings, string)));
    forget(&mut store, Ino(7)).unwrap();
    assert_eq!(own_list_form(&store, Ino(7), string).unwrap(), None);
}

#[test]
fn a_note_of_the_version_before_is_read() {
    let mut store = Memory::new();
    let note = note(100, None);
    save(&mut store, Ino(7), &note).unwrap();
    let row = store.get(super::NOTES, &7_u64.to_be_bytes()).unwrap().unwrap();
    let earlier = [&[1], &row[1..row.len() - 2]].concat();
    store.put(super::NOTES, &7_u64.to_be_bytes(), &earlier);
    assert_eq!(load(&store, Ino(7)).unwrap(), Some(note));
}

#[test]
fn the_types_of_values_are_remembered_by_dialect() {
    let mut store = Memory::new();
    let [string, binary] = [Dialect::String, Dialect::Binary];
    learn(&mut store, string, Layout::Raw).unwrap();
    learn_type(&mut store, Habit::Dict, string, binary).unwrap();
    assert_eq!(learned_type(&store, Habit::Dict, string).unwrap(), Some(binary));
    assert_eq!(learned_type(&store, Habit::Contents, string).unwrap(), None);
    assert_eq!(learned_type(&store, Habit::Dict, binary).unwrap(), None);
    assert_eq!(learned(&store, string).unwrap(), Some(Layout::Raw));
}
