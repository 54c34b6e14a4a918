//! The binary form of a body: what htfs's own programs send each other instead of XML.
//!
//! It says the same as the XML, since making and reading that took a sixth of a small call: four
//! bytes, least significant first, with the length of the *head*; the head; and the large contents
//! one after the other. The head is a list of the lengths of these contents, and a list of
//! [`Item`]s, in which a value comes before the values inside it, both in postcard
//! (<https://postcard.jamesmunns.com/wire-format>).

use std::borrow::Cow;
use std::slice;
use std::vec;

use bytes::Bytes;
use dxr::Value;
use serde::{Deserialize, Serialize, Serializer};

use crate::limits;
use crate::rpc::fault::Fault;
use crate::rpc::wire::decode::{DecodeError, check_text};
use crate::rpc::wire::encode::INLINE_BLOB_MAX;

/// How much larger values are in memory for each byte of a head than for each byte of XML, at most
/// about: an element of the least kind is one byte here and eleven there.
pub(super) const EXPANSION: usize = 6;

/// Largest head, in bytes; what would need more goes as XML.
const HEAD_SIZE_MAX: usize = limits::XML_SIZE_MAX / EXPANSION;

/// Bytes of the length at the beginning.
const LENGTH_SIZE: usize = size_of::<u32>();

