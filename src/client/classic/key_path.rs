//! Paths as the keys under which the homework's clients keep files.

use std::fmt;

use bytes::Bytes;

use crate::error::Result;
use crate::types::{Key, Name};

/// An absolute path: `/`, or `/` and names with single slashes between them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPath(Key);

impl KeyPath {
    /// The root directory, `/`.
    ///
    /// # Errors
    /// Never.
    pub fn root() -> Result<Self> {
        Key::new(Bytes::from_static(b"/")).map(Self)
    }

    /// The path as a key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.0
    }

    /// The path's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn is_root(&self) -> bool {
        self.as_bytes() == b"/"
    }

    /// The path of a name in this directory.
    ///
    /// # Errors
    /// `NameTooLong` if it is too long for a key.
    pub fn child(&self, name: &Name) -> Result<Self> {
        let own = if self.is_root() { &[] } else { self.as_bytes() };
        Key::new([own, b"/", name.as_bytes()].concat()).map(Self)
    }

    /// The directory that the path is in; none for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let bytes = self.as_bytes();
        let slash = bytes.iter().rposition(|byte| *byte == b'/')?;
        if self.is_root() {
            return None;
        }
        // A part of a key is never too long for one.
        Key::new(Bytes::copy_from_slice(&bytes[..slash.max(1)])).ok().map(Self)
    }

    /// Whether the path is that of something inside the directory `dir`, however deep.
    #[must_use]
    pub fn is_below(&self, dir: &Self) -> bool {
        let rest = self.as_bytes().strip_prefix(dir.as_bytes());
        rest.is_some_and(|rest| rest.starts_with(b"/") || dir.is_root() && !rest.is_empty())
    }

    /// The path of the same thing when `from`, which is the path itself or above it, has become
    /// `to`.
    ///
    /// # Errors
    /// `NameTooLong` if it gets too long for a key.
    pub fn moved(&self, from: &Self, to: &Self) -> Result<Self> {
        let rest = self.as_bytes().strip_prefix(from.as_bytes()).unwrap_or_default();
        Key::new([to.as_bytes(), rest].concat()).map(Self)
    }

    /// The name in this directory that an entry of its list means, if it means one: the list has
    /// the paths of the direct children, and that of the root also `/` itself.
    #[must_use]
    pub fn name_of_entry(&self, entry: &[u8]) -> Option<Name> {
        let inside = match entry.strip_prefix(self.as_bytes()) {
            Some(rest) if self.is_root() => rest,
            Some(rest) => rest.strip_prefix(b"/")?,
            None => return None,
        };
        Name::new(Bytes::copy_from_slice(inside)).ok()
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::KeyPath;
    use crate::types::Name;

    fn name(text: &'static str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn paths_go_down_and_up() {
        let root = KeyPath::root().unwrap();
        let dir = root.child(&name("d")).unwrap();
        let file = dir.child(&name("f")).unwrap();
        assert_eq!(file.as_bytes(), b"/d/f");
        assert_eq!(file.parent(), Some(dir.clone()));
        assert_eq!(dir.parent(), Some(root.clone()));
        assert_eq!(root.parent(), None);
        assert!(file.is_below(&dir) && file.is_below(&root) && dir.is_below(&root));
        assert!(!dir.is_below(&dir) && !root.is_below(&root) && !dir.is_below(&file));
        let other = root.child(&name("dd")).unwrap();
        assert!(!other.is_below(&dir));
        assert_eq!(file.moved(&dir, &other).unwrap().as_bytes(), b"/dd/f");
        assert_eq!(dir.moved(&dir, &other).unwrap(), other);
    }

    #[test]
    fn entries_are_paths_of_direct_children() {
        let root = KeyPath::root().unwrap();
        let dir = root.child(&name("d")).unwrap();
        assert_eq!(root.name_of_entry(b"/a"), Some(name("a")));
        assert_eq!(dir.name_of_entry(b"/d/a"), Some(name("a")));
        for strange in [&b"/"[..], b"/d/a", b"a", b"", b"//", b"/.."] {
            assert_eq!(root.name_of_entry(strange), None);
        }
        for strange in [&b"/d"[..], b"/d/", b"/da", b"/d/a/b", b"/"] {
            assert_eq!(dir.name_of_entry(strange), None);
        }
    }
}
