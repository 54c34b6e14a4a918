//! The codec against what peers may send; in other encodings in [`encodings`]; against dxr and
//! itself in [`properties`].

mod encodings;
mod properties;

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use dxr::Value;
use hyper::body::Body as _;

use crate::limits;
use crate::rpc::fault::Fault;
use crate::rpc::wire::{DecodeError, Decoder, EncodeError, Form, Message, MessageBody};

type Call = (String, Vec<Value>);

/// All of a body, which must be as long as it was announced.
pub(super) fn collect(mut body: MessageBody) -> Vec<u8> {
    let announced = body.length();
    let mut context = Context::from_waker(Waker::noop());
    let mut bytes = Vec::new();
    while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context) {
        bytes.extend_from_slice(&frame.into_data().unwrap());
    }
    assert!(body.is_end_stream());
    assert_eq!(bytes.len() as u64, announced);
    bytes
}

/// The body of a message in XML.
fn bytes(message: &Message) -> Vec<u8> {
    collect(message.body(Form::Xml).unwrap())
}

fn decode_in_pieces(body: &[u8], piece: usize) -> Result<Call, DecodeError> {
    decode_form(Form::Xml, body, piece)
}

pub(super) fn decode_form(form: Form, body: &[u8], piece: usize) -> Result<Call, DecodeError> {
    let mut decoder = Decoder::for_call(form);
    let mut rest = body.len();
    for piece in body.chunks(piece) {
        rest -= piece.len();
        decoder.push(piece, Some(rest))?;
    }
    decoder.finish_call()
}

fn decode(body: impl AsRef<[u8]>) -> Result<Call, Fault> {
    let whole = decode_in_pieces(body.as_ref(), usize::MAX).map_err(Fault::from);
    let single = decode_in_pieces(body.as_ref(), 1).map_err(Fault::from);
    match (&whole, &single) {
        (Err(whole), Err(single)) => assert_eq!(whole.code, single.code),
        _ => assert_eq!(whole, single),
    }
    whole
}

fn decode_answer(body: &[u8]) -> Result<Result<Value, Fault>, DecodeError> {
    decode_answer_form(Form::Xml, body)
}

pub(super) fn decode_answer_form(
    form: Form,
    body: &[u8],
) -> Result<Result<Value, Fault>, DecodeError> {
    let mut decoder = Decoder::for_answer(form);
    decoder.push(body, None)?;
    decoder.finish_answer()
}

/// A call of `get` with one parameter, the value with this XML inside.
fn with_value(inside: &str) -> String {
    format!(
        "<?xml version='1.0'?><methodCall><methodName>get</methodName><params><param>\
         <value>{inside}</value></param></params></methodCall>"
    )
}

fn value_of(inside: &str) -> Result<Value, Fault> {
    let (name, mut params) = decode(with_value(inside))?;
    assert_eq!((name.as_str(), params.len()), ("get", 1));
    Ok(params.remove(0))
}

#[test]
fn scalars_are_read_as_other_libraries_read_them() {
    let good = [
        ("<int> 5\n</int>", Value::Integer(5)),
        ("<i4>-2147483648</i4>", Value::Integer(i32::MIN)),
        ("<i8>9223372036854775807</i8>", Value::Long(i64::MAX)),
        ("\n  <int>5</int>\n", Value::Integer(5)),
        ("<boolean>1</boolean>", Value::Boolean(true)),
        ("<double>-1.5e3</double>", Value::Double(-1500.0)),
        ("<nil/>", Value::Nil),
        ("<nil></nil>", Value::Nil),
        ("<string/>", Value::String(String::new())),
        ("<string></string>", Value::String(String::new())),
        ("", Value::String(String::new())),
        ("plain", Value::String("plain".into())),
        (" two words ", Value::String(" two words ".into())),
        ("<string> a &lt;&#98;&#x63;&amp; </string>", Value::String(" a <bc& ".into())),
        ("<string>a<!-- no -->b</string>", Value::String("ab".into())),
        ("<string><![CDATA[<int>&amp;]]>.</string>", Value::String("<int>&amp;.".into())),
        ("<![CDATA[<int>]]> ", Value::String("<int> ".into())),
        ("<string>a]]&gt;b > c</string>", Value::String("a]]>b > c".into())),
        ("<string>\u{1f600} \u{e4}</string>", Value::String("\u{1f600} \u{e4}".into())),
        ("<string>a&#13;\nb</string>", Value::String("a\r\nb".into())),
        // XML 1.0, section 2.11: a line ends with a line feed, whatever was written.
        ("<string>a\r\nb\rc</string>", Value::String("a\nb\nc".into())),
        ("  ", Value::String("  ".into())),
        ("<string> </string>", Value::String(" ".into())),
        ("<array><data/></array>", Value::Array(vec![])),
        ("<array></array>", Value::Array(vec![])),
        ("<struct/>", Value::Struct([].into())),
        ("<dateTime.iso8601>20261122T18:30:00</dateTime.iso8601>", {
            Value::DateTime("20261122T18:30:00".parse().unwrap())
        }),
        ("<int xmlns='a>b'>5</int>", Value::Integer(5)),
    ];
    for (inside, value) in good {
        assert_eq!(value_of(inside), Ok(value), "{inside}");
    }
}

