//! Pickles of real picklers, round trips, a second opinion, and hostile input.

use bytes::Bytes;
use proptest::prelude::*;

use super::fixtures::PICKLES;
use super::{Attributes, PickleError, Style, Value, read, write};
use crate::limits;

fn parse(pickle: &[u8]) -> Result<Value, PickleError> {
    read(&Bytes::copy_from_slice(pickle), 1 << 20)
}

fn ints(numbers: &[i128]) -> Vec<Value> {
    numbers.iter().copied().map(Value::Int).collect()
}

/// A string as a pickle of Python 2 or 3 holds it: of the type that is `str` there.
fn native(python_2: bool, text: &'static str) -> Value {
    if python_2 { Value::str(text) } else { Value::Text(text.into()) }
}

#[test]
fn the_pickles_of_both_pythons_are_read_in_every_protocol() {
    for (name, pickle) in PICKLES {
        let python_2 = name.starts_with("Python 2");
        let bytes = |b: &'static [u8]| {
            if python_2 { Value::Str(b.into()) } else { Value::Bytes(b.into()) }
        };
        let empty = Bytes::new();
        let same = native(python_2, "same");
        let expected = [
            ("none", Value::None),
            ("truth", Value::List(vec![Value::Bool(true), Value::Bool(false)])),
            ("st_mode", Value::Int(0o100_644)),
            ("big", Value::Int(1 << 70)),
            ("negative", Value::Int(-(1 << 40))),
            ("small", Value::List(ints(&[255, 65535, -1]))),
            ("four", Value::Tuple(ints(&[1, 2, 3, 4]))),
            ("pair", Value::Tuple(vec![same.clone(), same])),
            ("triple", Value::Tuple([1.5, -0.0, 1e300].map(Value::Float).into())),
            ("text", Value::Text("\\ä€😀\n".into())),
            ("raw", bytes(b"it's \\ \n\x00\xff")),
            ("array", Value::ByteArray(Bytes::from_static(b"\x00\xff"))),
            (
                "empty",
                Value::List(vec![
                    bytes(b""),
                    Value::ByteArray(empty),
                    Value::Tuple(vec![]),
                    Value::List(vec![]),
                    Value::Dict(vec![]),
                ]),
            ),
        ];
        let dict = parse(pickle).unwrap_or_else(|error| panic!("{name}: {error}"));
        for (key, value) in expected {
            assert_eq!(dict.get(key), Some(&value), "{name}: {key}");
        }
        assert!(super::may_be_dict(pickle), "{name}");
        check_attributes(name, pickle);
    }
}

fn check_attributes(name: &str, pickle: &'static [u8]) {
    let attributes = Attributes::read(&Bytes::from_static(pickle)).unwrap();
    assert_eq!(attributes.mode, 0o100_644, "{name}");
    assert_eq!(attributes.size, 6, "{name}");
    assert_eq!((attributes.nlink, attributes.uid), (1, None), "{name}");
    assert!((attributes.mtime_s - 1_700_000_000.25).abs() < f64::EPSILON, "{name}");
    assert!((attributes.atime_s - 1_700_000_001.0).abs() < f64::EPSILON, "{name}");
    assert_eq!(attributes.contents.as_ref().unwrap().as_str(), "https://localhost:9001");
    assert_eq!(attributes.xattr(b"user.k").unwrap(), &b"\x00\xff"[..], "{name}");
    // What this program does not know comes back as it was.
    let before = parse(pickle).unwrap();
    for style in [Style::Ascii, Style::Compact] {
        let after = parse(&attributes.write(style)).unwrap();
        for key in ["big", "none", "triple", "text", "array"] {
            assert_eq!(after.get(key), before.get(key), "{name}: {key}");
        }
    }
}

#[test]
fn attributes_of_the_wrong_type_are_refused() {
    for bad in [
        &b"(lp0\n."[..],
        b"(dS'st_mode'\nS'x'\ns.",
        b"(dS'st_size'\nI-1\ns.",
        b"(dS'st_mode'\nI4294967296\ns.",
        b"(dS'st_mtime'\nFnan\ns.",
        b"(dS'attrs'\nI1\ns.",
    ] {
        assert!(Attributes::read(&Bytes::from_static(bad)).is_err(), "{}", bad.escape_ascii());
    }
    let strange = Bytes::from_static(b"(dS'contents'\nI1\nsS'st_size'\nF5.0\ns.");
    let attributes = Attributes::read(&strange).unwrap();
    assert_eq!((attributes.contents.as_ref(), attributes.size), (None, 5));
    assert_eq!(
        parse(&attributes.write(Style::Ascii)).unwrap().get("contents"),
        Some(&Value::Int(1))
    );
}

