//! A directory of the machine's own file system as a subject: system calls made by a thread that
//! takes on the identity of the user.
//!
//! Every inode is held by an `O_PATH` descriptor, so that a name is looked up in its directory
//! alone, as in the namespace, and a removed inode stays until it is reaped.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use bytes::Bytes;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, Statx, StatxFlags, Timespec,
    Timestamps, XattrFlags,
};
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use tempfile::TempDir;

use super::ops::{Answer, Op, Outcome, Place, Subject};
use crate::error::{ErrorKind, FsError};
use crate::types::{
    Access, Attr, Credentials, FileKind, FileTime, Ino, Name, RenameMode, SetAttr, SetTime,
    XattrMode,
};

/// File systems whose answers are the standard here; the numbers are of `statfs(2)`.
const STANDARDS: [(i64, &str); 3] =
    [(0xef53, "ext4"), (0x5846_5342, "xfs"), (0x0102_1994, "tmpfs")];

/// A directory on a local file system.
pub(super) struct Kernel {
    held: BTreeMap<Ino, OwnedFd>,
    numbers: BTreeMap<u64, Ino>,
    next: u64,
    /// Whether two changes, one right after the other, get two times (Linux 6.13 and later).
    pub(super) has_fine_times: bool,
    _directory: TempDir,
}

