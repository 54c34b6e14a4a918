//! Bodies to values.

use std::collections::BTreeMap;
use std::mem;

use dxr::{MethodCall, MethodResponse, Value};

use crate::limits;
use crate::rpc::fault::Fault;
use crate::rpc::wire::binary::{EXPANSION, Reader};
use crate::rpc::wire::charset::Charset;
use crate::rpc::wire::form::Form;
use crate::rpc::wire::grammar::Element;
use crate::rpc::wire::scan::Scanner;
use crate::rpc::wire::skeleton::{NAME_MARK, Skeleton};
use crate::rpc::wire::text::{is_xml_char, is_xml_text, shortened};
use crate::rpc::wire::transcode::Transcoder;

/// Deepest nesting of an answer: a value may come back in a deeper place than it was put from.
const ANSWER_DEPTH_MAX: usize = limits::XML_DEPTH_MAX * 2;

/// Elements of XML for each level of values, at least: an array is `<value><array><data>`.
const ELEMENTS_PER_LEVEL: usize = 3;

/// Why a body is not what it should be; [`Fault::from`] makes the answer to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    code: i32,
    message: String,
}

impl DecodeError {
    pub(super) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Not XML.
    pub(super) fn not_well_formed(what: impl std::fmt::Display) -> Self {
        Self::new(Fault::NOT_WELL_FORMED, format!("the body is not well-formed XML: {what}"))
    }

    /// XML, but not a call.
    pub(super) fn misplaced(what: impl std::fmt::Display) -> Self {
        Self::new(Fault::INVALID_CALL, format!("the body is not XML-RPC: {what}"))
    }

    /// Something in it that is not accepted.
    pub(super) fn invalid(what: impl Into<String>) -> Self {
        Self::new(Fault::INVALID_CALL, what)
    }

    /// In an encoding that nobody knows.
    pub(super) fn encoding(name: &str) -> Self {
        Self::encoding_because(format!(
            "the encoding \"{}\" is not known; send UTF-8",
            shortened(name)
        ))
    }

    /// In an encoding that cannot be told.
    pub(super) fn encoding_because(what: impl Into<String>) -> Self {
        Self::new(Fault::UNSUPPORTED_ENCODING, what)
    }

    /// With bytes that are no characters in the body's encoding.
    pub(super) fn not_in(charset: Charset) -> Self {
        let message = format!("the body is not {} throughout", charset.name());
        Self::new(Fault::INVALID_CHARACTER, message)
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::new(error.code, error.message)
    }
}

/// Reads one body while it arrives.
#[derive(Debug)]
pub struct Decoder {
    reading: Reading,
}

#[derive(Debug)]
enum Reading {
    Xml(Transcoder),
    Binary(Reader),
}

impl Decoder {
    /// For the body of a call.
    #[must_use]
    pub fn for_call(form: Form) -> Self {
        Self::new(form, Element::MethodCall, limits::XML_DEPTH_MAX)
    }

    /// For the body of an answer.
    #[must_use]
    pub fn for_answer(form: Form) -> Self {
        Self::new(form, Element::MethodResponse, ANSWER_DEPTH_MAX)
    }

    fn new(form: Form, root: Element, depth_max: usize) -> Self {
        let reading = match form {
            Form::Xml => Reading::Xml(Transcoder::new(Scanner::new(root, depth_max))),
            Form::Binary => Reading::Binary(Reader::new(depth_max / ELEMENTS_PER_LEVEL)),
        };
        Self { reading }
    }

    /// Takes the next piece of the body; `expected` is how many bytes follow it, if that is known.
    ///
    /// # Errors
    /// As soon as it is clear that the body is wrong.
    pub fn push(&mut self, piece: &[u8], expected: Option<usize>) -> Result<(), DecodeError> {
        match &mut self.reading {
            Reading::Xml(xml) => xml.push(piece, expected),
            Reading::Binary(reader) => reader.push(piece, expected),
        }
    }

    /// Bytes of XML, contents apart, that wait to be made into values, or what takes as much work
    /// and memory as so many.
    #[must_use]
    pub fn xml_size(&self) -> usize {
        match &self.reading {
            Reading::Xml(xml) => xml.scanner().xml_size(),
            Reading::Binary(reader) => reader.head_size() * EXPANSION,
        }
    }

    /// Bytes that the body has taken so far in UTF-8: three for one that arrived, at most.
    #[must_use]
    pub fn text_size(&self) -> u64 {
        match &self.reading {
            Reading::Xml(xml) => xml.scanner().text_size(),
            Reading::Binary(_) => 0,
        }
    }

