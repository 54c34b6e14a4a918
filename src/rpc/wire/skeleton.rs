//! What of a body is left for dxr: the *skeleton*, and the contents that were cut out of it.
//!
//! The skeleton has no comments, attributes and white space that means nothing, and
//! every `<base64>` in it holds only the number of its contents. It is checked against the grammar
//! while it is built, because dxr does not say what it does not like.

use std::ops::Range;

use base64::Engine as _;

use crate::rpc::wire::base64_stream::{BlobDecoder, ENGINE};
use crate::rpc::wire::charset::Charset;
use crate::rpc::wire::decode::DecodeError;
use crate::rpc::wire::grammar::Element;
use crate::rpc::wire::markup::check_scalar;
use crate::rpc::wire::text::{is_blank, shortened_bytes};

/// What stands around some names in the skeleton. No name can have it by itself: a zero byte is
/// refused, and dxr refuses the reference to one.
pub(super) const NAME_MARK: u8 = 0;

/// A finished skeleton.
#[derive(Debug)]
pub(super) struct Skeleton {
    pub(super) xml: String,
    pub(super) blobs: Vec<Vec<u8>>,
    pub(super) fault: Option<Range<usize>>,
}

/// A skeleton that is being built.
#[derive(Debug)]
pub(super) struct Builder {
    root: Element,
    depth_max: usize,
    /// The skeleton so far, and behind it what has been read and not yet understood.
    pub(super) xml: Vec<u8>,
    /// Where in it the text begins that is being read.
    text: usize,
    /// The elements around, outermost first, each with the number of its children so far.
    open: Vec<(Element, usize)>,
    /// The contents that are being read.
    blob: BlobDecoder,
    blobs: Vec<Vec<u8>>,
    /// Where in the skeleton the value of a `<fault>` is.
    fault: Option<Range<usize>>,
    is_complete: bool,
}

impl Builder {
    pub(super) fn new(root: Element, depth_max: usize) -> Self {
        Self {
            root,
            depth_max,
            xml: Vec::new(),
            text: 0,
            open: Vec::new(),
            blob: BlobDecoder::default(),
            blobs: Vec::new(),
            fault: None,
            is_complete: false,
        }
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
        let xml = String::from_utf8(self.xml).map_err(|_| DecodeError::not_in(Charset::Utf8))?;
        Ok(Skeleton { xml, blobs: self.blobs, fault: self.fault })
    }

    /// Whether what follows belongs to contents.
    pub(super) fn is_in_blob(&self) -> bool {
        self.open.last().is_some_and(|(innermost, _)| *innermost == Element::Base64)
    }

    /// Takes text of contents.
    pub(super) fn blob_text(
        &mut self,
        text: &[u8],
        expected: Option<usize>,
    ) -> Result<(), DecodeError> {
        self.blob.push(text, expected).map_err(bad_base64)
    }

    /// Takes a CDATA section, which begins at `start`, with its text in `range` behind that.
    pub(super) fn character_data(
        &mut self,
        start: usize,
        range: Range<usize>,
    ) -> Result<(), DecodeError> {
        if !self.open.last().is_some_and(|(element, _)| element.holds_text()) {
            return Err(DecodeError::not_well_formed("CDATA stands outside of a value"));
        }
        if self.is_in_blob() {
            let text = self.xml.get(start + range.start..start + range.end).unwrap_or_default();
            self.blob.push(text, None).map_err(bad_base64)?;
            self.xml.truncate(start);
        }
        Ok(())
    }

    /// Removes the text between the last tag and `end`, where there may be none.
    fn drop_text(&mut self, end: usize) -> Result<(), DecodeError> {
        let text = self.xml.get(self.text..end).unwrap_or_default();
        if !text.iter().copied().all(is_blank) {
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

    /// Opens an element whose tag begins at `start`.
    pub(super) fn start(&mut self, start: usize, element: Element) -> Result<(), DecodeError> {
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

    /// Closes an element whose tag begins at `start`.
    pub(super) fn end(&mut self, start: usize, element: Element) -> Result<(), DecodeError> {
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