#[test]
fn contents_are_read_wherever_and_however_they_stand() {
    let good = [
        ("<base64>AAEC</base64>", Value::Base64(vec![0, 1, 2])),
        ("<base64>\nAA\r\n EC \t\n</base64>", Value::Base64(vec![0, 1, 2])),
        ("<base64></base64>", Value::Base64(vec![])),
        ("<base64/>", Value::Base64(vec![])),
        ("<base64>AA<!-- > -->EC</base64>", Value::Base64(vec![0, 1, 2])),
        ("<base64>AA<![CDATA[EC]]></base64>", Value::Base64(vec![0, 1, 2])),
        ("<string>&lt;base64>AAEC</string>", Value::String("<base64>AAEC".into())),
        ("<string><![CDATA[<base64>AAEC</base64>]]></string>", {
            Value::String("<base64>AAEC</base64>".into())
        }),
        ("<!-- <base64>A</base64> --><int>1</int>", Value::Integer(1)),
    ];
    for (inside, value) in good {
        assert_eq!(value_of(inside), Ok(value), "{inside}");
    }
    let two = "<struct><member><name>b</name><value><base64>Qg==</base64></value></member>\
        <member><name>a</name><value><base64>QQ==</base64></value></member>\
        <member><name>b</name><value><base64>Qw==</base64></value></member></struct>";
    let members = [
        ("a".to_owned(), Value::Base64(b"A".to_vec())),
        // The last of several members with one name counts, as in Python.
        ("b".to_owned(), Value::Base64(b"C".to_vec())),
    ];
    assert_eq!(value_of(two), Ok(Value::Struct(members.into())));
}

#[test]
fn values_that_are_none_say_why() {
    let bad = [
        ("<int>2147483648</int>", Fault::INVALID_CALL, "32 bits"),
        ("<int></int>", Fault::INVALID_CALL, "32 bits"),
        ("<int>five</int>", Fault::INVALID_CALL, "five"),
        ("<boolean>true</boolean>", Fault::INVALID_CALL, "0 or 1"),
        ("<double>x</double>", Fault::INVALID_CALL, "number"),
        ("<dateTime.iso8601>now</dateTime.iso8601>", Fault::INVALID_CALL, "2026"),
        (
            "<dateTime.iso8601>20261\u{e4}22T18:30:00</dateTime.iso8601>",
            Fault::INVALID_CALL,
            "2026",
        ),
        ("<base64>A</base64>", Fault::INVALID_CALL, "base64"),
        ("<base64>A*==</base64>", Fault::INVALID_CALL, "A*=="),
        ("<base64><int>1</int></base64>", Fault::INVALID_CALL, "out of place"),
        ("\u{1}<int>1</int>", Fault::INVALID_CALL, "out of place"),
        ("<base64>AA\u{1}EC</base64>", Fault::INVALID_CALL, "base64"),
        ("<i5>1</i5>", Fault::INVALID_CALL, "<i5>"),
        ("<int>1</int><int>2</int>", Fault::INVALID_CALL, "out of place"),
        ("x<int>1</int>", Fault::INVALID_CALL, "out of place"),
        ("<int>1</int>x", Fault::INVALID_CALL, "out of place"),
        ("<string><int>1</int></string>", Fault::INVALID_CALL, "out of place"),
        ("<array><value/></array>", Fault::INVALID_CALL, "out of place"),
        ("<struct><member><name>a</name></member></struct>", Fault::INVALID_CALL, "missing"),
        ("<struct><member><value/></member></struct>", Fault::INVALID_CALL, "missing"),
        ("<string>&nbsp;</string>", Fault::NOT_WELL_FORMED, "&nbsp;"),
        ("<string>&#55296;</string>", Fault::NOT_WELL_FORMED, "&#55296;"),
        ("<string>&#0;</string>", Fault::NOT_WELL_FORMED, "&#0;"),
        ("<string>&#1;</string>", Fault::NOT_WELL_FORMED, ""),
        ("<string>a\u{1}b</string>", Fault::NOT_WELL_FORMED, "base64"),
        (
            "<struct><member><name>\u{1}</name><value/></member></struct>",
            Fault::NOT_WELL_FORMED,
            "",
        ),
        ("<struct><member><name>\0</name><value/></member></struct>", Fault::NOT_WELL_FORMED, ""),
        ("<struct><member><name>&#0;</name><value/></member></struct>", Fault::NOT_WELL_FORMED, ""),
        ("<string>", Fault::NOT_WELL_FORMED, "</value> closes <string>"),
        ("</string>", Fault::NOT_WELL_FORMED, "closes <value>"),
        ("<!DOCTYPE a [<!ENTITY b \"c\">]>", Fault::INVALID_CALL, "document types"),
        ("<?php x ?>", Fault::INVALID_CALL, "processing"),
        ("<?xml version='1.0'?>", Fault::NOT_WELL_FORMED, "late"),
        ("<![CDATA[", Fault::NOT_WELL_FORMED, "ends inside"),
        ("<!-- ", Fault::NOT_WELL_FORMED, "ends inside"),
    ];
    for (inside, code, word) in bad {
        let fault = value_of(inside).unwrap_err();
        assert_eq!(fault.code, code, "{inside}: {fault}");
        assert!(fault.message.contains(word), "{inside}: {fault}");
    }
}

