//! The forms in which clients of different kinds store the same things, and telling them apart.
//!
//! Contents are stored *raw*, or *pickled* as bytes or text; both, and dicts of attributes, travel
//! as `<string>` or as `<base64>`. Which it is shows in each value, so every form is read always,
//! and what is written again stays in the form it had.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::pickle::{self, Attributes, Style, to_latin1};
use crate::proto::classic::{Dialect, Entry, is_xml_text};
use crate::types::{StoredValue, ValueKind};

/// Whether contents are stored as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// The bytes themselves.
    Raw,
    /// A pickle of the bytes.
    #[default]
    Pickled,
}

impl Layout {
    /// What clients of a dialect do when nobody has told or shown them anything. The homework pickles
    /// contents and has to put the pickle, which is bytes, into a `Binary`; who goes without `Binary`
    /// puts the contents as they are, which is what the report says: `put(path, contents, ttl)`.
    #[must_use]
    pub const fn usual(dialect: Dialect) -> Self {
        match dialect {
            Dialect::String => Self::Raw,
            Dialect::Binary => Self::Pickled,
        }
    }
}

/// How one file's contents are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// The type on the wire.
    pub dialect: Dialect,
    /// And what is inside.
    pub layout: Layout,
}

impl Form {
    /// Largest contents that fit in a body, whatever bytes they are.
    #[must_use]
    pub const fn size_max(self) -> usize {
        // Base64 makes four of three; the compact pickle takes up to two bytes for one.
        let plain = (limits::BODY_SIZE_MAX - limits::ENVELOPE_SIZE_MAX) / 4 * 3;
        match self.layout {
            Layout::Raw => plain,
            Layout::Pickled => plain / 2,
        }
    }

    /// Contents as the value to store.
    #[must_use]
    pub fn write(self, contents: Bytes) -> StoredValue {
        match self.layout {
            Layout::Raw => wrap_text(self.dialect, contents),
            Layout::Pickled => wrap_pickle(self.dialect, &pickle::Value::Bytes(contents)),
        }
    }

    /// The contents in a value, and their form, if one form gives contents of `size` bytes.
    #[must_use]
    pub fn read(value: &StoredValue, size: u64) -> Option<(Bytes, Self)> {
        let dialect = dialect_of(value)?;
        let is_whole = |bytes: &Bytes| bytes.len() as u64 == size;
        let raw = Self { dialect, layout: Layout::Raw };
        if is_whole(&value.bytes) {
            return Some((value.bytes.clone(), raw));
        }
        let latin1 = latin1_of(value);
        if let Some(contents) = latin1.clone().filter(is_whole) {
            return Some((contents, raw));
        }
        let pickled = latin1.unwrap_or_else(|| value.bytes.clone());
        let unpickled = pickle::read(&pickled, limits::BODY_SIZE_MAX).ok()?;
        let is_text = matches!(unpickled, pickle::Value::Text(_));
        let contents = of_size(unpickled.as_bytes()?, is_text, size)?;
        Some((contents, Self { dialect, layout: Layout::Pickled }))
    }

    /// The contents in a value of whatever size: pickled if it is a pickle, else raw.
    ///
    /// # Errors
    /// `Protocol` for a value that is no string.
    pub fn read_any(value: &StoredValue) -> Result<(Bytes, Self)> {
        let Some(dialect) = dialect_of(value) else {
            let message = "the chunk server holds something else than the contents of a file";
            return Err(FsError::new(ErrorKind::Protocol, message));
        };
        let unpickled = unwrap_pickle(value).and_then(|pickled| pickled.as_bytes().cloned());
        Ok(match unpickled {
            Some(contents) => (contents, Self { dialect, layout: Layout::Pickled }),
            None => (value.bytes.clone(), Self { dialect, layout: Layout::Raw }),
        })
    }
}

/// Bytes of a certain size; text of another size may be meant as Latin-1.
fn of_size(bytes: &Bytes, is_text: bool, size: u64) -> Option<Bytes> {
    if bytes.len() as u64 == size {
        return Some(bytes.clone());
    }
    if !is_text || (bytes.len() as u64) < size {
        return None;
    }
    to_latin1(bytes).filter(|latin1| latin1.len() as u64 == size)
}

impl Entry {
    /// The entry as a program gets it that writes its keys in this dialect.
    #[must_use]
    pub fn in_dialect(mut self, dialect: Dialect) -> Self {
        self.value = self.value.in_dialect(dialect);
        self
    }
}

