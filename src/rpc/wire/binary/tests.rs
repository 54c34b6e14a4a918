//! The binary form against what peers may send.

use bytes::Bytes;

use super::{HEAD_SIZE_MAX, Item, LENGTH_SIZE, head};
use crate::limits;
use crate::rpc::Value;
use crate::rpc::wire::tests::{collect, decode_answer_form, decode_form};
use crate::rpc::wire::{Form, Message};

/// A body with these items, and behind its head these lengths and contents.
fn body(items: &[Item<'_>], lengths: &[usize], contents: &[u8]) -> Vec<u8> {
    let head = postcard::to_stdvec(&(lengths, items)).unwrap();
    let length = u32::try_from(head.len()).unwrap().to_le_bytes();
    [&length, head.as_slice(), contents].concat()
}

fn refused(body: &[u8]) -> String {
    let whole = decode_form(Form::Binary, body, usize::MAX).unwrap_err();
    let single = decode_form(Form::Binary, body, 1).unwrap_err();
    assert_eq!(whole, single);
    whole.to_string()
}

#[test]
fn contents_are_what_they_are() {
    let contents = b"</base64><value>&\0\xff".repeat(100);
    let message = Message::call("get", vec![Value::Base64(contents.clone())]).unwrap();
    let binary = collect(message.body(Form::Binary).unwrap());
    assert!(binary.ends_with(&contents));
    assert_eq!(decode_form(Form::Binary, &binary, 7).unwrap().1, [Value::Base64(contents)]);
    // Who speaks only XML-RPC does not see any of it.
    assert!(collect(message.body(Form::Xml).unwrap()).starts_with(b"<?xml"));
}

#[test]
fn contents_that_are_given_take_the_empty_places() {
    let given: Vec<Bytes> = [0, 5, 600, 512, 0, 513].map(|size| vec![7; size].into()).to_vec();
    let params = |at: &dyn Fn(usize) -> Vec<u8>| {
        let pairs = (0..7).map(|n| Value::Array(vec![Value::Nil, Value::Base64(at(n))]));
        vec![Value::Integer(1), Value::Array(pairs.collect())]
    };
    let message = Message::call_with("a", params(&|_| Vec::new()), given.clone()).unwrap();
    // There is one place more.
    let meant = params(&|n| given.get(n).map(|bytes| bytes.to_vec()).unwrap_or_default());
    for form in [Form::Binary, Form::Xml] {
        let body = collect(message.body(form).unwrap());
        assert_eq!(decode_form(form, &body, 100).unwrap().1, meant);
    }
}

#[test]
fn a_body_must_be_whole() {
    const LENGTH: usize = 600;
    let items = [Item::Call("a"), Item::Contents];
    let contents = [b'c'; LENGTH];
    let whole = body(&items, &[LENGTH], &contents);
    let call = ("a".to_owned(), vec![Value::Base64(contents.to_vec())]);
    assert_eq!(decode_form(Form::Binary, &whole, 1), Ok(call));
    for end in 0..whole.len() {
        refused(&whole[..end]);
    }
    refused(&[whole.as_slice(), b"d"].concat());
    // Contents that were announced take no room before they come.
    refused(&body(&items, &[usize::MAX], &contents));
    refused(&body(&items, &[1 << 40, usize::MAX], &contents));
    // Small ones would take more than they are.
    refused(&body(&items, &[3], b"abc"));
    refused(&body(&items, &[0; 1000], b"abc"));
}

#[test]
fn heads_are_bounded() {
    assert!(refused(&[255; 8]).contains("the limit"));
    let above = u32::try_from(HEAD_SIZE_MAX + 1).unwrap().to_le_bytes();
    assert!(refused(&above).contains("the limit"));
    // What does not fit goes as XML.
    let many = Value::Array(vec![Value::Nil; HEAD_SIZE_MAX]);
    let message = Message::call("a", vec![many]).unwrap();
    assert_eq!(message.body(Form::Binary).unwrap().form(), Form::Xml);
    let most = vec![Value::Nil; HEAD_SIZE_MAX - 16];
    let message = Message::call("a", most.clone()).unwrap();
    let binary = message.body(Form::Binary).unwrap();
    assert_eq!(binary.form(), Form::Binary);
    assert_eq!(decode_form(Form::Binary, &collect(binary), 1 << 16).unwrap().1, most);
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize| {
        let arrays = (0..levels).map(|_| Item::Array(1));
        let items: Vec<_> =
            [Item::Call("a")].into_iter().chain(arrays).chain([Item::Nil]).collect();
        body(&items, &[], &[])
    };
    let deepest = limits::XML_DEPTH_MAX / 3;
    assert!(decode_form(Form::Binary, &nested(deepest), 100).is_ok());
    assert!(refused(&nested(deepest + 1)).contains("deeper"));
    assert!(refused(&nested(1_000_000)).contains("deeper"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for items in [
        vec![],
        vec![Item::Answer, Item::Nil],
        vec![Item::Fault(1, "no")],
        vec![Item::Call("a"), Item::Call("b")],
        vec![Item::Call("a"), Item::Answer],
        vec![Item::Call("a"), Item::Array(1)],
        vec![Item::Call("a"), Item::Array(usize::MAX), Item::Nil],
        vec![Item::Call("a"), Item::Struct(1), Item::Nil, Item::Nil],
        vec![Item::Call("a"), Item::Struct(1), Item::String("name")],
        vec![Item::Call("a"), Item::Contents],
        vec![Item::Call("a"), Item::DateTime("yesterday".into())],
        // It could not be answered in XML.
        vec![Item::Call("a"), Item::String("\0")],
        vec![Item::Call("a"), Item::Struct(1), Item::String("\u{1b}"), Item::Nil],
    ] {
        refused(&body(&items, &[], &[]));
    }
    // More than one value, contents that nothing stands for, and no items at all.
    let two = body(&[Item::Answer, Item::Nil, Item::Nil], &[], &[]);
    assert!(decode_answer_form(Form::Binary, &two).is_err());
    refused(&body(&[Item::Call("a")], &[600], &[0; 600]));
    refused(&[1, 0, 0, 0, 0]);
    refused(&[0; LENGTH_SIZE]);
    assert_eq!(head(&[Item::Answer], &[]).unwrap(), body(&[Item::Answer], &[], &[]));
}
