//! Paths in the tree, as classic clients use them for keys.

use super::{Key, Name};

/// The names on the way from the root directory; none for the root itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreePath(Vec<Name>);

impl TreePath {
    /// The path that a key is, if it is one: `/`, or names with a `/` in front of each. There is one
    /// spelling only: no `.` or `..`, nothing empty, no `/` at the end.
    #[must_use]
    pub fn of(key: &Key) -> Option<Self> {
        let bytes = key.as_bytes();
        let rest = bytes.strip_prefix(b"/")?;
        if rest.is_empty() {
            return Some(Self(Vec::new()));
        }
        let name = |name: &[u8]| Name::new(name.to_vec()).ok();
        rest.split(|byte| *byte == b'/').map(name).collect::<Option<_>>().map(Self)
    }

    /// The names, from the root on.
    #[must_use]
    pub fn names(&self) -> &[Name] {
        &self.0
    }

    /// The names of the directory it is in, and its own; `None` for the root.
    #[must_use]
    pub fn split(&self) -> Option<(&[Name], &Name)> {
        self.0.split_last().map(|(name, parents)| (parents, name))
    }
}

/// A path for people: on one line, whatever is in it.
#[must_use]
pub fn shown_path(path: &[u8]) -> String {
    let escaped = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    String::from_utf8_lossy(path).chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::TreePath;
    use crate::types::Key;

    fn path(text: &[u8]) -> Option<TreePath> {
        TreePath::of(&Key::new(text.to_vec()).unwrap())
    }

    #[test]
    fn a_path_has_one_spelling() {
        assert_eq!(path(b"/").unwrap().names(), []);
        assert_eq!(path(b"/a").unwrap().split().unwrap().1.as_bytes(), b"a");
        let deep = path(b"/a/ b/\xff").unwrap();
        assert_eq!(deep.names().len(), 3);
        assert_eq!(deep.split().unwrap().0.len(), 2);
        for key in [&b"a"[..], b"//", b"/a/", b"/./a", b"/a/..", b"/a//b", b"/a\0", b"a/b", b" /a"]
        {
            assert_eq!(path(key), None, "{}", key.escape_ascii());
        }
        let long = [b"/", &[b'x'; 256][..]].concat();
        assert_eq!(path(&long), None);
        assert!(path(&long[..256]).is_some());
    }
}
