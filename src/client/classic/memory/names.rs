//! Names: finding, making and removing what they stand for.

use std::sync::Arc;

use bytes::Bytes;

use crate::client::calls::Calls;
use crate::client::classic::ht_proxy::Record;
use crate::client::classic::key_path::KeyPath;
use crate::client::classic::memory::{Shared, not_found};
use crate::client::classic::names::Names;
use crate::client::classic::open_file::OpenFile;
use crate::client::classic::stat;
use crate::client::vfs::{Handle, OpenFlags};
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::types::{Attr, Credentials, FileKind, Ino, Name, StoredValue};

/// What is to be made: its kind, its permissions, and whose it is.
pub(super) struct Making {
    pub(super) kind: FileKind,
    pub(super) mode: u32,
    pub(super) who: Credentials,
}

impl<C: Calls> Shared<C> {
    pub(super) async fn lookup(&self, parent: Ino, name: &Name) -> Result<Attr> {
        let path = self.inodes.path(parent)?.child(name)?;
        if let Some(own) = self.open_at(&path).and_then(|file| file.own_attributes()) {
            let ino = self.inodes.hold(&path, stat::kind(&own)?);
            return self.to_attr(ino, &own);
        }
        let record = self.record(&path).await?.ok_or_else(|| not_found(&path))?;
        let ino = self.inodes.hold(&path, stat::kind(&record.attributes)?);
        self.to_attr(ino, &record.attributes)
    }

    /// Makes a regular file, for now only here, and opens it.
    pub(super) async fn create(
        &self,
        parent: Ino,
        name: &Name,
        permissions: u32,
        flags: OpenFlags,
        who: &Credentials,
    ) -> Result<(Attr, Handle)> {
        let dir = self.inodes.path(parent)?;
        let path = dir.child(name)?;
        let directory = self.directory(&dir).await?;
        if self.is_taken(&path).await? {
            if flags.is_exclusive() {
                return Err(exists(&path));
            }
            let attr = self.lookup(parent, name).await?;
            let handle = self.open(attr.ino, flags).await?;
            return Ok((self.getattr(attr.ino).await?, handle));
        }
        let attributes =
            stat::new_attributes(FileKind::Regular, permissions, who, &directory.attributes);
        self.lose(&path);
        let ino = self.inodes.hold(&path, FileKind::Regular);
        let (handle, _file) = self.open.make(ino, attributes.clone());
        Ok((self.to_attr(ino, &attributes)?, handle))
    }

    pub(super) async fn mknod(&self, parent: Ino, name: &Name, making: Making) -> Result<Attr> {
        match making.kind {
            FileKind::Regular | FileKind::Fifo | FileKind::Socket => {
                self.make(parent, name, making, Contents::Bytes(Bytes::new())).await
            }
            _ => Err(FsError::new(ErrorKind::NotPermitted, "devices cannot be kept here")),
        }
    }

    pub(super) async fn mkdir(&self, parent: Ino, name: &Name, making: Making) -> Result<Attr> {
        self.make(parent, name, making, Contents::Names).await
    }

    pub(super) async fn symlink(
        &self,
        parent: Ino,
        name: &Name,
        target: Bytes,
        who: Credentials,
    ) -> Result<Attr> {
        if target.len() > limits::SYMLINK_SIZE_MAX {
            return Err(FsError::new(ErrorKind::NameTooLong, "the link's target is too long"));
        }
        let making = Making { kind: FileKind::Symlink, mode: 0o777, who };
        self.make(parent, name, making, Contents::Bytes(target)).await
    }

    pub(super) async fn readlink(&self, ino: Ino) -> Result<Bytes> {
        let path = self.inodes.path(ino)?;
        let (_, target, _) = self.read_contents(&path).await?;
        Ok(target)
    }

    /// Stores something new, and then its name.
    async fn make(
        &self,
        parent: Ino,
        name: &Name,
        making: Making,
        contents: Contents,
    ) -> Result<Attr> {
        let _tree = self.tree.read().await;
        let dir = self.inodes.path(parent)?;
        let path = dir.child(name)?;
        let _guard = self.paths.lock(&path).await;
        let directory = self.directory(&dir).await?;
        if self.is_taken(&path).await? {
            return Err(exists(&path));
        }
        let Making { kind, mode, who } = making;
        let mut attributes = stat::new_attributes(kind, mode, &who, &directory.attributes);
        let value = match contents {
            Contents::Names => Names::new(&path).write(self.form)?,
            Contents::Bytes(bytes) => {
                attributes.size = bytes.len() as u64;
                self.form.write(bytes)
            }
        };
        self.store_new(&path, value, attributes.clone()).await?;
        let links = i32::from(kind == FileKind::Directory);
        self.edit_directory(&dir, links, |names| names.insert(&path)).await?;
        self.lose(&path);
        let ino = self.inodes.hold(&path, kind);
        self.to_attr(ino, &attributes)
    }