impl Kernel {
    /// An empty directory for everybody. Must be called in a thread that nobody else uses.
    ///
    /// # Errors
    /// A sentence that says why this machine cannot be the standard.
    pub(super) fn new() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root can act as other users".into());
        }
        // From here on the umask is this thread's own.
        #[expect(deprecated, reason = "it is unsafe for descriptors only, which stay shared")]
        rustix::thread::unshare(rustix::thread::UnshareFlags::FS).map_err(|e| e.to_string())?;
        let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
        let root = hold(CWD, directory.path().as_os_str().as_bytes()).map_err(|e| e.to_string())?;
        let kind = rustix::fs::fstatfs(&root).map_err(|e| e.to_string())?.f_type;
        if !STANDARDS.iter().any(|(standard, _)| *standard == kind) {
            return Err(format!("the temporary directory is none of {STANDARDS:?}"));
        }
        let mut kernel = Self {
            held: BTreeMap::new(),
            numbers: BTreeMap::new(),
            next: 1,
            has_fine_times: false,
            _directory: directory,
        };
        let root = kernel.adopt(root);
        let change = |mode| rustix::fs::chmodat(CWD, kernel.path(root), mode, AtFlags::empty());
        let times = [0o700, 0o777].map(|mode| {
            change(Mode::from_raw_mode(mode)).unwrap();
            kernel.attr(root).ctime
        });
        kernel.has_fine_times = times[0] != times[1];
        Ok(kernel)
    }

    fn adopt(&mut self, held: OwnedFd) -> Ino {
        let ino = Ino(self.next);
        self.next += 1;
        self.numbers.insert(statx(&held).stx_ino, ino);
        self.held.insert(ino, held);
        ino
    }

    /// A path that leads to the inode itself, even if that is a symbolic link.
    fn path(&self, ino: Ino) -> String {
        format!("/proc/self/fd/{}", self.held[&ino].as_raw_fd())
    }

    fn attr(&self, ino: Ino) -> Attr {
        attr_of(ino, &statx(&self.held[&ino]))
    }

    /// What a name stands for, whoever may see it.
    pub(super) fn find(&self, (directory, name): &Place) -> Option<Ino> {
        let held = hold(&self.held[directory], name.as_bytes()).ok()?;
        self.numbers.get(&statx(&held).stx_ino).copied()
    }

    /// Takes hold of what was just made.
    fn made(&mut self, (directory, name): &Place) -> io::Result<Answer> {
        let held = hold(&self.held[directory], name.as_bytes())?;
        let ino = self.adopt(held);
        Ok(Answer::Attr(self.attr(ino)))
    }

    fn names(&mut self, who: &Credentials, op: &Op) -> io::Result<Answer> {
        match op {
            Op::Mkdir(place, mode) => {
                let (at, name) = (&self.held[&place.0], as_path(&place.1));
                acting(who, || rustix::fs::mkdirat(at, name, Mode::from_raw_mode(*mode)))?;
                self.made(place)
            }
            Op::Mknod(place, kind, mode) => {
                let (at, name) = (&self.held[&place.0], as_path(&place.1));
                let kind = FileType::from_raw_mode(kind.mode_bits());
                let device = rustix::fs::makedev(1, 3);
                let mode = Mode::from_raw_mode(*mode);
                acting(who, || rustix::fs::mknodat(at, name, kind, mode, device))?;
                self.made(place)
            }
            Op::Symlink(place, target) => {
                let (at, name) = (&self.held[&place.0], as_path(&place.1));
                acting(who, || rustix::fs::symlinkat(OsStr::from_bytes(target), at, name))?;
                self.made(place)
            }
            Op::Link(ino, place) => {
                let (at, name, path) = (&self.held[&place.0], as_path(&place.1), self.path(*ino));
                let follow = AtFlags::SYMLINK_FOLLOW;
                acting(who, || rustix::fs::linkat(CWD, &path, at, name, follow))?;
                Ok(Answer::Attr(self.attr(*ino)))
            }
            Op::Unlink(place) => self.remove(who, place, AtFlags::empty()),
            Op::Rmdir(place) => self.remove(who, place, AtFlags::REMOVEDIR),
            Op::Rename(from, to, mode) => {
                let flags = match mode {
                    RenameMode::Replace => RenameFlags::empty(),
                    RenameMode::NoReplace => RenameFlags::NOREPLACE,
                    RenameMode::Exchange => RenameFlags::EXCHANGE,
                };
                let (old_at, new_at) = (&self.held[&from.0], &self.held[&to.0]);
                let (old, new) = (as_path(&from.1), as_path(&to.1));
                acting(who, || rustix::fs::renameat_with(old_at, old, new_at, new, flags))?;
                Ok(Answer::Done)
            }
            Op::Create { place, mode, is_exclusive, wanted } => {
                let is_new = self.find(place).is_none();
                let (at, name) = (&self.held[&place.0], as_path(&place.1));
                let mut flags = open_flags(*wanted) | OFlags::CREATE | OFlags::NOFOLLOW;
                flags.set(OFlags::EXCL, *is_exclusive);
                let mode = Mode::from_raw_mode(*mode);
                acting(who, || rustix::fs::openat(at, name, flags, mode))?;
                if is_new {
                    self.made(place)?;
                }
                let ino = self.find(place).expect("it is open");
                Ok(Answer::Created(self.attr(ino), is_new))
            }
            _ => self.inodes(who, op),
        }
    }

    fn remove(&self, who: &Credentials, place: &Place, flags: AtFlags) -> io::Result<Answer> {
        let victim = self.find(place);
        let (at, name) = (&self.held[&place.0], as_path(&place.1));
        acting(who, || rustix::fs::unlinkat(at, name, flags))?;
        Ok(Answer::Attr(self.attr(victim.expect("it was removed"))))
    }

    fn inodes(&mut self, who: &Credentials, op: &Op) -> io::Result<Answer> {
        match op {
            Op::Lookup((directory, name)) => {
                let at = &self.held[directory];
                let (flags, mask) = (AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS);
                let found = acting(who, || rustix::fs::statx(at, as_path(name), flags, mask))?;
                Ok(Answer::Attr(attr_of(self.numbers[&found.stx_ino], &found)))
            }
            Op::Access(ino, wanted) => {
                let path = self.path(*ino);
                let wanted = rustix::fs::Access::from_bits_truncate(wanted.bits());
                acting(who, || rustix::fs::accessat(CWD, &path, wanted, AtFlags::EACCESS))?;
                Ok(Answer::Done)
            }
            Op::Open(ino, wanted) => {
                let path = self.path(*ino);
                acting(who, || rustix::fs::open(&path, open_flags(*wanted), Mode::empty()))?;
                Ok(Answer::Done)
            }
            Op::Readdir(ino) => self.list(*ino),
            Op::Readlink(ino) => {
                let target = rustix::fs::readlinkat(&self.held[ino], "", Vec::new())?;
                Ok(Answer::Value(Bytes::from(target.into_bytes())))
            }
            Op::Setattr(ino, set) => {
                self.setattr(who, *ino, set)?;
                Ok(Answer::Attr(self.attr(*ino)))
            }
            Op::Append(ino, length) => {
                let (path, offset) = (self.path(*ino), self.attr(*ino).size);
                let length = usize::try_from(*length).expect("it is small");
                acting(who, || {
                    let flags = OFlags::WRONLY | OFlags::APPEND;
                    let file = rustix::fs::open(&path, flags, Mode::empty())?;
                    rustix::io::write(file, &vec![1; length])
                })?;
                Ok(Answer::Offset(offset))
            }
            Op::Reap(ino) => {
                let held = self.held.remove(ino).expect("it is there");
                self.numbers.remove(&statx(&held).stx_ino);
                Ok(Answer::Done)
            }
            _ => self.xattrs(who, op),
        }
    }

    fn list(&self, ino: Ino) -> io::Result<Answer> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let opened = rustix::fs::openat(&self.held[&ino], ".", flags, Mode::empty())?;
        let mut entries = Vec::new();
        for entry in Dir::new(opened)? {
            let entry = entry?;
            let Ok(name) = Name::new(Bytes::copy_from_slice(entry.file_name().to_bytes())) else {
                continue;
            };
            let target = self.numbers[&entry.ino()];
            entries.push((name, target, self.attr(target).kind));
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Answer::Entries(entries))
    }

    fn setattr(&self, who: &Credentials, ino: Ino, set: &SetAttr) -> io::Result<()> {
        let path = self.path(ino);
        let none = AtFlags::empty();
        if let Some(mode) = set.mode {
            let mode = Mode::from_raw_mode(mode);
            acting(who, || rustix::fs::chmodat(CWD, &path, mode, none))?;
        }
        if set.uid.is_some() || set.gid.is_some() {
            let (uid, gid) = (set.uid.map(Uid::from_raw), set.gid.map(Gid::from_raw));
            acting(who, || rustix::fs::chownat(CWD, &path, uid, gid, none))?;
        }
        if let Some(size) = set.size {
            acting(who, || {
                let file = rustix::fs::open(&path, OFlags::WRONLY, Mode::empty())?;
                rustix::fs::ftruncate(file, size)
            })?;
        }
        let omit = rustix::fs::UTIME_OMIT;
        let spec = |set: SetTime| match set {
            SetTime::Keep => Timespec { tv_sec: 0, tv_nsec: omit },
            SetTime::Now => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
            SetTime::At(at) => Timespec { tv_sec: at.seconds, tv_nsec: at.nanoseconds.into() },
        };
        let times = Timestamps { last_access: spec(set.atime), last_modification: spec(set.mtime) };
        acting(who, || rustix::fs::utimensat(CWD, &path, &times, none))
    }

    fn xattrs(&self, who: &Credentials, op: &Op) -> io::Result<Answer> {
        let mut buffer = vec![0; 65_536];
        match op {
            Op::Setxattr(ino, name, value, mode) => {
                let flags = match mode {
                    XattrMode::Any => XattrFlags::empty(),
                    XattrMode::Create => XattrFlags::CREATE,
                    XattrMode::Replace => XattrFlags::REPLACE,
                };
                let path = self.path(*ino);
                acting(who, || rustix::fs::setxattr(&path, *name, value, flags))?;
                Ok(Answer::Done)
            }
            Op::SetAcl(ino, name, acl) => {
                let (path, value) = (self.path(*ino), acl.encode());
                acting(who, || rustix::fs::setxattr(&path, *name, &value, XattrFlags::empty()))?;
                Ok(Answer::Done)
            }
            Op::Removexattr(ino, name) => {
                let path = self.path(*ino);
                acting(who, || rustix::fs::removexattr(&path, *name))?;
                Ok(Answer::Done)
            }
            Op::Getxattr(ino, name) => {
                let path = self.path(*ino);
                let size = acting(who, || rustix::fs::getxattr(&path, *name, &mut buffer[..]))?;
                buffer.truncate(size);
                Ok(Answer::Value(buffer.into()))
            }
            Op::Listxattr(ino) => {
                let path = self.path(*ino);
                let size = acting(who, || rustix::fs::listxattr(&path, &mut buffer[..]))?;
                let names = buffer[..size].split(|byte| *byte == 0).filter(|name| !name.is_empty());
                let mut names: Vec<_> = names.map(Bytes::copy_from_slice).collect();
                names.sort();
                Ok(Answer::Keys(names))
            }
            other => unreachable!("{other:?} is done elsewhere"),
        }
    }
}

