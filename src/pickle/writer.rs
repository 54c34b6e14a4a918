//! Writing a pickle that Python 2 and Python 3 read alike: the opcodes of protocol 0.
//!
//! An ASCII string is written as a string literal, which is `str` in both. Bytes are written the
//! way Python 3 does, as a call of `_codecs.encode`: `str` in Python 2, `bytes` in Python 3.

use jiff::civil::DateTime;

use super::{Value, date, escape};

/// Where the pickle goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Into a `<string>`: printable ASCII and line feeds only.
    Ascii,
    /// Into a `<base64>`: any bytes. Bytes of contents take at most twice their size.
    Compact,
    /// Into a file: any bytes. Text comes back as text, so it is `unicode` in Python 2 although it be
    /// ASCII.
    File,
}

/// Writes a pickle.
#[must_use]
pub fn write(value: &Value, style: Style) -> Vec<u8> {
    let mut writer = Writer { out: Vec::new(), style };
    writer.value(value);
    writer.out.push(b'.');
    writer.out
}

/// What takes the bytes of a pickle. If it fails it keeps that to itself until it is asked.
pub(super) trait Sink {
    fn push(&mut self, byte: u8);
    fn extend(&mut self, bytes: &[u8]);
    /// So many bytes are about to come.
    fn reserve(&mut self, size: usize);
}

impl Sink for Vec<u8> {
    fn push(&mut self, byte: u8) {
        Self::push(self, byte);
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn reserve(&mut self, size: usize) {
        Self::reserve(self, size);
    }
}

pub(super) struct Writer<S> {
    pub(super) out: S,
    pub(super) style: Style,
}

impl<S: Sink> Writer<S> {
    /// Recurses as deep as the value, which has at most the depth that the reader lets through.
    pub(super) fn value(&mut self, value: &Value) {
        match value {
            Value::None => self.out.push(b'N'),
            Value::Bool(value) => self.line(b'I', if *value { b"01" } else { b"00" }),
            Value::Int(number) if i64::try_from(*number).is_ok() => {
                self.line(b'I', number.to_string().as_bytes());
            }
            Value::Int(number) => self.line(b'L', format!("{number}L").as_bytes()),
            Value::Float(number) => self.line(b'F', format!("{number:?}").as_bytes()),
            Value::Str(bytes) if bytes.is_ascii() => self.literal(bytes),
            Value::Text(text) if text.is_ascii() && self.style != Style::File => {
                self.literal(text);
            }
            Value::Str(bytes) | Value::Bytes(bytes) => self.bytes(bytes),
            Value::ByteArray(bytes) => {
                self.out.extend(b"c__builtin__\nbytearray\n(");
                self.bytes(bytes);
                self.out.extend(b"tR");
            }
            Value::Text(text) => {
                let style = std::mem::replace(&mut self.style, Style::Ascii);
                self.unicode(escape::code_points(text));
                self.style = style;
            }
            Value::DateTime(date) => self.date(*date),
            Value::List(items) => {
                self.out.extend(b"(l");
                for item in items {
                    self.value(item);
                    self.out.push(b'a');
                }
            }
            Value::Tuple(items) => {
                self.out.push(b'(');
                items.iter().for_each(|item| self.value(item));
                self.out.push(b't');
            }
            Value::Dict(members) => {
                self.out.extend(b"(d");
                for (key, value) in members {
                    self.value(key);
                    self.value(value);
                    self.out.push(b's');
                }
            }
        }
    }

    fn line(&mut self, opcode: u8, text: &[u8]) {
        self.out.push(opcode);
        self.out.extend(text);
        self.out.push(b'\n');
    }

    /// A string literal of ASCII text.
    fn literal(&mut self, text: &[u8]) {
        self.out.extend(b"S'");
        for byte in text {
            match byte {
                b'\\' | b'\'' => self.out.extend(&[b'\\', *byte]),
                b'\n' => self.out.extend(b"\\n"),
                b' '..=b'~' => self.out.push(*byte),
                _ => self.out.extend(format!("\\x{byte:02x}").as_bytes()),
            }
        }
        self.out.extend(b"'\n");
    }

    pub(super) fn date(&mut self, date: DateTime) {
        self.out.extend(b"cdatetime\ndatetime\n(");
        self.encoded(&date::write(date), None);
        self.out.extend(b"tR");
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.encoded(bytes, self.counted_size(bytes));
    }

    /// Bytes as a call that encodes text: counted text of this size, or a line.
    fn encoded(&mut self, bytes: &[u8], counted_size: Option<u32>) {
        self.out.extend(b"c_codecs\nencode\n(");
        match counted_size {
            Some(size) => {
                self.out.reserve(size as usize);
                self.out.push(b'X');
                self.out.extend(&size.to_le_bytes());
                let mut text = Vec::with_capacity(2 * PIECE_SIZE);
                for piece in bytes.chunks(PIECE_SIZE) {
                    text.clear();
                    escape::push_latin1(&mut text, piece);
                    self.out.extend(&text);
                }
            }
            None => self.unicode(bytes.iter().map(|byte| u32::from(*byte))),
        }
        self.out.extend(b"Vlatin1\ntR");
    }

    /// Size of the bytes, read as Latin-1, as counted UTF-8; `None` where a line of escapes is the
    /// better form. Counted text has no escapes but two bytes for each above 127; a line is the
    /// other way round. It is also what protocol 0 has, so a file has it unless it is twice as long.
    fn counted_size(&self, bytes: &[u8]) -> Option<u32> {
        let high = bytes.iter().filter(|byte| !byte.is_ascii()).count();
        let escaped = bytes.iter().filter(|byte| needs_escape(**byte)).count();
        let counted = bytes.len().checked_add(high)?;
        let line = bytes.len().saturating_add(escaped.saturating_mul(ESCAPE_SIZE - 1));
        let is_better = match self.style {
            Style::Ascii => false,
            Style::Compact => counted < line,
            Style::File => counted < line / 2,
        };
        u32::try_from(counted).ok().filter(|_| is_better)
    }

    /// A line of Latin-1 with escapes, or of ASCII with escapes.
    fn unicode(&mut self, code_points: impl Iterator<Item = u32>) {
        self.out.push(b'V');
        for code in code_points {
            let plain = u8::try_from(code).ok().filter(|byte| match self.style {
                Style::Ascii => matches!(byte, b' '..=b'~') && *byte != b'\\',
                Style::Compact | Style::File => !needs_escape(*byte),
            });
            match plain {
                Some(byte) => self.out.push(byte),
                None if code < 0x1_0000 => self.escape(*b"\\u", code, 4),
                None => self.escape(*b"\\U", code, 8),
            }
        }
        self.out.push(b'\n');
    }

    /// An escape with so many hexadecimal digits. (Formatting would take longer than all else.)
    fn escape(&mut self, start: [u8; 2], code: u32, digits: u32) {
        self.out.extend(&start);
        for digit in (0..digits).rev() {
            let nibble = code >> (4 * digit) & 0xf;
            self.out.push(HEX_DIGITS[nibble as usize]);
        }
    }
}

/// Bytes that are made text at a time.
const PIECE_SIZE: usize = 32 << 10;

const HEX_DIGITS: [u8; 16] = *b"0123456789abcdef";

/// Length of `\uXXXX`.
const ESCAPE_SIZE: usize = 6;

/// What Python's own picklers escape in a line: the line feed, the escape itself, and what text
/// files change or end at.
fn needs_escape(byte: u8) -> bool {
    matches!(byte, b'\0' | b'\n' | b'\r' | 0x1a | b'\\')
}
