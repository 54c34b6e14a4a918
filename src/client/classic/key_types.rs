//! The type of keys that a server takes, which it says only by its faults.
//!
//! An original whose table has what came as its keys cannot have a `Binary` as one; an original that
//! takes the bytes out of a `Binary` does not find them in a string. Neither has changed anything
//! then, so the call may be sent again in the other type.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{ErrorKind, FsError};
use crate::proto::classic::Dialect;
use crate::rpc::Fault;
use crate::types::Key;

/// The servers that have refused keys of one type and taken them in the other, with the latter.
#[derive(Debug, Default)]
pub(super) struct KeyTypes {
    taken: Mutex<HashMap<String, Dialect>>,
}

impl KeyTypes {
    /// The dialect whose keys a server takes, as far as it has refused the other's.
    pub(super) fn at(&self, url: &str) -> Option<Dialect> {
        self.taken().get(url).copied()
    }

    pub(super) fn learn(&self, url: &str, dialect: Dialect) {
        if self.taken().insert(url.to_owned(), dialect) != Some(dialect) {
            tracing::debug!("{url} takes keys only as {}", name(dialect));
        }
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<String, Dialect>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a fault says that a server takes no keys as `key` is written in `dialect`.
pub(super) fn refuses(fault: &Fault, dialect: Dialect, key: &Key) -> bool {
    match Dialect::of(&dialect.write_key(key)) {
        Dialect::String => has_no_data(fault),
        Dialect::Binary => is_unhashable(fault),
    }
}

/// Whether a fault is about the types of keys at all.
pub(super) fn is_about_types(fault: &Fault) -> bool {
    has_no_data(fault) || is_unhashable(fault)
}

/// A string was asked for the bytes in a `Binary`.
fn has_no_data(fault: &Fault) -> bool {
    is_of_class(fault, "AttributeError") && fault.message.contains("has no attribute 'data'")
}

/// A `Binary` was to be the key of a dict. Python 2 calls it an instance.
fn is_unhashable(fault: &Fault) -> bool {
    let names = ["unhashable instance", "unhashable type: 'Binary'"];
    is_of_class(fault, "TypeError") && names.iter().any(|name| fault.message.contains(name))
}

/// Python's servers put the class of the exception first: `<class 'TypeError'>:…`.
fn is_of_class(fault: &Fault, class: &str) -> bool {
    let (shown, _) = fault.message.split_once(">:").unwrap_or_default();
    fault.code == 1 && shown.starts_with('<') && shown.contains(class)
}

/// The error where a server refuses a key, and the other type is of no use.
pub(super) fn refused(url: &str, dialect: Dialect, key: &Key) -> FsError {
    if !is_text(key) {
        let message = format!("{url} takes keys only as <string>, and {key} is no text");
        return FsError::new(ErrorKind::InvalidArgument, message);
    }
    let option = match dialect.other() {
        Dialect::String => "string",
        Dialect::Binary => "binary",
    };
    let message = format!("{url} takes no keys as {}; use --dialect {option}", name(dialect));
    FsError::new(ErrorKind::Unsupported, message)
}

/// The error where a server takes keys of neither type.
pub(super) fn neither(url: &str, fault: &Fault) -> FsError {
    let message = format!("{url} takes keys neither as <string> nor as <base64>: {fault}");
    FsError::new(ErrorKind::Unsupported, message)
}

/// Whether a key can go as a string, so that there are two ways to send it.
pub(super) fn is_text(key: &Key) -> bool {
    Dialect::of(&Dialect::String.write_key(key)) == Dialect::String
}

fn name(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::String => "<string>",
        Dialect::Binary => "<base64>",
    }
}

#[cfg(test)]
mod tests {
    use super::{is_about_types, is_text, refused, refuses};
    use crate::error::ErrorKind;
    use crate::proto::classic::Dialect;
    use crate::rpc::Fault;
    use crate::types::Key;

    fn key(bytes: &[u8]) -> Key {
        Key::new(bytes.to_vec()).unwrap()
    }

    #[test]
    fn faults_of_every_python_are_understood() {
        let (string, binary) = (Dialect::String, Dialect::Binary);
        let refusals = [
            ("<type 'exceptions.TypeError'>:unhashable instance", binary),
            ("<class 'TypeError'>:unhashable type: 'Binary'", binary),
            (
                "<class 'TypeError'>:cannot use 'xmlrpc.client.Binary' as a dict key (unhashable \
                 type: 'Binary')",
                binary,
            ),
            ("<type 'exceptions.AttributeError'>:'str' object has no attribute 'data'", string),
            ("<type 'exceptions.AttributeError'>:'unicode' object has no attribute 'data'", string),
            ("<class 'AttributeError'>:'str' object has no attribute 'data'", string),
        ];
        for (message, dialect) in refusals {
            let fault = Fault::new(1, message);
            assert!(refuses(&fault, dialect, &key(b"/")), "{message}");
            assert!(!refuses(&fault, dialect.other(), &key(b"/")), "{message}");
            assert!(is_about_types(&fault));
            // A name that is no text goes as Binary in either dialect.
            assert_eq!(refuses(&fault, string, &key(b"/\xff")), dialect == binary, "{message}");
        }
        let others = [
            (1, "<class 'TypeError'>:unhashable type: 'list'"),
            (1, "<class 'KeyError'>:unhashable type: 'Binary'"),
            (1, "<class 'AttributeError'>:'NoneType' object has no attribute 'date'"),
            (1, "TypeError: unhashable instance"),
            (-32602, "<class 'TypeError'>:unhashable type: 'Binary'"),
            (1, ""),
        ];
        for (code, message) in others {
            assert!(!is_about_types(&Fault::new(code, message)), "{message}");
        }
    }

    #[test]
    fn the_error_says_what_to_do() {
        let error = refused("https://a:1", Dialect::Binary, &key(b"/"));
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().ends_with("use --dialect string"), "{error}");
        let error = refused("https://a:1", Dialect::String, &key(b"/"));
        assert!(error.message().ends_with("use --dialect binary"), "{error}");
        let error = refused("https://a:1", Dialect::String, &key(b"/\xff"));
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(is_text(&key("/größe".as_bytes())) && !is_text(&key(b"/\r")));
    }
}
