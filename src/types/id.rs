//! Identities: random numbers that are made once and never again, and stay what they are when names
//! and addresses change.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ServerUrl;
use crate::error::{ErrorKind, FsError};

/// Digits of an identity as text: 128 bits in base 16.
const DIGITS: usize = 32;

/// Digits that are enough to tell identities apart in a message.
const DIGITS_SHOWN: usize = 8;

/// Which cluster: made with the data of a new master, and kept by all that belongs to it.
///
/// As text 32 digits of base 16, in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(u128);

impl ClusterId {
    /// The cluster with this number, which should be random.
    #[must_use]
    pub fn new(number: u128) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub fn number(self) -> u128 {
        self.0
    }

    /// The first digits, for people.
    #[must_use]
    pub fn short(self) -> String {
        shortened(&self.to_string())
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for ClusterId {
    type Err = FsError;

    fn from_str(text: &str) -> Result<Self, FsError> {
        number(text).map(Self).ok_or_else(|| malformed("a cluster", text))
    }
}

/// Which chunk server. One of ours has a random number, made with its data, which stays the same
/// wherever it is started; where it listens is an attribute of it. One of the original programs has
/// no identity but its URL.
///
/// As text, which is also its form in records, 32 digits of base 16, or the URL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServerId(String);

impl ServerId {
    /// The server with this number, which should be random.
    #[must_use]
    pub fn new(number: u128) -> Self {
        Self(format!("{number:032x}"))
    }

    /// Whether it is a number, and so not tied to a URL.
    #[must_use]
    pub fn is_number(&self) -> bool {
        number(&self.0).is_some()
    }

    /// The URL of a server that has no number.
    #[must_use]
    pub fn as_url(&self) -> Option<ServerUrl> {
        ServerUrl::new(self.0.clone()).ok()
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first digits, or the URL, for people.
    #[must_use]
    pub fn short(&self) -> String {
        if self.is_number() { shortened(&self.0) } else { self.0.clone() }
    }
}

impl From<&ServerUrl> for ServerId {
    fn from(url: &ServerUrl) -> Self {
        Self(url.as_str().to_owned())
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ServerId {
    type Err = FsError;

    fn from_str(text: &str) -> Result<Self, FsError> {
        if number(text).is_some() || ServerUrl::new(text).is_ok() {
            return Ok(Self(text.to_owned()));
        }
        Err(malformed("a chunk server", text))
    }
}

/// Where a server is, and which one is meant: its URL, and its number behind a `#` if it has one. A
/// call that is sent there says whom it means, so that another server which has taken over the URL
/// refuses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress(String);

impl ServerAddress {
    /// The address of a server that is at this URL.
    #[must_use]
    pub fn new(id: &ServerId, url: &ServerUrl) -> Self {
        if id.is_number() { Self(format!("{url}#{id}")) } else { Self(url.as_str().to_owned()) }
    }

    /// The text that calls are sent to.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&ServerUrl> for ServerAddress {
    fn from(url: &ServerUrl) -> Self {
        Self(url.as_str().to_owned())
    }
}

/// The number that a text is, if it is spelled as it has to be.
fn number(text: &str) -> Option<u128> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_number = text.len() == DIGITS && text.bytes().all(is_digit);
    is_number.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

fn shortened(text: &str) -> String {
    format!("{}…", &text[..DIGITS_SHOWN])
}

fn malformed(what: &str, text: &str) -> FsError {
    let shown: String = text.chars().take(80).flat_map(char::escape_default).collect();
    FsError::new(ErrorKind::InvalidArgument, format!("\"{shown}\" is not the identity of {what}"))
}

#[cfg(test)]
mod tests {
    use super::{ClusterId, ServerAddress, ServerId, ServerUrl};

    #[test]
    fn identities_have_one_spelling() {
        let id = ServerId::new(0xab);
        assert_eq!(id.as_str(), "000000000000000000000000000000ab");
        assert_eq!(id.as_str().parse::<ServerId>().unwrap(), id);
        assert_eq!(ClusterId::new(7).to_string().parse::<ClusterId>().unwrap(), ClusterId::new(7));
        for bad in
            ["", "ab", "000000000000000000000000000000AB", "+00000000000000000000000000000ab"]
        {
            assert!(bad.parse::<ServerId>().is_err(), "{bad:?} was taken");
            assert!(bad.parse::<ClusterId>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn only_what_has_a_number_is_named_in_an_address() {
        let url = ServerUrl::new("https://localhost:9001").unwrap();
        let by_url = ServerId::from(&url);
        assert!(!by_url.is_number());
        assert_eq!(by_url.as_url().as_ref(), Some(&url));
        assert_eq!(ServerAddress::new(&by_url, &url).as_str(), url.as_str());
        let id = ServerId::new(1);
        assert_eq!(id.as_url(), None);
        assert_eq!(ServerAddress::new(&id, &url).as_str(), format!("{url}#{id}"));
    }
}
