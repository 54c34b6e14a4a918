//! Dicts of all sorts, and what they change.

use bytes::Bytes;

use super::{Dict, members, note_members};
use crate::pickle::Value;
use crate::types::{Attr, FileKind, FileTime, Ino, SetAttr, SetTime, StoredValue, ValueKind};

fn value(kind: ValueKind, pickle: &'static str) -> StoredValue {
    StoredValue { kind, bytes: Bytes::from_static(pickle.as_bytes()) }
}

fn dict(pickle: &'static str) -> Option<Dict> {
    Dict::read(&value(ValueKind::Base64, pickle))
}

fn attr() -> Attr {
    let time = FileTime { seconds: 1000, nanoseconds: 123_456_789 };
    let (atime, mtime, ctime, btime) = (time, time, time, time);
    let file = Attr::of_empty_file(Ino(7));
    Attr { uid: 1, gid: 2, size: 5, bytes: 5, atime, mtime, ctime, btime, ..file }
}

#[test]
fn only_a_dict_with_a_mode_is_one_of_attributes() {
    let good = "(dS'st_mode'\nI33188\ns.";
    assert_eq!(dict(good).expect("a dict").kind, FileKind::Regular);
    assert!(Dict::read(&value(ValueKind::String, good)).is_some());
    assert!(Dict::read(&value(ValueKind::Xml, good)).is_none());
    for other in [
        "",
        "hello",
        "(l.",
        "(d.",
        "(dS'st_size'\nI5\ns.",
        "(dS'st_mode'\nS'x'\ns.",
        "(dS'st_mode'\nI53248\ns.",
        "(dS'st_mode'\nI99999999999999\ns.",
        "(dS'st_mode'\nI33188\nsS'st_size'\nI-1\ns.",
        "(dS'st_mode'\nI33188\nsS'st_mtime'\nFinf\ns.",
        "cos\nsystem\n(S'true'\ntR.",
    ] {
        assert!(dict(other).is_none(), "{other:?}");
    }
}

#[test]
fn what_a_client_read_and_puts_back_is_no_change() {
    // A float knows the microseconds of a time, not its nanoseconds.
    let same = "(dS'st_mode'\nI33188\nsS'st_uid'\nI1\nsS'st_gid'\nI2\nsS'st_mtime'\n\
                F1000.123456\nsS'st_atime'\nF1000.123456\ns.";
    assert_eq!(dict(same).expect("a dict").changes(&attr()), SetAttr::default());
    let bare = "(dS'st_mode'\nI33188\ns.";
    assert_eq!(dict(bare).expect("a dict").changes(&attr()), SetAttr::default());
    let other = "(dS'st_mode'\nI33261\nsS'st_mtime'\nF2.5\ns.";
    let changes = dict(other).expect("a dict").changes(&attr());
    let mtime = SetTime::At(FileTime { seconds: 2, nanoseconds: 500_000_000 });
    assert_eq!(changes, SetAttr { mode: Some(0o755), mtime, ..SetAttr::default() });
}

#[test]
fn a_new_owner_does_not_take_the_set_id_bits_away() {
    let given = "(dS'st_mode'\nI35309\nsS'st_uid'\nI9\ns.";
    let changes = dict(given).expect("a dict").changes(&Attr { mode: 0o4755, ..attr() });
    assert_eq!((changes.mode, changes.uid, changes.gid), (Some(0o4755), Some(9), None));
}

#[test]
fn members_that_mean_nothing_here_come_back() {
    assert!(note_members(&[]).is_empty() && members(&Bytes::new()).is_empty());
    let others = [(Value::str("colour"), Value::Int(7)), (Value::str("x"), Value::List(vec![]))];
    assert_eq!(members(&note_members(&others)), others);
}
