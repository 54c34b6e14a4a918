//! One pass over a body as it arrives: finds the markup and cuts the contents out.
//!
//! The skeleton grows up to one `>` at a time. So whenever a tag is complete, nothing behind it
//! has been taken yet, and what follows `<base64>` can go elsewhere. Nothing is searched twice, so
//! that no body takes more time than its length.

use memchr::memchr;

use crate::limits;
use crate::rpc::wire::decode::DecodeError;
use crate::rpc::wire::grammar::Element;
use crate::rpc::wire::markup::Markup;
use crate::rpc::wire::skeleton::{Builder, Skeleton};

/// The pass.
#[derive(Debug)]
pub(super) struct Scanner {
    builder: Builder,
    /// Up to where the skeleton has been searched for the next `<`.
    searched: usize,
    /// Where the markup begins whose `>` has not been seen.
    markup: Option<usize>,
    text_size: u64,
}

impl Scanner {
    pub(super) fn new(root: Element, depth_max: usize) -> Self {
        Self { builder: Builder::new(root, depth_max), searched: 0, markup: None, text_size: 0 }
    }

    /// Bytes of the body so far.
    pub(super) fn text_size(&self) -> u64 {
        self.text_size
    }

    /// Bytes of skeleton so far.
    pub(super) fn xml_size(&self) -> usize {
        self.builder.xml.len()
    }

    /// Takes the next piece of the body, behind its declaration and in UTF-8; `expected` is how many bytes follow it at most, if that
    /// is known.
    pub(super) fn push(
        &mut self,
        mut piece: &[u8],
        expected: Option<usize>,
    ) -> Result<(), DecodeError> {
        self.text_size += piece.len() as u64;
        while !piece.is_empty() {
            if self.builder.is_in_blob() && self.markup.is_none() {
                let end = memchr(b'<', piece).unwrap_or(piece.len());
                let (text, rest) = piece.split_at(end);
                self.builder.blob_text(text, expected)?;
                piece = rest;
                if !rest.is_empty() {
                    self.markup = Some(self.builder.xml.len());
                }
                continue;
            }
            let end = memchr(b'>', piece).map_or(piece.len(), |at| at + 1);
            let (head, rest) = piece.split_at(end);
            if self.builder.xml.len() + head.len() > limits::XML_SIZE_MAX {
                return Err(DecodeError::invalid(format!(
                    "the XML around the contents has more than {} bytes; send contents as base64",
                    limits::XML_SIZE_MAX
                )));
            }
            self.builder.xml.extend_from_slice(head);
            piece = rest;
            if head.ends_with(b">") {
                self.take_markup()?;
            }
        }
        Ok(())
    }

    /// What was found, after the last piece.
    pub(super) fn finish(self) -> Result<Skeleton, DecodeError> {
        self.builder.finish()
    }

    /// Looks at the markup that the `>` at the end of the skeleton may have completed.
    fn take_markup(&mut self) -> Result<(), DecodeError> {
        let start = match self.markup {
            Some(start) => start,
            None => {
                let unsearched = self.builder.xml.get(self.searched..).unwrap_or_default();
                let Some(at) = memchr(b'<', unsearched) else {
                    self.searched = self.builder.xml.len();
                    return Ok(());
                };
                self.searched + at
            }
        };
        self.markup = Some(start);
        let Some(markup) = Markup::read(self.builder.xml.get(start..).unwrap_or_default())? else {
            return Ok(());
        };
        self.markup = None;
        match markup {
            // The one at the beginning has been read before.
            Markup::Declaration => {
                let what = "the XML declaration comes late, or is too long";
                return Err(DecodeError::not_well_formed(what));
            }
            Markup::Comment => self.builder.xml.truncate(start),
            Markup::CharacterData(range) => self.builder.character_data(start, range)?,
            Markup::Start(element) => self.builder.start(start, element)?,
            Markup::Empty(element) => {
                self.builder.start(start, element)?;
                self.builder.end(self.builder.xml.len(), element)?;
            }
            Markup::End(element) => self.builder.end(start, element)?,
        }
        self.searched = self.builder.xml.len();
        Ok(())
    }
}
