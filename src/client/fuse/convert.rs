//! Between FUSE's words and ours: numbers, attributes, flags, errors, options of the mount.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, FopenFlags, INodeNo, MountOption, RenameFlags,
    SessionACL, TimeOrNow,
};

use super::Options;
use crate::client::vfs::{Handle, KernelPolicy, Pages};
use crate::error::{ErrorKind, FsError, Result};
use crate::proto::session::{Lock, LockKind};
use crate::types::{Attr, FileKind, FileTime, Ino, Name, RenameMode, SetTime, XattrMode};

/// Preferred size of reads and writes, in bytes.
const BLOCK_SIZE: u32 = 128 << 10;

/// Threads that take requests from the kernel. None of them waits for a server.
const THREADS: usize = 2;

/// The errno of an error, for programs: what they know of a damaged disk, they are told of damage.
pub(super) fn errno(error: &FsError) -> Errno {
    match error.kind() {
        ErrorKind::Corrupt | ErrorKind::Protocol | ErrorKind::WrongCluster => Errno::EIO,
        kind => Errno::from_i32(kind.errno()),
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

pub(super) fn set_time(time: Option<TimeOrNow>) -> SetTime {
    match time {
        None => SetTime::Keep,
        Some(TimeOrNow::Now) => SetTime::Now,
        Some(TimeOrNow::SpecificTime(time)) => SetTime::At(file_time(time)),
    }
}

/// The time that a program sets. Of one before 1970, fuser 0.18 subtracts the nanoseconds, too, which
/// the kernel means to be added.
fn file_time(time: SystemTime) -> FileTime {
    match time.duration_since(UNIX_EPOCH) {
        Ok(_) => FileTime::from(time),
        Err(error) => {
            let before = error.duration();
            let seconds = 0_i64.saturating_sub_unsigned(before.as_secs());
            FileTime { seconds, nanoseconds: before.subsec_nanos() }
        }
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

pub(super) fn open_flags(pages: Pages) -> FopenFlags {
    match pages {
        Pages::Drop => FopenFlags::empty(),
        Pages::Keep => FopenFlags::FOPEN_KEEP_CACHE,
        Pages::Bypass => FopenFlags::FOPEN_DIRECT_IO,
    }
}

/// How the kernel is to mount: it checks permissions, and trusts neither set-id bits nor devices
/// unless it is told to. A classic file system sets times of access by itself.
pub(super) fn mount_options(options: &Options, policy: KernelPolicy) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(options.source.clone()),
        MountOption::Subtype("htfs".to_owned()),
        MountOption::DefaultPermissions,
        if options.trusts_set_id { MountOption::Suid } else { MountOption::NoSuid },
        if options.trusts_devices { MountOption::Dev } else { MountOption::NoDev },
    ];
    if !policy.is_posix {
        config.mount_options.push(MountOption::NoAtime);
    }
    config.acl = if options.allows_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(THREADS);
    config
}
