//! The two forms of a body: XML-RPC, and the binary one of htfs's own programs.
//!
//! A client says that it reads binary answers by `Accept: application/x-htfs`; a server says to who
//! says so, by `Accept-Post`, that it reads binary calls. Whoever says nothing gets XML-RPC.

use hyper::header::{HeaderName, HeaderValue};

/// What a server calls the forms of calls that it reads beside XML-RPC
/// (<https://www.w3.org/TR/ldp/#header-accept-post>).
pub const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// How a call or an answer stands in a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Plain XML-RPC.
    #[default]
    Xml,
    /// The same values in fewer bytes, with large contents as they are.
    Binary,
}

impl Form {
    /// What HTTP calls it.
    #[must_use]
    pub fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Xml => "text/xml",
            Self::Binary => "application/x-htfs",
        })
    }

    /// The form that a header names; all that is not of ours is XML-RPC, whatever it is called.
    #[must_use]
    pub fn named(header: Option<&HeaderValue>) -> Self {
        match header.is_some_and(|name| *name == Self::Binary.media_type()) {
            true => Self::Binary,
            false => Self::Xml,
        }
    }
}
