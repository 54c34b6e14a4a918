//! Tables of real picklers, round trips, hostile input.

use bytes::Bytes;
use jiff::civil::{DateTime, date};
use proptest::prelude::*;

use super::fixtures::TABLES;
use super::{TableReader, TableWriter};
use crate::pickle::{PickleError, Value, read};

type Entry = (Value, Value, DateTime);

fn try_parse(reader: &TableReader, pickle: &[u8]) -> Result<Vec<Entry>, PickleError> {
    let mut entries = Vec::new();
    reader.read(pickle, |key, value, expiry| {
        entries.push((key, value, expiry));
        Ok::<_, PickleError>(())
    })?;
    Ok(entries)
}

fn parse(pickle: &[u8]) -> Result<Vec<Entry>, PickleError> {
    try_parse(&TableReader::look_over(pickle)?, pickle)
}

fn dump(entries: &[Entry]) -> Vec<u8> {
    let mut pickle = Vec::new();
    let mut table = TableWriter::new(&mut pickle);
    for (key, value, expiry) in entries {
        table.entry(key, value, *expiry).unwrap();
    }
    table.finish().unwrap();
    pickle
}

#[test]
fn the_tables_of_both_pythons_are_read_in_every_protocol() {
    let (when, later) = (date(2026, 3, 29).at(10, 30, 5, 123_456_000), date(2030, 1, 1));
    let later = later.at(0, 0, 0, 0);
    for (name, pickle) in TABLES {
        let python_2 = name.starts_with("Python 2");
        let native = |text: &'static str| {
            if python_2 { Value::str(text) } else { Value::Text(text.into()) }
        };
        let raw = |bytes: &'static [u8]| {
            if python_2 { Value::Str(bytes.into()) } else { Value::Bytes(bytes.into()) }
        };
        let url = || native("https://localhost:9001");
        let shared = || Value::List(vec![Value::Text("ä".into()), native("one")]);
        let items = vec![Value::Int(1), Value::Bool(true), Value::Float(2.5)];
        let structure = vec![(native("a"), Value::List(items)), (native("b"), Value::Dict(vec![]))];
        let links = vec![url(), Value::Dict(vec![(native("u"), url())])];
        let expected = [
            (native("/"), native("(lp0\nS'/'\np1\na."), when),
            (native("/a"), raw(b"it's \\ \n\x00\xff"), later),
            (native("text"), Value::Text("\\ä€\n".into()), date(2030, 1, 1).at(0, 0, 0, 1000)),
            (native("shared"), shared(), when),
            (native("shared too"), shared(), when),
            (native("url"), url(), later),
            (native("url too"), Value::List(links), later),
            (Value::Int(7), Value::Int(7), later),
            (Value::None, Value::None, later),
            (raw(b"\xff"), raw(b""), later),
            (native("struct"), Value::Dict(structure), later),
        ];
        let entries = parse(pickle).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(entries.len(), expected.len(), "{name}");
        for entry in &expected {
            assert!(entries.contains(entry), "{name}: {entry:?} is not in {entries:?}");
        }
    }
}

/// A table as Python 3 pickles it in protocol 2: all entries between one MARK and SETITEMS, and
/// everything with a place in the memo.
fn one_batch(entries: u32, value: &str) -> Vec<u8> {
    let mut pickle = b"\x80\x02}q\x00(".to_vec();
    for number in 0..entries {
        let mut memo = 16 * number;
        let mut put = |pickle: &mut Vec<u8>| {
            memo += 1;
            pickle.push(b'r');
            pickle.extend(memo.to_le_bytes());
        };
        let text = |pickle: &mut Vec<u8>, text: &str| {
            pickle.push(b'X');
            pickle.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
            pickle.extend(text.as_bytes());
        };
        text(&mut pickle, &number.to_string());
        put(&mut pickle);
        text(&mut pickle, value);
        put(&mut pickle);
        pickle.extend(b"cdatetime\ndatetime\nU\x0a\x07\xee\x01\x01\0\0\0\0\0\0\x85R");
        put(&mut pickle);
        pickle.push(0x86);
        put(&mut pickle);
    }
    pickle.extend(b"u.");
    pickle
}

