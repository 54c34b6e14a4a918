//! Which names the kernel was told of, and when: so that it does not take an old name and the new one
//! for two names of one file.
//!
//! Where both names of a `rename` stand for one inode, the kernel does nothing and reports success
//! (`vfs_rename` in `fs/namei.c`), as POSIX wants it for two names of one file. Another mount may
//! just have moved the file to the new name, and the kernel still trust the old one, because the news
//! are not there or its time is not over. The kernel asks for the new name in every rename; it is
//! answered `Stale` then, on which every call begins once more and trusts nothing that it remembers
//! (`retry_estale`). What comes of that is right: the old name is not there.

use std::sync::Mutex;
use std::time::Instant;

use super::lock;
use crate::client::bounded::Bounded;
use crate::limits;
use crate::types::{Attr, FileKind, Ino, Name};

/// The names that the kernel was told of.
pub(super) struct Told(Mutex<Tables>);

struct Tables {
    /// The name of an inode that was told last, and when. The kernel uses it for
    /// [`limits::KERNEL_CACHE_AGE`] from a little later on, when it has the answer.
    names: Bounded<Ino, (Ino, Name, Instant)>,
    /// What the kernel was told last that a name stands for. It remembers that when it may not use it
    /// any more, too, to ask whether it still is so.
    inodes: Bounded<(Ino, Name), Ino>,
}

impl Told {
    pub(super) fn new() -> Self {
        let names = Bounded::new(limits::INODES_CACHED_MAX);
        let inodes = Bounded::new(limits::INODES_CACHED_MAX);
        Self(Mutex::new(Tables { names, inodes }))
    }

    /// The kernel is told of a name.
    pub(super) fn note(&self, parent: Ino, name: &Name, ino: Ino) {
        let mut tables = lock(&self.0);
        tables.inodes.put((parent, name.clone()), ino);
        tables.names.put(ino, (parent, name.clone(), Instant::now()));
    }

    /// The kernel is told that a name is not there.
    pub(super) fn note_absent(&self, parent: Ino, name: &Name) {
        lock(&self.0).inodes.remove(&(parent, name.clone()));
    }

    /// The name of an inode that the kernel was told last.
    pub(super) fn last_name(&self, ino: Ino) -> Option<(Ino, Name)> {
        let mut tables = lock(&self.0);
        let (directory, name, _) = tables.names.get(&ino)?;
        Some((*directory, name.clone()))
    }

    /// A path to an inode from the root, as the kernel knows it; `None` if a part of it is not known
    /// here any more.
    pub(super) fn path(&self, ino: Ino) -> Option<Vec<u8>> {
        let mut tables = lock(&self.0);
        let (mut names, mut at) = (Vec::new(), ino);
        while at != Ino::ROOT {
            let (parent, name, _) = tables.names.get(&at)?;
            names.push(name.clone());
            at = *parent;
            // A directory that others move about may seem to be in itself.
            if names.len() > limits::PATH_DEPTH_MAX {
                return None;
            }
        }
        let parts = names.iter().rev().flat_map(|name| [&b"/"[..], name.as_bytes()]);
        Some(parts.collect::<Vec<_>>().concat())
    }

    /// This mount has moved names; what the kernel made of it is not looked at.
    pub(super) fn note_moved(&self, from: (Ino, &Name), to: (Ino, &Name)) {
        let mut tables = lock(&self.0);
        for (parent, name) in [from, to] {
            let key = (parent, name.clone());
            if let Some(ino) = tables.inodes.get(&key).copied() {
                tables.names.remove(&ino);
            }
            tables.inodes.remove(&key);
        }
    }

    /// Another name under which the kernel may have an inode that has only one and is to be told of
    /// under this one: who asked has to ask again. The answer is that only once, so nobody is kept
    /// asking.
    pub(super) fn other_name(&self, parent: Ino, name: &Name, attr: &Attr) -> Option<(Ino, Name)> {
        let has_one_name = attr.kind == FileKind::Directory || attr.nlink == 1;
        let mut tables = lock(&self.0);
        let here = (parent, name.clone());
        let other = match tables.names.get(&attr.ino) {
            Some((directory, other, since))
                if has_one_name
                    && (*directory, other) != (parent, name)
                    && since.elapsed() < limits::CACHE_AGE_MAX =>
            {
                Some((*directory, other.clone()))
            }
            _ => None,
        };
        let before = tables.inodes.get(&here).copied();
        tables.inodes.put(here, attr.ino);
        if other.is_some() && before.is_some_and(|before| before != attr.ino) {
            // It only asks whether the name is still what it was, and then asks again.
            return None;
        }
        tables.names.put(attr.ino, (parent, name.clone(), Instant::now()));
        other
    }
}

#[cfg(test)]
mod tests {
    use super::Told;
    use crate::types::{Attr, Ino, Name};

    const DIRECTORY: Ino = Ino::ROOT;

    fn name(text: &'static str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn a_file_that_moved_is_told_of_at_the_second_asking() {
        let (told, a, b) = (Told::new(), name("a"), name("b"));
        let file = Attr::of_empty_file(Ino(7));
        assert_eq!(told.other_name(DIRECTORY, &a, &file), None);
        assert_eq!(told.other_name(DIRECTORY, &a, &file), None);
        assert_eq!(told.other_name(DIRECTORY, &b, &file), Some((DIRECTORY, a.clone())));
        assert_eq!(told.other_name(DIRECTORY, &b, &file), None);
        let linked = Attr { nlink: 2, ..file };
        assert_eq!(told.other_name(DIRECTORY, &a, &linked), None, "it may have both names");
    }

    #[test]
    fn who_knows_the_name_for_another_file_asks_twice_anyway() {
        let (told, a, b) = (Told::new(), name("a"), name("b"));
        told.note(DIRECTORY, &a, Ino(7));
        told.note(DIRECTORY, &b, Ino(8));
        let file = Attr::of_empty_file(Ino(7));
        assert_eq!(told.other_name(DIRECTORY, &b, &file), None);
        assert_eq!(told.other_name(DIRECTORY, &b, &file), Some((DIRECTORY, a)));
        assert_eq!(told.other_name(DIRECTORY, &b, &file), None);
    }

    #[test]
    fn what_this_mount_moves_is_told_of_at_once() {
        let (told, a, b) = (Told::new(), name("a"), name("b"));
        let file = Attr::of_empty_file(Ino(7));
        assert_eq!(told.other_name(DIRECTORY, &a, &file), None);
        told.note_moved((DIRECTORY, &a), (DIRECTORY, &b));
        assert_eq!(told.other_name(DIRECTORY, &b, &file), None);
    }
}
