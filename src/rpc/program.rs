//! Which program calls, as far as that decides how values have to look.

use hyper::header::{HeaderMap, USER_AGENT};

/// How a program of htfs introduces itself.
pub(super) const OWN_USER_AGENT: &str = concat!("htfs/", env!("CARGO_PKG_VERSION"));

/// The program behind a call, by what it says of itself. Nothing is granted for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Program {
    /// One of htfs.
    Htfs,
    /// `xmlrpclib` of Python 2, whose strings are bytes.
    Python2,
    /// Any other.
    #[default]
    Other,
}

impl Program {
    /// The program that the head of a request names.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let name = headers.get(USER_AGENT).map(|name| name.as_bytes()).unwrap_or_default();
        if name.starts_with(b"htfs/") {
            Self::Htfs
        } else if name.starts_with(b"xmlrpclib.py/") {
            Self::Python2
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderMap, HeaderValue, USER_AGENT};

    use super::{OWN_USER_AGENT, Program};

    #[test]
    fn programs_are_known_by_what_they_say() {
        for (name, program) in [
            (OWN_USER_AGENT, Program::Htfs),
            ("xmlrpclib.py/1.0.1 (by www.pythonware.com)", Program::Python2),
            ("Python-xmlrpc/3.11", Program::Other),
            ("", Program::Other),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(USER_AGENT, HeaderValue::from_static(name));
            assert_eq!(Program::of(&headers), program, "{name}");
        }
        assert_eq!(Program::of(&HeaderMap::new()), Program::Other);
    }
}
