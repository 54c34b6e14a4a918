//! What a mounted file system can do, in the words of the kernel but without FUSE's types.
//!
//! `fuse` stands above it and converts arguments and replies; below it stands one file system.
//! `kernel` is about what the kernel knows and may do by itself.

mod kernel;

mod notify;

use std::future::{Future, ready};
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{ErrorKind, FsError, Result};
use crate::proto::fs::StatFs;
use crate::proto::session::Lock;
use crate::types::{
    Access, Attr, Cookie, Credentials, DirEntry, FileKind, Ino, Name, RenameMode, SetAttr, Whence,
    XattrMode,
};

pub use kernel::{Attempt, KernelPolicy};
pub use notify::Notify;

/// An open file or directory. The number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(pub u64);

/// How a file is opened, from the flags of `open(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFlags(pub i32);

impl OpenFlags {
    /// Whether all bits of a flag are set.
    #[must_use]
    pub fn has(self, flag: i32) -> bool {
        self.0 & flag == flag
    }

    /// What the handle may be used for.
    #[must_use]
    pub fn access(self) -> Access {
        match self.0 & libc::O_ACCMODE {
            libc::O_RDONLY => Access::READ,
            libc::O_WRONLY => Access::WRITE,
            _ => Access::READ.and(Access::WRITE),
        }
    }

    /// Whether writes go to the end of the file.
    #[must_use]
    pub fn appends(self) -> bool {
        self.has(libc::O_APPEND)
    }

    /// Whether the contents go.
    #[must_use]
    pub fn truncates(self) -> bool {
        self.has(libc::O_TRUNC)
    }

    /// Whether the name must be new.
    #[must_use]
    pub fn is_exclusive(self) -> bool {
        self.has(libc::O_CREAT | libc::O_EXCL)
    }
}

/// An opened file.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The handle.
    pub handle: Handle,
    /// What becomes of the kernel's pages of the file.
    pub pages: Pages,
}

/// What the kernel does with the pages that it has of a file which is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// They are old.
    Drop,
    /// They are still right.
    Keep,
    /// Reads and writes through this handle go past them.
    Bypass,
}

/// A file to be made that is neither a directory nor a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Which device, in the kernel's 32-bit encoding.
    pub rdev: u32,
}

/// A part of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// What `..` stands for; the directory itself for the root.
    pub parent: Ino,
    /// Entries in the order of their cookies; none at the end of the directory.
    pub entries: Vec<DirEntry>,
    /// Those whose attributes are about to change, by what was written here and not yet sent.
    pub unsent: Vec<Ino>,
}