impl Subject for Kernel {
    fn apply(&mut self, who: &Credentials, op: &Op, _now: FileTime) -> Outcome {
        self.names(who, op).map_err(|error| {
            let kind = error.raw_os_error().and_then(ErrorKind::from_errno);
            kind.unwrap_or_else(|| FsError::from(error).kind())
        })
    }

    fn state(&mut self, ino: Ino) -> Option<Attr> {
        self.held.contains_key(&ino).then(|| self.attr(ino))
    }
}

/// Makes system calls as somebody, in this thread only.
fn acting<T>(who: &Credentials, call: impl FnOnce() -> rustix::io::Result<T>) -> io::Result<T> {
    let (root, root_group) = (Uid::ROOT, Gid::ROOT);
    let groups: Vec<_> = who.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let umask = rustix::process::umask(Mode::from_raw_mode(who.umask));
    set_thread_groups(&groups)?;
    set_thread_res_gid(None, Gid::from_raw(who.gid), None)?;
    set_thread_res_uid(None, Uid::from_raw(who.uid), None)?;
    let answer = call();
    set_thread_res_uid(None, root, None)?;
    set_thread_res_gid(None, root_group, None)?;
    rustix::process::umask(umask);
    Ok(answer?)
}

fn hold(at: impl std::os::fd::AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, OsStr::from_bytes(name), flags, Mode::empty())
}

