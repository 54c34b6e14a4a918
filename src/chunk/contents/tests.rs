//! The contents without a network: small and large values, replacing, dumps, damage.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::{Contents, ROLE};
use crate::clock::Timestamp;
use crate::dump::{self, Dump};
use crate::error::ErrorKind;
use crate::limits::INLINE_VALUE_MAX;
use crate::store::DataDir;
use crate::types::{Key, StoredValue, Ttl, ValueKind};

const NOW: Timestamp = Timestamp(1_000_000);
const DAY: Ttl = Ttl::from_s(86_400);

fn key(name: &str) -> Key {
    Key::new(name.to_owned()).unwrap()
}

/// A value that differs from those of other seeds.
fn value(seed: u8, size: usize) -> StoredValue {
    StoredValue { kind: ValueKind::Base64, bytes: Bytes::from(vec![seed; size]) }
}

const LARGE: usize = INLINE_VALUE_MAX + 1;

fn open(path: &Path) -> (Contents, DataDir) {
    let dir = DataDir::open(path, ROLE).unwrap();
    (Contents::open(&dir, 5, NOW).unwrap(), dir)
}

fn get(contents: &Contents, name: &str) -> Option<StoredValue> {
    contents.get(&key(name), NOW).unwrap().map(|entry| entry.value)
}

fn file_count(dir: &DataDir) -> usize {
    std::fs::read_dir(dir.values().unwrap()).unwrap().count()
}

#[test]
fn an_empty_key_that_an_earlier_program_took_goes_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    for size in [1, LARGE] {
        let (contents, lock) = open(dir.path());
        let short = Ttl::from_s(1);
        let stored = contents.prepare(value(1, size), short, NOW).unwrap().unwrap();
        contents.index().put_under_the_empty_key(&stored);
        drop((contents, lock));
        let (contents, lock) = open(dir.path());
        assert_eq!((contents.counts().unwrap().entries, file_count(&lock)), (0, 0));
        for n in 0..20 {
            contents.put(&key(&n.to_string()), value(7, 1), short, NOW).unwrap();
        }
        drop((contents, lock));
        // After its time.
        let later = Timestamp(NOW.0 + 10_000);
        let data = DataDir::open(dir.path(), ROLE).unwrap();
        let contents = Contents::open(&data, 5, later).unwrap();
        assert_eq!(contents.counts().unwrap().entries, 0);
    }
}

#[test]
fn values_of_every_size_come_back_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let sizes = [0, 1, INLINE_VALUE_MAX, LARGE, 200_000];
    {
        let (contents, _dir) = open(dir.path());
        for size in sizes {
            contents.put(&key(&size.to_string()), value(7, size), DAY, NOW).unwrap();
        }
    }
    let (contents, dir) = open(dir.path());
    for size in sizes {
        assert_eq!(get(&contents, &size.to_string()), Some(value(7, size)));
    }
    let held: usize = sizes.iter().sum();
    assert_eq!(contents.counts().unwrap().bytes, held as u64);
    assert_eq!(file_count(&dir), 2);
}

#[test]
fn replaced_deleted_and_expired_files_go_with_the_next_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (contents, dir) = open(dir.path());
    contents.put(&key("replaced"), value(1, LARGE), DAY, NOW).unwrap();
    contents.put(&key("replaced"), value(2, LARGE), DAY, NOW).unwrap();
    contents.put(&key("deleted"), value(1, LARGE), DAY, NOW).unwrap();
    contents.put(&key("deleted"), value(1, LARGE), Ttl::ZERO, NOW).unwrap();
    contents.put(&key("expired"), value(1, LARGE), Ttl::from_s(1), NOW).unwrap();
    while contents.sweep(NOW.plus_seconds(1)).unwrap() {}
    assert_eq!(file_count(&dir), 4, "until the log is on the disk, the old files stay");
    contents.sync().unwrap();
    assert_eq!(file_count(&dir), 1);
    assert_eq!(get(&contents, "replaced"), Some(value(2, LARGE)));
    assert_eq!((get(&contents, "deleted"), get(&contents, "expired")), (None, None));
}

#[test]
fn expired_values_go_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (contents, _dir) = open(dir.path());
        contents.put(&key("k"), value(1, 10), Ttl::from_s(1), Timestamp(0)).unwrap();
        assert_eq!(contents.counts().unwrap().entries, 1);
    }
    let (contents, _dir) = open(dir.path());
    assert_eq!(contents.counts().unwrap().entries, 0);
}

#[test]
fn damage_is_an_error_for_its_key_only() {
    let dir = tempfile::tempdir().unwrap();
    let (contents, dir) = open(dir.path());
    contents.put(&key("damaged"), value(1, LARGE), DAY, NOW).unwrap();
    let path = std::fs::read_dir(dir.values().unwrap()).unwrap().next().unwrap().unwrap().path();
    std::fs::write(path, vec![2; LARGE]).unwrap();
    contents.put(&key("good"), value(3, LARGE), DAY, NOW).unwrap();
    let error = contents.get(&key("damaged"), NOW).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("damaged"), "{error}");
    assert_eq!(get(&contents, "good"), Some(value(3, LARGE)));
    contents.put(&key("damaged"), value(4, LARGE), DAY, NOW).unwrap();
    assert_eq!(get(&contents, "damaged"), Some(value(4, LARGE)));
}

