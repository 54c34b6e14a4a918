//! The list of names that is the contents of a directory.

use bytes::Bytes;

use crate::client::classic::key_path::KeyPath;
use crate::error::{ErrorKind, FsError, Result};
use crate::pickle;
use crate::proto::form::Form;
use crate::proto::path_list::{ListForm, PathList};
use crate::types::{Name, StoredValue};

/// A list of paths, in the form in which it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Names(PathList);

impl Names {
    /// The list of a new directory: empty, or for the root with the root's own path.
    #[must_use]
    pub fn new(dir: &KeyPath) -> Self {
        let is_root = dir.parent().is_none();
        let entries = if is_root { vec![pickle::Value::str("/")] } else { Vec::new() };
        Self(PathList { entries, form: ListForm::default() })
    }

    /// Reads the list in a value.
    ///
    /// # Errors
    /// `Protocol` for anything else.
    pub fn read(value: &StoredValue) -> Result<Self> {
        let message = "the chunk server holds something else than the list of a directory";
        let list = PathList::read(value);
        list.map(Self).ok_or_else(|| FsError::new(ErrorKind::Protocol, message))
    }

    /// The list as the value to store.
    ///
    /// # Errors
    /// `TooBig` if it has no form on the wire.
    pub fn write(&self, form: Form) -> Result<StoredValue> {
        let written = self.0.write(form.dialect);
        written.map_err(|wrong| FsError::new(ErrorKind::TooBig, wrong.to_string()))
    }

    /// The names of the direct children of `dir`, each once, in the order of the list.
    #[must_use]
    pub fn children(&self, dir: &KeyPath) -> Vec<Name> {
        let mut seen = std::collections::HashSet::new();
        let names = self.0.entries.iter().filter_map(|entry| dir.name_of_entry(&entry.as_path()?));
        names.filter(|name| seen.insert(name.clone())).collect()
    }

    /// Adds a path; says whether it was missing.
    pub fn insert(&mut self, path: &KeyPath) -> bool {
        if self.0.entries.iter().any(|entry| is(entry, path)) {
            return false;
        }
        self.0.entries.push(pickle::Value::path(Bytes::copy_from_slice(path.as_bytes())));
        true
    }

    /// Removes a path; says whether it was there.
    pub fn remove(&mut self, path: &KeyPath) -> bool {
        let before = self.0.entries.len();
        self.0.entries.retain(|entry| !is(entry, path));
        self.0.entries.len() < before
    }

    /// The list of the directory `from` after it has become `to`.
    ///
    /// # Errors
    /// `NameTooLong` if a path gets too long.
    pub fn moved(&self, from: &KeyPath, to: &KeyPath) -> Result<Self> {
        let mut moved = Self(PathList { entries: Vec::new(), form: self.0.form });
        for name in self.children(from) {
            moved.insert(&to.child(&name)?);
        }
        Ok(moved)
    }
}

fn is(entry: &pickle::Value, path: &KeyPath) -> bool {
    entry.as_path().is_some_and(|entry| entry == path.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::Names;
    use crate::client::classic::key_path::KeyPath;
    use crate::proto::form::Form;
    use crate::types::{Name, StoredValue, ValueKind};

    fn path(text: &'static str) -> KeyPath {
        let root = KeyPath::root().unwrap();
        text.split('/')
            .filter(|name| !name.is_empty())
            .fold(root, |dir, name| dir.child(&Name::new(name).unwrap()).unwrap())
    }

    #[test]
    fn lists_are_edited_in_the_form_they_have() {
        let pickled =
            StoredValue { kind: ValueKind::String, bytes: "(lS'/'\naS'/\\xc3\\xa4'\na.".into() };
        let array = StoredValue {
            kind: ValueKind::Xml,
            bytes:
                "<value><array><data><value><string>/</string></value><value><string>/ä</string>\
                </value></data></array></value>"
                    .into(),
        };
        let root = path("/");
        for value in [pickled, array] {
            let mut names = Names::read(&value).unwrap();
            assert_eq!(names.children(&root), [Name::new("ä").unwrap()]);
            assert!(names.insert(&path("/b")) && !names.insert(&path("/b")));
            let written = names.write(Form::default()).unwrap();
            assert_eq!(written.kind == ValueKind::Xml, value.kind == ValueKind::Xml);
            let mut again = Names::read(&written).unwrap();
            assert_eq!(again.children(&root).len(), 2);
            assert!(again.remove(&path("/ä")) && !again.remove(&path("/ä")));
            assert!(again.remove(&path("/b")) && again.children(&root).is_empty());
        }
    }

    #[test]
    fn the_list_of_a_moved_directory_has_new_paths() {
        let (old, new) = (path("/d"), path("/x/e"));
        let mut names = Names::new(&old);
        names.insert(&path("/d/f"));
        let moved = names.moved(&old, &new).unwrap();
        assert_eq!(moved.children(&new), [Name::new("f").unwrap()]);
        assert!(moved.children(&old).is_empty());
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (kind, text) in [(ValueKind::String, "hello"), (ValueKind::Base64, "S'x'\n.")] {
            assert!(Names::read(&StoredValue { kind, bytes: text.into() }).is_err());
        }
    }
}
