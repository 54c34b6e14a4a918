//! Values to bodies.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::iter;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use dxr::{MethodCall, MethodResponse, Value};
use hyper::body::{Body, Frame, SizeHint};
use memchr::memmem;

use crate::limits;
use crate::rpc::fault::Fault;
use crate::rpc::wire::base64_stream::ENGINE;
use crate::rpc::wire::binary;
use crate::rpc::wire::form::Form;
use crate::rpc::wire::text::{is_xml_text, presentable, shortened};

/// The first line of every body. The encoding is UTF-8, as always without a word on it.
const DECLARATION: &str = "<?xml version='1.0'?>\n";

/// What dxr writes for empty contents. In the texts around it every `<` is escaped, so this is
/// never anything else.
const EMPTY_BLOB: &str = "<base64></base64>";

/// Where in [`EMPTY_BLOB`] the contents belong.
const TAG_OPEN: usize = "<base64>".len();

/// Contents up to this many bytes stay among the values: a segment of their own would cost more.
pub(super) const INLINE_BLOB_MAX: usize = 512;

/// Contents encoded at a time, in bytes; a multiple of 3, so that only the last piece is padded.
/// With its text it fits into the second-level cache of a core.
const PIECE_SIZE: usize = 96 << 10;

/// What goes as it is, at a time, in bytes: a body that is taken slowly shows how slowly.
const PLAIN_SIZE: usize = 1 << 20;

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
    #[error("the values take {0} bytes as a body; the limit is {limit}", limit = limits::BODY_SIZE_MAX)]
    Size(u64),
}

/// A call or an answer that can be sent, in any form. Large contents stand beside it, and have left
/// empty ones behind.
#[derive(Debug)]
pub struct Message {
    matter: Matter,
    contents: Vec<Bytes>,
}

#[derive(Debug)]
enum Matter {
    Call(MethodCall<'static>),
    Answer(MethodResponse),
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
    pub fn call(name: &'static str, params: Vec<Value>) -> Result<Self, EncodeError> {
        Self::call_with(name, params, Vec::new())
    }

    /// The call of a method, with contents for the parameters that are empty ones, in their order.
    ///
    /// # Errors
    /// As [`Message::call`].
    pub fn call_with(
        name: &'static str,
        mut params: Vec<Value>,
        given: Vec<Bytes>,
    ) -> Result<Self, EncodeError> {
        let mut taken = Contents { given: given.into_iter(), large: Vec::new() };
        for param in &mut params {
            prepare(param, &mut taken, 0)?;
        }
        let matter = Matter::Call(MethodCall { name: name.into(), params });
        Ok(Self { matter, contents: taken.large })
    }

    /// The answer to a call.
    ///
    /// # Errors
    /// [`EncodeError`] says what cannot be sent.
    pub fn answer(mut value: Value) -> Result<Self, EncodeError> {
        let mut taken = Contents::default();
        prepare(&mut value, &mut taken, 0)?;
        Ok(Self { matter: Matter::Answer(MethodResponse { value }), contents: taken.large })
    }

    /// The body, made piece by piece; in XML if it has no other form.
    ///
    /// # Errors
    /// [`EncodeError::Size`].
    pub fn body(&self, form: Form) -> Result<MessageBody, EncodeError> {
        let body = match form {
            Form::Binary => self.binary(),
            Form::Xml => None,
        };
        let body = match body {
            Some(body) => body,
            None => self.xml()?,
        };
        if body.length > limits::BODY_SIZE_MAX as u64 {
            return Err(EncodeError::Size(body.length));
        }
        Ok(body)
    }

    fn binary(&self) -> Option<MessageBody> {
        let head = match &self.matter {
            Matter::Call(call) => binary::call_head(&call.name, &call.params, &self.contents),
            Matter::Answer(answer) => binary::answer_head(&answer.value, &self.contents),
        };
        let head = Segment::Plain(head?.into());
        let contents = self.contents.iter().cloned().map(Segment::Plain);
        Some(MessageBody::new(Form::Binary, iter::once(head).chain(contents).collect()))
    }

    fn xml(&self) -> Result<MessageBody, EncodeError> {
        let xml = match &self.matter {
            Matter::Call(call) => call.to_xml(),
            Matter::Answer(answer) => answer.to_xml(),
        };
        // dxr fails only for what `prepare` has refused before.
        let xml = xml.map_err(|error| EncodeError::Text(shortened(&error.to_string())))?;
        let xml = Bytes::from(format!("{DECLARATION}{xml}"));
        let mut segments = VecDeque::with_capacity(self.contents.len() * 2 + 1);
        let mut start = 0;
        for (at, contents) in memmem::find_iter(&xml, EMPTY_BLOB).zip(&self.contents) {
            let gap = at + TAG_OPEN;
            segments.push_back(Segment::Plain(xml.slice(start..gap)));
            segments.push_back(Segment::Encoded(contents.clone()));
            start = gap;
        }
        segments.push_back(Segment::Plain(xml.slice(start..)));
        Ok(MessageBody::new(Form::Xml, segments))
    }
}

impl Segment {
    /// Its length in the body, in bytes.
    fn length(&self) -> u64 {
        match self {
            Self::Plain(bytes) => bytes.len() as u64,
            Self::Encoded(bytes) => (bytes.len() as u64).div_ceil(3) * 4,
        }
    }