fn as_path(name: &Name) -> &OsStr {
    OsStr::from_bytes(name.as_bytes())
}

fn open_flags(wanted: Access) -> OFlags {
    let access = match (wanted.includes(Access::READ), wanted.includes(Access::WRITE)) {
        (true, true) => OFlags::RDWR,
        (false, true) => OFlags::WRONLY,
        _ => OFlags::RDONLY,
    };
    access | OFlags::NONBLOCK | OFlags::CLOEXEC
}

fn statx(held: &OwnedFd) -> Statx {
    rustix::fs::statx(held, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).unwrap()
}

fn attr_of(ino: Ino, stat: &Statx) -> Attr {
    let mode = u32::from(stat.stx_mode);
    let kind = FileKind::from_mode(mode).unwrap();
    let time = |time: rustix::fs::StatxTimestamp| FileTime {
        seconds: time.tv_sec,
        nanoseconds: time.tv_nsec,
    };
    let is_device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
    let rdev = (stat.stx_rdev_major << 8) | stat.stx_rdev_minor;
    Attr {
        ino,
        generation: 0,
        kind,
        mode: mode & 0o7777,
        nlink: stat.stx_nlink,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        rdev: if is_device { rdev } else { 0 },
        size: stat.stx_size,
        bytes: 0,
        atime: time(stat.stx_atime),
        mtime: time(stat.stx_mtime),
        ctime: time(stat.stx_ctime),
        btime: FileTime::default(),
        data_version: 0,
        has_xattrs: false,
    }
}
