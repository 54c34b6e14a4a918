//! The codec: calls and answers to and from bodies.
//!
//! dxr converts between XML and values. Contents (`<base64>`) do not pass through it: they are
//! cut out of the XML on the way in and put into it on the way out, encoded and decoded piece by
//! piece as the body travels, so that neither side ever holds their text as a whole. Two of our own
//! programs leave the XML out altogether ([`Form::Binary`]). Bodies are read in any encoding that
//! their XML declarations name, and written in UTF-8.

mod base64_stream;
mod binary;
mod charset;
mod decode;
mod encode;
mod form;
mod grammar;
mod markup;
mod prolog;
mod scan;
mod skeleton;
pub(super) mod text;
mod transcode;

pub use decode::{DecodeError, Decoder};
pub use encode::{EncodeError, Message, MessageBody};
pub use form::{ACCEPT_POST, Form};
pub use text::is_xml_char;

#[cfg(test)]
mod tests;
