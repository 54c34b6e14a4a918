//! From the encoding of a body to the UTF-8 that the scanner reads, as the body arrives.
//!
//! UTF-8 passes through as it is, and so do long runs of ASCII, as contents are, in encodings of
//! single bytes. What is not of the encoding is an error, never replaced.

use std::mem;

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_16BE, UTF_16LE};

use crate::rpc::wire::charset::{ByteOrder, Charset, UpperHalf};
use crate::rpc::wire::decode::DecodeError;
use crate::rpc::wire::prolog::{PROLOG_SIZE_MAX, Prolog};
use crate::rpc::wire::scan::Scanner;
use crate::rpc::wire::skeleton::Skeleton;

/// Text that is converted at once, in bytes.
const BLOCK_SIZE: usize = 8 << 10;

/// From this length on, in bytes, ASCII among other text is worth a call of the scanner.
const ASCII_RUN_MIN: usize = 256;

/// The way of a body to the scanner.
#[derive(Debug)]
pub(super) struct Transcoder {
    scanner: Scanner,
    conversion: Conversion,
}

#[derive(Debug)]
enum Conversion {
    /// The encoding is not known yet. What has arrived of the beginning, if it did not tell.
    Undecided(Vec<u8>),
    /// The body is in UTF-8.
    None,
    SingleByte(Box<SingleByte>),
    MultiByte(Box<MultiByte>),
}

impl Transcoder {
    pub(super) fn new(scanner: Scanner) -> Self {
        Self { scanner, conversion: Conversion::Undecided(Vec::new()) }
    }

    pub(super) fn scanner(&self) -> &Scanner {
        &self.scanner
    }

    /// Takes the next piece of the body; `expected` is how many bytes follow it, if that is known.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        expected: Option<usize>,
    ) -> Result<(), DecodeError> {
        match &mut self.conversion {
            Conversion::Undecided(_) => self.begin(piece, expected),
            Conversion::None => self.scanner.push(piece, expected),
            Conversion::SingleByte(conversion) => {
                conversion.push(piece, expected, &mut self.scanner)
            }
            Conversion::MultiByte(conversion) => {
                conversion.push(piece, expected, &mut self.scanner)
            }
        }
    }

    /// What was found, after the last piece.
    pub(super) fn finish(mut self) -> Result<Skeleton, DecodeError> {
        if let Conversion::Undecided(held) = &mut self.conversion {
            let held = mem::take(held);
            if let Some(rest) = self.decide(&held, true)? {
                self.push(rest, Some(0))?;
            }
        }
        if let Conversion::MultiByte(conversion) = &mut self.conversion {
            conversion.finish(&mut self.scanner)?;
        }
        self.scanner.finish()
    }

    /// Takes a piece as long as the encoding is not known.
    fn begin(&mut self, piece: &[u8], expected: Option<usize>) -> Result<(), DecodeError> {
        let Conversion::Undecided(held) = &mut self.conversion else { return Ok(()) };
        let mut held = mem::take(held);
        if held.is_empty()
            && let Some(rest) = self.decide(piece, false)?
        {
            return self.push(rest, expected);
        }
        let (head, rest) = piece.split_at(piece.len().min(PROLOG_SIZE_MAX - held.len()));
        held.extend_from_slice(head);
        let Some(beginning) = self.decide(&held, false)? else {
            self.conversion = Conversion::Undecided(held);
            return Ok(());
        };
        self.push(beginning, expected.map(|bytes| bytes.saturating_add(rest.len())))?;
        self.push(rest, expected)
    }

    /// Sets the conversion for a body that begins so, and gives what is behind its declaration; or
    /// `None` if that may yet go on.
    fn decide<'a>(
        &mut self,
        bytes: &'a [u8],
        is_all: bool,
    ) -> Result<Option<&'a [u8]>, DecodeError> {
        let Some(prolog) = Prolog::read(bytes, is_all)? else { return Ok(None) };
        self.conversion = Conversion::of(prolog.charset);
        Ok(bytes.get(prolog.size..))
    }
}