#[test]
fn bodies_that_are_no_calls_say_why() {
    let bad: [(&[u8], i32, &str); 14] = [
        (b"", Fault::NOT_WELL_FORMED, "no <methodCall>"),
        (b"hello", Fault::NOT_WELL_FORMED, "no <methodCall>"),
        (b"hello <b>", Fault::INVALID_CALL, "<b>"),
        (b"{\"a\": 1}", Fault::NOT_WELL_FORMED, "no <methodCall>"),
        (b"<methodCall>", Fault::NOT_WELL_FORMED, "ends inside <methodCall>"),
        (b"<methodCall></methodCall>", Fault::INVALID_CALL, "missing"),
        (b"<methodResponse></methodResponse>", Fault::INVALID_CALL, "expected <methodCall>"),
        (
            b"<methodCall><methodName>a</methodName></methodCall>x",
            Fault::NOT_WELL_FORMED,
            "follows",
        ),
        (
            b"<methodCall><methodName>a</methodName></methodCall><value/>",
            Fault::NOT_WELL_FORMED,
            "follows",
        ),
        (
            b"<methodCall><methodName>a</methodName><methodName>b</methodName></methodCall>",
            Fault::INVALID_CALL,
            "twice",
        ),
        (b"<methodCall>x</methodCall>", Fault::INVALID_CALL, "\"x\" is out of place"),
        (
            b"<methodCall><methodName>\xff</methodName></methodCall>",
            Fault::INVALID_CHARACTER,
            "UTF-8",
        ),
        (b"<methodCall><methodName/></methodCall>", Fault::INVALID_CALL, "is empty"),
        (b"<methodCall <a>", Fault::NOT_WELL_FORMED, "inside the tag"),
    ];
    for (body, code, word) in bad {
        let fault = decode(body).unwrap_err();
        let shown = body.escape_ascii();
        assert_eq!(fault.code, code, "{shown}: {fault}");
        assert!(fault.message.contains(word), "{shown}: {fault}");
    }
}