/// A file system; clones share everything. Every call may come from any thread, at any time.
pub trait Vfs: Clone + Send + Sync + 'static {
    /// What the kernel may do by itself.
    fn policy(&self) -> KernelPolicy;

    /// Says who is to be told what others have changed.
    fn notify_with(&self, _notify: Arc<dyn Notify>) {}

    /// Finds a name. The kernel holds the inode until it [forgets](Self::forget) it, once for
    /// each reply that brought it.
    fn lookup(
        &self,
        parent: Ino,
        name: Name,
        who: Credentials,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Attr>> + Send;

    /// Attributes of an inode that the kernel knows by its number only, from a file handle
    /// (`open_by_handle_at(2)`, NFS); it holds it as after [`Self::lookup`]. One without names counts
    /// as gone.
    fn find(&self, _ino: Ino) -> impl Future<Output = Result<Attr>> + Send {
        ready(Err(unsupported()))
    }

    /// The directory that a directory is in, for the same purpose.
    fn find_parent(&self, _directory: Ino) -> impl Future<Output = Result<Attr>> + Send {
        ready(Err(unsupported()))
    }

    /// The kernel drops `count` of the times it holds an inode.
    fn forget(&self, _ino: Ino, _count: u64) {}

    /// Attributes of an inode.
    fn getattr(&self, ino: Ino) -> impl Future<Output = Result<Attr>> + Send;

    /// Changes attributes; `handle` is where a size was set through one.
    fn setattr(
        &self,
        ino: Ino,
        handle: Option<Handle>,
        change: SetAttr,
        who: Credentials,
    ) -> impl Future<Output = Result<Attr>> + Send;

    /// The target of a symbolic link.
    fn readlink(&self, ino: Ino) -> impl Future<Output = Result<Bytes>> + Send;

    /// Makes anything but a directory or a symbolic link.
    fn mknod(
        &self,
        parent: Ino,
        name: Name,
        node: Node,
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
    fn link(
        &self,
        ino: Ino,
        parent: Ino,
        name: Name,
        who: Credentials,
    ) -> impl Future<Output = Result<Attr>> + Send;

    /// Removes a name that is no directory's.
    fn unlink(
        &self,
        parent: Ino,
        name: Name,
        who: Credentials,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Removes an empty directory.
    fn rmdir(
        &self,
        parent: Ino,
        name: Name,
        who: Credentials,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Moves a name.
    fn rename(
        &self,
        from: (Ino, Name),
        to: (Ino, Name),
        mode: RenameMode,
        who: Credentials,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Opens a file.
    fn open(
        &self,
        ino: Ino,
        flags: OpenFlags,
        who: Credentials,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Opened>> + Send;

    /// Makes a file, or finds it, and opens it.
    fn create(
        &self,
        parent: Ino,
        name: Name,
        mode: u32,
        flags: OpenFlags,
        who: Credentials,
        attempt: Attempt,
    ) -> impl Future<Output = Result<(Attr, Opened)>> + Send;

    /// Up to `size` bytes from `offset`; fewer only at the end of the file.
    fn read(
        &self,
        handle: Handle,
        offset: u64,
        size: u32,
    ) -> impl Future<Output = Result<Bytes>> + Send;

    /// Writes all of `data`, at `offset`, or at the end of the file if it `appends`.
    fn write(
        &self,
        handle: Handle,
        offset: u64,
        data: Bytes,
        appends: bool,
        who: Credentials,
    ) -> impl Future<Output = Result<()>> + Send;

    /// A descriptor of the handle is closed: what was written must be where others see it, and the
    /// locks of `fcntl(2)` that `owner` has end.
    fn flush(&self, handle: Handle, owner: u64) -> impl Future<Output = Result<()>> + Send;

    /// What was written must survive a power cut.
    fn fsync(&self, handle: Handle) -> impl Future<Output = Result<()>> + Send;

    /// The handle is gone, and with it all locks of `flock(2)` and of open file descriptions that were
    /// taken through it.
    fn release(&self, handle: Handle) -> impl Future<Output = Result<()>> + Send;

    /// Opens a directory for reading.
    fn opendir(&self, ino: Ino, who: Credentials) -> impl Future<Output = Result<Handle>> + Send;

    /// Entries behind `after`, with their attributes if asked for. A listing that starts anew shows
    /// what is new.
    fn readdir(
        &self,
        handle: Handle,
        after: Cookie,
        with_attributes: bool,
        who: Credentials,
    ) -> impl Future<Output = Result<Listing>> + Send;

    /// The handle of a directory is gone.
    fn releasedir(&self, handle: Handle);

    /// The names of a directory must survive a power cut.
    fn fsyncdir(&self, ino: Ino) -> impl Future<Output = Result<()>> + Send;

    /// Room and numbers.
    fn statfs(&self) -> impl Future<Output = Result<StatFs>> + Send;

    /// Sets an extended attribute.
    fn setxattr(
        &self,
        ino: Ino,
        name: Bytes,
        value: Bytes,
        mode: XattrMode,
        who: Credentials,
    ) -> impl Future<Output = Result<()>> + Send;

    /// The value of an extended attribute.
    fn getxattr(
        &self,
        ino: Ino,
        name: Bytes,
        who: Credentials,
    ) -> impl Future<Output = Result<Bytes>> + Send;

    /// The names of all extended attributes.
    fn listxattr(
        &self,
        ino: Ino,
        who: Credentials,
    ) -> impl Future<Output = Result<Vec<Bytes>>> + Send;

    /// Removes an extended attribute.
    fn removexattr(
        &self,
        ino: Ino,
        name: Bytes,
        who: Credentials,
    ) -> impl Future<Output = Result<()>> + Send;

    /// The lock that stands in the way of `lock`, if any.
    fn getlk(&self, _ino: Ino, _lock: Lock) -> impl Future<Output = Result<Option<Lock>>> + Send {
        ready(Err(unsupported()))
    }

    /// Sets or clears a lock through a handle of a file. If it `waits`, it does so until it has the lock or `is_interrupted`
    /// says that the process that wants it got a signal.
    fn setlk(
        &self,
        _file: (Ino, Handle),
        _lock: Lock,
        _waits: bool,
        _is_interrupted: impl Fn() -> bool + Send,
    ) -> impl Future<Output = Result<()>> + Send {
        ready(Err(unsupported()))
    }

    /// Reserves, punches or zeroes a range, by the mode of `fallocate(2)`.
    fn fallocate(
        &self,
        _handle: Handle,
        _offset: u64,
        _length: u64,
        _mode: i32,
        _who: Credentials,
    ) -> impl Future<Output = Result<()>> + Send {
        ready(Err(unsupported()))
    }

    /// The next data, or hole, from `offset` on.
    fn seek(
        &self,
        _handle: Handle,
        _offset: u64,
        _target: Whence,
    ) -> impl Future<Output = Result<u64>> + Send {
        ready(Err(unsupported()))
    }

    /// Copies up to `length` bytes between two open files, each at an offset; answers how many.
    fn copy_file_range(
        &self,
        _from: (Handle, u64),
        _to: (Handle, u64),
        _length: u64,
        _who: Credentials,
    ) -> impl Future<Output = Result<u64>> + Send {
        ready(Err(unsupported()))
    }

    /// The path of an inode below the mountpoint, with a `/` in front, as far as it is known here;
    /// empty for the root.
    fn path(&self, _ino: Ino) -> Option<Vec<u8>> {
        None
    }

    /// What was written and is only here: the inodes, and how many bytes of each.
    fn unsent(&self) -> Vec<(Ino, u64)> {
        Vec::new()
    }

    /// Stores everything that was written and is only here; tries all, and gives the first error.
    fn store_all(&self) -> impl Future<Output = Result<()>> + Send;
}

fn unsupported() -> FsError {
    FsError::new(ErrorKind::Unsupported, "this file system cannot do it")
}