#[test]
fn replace_compares_value_and_type() {
    let dir = tempfile::tempdir().unwrap();
    let (contents, dir) = open(dir.path());
    let text = StoredValue { kind: ValueKind::String, ..value(1, LARGE) };
    let replace = |expected: Option<&StoredValue>, new: StoredValue, ttl| {
        contents.replace(&key("k"), expected, (new, ttl), NOW).unwrap()
    };
    assert!(!replace(Some(&value(1, 1)), value(2, LARGE), DAY));
    assert!(replace(None, value(1, LARGE), DAY));
    assert!(!replace(None, value(2, LARGE), DAY));
    assert!(!replace(Some(&text), value(2, LARGE), DAY));
    assert!(replace(Some(&value(1, LARGE)), value(2, 1), DAY));
    assert!(replace(Some(&value(2, 1)), value(0, 0), Ttl::ZERO));
    assert_eq!(get(&contents, "k"), None);
    contents.sync().unwrap();
    assert_eq!(file_count(&dir), 0, "no file of a refused value stays");
}

#[test]
fn of_those_who_replace_at_once_none_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (contents, _dir) = open(dir.path());
    let contents = Arc::new(contents);
    // Each thread appends its letter 20 times to one value that is sometimes in a file.
    let append = |contents: &Contents, letter: u8| loop {
        let old = get(contents, "k");
        let mut bytes = old.as_ref().map_or_else(|| vec![b'.'; LARGE - 40], |v| v.bytes.to_vec());
        bytes.push(letter);
        let new = StoredValue { kind: ValueKind::Base64, bytes: bytes.into() };
        if contents.replace(&key("k"), old.as_ref(), (new, DAY), NOW).unwrap() {
            return;
        }
    };
    std::thread::scope(|scope| {
        for letter in b'a'..b'e' {
            let contents = Arc::clone(&contents);
            scope.spawn(move || (0..20).for_each(|_| append(&contents, letter)));
        }
        scope.spawn(|| (0..20).for_each(|_| contents.sync().unwrap()));
    });
    let bytes = get(&contents, "k").unwrap().bytes;
    for letter in b'a'..b'e' {
        assert_eq!(bytes.iter().filter(|byte| **byte == letter).count(), 20);
    }
}

#[test]
fn a_dump_brings_everything_back() {
    let dir = tempfile::tempdir().unwrap();
    let (contents, dir) = open(dir.path());
    contents.put(&key("small"), value(1, 10), DAY, NOW).unwrap();
    contents.put(&key("large"), value(2, LARGE), DAY, NOW).unwrap();
    contents.put(&key("brief"), value(5, LARGE), Ttl::from_s(1), NOW).unwrap();
    let path = dir.dump_to_write("d").unwrap();
    contents.write_dump(&path).unwrap();
    contents.put(&key("large"), value(3, LARGE), DAY, NOW).unwrap();
    contents.put(&key("late"), value(4, LARGE), DAY, NOW).unwrap();

    contents.load(&Dump::open(&path, ROLE).unwrap(), NOW.plus_seconds(1)).unwrap();
    contents.sync().unwrap();
    assert_eq!(get(&contents, "small"), Some(value(1, 10)));
    assert_eq!(get(&contents, "large"), Some(value(2, LARGE)));
    assert_eq!((get(&contents, "late"), get(&contents, "brief")), (None, None));
    assert_eq!(file_count(&dir), 1);
    assert_eq!(contents.counts().unwrap().bytes, 10 + LARGE as u64);
}

#[test]
fn what_others_have_replaced_under_a_path_is_in_no_dump() {
    let dir = tempfile::tempdir().unwrap();
    let (contents, dir) = open(dir.path());
    for seed in 1..4 {
        contents.stage(&key("/f"), value(seed, 10), DAY, NOW).unwrap();
    }
    contents.put(&key("f\0\0\0\0\0\0\0\0\0"), value(9, 10), DAY, NOW).unwrap();
    assert_eq!(contents.counts().unwrap().entries, 4);
    let path = dir.dump_to_write("d").unwrap();
    contents.write_dump(&path).unwrap();
    contents.load(&Dump::open(&path, ROLE).unwrap(), NOW).unwrap();
    assert_eq!(contents.counts().unwrap().entries, 2);
    assert_eq!(get(&contents, "/f"), Some(value(3, 10)));
}

#[test]
fn of_equal_keys_in_a_dump_the_file_of_the_last_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (contents, dir) = open(dir.path());
    let path = dir.dump_to_write("d").unwrap();
    dump::write(&path, |dump| {
        [1, 2].into_iter().try_for_each(|seed| {
            let (key, value) = (key("k"), value(seed, LARGE));
            dump.entry(&dump::Entry { key, value, expires: NOW.plus_seconds(60) })
        })
    })
    .unwrap();
    contents.load(&Dump::open(&path, ROLE).unwrap(), NOW).unwrap();
    contents.sync().unwrap();
    assert_eq!((get(&contents, "k"), file_count(&dir)), (Some(value(2, LARGE)), 1));
}

#[test]
fn a_value_of_either_type_is_replaced_by_whoever_has_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let (contents, _dir) = open(dir.path());
    let either = StoredValue { kind: ValueKind::Either, bytes: "text".into() };
    for kind in [ValueKind::String, ValueKind::Base64] {
        contents.put(&key("k"), either.clone(), DAY, NOW).unwrap();
        let read = StoredValue { kind, ..either.clone() };
        let other = StoredValue { bytes: "other".into(), ..read.clone() };
        let replace =
            |expected| contents.replace(&key("k"), Some(expected), (value(1, 1), DAY), NOW);
        assert!(!replace(&other).unwrap());
        assert!(replace(&read).unwrap());
    }
}