/// One step of a walk over a call or an answer.
#[derive(Debug, Serialize, Deserialize)]
enum Item<'a> {
    /// The method; its parameters follow.
    Call(&'a str),
    /// One value follows.
    Answer,
    /// The whole of an answer, with the code.
    Fault(i32, &'a str),
    Nil,
    Boolean(bool),
    Integer(i32),
    Long(i64),
    Double(f64),
    String(&'a str),
    #[serde(borrow)]
    DateTime(Cow<'a, str>),
    /// Contents that are not worth a place of their own.
    Inline(#[serde(serialize_with = "as_bytes")] &'a [u8]),
    /// The next of the contents behind the head.
    Contents,
    /// So many values follow.
    Array(usize),
    /// So many times a string, the name, and a value follow.
    Struct(usize),
}

fn as_bytes<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// What opens the body of a call of `method`, with `contents` behind it. `None` if it is too large
/// for this form.
pub(super) fn call_head(method: &str, params: &[Value], contents: &[Bytes]) -> Option<Vec<u8>> {
    let mut walk = Walk::new(Item::Call(method), contents);
    params.iter().try_for_each(|param| walk.visit(param))?;
    head(&walk.items, contents)
}

/// As [`call_head`], of an answer.
pub(super) fn answer_head(value: &Value, contents: &[Bytes]) -> Option<Vec<u8>> {
    let mut walk = Walk::new(Item::Answer, contents);
    walk.visit(value)?;
    head(&walk.items, contents)
}

/// As [`call_head`], of the answer to a call that failed.
pub(super) fn fault_head(fault: &Fault) -> Option<Vec<u8>> {
    head(&[Item::Fault(fault.code, &fault.message)], &[])
}

fn head(items: &[Item<'_>], contents: &[Bytes]) -> Option<Vec<u8>> {
    let lengths: Vec<usize> =
        contents.iter().map(Bytes::len).filter(|length| *length > 0).collect();
    let mut head = postcard::to_extend(&(lengths, items), vec![0; LENGTH_SIZE]).ok()?;
    let size = head.len() - LENGTH_SIZE;
    let length = u32::try_from(size).ok().filter(|_| size <= HEAD_SIZE_MAX)?;
    head.get_mut(..LENGTH_SIZE)?.copy_from_slice(&length.to_le_bytes());
    Some(head)
}

/// Values on their way to items.
struct Walk<'a> {
    items: Vec<Item<'a>>,
    /// What belongs in the places that are empty.
    contents: slice::Iter<'a, Bytes>,
}

impl<'a> Walk<'a> {
    fn new(opening: Item<'a>, contents: &'a [Bytes]) -> Self {
        Self { items: vec![opening], contents: contents.iter() }
    }

    /// Adds the items of a value. `None` for a type that dxr might have one day.
    fn visit(&mut self, value: &'a Value) -> Option<()> {
        let item = match value {
            Value::Nil => Item::Nil,
            Value::Boolean(boolean) => Item::Boolean(*boolean),
            Value::Integer(number) => Item::Integer(*number),
            Value::Long(number) => Item::Long(*number),
            Value::Double(number) => Item::Double(*number),
            Value::String(text) => Item::String(text),
            Value::DateTime(time) => Item::DateTime(Cow::Owned(time.to_string())),
            Value::Base64(bytes) if bytes.is_empty() && !self.contents.next()?.is_empty() => {
                Item::Contents
            }
            Value::Base64(bytes) => Item::Inline(bytes),
            Value::Array(values) => {
                self.items.push(Item::Array(values.len()));
                return values.iter().try_for_each(|value| self.visit(value));
            }
            Value::Struct(members) => {
                self.items.push(Item::Struct(members.len()));
                return members.iter().try_for_each(|(name, value)| {
                    self.items.push(Item::String(name));
                    self.visit(value)
                });
            }
            _ => return None,
        };
        self.items.push(item);
        Some(())
    }
}

/// Reads one body while it arrives.
#[derive(Debug)]
pub(super) struct Reader {
    depth_max: usize,
    /// The head, with the length before it.
    head: Vec<u8>,
    /// Where the items begin in it, when it is complete.
    items: Option<usize>,
    /// The lengths of the contents that have not begun to arrive.
    lengths: vec::IntoIter<usize>,
    /// How much of the last contents is still to come, in bytes.
    missing: usize,
    contents: Vec<Vec<u8>>,
}

impl Reader {
    /// For values that are nested at most so deep.
    pub(super) fn new(depth_max: usize) -> Self {
        let (head, lengths, contents) = (Vec::new(), Vec::new().into_iter(), Vec::new());
        Self { depth_max, head, items: None, lengths, missing: 0, contents }
    }

    /// Bytes of the head so far.
    pub(super) fn head_size(&self) -> usize {
        self.head.len()
    }

    /// Takes the next piece of the body; `expected` is how many bytes follow it at most, if that is
    /// known.
    pub(super) fn push(
        &mut self,
        mut piece: &[u8],
        expected: Option<usize>,
    ) -> Result<(), DecodeError> {
        while self.items.is_none() && !piece.is_empty() {
            let wanted = self.head_length()?.unwrap_or(LENGTH_SIZE) - self.head.len();
            let (part, rest) = piece.split_at(wanted.min(piece.len()));
            self.head.extend_from_slice(part);
            piece = rest;
            if self.head_length()? == Some(self.head.len()) {
                self.end_head()?;
            }
        }
        while !piece.is_empty() {
            if self.missing == 0 {
                self.begin_contents()?;
            }
            let (part, rest) = piece.split_at(self.missing.min(piece.len()));
            self.missing -= part.len();
            let Some(contents) = self.contents.last_mut() else { break };
            if contents.capacity() - contents.len() < part.len() {
                // Announced is not sent: room is made for what comes in this very body at most.
                let follows = self.missing.min(expected.unwrap_or_default().max(rest.len()));
                contents.reserve_exact(part.len() + follows);
            }
            contents.extend_from_slice(part);
            piece = rest;
        }
        Ok(())
    }

    /// The method's name and the parameters.
    pub(super) fn finish_call(self) -> Result<(String, Vec<Value>), DecodeError> {
        self.finish(|opening, values| {
            let Item::Call(name) = opening else { return Err(invalid("it is not a call")) };
            let mut params = Vec::new();
            while !values.items.as_slice().is_empty() {
                params.push(values.next(0)?);
            }
            Ok((name.to_owned(), params))
        })
    }

    /// What the server answered.
    pub(super) fn finish_answer(self) -> Result<Result<Value, Fault>, DecodeError> {
        self.finish(|opening, values| match opening {
            Item::Answer => values.next(0).map(Ok),
            Item::Fault(code, message) => Ok(Err(Fault::new(code, message))),
            _ => Err(invalid("it is not an answer")),
        })
    }

    /// The length of the head, its own length included, when that is known.
    fn head_length(&self) -> Result<Option<usize>, DecodeError> {
        let Some(length) = self.head.first_chunk() else { return Ok(None) };
        match usize::try_from(u32::from_le_bytes(*length)) {
            Ok(length) if length <= HEAD_SIZE_MAX => Ok(Some(LENGTH_SIZE + length)),
            _ => Err(invalid(format!("its head is larger than {HEAD_SIZE_MAX} bytes, the limit"))),
        }
    }

    fn end_head(&mut self) -> Result<(), DecodeError> {
        let head = self.head.get(LENGTH_SIZE..).unwrap_or_default();
        let (lengths, items) = postcard::take_from_bytes::<Vec<usize>>(head).map_err(invalid)?;
        self.items = Some(self.head.len() - items.len());
        self.lengths = lengths.into_iter();
        Ok(())
    }

    fn begin_contents(&mut self) -> Result<(), DecodeError> {
        let Some(length) = self.lengths.next() else {
            return Err(invalid("something follows the last contents"));
        };
        // Each takes memory of its own, which few bytes of a body must not multiply.
        if length <= INLINE_BLOB_MAX {
            return Err(invalid(format!("contents of {length} bytes have a place of their own")));
        }
        self.missing = length;
        self.contents.push(Vec::new());
        Ok(())
    }

    /// Makes what `build` makes of the first item and the values behind it, which must be all.
    fn finish<T>(
        self,
        build: impl FnOnce(Item<'_>, &mut Values<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let is_whole = self.missing == 0 && self.lengths.len() == 0;
        let Some(start) = self.items.filter(|_| is_whole) else {
            return Err(invalid("its end is missing"));
        };
        let items = self.head.get(start..).unwrap_or_default();
        let (items, rest) = postcard::take_from_bytes::<Vec<Item<'_>>>(items).map_err(invalid)?;
        let (mut items, contents) = (items.into_iter(), self.contents.into_iter());
        let opening = items.next().ok_or_else(|| invalid("it says nothing"))?;
        let mut values = Values { items, contents, depth_max: self.depth_max };
        let built = build(opening, &mut values)?;
        let is_all = rest.is_empty() && values.items.len() == 0 && values.contents.len() == 0;
        is_all.then_some(built).ok_or_else(|| invalid("there is more in it than belongs there"))
    }
}

/// Items on their way to values.
struct Values<'a> {
    items: vec::IntoIter<Item<'a>>,
    contents: vec::IntoIter<Vec<u8>>,
    depth_max: usize,
}

impl Values<'_> {
    /// The next value, which is inside so many others.
    fn next(&mut self, depth: usize) -> Result<Value, DecodeError> {
        if depth > self.depth_max {
            return Err(invalid(format!("values are nested deeper than {}", self.depth_max)));
        }
        let item = self.items.next().ok_or_else(|| invalid("a value is missing"))?;
        Ok(match item {
            Item::Nil => Value::Nil,
            Item::Boolean(boolean) => Value::Boolean(boolean),
            Item::Integer(number) => Value::Integer(number),
            Item::Long(number) => Value::Long(number),
            Item::Double(number) => Value::Double(number),
            Item::String(text) => Value::String(checked(text)?),
            Item::DateTime(time) => {
                Value::DateTime(time.parse().map_err(|_| invalid("a time is not one"))?)
            }
            Item::Inline(bytes) => Value::Base64(bytes.to_vec()),
            Item::Contents => {
                let contents = self.contents.next();
                Value::Base64(contents.ok_or_else(|| invalid("contents are missing"))?)
            }
            Item::Array(length) => {
                Value::Array((0..length).map(|_| self.next(depth + 1)).collect::<Result<_, _>>()?)
            }
            Item::Struct(length) => {
                let member = |_| Ok((self.name()?, self.next(depth + 1)?));
                Value::Struct((0..length).map(member).collect::<Result<_, _>>()?)
            }
            Item::Call(_) | Item::Answer | Item::Fault(..) => {
                return Err(invalid("a call or an answer stands inside another"));
            }
        })
    }

    /// The name of a member.
    fn name(&mut self) -> Result<String, DecodeError> {
        match self.items.next() {
            Some(Item::String(name)) => checked(name),
            _ => Err(invalid("a member has no name")),
        }
    }
}

/// A text that could have come in XML too, so that it can go on in an answer.
fn checked(text: &str) -> Result<String, DecodeError> {
    check_text(text)?;
    Ok(text.to_owned())
}

fn invalid(what: impl std::fmt::Display) -> DecodeError {
    DecodeError::invalid(format!("the binary body cannot be read: {what}"))
}

#[cfg(test)]
mod tests;