#[test]
fn a_table_is_read_with_one_entry_in_memory() {
    let value = "x".repeat(500);
    let own: Vec<Entry> = (0..3000)
        .map(|n| (Value::Int(n), Value::Text(value.clone().into()), date(2030, 1, 1).into()))
        .collect();
    for pickle in [one_batch(3000, &value), dump(&own)] {
        let mut reader = TableReader::look_over(&pickle[..]).unwrap();
        (reader.entry_size_max, reader.value_size_max) = (1000, 600);
        assert_eq!(try_parse(&reader, &pickle).unwrap().len(), 3000);
        reader.value_size_max = 499;
        assert_eq!(try_parse(&reader, &pickle), Err(PickleError::TooBig("size")));
        (reader.entry_size_max, reader.value_size_max) = (400, 600);
        let too_big = Err(PickleError::TooBig("size of one entry"));
        assert_eq!(try_parse(&reader, &pickle), too_big);
    }
}

#[test]
fn what_entries_share_is_bounded() {
    // Each value is used by the entry behind it, too.
    let mut pickle = b"(d".to_vec();
    for number in 0..10_u8 {
        let before = if number == 0 { "N".to_owned() } else { format!("g{}\n", number - 1) };
        let date =
            "cdatetime\ndatetime\n(S'\\x07\\xee\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00'\ntR";
        let value = "x".repeat(100);
        pickle.extend(format!("I{number}\n((S'{value}'\np{number}\n{before}t{date}ts").bytes());
    }
    pickle.push(b'.');
    let mut reader = TableReader::look_over(&pickle[..]).unwrap();
    reader.value_size_max = 1000;
    let entries = try_parse(&reader, &pickle).unwrap();
    let Value::Tuple(last) = &entries[9].1 else { panic!("{entries:?}") };
    assert_eq!(last, &vec![Value::Str("x".repeat(100).into()); 2]);
    reader.value_size_max = 800;
    assert_eq!(try_parse(&reader, &pickle), Err(PickleError::TooBig("what its entries share")));
}

#[test]
fn a_table_is_written_in_protocol_0_but_for_bytes_that_are_mostly_escapes() {
    // Ten o'clock is a line feed, which a line must escape.
    let expiry = date(2030, 1, 1).at(10, 0, 0, 0);
    let own = [Value::Bytes("a\n\u{ff}".into()), Value::Text("b".into()), Value::str("c")];
    let entries = own.map(|value| (Value::str("k"), value, expiry));
    let written = dump(&entries).into_iter().map(char::from).collect::<String>();
    let date = "cdatetime\ndatetime\n(c_codecs\nencode\n(V\u{7}\u{ee}\u{1}\u{1}\\u000a\
                \\u0000\\u0000\\u0000\\u0000\\u0000\nVlatin1\ntRtR";
    let bytes = "c_codecs\nencode\n(Va\\u000a\u{c3}\u{bf}\nVlatin1\ntR";
    assert_eq!(
        written,
        format!("(dS'k'\n({bytes}{date}tsS'k'\n(Vb\n{date}tsS'k'\n(S'c'\n{date}ts.")
    );
    let zeros = dump(&[(Value::str("k"), Value::Bytes(vec![0; 10_000].into()), expiry)]);
    assert!(zeros.len() < 10_200, "{}", zeros.len());
}

