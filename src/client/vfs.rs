//! What a mounted file system can do, in the words of the kernel but without FUSE's types.
//!
//! `fuse` stands above it and converts arguments and replies; below it stands one file system.

use std::future::Future;

use bytes::Bytes;

use crate::error::Result;
use crate::types::{
    Attr, Cookie, Credentials, DirPage, FileKind, Ino, Name, RenameMode, SetAttr, XattrMode,
};

/// An open file or directory. The number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(pub u64);

/// How a file is opened, besides what the kernel checks by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenMode {
    /// The name must be new (`O_EXCL`); only `create` asks for it.
    pub is_exclusive: bool,
    /// The contents go (`O_TRUNC`).
    pub truncates: bool,
}

/// What `statfs` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatFs {
    /// Size of a block, in bytes.
    pub block_size: u32,
    /// Blocks there are.
    pub blocks: u64,
    /// Blocks that are free.
    pub free_blocks: u64,
    /// Inodes there may be.
    pub files: u64,
    /// Longest name, in bytes.
    pub name_size_max: u32,
}

/// A file system. Every call may come from any thread, at any time.
pub trait Vfs: Send + Sync + 'static {
    /// Finds a name. The kernel holds the inode until it [forgets](Self::forget) it, once for
    /// each reply that brought it.
    fn lookup(&self, parent: Ino, name: Name) -> impl Future<Output = Result<Attr>> + Send;

    /// The kernel drops `count` of the times it holds an inode.
    fn forget(&self, ino: Ino, count: u64);

    /// Attributes of an inode.
    fn getattr(&self, ino: Ino) -> impl Future<Output = Result<Attr>> + Send;

    /// Changes attributes; `handle` is where a size was set through one.
    fn setattr(
        &self,
        ino: Ino,
        handle: Option<Handle>,
        changes: SetAttr,
    ) -> impl Future<Output = Result<Attr>> + Send;

    /// The target of a symbolic link.
    fn readlink(&self, ino: Ino) -> impl Future<Output = Result<Bytes>> + Send;

    /// Makes anything but a directory, a symbolic link or a device.
    fn mknod(
        &self,
        parent: Ino,
        name: Name,
        kind: FileKind,
        mode: u32,
        who: Credentials,
    ) -> impl Future<Output = Result<Attr>> + Send;

    /// Makes a directory.
    fn mkdir(
        &self,
        parent: Ino,
        name: Name,
        mode: u32,
        who: Credentials,
    ) -> impl Future<Output = Result<Attr>> + Send;

    /// Makes a symbolic link.
    fn symlink(
        &self,
        parent: Ino,
        name: Name,
        target: Bytes,
        who: Credentials,
    ) -> impl Future<Output = Result<Attr>> + Send;

    /// Makes another name for a file.
    fn link(&self, ino: Ino, parent: Ino, name: Name) -> impl Future<Output = Result<Attr>> + Send;

    /// Removes a name that is no directory's.
    fn unlink(&self, parent: Ino, name: Name) -> impl Future<Output = Result<()>> + Send;

    /// Removes an empty directory.
    fn rmdir(&self, parent: Ino, name: Name) -> impl Future<Output = Result<()>> + Send;

    /// Moves a name.
    fn rename(
        &self,
        from: (Ino, Name),
        to: (Ino, Name),
        mode: RenameMode,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Opens a file.
    fn open(&self, ino: Ino, mode: OpenMode) -> impl Future<Output = Result<Handle>> + Send;

    /// Makes a file, or finds it, and opens it.
    fn create(
        &self,
        parent: Ino,
        name: Name,
        permissions: u32,
        mode: OpenMode,
        who: Credentials,
    ) -> impl Future<Output = Result<(Attr, Handle)>> + Send;

    /// Up to `size` bytes from `offset`; fewer only at the end of the file.
    fn read(
        &self,
        handle: Handle,
        offset: u64,
        size: u32,
    ) -> impl Future<Output = Result<Bytes>> + Send;

    /// Writes all of `data`, at `offset`, or at the end of the file if it `appends`. Gives the
    /// number of bytes.
    fn write(
        &self,
        handle: Handle,
        offset: u64,
        data: Bytes,
        appends: bool,
    ) -> impl Future<Output = Result<u32>> + Send;

    /// A descriptor of the handle is closed: what was written must be where others see it.
    fn flush(&self, handle: Handle) -> impl Future<Output = Result<()>> + Send;

    /// What was written must survive a power cut.
    fn fsync(&self, handle: Handle) -> impl Future<Output = Result<()>> + Send;

    /// The handle is gone.
    fn release(&self, handle: Handle) -> impl Future<Output = Result<()>> + Send;

    /// Opens a directory for reading.
    fn opendir(&self, ino: Ino) -> impl Future<Output = Result<Handle>> + Send;

    /// Entries behind `after`. A listing that starts anew shows what is new.
    fn readdir(
        &self,
        handle: Handle,
        after: Cookie,
    ) -> impl Future<Output = Result<DirPage>> + Send;

    /// The handle of a directory is gone.
    fn releasedir(&self, handle: Handle);

    /// The names of a directory must survive a power cut.
    fn fsyncdir(&self, ino: Ino) -> impl Future<Output = Result<()>> + Send;

    /// Space and limits.
    fn statfs(&self) -> impl Future<Output = Result<StatFs>> + Send;

    /// Sets an extended attribute.
    fn setxattr(
        &self,
        ino: Ino,
        name: Bytes,
        value: Bytes,
        mode: XattrMode,
    ) -> impl Future<Output = Result<()>> + Send;

    /// The value of an extended attribute.
    fn getxattr(&self, ino: Ino, name: Bytes) -> impl Future<Output = Result<Bytes>> + Send;

    /// The names of all extended attributes.
    fn listxattr(&self, ino: Ino) -> impl Future<Output = Result<Vec<Bytes>>> + Send;

    /// Removes an extended attribute.
    fn removexattr(&self, ino: Ino, name: Bytes) -> impl Future<Output = Result<()>> + Send;

    /// Stores everything that was written and is only here; tries all, and gives the first error.
    fn store_all(&self) -> impl Future<Output = Result<()>> + Send;
}