impl StoredValue {
    /// The value as a program gets it that writes its keys in this dialect.
    #[must_use]
    pub fn in_dialect(self, dialect: Dialect) -> Self {
        match self.kind {
            ValueKind::Either => wrap_text(dialect, self.bytes),
            _ => self,
        }
    }
}

/// The dialect a value came in; none if it is neither string nor base64.
#[must_use]
pub fn dialect_of(value: &StoredValue) -> Option<Dialect> {
    match value.kind {
        ValueKind::String => Some(Dialect::String),
        ValueKind::Base64 | ValueKind::Either => Some(Dialect::Binary),
        ValueKind::Xml => None,
    }
}

/// The dialect in which a value was put, as far as that was a choice: contents that are no text have
/// to be base64, while pickles can always be text.
#[must_use]
pub fn chosen_dialect(value: &StoredValue, layout: Layout) -> Option<Dialect> {
    let has_choice = layout == Layout::Pickled
        || value.bytes.len() <= limits::STRING_SIZE_MAX
            && std::str::from_utf8(&value.bytes).is_ok_and(is_xml_text);
    dialect_of(value).filter(|dialect| *dialect == Dialect::String || has_choice)
}

/// A dict of attributes as the value to store.
#[must_use]
pub fn write_attributes(dialect: Dialect, attributes: &Attributes) -> StoredValue {
    match dialect {
        Dialect::String => {
            StoredValue { kind: ValueKind::String, bytes: attributes.write(Style::Ascii) }
        }
        Dialect::Binary => {
            StoredValue { kind: ValueKind::Base64, bytes: attributes.write(Style::Compact) }
        }
    }
}

/// The dict of attributes in a value.
///
/// # Errors
/// `Protocol` for anything else, `TooBig` over the limits.
pub fn read_attributes(value: &StoredValue) -> Result<Attributes> {
    Attributes::read(&pickle_bytes(value)).map_err(FsError::from)
}

/// Whose a dict of attributes is: what its `contents` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The file system's: it names the chunk server that has the contents.
    Shared,
    /// Its client's alone: the contents themselves are in it, as in the first shape of the
    /// homework, which keeps everything in one hash table.
    Own,
    /// It has no contents at all.
    Unsaid,
}

/// Whose the dict of attributes in a value is; `None` for every other value.
#[must_use]
pub fn ownership(value: &StoredValue) -> Option<Ownership> {
    // Contents are large, and hardly ever a dict: that shows in their first bytes.
    if value.kind == ValueKind::Xml || !pickle::may_be_dict(&value.bytes) {
        return None;
    }
    let dict = unwrap_pickle(value)?;
    dict.get("st_mode")?;
    Some(match dict.get("contents") {
        None => Ownership::Unsaid,
        Some(contents) if pickle::server_url(contents).is_some() => Ownership::Shared,
        Some(_) => Ownership::Own,
    })
}

/// `st_size` of a pickled dict, in bytes; 0 for every other value.
#[must_use]
pub fn st_size(value: &StoredValue) -> u64 {
    let Ok(dict) = pickle::read(&value.bytes, limits::PICKLED_ATTRIBUTES_MAX) else { return 0 };
    match dict.get("st_size") {
        Some(pickle::Value::Int(size)) => u64::try_from(*size).unwrap_or(0),
        _ => 0,
    }
}

/// A pickle as the value to store; a long one as `<base64>` also in the string dialect, because
/// text is bounded more narrowly.
#[must_use]
pub fn wrap_pickle(dialect: Dialect, value: &pickle::Value) -> StoredValue {
    // What is too long by itself need not be written to find that out.
    let is_long = value.as_bytes().is_some_and(|bytes| bytes.len() > limits::STRING_SIZE_MAX);
    if dialect == Dialect::String && !is_long {
        let text = pickle::write(value, Style::Ascii);
        if text.len() <= limits::STRING_SIZE_MAX {
            return StoredValue { kind: ValueKind::String, bytes: text.into() };
        }
    }
    let pickled = pickle::write(value, Style::Compact);
    StoredValue { kind: ValueKind::Base64, bytes: pickled.into() }
}

/// The object that is pickled in a value, if one is.
#[must_use]
pub fn unwrap_pickle(value: &StoredValue) -> Option<pickle::Value> {
    if value.kind == ValueKind::Xml {
        return None;
    }
    pickle::read(&pickle_bytes(value), limits::BODY_SIZE_MAX).ok()
}