#[test]
fn what_is_no_table_is_refused() {
    let date = "cdatetime\ndatetime\n(S'\\x07\\xee\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00'\ntR";
    for (bad, why) in [
        ("(l.".to_owned(), "not a table"),
        ("N.".to_owned(), "not a table"),
        ("(dS'a'\nS'v'\ns.".to_owned(), "dates of expiry"),
        ("(dS'a'\n(S'v'\nF1.5\nts.".to_owned(), "dates of expiry"),
        (format!("(dS'a'\n(S'v'\n{date}Nts."), "dates of expiry"),
        (format!("(dp0\nS'a'\n(g0\n{date}ts."), "holds itself"),
        (format!("((dS'a'\n(S'v'\n{date}tst."), "not a table"),
        (format!("(dS'a'\n(S'v'\n{date}ts.."), "behind its end"),
        (format!("(dS'a'\n(S'v'\n{date}t"), "cut short"),
        (format!("(dS'a'\n((ixmlrpclib\nBinary\np1\n{date}ts."), "xmlrpclib.Binary"),
        (format!("(dS'a'\n(cxmlrpclib\nBinary\no}}b{date}ts."), "xmlrpclib.Binary"),
        (format!("(dS'a'\n(Nb{date}ts."), "0x62"),
        (format!("(dS'a'\n(cos\nsystem\n(S'true'\ntR{date}ts."), "os.system"),
        // An entry changes what an earlier one has stored.
        (format!("(dS'a'\n((lp0\n{date}tsS'b'\n(g0\nNa{date}ts."), "damaged"),
    ] {
        let error = parse(bad.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(why), "{bad}: {error}");
    }
}

#[test]
fn every_cut_and_every_changed_byte_gives_a_table_or_an_error() {
    let own = dump(&parse(TABLES[0].1).unwrap());
    for pickle in TABLES.iter().map(|(_, pickle)| *pickle).chain([own.as_slice()]) {
        for at in 0..pickle.len() {
            assert!(parse(&pickle[..at]).is_err(), "{}", pickle[..at].escape_ascii());
            for change in [0x01, 0x10, 0x80, 0xff] {
                let mut changed = pickle.to_vec();
                changed[at] ^= change;
                drop(parse(&changed));
            }
        }
    }
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..60).prop_map(Bytes::from);
    let leaf = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|n| Value::Int(n.into())),
        proptest::num::f64::NORMAL.prop_map(Value::Float),
        "[ -~\n]{0,20}".prop_map(|text: String| Value::Str(text.into())),
        bytes().prop_map(Value::Bytes),
        ".{0,20}".prop_map(|text: String| Value::Text(text.into())),
    ];
    let value = leaf.clone().prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            proptest::collection::vec((inner.clone(), inner), 0..4).prop_map(Value::Dict),
        ]
    });
    let micros = 0..=253_402_300_799_999_999_i64;
    let expiry = micros.prop_map(|micros| {
        let time = jiff::Timestamp::from_microsecond(micros).unwrap();
        jiff::tz::TimeZone::UTC.to_datetime(time)
    });
    (leaf, value, expiry)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(entries in proptest::collection::vec(any_entry(), 0..8)) {
        let pickle = Bytes::from(dump(&entries));
        prop_assert_eq!(&parse(&pickle).unwrap(), &entries);
        // And it is what any other reader finds.
        let Value::Dict(members) = read(&pickle, 1 << 20).unwrap() else { panic!("no dict") };
        let pair = |(key, value, expiry): Entry| {
            (key, Value::Tuple(vec![value, Value::DateTime(expiry)]))
        };
        prop_assert_eq!(members, entries.into_iter().map(pair).collect::<Vec<_>>());
    }

    #[test]
    fn noise_gives_tables_or_errors(
        start in prop::sample::select(vec![&b"(d"[..], b"}(", b"}q\x00(", b""]),
        opcodes in proptest::collection::vec(prop::sample::select(
            &b".(]laeduts})\x85\x86\x87pqr\x94ghjc\x93RN\x88\x89IKMJ\x8aFGSUTCBXV\x8c01\n\x00\x01'"[..],
        ), 0..200),
    ) {
        drop(parse(&[start, &opcodes].concat()));
    }
}
