//! Inode numbers for paths: the kernel asks by number, the servers are asked by path.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::client::classic::key_path::KeyPath;
use crate::error::{ErrorKind, FsError, Result};
use crate::types::{FileKind, Ino};

/// The inodes that the kernel holds. It drops those it does not need: so the table is as large as
/// the kernel's own.
#[derive(Debug)]
pub struct Inodes {
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    by_ino: HashMap<Ino, Inode>,
    by_path: BTreeMap<KeyPath, Ino>,
    last: Ino,
}

#[derive(Debug)]
struct Inode {
    /// None when the name is gone, or stands for something else now.
    path: Option<KeyPath>,
    kind: FileKind,
    /// Replies that brought the inode to the kernel and that it has not forgotten.
    lookups: u64,
}

impl Inodes {
    /// The table with the root in it, which is never forgotten.
    #[must_use]
    pub fn new(root: KeyPath) -> Self {
        let inode = Inode { path: Some(root.clone()), kind: FileKind::Directory, lookups: 1 };
        let table = Table {
            by_ino: HashMap::from([(Ino::ROOT, inode)]),
            by_path: BTreeMap::from([(root, Ino::ROOT)]),
            last: Ino::ROOT,
        };
        Self { table: Mutex::new(table) }
    }

    /// The path of an inode.
    ///
    /// # Errors
    /// `Stale` if it has none any more.
    pub fn path(&self, ino: Ino) -> Result<KeyPath> {
        let path = self.table().by_ino.get(&ino).and_then(|inode| inode.path.clone());
        path.ok_or_else(|| FsError::new(ErrorKind::Stale, "the file has been removed"))
    }

    /// The kind of an inode that the kernel holds.
    #[must_use]
    pub fn kind(&self, ino: Ino) -> Option<FileKind> {
        self.table().by_ino.get(&ino).map(|inode| inode.kind)
    }

    /// The inode of a path, if the kernel holds it.
    #[must_use]
    pub fn find(&self, path: &KeyPath) -> Option<Ino> {
        self.table().by_path.get(path).copied()
    }

    /// The inode that goes to the kernel for what is under a path, counted as held once more.
    /// Another kind of file than before is another file.
    pub fn hold(&self, path: &KeyPath, kind: FileKind) -> Ino {
        let mut table = self.table();
        if let Some(ino) = table.by_path.get(path).copied()
            && let Some(inode) = table.by_ino.get_mut(&ino)
        {
            if inode.kind == kind {
                inode.lookups += 1;
                return ino;
            }
            inode.path = None;
        }
        let ino = Ino(table.last.0 + 1);
        table.last = ino;
        table.by_path.insert(path.clone(), ino);
        table.by_ino.insert(ino, Inode { path: Some(path.clone()), kind, lookups: 1 });
        ino
    }

    /// The kernel no longer holds an inode, `count` times. Says whether it is gone.
    pub fn forget(&self, ino: Ino, count: u64) -> bool {
        let mut table = self.table();
        if ino == Ino::ROOT {
            return false;
        }
        let Some(inode) = table.by_ino.get_mut(&ino) else { return true };
        inode.lookups = inode.lookups.saturating_sub(count);
        if inode.lookups > 0 {
            return false;
        }
        let path = table.by_ino.remove(&ino).and_then(|inode| inode.path);
        if let Some(path) = path {
            table.by_path.remove(&path);
        }
        true
    }

    /// The file under a path is gone: its inode loses the path. Gives the inode.
    pub fn detach(&self, path: &KeyPath) -> Option<Ino> {
        let mut table = self.table();
        let ino = table.by_path.remove(path)?;
        if let Some(inode) = table.by_ino.get_mut(&ino) {
            inode.path = None;
        }
        Some(ino)
    }

    /// What was under `from` is under `to` now, with everything below it. What was there has lost
    /// its path.
    ///
    /// # Errors
    /// `NameTooLong` if a path gets too long; then nothing has changed.
    pub fn rename(&self, from: &KeyPath, to: &KeyPath) -> Result<()> {
        let mut table = self.table();
        let tree = table
            .by_path
            .range(from.clone()..)
            .take_while(|(path, _)| path.as_bytes().starts_with(from.as_bytes()));
        let tree = tree.filter(|(path, _)| *path == from || path.is_below(from));
        let moves = tree.map(|(path, ino)| Ok((path.clone(), path.moved(from, to)?, *ino)));
        let moves: Vec<_> = moves.collect::<Result<_>>()?;
        if let Some(replaced) = table.by_path.remove(to)
            && let Some(inode) = table.by_ino.get_mut(&replaced)
        {
            inode.path = None;
        }
        for (old, new, ino) in moves {
            table.by_path.remove(&old);
            table.by_path.insert(new.clone(), ino);
            if let Some(inode) = table.by_ino.get_mut(&ino) {
                inode.path = Some(new);
            }
        }
        Ok(())
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Inodes;
    use crate::client::classic::key_path::KeyPath;
    use crate::error::ErrorKind;
    use crate::types::{FileKind, Ino, Name};

    fn path(text: &'static str) -> KeyPath {
        let root = KeyPath::root().unwrap();
        text.split('/')
            .filter(|name| !name.is_empty())
            .fold(root, |dir, name| dir.child(&Name::new(name).unwrap()).unwrap())
    }

    #[test]
    fn inodes_live_as_long_as_the_kernel_holds_them() {
        let inodes = Inodes::new(path("/"));
        let ino = inodes.hold(&path("/a"), FileKind::Regular);
        assert_eq!(inodes.hold(&path("/a"), FileKind::Regular), ino);
        assert!(!inodes.forget(ino, 1));
        assert_eq!(inodes.path(ino).unwrap(), path("/a"));
        assert!(inodes.forget(ino, 1));
        assert_eq!(inodes.path(ino).unwrap_err().kind(), ErrorKind::Stale);
        assert_ne!(inodes.hold(&path("/a"), FileKind::Regular), ino, "numbers are used once");
        assert!(!inodes.forget(Ino::ROOT, 5));
    }

    #[test]
    fn renames_move_everything_below_and_nothing_beside() {
        let inodes = Inodes::new(path("/"));
        let held = |text| inodes.hold(&path(text), FileKind::Directory);
        let (dir, below, beside, target) = (held("/d"), held("/d/x/y"), held("/d-e"), held("/t"));
        inodes.rename(&path("/d"), &path("/t")).unwrap();
        assert_eq!(inodes.path(dir).unwrap(), path("/t"));
        assert_eq!(inodes.path(below).unwrap(), path("/t/x/y"));
        assert_eq!(inodes.path(beside).unwrap(), path("/d-e"));
        assert!(inodes.path(target).is_err());
        assert_eq!(inodes.find(&path("/d")), None);
        // The replaced inode is forgotten later, and must not take the new one's path along.
        assert!(inodes.forget(target, 1));
        assert_eq!(inodes.find(&path("/t")), Some(dir));
    }

    #[test]
    fn another_kind_of_file_is_another_inode() {
        let inodes = Inodes::new(path("/"));
        let file = inodes.hold(&path("/a"), FileKind::Regular);
        let dir = inodes.hold(&path("/a"), FileKind::Directory);
        assert_ne!(file, dir);
        assert!(inodes.path(file).is_err());
        assert_eq!(inodes.detach(&path("/a")), Some(dir));
        assert!(inodes.path(dir).is_err());
    }
}
