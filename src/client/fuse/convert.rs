//! Between FUSE's words and ours: numbers, attributes, flags, errors, options of the mount.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fuser::{
    Config, FileAttr, FileHandle, FileType, INodeNo, MountOption, RenameFlags, Request, SessionACL,
    TimeOrNow,
};

use crate::client::vfs::{Handle, OpenMode};
use crate::error::{ErrorKind, FsError, Result};
use crate::types::{
    Attr, Credentials, FileKind, FileTime, Ino, Name, RenameMode, SetTime, XattrMode,
};

/// Logs an error that goes to a program: once, and as loudly as it deserves. Many errors are how
/// programs find out how things are.
pub(super) fn report(operation: &str, ino: INodeNo, name: &[u8], error: &FsError) {
    let name = name.escape_ascii();
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::Exists
        | ErrorKind::NotDirectory
        | ErrorKind::IsDirectory
        | ErrorKind::NotEmpty
        | ErrorKind::AccessDenied
        | ErrorKind::NotPermitted
        | ErrorKind::InvalidArgument
        | ErrorKind::NameTooLong
        | ErrorKind::NoAttribute
        | ErrorKind::BufferTooSmall
        | ErrorKind::Unsupported
        | ErrorKind::Interrupted => {
            tracing::debug!("{operation} (inode {ino}) {name}: {error}");
        }
        _ => tracing::warn!("{operation} (inode {ino}) {name}: {error}"),
    }
}

pub(super) fn ino(number: INodeNo) -> Ino {
    Ino(number.0)
}

pub(super) fn handle(number: FileHandle) -> Handle {
    Handle(number.0)
}

pub(super) fn name(name: &OsStr) -> Result<Name> {
    Name::new(Bytes::copy_from_slice(name.as_bytes()))
}

pub(super) fn bytes(name: &OsStr) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

/// The kernel has taken the umask off already.
pub(super) fn who(request: &Request) -> Credentials {
    Credentials { uid: request.uid(), gid: request.gid(), groups: Vec::new(), umask: 0 }
}

pub(super) fn open_mode(flags: i32) -> OpenMode {
    let has = |flag| flags & flag != 0;
    OpenMode { is_exclusive: has(libc::O_EXCL), truncates: has(libc::O_TRUNC) }
}

pub(super) fn set_time(time: Option<TimeOrNow>) -> SetTime {
    match time {
        None => SetTime::Keep,
        Some(TimeOrNow::Now) => SetTime::Now,
        Some(TimeOrNow::SpecificTime(time)) => SetTime::At(FileTime::from(time)),
    }
}

pub(super) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
    }
}

pub(super) fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: attr.size,
        blocks: attr.blocks(),
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: system_time(attr.btime),
        kind: file_type(attr.kind),
        perm: u16::try_from(attr.mode).unwrap_or(0),
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: 4096,
        flags: 0,
    }
}

/// A time that the system cannot express is as good as 1970.
fn system_time(time: FileTime) -> SystemTime {
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let second = if time.seconds < 0 {
        UNIX_EPOCH.checked_sub(seconds)
    } else {
        UNIX_EPOCH.checked_add(seconds)
    };
    let rest = Duration::from_nanos(time.nanoseconds.into());
    second.and_then(|second| second.checked_add(rest)).unwrap_or(UNIX_EPOCH)
}

pub(super) fn rename_mode(flags: RenameFlags) -> Result<RenameMode> {
    if flags.is_empty() {
        Ok(RenameMode::Replace)
    } else if flags == RenameFlags::RENAME_NOREPLACE {
        Ok(RenameMode::NoReplace)
    } else if flags == RenameFlags::RENAME_EXCHANGE {
        Ok(RenameMode::Exchange)
    } else {
        Err(FsError::new(ErrorKind::InvalidArgument, "no such way to rename"))
    }
}

pub(super) fn xattr_mode(flags: i32) -> Result<XattrMode> {
    match flags {
        0 => Ok(XattrMode::Any),
        libc::XATTR_CREATE => Ok(XattrMode::Create),
        libc::XATTR_REPLACE => Ok(XattrMode::Replace),
        _ => Err(FsError::new(ErrorKind::InvalidArgument, "no such way to set an attribute")),
    }
}

/// How the kernel is to mount: it checks permissions, and trusts no set-id bit or device that it
/// finds.
#[must_use]
pub(super) fn mount_options(source: &str, allows_other: bool) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(source.to_owned()),
        MountOption::Subtype("htfs".to_owned()),
        MountOption::DefaultPermissions,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoAtime,
    ];
    config.acl = if allows_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(2);
    config
}
