//! What holds for every value and every body.

use dxr::{MethodCall, Value};
use proptest::prelude::*;

use crate::rpc::wire::tests::{
    bytes, collect, decode, decode_answer, decode_answer_form, decode_form, decode_in_pieces,
};
use crate::rpc::wire::{Form, Message, is_xml_char};

fn text() -> impl Strategy<Value = String> {
    // Control characters come seldom enough from `any` for this filter.
    let anything = proptest::collection::vec(any::<char>(), 0..20)
        .prop_map(|chars| chars.into_iter().filter(|c| is_xml_char(*c)).collect());
    prop_oneof![anything, "[ \t\r\n<>&'\"a\\]]{0,12}".prop_map(String::from)]
}

pub(super) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(Value::Integer),
        any::<i64>().prop_map(Value::Long),
        any::<bool>().prop_map(Value::Boolean),
        (-1e300f64..1e300).prop_map(Value::Double),
        text().prop_map(Value::String),
        proptest::collection::vec(any::<u8>(), 0..2000).prop_map(Value::Base64),
        Just(Value::Base64(Vec::new())),
        Just(Value::Nil),
        Just(Value::DateTime("20261122T18:30:00".parse().unwrap())),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            proptest::collection::btree_map(text(), inner, 0..6).prop_map(Value::Struct),
        ]
    })
}

/// Whether dxr by itself reads what it writes: it drops white space around names, and then takes an
/// empty name for a missing one.
fn is_readable(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.iter().all(is_readable),
        Value::Struct(members) => members
            .iter()
            .all(|(name, value)| !name.is_empty() && name.trim() == name && is_readable(value)),
        _ => true,
    }
}

/// Makes each edit: at an index, with a byte, of one of four kinds.
fn damaged(mut body: Vec<u8>, edits: &[(prop::sample::Index, u8, i32)]) -> Vec<u8> {
    for (at, byte, edit) in edits {
        if body.is_empty() {
            break;
        }
        let at = at.index(body.len());
        match edit {
            0 => body[at] = *byte,
            1 => body.insert(at, *byte),
            2 => drop(body.remove(at)),
            _ => body.truncate(at),
        }
    }
    body
}

proptest! {
    #[test]
    fn every_value_survives_a_call(
        params in proptest::collection::vec(value(), 0..4),
        piece in 1usize..3000,
    ) {
        let body = bytes(&Message::call("echo", params.clone()).unwrap());
        prop_assert_eq!(decode_in_pieces(&body, piece), Ok(("echo".to_owned(), params)));
    }

    #[test]
    fn every_value_survives_a_binary_call(
        params in proptest::collection::vec(value(), 0..4),
        piece in 1usize..3000,
    ) {
        let message = Message::call("echo", params.clone()).unwrap();
        let body = collect(message.body(Form::Binary).unwrap());
        prop_assert_eq!(decode_form(Form::Binary, &body, piece), Ok(("echo".to_owned(), params)));
    }

    #[test]
    fn every_value_survives_a_binary_answer(value in value()) {
        let body = Message::answer(value.clone()).unwrap().body(Form::Binary).unwrap();
        prop_assert_eq!(decode_answer_form(Form::Binary, &collect(body)), Ok(Ok(value)));
    }

    #[test]
    fn every_value_survives_an_answer(value in value()) {
        let body = bytes(&Message::answer(value.clone()).unwrap());
        prop_assert_eq!(decode_answer(&body), Ok(Ok(value)));
    }

    #[test]
    fn bodies_mean_what_dxr_says(params in proptest::collection::vec(value(), 0..4)) {
        prop_assume!(params.iter().all(is_readable));
        let xml = MethodCall { name: "echo".into(), params }.to_xml().unwrap();
        let theirs = MethodCall::from_xml(&xml).unwrap();
        prop_assert_eq!(decode(&xml), Ok((theirs.name.into_owned(), theirs.params)));
    }

    #[test]
    fn dxr_reads_what_is_written(params in proptest::collection::vec(value(), 0..4)) {
        prop_assume!(params.iter().all(is_readable));
        let body = bytes(&Message::call("echo", params.clone()).unwrap());
        let theirs = MethodCall::from_xml(std::str::from_utf8(&body).unwrap()).unwrap();
        prop_assert_eq!(theirs.params, params);
    }

    #[test]
    fn damage_is_refused_or_read_but_never_fatal(
        params in proptest::collection::vec(value(), 0..3),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4), 1..6),
    ) {
        let message = Message::call("echo", params).unwrap();
        let xml = damaged(bytes(&message), &edits);
        drop(decode(&xml));
        drop(decode_answer(&xml));
        let binary = damaged(collect(message.body(Form::Binary).unwrap()), &edits);
        drop(decode_form(Form::Binary, &binary, 100));
        drop(decode_answer_form(Form::Binary, &binary));
    }

    #[test]
    fn markup_in_any_order_is_never_fatal(
        parts in proptest::collection::vec(prop::sample::select(vec![
            "<value>", "</value>", "<base64>", "</base64>", "AAAA", "<![CDATA[", "]]>", "<!--",
            "-->", "<string>", "</string>", "<methodCall>", "</methodCall>", "<params>", "<param>",
            "</param>", "</params>", "<methodName>", "</methodName>", "<int>", "</int>", "<nil/>",
            "<base64/>", "&amp;", "&", "<?xml ?>", " ", "x", "<", ">", "\"", "'", "\u{feff}",
        ]), 0..40),
    ) {
        drop(decode(parts.concat()));
    }
}
