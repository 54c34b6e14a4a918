//! The list of paths that classic clients keep as the contents of a directory, in the forms in which
//! they store it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::pickle;
use crate::proto::classic::{Dialect, is_xml_text};
use crate::proto::form::{unwrap_pickle, wrap_pickle};
use crate::proto::values::{from_stored, to_stored};
use crate::rpc::{Value, WrongType};
use crate::types::{StoredValue, ValueKind};

/// How a list is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListForm {
    /// A pickled list.
    #[default]
    List,
    /// A pickled tuple.
    Tuple,
    /// An XML-RPC array of strings, which is not pickled.
    Strings,
    /// The same, of base64.
    Binaries,
    /// No list at all: what a client has put as the contents of a directory in which it has none.
    Other,
}

/// A list, and how it is stored.
///
/// Entries that stay are written as they were read: Python 2 tells a byte string from the same text.
#[derive(Clone, Debug, PartialEq)]
pub struct PathList {
    /// The paths, as Python has them.
    pub entries: Vec<pickle::Value>,
    /// The form.
    pub form: ListForm,
}

impl PathList {
    /// The list in a value; `None` if it has something else.
    #[must_use]
    pub fn read(value: &StoredValue) -> Option<Self> {
        if value.kind == ValueKind::Xml {
            return read_array(value);
        }
        let (entries, form) = match unwrap_pickle(value)? {
            pickle::Value::List(entries) => (entries, ListForm::List),
            pickle::Value::Tuple(entries) => (entries, ListForm::Tuple),
            _ => return None,
        };
        Some(Self { entries, form })
    }

    /// The list as the value to store.
    ///
    /// # Errors
    /// If it has no form on the wire.
    pub fn write(&self, dialect: Dialect) -> Result<StoredValue, WrongType> {
        let entries = || self.entries.clone();
        match self.form {
            ListForm::List | ListForm::Other => {
                Ok(wrap_pickle(dialect, &pickle::Value::List(entries())))
            }
            ListForm::Tuple => Ok(wrap_pickle(dialect, &pickle::Value::Tuple(entries()))),
            ListForm::Strings | ListForm::Binaries => {
                let item = |path| self.item(path);
                to_stored(Value::Array(self.paths().map(item).collect()))
            }
        }
    }

    /// The paths as bytes; what is no path is left out.
    pub fn paths(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.entries.iter().filter_map(pickle::Value::as_path)
    }

    fn item(&self, path: Bytes) -> Value {
        match String::from_utf8(path.into()) {
            Ok(text) if self.form == ListForm::Strings && is_xml_text(&text) => Value::String(text),
            Ok(text) => Value::Base64(text.into_bytes()),
            Err(error) => Value::Base64(error.into_bytes()),
        }
    }
}

fn read_array(value: &StoredValue) -> Option<PathList> {
    let Value::Array(items) = from_stored(value.clone()) else { return None };
    let are_binary = matches!(items.first(), Some(Value::Base64(_)));
    let entry = |item| match item {
        Value::String(text) => Some(pickle::Value::Text(text.into())),
        Value::Base64(bytes) => Some(pickle::Value::Bytes(bytes.into())),
        _ => None,
    };
    let entries = items.into_iter().map(entry).collect::<Option<_>>()?;
    let form = if are_binary { ListForm::Binaries } else { ListForm::Strings };
    Some(PathList { entries, form })
}

#[cfg(test)]
mod tests {
    use super::{ListForm, PathList};
    use crate::proto::classic::Dialect;
    use crate::types::{StoredValue, ValueKind};

    #[test]
    fn a_list_is_written_in_the_form_it_was_read_in() {
        let value = |kind, text: &'static str| StoredValue { kind, bytes: text.as_bytes().into() };
        let array = "<value><array><data><value>T</value><value>T</value></data></array></value>";
        let strings: &str = array.replace('T', "<string>/x</string>").leak();
        let binaries: &str = array.replace('T', "<base64>L3g=</base64>").leak();
        for (value, form) in [
            (value(ValueKind::Base64, "(lS'/'\naS'/x'\na."), ListForm::List),
            (value(ValueKind::String, "(S'/'\nS'/x'\nt."), ListForm::Tuple),
            (value(ValueKind::Xml, strings), ListForm::Strings),
            (value(ValueKind::Xml, binaries), ListForm::Binaries),
        ] {
            let list = PathList::read(&value).unwrap();
            assert_eq!((list.form, list.paths().last().unwrap()), (form, "/x".into()));
            let again = PathList::read(&list.write(Dialect::Binary).unwrap()).unwrap();
            assert_eq!(again, list);
        }
        for (kind, text) in [
            (ValueKind::String, "hello"),
            (ValueKind::Base64, "S'x'\n."),
            (ValueKind::Xml, "<value><int>7</int></value>"),
            (ValueKind::Xml, "<value><array><data><value><nil/></value></data></array></value>"),
        ] {
            assert_eq!(PathList::read(&value(kind, text)), None, "{text}");
        }
    }
}
