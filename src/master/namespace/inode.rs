//! Inodes: finding, making, storing, and what is shown of them.

use std::collections::HashSet;

use crate::error::{ErrorKind, FsError, Result};
use crate::types::{Attr, Change, Cookie, Credentials, FileKind, FileTime, Ino, ServerId};

use super::records::{
    Body, Contents, Directory, INODES, Inode, encode, ino_key, load, save_superblock,
};
use super::{Namespace, View};

impl View<'_> {
    /// What `stat` tells of an inode. Needs no permission.
    ///
    /// # Errors
    /// `Stale` if there is no such inode.
    pub fn getattr(&self, ino: Ino) -> Result<Attr> {
        Ok(self.inode(ino)?.attr(ino))
    }

    /// Where a symbolic link points. Needs no permission.
    ///
    /// # Errors
    /// `Stale`; `InvalidArgument` if it is not a symbolic link.
    pub fn readlink(&self, ino: Ino) -> Result<bytes::Bytes> {
        match self.inode(ino)?.body {
            Body::Symlink { target } => Ok(target),
            _ => Err(FsError::new(ErrorKind::InvalidArgument, "it is not a symbolic link")),
        }
    }

    /// What `..` stands for in a directory; in the root it is the root itself.
    ///
    /// # Errors
    /// `Stale`; `NotDirectory`.
    pub fn parent(&self, directory: Ino) -> Result<Ino> {
        Ok(self.inode(directory)?.directory()?.parent)
    }

    pub(super) fn inode(&self, ino: Ino) -> Result<Inode> {
        self.find_inode(ino)?.ok_or_else(stale)
    }

    /// Those of some inodes that are not there.
    ///
    /// # Errors
    /// What the store says.
    pub fn missing(&self, inodes: Vec<Ino>) -> Result<HashSet<Ino>> {
        let mut missing = HashSet::new();
        for ino in inodes {
            if self.txn.get(INODES, &ino_key(ino))?.is_none() {
                missing.insert(ino);
            }
        }
        Ok(missing)
    }

    pub(super) fn find_inode(&self, ino: Ino) -> Result<Option<Inode>> {
        load(self.txn, INODES, &ino_key(ino))
    }
}

impl Namespace<'_> {
    pub(super) fn inode(&self, ino: Ino) -> Result<Inode> {
        self.view().inode(ino)
    }

    /// Takes the next inode number for a new inode that is about to be stored.
    pub(super) fn new_ino(&mut self, inode: &mut Inode) -> Result<Ino> {
        let ino = self.next_ino()?;
        self.count_inode(inode)?;
        Ok(ino)
    }

    /// Counts a new inode that is about to be stored.
    pub(super) fn count_inode(&mut self, inode: &mut Inode) -> Result<()> {
        let mut superblock = self.view().superblock()?;
        superblock.inodes += 1;
        inode.generation = superblock.generation;
        save_superblock(self.txn, &superblock);
        Ok(())
    }

    pub(super) fn save_inode(&mut self, ino: Ino, inode: &Inode) {
        self.txn.put(INODES, &ino_key(ino), &encode(inode));
    }

    /// Stores an inode whose attributes changed now.
    pub(super) fn save_changed(&mut self, ino: Ino, inode: &mut Inode) {
        inode.ctime = self.now;
        self.save_inode(ino, inode);
        self.changed(Change::Attributes(ino));
    }

    /// Counts bytes of contents that came or went, all of them on the same servers.
    pub(super) fn count_bytes(
        &mut self,
        before: u64,
        after: u64,
        replicas: &[ServerId],
    ) -> Result<()> {
        if before != after {
            for server in replicas {
                let grown = self.effects.grown.entry(server.clone()).or_default();
                *grown = grown.saturating_add_unsigned(after).saturating_sub_unsigned(before);
            }
            let mut superblock = self.view().superblock()?;
            superblock.bytes = superblock.bytes.saturating_sub(before).saturating_add(after);
            save_superblock(self.txn, &superblock);
        }
        Ok(())
    }
}