/// The bytes of a pickle. Python sends those of protocol 0 as text by reading them as Latin-1.
fn pickle_bytes(value: &StoredValue) -> Bytes {
    latin1_of(value).unwrap_or_else(|| value.bytes.clone())
}

fn latin1_of(value: &StoredValue) -> Option<Bytes> {
    (value.kind == ValueKind::String).then(|| to_latin1(&value.bytes)).flatten()
}

fn wrap_text(dialect: Dialect, bytes: Bytes) -> StoredValue {
    let is_text = dialect == Dialect::String
        && bytes.len() <= limits::STRING_SIZE_MAX
        && std::str::from_utf8(&bytes).is_ok_and(is_xml_text);
    let kind = if is_text { ValueKind::String } else { ValueKind::Base64 };
    StoredValue { kind, bytes }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Form, Layout, Ownership};
    use crate::pickle::Attributes;
    use crate::proto::classic::Dialect;
    use crate::types::{StoredValue, ValueKind};

    fn forms() -> impl Iterator<Item = Form> {
        [Dialect::String, Dialect::Binary].into_iter().flat_map(|dialect| {
            [Layout::Raw, Layout::Pickled].map(|layout| Form { dialect, layout })
        })
    }

    fn string(text: &'static str) -> StoredValue {
        StoredValue { kind: ValueKind::String, bytes: text.into() }
    }

    #[test]
    fn contents_come_back_with_the_form_they_were_written_in() {
        let all_bytes: Vec<u8> = (0..=255).collect();
        for contents in [&b""[..], b"hello\n", "ä€".as_bytes(), &all_bytes, b"S'x'\n."] {
            for form in forms() {
                let value = form.write(Bytes::copy_from_slice(contents));
                let (read, found) = Form::read(&value, contents.len() as u64).unwrap();
                assert_eq!((&read[..], found.layout), (contents, form.layout));
            }
        }
    }

    #[test]
    fn a_pickle_of_its_own_size_is_a_file_that_holds_a_pickle() {
        let raw = Form { layout: Layout::Raw, ..Form::default() };
        let value = raw.write(Bytes::from_static(b"S'x'\n."));
        assert_eq!(Form::read(&value, 6).unwrap().0, "S'x'\n.");
        assert_eq!(Form::read(&value, 1).unwrap().0, "x");
        assert_eq!(Form::read(&value, 2), None);
        assert_eq!(Form::read_any(&value).unwrap().0, "x");
    }

    #[test]
    fn text_whose_size_was_counted_in_characters_is_latin_1() {
        let contents = |value: &StoredValue, size| Form::read(value, size).map(|(c, _)| c);
        assert_eq!(contents(&string("ä"), 2).unwrap(), "ä");
        assert_eq!(contents(&string("ä"), 1).unwrap(), &b"\xe4"[..]);
        assert_eq!(contents(&string("V\\u00e4\n."), 1).unwrap(), &b"\xe4"[..]);
        assert_eq!(contents(&string("€"), 1), None);
    }

    #[test]
    fn a_dict_belongs_to_whom_its_contents_say() {
        let of = |text| super::ownership(&string(text));
        let shared = "(dS'st_mode'\nI33188\nsS'contents'\nS'https://localhost:9001'\ns.";
        assert_eq!(of(shared), Some(Ownership::Shared));
        for contents in ["S''", "S'hello'", "(lS'/'\na", "N"] {
            let text = format!("(dS'st_mode'\nI33188\nsS'contents'\n{contents}\ns.");
            let text: &'static str = text.replace("a\ns.", "as.").replace("N\n", "N").leak();
            assert_eq!(of(text), Some(Ownership::Own), "{text}");
        }
        assert_eq!(of("(dS'st_mode'\nI33188\ns."), Some(Ownership::Unsaid));
        for other in ["(dS'contents'\nS''\ns.", "(l.", "hello", ""] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn strings_of_protocol_0_may_hold_latin_1() {
        let value = string("(dS'st_mode'\nI33188\nsS'x'\nV\u{e4}\ns.");
        let attributes = super::read_attributes(&value).unwrap();
        assert_eq!(attributes.mode, 0o100_644);
        let written = super::write_attributes(Dialect::String, &attributes);
        assert_eq!(super::read_attributes(&written).unwrap(), attributes);
        assert_eq!(super::read_attributes(&string("(l.")).ok(), None::<Attributes>);
    }
}