#[test]
fn xattrs_are_set_replaced_and_removed() {
    let mut attributes = Attributes::default();
    attributes.set_xattr(b"user.a", Bytes::from_static(b"1"));
    attributes.set_xattr(b"user.a", Bytes::from_static(b"2"));
    attributes.set_xattr(b"user.\xff", Bytes::from_static(b"3"));
    let back = Attributes::read(&attributes.write(Style::Ascii)).unwrap();
    assert_eq!(back, attributes);
    assert_eq!(back.xattr(b"user.a").unwrap(), "2");
    assert_eq!(back.xattr_names().collect::<Vec<_>>(), [&b"user.a"[..], b"user.\xff"]);
    assert!(attributes.remove_xattr(b"user.a") && !attributes.remove_xattr(b"user.a"));
}

#[test]
fn programs_and_unknown_opcodes_are_refused() {
    for (bad, why) in [
        (&b"cos\nsystem\n(S'true'\ntR."[..], "os.system"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", "posix.system"),
        (b"c_codecs\ndecode\n.", "_codecs.decode"),
        (b"c_codecs\nencode\n.", "not plain data"),
        (b"cdatetime\ndate\n.", "datetime.date"),
        (
            b"cdatetime\ndatetime\n(S'\\x07\\xea\\x0d\\x01\\x00\\x00\\x00\\x00\\x00\\x00'\ntR.",
            "damaged",
        ),
        (b"cdatetime\ndatetime\n(I2026\nI1\nI1\ntR.", "damaged"),
        (b"(i__main__\nFile\n.", "plain data: __main__.File"),
        (b"N2\x86.", "0x32"),
        (b"N0.", "0x30"),
        (b"S'x'\nQ.", "0x51"),
        (b"\x80\x02N\x82\x01.", "0x82"),
        (b"}}b.", "0x62"),
        (b"I1\n.I2\n.", "behind its end"),
        (b"I1\n", "cut short"),
        (b"", "cut short"),
        (b".", "damaged"),
        (b"a.", "damaged"),
        (b"(].", "damaged"),
        (b"h\x00.", "damaged"),
        (b"B\xff\xff\xff\xffx.", "cut short"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffx.", "cut short"),
        (b"S'x.", "cut short"),
        (b"S'\n.", "damaged"),
        (b"X\x01\x00\x00\x00\xff.", "damaged"),
        (b"L1180591620717411303424000000000000000000000000L\n.", "damaged"),
        (b"\x8a\x11\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01.", "128"),
    ] {
        let error = parse(bad).unwrap_err().to_string();
        assert!(error.contains(why), "{}: {error}", bad.escape_ascii());
    }
}

#[test]
fn repeated_references_and_nesting_end_at_the_limits() {
    // Each tuple holds the one before twice: 2^29 strings in 200 bytes.
    let mut doubling = b"(X\x01\x00\x00\x00xq\x00".to_vec();
    for n in 0..29_u8 {
        doubling.extend([b'h', n, b'h', n, 0x86, b'q', n + 1]);
    }
    doubling.extend(b"l.");
    assert!(matches!(parse(&doubling), Err(PickleError::TooBig(_))));
    let mut nested = b"]".repeat(100_000);
    nested.extend(b"a".repeat(99_999));
    nested.push(b'.');
    assert_eq!(parse(&nested), Err(PickleError::TooBig("depth of nesting")));
    assert!(parse(&b"(".repeat(100_000)).is_err());
    let holds_itself = parse(b"]q\x00h\x00a.");
    assert_eq!(holds_itself, Err(PickleError::TooBig("depth of nesting")));
    let mut many = b"N".repeat(limits::PICKLE_OBJECTS_MAX + 1);
    many.push(b'.');
    let many = Bytes::from(many);
    assert_eq!(read(&many, many.len()), Err(PickleError::TooBig("number of objects")));

    let mut wide = b"(X\xe8\x03\x00\x00".to_vec();
    wide.extend([b'x'; 1000]);
    wide.extend(b"q\x00");
    wide.extend(b"h\x00".repeat(2000));
    wide.extend(b"l.");
    assert_eq!(parse(&wide), Err(PickleError::TooBig("size")));
}

#[test]
fn calls_that_make_bytes_are_bounded_together() {
    // A kilobyte of text that is encoded, and thrown away, again and again.
    let mut pickle = b"c_codecs\nencode\nq\x00(X\xe8\x03\x00\x00".to_vec();
    pickle.extend("ä".repeat(500).bytes());
    pickle.extend(b"U\x06latin1tq\x01R");
    for _ in 0..4000 {
        pickle.extend(b"h\x00h\x01R");
    }
    pickle.push(b'.');
    assert_eq!(parse(&pickle), Err(PickleError::TooBig("size")));
}

#[test]
fn contents_that_stand_plain_are_not_copied() {
    let pickle = Bytes::from_static(b"\x80\x03C\x05hello.");
    let Value::Bytes(contents) = read(&pickle, 100).unwrap() else { panic!("no bytes") };
    assert_eq!(contents.as_ptr(), pickle[4..].as_ptr());
}

fn any_value() -> impl Strategy<Value = Value> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let leaf = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        any::<i128>().prop_map(Value::Int),
        any::<i32>().prop_map(|n| Value::Int(n.into())),
        proptest::num::f64::NORMAL.prop_map(Value::Float),
        bytes().prop_map(Value::Bytes),
        bytes().prop_map(Value::ByteArray),
        ".{0,20}".prop_map(|text: String| Value::Text(text.into())),
    ];
    leaf.prop_recursive(4, 60, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Tuple),
            proptest::collection::vec((inner.clone(), inner), 0..6).prop_map(Value::Dict),
        ]
    })
}

