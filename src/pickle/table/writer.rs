//! Writing a table.

use std::io::{self, Write};

use jiff::civil::DateTime;

use crate::pickle::Value;
use crate::pickle::writer::{Sink, Style, Writer};

/// Bytes that are written at a time.
const BUFFER_SIZE: usize = 64 << 10;

/// Writes a table as Python 2 and Python 3 read it, with the opcodes of protocol 0, but for bytes full
/// of escapes, which are counted text.
pub struct TableWriter<'a> {
    writer: Writer<Buffered<'a>>,
}

impl<'a> TableWriter<'a> {
    /// Begins a table.
    pub fn new(to: &'a mut dyn Write) -> Self {
        let buffer = Vec::with_capacity(2 * BUFFER_SIZE);
        let mut out = Buffered { to, buffer, failure: None };
        out.extend(b"(d");
        Self { writer: Writer { out, style: Style::File } }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// What the output says, of this entry or the ones before.
    pub fn entry(&mut self, key: &Value, value: &Value, expiry: DateTime) -> io::Result<()> {
        self.writer.value(key);
        self.writer.out.push(b'(');
        self.writer.value(value);
        self.writer.date(expiry);
        self.writer.out.extend(b"ts");
        self.writer.out.failure.take().map_or(Ok(()), Err)
    }

    /// Ends the table.
    ///
    /// # Errors
    /// What the output says.
    pub fn finish(mut self) -> io::Result<()> {
        self.writer.out.push(b'.');
        self.writer.out.flush();
        self.writer.out.failure.map_or(Ok(()), Err)
    }
}

struct Buffered<'a> {
    to: &'a mut dyn Write,
    buffer: Vec<u8>,
    /// The first failure; nothing is written behind it.
    failure: Option<io::Error>,
}

impl Buffered<'_> {
    fn flush(&mut self) {
        if self.failure.is_none() {
            self.failure = self.to.write_all(&self.buffer).err();
        }
        self.buffer.clear();
    }
}

impl Sink for Buffered<'_> {
    fn push(&mut self, byte: u8) {
        self.buffer.push(byte);
        if self.buffer.len() >= BUFFER_SIZE {
            self.flush();
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_SIZE {
            self.flush();
        }
    }

    fn reserve(&mut self, _: usize) {}
}
