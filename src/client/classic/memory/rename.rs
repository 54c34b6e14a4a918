//! Moving names. Contents are stored under their path: so they are stored anew under the new one,
//! then named there, and only then removed under the old one.

use std::sync::Arc;

use crate::client::calls::Calls;
use crate::client::classic::ht_proxy::Record;
use crate::client::classic::key_path::KeyPath;
use crate::client::classic::memory::names::{exists, is_directory};
use crate::client::classic::memory::{Shared, not_found};
use crate::client::classic::names::Names;
use crate::client::classic::stat;
use crate::error::{ErrorKind, FsError, Result};
use crate::pickle::Attributes;
use crate::types::{FileKind, Ino, Name, RenameMode, StoredValue};

impl<C: Calls> Shared<C> {
    pub(super) async fn rename(
        &self,
        (parent, name): (Ino, Name),
        (new_parent, new_name): (Ino, Name),
        mode: RenameMode,
    ) -> Result<()> {
        if mode == RenameMode::Exchange {
            let message = "two files cannot change places in one step";
            return Err(FsError::new(ErrorKind::InvalidArgument, message));
        }
        let from = self.inodes.path(parent)?.child(&name)?;
        let to = self.inodes.path(new_parent)?.child(&new_name)?;
        if from == to {
            return Ok(());
        }
        let kind = match self.open_at(&from).filter(|file| file.is_new()) {
            Some(_) => FileKind::Regular,
            None => {
                let record = self.fetch(&from).await?.ok_or_else(|| not_found(&from))?;
                stat::kind(&record.attributes)?
            }
        };
        if kind == FileKind::Directory {
            self.rename_directory(&from, &to, mode).await
        } else {
            self.rename_file(&from, &to, mode).await
        }
    }

    async fn rename_file(&self, from: &KeyPath, to: &KeyPath, mode: RenameMode) -> Result<()> {
        let _tree = self.tree.read().await;
        let _guards = self.paths.lock_both(from, to).await;
        if let Some(file) = self.open_at(from) {
            self.store_locked(from, &file).await?;
        }
        let record = self.fetch(from).await?.ok_or_else(|| not_found(from))?;
        if let Some(target) = self.fetch(to).await? {
            if mode == RenameMode::NoReplace {
                return Err(exists(to));
            }
            if stat::kind(&target.attributes)? == FileKind::Directory {
                return Err(is_directory(to));
            }
        }
        self.keep_open(to, self.open_at(to)).await;
        let contents = self.proxy.get_contents(from, &record).await?;
        let contents = contents.ok_or_else(|| no_contents(from))?;
        self.copy(to, &record, contents).await?;
        self.name_and_remove(from, to, std::slice::from_ref(from), Links { from: 0, to: 0 }).await
    }

    async fn rename_directory(&self, from: &KeyPath, to: &KeyPath, mode: RenameMode) -> Result<()> {
        if to.is_below(from) {
            let message = format!("{from} cannot move into itself");
            return Err(FsError::new(ErrorKind::InvalidArgument, message));
        }
        let _tree = self.tree.write().await;
        let target = self.fetch(to).await?;
        if let Some(target) = &target {
            if mode == RenameMode::NoReplace {
                return Err(exists(to));
            }
            self.check_empty(to, target).await?;
        }
        for file in self.open.all() {
            let path = self.inodes.path(file.ino).ok().filter(|path| path.is_below(from));
            if let Some(path) = path {
                self.store_locked(&path, &file).await?;
            }
        }
        let tree = self.copy_tree(from, to).await?;
        let links = Links { from: -1, to: i32::from(target.is_none()) };
        self.name_and_remove(from, to, &tree, links).await
    }

    /// Stores everything below a directory, and the directory, under its new path. Gives the old
    /// paths, those further down first.
    async fn copy_tree(&self, from: &KeyPath, to: &KeyPath) -> Result<Vec<KeyPath>> {
        let mut found = vec![from.clone()];
        let mut next = 0;
        while let Some(path) = found.get(next).cloned() {
            next += 1;
            // A name without a file behind it stays behind.
            let Some(record) = self.fetch(&path).await? else { continue };
            let new = path.moved(from, to)?;
            let contents = self.proxy.get_contents(&path, &record).await?;
            if stat::kind(&record.attributes)? != FileKind::Directory {
                let contents = contents.ok_or_else(|| no_contents(&path))?;
                self.copy(&new, &record, contents).await?;
                continue;
            }
            let names = match &contents {
                Some(list) => Names::read(list).map_err(|error| error.context(&path))?,
                None => Names::new(&path),
            };
            for name in names.children(&path) {
                found.push(path.child(&name)?);
            }
            let list = names.moved(&path, &new)?.write(self.form)?;
            self.copy(&new, &record, list).await?;
        }
        found.reverse();
        Ok(found)
    }

    /// Stores contents under a new path, with the attributes that they have.
    async fn copy(&self, to: &KeyPath, record: &Arc<Record>, contents: StoredValue) -> Result<()> {
        let attributes = Attributes { ctime_s: stat::now_s(), ..record.attributes.clone() };
        let (record, _) = self.proxy.put(to, contents, |_| attributes).await?;
        self.remember(to, Some(record));
        Ok(())
    }

    /// Names what has been stored under its new path, and removes it under its old one.
    async fn name_and_remove(
        &self,
        from: &KeyPath,
        to: &KeyPath,
        old: &[KeyPath],
        links: Links,
    ) -> Result<()> {
        let (Some(parent), Some(new_parent)) = (from.parent(), to.parent()) else {
            return Err(FsError::new(ErrorKind::Busy, "the root directory does not move"));
        };
        if parent == new_parent {
            let links = links.from + links.to;
            let rename = |names: &mut Names| names.insert(to) | names.remove(from);
            self.edit_directory(&parent, links, rename).await?;
        } else {
            self.edit_directory(&new_parent, links.to, |names| names.insert(to)).await?;
            self.edit_directory(&parent, links.from, |names| names.remove(from)).await?;
        }
        self.lose(to);
        self.inodes.rename(from, to)?;
        for path in old {
            if let Some(record) = self.fetch(path).await? {
                self.proxy.delete(path, &record).await?;
            }
            self.remember(path, None);
        }
        Ok(())
    }
}

/// By how much the links of two directories grow, which count their subdirectories.
#[derive(Clone, Copy)]
struct Links {
    from: i32,
    to: i32,
}

fn no_contents(path: &KeyPath) -> FsError {
    FsError::new(ErrorKind::Io, format!("the chunk server does not have the contents of {path}"))
}
