//! Base64 that arrives in pieces of any length, with or without line breaks.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::Simd;
use base64::engine::general_purpose::PAD;

use crate::rpc::wire::text::{position_of_blank, shortened_bytes};

/// The one engine: standard alphabet, padded, in vector instructions where the processor has them.
pub(super) static ENGINE: LazyLock<Simd> = LazyLock::new(|| Simd::standard(PAD));

/// Symbols that make a group of three bytes.
const GROUP: usize = 4;

/// Contents of this size are worth asking for all the room that they may need.
const LARGE: usize = 256 << 10;

/// Decodes one `<base64>` element while its text arrives.
#[derive(Debug, Default)]
pub(super) struct BlobDecoder {
    contents: Vec<u8>,
    /// The beginning of a group whose end has not arrived.
    carry: Vec<u8>,
    /// Text without its line breaks.
    stripped: Vec<u8>,
    /// Padding was seen; nothing may follow.
    is_ended: bool,
}

/// What is wrong with a text that should be base64.
pub(super) type BadBase64 = String;

impl BlobDecoder {
    /// Takes the next piece of text; `text_expected` is an upper bound on what follows it, if
    /// there is one.
    pub(super) fn push(
        &mut self,
        text: &[u8],
        text_expected: Option<usize>,
    ) -> Result<(), BadBase64> {
        if let Some(expected) = text_expected
            && self.contents.len() >= LARGE
            && self.contents.capacity() - self.contents.len() < text.len()
        {
            self.contents.reserve_exact((text.len() + expected) / GROUP * 3);
        }
        if position_of_blank(text).is_none() {
            return self.decode(text);
        }
        let mut stripped = std::mem::take(&mut self.stripped);
        stripped.clear();
        strip(text, &mut stripped);
        let result = self.decode(&stripped);
        self.stripped = stripped;
        result
    }

    fn decode(&mut self, mut text: &[u8]) -> Result<(), BadBase64> {
        if !self.carry.is_empty() {
            let missing = text.len().min(GROUP - self.carry.len());
            let (head, rest) = text.split_at(missing);
            self.carry.extend_from_slice(head);
            text = rest;
            if self.carry.len() < GROUP {
                return Ok(());
            }
            let carry = std::mem::take(&mut self.carry);
            self.decode_groups(&carry)?;
        }
        let (groups, rest) = text.split_at(text.len() - text.len() % GROUP);
        self.decode_groups(groups)?;
        self.carry.extend_from_slice(rest);
        Ok(())
    }

    fn decode_groups(&mut self, groups: &[u8]) -> Result<(), BadBase64> {
        if groups.is_empty() {
            return Ok(());
        }
        if self.is_ended {
            return Err("there is something after its padding".to_owned());
        }
        let before = self.contents.len();
        self.contents.resize(before + groups.len() / GROUP * 3, 0);
        let room = self.contents.get_mut(before..).unwrap_or_default();
        let length = ENGINE
            .decode_slice(groups, room)
            .map_err(|error| format!("{error} near \"{}\"", shortened_bytes(groups)))?;
        self.contents.truncate(before + length);
        self.is_ended = groups.ends_with(b"=");
        Ok(())
    }

    /// The contents.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, BadBase64> {
        if !self.carry.is_empty() {
            return Err("it ends in the middle of a group of four".to_owned());
        }
        if self.contents.capacity() - self.contents.len() > self.contents.len() / 8 {
            self.contents.shrink_to_fit();
        }
        Ok(self.contents)
    }
}

/// Appends `text` without blanks.
fn strip(mut text: &[u8], stripped: &mut Vec<u8>) {
    stripped.reserve(text.len());
    while !text.is_empty() {
        let run = position_of_blank(text).unwrap_or(text.len());
        let (symbols, rest) = text.split_at(run);
        stripped.extend_from_slice(symbols);
        text = rest.get(1..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::BlobDecoder;

    fn decode(pieces: &[&[u8]]) -> Result<Vec<u8>, String> {
        let mut decoder = BlobDecoder::default();
        for piece in pieces {
            decoder.push(piece, Some(1000))?;
        }
        decoder.finish()
    }

    proptest! {
        #[test]
        fn pieces_and_line_breaks_do_not_matter(
            contents in proptest::collection::vec(any::<u8>(), 0..2000),
            line in 1usize..100,
            piece in 1usize..300,
        ) {
            let text = STANDARD.encode(&contents);
            let lines: Vec<&[u8]> = text.as_bytes().chunks(line).collect();
            let wrapped = lines.join(&b"\r\n\t "[..]);
            let pieces: Vec<&[u8]> = wrapped.chunks(piece).collect();
            prop_assert_eq!(decode(&pieces), Ok(contents));
        }
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for bad in ["A", "AB", "ABC", "AB=", "A===", "AB==AAAA", "AB=A", "AA*A", "AAAA=", "AB-_"] {
            assert!(decode(&[bad.as_bytes()]).is_err(), "{bad}");
            let single: Vec<&[u8]> = bad.as_bytes().chunks(1).collect();
            assert!(decode(&single).is_err(), "{bad}");
        }
        assert_eq!(decode(&[]), Ok(vec![]));
    }
}
