//! The kernel's requests, one method each: arguments in, a task that answers.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo, InitFlags,
    KernelConfig, LockOwner, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLock, ReplyLseek, ReplyOpen, ReplyStatfs,
    ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::answer::{Bounded, LookupReply, Page};
use super::convert::{bytes, handle, ino, lock, name, rename_mode, set_time, xattr_mode};
use super::{Adapter, at, on, who};
use crate::client::vfs::{Handle, Node, OpenFlags, Opened, Vfs};
use crate::error::{ErrorKind, FsError};
use crate::proto::session::LockKind;
use crate::types::{Attr, Cookie, FileKind, SetAttr, Whence};

/// Largest write, and largest read ahead of a reader, of the kernel, in bytes.
const REQUEST_SIZE_MAX: u32 = 1 << 20;

/// Requests of its own making (reading ahead) that the kernel has under way at once.
const BACKGROUND_MAX: u16 = 64;

/// Bits of a mode that are permissions.
const PERMISSIONS: u32 = 0o7777;

/// What the kernel is asked for where the file system knows all of POSIX. Not
/// `FUSE_ATOMIC_O_TRUNC`: with it a program that is being executed is cut before the kernel finds
/// that it must not be (ETXTBSY), and dies. Nor `FUSE_AUTO_INVAL_DATA`: with it the kernel drops the
/// pages of a file after each write through this very mount; what others write it is told of.
const POSIX_ABILITIES: [InitFlags; 12] = [
    InitFlags::FUSE_POSIX_LOCKS,
    InitFlags::FUSE_FLOCK_LOCKS,
    InitFlags::FUSE_DONT_MASK,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    InitFlags::FUSE_POSIX_ACL,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
    InitFlags::FUSE_EXPORT_SUPPORT,
];

/// What it is asked for elsewhere. Where the kernel cannot, it truncates with a request of its own,
/// and programs that keep a file open see later what others have written.
const PLAIN_ABILITIES: [InitFlags; 2] =
    [InitFlags::FUSE_ATOMIC_O_TRUNC, InitFlags::FUSE_AUTO_INVAL_DATA];

/// `run!(self, subject, reply, vfs => call)`: carries out a call of the file system.
macro_rules! run {
    ($self:ident, $subject:expr, $reply:expr, $vfs:ident => $call:expr) => {{
        let $vfs = $self.vfs.clone();
        $self.run($subject, $reply, async move { $call.await });
    }};
    // The same with what undoes it, if nobody waits any more.
    ($self:ident, $subject:expr, $reply:expr, $vfs:ident => $call:expr, $undo:expr) => {{
        let $vfs = $self.vfs.clone();
        $self.run_or_undo($subject, $reply, async move { $call.await }, $undo);
    }};
}

