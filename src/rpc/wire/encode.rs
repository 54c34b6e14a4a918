//! Values to bodies.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use dxr::{MethodCall, MethodResponse, Value};
use hyper::body::{Body, Frame, SizeHint};

use crate::limits;
use crate::rpc::fault::Fault;
use crate::rpc::wire::base64_stream::ENGINE;
use crate::rpc::wire::form::{Form, raw_opening};
use crate::rpc::wire::text::{is_xml_text, presentable, shortened};

/// The first line of every body. The encoding is UTF-8, as always without a word on it.
const DECLARATION: &str = "<?xml version='1.0'?>\n";

/// What dxr writes for empty contents. In the texts around it every `<` is escaped, so this is
/// never anything else.
const EMPTY_BLOB: &str = "<base64></base64>";

/// Where in [`EMPTY_BLOB`] the tag ends but for its last character.
const TAG_OPEN: usize = "<base64".len();

/// Contents up to this many bytes stay in the XML: a segment of their own would cost more.
const INLINE_BLOB_MAX: usize = 512;

/// Contents encoded at a time, in bytes; a multiple of 3, so that only the last piece is padded.
/// With its text it fits into the second-level cache of a core.
const PIECE_SIZE: usize = 96 << 10;

/// Values nested deeper than this would be refused by the reader: each level is three elements.
const NESTING_MAX: usize = limits::XML_DEPTH_MAX * 2 / 3;

/// Why values have no form as a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A string has a character that XML does not have.
    #[error("the text \"{0}\" has characters that XML cannot carry; send it as base64")]
    Text(String),
    /// Arrays and structs are nested too deep.
    #[error("the value is nested too deep; the limit is {NESTING_MAX} levels")]
    Nesting,
    /// The body would be over [`limits::BODY_SIZE_MAX`].
    #[error("the values take {0} bytes as XML; the limit is {limit}", limit = limits::BODY_SIZE_MAX)]
    Size(u64),
}

/// An encoded call or answer: XML with contents between. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Message {
    xml: Bytes,
    /// Contents, and where in the XML the tags around them are open.
    blobs: Vec<(usize, Bytes)>,
    form: Form,
}

#[derive(Debug)]
enum Segment {
    /// Goes as it is.
    Plain(Bytes),
    /// Goes as base64.
    Encoded(Bytes),
}

impl Message {
    /// The call of a method.
    ///
    /// # Errors
    /// [`EncodeError`] says which parameter cannot be sent.
    pub fn call(name: &str, mut params: Vec<Value>) -> Result<Self, EncodeError> {
        let mut blobs = Vec::new();
        for param in &mut params {
            prepare(param, &mut blobs, 0)?;
        }
        let xml = MethodCall { name: name.into(), params }.to_xml();
        Self::assemble(xml, blobs)
    }

    /// The answer to a call.
    ///
    /// # Errors
    /// [`EncodeError`] says what cannot be sent.
    pub fn answer(mut value: Value) -> Result<Self, EncodeError> {
        let mut blobs = Vec::new();
        prepare(&mut value, &mut blobs, 0)?;
        Self::assemble(MethodResponse { value }.to_xml(), blobs)
    }

    /// The answer to a call that failed.
    #[must_use]
    pub fn fault(fault: &Fault) -> Self {
        let members = [
            ("faultCode".to_owned(), Value::Integer(fault.code)),
            ("faultString".to_owned(), Value::String(presentable(&fault.message))),
        ];
        let value = Value::Struct(members.into()).to_xml().unwrap_or_default();
        Self::text(format!("{DECLARATION}<methodResponse><fault>{value}</fault></methodResponse>"))
    }

    /// A body of plain text.
    pub fn text(text: impl Into<Bytes>) -> Self {
        Self { xml: text.into(), blobs: Vec::new(), form: Form::Xml }
    }

    /// The same in a form that the other side reads. Without large contents there is only one.
    #[must_use]
    pub fn in_form(self, form: Form) -> Self {
        let form = if self.blobs.is_empty() { Form::Xml } else { form };
        Self { form, ..self }
    }

