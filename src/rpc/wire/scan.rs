//! One pass over a body as it arrives: checks that it is XML-RPC, within limits, and cuts the
//! contents out of it.
//!
//! What remains, the *skeleton*, is made for dxr: without declarations, comments, attributes and
//! white space that means nothing, every `<base64>` holding only the number of its contents.
//!
//! The skeleton grows up to one `>` at a time. So whenever a tag is complete, nothing behind it
//! has been taken yet, and what follows `<base64>` can go elsewhere.

use std::ops::Range;

use base64::Engine as _;

use crate::limits;
use crate::rpc::fault::Fault;
use crate::rpc::wire::base64_stream::{BlobDecoder, ENGINE};
use crate::rpc::wire::decode::DecodeError;
use crate::rpc::wire::grammar::Element;
use crate::rpc::wire::markup::{Markup, check_declaration, check_scalar};
use crate::rpc::wire::text::{is_blank, position, shortened_bytes};

/// What stands around some names in the skeleton. No name can have it by itself: a zero byte is
/// refused, and dxr refuses the reference to one.
pub(super) const NAME_MARK: u8 = 0;

/// The pass, and what it has found so far.
#[derive(Debug)]
pub(super) struct Scanner {
    root: Element,
    depth_max: usize,
    /// The skeleton.
    xml: Vec<u8>,
    /// Where in the skeleton the text begins that is being read.
    text: usize,
    /// Up to where the skeleton has been searched for the next `<`.
    searched: usize,
    /// Where the markup begins whose `>` has not been seen.
    markup: Option<usize>,
    /// The elements around, outermost first, each with the number of its children so far.
    open: Vec<(Element, usize)>,
    /// The contents that are being read.
    blob: BlobDecoder,
    blobs: Vec<Vec<u8>>,
    /// Where in the skeleton the value of a `<fault>` is.
    fault: Option<Range<usize>>,
    is_complete: bool,
}

/// What the pass leaves to dxr.
#[derive(Debug)]
pub(super) struct Skeleton {
    pub(super) xml: String,
    pub(super) blobs: Vec<Vec<u8>>,
    pub(super) fault: Option<Range<usize>>,
}

impl Scanner {
    pub(super) fn new(root: Element, depth_max: usize) -> Self {
        Self {
            root,
            depth_max,
            xml: Vec::new(),
            text: 0,
            searched: 0,
            markup: None,
            open: Vec::new(),
            blob: BlobDecoder::default(),
            blobs: Vec::new(),
            fault: None,
            is_complete: false,
        }
    }

    /// Bytes of skeleton so far.
    pub(super) fn xml_size(&self) -> usize {
        self.xml.len()
    }

    /// Takes the next piece of the body; `expected` is how many bytes follow it at most, if that
    /// is known.
    pub(super) fn push(
        &mut self,
        mut piece: &[u8],
        expected: Option<usize>,
    ) -> Result<(), DecodeError> {
        while !piece.is_empty() {
            if self.is_inside(Element::Base64) && self.markup.is_none() {
                let end = position(piece, |byte| byte == b'<').unwrap_or(piece.len());
                let (text, rest) = piece.split_at(end);
                self.blob.push(text, expected).map_err(bad_base64)?;
                piece = rest;
                if !rest.is_empty() {
                    self.markup = Some(self.xml.len());
                }
                continue;
            }
            let end = position(piece, |byte| byte == b'>').map_or(piece.len(), |at| at + 1);
            let (head, rest) = piece.split_at(end);
            if self.xml.len() + head.len() > limits::XML_SIZE_MAX {
                return Err(DecodeError::invalid(format!(
                    "the XML around the contents has more than {} bytes; send contents as base64",
                    limits::XML_SIZE_MAX
                )));
            }
            self.xml.extend_from_slice(head);
            piece = rest;
            if head.ends_with(b">") {
                self.take_markup()?;
            }
        }
        Ok(())
    }