    async fn store_new(
        &self,
        path: &KeyPath,
        value: StoredValue,
        attributes: crate::pickle::Attributes,
    ) -> Result<()> {
        let (record, _) = self.proxy.put(path, value, |_| attributes).await?;
        self.remember(path, Some(record));
        Ok(())
    }

    /// Whether there is something under a path, here or at the master.
    pub(super) async fn is_taken(&self, path: &KeyPath) -> Result<bool> {
        let is_new_here = self.open_at(path).is_some_and(|file| file.is_new());
        Ok(is_new_here || self.fetch(path).await?.is_some())
    }

    pub(super) async fn unlink(&self, parent: Ino, name: &Name) -> Result<()> {
        let _tree = self.tree.read().await;
        let dir = self.inodes.path(parent)?;
        let path = dir.child(name)?;
        let _guard = self.paths.lock(&path).await;
        let file = self.open_at(&path);
        let record = self.fetch(&path).await?;
        let is_new_here = file.as_ref().is_some_and(|file| file.is_new());
        match record.as_ref().map(|record| stat::kind(&record.attributes)).transpose()? {
            Some(FileKind::Directory) => return Err(is_directory(&path)),
            None if !is_new_here => return Err(not_found(&path)),
            _ => {}
        }
        self.keep_open(&path, file).await;
        if let Some(record) = record {
            self.edit_directory(&dir, 0, |names| names.remove(&path)).await?;
            self.proxy.delete(&path, &record).await?;
        }
        self.remember(&path, None);
        self.lose(&path);
        Ok(())
    }

    pub(super) async fn rmdir(&self, parent: Ino, name: &Name) -> Result<()> {
        let _tree = self.tree.read().await;
        let dir = self.inodes.path(parent)?;
        let path = dir.child(name)?;
        let _guard = self.paths.lock(&path).await;
        let record = self.fetch(&path).await?.ok_or_else(|| not_found(&path))?;
        self.check_empty(&path, &record).await?;
        self.edit_directory(&dir, -1, |names| names.remove(&path)).await?;
        self.proxy.delete(&path, &record).await?;
        self.remember(&path, None);
        self.lose(&path);
        Ok(())
    }

    /// Whether something is a directory without files; names without a file do not count.
    pub(super) async fn check_empty(&self, path: &KeyPath, record: &Record) -> Result<()> {
        if stat::kind(&record.attributes)? != FileKind::Directory {
            let message = format!("{path} is no directory");
            return Err(FsError::new(ErrorKind::NotDirectory, message));
        }
        for name in self.names(path, record).await? {
            if self.is_taken(&path.child(&name)?).await? {
                let message = format!("{path} is not empty");
                return Err(FsError::new(ErrorKind::NotEmpty, message));
            }
        }
        Ok(())
    }

    /// The contents of a file that is open and about to lose its name are brought here, so that
    /// whoever has it open still finds them.
    pub(super) async fn keep_open(&self, path: &KeyPath, file: Option<Arc<OpenFile>>) {
        if let Some(file) = file
            && let Err(error) = self.load_locked(path, &file).await
        {
            tracing::warn!("{path} is open, and its contents go away: {error}");
        }
    }

    /// What was under a path is no longer there.
    pub(super) fn lose(&self, path: &KeyPath) {
        let ino = self.inodes.detach(path);
        if let Some(file) = ino.and_then(|ino| self.open.find(ino)) {
            file.unlink();
        }
    }
}

/// What something new contains.
enum Contents {
    Bytes(Bytes),
    Names,
}

pub(super) fn exists(path: &KeyPath) -> FsError {
    FsError::new(ErrorKind::Exists, format!("{path} is there already"))
}

pub(super) fn is_directory(path: &KeyPath) -> FsError {
    FsError::new(ErrorKind::IsDirectory, format!("{path} is a directory"))
}
