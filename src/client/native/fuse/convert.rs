//! Conversions between the kernel's words and ours.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fuser::{Errno, FileAttr, FileType, FopenFlags, Generation, INodeNo, RenameFlags, TimeOrNow};

use crate::client::native::{OpenFlags, OpenReply};
use crate::error::{ErrorKind, FsError, Result};
use crate::proto::session::{Lock, LockKind};
use crate::types::{Attr, FileKind, FileTime, Ino, Name, RenameMode, SetTime, XattrMode};

/// Preferred size of reads and writes, in bytes.
const BLOCK_SIZE: u32 = 128 << 10;

pub(super) fn ino(number: INodeNo) -> Ino {
    Ino(number.0)
}

pub(super) fn name(text: &OsStr) -> Result<Name> {
    Name::new(text.as_bytes().to_vec())
}

pub(super) fn bytes(text: &OsStr) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(super) fn kind(kind: FileKind) -> FileType {
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

fn time(time: FileTime) -> SystemTime {
    let whole = Duration::from_secs(time.seconds.unsigned_abs());
    let seconds = match time.seconds < 0 {
        true => UNIX_EPOCH.checked_sub(whole),
        false => UNIX_EPOCH.checked_add(whole),
    };
    let nanoseconds = Duration::from_nanos(u64::from(time.nanoseconds));
    seconds.and_then(|time| time.checked_add(nanoseconds)).unwrap_or(UNIX_EPOCH)
}

pub(super) fn attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: attr.size,
        blocks: attr.blocks(),
        atime: time(attr.atime),
        mtime: time(attr.mtime),
        ctime: time(attr.ctime),
        crtime: time(attr.btime),
        kind: kind(attr.kind),
        perm: u16::try_from(attr.mode & 0o7777).unwrap_or(0),
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// What the kernel keeps of a name that is not there.
pub(super) fn absent() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

pub(super) fn generation(attr: &Attr) -> Generation {
    Generation(u64::from(attr.generation))
}

pub(super) fn set_time(time: Option<TimeOrNow>) -> SetTime {
    match time {
        None => SetTime::Keep,
        Some(TimeOrNow::Now) => SetTime::Now,
        Some(TimeOrNow::SpecificTime(time)) => SetTime::At(FileTime::from(time)),
    }
}

pub(super) fn rename_mode(flags: RenameFlags) -> Result<RenameMode> {
    if flags.is_empty() {
        Ok(RenameMode::Replace)
    } else if flags == RenameFlags::RENAME_NOREPLACE {
        Ok(RenameMode::NoReplace)
    } else if flags == RenameFlags::RENAME_EXCHANGE {
        Ok(RenameMode::Exchange)
    } else {
        Err(FsError::new(ErrorKind::InvalidArgument, "there is no such mode of rename here"))
    }
}

pub(super) fn xattr_mode(flags: i32) -> Result<XattrMode> {
    match flags {
        0 => Ok(XattrMode::Any),
        libc::XATTR_CREATE => Ok(XattrMode::Create),
        libc::XATTR_REPLACE => Ok(XattrMode::Replace),
        _ => Err(FsError::new(ErrorKind::InvalidArgument, "create and replace exclude each other")),
    }
}

/// A lock as the kernel describes it: `kind` is one of `F_RDLCK`, `F_WRLCK`, `F_UNLCK`.
pub(super) fn lock(owner: u64, (start, end): (u64, u64), kind: i32, pid: u32) -> Result<Lock> {
    let kind = match i16::try_from(kind).map(i32::from) {
        Ok(libc::F_RDLCK) => LockKind::Read,
        Ok(libc::F_WRLCK) => LockKind::Write,
        Ok(libc::F_UNLCK) => LockKind::Unlock,
        _ => return Err(FsError::new(ErrorKind::InvalidArgument, "there is no such lock")),
    };
    Ok(Lock { owner, is_flock: false, kind, start, end, pid })
}

pub(super) fn lock_kind(kind: LockKind) -> i32 {
    match kind {
        LockKind::Read => libc::F_RDLCK,
        LockKind::Write => libc::F_WRLCK,
        LockKind::Unlock => libc::F_UNLCK,
    }
}

/// How the kernel is to treat an opened file.
pub(super) fn open_flags(reply: &OpenReply, flags: OpenFlags) -> FopenFlags {
    let mut open = FopenFlags::empty();
    // The kernel would put appended bytes into its pages where it believes the end to be; only the
    // master knows.
    if flags.appends() {
        open |= FopenFlags::FOPEN_DIRECT_IO;
    } else if reply.keeps_pages {
        open |= FopenFlags::FOPEN_KEEP_CACHE;
    }
    open
}

/// The errno of an error. What a program cannot have caused is logged, once, here.
pub(super) fn errno(operation: &str, error: &FsError) -> Errno {
    match error.kind() {
        ErrorKind::Io
        | ErrorKind::Corrupt
        | ErrorKind::Protocol
        | ErrorKind::TimedOut
        | ErrorKind::Unreachable
        | ErrorKind::UnknownServer
        | ErrorKind::ReadOnly => tracing::warn!("{operation} failed: {error}"),
        kind => tracing::debug!("{operation}: {kind:?}: {error}"),
    }
    match error.kind() {
        // What programs know as the error of a damaged disk.
        ErrorKind::Corrupt | ErrorKind::Protocol => Errno::EIO,
        kind => Errno::from_i32(kind.errno()),
    }
}