/// ASCII text is written as the type that is `str` everywhere.
fn as_written(value: Value) -> Value {
    let all = |items: Vec<Value>| items.into_iter().map(as_written).collect();
    match value {
        Value::Text(text) if text.is_ascii() => Value::Str(text),
        Value::List(items) => Value::List(all(items)),
        Value::Tuple(items) => Value::Tuple(all(items)),
        Value::Dict(members) => {
            Value::Dict(members.into_iter().map(|(k, v)| (as_written(k), as_written(v))).collect())
        }
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(value in any_value()) {
        for style in [Style::Ascii, Style::Compact] {
            prop_assert_eq!(parse(&write(&value, style)).unwrap(), as_written(value.clone()));
        }
        let ascii = write(&value, Style::Ascii);
        prop_assert!(ascii.iter().all(|b| matches!(b, b'\n' | b' '..=b'~')));
    }

    #[test]
    fn serde_pickle_reads_our_bytes_alike(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for style in [Style::Ascii, Style::Compact] {
            let written = write(&Value::Bytes(bytes.clone().into()), style);
            let options = serde_pickle::DeOptions::new();
            let other = serde_pickle::value_from_slice(&written, options).unwrap();
            prop_assert_eq!(other, serde_pickle::Value::Bytes(bytes.clone()));
        }
    }

    #[test]
    fn compact_contents_take_at_most_twice_their_size(
        byte in any::<u8>(), other in any::<u8>(), length in 0_usize..2000,
    ) {
        let contents: Vec<u8> = [byte, other].into_iter().cycle().take(length).collect();
        let written = write(&Value::Bytes(contents.into()), Style::Compact);
        prop_assert!(written.len() <= 2 * length + 100);
    }

    #[test]
    fn damaged_pickles_give_values_or_errors(
        fixture in 0..PICKLES.len(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut pickle = PICKLES[fixture].1.to_vec();
        for (at, byte) in changes {
            let at = at.index(pickle.len());
            pickle[at] = byte;
        }
        drop(parse(&pickle));
        drop(Attributes::read(&Bytes::from(pickle.clone())));
        pickle.truncate(cut.index(pickle.len()));
        drop(parse(&pickle));
    }

    #[test]
    fn noise_gives_values_or_errors(
        opcodes in proptest::collection::vec(prop::sample::select(
            &b".(]laeduts})\x85\x86\x87pqr\x94ghjc\x93RN\x88\x89ILKMJ\x8a\x8bFGSUTCB\x8e\x96VX\x8c\x8d01\n\x00\x01'"[..],
        ), 0..200),
    ) {
        drop(parse(&opcodes));
    }
}
