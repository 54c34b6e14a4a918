//! Attributes, plain and extended.

use bytes::Bytes;

use crate::client::calls::Calls;
use crate::client::classic::ht_proxy::Record;
use crate::client::classic::memory::{Shared, not_found};
use crate::client::classic::stat::{self, PERMISSIONS};
use crate::client::vfs::Handle;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::pickle::{Attributes, Style};
use crate::types::{Attr, FileKind, Ino, SetAttr, SetTime, XattrMode};

impl<C: Calls> Shared<C> {
    /// The attributes of an inode as this mount sees them.
    pub(super) async fn attributes(&self, ino: Ino) -> Result<Attributes> {
        let file = self.open.find(ino);
        if let Some(own) = file.as_ref().and_then(|file| file.own_attributes()) {
            return Ok(own);
        }
        let path = self.inodes.path(ino)?;
        let record = self.record(&path).await?.ok_or_else(|| not_found(&path))?;
        if self.inodes.kind(ino) != Some(stat::kind(&record.attributes)?) {
            let message = format!("{path} has become another kind of file");
            return Err(FsError::new(ErrorKind::Stale, message));
        }
        // Whoever sees that a file has grown must be able to read what is new.
        if let Some(file) = file {
            file.refresh(&record.attributes);
        }
        Ok(record.attributes.clone())
    }

    pub(super) async fn getattr(&self, ino: Ino) -> Result<Attr> {
        self.to_attr(ino, &self.attributes(ino).await?)
    }

    pub(super) async fn setattr(
        &self,
        ino: Ino,
        handle: Option<Handle>,
        changes: SetAttr,
    ) -> Result<Attr> {
        if let Some(size) = changes.size {
            self.set_size(ino, handle, size).await?;
        }
        let others = SetAttr { size: None, by_handle: false, ..changes };
        if others != SetAttr::default() {
            self.change(ino, |attributes| {
                apply(attributes, &others);
                Ok(())
            })
            .await?;
        }
        self.getattr(ino).await
    }

    /// Changes attributes other than the size, here and at the master.
    async fn change(
        &self,
        ino: Ino,
        change: impl Fn(&mut Attributes) -> Result<()> + Send + Sync,
    ) -> Result<()> {
        let _tree = self.tree.read().await;
        let file = self.open.find(ino);
        let (path, _guard) = match (self.lock_path(ino).await, &file) {
            (Ok(locked), _) => locked,
            // An open file without a name has attributes only here.
            (Err(error), Some(file)) if error.kind() == ErrorKind::Stale => {
                return file.change(change);
            }
            (Err(error), _) => return Err(error),
        };
        if let Some(file) = file.as_ref().filter(|file| file.is_new()) {
            return file.change(change);
        }
        let record = self.fetch(&path).await?.ok_or_else(|| not_found(&path))?;
        let mut record = Record::clone(&record);
        change(&mut record.attributes)?;
        self.proxy.put_attributes(&path, &record).await?;
        self.remember(&path, Some(record));
        if let Some(file) = file {
            // The master's word counts, even if the attributes here have been others.
            file.change(change).ok();
        }
        Ok(())
    }

    pub(super) async fn setxattr(
        &self,
        ino: Ino,
        name: Bytes,
        value: Bytes,
        mode: XattrMode,
    ) -> Result<()> {
        check_name(&name)?;
        if value.len() > limits::XATTR_VALUE_SIZE_MAX {
            return Err(FsError::new(ErrorKind::TooBig, "the value is too long"));
        }
        self.change(ino, |attributes| {
            match (mode, attributes.xattr(&name)) {
                (XattrMode::Create, Some(_)) => return Err(exists(&name)),
                (XattrMode::Replace, None) => return Err(no_attribute(&name)),
                _ => attributes.set_xattr(&name, value.clone()),
            }
            attributes.ctime_s = stat::now_s();
            if attributes.write(Style::Ascii).len() > limits::PICKLED_ATTRIBUTES_MAX {
                return Err(FsError::new(ErrorKind::NoSpace, "the file has too many attributes"));
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn getxattr(&self, ino: Ino, name: &[u8]) -> Result<Bytes> {
        check_name(name)?;
        self.attributes(ino).await?.xattr(name).ok_or_else(|| no_attribute(name))
    }

    pub(super) async fn listxattr(&self, ino: Ino) -> Result<Vec<Bytes>> {
        Ok(self.attributes(ino).await?.xattr_names().collect())
    }

    pub(super) async fn removexattr(&self, ino: Ino, name: &[u8]) -> Result<()> {
        check_name(name)?;
        self.change(ino, |attributes| {
            if !attributes.remove_xattr(name) {
                return Err(no_attribute(name));
            }
            attributes.ctime_s = stat::now_s();
            Ok(())
        })
        .await
    }
}

fn apply(attributes: &mut Attributes, changes: &SetAttr) {
    let now = stat::now_s();
    let time = |set: SetTime, old: f64| match set {
        SetTime::Keep => old,
        SetTime::Now => now,
        SetTime::At(time) => stat::to_seconds(time),
    };
    if let Some(mode) = changes.mode {
        let kind = FileKind::from_mode(attributes.mode).unwrap_or(FileKind::Regular);
        attributes.mode = kind.mode_bits() | mode & PERMISSIONS;
    }
    attributes.uid = changes.uid.or(attributes.uid);
    attributes.gid = changes.gid.or(attributes.gid);
    attributes.atime_s = time(changes.atime, attributes.atime_s);
    attributes.mtime_s = time(changes.mtime, attributes.mtime_s);
    attributes.ctime_s = now;
}

/// Attributes that the kernel or others give a meaning which nobody would keep here are refused.
fn check_name(name: &[u8]) -> Result<()> {
    if name.len() > limits::XATTR_NAME_SIZE_MAX {
        return Err(FsError::new(ErrorKind::BufferTooSmall, "the name is too long"));
    }
    if name.starts_with(b"system.") {
        let message = format!("{} cannot be kept here", name.escape_ascii());
        return Err(FsError::new(ErrorKind::Unsupported, message));
    }
    Ok(())
}

fn exists(name: &[u8]) -> FsError {
    FsError::new(ErrorKind::Exists, format!("{} is there already", name.escape_ascii()))
}

fn no_attribute(name: &[u8]) -> FsError {
    FsError::new(ErrorKind::NoAttribute, format!("there is no {}", name.escape_ascii()))
}