    /// Its form: [`Form::Xml`], unless another was asked for and makes a difference.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// The exact length of the body, in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        let blobs = self.blobs.iter().map(|(_, blob)| self.form.length_of(blob.len()));
        self.xml.len() as u64 + blobs.sum::<u64>()
    }

    /// The body, made piece by piece.
    #[must_use]
    pub fn into_body(self) -> MessageBody {
        let (segments, length) = (self.segments(), self.length());
        MessageBody { segments, length, done: 0, buffer: BytesMut::new() }
    }

    fn segments(&self) -> VecDeque<Segment> {
        let mut segments = VecDeque::with_capacity(self.blobs.len() * 3 + 1);
        let mut start = 0;
        for (gap, blob) in &self.blobs {
            // Of the form that a peer of another make reads nothing is to be seen.
            let (end, opening) = match self.form {
                Form::Xml => (gap + 1, None),
                Form::Raw => (*gap, Some(raw_opening(blob.len()))),
            };
            segments.push_back(Segment::Plain(self.xml.slice(start..end)));
            segments.extend(opening.map(|opening| Segment::Plain(opening.into())));
            segments.push_back(match self.form {
                Form::Xml => Segment::Encoded(blob.clone()),
                Form::Raw => Segment::Plain(blob.clone()),
            });
            start = gap + 1;
        }
        segments.push_back(Segment::Plain(self.xml.slice(start..)));
        segments
    }

    fn assemble(xml: Result<String, dxr::Error>, blobs: Vec<Bytes>) -> Result<Self, EncodeError> {
        // dxr fails only for what `prepare` has refused before.
        let xml = xml.map_err(|error| EncodeError::Text(shortened(&error.to_string())))?;
        let xml = format!("{DECLARATION}{xml}");
        let gaps = xml.match_indices(EMPTY_BLOB).map(|(gap, _)| gap + TAG_OPEN);
        let blobs = gaps.zip(blobs).collect();
        let message = Self { xml: xml.into(), blobs, form: Form::Xml };
        // The other form is never longer by more than its tags.
        match message.length() {
            length if length > limits::BODY_SIZE_MAX as u64 => Err(EncodeError::Size(length)),
            _ => Ok(message),
        }
    }
}

/// Checks a value, and takes its contents out of it, in the order in which they will be written:
/// the large ones, and the empty ones, which look the same afterwards.
fn prepare(value: &mut Value, blobs: &mut Vec<Bytes>, depth: usize) -> Result<(), EncodeError> {
    if depth > NESTING_MAX {
        return Err(EncodeError::Nesting);
    }
    match value {
        Value::String(text) => check_text(text),
        Value::Base64(blob) => {
            if blob.is_empty() || blob.len() > INLINE_BLOB_MAX {
                blobs.push(mem::take(blob).into());
            }
            Ok(())
        }
        Value::Array(values) => {
            values.iter_mut().try_for_each(|value| prepare(value, blobs, depth + 1))
        }
        Value::Struct(members) => members.iter_mut().try_for_each(|(name, value)| {
            check_text(name)?;
            prepare(value, blobs, depth + 1)
        }),
        _ => Ok(()),
    }
}

fn check_text(text: &str) -> Result<(), EncodeError> {
    if is_xml_text(text) {
        return Ok(());
    }
    Err(EncodeError::Text(shortened(text)))
}

/// A [`Message`] on its way out, for hyper: contents are encoded when the connection takes them.
#[derive(Debug)]
pub struct MessageBody {
    segments: VecDeque<Segment>,
    length: u64,
    /// How much of the first segment, if it is encoded, has been sent, in bytes of contents.
    done: usize,
    buffer: BytesMut,
}

impl MessageBody {
    fn next_frame(&mut self) -> Option<Bytes> {
        let (frame, finished) = match self.segments.front()? {
            Segment::Plain(bytes) => (bytes.clone(), true),
            Segment::Encoded(blob) => {
                let rest = blob.get(self.done..).unwrap_or_default();
                let piece = rest.get(..PIECE_SIZE).unwrap_or(rest);
                self.done += piece.len();
                self.buffer.resize(piece.len().div_ceil(3) * 4, 0);
                // The buffer has exactly the length that the text needs.
                let length = ENGINE.encode_slice(piece, &mut self.buffer).unwrap_or_default();
                (self.buffer.split_to(length).freeze(), self.done == blob.len())
            }
        };
        if finished {
            self.segments.pop_front();
            self.done = 0;
        }
        self.length -= frame.len() as u64;
        Some(frame)
    }
}

impl Body for MessageBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let body = self.get_mut();
        loop {
            match body.next_frame() {
                Some(frame) if frame.is_empty() => {}
                frame => return Poll::Ready(frame.map(|bytes| Ok(Frame::data(bytes)))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.length == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
