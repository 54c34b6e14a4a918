//! The beginning of a body, which tells its encoding (XML 1.0, section 4.3.3 and appendix F).

use std::borrow::Cow;

use memchr::memmem;

use crate::rpc::wire::charset::{ByteOrder, Charset};
use crate::rpc::wire::decode::DecodeError;
use crate::rpc::wire::text::{is_blank, shortened, shortened_bytes};

/// Most bytes that are looked at, or kept while there are too few to tell. A declaration has about
/// sixty characters, which are twice as many bytes in UTF-16.
pub(super) const PROLOG_SIZE_MAX: usize = 1024;

/// Bytes with which it is clear in what family of encodings a body is.
const SIGNATURE_SIZE: usize = 4;

/// What the first bytes show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// Characters of ASCII are bytes.
    Bytes,
    /// There is a byte order mark in UTF-8.
    Utf8,
    Utf16(ByteOrder),
}

/// The beginning of a body, once enough of it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prolog {
    /// The body's encoding.
    pub(super) charset: Charset,
    /// How many bytes are byte order mark and XML declaration: the document is behind them.
    pub(super) size: usize,
}

impl Prolog {
    /// Reads the beginning of a body; `None` if that may yet go on. `is_all` says that it does not.
    pub(super) fn read(bytes: &[u8], is_all: bool) -> Result<Option<Self>, DecodeError> {
        let bytes = bytes.get(..PROLOG_SIZE_MAX).unwrap_or(bytes);
        let may_go_on = !is_all && bytes.len() < PROLOG_SIZE_MAX;
        if bytes.len() < SIGNATURE_SIZE && may_go_on {
            return Ok(None);
        }
        let (family, mark_size) = Family::of(bytes)?;
        let text = family.ascii_in(bytes.get(mark_size..).unwrap_or_default());
        let (name, end) = match Declaration::find(&text) {
            Declaration::Cut if may_go_on => return Ok(None),
            // If there is one all the same, the scanner finds it, and refuses it.
            Declaration::Cut | Declaration::None => (None, 0),
            Declaration::Whole { inside, end } => (encoding_in(inside)?, end),
        };
        let size = mark_size + end * family.unit_size();
        Ok(Some(Self { charset: family.charset(name)?, size }))
    }
}

impl Family {
    /// The family of a body with these first bytes, and how many of them are a byte order mark.
    fn of(bytes: &[u8]) -> Result<(Self, usize), DecodeError> {
        Ok(match bytes {
            [0, 0, 0xfe, 0xff, ..]
            | [0xff, 0xfe, 0, 0, ..]
            | [0, 0, 0, b'<', ..]
            | [b'<', 0, 0, 0, ..] => return Err(DecodeError::encoding("UTF-32")),
            [0x4c, 0x6f, 0xa7, 0x94, ..] => return Err(DecodeError::encoding("EBCDIC")),
            [0xef, 0xbb, 0xbf, ..] => (Self::Utf8, 3),
            [0xff, 0xfe, ..] => (Self::Utf16(ByteOrder::Little), 2),
            [0xfe, 0xff, ..] => (Self::Utf16(ByteOrder::Big), 2),
            // No other encoding has zero bytes.
            [1..=0x7f, 0, ..] => (Self::Utf16(ByteOrder::Little), 0),
            [0, 1..=0x7f, ..] => (Self::Utf16(ByteOrder::Big), 0),
            _ => (Self::Bytes, 0),
        })
    }

    fn unit_size(self) -> usize {
        match self {
            Self::Bytes | Self::Utf8 => 1,
            Self::Utf16(_) => 2,
        }
    }

    /// One byte for each unit of a text: what is not ASCII is no part of a declaration.
    fn ascii_in(self, bytes: &[u8]) -> Cow<'_, [u8]> {
        let Self::Utf16(order) = self else { return bytes.into() };
        let ascii = |pair: &[u8; 2]| {
            let unit = match order {
                ByteOrder::Little => u16::from_le_bytes(*pair),
                ByteOrder::Big => u16::from_be_bytes(*pair),
            };
            u8::try_from(unit).unwrap_or(u8::MAX)
        };
        bytes.as_chunks().0.iter().map(ascii).collect()
    }

    /// The encoding that a declaration names, if it can be that of a body of this family.
    fn charset(self, declared: Option<&str>) -> Result<Charset, DecodeError> {
        let shown = match self {
            Self::Bytes | Self::Utf8 => Charset::Utf8,
            Self::Utf16(order) => Charset::Utf16(Some(order)),
        };
        let Some(name) = declared else { return Ok(shown) };
        let charset = Charset::named(name).ok_or_else(|| DecodeError::encoding(name))?;
        match (self, charset) {
            (Self::Bytes, Charset::Utf16(_)) => Err(contradiction(name, "no UTF-16")),
            (Self::Bytes, charset) => Ok(charset),
            (Self::Utf16(_), Charset::Utf16(None)) => Ok(shown),
            (Self::Utf8 | Self::Utf16(_), charset) if charset == shown => Ok(shown),
            (Self::Utf8 | Self::Utf16(_), _) => Err(contradiction(name, shown.name())),
        }
    }
}

fn contradiction(name: &str, shown: &str) -> DecodeError {
    DecodeError::encoding_because(format!(
        "the XML declaration says \"{}\", but the body is {shown}",
        shortened(name)
    ))
}

/// What stands where the XML declaration does.
enum Declaration<'a> {
    None,
    /// The text ends before it does, or before it is clear that it is one.
    Cut,
    /// `inside` is between `<?xml` and `?>`; `end` is behind that.
    Whole {
        inside: &'a [u8],
        end: usize,
    },
}

impl<'a> Declaration<'a> {
    /// Finds it at the beginning of a text. White space before it is against the rules, and common.
    fn find(text: &'a [u8]) -> Self {
        const OPENING: &[u8] = b"<?xml";
        let blanks = text.iter().take_while(|byte| is_blank(**byte)).count();
        let rest = text.get(blanks..).unwrap_or_default();
        let Some(after) = rest.strip_prefix(OPENING) else {
            let is_prefix = OPENING.starts_with(rest) && !rest.is_empty();
            // Blanks alone may go on as well, but not beyond what is looked at.
            return if is_prefix || rest.is_empty() { Self::Cut } else { Self::None };
        };
        match after.first() {
            None => return Self::Cut,
            Some(byte) if !is_blank(*byte) => return Self::None,
            Some(_) => {}
        }
        match memmem::find(after, b"?>") {
            None => Self::Cut,
            Some(at) => Self::Whole {
                inside: after.get(..at).unwrap_or_default(),
                end: blanks + OPENING.len() + at + b"?>".len(),
            },
        }
    }
}

/// The encoding that a declaration names, from what stands between `<?xml` and `?>`.
fn encoding_in(inside: &[u8]) -> Result<Option<&str>, DecodeError> {
    let malformed = || {
        let message = format!("its declaration is \"<?xml{}?>\"", shortened_bytes(inside));
        DecodeError::not_well_formed(message)
    };
    let mut rest = std::str::from_utf8(inside).map_err(|_| malformed())?.trim_ascii();
    let mut encoding = None;
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(malformed)?;
        let after = after.trim_ascii_start();
        let quote =
            after.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or_else(malformed)?;
        let (value, after) = after[1..].split_once(quote).ok_or_else(malformed)?;
        if name.trim_ascii_end() == "encoding" && encoding.replace(value).is_some() {
            return Err(malformed());
        }
        rest = after.trim_ascii_start();
    }
    Ok(encoding)
}