impl<V: Vfs> Filesystem for Adapter<V> {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let is_posix = self.policy.is_posix;
        let wanted = if is_posix { &POSIX_ABILITIES[..] } else { &PLAIN_ABILITIES };
        for flag in wanted {
            if config.add_capabilities(*flag).is_err() {
                tracing::info!("this kernel does not know {flag:?}");
            }
        }
        // The nearest value that this kernel takes comes back as an error.
        config.set_max_write(REQUEST_SIZE_MAX).ok();
        config.set_max_readahead(REQUEST_SIZE_MAX).ok();
        config.set_max_background(BACKGROUND_MAX).ok();
        if !is_posix {
            // Times are floating-point numbers there.
            config.set_time_granularity(Duration::from_micros(1)).ok();
        }
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, child: &OsStr, reply: ReplyEntry) {
        let subject = at(request, "lookup", parent, child).of_lookup();
        let (name, who) = (name(child), self.who(request, 0));
        let (reply, number) = (LookupReply(reply), ino(parent));
        // Only for file handles does the kernel ask for these, with any inode for the parent.
        match child.as_encoded_bytes() {
            b"." => return run!(self, subject, reply, vfs => vfs.find(number)),
            b".." => return run!(self, subject, reply, vfs => vfs.find_parent(number)),
            _ => {}
        }
        let attempt = self.attempt(&subject);
        run!(self, subject, reply, vfs => vfs.lookup(number, name?, who, attempt));
    }

    fn forget(&self, _: &Request, number: INodeNo, count: u64) {
        self.vfs.forget(ino(number), count);
    }

    fn getattr(&self, request: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        run!(self, on(request, "getattr", number), reply, vfs => vfs.getattr(ino(number)));
    }

    fn setattr(
        &self,
        request: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        file: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (mode, file) = (mode.map(|mode| mode & PERMISSIONS), file.map(handle));
        let (atime, mtime) = (set_time(atime), set_time(mtime));
        // Whether a handle gives the right to cut the file, the file system knows.
        let change = SetAttr { mode, uid, gid, size, atime, mtime, by_handle: false };
        let (subject, who) = (on(request, "setattr", number), self.who(request, 0));
        run!(self, subject, reply, vfs => vfs.setattr(ino(number), file, change, who));
    }

    fn readlink(&self, request: &Request, number: INodeNo, reply: ReplyData) {
        run!(self, on(request, "readlink", number), reply, vfs => vfs.readlink(ino(number)));
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        child: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let (subject, name) = (at(request, "mknod", parent, child), name(child));
        let (who, mode_bits) = (self.who(request, umask), mode & PERMISSIONS);
        let kind = FileKind::from_mode(mode)
            .ok_or_else(|| FsError::new(ErrorKind::InvalidArgument, "no such kind of file"));
        let node = kind.map(|kind| Node { kind, mode: mode_bits, rdev });
        run!(self, subject, reply, vfs => vfs.mknod(ino(parent), name?, node?, who));
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        child: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let (subject, name) = (at(request, "mkdir", parent, child), name(child));
        let (who, mode) = (self.who(request, umask), mode & PERMISSIONS);
        run!(self, subject, reply, vfs => vfs.mkdir(ino(parent), name?, mode, who));
    }

    fn unlink(&self, request: &Request, parent: INodeNo, child: &OsStr, reply: ReplyEmpty) {
        let (subject, name, who) =
            (at(request, "unlink", parent, child), name(child), self.who(request, 0));
        run!(self, subject, reply, vfs => vfs.unlink(ino(parent), name?, who));
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, child: &OsStr, reply: ReplyEmpty) {
        let (subject, name, who) =
            (at(request, "rmdir", parent, child), name(child), self.who(request, 0));
        run!(self, subject, reply, vfs => vfs.rmdir(ino(parent), name?, who));
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        child: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let (subject, name, who) =
            (at(request, "symlink", parent, child), name(child), self.who(request, 0));
        let target = bytes(target.as_os_str());
        run!(self, subject, reply, vfs => vfs.symlink(ino(parent), name?, target, who));
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        child: &OsStr,
        new_parent: INodeNo,
        new_child: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let subject = at(request, "rename", parent, child).of_rename(new_parent);
        let who = self.who(request, 0);
        let (from, to, mode) = (name(child), name(new_child), rename_mode(flags));
        let (parent, new_parent) = (ino(parent), ino(new_parent));
        run!(self, subject, reply, vfs => {
            vfs.rename((parent, from?), (new_parent, to?), mode?, who)
        });
    }

    fn link(
        &self,
        request: &Request,
        number: INodeNo,
        new_parent: INodeNo,
        child: &OsStr,
        reply: ReplyEntry,
    ) {
        let subject = at(request, "link", new_parent, child).of_link(number);
        let (name, who) = (name(child), self.who(request, 0));
        run!(self, subject, reply, vfs => vfs.link(ino(number), ino(new_parent), name?, who));
    }

    fn open(&self, request: &Request, number: INodeNo, flags: fuser::OpenFlags, reply: ReplyOpen) {
        let (flags, who) = (OpenFlags(flags.0), self.who(request, 0));
        let subject = on(request, "open", number).of_open();
        let attempt = self.attempt(&subject);
        let close = async |vfs: V, opened: Opened| vfs.release(opened.handle).await;
        run!(self, subject, reply, vfs => vfs.open(ino(number), flags, who, attempt), close);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        child: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (subject, name) = (at(request, "create", parent, child).of_create(), name(child));
        let (who, mode) = (self.who(request, umask), mode & PERMISSIONS);
        let (flags, attempt) = (OpenFlags(flags), self.attempt(&subject));
        let close = async |vfs: V, (_, opened): (Attr, Opened)| vfs.release(opened.handle).await;
        run!(self, subject, reply, vfs => {
            vfs.create(ino(parent), name?, mode, flags, who, attempt)
        }, close);
    }

    fn read(
        &self,
        request: &Request,
        number: INodeNo,
        file: FileHandle,
        offset: u64,
        size: u32,
        _: fuser::OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let (vfs, shared) = (self.vfs.clone(), Arc::clone(&self.shared));
        self.run(on(request, "read", number), reply, async move {
            let data = vfs.read(handle(file), offset, size).await?;
            if u32::try_from(data.len()).is_ok_and(|length| length < size) {
                shared.sizes.read_short(ino(number), offset + data.len() as u64);
            }
            Ok(data)
        });
    }

    fn write(
        &self,
        request: &Request,
        number: INodeNo,
        file: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: fuser::OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // Pages of a mapping go where they are, however the file was opened.
        let is_mapped = write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        let appends = OpenFlags(flags.0).appends() && !is_mapped;
        let (data, who) = (Bytes::copy_from_slice(data), self.who(request, 0));
        let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let (vfs, shared) = (self.vfs.clone(), Arc::clone(&self.shared));
        self.run(on(request, "write", number), reply, async move {
            vfs.write(handle(file), offset, data, appends, who).await?;
            // The kernel believes that it went where it meant it to.
            shared.sizes.written(ino(number), offset.saturating_add(size.into()));
            Ok(size)
        });
    }

    fn flush(
        &self,
        request: &Request,
        number: INodeNo,
        file: FileHandle,
        owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        run!(self, on(request, "close", number), reply, vfs => vfs.flush(handle(file), owner.0));
    }

    fn fsync(
        &self,
        request: &Request,
        number: INodeNo,
        file: FileHandle,
        _: bool,
        reply: ReplyEmpty,
    ) {
        run!(self, on(request, "fsync", number), reply, vfs => vfs.fsync(handle(file)));
    }

    fn release(
        &self,
        request: &Request,
        number: INodeNo,
        file: FileHandle,
        _: fuser::OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        run!(self, on(request, "release", number), reply, vfs => vfs.release(handle(file)));
    }

    fn opendir(&self, request: &Request, number: INodeNo, _: fuser::OpenFlags, reply: ReplyOpen) {
        let who = self.who(request, 0);
        let close = async |vfs: V, directory: Handle| {
            vfs.releasedir(directory);
            Ok(())
        };
        let subject = on(request, "opendir", number);
        run!(self, subject, reply, vfs => vfs.opendir(ino(number), who), close);
    }

    fn readdir(
        &self,
        request: &Request,
        number: INodeNo,
        directory: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        let (ino, after) = (ino(number), Cookie(offset));
        let (vfs, who) = (self.vfs.clone(), self.who(request, 0));
        self.run(on(request, "readdir", number), reply, async move {
            let listing = vfs.readdir(handle(directory), after, false, who).await?;
            Ok(Page { ino, after, listing })
        });
    }

    fn readdirplus(
        &self,
        request: &Request,
        number: INodeNo,
        directory: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        let (ino, after) = (ino(number), Cookie(offset));
        let (vfs, who) = (self.vfs.clone(), self.who(request, 0));
        self.run(on(request, "readdirplus", number), reply, async move {
            let listing = vfs.readdir(handle(directory), after, true, who).await?;
            Ok((vfs.getattr(ino).await?, Page { ino, after, listing }))
        });
    }

    fn releasedir(
        &self,
        _: &Request,
        _: INodeNo,
        directory: FileHandle,
        _: fuser::OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.vfs.releasedir(handle(directory));
        reply.ok();
    }

    fn fsyncdir(
        &self,
        request: &Request,
        number: INodeNo,
        _: FileHandle,
        _: bool,
        reply: ReplyEmpty,
    ) {
        run!(self, on(request, "fsyncdir", number), reply, vfs => vfs.fsyncdir(ino(number)));
    }

    fn statfs(&self, request: &Request, number: INodeNo, reply: ReplyStatfs) {
        run!(self, on(request, "statfs", number), reply, vfs => vfs.statfs());
    }

    fn setxattr(
        &self,
        request: &Request,
        number: INodeNo,
        attribute: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let (subject, name) = (at(request, "setxattr", number, attribute), bytes(attribute));
        let (value, mode) = (Bytes::copy_from_slice(value), xattr_mode(flags));
        let who = self.who(request, 0);
        run!(self, subject, reply, vfs => vfs.setxattr(ino(number), name, value, mode?, who));
    }

    fn getxattr(
        &self,
        request: &Request,
        number: INodeNo,
        attribute: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        let (subject, name) = (at(request, "getxattr", number, attribute), bytes(attribute));
        let (vfs, who) = (self.vfs.clone(), self.who(request, 0));
        self.run(subject, reply, async move {
            Ok(Bounded { room: size, answer: vfs.getxattr(ino(number), name, who).await? })
        });
    }

    fn listxattr(&self, request: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        let (vfs, who) = (self.vfs.clone(), self.who(request, 0));
        self.run(on(request, "listxattr", number), reply, async move {
            let names = vfs.listxattr(ino(number), who).await?;
            let answer = names.iter().flat_map(|name| name.iter().copied().chain([0])).collect();
            Ok(Bounded { room: size, answer })
        });
    }

    fn removexattr(
        &self,
        request: &Request,
        number: INodeNo,
        attribute: &OsStr,
        reply: ReplyEmpty,
    ) {
        let (subject, name) = (at(request, "removexattr", number, attribute), bytes(attribute));
        let who = self.who(request, 0);
        run!(self, subject, reply, vfs => vfs.removexattr(ino(number), name, who));
    }

    fn getlk(
        &self,
        request: &Request,
        number: INodeNo,
        _: FileHandle,
        owner: LockOwner,
        start: u64,
        end: u64,
        kind: i32,
        pid: u32,
        reply: ReplyLock,
    ) {
        let lock = lock(owner.0, (start, end), kind, pid);
        run!(self, on(request, "getlk", number), reply, vfs => vfs.getlk(ino(number), lock?));
    }

    fn setlk(
        &self,
        request: &Request,
        number: INodeNo,
        file: FileHandle,
        owner: LockOwner,
        start: u64,
        end: u64,
        kind: i32,
        pid: u32,
        waits: bool,
        reply: ReplyEmpty,
    ) {
        let (lock, thread) = (lock(owner.0, (start, end), kind, pid), request.pid());
        let (vfs, file) = (self.vfs.clone(), (ino(number), handle(file)));
        let subject = on(request, "setlk", number);
        let waits = waits && lock.as_ref().is_ok_and(|lock| lock.kind != LockKind::Unlock);
        let work = async move { vfs.setlk(file, lock?, waits, || who::has_signal(thread)).await };
        match waits {
            true => self.run_patiently(subject, reply, work),
            false => self.run(subject, reply, work),
        }
    }

    fn fallocate(
        &self,
        request: &Request,
        number: INodeNo,
        file: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let (subject, who) = (on(request, "fallocate", number), self.who(request, 0));
        let (vfs, shared) = (self.vfs.clone(), Arc::clone(&self.shared));
        self.run(subject, reply, async move {
            vfs.fallocate(handle(file), offset, length, mode, who).await?;
            if mode & libc::FALLOC_FL_KEEP_SIZE == 0 {
                shared.sizes.written(ino(number), offset.saturating_add(length));
            }
            Ok(())
        });
    }

    fn lseek(
        &self,
        request: &Request,
        number: INodeNo,
        file: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let target = match whence {
            libc::SEEK_DATA => Whence::Data,
            libc::SEEK_HOLE => Whence::Hole,
            _ => return reply.error(Errno::EINVAL),
        };
        let Ok(offset) = u64::try_from(offset) else { return reply.error(Errno::ENXIO) };
        run!(self, on(request, "lseek", number), reply, vfs => vfs.seek(handle(file), offset, target));
    }

    fn copy_file_range(
        &self,
        request: &Request,
        number: INodeNo,
        source: FileHandle,
        source_at: u64,
        target_number: INodeNo,
        target: FileHandle,
        target_at: u64,
        length: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let (from, to) = ((handle(source), source_at), (handle(target), target_at));
        let (vfs, who) = (self.vfs.clone(), self.who(request, 0));
        let shared = Arc::clone(&self.shared);
        self.run(on(request, "copy_file_range", number), reply, async move {
            let copied = vfs.copy_file_range(from, to, length, who).await?;
            shared.sizes.written(ino(target_number), target_at.saturating_add(copied));
            // One call copies within a chunk, so the count fits.
            Ok(u32::try_from(copied).unwrap_or(u32::MAX))
        });
    }
}