    /// What was found, after the last piece.
    pub(super) fn finish(self) -> Result<Skeleton, DecodeError> {
        if !self.is_complete {
            let what = match self.open.last() {
                Some((element, _)) => format!("it ends inside <{}>", element.name()),
                None => format!("there is no <{}>", self.root.name()),
            };
            return Err(DecodeError::not_well_formed(what));
        }
        if !self.xml.get(self.text..).unwrap_or_default().iter().copied().all(is_blank) {
            return Err(DecodeError::not_well_formed("something follows the last element"));
        }
        let xml = String::from_utf8(self.xml).map_err(|_| {
            DecodeError::new(Fault::INVALID_CHARACTER, "the body is not UTF-8 throughout")
        })?;
        Ok(Skeleton { xml, blobs: self.blobs, fault: self.fault })
    }

    fn is_inside(&self, element: Element) -> bool {
        self.open.last().is_some_and(|(innermost, _)| *innermost == element)
    }

    /// Looks at the markup that the `>` at the end of the skeleton may have completed.
    fn take_markup(&mut self) -> Result<(), DecodeError> {
        let start = match self.markup {
            Some(start) => start,
            None => {
                let unsearched = self.xml.get(self.searched..).unwrap_or_default();
                let Some(at) = position(unsearched, |byte| byte == b'<') else {
                    self.searched = self.xml.len();
                    return Ok(());
                };
                self.searched + at
            }
        };
        if self.xml.starts_with(b"\xff\xfe") || self.xml.starts_with(b"\xfe\xff") {
            return Err(DecodeError::encoding("UTF-16"));
        }
        self.markup = Some(start);
        let Some(markup) = Markup::read(self.xml.get(start..).unwrap_or_default())? else {
            return Ok(());
        };
        self.markup = None;
        match markup {
            Markup::Declaration => {
                check_declaration(self.xml.get(start..).unwrap_or_default())?;
                let is_first = self.open.is_empty() && !self.is_complete;
                if !is_first || !self.is_blank_text(start) {
                    return Err(DecodeError::not_well_formed("the XML declaration comes late"));
                }
                self.xml.clear();
            }
            Markup::Comment => self.xml.truncate(start),
            Markup::CharacterData(range) => self.character_data(start, range)?,
            Markup::Start(element) => self.start(start, element)?,
            Markup::Empty(element) => {
                self.start(start, element)?;
                self.end(self.xml.len(), element)?;
            }
            Markup::End(element) => self.end(start, element)?,
        }
        self.searched = self.xml.len();
        Ok(())
    }

    fn character_data(&mut self, start: usize, range: Range<usize>) -> Result<(), DecodeError> {
        if !self.open.last().is_some_and(|(element, _)| element.holds_text()) {
            return Err(DecodeError::not_well_formed("CDATA stands outside of a value"));
        }
        if self.is_inside(Element::Base64) {
            let text = self.xml.get(start + range.start..start + range.end).unwrap_or_default();
            self.blob.push(text, None).map_err(bad_base64)?;
            self.xml.truncate(start);
        }
        Ok(())
    }