    /// The method's name and the parameters.
    ///
    /// # Errors
    /// If this was not a call.
    pub fn finish_call(self) -> Result<(String, Vec<Value>), DecodeError> {
        match self.reading {
            Reading::Xml(xml) => call_in(xml.finish()?),
            Reading::Binary(reader) => reader.finish_call(),
        }
    }

    /// What the server answered.
    ///
    /// # Errors
    /// If this was not an answer.
    pub fn finish_answer(self) -> Result<Result<Value, Fault>, DecodeError> {
        match self.reading {
            Reading::Xml(xml) => answer_in(xml.finish()?),
            Reading::Binary(reader) => reader.finish_answer(),
        }
    }
}

fn call_in(skeleton: Skeleton) -> Result<(String, Vec<Value>), DecodeError> {
    let Skeleton { xml, mut blobs, .. } = skeleton;
    let call = MethodCall::from_xml(&xml).map_err(|_| unreadable(&xml))?;
    let (name, mut params) = (call.name.into_owned(), call.params);
    for param in &mut params {
        complete(param, &mut blobs)?;
    }
    Ok((name, params))
}

fn answer_in(skeleton: Skeleton) -> Result<Result<Value, Fault>, DecodeError> {
    let Skeleton { xml, mut blobs, fault } = skeleton;
    let Some(range) = fault else {
        let mut value = MethodResponse::from_xml(&xml).map_err(|_| unreadable(&xml))?.value;
        complete(&mut value, &mut blobs)?;
        return Ok(Ok(value));
    };
    let value = xml.get(range).and_then(|xml| Value::from_xml(xml).ok());
    let Some(Value::Struct(mut members)) = value else { return Err(unreadable(&xml)) };
    match (members.remove("faultCode"), members.remove("faultString")) {
        (Some(Value::Integer(code)), Some(Value::String(message))) => {
            Ok(Err(Fault { code, message }))
        }
        _ => Err(DecodeError::misplaced("a <fault> has no faultCode or no faultString")),
    }
}

/// dxr refused a skeleton; it does not say why. Elements and numbers have been checked before, so
/// either a part is missing or a character is.
fn unreadable(xml: &str) -> DecodeError {
    let bad_reference = xml.split('&').skip(1).find(|after| !is_reference(after));
    match bad_reference {
        Some(after) => {
            let end = after.find(';').map_or(after.len(), |at| at + 1);
            let reference = shortened(after.get(..end.min(12)).unwrap_or_default());
            DecodeError::not_well_formed(format!("&{reference} is no character or entity of XML"))
        }
        None => DecodeError::misplaced("an element is missing or stands there twice"),
    }
}

fn is_reference(after: &str) -> bool {
    let Some((name, _)) = after.split_once(';') else { return false };
    let number = match name.strip_prefix('#') {
        None => return matches!(name, "lt" | "gt" | "amp" | "apos" | "quot"),
        Some(digits) => match digits.strip_prefix('x') {
            Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
            None => digits.parse(),
        },
    };
    number.is_ok_and(|number| char::from_u32(number).is_some_and(is_xml_char))
}

/// Puts contents back in the place of their numbers, and checks the texts.
fn complete(value: &mut Value, blobs: &mut [Vec<u8>]) -> Result<(), DecodeError> {
    match value {
        Value::Base64(bytes) => {
            let number = <[u8; 4]>::try_from(bytes.as_slice()).map(u32::from_be_bytes).ok();
            let blob = number.and_then(|number| blobs.get_mut(usize::try_from(number).ok()?));
            *bytes = blob.map(mem::take).unwrap_or_default();
            Ok(())
        }
        Value::String(text) => check_text(text),
        Value::Array(values) => values.iter_mut().try_for_each(|value| complete(value, blobs)),
        Value::Struct(members) => {
            unmark_names(members);
            members.iter_mut().try_for_each(|(name, value)| {
                check_text(name)?;
                complete(value, blobs)
            })
        }
        _ => Ok(()),
    }
}

/// Takes the scanner's marks off the names of members.
fn unmark_names(members: &mut BTreeMap<String, Value>) {
    let mark = char::from(NAME_MARK);
    if !members.first_key_value().is_some_and(|(name, _)| name.starts_with(mark)) {
        return;
    }
    // Marked names come first in the order of the map.
    let unmarked = members.split_off("\u{1}");
    for (name, value) in mem::replace(members, unmarked) {
        members.insert(name.trim_matches(mark).to_owned(), value);
    }
}

pub(super) fn check_text(text: &str) -> Result<(), DecodeError> {
    if is_xml_text(text) {
        return Ok(());
    }
    Err(DecodeError::not_well_formed(format!(
        "the text \"{}\" has characters that XML cannot carry; send it as base64",
        shortened(text)
    )))
}
