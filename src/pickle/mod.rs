//! Flat pickles, in and out, as data only: nothing in a pickle is ever executed.
//!
//! Python clients keep the attributes of a file as a pickled dict at the master, and may pickle
//! contents as well. This module reads what Python's picklers write for plain data in protocols 0
//! to 5, and writes protocol 0, which Python 2 and 3 read alike.
//!
//! Pickles come from the network, so reading is bounded in every direction: objects by
//! [`limits::PICKLE_OBJECTS_MAX`], nesting by [`limits::PICKLE_DEPTH_MAX`], and the text and bytes
//! of the result, with every repeated reference counted again, by the caller. (The crate
//! serde-pickle is not used to read: its DUP copies, so that n opcodes make 2ⁿ objects, it recurses
//! as deep as the input says, and it takes unknown classes for empty dicts.)
//!
//! Source of the format: the comments in `Lib/pickletools.py` of CPython.

mod attributes;
mod date;
mod escape;
mod machine;
mod reader;
mod source;
mod table;
mod time;
mod writer;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use jiff::civil::DateTime;

use crate::error::{ErrorKind, FsError};
#[cfg(doc)]
use crate::limits;

pub use attributes::{Attributes, server_url};
pub use escape::to_latin1;
pub use reader::read;
pub use table::{TableReader, TableWriter};
pub use time::{to_seconds, to_time};
pub use writer::{Style, write};

/// A plain Python object.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// `True`, `False`.
    Bool(bool),
    /// `int` and `long`, as far as 128 bits go.
    Int(i128),
    /// `float`.
    Float(f64),
    /// `str` of Python 2: bytes that are often text.
    Str(Bytes),
    /// `bytes` of Python 3.
    Bytes(Bytes),
    /// `bytearray`.
    ByteArray(Bytes),
    /// `str` of Python 3, `unicode` of Python 2: UTF-8, except that surrogates may stand alone, in
    /// three bytes each, as Python's "surrogatepass" writes them.
    Text(Bytes),
    /// `datetime.datetime` without a zone, to the microsecond.
    DateTime(DateTime),
    /// `list`.
    List(Vec<Self>),
    /// `tuple`.
    Tuple(Vec<Self>),
    /// `dict`, in the order of the pickle; of equal keys the last one counts.
    Dict(Vec<(Self, Self)>),
}

impl Value {
    /// An ASCII `str` of both Pythons.
    #[must_use]
    pub fn str(text: &'static str) -> Self {
        Self::Str(Bytes::from_static(text.as_bytes()))
    }

    /// A path or name: a string of the type that both Pythons use for paths, as far as there is
    /// one; bytes if it is not UTF-8.
    #[must_use]
    pub fn path(bytes: Bytes) -> Self {
        match std::str::from_utf8(&bytes) {
            Ok(text) if text.is_ascii() => Self::Str(bytes),
            Ok(_) => Self::Text(bytes),
            Err(_) => Self::Bytes(bytes),
        }
    }

    /// The bytes of a string of any type, as Python's `os.fsencode` gives them: text is UTF-8, and
    /// a lone surrogate from U+DC80 to U+DCFF stands for one byte.
    #[must_use]
    pub fn as_path(&self) -> Option<Bytes> {
        match self {
            Self::Text(text) => Some(escape::surrogates_to_bytes(text)),
            other => other.as_bytes().cloned(),
        }
    }

    /// The bytes of a string of any type, as they are.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Str(bytes) | Self::Bytes(bytes) | Self::ByteArray(bytes) | Self::Text(bytes) => {
                Some(bytes)
            }
            _ => None,
        }
    }

    /// The value of a string key, if this is a dict that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Dict(members) = self else { return None };
        let found = members.iter().rfind(|(k, _)| k.is_string(key.as_bytes()));
        found.map(|(_, value)| value)
    }

    fn is_string(&self, bytes: &[u8]) -> bool {
        self.as_bytes().is_some_and(|own| own == bytes)
    }
}

/// Why some bytes are not a pickle that is read here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickleError {
    /// The bytes end, or go on, where they should not.
    #[error("the pickle is cut short or has something behind its end, at byte {0}")]
    Length(usize),
    /// An opcode without its operands, or a malformed operand.
    #[error("the pickle is damaged at byte {0}")]
    Malformed(usize),
    /// An opcode that plain data does not need.
    #[error("the pickle holds more than plain data: opcode {opcode:#04x} at byte {at}")]
    Opcode {
        /// The opcode.
        opcode: u8,
        /// Where.
        at: usize,
    },
    /// A class or function that plain data does not need.
    #[error("the pickle holds more than plain data: {0}")]
    Global(String),
    /// Over one of the limits.
    #[error("the pickle is over the limit: {0}")]
    TooBig(&'static str),
    /// Plain data, but not the kind that was expected.
    #[error("the pickle is not {0}")]
    Unexpected(&'static str),
    /// What it is read from failed.
    #[error("the pickle cannot be read: {0}")]
    Unreadable(String),
}

impl PickleError {
    fn global(module: &[u8], name: &[u8]) -> Self {
        let shown = |part: &[u8]| part[..part.len().min(40)].escape_ascii().to_string();
        Self::Global(format!("{}.{}", shown(module), shown(name)))
    }
}

impl From<std::io::Error> for PickleError {
    fn from(error: std::io::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// Whether bytes begin as picklers begin a dict. It is not looked at any further.
#[must_use]
pub fn may_be_dict(pickle: &[u8]) -> bool {
    let body = without_head(pickle);
    body.starts_with(b"}") || body.starts_with(b"(d")
}

/// The same for a list.
#[must_use]
pub fn may_be_list(pickle: &[u8]) -> bool {
    let body = without_head(pickle);
    body.starts_with(b"]") || body.starts_with(b"(l")
}

/// A pickle without its protocol and the length of its first frame.
fn without_head(pickle: &[u8]) -> &[u8] {
    match pickle {
        [0x80, _, 0x95, rest @ ..] => rest.get(8..).unwrap_or_default(),
        [0x80, _, rest @ ..] => rest,
        _ => pickle,
    }
}

impl From<PickleError> for FsError {
    fn from(error: PickleError) -> Self {
        let kind = match error {
            PickleError::TooBig(_) => ErrorKind::TooBig,
            PickleError::Unreadable(_) => ErrorKind::Io,
            _ => ErrorKind::Protocol,
        };
        Self::new(kind, error.to_string())
    }
}
