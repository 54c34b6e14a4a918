//! Dumps there and back, damage, and the dumps of earlier versions.

use std::path::Path;

use bytes::Bytes;

use super::{Dump, Entry, Kept, write};
use crate::clock::{self, Timestamp};
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::values::to_stored;
use crate::rpc::Value;
use crate::types::{Key, StoredValue, ValueKind};

/// Dumps of htfs 0.1, of a master and of a chunk server.
#[rustfmt::skip]
const EARLIER: [(&str, &[u8]); 2] = [
    ("master", b"htfs dump 1\n\x07\x00\x00\x00\x06masteru\x00\x00\x00\x04list\x02g<value><array><data><valu\
    e><i4>1</i4></value><value><string>two</string></value></data></array></value>\xc5\xbb\x97\
    \xc2\xbcn\x00}\x00\x00\x00\x05plain\x01S(dp0\nVst_mode\np1\nI33188\nsVst_size\np2\nI5\nsVc\
    ontents\np3\nVhttps://localhost:9001\np4\ns.\xcf\xbb\x97\xc2\xbcn\x01\x01\x16https://local\
    host:9001\x05\x05\x00\x14\x00\x00\x00\x04text\x00\x06v\xc3\xa4lue\xc3\xbb\x97\xc2\xbcn\x00\
    \x0e\x00\x00\x00\x02\xff\x00\x01\x02\x00\xff\xc4\xbb\x97\xc2\xbcn\x00\x00\x00\x00\x00\x04\
    \x00\x00\x00\x00\x00\x00\x00\x9f\x9eD5"),
    ("chunk", b"htfs dump 1\n\x06\x00\x00\x00\x05chunkt\x00\x00\x00\x04list\x02\xcd\xbb\x97\xc2\xbcng<valu\
    e><array><data><value><i4>1</i4></value><value><string>two</string></value></data></array>\
    </value>\x13\x00\x00\x00\x04text\x00\xcb\xbb\x97\xc2\xbcn\x06v\xc3\xa4lue\x0d\x00\x00\x00\
    \x02\xff\x00\x01\xcc\xbb\x97\xc2\xbcn\x02\x00\xff\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\
    \x00\x00)\x97\x06\x96"),
];

fn entry(key: impl Into<Bytes>, value: Value, expires: u64) -> Entry {
    let (key, value) = (Key::new(key).unwrap(), to_stored(value).unwrap());
    Entry { key, value, expires: Timestamp(expires) }
}

fn read(path: &Path, role: &str, now: Timestamp) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    Dump::open(path, role)?.read(now, |entry| {
        entries.push(entry);
        Ok(())
    })?;
    Ok(entries)
}

#[test]
fn a_dump_brings_back_what_has_not_expired() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump");
    let now = clock::now();
    let either = StoredValue { kind: ValueKind::Either, bytes: "either".into() };
    let entries = [
        entry("/text", Value::String("gr\u{fc}\u{df}e".into()), now.0 + 1),
        entry(vec![0, 255], Value::Base64((0..=255).collect()), now.0 + 12_345_678),
        entry("xml", Value::Array(vec![Value::Nil, Value::Integer(7)]), now.0 + 86_400_000),
        Entry { value: either, ..entry("old", Value::Nil, now.0 + 1000) },
        entry("expired", Value::Nil, now.0),
        entry("long ago", Value::Nil, 0),
    ];
    write(&path, |dump| entries.iter().try_for_each(|entry| dump.entry(entry))).unwrap();
    assert_eq!(read(&path, "master", now).unwrap(), entries[..4]);
    assert_eq!(read(&path, "master", Timestamp(0)).unwrap().len(), 5, "1970 is over then");

    let forever = [entry("forever", Value::Nil, u64::MAX)];
    write(&path, |dump| forever.iter().try_for_each(|entry| dump.entry(entry))).unwrap();
    let expires = read(&path, "chunk", now).unwrap()[0].expires;
    assert_eq!(expires, now.plus_seconds(limits::TTL_MAX_S));
}