impl Conversion {
    fn of(charset: Charset) -> Self {
        if let Some(upper) = charset.upper_half() {
            return Self::SingleByte(Box::new(SingleByte { charset, upper, text: String::new() }));
        }
        match charset {
            Charset::Utf8 | Charset::Ascii => Self::None,
            Charset::Utf16(Some(ByteOrder::Big)) => {
                Self::MultiByte(MultiByte::new(charset, UTF_16BE))
            }
            Charset::Utf16(_) => Self::MultiByte(MultiByte::new(charset, UTF_16LE)),
            Charset::Other { encoding, .. } => Self::MultiByte(MultiByte::new(charset, encoding)),
        }
    }
}

/// From an encoding with one byte for each character, ASCII below 0x80.
#[derive(Debug)]
struct SingleByte {
    charset: Charset,
    upper: UpperHalf,
    /// The block that is being converted.
    text: String,
}

impl SingleByte {
    fn push(
        &mut self,
        mut piece: &[u8],
        expected: Option<usize>,
        scanner: &mut Scanner,
    ) -> Result<(), DecodeError> {
        while !piece.is_empty() {
            let run = Encoding::ascii_valid_up_to(piece);
            let is_plain = run == piece.len() || run >= ASCII_RUN_MIN;
            let size = if is_plain { run } else { piece.len().min(BLOCK_SIZE) };
            let (block, rest) = piece.split_at(size);
            let follows = expected.map(|bytes| bytes.saturating_add(rest.len()));
            if is_plain {
                scanner.push(block, follows)?;
            } else {
                let is_whole = self.convert(block);
                scanner.push(self.text.as_bytes(), follows)?;
                if !is_whole {
                    return Err(DecodeError::not_in(self.charset));
                }
            }
            piece = rest;
        }
        Ok(())
    }

    /// Makes text of a block up to the first byte that is no character; says whether there is none.
    fn convert(&mut self, block: &[u8]) -> bool {
        self.text.clear();
        block.iter().all(|&byte| {
            let meaning = match byte.checked_sub(0x80) {
                None => Some(byte.into()),
                Some(index) => self.upper.get(usize::from(index)).copied().flatten(),
            };
            self.text.extend(meaning);
            meaning.is_some()
        })
    }
}

/// From any other encoding; the decoder keeps characters that are cut in two by the end of a piece.
#[derive(Debug)]
struct MultiByte {
    charset: Charset,
    decoder: Decoder,
    text: Vec<u8>,
}

impl MultiByte {
    fn new(charset: Charset, encoding: &'static Encoding) -> Box<Self> {
        let decoder = encoding.new_decoder_without_bom_handling();
        Box::new(Self { charset, decoder, text: vec![0; BLOCK_SIZE] })
    }

    fn push(
        &mut self,
        piece: &[u8],
        expected: Option<usize>,
        scanner: &mut Scanner,
    ) -> Result<(), DecodeError> {
        self.convert(piece, false, expected, scanner)
    }

    fn finish(&mut self, scanner: &mut Scanner) -> Result<(), DecodeError> {
        self.convert(&[], true, Some(0), scanner)
    }

    fn convert(
        &mut self,
        mut piece: &[u8],
        is_last: bool,
        expected: Option<usize>,
        scanner: &mut Scanner,
    ) -> Result<(), DecodeError> {
        // How many bytes of contents, which are ASCII, the bytes that follow can be.
        let unit = if matches!(self.charset, Charset::Utf16(_)) { 2 } else { 1 };
        loop {
            let (result, taken, length) =
                self.decoder.decode_to_utf8_without_replacement(piece, &mut self.text, is_last);
            piece = piece.get(taken..).unwrap_or_default();
            let follows = expected.map(|bytes| bytes.saturating_add(piece.len()) / unit + 1);
            scanner.push(self.text.get(..length).unwrap_or_default(), follows)?;
            match result {
                DecoderResult::InputEmpty => return Ok(()),
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => return Err(DecodeError::not_in(self.charset)),
            }
        }
    }
}
