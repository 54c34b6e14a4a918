//! The two forms of a body: XML-RPC, and the same XML with its contents as they are.
//!
//! In the second, which only htfs's own programs speak among themselves, large contents stand in
//! `<base64 raw="N">` as N bytes, neither encoded nor escaped. A client says that it reads such
//! answers by `Accept: application/x-htfs`; a server says to who says so, by `Accept-Post`, that it
//! reads such calls. Whoever says nothing gets XML-RPC.

use hyper::header::{HeaderName, HeaderValue};

/// What a server calls the forms of calls that it reads beside XML-RPC
/// (<https://www.w3.org/TR/ldp/#header-accept-post>).
pub const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// How large contents stand in a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As base64, in plain XML-RPC.
    #[default]
    Xml,
    /// As they are.
    Raw,
}

impl Form {
    /// What HTTP calls it.
    #[must_use]
    pub fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Xml => "text/xml",
            Self::Raw => "application/x-htfs",
        })
    }

    /// The form that a header names; all that is not of ours is XML-RPC, whatever it is called.
    #[must_use]
    pub fn named(header: Option<&HeaderValue>) -> Self {
        match header.is_some_and(|name| *name == Self::Raw.media_type()) {
            true => Self::Raw,
            false => Self::Xml,
        }
    }

    /// How much longer contents of that many bytes make a body in which `<base64></base64>` stands.
    pub(super) fn length_of(self, length: usize) -> u64 {
        match self {
            Self::Xml => (length as u64).div_ceil(3) * 4,
            Self::Raw => (raw_opening(length).len() - ">".len() + length) as u64,
        }
    }

    /// How many bytes of contents follow a tag as they are.
    pub(super) fn raw_length(self, tag: &[u8]) -> Option<u64> {
        let inside = tag.strip_prefix(b"<base64 raw=\"").filter(|_| self == Self::Raw)?;
        let digits = inside.strip_suffix(b"\">")?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }
}

/// What stands between `<base64` and contents of that many bytes that come as they are.
pub(super) fn raw_opening(length: usize) -> String {
    format!(" raw=\"{length}\">")
}