    /// Whether only white space, or a byte order mark, stands between the last tag and `end`.
    fn is_blank_text(&self, end: usize) -> bool {
        let text = self.xml.get(self.text..end).unwrap_or_default();
        let text =
            if self.text == 0 { text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text) } else { text };
        text.iter().copied().all(is_blank)
    }

    /// Removes the text between the last tag and `end`, where there may be none.
    fn drop_text(&mut self, end: usize) -> Result<(), DecodeError> {
        if !self.is_blank_text(end) {
            let text = self.xml.get(self.text..end).unwrap_or_default();
            let place = match self.open.last() {
                Some((element, _)) => format!("<{}>", element.name()),
                None => "the body".to_owned(),
            };
            return Err(DecodeError::misplaced(format!(
                "in {place} the text \"{}\" is out of place",
                shortened_bytes(text)
            )));
        }
        self.xml.drain(self.text..end);
        Ok(())
    }

    fn start(&mut self, start: usize, element: Element) -> Result<(), DecodeError> {
        self.drop_text(start)?;
        match self.open.last_mut() {
            None if self.is_complete => {
                return Err(DecodeError::not_well_formed("something follows the last element"));
            }
            None if element != self.root => {
                return Err(DecodeError::misplaced(format!(
                    "expected <{}>, found <{}>",
                    self.root.name(),
                    element.name()
                )));
            }
            None => {}
            Some((parent, children)) => {
                if !parent.may_hold(element) || (*children > 0 && parent.holds_one()) {
                    return Err(DecodeError::misplaced(format!(
                        "<{}> is out of place in <{}>",
                        element.name(),
                        parent.name()
                    )));
                }
                *children += 1;
            }
        }
        if self.open.len() >= self.depth_max {
            return Err(DecodeError::invalid(format!(
                "elements are nested deeper than {}",
                self.depth_max
            )));
        }
        self.open.push((element, 0));
        self.xml.truncate(self.text);
        self.write(&["<", element.name(), ">"]);
        self.text = self.xml.len();
        if element == Element::Fault {
            self.fault = Some(self.text..self.text);
        }
        Ok(())
    }

    fn end(&mut self, start: usize, element: Element) -> Result<(), DecodeError> {
        let Some((innermost, children)) = self.open.pop() else {
            return Err(DecodeError::not_well_formed(format!(
                "</{}> closes nothing",
                element.name()
            )));
        };
        if innermost != element {
            return Err(DecodeError::not_well_formed(format!(
                "</{}> closes <{}>",
                element.name(),
                innermost.name()
            )));
        }
        self.xml.truncate(start);
        if !element.holds_text() || children > 0 {
            self.open.push((element, children));
            self.drop_text(start)?;
            self.open.pop();
        }
        if element.is_scalar() {
            let text = self.xml.split_off(self.text);
            self.xml.extend_from_slice(check_scalar(element, &text)?.as_bytes());
        }
        if element == Element::Base64 {
            self.end_blob()?;
        }
        if element == Element::Value && children == 0 {
            self.end_untyped();
        }
        if element == Element::Name {
            self.end_name()?;
        }
        if element == Element::MethodName && self.xml.len() == self.text {
            return Err(DecodeError::misplaced("<methodName> is empty"));
        }
        if let (Element::Fault, Some(fault)) = (element, &mut self.fault) {
            fault.end = self.xml.len();
        }
        self.write(&["</", element.name(), ">"]);
        self.text = self.xml.len();
        self.is_complete = self.open.is_empty();
        Ok(())
    }

    /// Puts the number of the finished contents in their place.
    fn end_blob(&mut self) -> Result<(), DecodeError> {
        let blob = std::mem::take(&mut self.blob).finish().map_err(bad_base64)?;
        let number = u32::try_from(self.blobs.len()).unwrap_or(u32::MAX);
        self.blobs.push(blob);
        let placeholder = ENGINE.encode(number.to_be_bytes());
        self.write(&[&placeholder]);
        Ok(())
    }

    /// Makes a blank value a string in words, because dxr takes it for an empty one.
    fn end_untyped(&mut self) {
        let text = self.xml.get(self.text..).unwrap_or_default();
        if !text.is_empty() && text.iter().copied().all(is_blank) {
            let text = self.xml.split_off(self.text);
            self.write(&["<string>"]);
            self.xml.extend_from_slice(&text);
            self.write(&["</string>"]);
        }
    }

    /// Marks a name that dxr would not read as it is: it takes an empty or blank name for a missing
    /// one, and drops white space at its ends.
    fn end_name(&mut self) -> Result<(), DecodeError> {
        let name = self.xml.get(self.text..).unwrap_or_default();
        if name.contains(&0) {
            return Err(DecodeError::not_well_formed("a name has a zero byte"));
        }
        // A reference may stand for white space.
        let is_solid =
            |byte: Option<&u8>| byte.is_some_and(|b| !is_blank(*b) && !b"&;".contains(b));
        if !is_solid(name.first()) || !is_solid(name.last()) {
            self.xml.insert(self.text, NAME_MARK);
            self.xml.push(NAME_MARK);
        }
        Ok(())
    }

    fn write(&mut self, parts: &[&str]) {
        for part in parts {
            self.xml.extend_from_slice(part.as_bytes());
        }
    }
}

fn bad_base64(reason: String) -> DecodeError {
    DecodeError::invalid(format!("a <base64> cannot be decoded: {reason}"))
}
