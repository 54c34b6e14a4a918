//! Bodies in the encodings that XML declarations name, cut into pieces anywhere.

use dxr::Value;
use encoding_rs::{EncoderResult, Encoding};
use proptest::prelude::*;

use super::properties::value;
use super::{Call, bytes, decode, decode_answer, decode_in_pieces, with_value};
use crate::limits;
use crate::rpc::fault::Fault;
use crate::rpc::wire::{Decoder, Form, Message};

/// A text in UTF-16, least significant byte first.
fn utf_16_le(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A text in UTF-16, most significant byte first.
fn utf_16_be(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

fn reference(c: char) -> String {
    format!("&#{};", u32::from(c))
}

/// A text with one byte for each character below `end`, and references to all others.
fn single_bytes(text: &str, end: u32) -> Vec<u8> {
    let byte = |c| u8::try_from(c).ok().filter(|byte| u32::from(*byte) < end);
    let bytes = |c| byte(c).map_or_else(|| reference(c).into_bytes(), |byte| vec![byte]);
    text.chars().flat_map(bytes).collect()
}

/// The same in any encoding of the Encoding Standard.
fn encoded(label: &str, text: &str) -> Vec<u8> {
    let mut encoder = Encoding::for_label(label.as_bytes()).unwrap().new_encoder();
    let (mut rest, mut room) = (text, vec![0; text.len() * 8 + 100]);
    let mut length = 0;
    loop {
        let out = &mut room[length..];
        let (result, read, written) = encoder.encode_from_utf8_without_replacement(rest, out, true);
        length += written;
        rest = &rest[read..];
        match result {
            EncoderResult::InputEmpty => break,
            EncoderResult::OutputFull => panic!("there is room enough"),
            EncoderResult::Unmappable(c) => {
                let reference = reference(c);
                room[length..][..reference.len()].copy_from_slice(reference.as_bytes());
                length += reference.len();
            }
        }
    }
    room.truncate(length);
    room
}

/// A body with another declaration than that of UTF-8.
fn declared(declaration: &str, body: &str) -> String {
    let (_, document) = body.split_once("?>").unwrap();
    format!("{declaration}{document}")
}

fn declaration(name: &str) -> String {
    format!("<?xml version='1.0' encoding='{name}'?>\n")
}

/// A body as somebody sends it who writes in this encoding.
fn sent_in(style: &str, body: &str) -> Vec<u8> {
    let body = declared(&declaration(style.trim_end_matches(" without mark")), body);
    match style {
        "utf-16" => utf_16_le(&format!("\u{feff}{body}")),
        "utf-16be" => utf_16_be(&format!("\u{feff}{body}")),
        "utf-16le without mark" => utf_16_le(&body),
        "utf-16 without mark" => utf_16_be(&body),
        // The Encoding Standard has neither of these.
        "us-ascii" => single_bytes(&body, 0x80),
        "iso-8859-1" => single_bytes(&body, 0x100),
        label => encoded(label, &body),
    }
}

const STYLES: [&str; 16] = [
    "utf-8",
    "us-ascii",
    "iso-8859-1",
    "iso-8859-15",
    "windows-1252",
    "windows-1251",
    "koi8-r",
    "utf-16",
    "utf-16be",
    "utf-16le without mark",
    "utf-16 without mark",
    "shift_jis",
    "gb18030",
    "gbk",
    "euc-kr",
    "iso-2022-jp",
];

/// The value in a call that was sent so.
fn value_in(body: impl AsRef<[u8]>) -> Result<Value, Fault> {
    decode(body).map(|(_, mut params)| params.remove(0))
}

/// A call whose value is these bytes.
fn with_bytes(declaration: &str, inside: &[u8]) -> Vec<u8> {
    let body = declared(declaration, &with_value("|"));
    let (before, after) = body.split_once('|').unwrap();
    [before.as_bytes(), inside, after.as_bytes()].concat()
}

fn code_of(body: impl AsRef<[u8]>) -> (i32, String) {
    let fault = decode(body).unwrap_err();
    (fault.code, fault.message)
}

#[test]
fn the_same_text_is_read_in_every_encoding() {
    let text = "größe, 10 €, слово, 日本語, 한국, 😀";
    let inside = format!(
        "<struct><member><name>{text}</name><value><array><data><value><string>{text}</string>\
         </value><value><base64>AAEC</base64></value></data></array></value></member></struct>"
    );
    let list = vec![Value::String(text.to_owned()), Value::Base64(vec![0, 1, 2])];
    let expected = Value::Struct([(text.to_owned(), Value::Array(list))].into());
    for style in STYLES {
        let body = sent_in(style, &with_value(&inside));
        assert_eq!(value_in(body), Ok(expected.clone()), "{style}");
    }
}

#[test]
fn bytes_mean_what_the_declared_encoding_says() {
    let all: Vec<u8> = (0x80..=0xff).collect();
    let latin_1: String = (0x80..=0xff).map(char::from).collect();
    let good: [(&str, &[u8], &str); 9] = [
        // ISO-8859-1 has control characters where Windows has letters.
        ("iso-8859-1", &all, &latin_1),
        ("ISO-8859-1", b"gr\xf6\xdfe", "größe"),
        ("latin-1", b"\xa4\x80", "¤\u{80}"),
        ("windows-1252", b"\x80 gr\xf6\xdfe", "€ größe"),
        ("iso-8859-15", b"\xa4", "€"),
        ("iso-8859-9", b"\x93\xfd", "\u{93}ı"),
        ("windows-1254", b"\x93\xfd", "“ı"),
        ("Shift_JIS", b"\x93\xfa\x96{\xb1", "日本ｱ"),
        ("big5", b"\xa4\xa4", "中"),
    ];
    for (name, bytes, text) in good {
        let body = with_bytes(&declaration(name), bytes);
        assert_eq!(value_in(body), Ok(Value::String(text.to_owned())), "{name}");
    }
}

#[test]
fn declarations_are_read_as_others_write_them() {
    let declarations = [
        "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n",
        "<?xml version='1.0' encoding='ISO-8859-1'?>",
        "<?xml version=\"1.0\" encoding=\"iso-8859-1\" ?>\r\n",
        "<?xml version = '1.0'\n\tencoding = \"Iso-8859-1\" standalone='yes' ?>",
        "<?xml encoding='latin1'?>",
        "<?xml version=\"1.1\" standalone='no' encoding='windows-1252'?>",
        "\n <?xml version='1.0' encoding='iso-8859-1'?>",
    ];
    for declaration in declarations {
        let body = with_bytes(declaration, b"gr\xf6\xdfe");
        assert_eq!(value_in(body), Ok(Value::String("größe".to_owned())), "{declaration}");
    }
    // These say nothing, or what is so anyway.
    let plain = [
        "",
        "\u{feff}",
        "<?xml version='1.0'?>",
        "<?xml version='1.0' standalone='encoding'?>",
        "<?xml ?>",
        "\u{feff}<?xml version='1.0' encoding='Utf-8'?>",
        "<?xml version='1.0' encoding='UTF8'?>",
    ];
    for declaration in plain {
        let body = with_bytes(declaration, "größe".as_bytes());
        assert_eq!(value_in(body), Ok(Value::String("größe".to_owned())), "{declaration}");
    }
    for (before, pairs) in [("\u{feff}", utf_16_le as fn(&str) -> _), ("", utf_16_be)] {
        let body = declared(before, &with_value("größe"));
        assert_eq!(value_in(pairs(&body)), Ok(Value::String("größe".to_owned())));
    }
}

#[test]
fn encodings_that_nobody_knows_are_named() {
    let bad: [(&[u8], &str); 8] = [
        (b"<?xml version='1.0' encoding='utf-7'?><methodCall/>", "\"utf-7\""),
        (b"<?xml version='1.0' encoding='Klingon'?><methodCall/>", "\"Klingon\""),
        (b"<?xml version='1.0' encoding=''?><methodCall/>", "\"\""),
        (b"<?xml version='1.0' encoding='iso-2022-kr'?><methodCall/>", "iso-2022-kr"),
        (b"\xff\xfe\0\0<\0\0\0", "UTF-32"),
        (b"\0\0\0<\0\0\0m", "UTF-32"),
        (b"<\0\0\0m\0\0\0", "UTF-32"),
        (b"\x4c\x6f\xa7\x94\x93", "EBCDIC"),
    ];
    for (body, name) in bad {
        let (code, message) = code_of(body);
        assert_eq!(code, Fault::UNSUPPORTED_ENCODING, "{message}");
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn a_declaration_that_lies_is_refused() {
    let utf_16 = |name: &str| declared(&declaration(name), &with_value("x"));
    let bad = [
        (utf_16("utf-16").into_bytes(), "\"utf-16\", but the body is no UTF-16"),
        (utf_16("utf-16le").into_bytes(), "but the body is no UTF-16"),
        (utf_16_le(&utf_16("utf-8")), "\"utf-8\", but the body is UTF-16LE"),
        (utf_16_be(&utf_16("iso-8859-1")), "but the body is UTF-16BE"),
        (utf_16_be(&utf_16("utf-16le")), "but the body is UTF-16BE"),
        (format!("\u{feff}{}", utf_16("windows-1252")).into_bytes(), "but the body is UTF-8"),
    ];
    for (body, words) in bad {
        let (code, message) = code_of(body);
        assert_eq!(code, Fault::UNSUPPORTED_ENCODING, "{message}");
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn bytes_that_are_no_characters_are_refused() {
    let utf_16 = sent_in("utf-16", &with_value("x"));
    let lone = |unit: [u8; 2]| {
        let at = utf_16.windows(2).position(|pair| pair == b"x\0").unwrap();
        // The first x is that of the declaration.
        let at = at + 2 + utf_16[at + 2..].windows(2).rposition(|pair| pair == b"x\0").unwrap();
        [&utf_16[..at], &unit, &utf_16[at + 2..]].concat()
    };
    let bad: [(Vec<u8>, &str); 9] = [
        (with_bytes(&declaration("us-ascii"), b"gr\xf6\xdfe"), "US-ASCII"),
        (with_bytes(&declaration("utf-8"), b"gr\xf6\xdfe"), "UTF-8"),
        (with_bytes(&declaration("windows-1253"), b"\xaa"), "windows-1253"),
        (with_bytes(&declaration("shift_jis"), b"\x93<"), "Shift_JIS"),
        (with_bytes(&declaration("gbk"), b"\xff"), "GBK"),
        (lone([0, 0xd8]), "UTF-16LE"),
        (lone([0, 0xdc]), "UTF-16LE"),
        (utf_16[..utf_16.len() - 1].to_vec(), "UTF-16LE"),
        (
            [encoded("gbk", &declared(&declaration("gbk"), &with_value("x"))), b"\x81".to_vec()]
                .concat(),
            "GBK",
        ),
    ];
    for (body, name) in bad {
        let (code, message) = code_of(body);
        assert_eq!(code, Fault::INVALID_CHARACTER, "{message}");
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn declarations_that_cannot_be_read_are_refused() {
    let blanks = " ".repeat(2000);
    let bad = [
        "<?xml version?>".to_owned(),
        "<?xml version=1.0?>".to_owned(),
        "<?xml version='1.0\"?>".to_owned(),
        "<?xml encoding='utf-8' encoding='utf-8'?>".to_owned(),
        "<?xml encoding='utf-8'".to_owned(),
        format!("<?xml{blanks}version='1.0'?>"),
        format!("{blanks}<?xml version='1.0'?>"),
        "<!-- first --><?xml version='1.0'?>".to_owned(),
        "<?xml version='1.0'?><?xml version='1.0'?>".to_owned(),
    ];
    for declaration in bad {
        for body in
            [with_bytes(&declaration, b"x"), utf_16_le(&declared(&declaration, &with_value("x")))]
        {
            let (code, message) = code_of(body);
            assert_eq!(code, Fault::NOT_WELL_FORMED, "{declaration}: {message}");
        }
    }
    assert!(value_in(declared(&blanks, &with_value("x"))).is_ok());
}

#[test]
fn answers_are_read_in_other_encodings() {
    let answer = "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n<methodResponse><params><param>\
        <value><string>größe</string></value></param></params></methodResponse>";
    let expected = Ok(Ok(Value::String("größe".to_owned())));
    assert_eq!(decode_answer(&encoded("iso-8859-1", answer)), expected);
    let fault = "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?><methodResponse><fault><value>\
        <struct><member><name>faultCode</name><value><int>1</int></value></member><member>\
        <name>faultString</name><value>größe</value></member></struct></value></fault>\
        </methodResponse>";
    let expected = Ok(Err(Fault::new(1, "größe")));
    assert_eq!(decode_answer(&encoded("iso-8859-1", fault)), expected);
}

#[test]
fn what_is_behind_a_call_has_no_other_encoding() {
    let body = [sent_in("iso-8859-1", &with_value("x")), utf_16_le("<a>")].concat();
    assert_eq!(code_of(body).0, Fault::INVALID_CALL);
}

/// Decodes without the slow way byte by byte.
fn decode_whole(body: &[u8]) -> Result<Call, Fault> {
    Ok(decode_in_pieces(body, 1 << 16)?)
}

#[test]
fn limits_are_those_of_the_text() {
    // Three bytes of UTF-8 for one that arrives.
    let many = vec![0x80; limits::XML_SIZE_MAX / 3 + 1];
    let body = with_bytes(&declaration("windows-1252"), &many);
    assert!(body.len() < limits::XML_SIZE_MAX / 2);
    let fault = decode_whole(&body).unwrap_err();
    assert!(fault.message.contains("send contents as base64"), "{fault}");
    // And what arrives in two bytes has only one.
    let fits = sent_in("utf-16", &with_value(&"x".repeat(limits::XML_SIZE_MAX - 1000)));
    decode_whole(&fits).unwrap();
    let deep = "<array><data><value>".repeat(100);
    let fault = decode_whole(&sent_in("utf-16be", &with_value(&deep))).unwrap_err();
    assert!(fault.message.contains("deeper"), "{fault}");
}

#[test]
fn contents_are_read_as_they_arrive_and_are_not_counted_as_xml() {
    let contents = "AAAA".repeat(limits::XML_SIZE_MAX / 4 + 1);
    let body = with_value(&format!(
        "<string>€</string></value></param><param><value><base64>{contents}</base64>"
    ));
    let expected = vec![
        Value::String("€".to_owned()),
        Value::Base64(vec![0; limits::XML_SIZE_MAX / 4 * 3 + 3]),
    ];
    for style in ["windows-1252", "iso-8859-1", "utf-16", "utf-16 without mark", "gbk"] {
        let body = sent_in(style, &body);
        let mut decoder = Decoder::for_call(Form::Xml);
        let mut rest = body.len();
        for piece in body.chunks(1 << 16) {
            rest -= piece.len();
            decoder.push(piece, Some(rest)).unwrap();
            assert!(decoder.xml_size() < 1000, "{style}: contents are kept as text");
        }
        let text_size = usize::try_from(decoder.text_size()).unwrap();
        assert!((contents.len()..contents.len() + 1000).contains(&text_size), "{style}");
        assert!(decoder.finish_call().unwrap().1 == expected, "{style}");
    }
}

/// Decodes a body that arrives in pieces of these lengths, again and again.
fn decode_cut(body: &[u8], lengths: &[usize]) -> Result<Call, i32> {
    let mut decoder = Decoder::for_call(Form::Xml);
    let (mut rest, mut lengths) = (body, lengths.iter().cycle());
    let outcome = loop {
        let length = lengths.next().copied().unwrap_or(1).min(rest.len());
        let (piece, after) = rest.split_at(length);
        rest = after;
        match decoder.push(piece, Some(rest.len())) {
            Err(error) => break Err(error),
            Ok(()) if rest.is_empty() => break decoder.finish_call(),
            Ok(()) => {}
        }
    };
    outcome.map_err(|error| Fault::from(error).code)
}

#[test]
fn every_cut_in_two_gives_the_same() {
    let text = "<string>größe € 日本 😀</string>";
    let mut bodies: Vec<Vec<u8>> =
        STYLES.iter().map(|style| sent_in(style, &with_value(text))).collect();
    bodies.push(with_bytes(&declaration("us-ascii"), b"\xff"));
    // What comes first is what is said.
    bodies.push(with_bytes(&declaration("us-ascii"), b"<strange>\xff"));
    bodies.push(with_bytes(&declaration("gbk"), b"<strange>\xff"));
    bodies.push(with_bytes(&declaration("shift_jis"), b"\x93<"));
    bodies.push(with_bytes(&declaration("klingon"), b"x"));
    bodies.push(with_bytes(&format!("<?xml{}?>", " ".repeat(1100)), b"x"));
    for body in bodies {
        let whole = decode_cut(&body, &[usize::MAX]);
        for cut in 0..body.len() {
            let halves = [cut, usize::MAX];
            assert_eq!(decode_cut(&body, &halves), whole, "{cut}: {}", body.escape_ascii());
        }
    }
}

proptest! {
    #[test]
    fn every_value_survives_in_every_encoding_and_in_any_pieces(
        params in proptest::collection::vec(value(), 0..3),
        // The Encoding Standard writes some characters of East Asia as others.
        style in prop::sample::select(STYLES[..11].to_vec()),
        pieces in proptest::collection::vec(1usize..2000, 1..5),
    ) {
        let body = String::from_utf8(bytes(&Message::call("echo", params.clone()).unwrap())).unwrap();
        let body = sent_in(style, &body);
        prop_assert_eq!(decode_cut(&body, &pieces), Ok(("echo".to_owned(), params)));
    }

    #[test]
    fn whatever_follows_a_declaration_is_the_same_in_any_pieces(
        name in prop::sample::select(STYLES.to_vec()),
        before in prop::sample::select(vec![&b""[..], b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b" "]),
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        pieces in proptest::collection::vec(1usize..200, 1..5),
    ) {
        let body = [before, declaration(name).as_bytes(), b"<methodCall>", &bytes].concat();
        prop_assert_eq!(decode_cut(&body, &pieces), decode_cut(&body, &[usize::MAX]));
    }
}