impl Inode {
    /// A new inode that belongs to `owner`, with no name except for a directory, which names
    /// itself.
    pub(super) fn new(owner: &Credentials, mode: u32, now: FileTime, body: Body) -> Self {
        Self {
            generation: 0,
            mode,
            uid: owner.uid,
            gid: owner.gid,
            nlink: if matches!(body, Body::Directory(_)) { 2 } else { 1 },
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            has_acl: false,
            has_default_acl: false,
            xattr_list_size: 0,
            xattr_total_size: 0,
            body,
        }
    }

    pub(super) fn kind(&self) -> FileKind {
        match self.body {
            Body::Regular(_) => FileKind::Regular,
            Body::Directory(_) => FileKind::Directory,
            Body::Symlink { .. } => FileKind::Symlink,
            Body::CharDevice { .. } => FileKind::CharDevice,
            Body::BlockDevice { .. } => FileKind::BlockDevice,
            Body::Fifo => FileKind::Fifo,
            Body::Socket => FileKind::Socket,
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.body, Body::Directory(_))
    }

    pub(super) fn is_orphan(&self) -> bool {
        self.nlink == 0
    }

    pub(super) fn directory(&self) -> Result<&Directory> {
        match &self.body {
            Body::Directory(directory) => Ok(directory),
            _ => Err(not_directory()),
        }
    }

    pub(super) fn directory_mut(&mut self) -> Result<&mut Directory> {
        match &mut self.body {
            Body::Directory(directory) => Ok(directory),
            _ => Err(not_directory()),
        }
    }

    /// The contents of a regular file.
    pub(super) fn contents(&self) -> Result<&Contents> {
        match &self.body {
            Body::Regular(contents) => Ok(contents),
            other => Err(not_regular(other)),
        }
    }

    pub(super) fn contents_mut(&mut self) -> Result<&mut Contents> {
        match &mut self.body {
            Body::Regular(contents) => Ok(contents),
            other => Err(not_regular(other)),
        }
    }

    pub(super) fn attr(&self, ino: Ino) -> Attr {
        let (size, bytes, data_version) = match &self.body {
            Body::Regular(contents) => (contents.size, contents.bytes, contents.data_version),
            Body::Directory(directory) => (directory.entries, 0, 0),
            Body::Symlink { target } => (target.len() as u64, 0, 0),
            _ => (0, 0, 0),
        };
        let rdev = match self.body {
            Body::CharDevice { rdev } | Body::BlockDevice { rdev } => rdev,
            _ => 0,
        };
        Attr {
            ino,
            generation: self.generation,
            kind: self.kind(),
            mode: self.mode,
            nlink: self.nlink,
            uid: self.uid,
            gid: self.gid,
            rdev,
            size,
            bytes,
            atime: self.atime,
            mtime: self.mtime,
            ctime: self.ctime,
            btime: self.btime,
            data_version,
            has_xattrs: self.xattr_list_size > 0,
        }
    }
}

impl Directory {
    /// An empty one.
    pub(super) fn new(parent: Ino) -> Self {
        Self { parent, entries: 0, next_cookie: Cookie::FIRST }
    }

    /// A cookie for a new name.
    pub(super) fn take_cookie(&mut self) -> Cookie {
        let cookie = self.next_cookie;
        self.next_cookie = Cookie(cookie.0 + 1);
        cookie
    }
}

impl From<Directory> for Body {
    fn from(directory: Directory) -> Self {
        Self::Directory(directory)
    }
}

fn stale() -> FsError {
    FsError::new(ErrorKind::Stale, "the inode is gone")
}

pub(super) fn not_directory() -> FsError {
    FsError::new(ErrorKind::NotDirectory, "it is not a directory")
}

fn not_regular(body: &Body) -> FsError {
    match body {
        Body::Directory(_) => FsError::new(ErrorKind::IsDirectory, "it is a directory"),
        _ => FsError::new(ErrorKind::InvalidArgument, "it is not a regular file"),
    }
}