    /// What it takes in memory, in bytes.
    fn memory(&self) -> u64 {
        let (Self::Plain(bytes) | Self::Encoded(bytes)) = self;
        bytes.len() as u64
    }
}

/// The contents of values on their way out.
#[derive(Default)]
struct Contents {
    /// For values that are empty.
    given: vec::IntoIter<Bytes>,
    /// The large ones, and the empty ones, which look the same in the XML.
    large: Vec<Bytes>,
}

impl Contents {
    /// Takes the large and the empty contents of a value, or those that were given for it.
    fn take(&mut self, value: &mut Vec<u8>) {
        let bytes = match value.is_empty() {
            true => self.given.next().unwrap_or_default(),
            false => mem::take(value).into(),
        };
        if bytes.is_empty() || bytes.len() > INLINE_BLOB_MAX {
            self.large.push(bytes);
        } else {
            *value = bytes.into();
        }
    }
}

/// Checks a value, and takes its contents out of it, in the order in which they will be written:
/// the large ones, and the empty ones, which look the same afterwards.
fn prepare(value: &mut Value, contents: &mut Contents, depth: usize) -> Result<(), EncodeError> {
    if depth > NESTING_MAX {
        return Err(EncodeError::Nesting);
    }
    match value {
        Value::String(text) => check_text(text),
        Value::Base64(bytes) => {
            contents.take(bytes);
            Ok(())
        }
        Value::Array(values) => {
            values.iter_mut().try_for_each(|value| prepare(value, contents, depth + 1))
        }
        Value::Struct(members) => members.iter_mut().try_for_each(|(name, value)| {
            check_text(name)?;
            prepare(value, contents, depth + 1)
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
    form: Form,
    segments: VecDeque<Segment>,
    /// How much is still to go, in bytes.
    length: u64,
    /// How much of the first segment, if it is encoded, has been sent, in bytes of contents.
    done: usize,
    buffer: BytesMut,
}

impl MessageBody {
    fn new(form: Form, segments: VecDeque<Segment>) -> Self {
        let length = segments.iter().map(Segment::length).sum();
        Self { form, segments, length, done: 0, buffer: BytesMut::new() }
    }

    /// The answer to a call that failed.
    #[must_use]
    pub fn fault(fault: &Fault, form: Form) -> Self {
        let fault = Fault::new(fault.code, presentable(&fault.message));
        if form == Form::Binary
            && let Some(head) = binary::fault_head(&fault)
        {
            return Self::new(form, [Segment::Plain(head.into())].into());
        }
        let members = [
            ("faultCode".to_owned(), Value::Integer(fault.code)),
            ("faultString".to_owned(), Value::String(fault.message)),
        ];
        let value = Value::Struct(members.into()).to_xml().unwrap_or_default();
        Self::text(format!("{DECLARATION}<methodResponse><fault>{value}</fault></methodResponse>"))
    }

    /// Plain text.
    pub fn text(text: impl Into<Bytes>) -> Self {
        Self::new(Form::Xml, [Segment::Plain(text.into())].into())
    }

    /// Its form, which is not always the one that was asked for.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// Its length, as long as nothing of it was taken, in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes that it takes in memory, as long as nothing of it was taken: base64 is made on the way.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.segments.iter().map(Segment::memory).sum()
    }

    fn next_frame(&mut self) -> Option<Bytes> {
        let (frame, finished) = match self.segments.front_mut()? {
            Segment::Plain(bytes) => {
                let piece = bytes.split_to(bytes.len().min(PLAIN_SIZE));
                (piece, bytes.is_empty())
            }
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
