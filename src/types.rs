//! Plain data that every layer shares: keys, values, server names, and below them files, chunks and
//! changes. No input, no output.

mod change;
mod chunk;
mod contents;
mod directory;
mod file;
mod id;
mod log;
mod path;
mod ttl;

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, FsError};
use crate::limits;

pub use change::{Access, Change, RenameMode, SetAttr, SetTime, XattrMode};
pub use chunk::{ChunkKey, ChunkLayout, Cut, DroppedChunk};
pub use contents::{ChunkStat, ChunkVersion, Extent, Space, Whence};
pub use directory::{Cookie, DirEntry, DirPage};
pub use file::{Attr, Credentials, FileKind, FileTime, Ino, Name};
pub use id::{ClusterId, ServerAddress, ServerId};
pub use log::{LogState, Operation};
pub use path::{TreePath, shown_path};
pub use ttl::Ttl;

/// A key of a hash table. Python programs send it as `<string>` or `<base64>`; only the bytes
/// count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Bytes")]
pub struct Key(Bytes);

impl Key {
    /// Takes any bytes, at least one and at most [`limits::KEY_SIZE_MAX`].
    ///
    /// # Errors
    /// `InvalidArgument` for an empty key, which no store can hold; `NameTooLong` for a longer one.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, FsError> {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Err(FsError::new(ErrorKind::InvalidArgument, "a key cannot be empty"));
        }
        if bytes.len() > limits::KEY_SIZE_MAX {
            return Err(FsError::new(
                ErrorKind::NameTooLong,
                format!("the key has {} bytes; the limit is {}", bytes.len(), limits::KEY_SIZE_MAX),
            ));
        }
        Ok(Self(bytes))
    }

    /// The empty key. Earlier programs took it into their logs; it is there to be removed from them.
    #[must_use]
    pub(crate) const fn empty() -> Self {
        Self(Bytes::new())
    }

    /// The key that is a number, or `None` of Python, and no text: 7 is another key than "7".
    #[must_use]
    pub fn of_number(number: &str) -> Self {
        Self([NUMBER_MARK, number.as_bytes()].concat().into())
    }

    /// The number, if the key is one.
    #[must_use]
    pub fn as_number(&self) -> Option<&str> {
        self.0.strip_prefix(NUMBER_MARK).and_then(|number| std::str::from_utf8(number).ok())
    }

    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Bytes> for Key {
    type Error = FsError;

    fn try_from(bytes: Bytes) -> Result<Self, FsError> {
        Self::new(bytes)
    }
}

/// What the bytes of a number's key begin with: nothing that a program would call a file.
const NUMBER_MARK: &[u8] = b"\0number\0";

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_number() {
            Some(number) => write!(f, "the number {number}"),
            None => write!(f, "{}", self.0.escape_ascii()),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// What an XML-RPC value was when it was put, so that it comes back as the same type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ValueKind {
    /// `<string>`; the bytes are its UTF-8 text.
    String,
    /// `<base64>`; the bytes are what it decodes to.
    Base64,
    /// Any other type; the bytes are the XML text of its `<value>` element.
    Xml,
    /// Either of the first two: a `str` of Python 2, which does not say. It is answered as the type
    /// that the asking program uses for its keys.
    Either,
}

/// A value of a hash table, as opaque bytes with the type it came as.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredValue {
    /// The XML-RPC type.
    pub kind: ValueKind,
    /// The contents, in the form that `kind` says.
    pub bytes: Bytes,
}

impl StoredValue {
    /// Whether a program may have got this value as `answered`.
    #[must_use]
    pub fn is_answered_as(&self, answered: &Self) -> bool {
        let is_kind = match self.kind {
            ValueKind::Either => answered.kind != ValueKind::Xml,
            kind => kind == answered.kind,
        };
        is_kind && self.bytes == answered.bytes
    }
}

impl fmt::Debug for StoredValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}[{} bytes]", self.kind, self.bytes.len())
    }
}

/// The name of a chunk server, which is its URL: `https://host:port`, perhaps with `/` or
/// `/RPC2` behind it.
///
/// The text is kept as given, because Python clients compare it as a string.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// Checks and takes a URL.
    ///
    /// # Errors
    /// `InvalidArgument` for anything but `https://host:port`.
    pub fn new(url: impl Into<String>) -> Result<Self, FsError> {
        let url = url.into();
        if url.len() <= limits::URL_SIZE_MAX && Self::is_well_formed(&url) {
            return Ok(Self(url));
        }
        let shown: String = url.chars().take(80).flat_map(char::escape_default).collect();
        Err(FsError::new(
            ErrorKind::InvalidArgument,
            format!(
                "\"{shown}\" is not the URL of a chunk server; it looks like https://host:9001"
            ),
        ))
    }

    fn is_well_formed(url: &str) -> bool {
        let Some(rest) = url.strip_prefix("https://") else { return false };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().ok()),
            _ => (authority, Some(443)),
        };
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host_is_good = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
            }
        };
        host_is_good && port.is_some_and(|p| p != 0) && matches!(path, "" | "RPC2")
    }

    /// The host in it, an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let rest = self.0.strip_prefix("https://").unwrap_or(&self.0);
        let authority = rest.split('/').next().unwrap_or(rest);
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => host,
            _ => authority,
        };
        host.trim_matches(['[', ']'])
    }

    /// The URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for ServerUrl {
    type Err = FsError;

    fn from_str(url: &str) -> Result<Self, FsError> {
        Self::new(url)
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, ServerUrl};
    use crate::limits;

    #[test]
    fn server_urls_are_checked() {
        for good in ["https://localhost:9001", "https://10.0.0.1:9001/", "https://[::1]:9001/RPC2"]
        {
            assert_eq!(ServerUrl::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "http://localhost:9001",
            "https://",
            "https://:9001",
            "https://a:0",
            "https://a:99999",
            "https://a b:1",
            "https://a:1/x",
            "https://a\n:1",
            "https://[zz]:1",
            "file:///etc/passwd",
        ] {
            assert!(ServerUrl::new(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_key_is_neither_empty_nor_too_long() {
        assert!(Key::new(Vec::new()).is_err());
        assert!(postcard::from_bytes::<Key>(&postcard::to_stdvec(b"").unwrap()).is_err());
        assert!(Key::new(vec![0; limits::KEY_SIZE_MAX]).is_ok());
        assert!(Key::new(vec![0; limits::KEY_SIZE_MAX + 1]).is_err());
    }
}