#[test]
fn a_dump_that_fails_leaves_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump");
    let old = [entry("k", Value::Integer(1), u64::MAX)];
    write(&path, |dump| dump.entry(&old[0])).unwrap();
    let before = std::fs::read(&path).unwrap();
    let failed = write(&path, |dump| {
        dump.entry(&old[0])?;
        Err(FsError::new(ErrorKind::Io, "no"))
    });
    assert!(failed.is_err());
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn what_is_damaged_is_refused_before_any_of_it_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump");
    let entries = [entry("a", Value::Integer(1), u64::MAX), entry("b", Value::Nil, u64::MAX)];
    write(&path, |dump| entries.iter().try_for_each(|entry| dump.entry(entry))).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        std::fs::write(&path, &whole[..at]).unwrap();
        let error = Dump::open(&path, "master").err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
    for (bad, kind, why) in [
        ("(dS'k'\n(cxmlrpclib\nBinary\n.", ErrorKind::Corrupt, "plain data: xmlrpclib.Binary"),
        ("(dS'k'\n(ixmlrpclib\nBinary\n.", ErrorKind::Corrupt, "plain data: xmlrpclib.Binary"),
        ("", ErrorKind::Corrupt, "cut short"),
        ("htfs dump 2\n", ErrorKind::Corrupt, "not a whole dump"),
    ] {
        std::fs::write(&path, bad).unwrap();
        let error = Dump::open(&path, "master").err().unwrap();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(why), "{error}");
    }
    assert_eq!(
        Dump::open(&dir.path().join("none"), "chunk").err().unwrap().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn values_without_a_type_of_xml_rpc_are_refused_with_their_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump");
    let date = "cdatetime\ndatetime\n(S'\\x07\\xee\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00'\ntR";
    let good = format!("(dS'/good'\n(I1\n{date}ts");
    std::fs::write(&path, format!("{good}S'/f'\n(L{}L\n{date}ts.", 1_i128 << 70)).unwrap();
    let error = Dump::open(&path, "master").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(error.message(), "/f: 1180591620717411303424 has more than 64 bits");
    std::fs::write(&path, format!("{good}(t(I1\n{date}ts.")).unwrap();
    assert!(Dump::open(&path, "master").err().unwrap().message().starts_with("a key: "));
}

#[test]
fn dumps_of_earlier_versions_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump");
    for (role, whole) in EARLIER {
        std::fs::write(&path, whole).unwrap();
        let entries = read(&path, role, clock::now()).unwrap();
        let mut expected = vec![
            ("list", Value::Array(vec![Value::Integer(1), Value::String("two".into())])),
            ("text", Value::String("v\u{e4}lue".into())),
        ];
        if role == "master" {
            let dict = "(dp0\nVst_mode\np1\nI33188\nsVst_size\np2\nI5\nsVcontents\np3\n\
                        Vhttps://localhost:9001\np4\ns.";
            expected.push(("plain", Value::Base64(dict.into())));
        }
        for (key, value) in &expected {
            let found = entries.iter().find(|entry| entry.key.as_bytes() == key.as_bytes());
            assert_eq!(found.unwrap().value, to_stored(value.clone()).unwrap(), "{role}: {key}");
        }
        assert_eq!(entries.len(), expected.len() + 1);
        let bytes = entries.last().unwrap();
        assert_eq!(bytes.key.as_bytes(), b"\xff\0");
        assert_eq!(bytes.value, to_stored(Value::Base64(vec![0, 255])).unwrap());

        let other = if role == "master" { "chunk" } else { "master" };
        assert_eq!(Dump::open(&path, other).err().unwrap().kind(), ErrorKind::Corrupt);
        for at in 0..whole.len() {
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(Dump::open(&path, role).is_err());
            let mut changed = whole.to_vec();
            changed[at] ^= 0x10;
            std::fs::write(&path, changed).unwrap();
            assert_eq!(Dump::open(&path, role).err().unwrap().kind(), ErrorKind::Corrupt);
        }
    }
}

#[test]
fn what_is_under_the_empty_key_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump");
    // {'': ('x', 2099), 'k': ('v', 2099)} of Python 2.
    let dict = "(dp0\nS''\np1\n(S'x'\np2\ncdatetime\ndatetime\np3\n(S'\\x083\\x01\\x01\\x00\\x00\
                \\x00\\x00\\x00\\x00'\np4\ntp5\nRp6\ntp7\nsS'k'\np8\n(S'v'\np9\ng6\ntp10\ns.";
    std::fs::write(&path, dict).unwrap();
    let entries = read(&path, "chunk", clock::now()).unwrap();
    let keys: Vec<_> = entries.iter().map(|entry| entry.key.as_bytes()).collect();
    assert_eq!(keys, [b"k"]);
}

#[test]
fn what_a_dump_brings_is_bounded() {
    let mut kept = Kept::default();
    let key = Key::new("k").unwrap();
    let half = usize::try_from(limits::DUMP_KEPT_MAX / 2).unwrap();
    kept.add(&key, half).unwrap();
    assert_eq!(kept.add(&key, half).unwrap_err().kind(), ErrorKind::TooBig);
}