#[test]
fn calls_come_in_several_guises() {
    let call = "<methodCall>\n <methodName>a</methodName>\n</methodCall>\n";
    for before in ["", "\u{feff}", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", "<!-- a -->\n"] {
        assert_eq!(decode(format!("{before}{call}")), Ok(("a".to_owned(), vec![])), "{before:?}");
    }
    for params in ["<params/>", "<params></params>", "<params>\n</params>"] {
        let body = format!("<methodCall><methodName>a</methodName>{params}</methodCall>");
        assert_eq!(decode(body), Ok(("a".to_owned(), vec![])), "{params}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize| {
        let (open, close) = ("<array><data><value>", "</value></data></array>");
        format!("{}<int>1</int>{}", open.repeat(levels), close.repeat(levels))
    };
    // Around the value stand four elements, and each level has three.
    let deepest = (limits::XML_DEPTH_MAX - 5) / 3;
    let value = value_of(&nested(deepest)).unwrap();
    let fault = value_of(&nested(deepest + 1)).unwrap_err();
    assert!(fault.message.contains("deeper"), "{fault}");
    let fault = value_of(&nested(1_000_000)).unwrap_err();
    assert!(fault.message.contains("deeper"), "{fault}");
    // What could be put can be got, which wraps it once more.
    let entry = Value::Struct([("value".to_owned(), value)].into());
    let answer = bytes(&Message::answer(entry.clone()).unwrap());
    assert_eq!(decode_answer(&answer), Ok(Ok(entry)));
    let deep = (0..100).fold(Value::Nil, |value, _| Value::Array(vec![value]));
    assert_eq!(Message::answer(deep).unwrap_err(), EncodeError::Nesting);
}

#[test]
fn the_xml_around_contents_is_bounded() {
    let long = "x".repeat(limits::XML_SIZE_MAX);
    let fault = value_of_whole(&long).unwrap_err();
    assert!(fault.message.contains("send contents as base64"), "{fault}");
    let contents = "AAAA".repeat(limits::XML_SIZE_MAX / 4 + 1);
    let value = value_of_whole(&format!("<base64>{contents}</base64>")).unwrap();
    assert_eq!(value, Value::Base64(vec![0; limits::XML_SIZE_MAX / 4 * 3 + 3]));
}

/// [`value_of`] without the slow way byte by byte.
fn value_of_whole(inside: &str) -> Result<Value, Fault> {
    Ok(decode_in_pieces(with_value(inside).as_bytes(), 1 << 16)?.1.remove(0))
}

#[test]
fn hostile_markup_takes_time_in_proportion() {
    // Each of these would take hours if every `>` were searched from the beginning.
    let many = ">".repeat(1 << 20);
    for inside in [
        format!("<string>{many}</string>"),
        format!("<!--{many}--><int>1</int>"),
        format!("<string><![CDATA[{many}]]></string>"),
        "<!---->".repeat(100_000),
    ] {
        value_of_whole(&inside).unwrap();
    }
    let fault = value_of_whole(&format!("<int a='{many}'>1</int>")).unwrap_err();
    assert!(fault.message.contains("1024"), "{fault}");
}

#[test]
fn text_that_xml_cannot_carry_is_not_sent() {
    for text in ["\0", "a\u{1b}b", "\u{fffe}"] {
        let value = Value::String(text.to_owned());
        assert!(matches!(Message::answer(value), Err(EncodeError::Text(_))), "{text:?}");
        let value = Value::Struct([(text.to_owned(), Value::Nil)].into());
        assert!(matches!(Message::call("a", vec![value]), Err(EncodeError::Text(_))), "{text:?}");
    }
}

#[test]
fn faults_come_back_as_they_were() {
    for form in [Form::Xml, Form::Binary] {
        let through =
            |fault: &Fault| decode_answer_form(form, &collect(MessageBody::fault(fault, form)));
        let fault = Fault::new(-7, "no <b> & no \"c\"\r\n");
        assert_eq!(through(&fault), Ok(Err(fault)));
        assert_eq!(through(&Fault::new(1, "a\0b")), Ok(Err(Fault::new(1, "a\u{fffd}b"))));
    }
    // The other order, and white space, as some libraries write it.
    let body = b"<?xml version='1.0'?>\n<methodResponse>\n<fault>\n<value><struct>\n<member>\n\
        <name>faultString</name>\n<value>no</value></member><member><name>faultCode</name>\
        <value><int>1</int></value></member></struct></value></fault></methodResponse>";
    assert_eq!(decode_answer(body), Ok(Err(Fault::new(1, "no"))));
    let senseless = [
        "<methodResponse><fault><value>no</value></fault></methodResponse>",
        "<methodResponse><params/></methodResponse>",
        "<methodResponse/>",
        "<methodResponse><params><param><value/></param><param><value/></param></params></methodResponse>",
        "<html><body>Not found</body></html>",
    ];
    for body in senseless {
        assert!(decode_answer(body.as_bytes()).is_err(), "{body}");
    }
}
