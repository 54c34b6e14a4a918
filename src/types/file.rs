//! Files as every layer sees them: inode numbers, names, kinds, times, attributes, and who asks.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, FsError};
use crate::limits;

/// The number of an inode. It is never used again, even after the inode is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ino(pub u64);

impl Ino {
    /// The root directory, as FUSE numbers it.
    pub const ROOT: Self = Self(1);
}

impl fmt::Display for Ino {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A name in a directory: 1 to 255 bytes of anything but `/` and NUL, and not `.` nor `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Name(Bytes);

impl Name {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// `NotFound` if it is empty (as for an empty path), `NameTooLong` over
    /// [`limits::NAME_SIZE_MAX`] bytes, `InvalidArgument` for the rest.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, FsError> {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Err(FsError::new(ErrorKind::NotFound, "a name cannot be empty"));
        }
        if bytes.len() > limits::NAME_SIZE_MAX {
            return Err(FsError::new(
                ErrorKind::NameTooLong,
                format!("the name has {} bytes; {} at most", bytes.len(), limits::NAME_SIZE_MAX),
            ));
        }
        if bytes.iter().any(|byte| matches!(byte, b'/' | 0)) || matches!(&bytes[..], b"." | b"..") {
            return Err(FsError::new(
                ErrorKind::InvalidArgument,
                format!("\"{}\" cannot be the name of a file", bytes.escape_ascii()),
            ));
        }
        Ok(Self(bytes))
    }

    /// The name's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl FileKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Regular,
        Self::Directory,
        Self::Symlink,
        Self::CharDevice,
        Self::BlockDevice,
        Self::Fifo,
        Self::Socket,
    ];

    /// The kind as the upper bits of `st_mode` (`S_IFREG` and so on).
    #[must_use]
    pub const fn mode_bits(self) -> u32 {
        match self {
            Self::Regular => libc::S_IFREG,
            Self::Directory => libc::S_IFDIR,
            Self::Symlink => libc::S_IFLNK,
            Self::CharDevice => libc::S_IFCHR,
            Self::BlockDevice => libc::S_IFBLK,
            Self::Fifo => libc::S_IFIFO,
            Self::Socket => libc::S_IFSOCK,
        }
    }

    /// The kind in a whole `st_mode`, if it names one. Without any bits it is a regular file, as
    /// for `mknod`.
    #[must_use]
    pub fn from_mode(st_mode: u32) -> Option<Self> {
        match st_mode & libc::S_IFMT {
            0 => Some(Self::Regular),
            bits => Self::ALL.into_iter().find(|kind| kind.mode_bits() == bits),
        }
    }
}

/// A point in time of a file: seconds since 1970-01-01 00:00 UTC, which may be negative, and
/// nanoseconds after that second.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct FileTime {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// The rest, below one thousand million.
    pub nanoseconds: u32,
}

impl FileTime {
    /// The point of time that `seconds` and `nanoseconds` give.
    ///
    /// # Errors
    /// `InvalidArgument` if the nanoseconds make a second or more.
    pub fn new(seconds: i64, nanoseconds: u32) -> Result<Self, FsError> {
        if nanoseconds >= 1_000_000_000 {
            let message = format!("{nanoseconds} nanoseconds are more than a second");
            return Err(FsError::new(ErrorKind::InvalidArgument, message));
        }
        Ok(Self { seconds, nanoseconds })
    }
}

impl From<SystemTime> for FileTime {
    fn from(time: SystemTime) -> Self {
        let seconds_of = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self { seconds: seconds_of(after), nanoseconds: after.subsec_nanos() },
            Err(error) => {
                let before = error.duration();
                match before.subsec_nanos() {
                    0 => Self { seconds: -seconds_of(before), nanoseconds: 0 },
                    nanos => Self {
                        seconds: -seconds_of(before) - 1,
                        nanoseconds: 1_000_000_000 - nanos,
                    },
                }
            }
        }
    }
}

/// What `stat` tells of an inode, and a little more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attr {
    /// The inode.
    pub ino: Ino,
    /// With the inode number, unique for the life of the file system.
    pub generation: u32,
    /// What it is.
    pub kind: FileKind,
    /// Permission, set-id and sticky bits: the lower 12 bits of `st_mode`.
    pub mode: u32,
    /// Names it has; for a directory 2 and its subdirectories; 0 once it is unlinked.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Which device, in the kernel's 32-bit encoding; 0 if it is none.
    pub rdev: u32,
    /// Bytes of contents or of a link's target; entries of a directory.
    pub size: u64,
    /// Bytes that the contents take up on a chunk server: less than the size if there are holes.
    pub bytes: u64,
    /// Last access.
    pub atime: FileTime,
    /// Last change of contents.
    pub mtime: FileTime,
    /// Last change of contents or attributes.
    pub ctime: FileTime,
    /// Creation.
    pub btime: FileTime,
    /// Grows with every change of the contents; as long as it is the same, cached contents hold.
    pub data_version: u64,
    /// Whether it has any extended attributes, ACLs included.
    pub has_xattrs: bool,
}

#[cfg(test)]
impl Attr {
    /// Those of an empty file, for tests.
    pub(crate) fn of_empty_file(ino: Ino) -> Self {
        let time = FileTime::default();
        Self {
            ino,
            generation: 0,
            kind: FileKind::Regular,
            mode: 0o644,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            size: 0,
            bytes: 0,
            atime: time,
            mtime: time,
            ctime: time,
            btime: time,
            data_version: 1,
            has_xattrs: false,
        }
    }
}

impl Attr {
    /// The whole `st_mode`: kind and permissions.
    #[must_use]
    pub const fn st_mode(&self) -> u32 {
        self.kind.mode_bits() | self.mode
    }

    /// `st_blocks`: space in units of 512 bytes.
    #[must_use]
    pub const fn blocks(&self) -> u64 {
        self.bytes.div_ceil(512)
    }
}

/// Who asks: the identity that a process acts under.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Credentials {
    /// User. 0 may do what Linux lets a process with all capabilities do.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Permission bits that new files do not get.
    pub umask: u32,
}

impl Credentials {
    /// The superuser without a umask.
    pub const ROOT: Self = Self { uid: 0, gid: 0, groups: Vec::new(), umask: 0 };

    /// Whether the user is the superuser.
    #[must_use]
    pub const fn is_superuser(&self) -> bool {
        self.uid == 0
    }

    /// Whether the user is in the group.
    #[must_use]
    pub fn is_in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }

    /// The mode after the user wrote to a regular file of this mode and group: set-id bits do not
    /// outlive a write by somebody who could not have set them (Linux, `setattr_should_drop_suidgid`
    /// in `fs/attr.c`).
    #[must_use]
    pub fn mode_after_write(&self, mode: u32, gid: u32) -> u32 {
        if self.is_superuser() || mode & (libc::S_ISUID | libc::S_ISGID) == 0 {
            return mode;
        }
        let mode = mode & !libc::S_ISUID;
        let keeps_group_id = mode & libc::S_IXGRP == 0 && self.is_in_group(gid);
        if keeps_group_id { mode } else { mode & !libc::S_ISGID }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{FileKind, FileTime, Name};
    use crate::error::ErrorKind;

    #[test]
    fn names_are_checked() {
        let long = vec![b'x'; 255];
        for good in [&b"a"[..], b"...", b" ", b"\xff\x01", &long] {
            assert_eq!(Name::new(good.to_vec()).unwrap().as_bytes(), good);
        }
        let kind_of = |name: &[u8]| Name::new(name.to_vec()).unwrap_err().kind();
        for bad in [&b"."[..], b"..", b"a/b", b"a\0"] {
            assert_eq!(kind_of(bad), ErrorKind::InvalidArgument);
        }
        assert_eq!(kind_of(b""), ErrorKind::NotFound);
        assert_eq!(kind_of(&[b'x'; 256]), ErrorKind::NameTooLong);
    }

    #[test]
    fn times_before_1970_keep_their_nanoseconds() {
        let time = FileTime::from(UNIX_EPOCH - Duration::new(1, 1));
        assert_eq!(time, FileTime::new(-2, 999_999_999).unwrap());
        let time = FileTime::from(UNIX_EPOCH - Duration::new(1, 0));
        assert_eq!(time, FileTime::new(-1, 0).unwrap());
        assert!(FileTime::new(0, 1_000_000_000).is_err());
    }

    #[test]
    fn every_kind_comes_back_from_its_mode() {
        for kind in FileKind::ALL {
            assert_eq!(FileKind::from_mode(kind.mode_bits() | 0o7777), Some(kind));
        }
        assert_eq!(FileKind::from_mode(0o644), Some(FileKind::Regular));
        assert_eq!(FileKind::from_mode(0o150_000), None);
    }
}
