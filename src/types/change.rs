//! Requests to change files, and what changed afterwards: the words of `setattr`, `open` and the
//! event stream.

use serde::{Deserialize, Serialize};

use super::{FileTime, Ino, Name};

/// What somebody wants to do with an inode, as the bits of `access(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Access(u32);

impl Access {
    /// Only whether it is there.
    pub const NONE: Self = Self(0);
    /// Execute a file, search a directory.
    pub const EXECUTE: Self = Self(1);
    /// Write to a file, change the names in a directory.
    pub const WRITE: Self = Self(2);
    /// Read a file, list a directory.
    pub const READ: Self = Self(4);

    /// The access with these bits of `access(2)`; others are left out.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & 7)
    }

    /// The bits, as in one digit of an octal mode.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// This and that.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is part of it.
    #[must_use]
    pub const fn includes(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What `utimensat` wants of one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetTime {
    /// Leave it.
    #[default]
    Keep,
    /// The time of the operation.
    Now,
    /// This time.
    At(FileTime),
}

/// What `setattr` is to change; the default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAttr {
    /// Permission, set-id and sticky bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size of a regular file, in bytes.
    pub size: Option<u64>,
    /// Last access.
    pub atime: SetTime,
    /// Last change of contents.
    pub mtime: SetTime,
    /// The size is set through a handle that was opened for writing, so that the permission to
    /// write was decided then and the mode bits of today do not matter.
    pub by_handle: bool,
}

/// What `rename` does if the new name is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RenameMode {
    /// Replace it.
    #[default]
    Replace,
    /// Fail (`RENAME_NOREPLACE`).
    NoReplace,
    /// The two change places, and both must be there (`RENAME_EXCHANGE`).
    Exchange,
}

/// What `setxattr` expects to be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum XattrMode {
    /// Either.
    #[default]
    Any,
    /// Nothing (`XATTR_CREATE`).
    Create,
    /// A value (`XATTR_REPLACE`).
    Replace,
}

/// One thing that changed, for those who have it cached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Change {
    /// Attributes, xattrs or ACLs of an inode.
    Attributes(Ino),
    /// Contents of an inode, and its attributes with them: they are of this version now.
    Contents(Ino, u64),
    /// What a name in a directory stands for, or whether it is there.
    Entry(Ino, Name),
}
