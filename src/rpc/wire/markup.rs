//! What stands between `<` and `>`.

use std::ops::Range;

use dxr::DateTime;

use crate::rpc::wire::decode::DecodeError;
use crate::rpc::wire::grammar::Element;
use crate::rpc::wire::text::{is_blank, position_of_blank, shortened_bytes};

/// Longest tag, in bytes. The longest name has 17 letters; the rest is for attributes, which mean
/// nothing here.
const TAG_SIZE_MAX: usize = 1024;

/// A piece of markup.
pub(super) enum Markup {
    Start(Element),
    End(Element),
    /// `<name/>`
    Empty(Element),
    Comment,
    /// The range of its text.
    CharacterData(Range<usize>),
    /// `<?xml …?>`
    Declaration,
}

impl Markup {
    /// Reads markup that ends with `>`; `None` if that `>` is not its end.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        if bytes.starts_with(b"<!--") {
            return Self::read_comment(bytes);
        }
        if bytes.starts_with(b"<![CDATA[") {
            let is_end = bytes.ends_with(b"]]>");
            return Ok(is_end.then(|| Self::CharacterData(9..bytes.len() - 3)));
        }
        if bytes.len() > TAG_SIZE_MAX {
            return Err(DecodeError::not_well_formed(format!(
                "a tag has more than {TAG_SIZE_MAX} bytes: \"{}\"",
                shortened_bytes(bytes)
            )));
        }
        if bytes.starts_with(b"<!") {
            return Err(DecodeError::invalid(
                "document types and entities are not accepted; send plain XML",
            ));
        }
        if bytes.starts_with(b"<?") {
            let is_declaration =
                bytes.starts_with(b"<?xml") && bytes.get(5).is_some_and(|b| is_blank(*b));
            if !is_declaration {
                return Err(DecodeError::invalid("processing instructions are not accepted"));
            }
            return Ok(bytes.ends_with(b"?>").then_some(Self::Declaration));
        }
        let inside = bytes.get(1..bytes.len() - 1).unwrap_or_default();
        if is_quote_open(inside) {
            return Ok(None);
        }
        Self::read_tag(inside).map(Some)
    }

    fn read_comment(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        // `<!-->` is only the beginning of a comment.
        if bytes.len() < b"<!---->".len() || !bytes.ends_with(b"-->") {
            return Ok(None);
        }
        if std::str::from_utf8(bytes).is_err() {
            return Err(DecodeError::not_well_formed("a comment is not UTF-8"));
        }
        Ok(Some(Self::Comment))
    }

    /// Reads what stands between `<` and `>` of a tag.
    fn read_tag(inside: &[u8]) -> Result<Self, DecodeError> {
        if inside.contains(&b'<') {
            return Err(DecodeError::not_well_formed(format!(
                "a < stands inside the tag \"<{}>\"",
                shortened_bytes(inside)
            )));
        }
        if let Some(name) = inside.strip_prefix(b"/") {
            return Ok(Self::End(element(name.trim_ascii_end())?));
        }
        let (inside, is_empty) = match inside.strip_suffix(b"/") {
            Some(inside) => (inside, true),
            None => (inside, false),
        };
        let name_length = position_of_blank(inside).unwrap_or(inside.len());
        let element = element(inside.get(..name_length).unwrap_or(inside))?;
        Ok(if is_empty { Self::Empty(element) } else { Self::Start(element) })
    }
}

/// Whether an attribute's value goes on behind the end of `tag`.
fn is_quote_open(tag: &[u8]) -> bool {
    let mut open = None;
    for byte in tag {
        match open {
            Some(quote) if quote == byte => open = None,
            None if matches!(byte, b'"' | b'\'') => open = Some(byte),
            _ => {}
        }
    }
    open.is_some()
}

fn element(name: &[u8]) -> Result<Element, DecodeError> {
    Element::from_name(name).ok_or_else(|| {
        DecodeError::misplaced(format!("XML-RPC has no <{}>", shortened_bytes(name)))
    })
}

/// The text of a number, truth value or date without the white space around it, if it is one.
pub(super) fn check_scalar(element: Element, text: &[u8]) -> Result<&str, DecodeError> {
    let trimmed = std::str::from_utf8(text).unwrap_or_default().trim_ascii();
    let (is_good, what) = match element {
        Element::Int | Element::I4 => {
            (trimmed.parse::<i32>().is_ok(), "a whole number of 32 bits; use i8 for more")
        }
        Element::I8 => (trimmed.parse::<i64>().is_ok(), "a whole number of 64 bits"),
        Element::Boolean => (matches!(trimmed, "0" | "1"), "0 or 1"),
        Element::Double => (trimmed.parse::<f64>().is_ok(), "a number"),
        Element::DateTime => (
            // dxr finds its limits by counting bytes.
            trimmed.is_ascii() && trimmed.parse::<DateTime>().is_ok(),
            "a date like 20261122T18:30:00",
        ),
        _ => (true, ""),
    };
    if is_good {
        return Ok(trimmed);
    }
    Err(DecodeError::invalid(format!(
        "<{}> must hold {what}, not \"{}\"",
        element.name(),
        shortened_bytes(text)
    )))
}
