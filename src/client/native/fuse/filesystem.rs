//! The kernel's requests, one method each: arguments in, a task that answers.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags,
    INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLock, ReplyLseek,
    ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::adapter::Adapter;
use super::{KERNEL_TTL, convert, listing, who};
use crate::client::native::data::Cluster;
use crate::client::native::{self, Handle, NativeFs};
use crate::limits;
use crate::proto::session::LockKind;
use crate::types::{Access, Cookie, FileKind, SetAttr, Whence};

/// Largest write, and largest read ahead of a reader, of the kernel, in bytes.
const REQUEST_SIZE_MAX: u32 = 1 << 20;

/// Requests of its own making (reading ahead) that the kernel has under way at once.
const BACKGROUND_MAX: u16 = 64;

/// `statfs` counts room in these units, in bytes.
const STATFS_BLOCK: u32 = 4096;

/// A name, or the reply with what is wrong with it.
macro_rules! name_or_refuse {
    ($operation:literal, $name:expr, $reply:ident) => {
        match convert::name($name) {
            Ok(name) => name,
            Err(error) => return $reply.error(convert::errno($operation, &error)),
        }
    };
}

fn handle(number: FileHandle) -> Handle {
    Handle(number.0)
}

impl<C: Cluster> Filesystem for Adapter<C> {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Not FUSE_ATOMIC_O_TRUNC: with it a program that is being executed is cut before the kernel
        // finds that it must not be (ETXTBSY), and dies.
        let wanted = [
            InitFlags::FUSE_POSIX_LOCKS,
            InitFlags::FUSE_FLOCK_LOCKS,
            InitFlags::FUSE_DONT_MASK,
            InitFlags::FUSE_AUTO_INVAL_DATA,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
            InitFlags::FUSE_POSIX_ACL,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
        ];
        for flag in wanted {
            if config.add_capabilities(flag).is_err() {
                tracing::info!("this kernel does not know {flag:?}");
            }
        }
        // The nearest value that this kernel takes comes back as an error.
        config.set_max_write(REQUEST_SIZE_MAX).ok();
        config.set_max_readahead(REQUEST_SIZE_MAX).ok();
        config.set_max_background(BACKGROUND_MAX).ok();
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name_or_refuse!("lookup", name, reply);
        let who = who::credentials(request, 0);
        let parent = convert::ino(parent);
        let work = |fs: Arc<NativeFs<C>>| async move { fs.lookup(parent, &name, &who).await };
        self.answer(request.pid(), "lookup", work, |outcome| match outcome {
            Ok(attr) => {
                reply.entry(&KERNEL_TTL, &convert::attr(&attr), convert::generation(&attr));
            }
            Err(Errno::ENOENT) => {
                reply.entry(&KERNEL_TTL, &convert::absent(), fuser::Generation(0));
            }
            Err(errno) => reply.error(errno),
        });
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let ino = convert::ino(ino);
        self.answer(
            request.pid(),
            "getattr",
            |fs| async move { fs.getattr(ino).await },
            |outcome| match outcome {
                Ok(attr) => reply.attr(&KERNEL_TTL, &convert::attr(&attr)),
                Err(errno) => reply.error(errno),
            },
        );
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
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
        let change = SetAttr {
            mode: mode.map(|mode| mode & 0o7777),
            uid,
            gid,
            size,
            atime: convert::set_time(atime),
            mtime: convert::set_time(mtime),
            by_handle: false,
        };
        let (who, ino) = (who::credentials(request, 0), convert::ino(ino));
        let file = file.map(handle);
        let work = |fs: Arc<NativeFs<C>>| async move { fs.setattr(ino, file, change, &who).await };
        self.answer(request.pid(), "setattr", work, |outcome| match outcome {
            Ok(attr) => reply.attr(&KERNEL_TTL, &convert::attr(&attr)),
            Err(errno) => reply.error(errno),
        });
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        let ino = convert::ino(ino);
        self.answer(
            request.pid(),
            "readlink",
            |fs| async move { fs.readlink(ino).await },
            |o| match o {
                Ok(target) => reply.data(&target),
                Err(errno) => reply.error(errno),
            },
        );
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let name = name_or_refuse!("mknod", name, reply);
        let Some(kind) = FileKind::from_mode(mode) else { return reply.error(Errno::EINVAL) };
        let (who, parent) = (who::credentials(request, umask), convert::ino(parent));
        self.answer_entry(request.pid(), "mknod", reply, |fs| async move {
            fs.mknod(parent, &name, (kind, mode & 0o7777, rdev), &who).await
        });
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let name = name_or_refuse!("mkdir", name, reply);
        let (who, parent) = (who::credentials(request, umask), convert::ino(parent));
        self.answer_entry(request.pid(), "mkdir", reply, |fs| async move {
            fs.mkdir(parent, &name, mode & 0o7777, &who).await
        });
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name_or_refuse!("unlink", name, reply);
        let (who, parent) = (who::credentials(request, 0), convert::ino(parent));
        self.answer_empty(request.pid(), "unlink", reply, |fs| async move {
            fs.unlink(parent, &name, &who).await
        });
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name_or_refuse!("rmdir", name, reply);
        let (who, parent) = (who::credentials(request, 0), convert::ino(parent));
        self.answer_empty(request.pid(), "rmdir", reply, |fs| async move {
            fs.rmdir(parent, &name, &who).await
        });
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let name = name_or_refuse!("symlink", name, reply);
        let (who, parent) = (who::credentials(request, 0), convert::ino(parent));
        let target = convert::bytes(target.as_os_str());
        self.answer_entry(request.pid(), "symlink", reply, |fs| async move {
            fs.symlink(parent, &name, target, &who).await
        });
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let name = name_or_refuse!("rename", name, reply);
        let new_name = name_or_refuse!("rename", new_name, reply);
        let (from, to) = (convert::ino(parent), convert::ino(new_parent));
        let who = who::credentials(request, 0);
        self.answer_empty(request.pid(), "rename", reply, |fs| async move {
            let mode = convert::rename_mode(flags)?;
            fs.rename((from, &name), (to, &new_name), mode, &who).await
        });
    }

    fn link(
        &self,
        request: &Request,
        ino: INodeNo,
        parent: INodeNo,
        name: &OsStr,
        reply: ReplyEntry,
    ) {
        let name = name_or_refuse!("link", name, reply);
        let (ino, parent) = (convert::ino(ino), convert::ino(parent));
        let who = who::credentials(request, 0);
        self.answer_entry(request.pid(), "link", reply, |fs| async move {
            fs.link(ino, parent, &name, &who).await
        });
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (who, ino) = (who::credentials(request, 0), convert::ino(ino));
        let flags = native::OpenFlags(flags.0);
        let work = |fs: Arc<NativeFs<C>>| async move { fs.open(ino, flags, &who).await };
        self.answer(request.pid(), "open", work, move |outcome| match outcome {
            Ok(open) => {
                reply.opened(FileHandle(open.handle.0), convert::open_flags(&open, flags));
            }
            Err(errno) => reply.error(errno),
        });
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let name = name_or_refuse!("create", name, reply);
        let (who, parent) = (who::credentials(request, umask), convert::ino(parent));
        let flags = native::OpenFlags(flags);
        let work = |fs: Arc<NativeFs<C>>| async move {
            fs.create(parent, &name, mode & 0o7777, flags, &who).await
        };
        self.answer(request.pid(), "create", work, move |outcome| match outcome {
            Ok(open) => reply.created(
                &KERNEL_TTL,
                &convert::attr(&open.attr),
                convert::generation(&open.attr),
                FileHandle(open.handle.0),
                convert::open_flags(&open, flags),
            ),
            Err(errno) => reply.error(errno),
        });
    }

    fn read(
        &self,
        request: &Request,
        _: INodeNo,
        file: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let work = |fs: Arc<NativeFs<C>>| async move { fs.read(handle(file), offset, size).await };
        self.answer(request.pid(), "read", work, |outcome| match outcome {
            Ok(data) => reply.data(&data),
            Err(errno) => reply.error(errno),
        });
    }

    fn write(
        &self,
        request: &Request,
        _: INodeNo,
        file: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let who = who::credentials(request, 0);
        let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let data = Bytes::copy_from_slice(data);
        let work =
            |fs: Arc<NativeFs<C>>| async move { fs.write(handle(file), offset, data, &who).await };
        self.answer(request.pid(), "write", work, move |outcome| match outcome {
            Ok(_) => reply.written(size),
            Err(errno) => reply.error(errno),
        });
    }

    fn flush(
        &self,
        request: &Request,
        _: INodeNo,
        file: FileHandle,
        owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        self.answer_empty(request.pid(), "flush", reply, |fs| async move {
            fs.flush(handle(file), owner.0).await
        });
    }

    fn release(
        &self,
        request: &Request,
        _: INodeNo,
        file: FileHandle,
        _: OpenFlags,
        owner: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.answer_empty(request.pid(), "release", reply, |fs| async move {
            fs.release(handle(file), owner.map(|owner| owner.0)).await
        });
    }

    fn fsync(&self, request: &Request, _: INodeNo, file: FileHandle, _: bool, reply: ReplyEmpty) {
        self.answer_empty(request.pid(), "fsync", reply, |fs| async move {
            fs.fsync(handle(file)).await
        });
    }

    fn opendir(&self, request: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let (who, ino) = (who::credentials(request, 0), convert::ino(ino));
        let work = |fs: Arc<NativeFs<C>>| async move { fs.opendir(ino, &who).await };
        self.answer(request.pid(), "opendir", work, |outcome| match outcome {
            Ok(handle) => reply.opened(FileHandle(handle.0), FopenFlags::empty()),
            Err(errno) => reply.error(errno),
        });
    }

    fn readdir(
        &self,
        request: &Request,
        ino: INodeNo,
        directory: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let who = who::credentials(request, 0);
        let work = |fs: Arc<NativeFs<C>>| async move {
            fs.readdir(handle(directory), Cookie(offset), false, &who).await
        };
        self.answer(request.pid(), "readdir", work, move |outcome| match outcome {
            Ok(page) => {
                listing::fill(&mut reply, convert::ino(ino), Cookie(offset), &page);
                reply.ok();
            }
            Err(errno) => reply.error(errno),
        });
    }

    fn readdirplus(
        &self,
        request: &Request,
        ino: INodeNo,
        directory: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let (who, ino) = (who::credentials(request, 0), convert::ino(ino));
        let work = |fs: Arc<NativeFs<C>>| async move {
            let page = fs.readdir(handle(directory), Cookie(offset), true, &who).await?;
            let here = fs.getattr(ino).await?;
            let unsent = fs.unsent(&page.1);
            Ok((here, page, unsent))
        };
        self.answer(request.pid(), "readdirplus", work, move |outcome| match outcome {
            Ok((here, page, unsent)) => {
                listing::fill_plus(&mut reply, &here, Cookie(offset), &page, &unsent);
                reply.ok();
            }
            Err(errno) => reply.error(errno),
        });
    }

    fn releasedir(
        &self,
        _: &Request,
        _: INodeNo,
        directory: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.fs.releasedir(handle(directory));
        reply.ok();
    }

    fn fsyncdir(&self, request: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.answer_empty(
            request.pid(),
            "fsyncdir",
            reply,
            |fs| async move { fs.sync_names().await },
        );
    }

    fn statfs(&self, request: &Request, _: INodeNo, reply: ReplyStatfs) {
        self.answer(
            request.pid(),
            "statfs",
            |fs| async move { fs.statfs().await },
            |outcome| match outcome {
                Ok(room) => {
                    let blocks = |bytes: u64| bytes / u64::from(STATFS_BLOCK);
                    let free_inodes = u64::from(u32::MAX);
                    let name_max = u32::try_from(limits::NAME_SIZE_MAX).unwrap_or(u32::MAX);
                    let (total, free) = (blocks(room.total), blocks(room.free));
                    let inodes = room.inodes + free_inodes;
                    let block = STATFS_BLOCK;
                    reply.statfs(total, free, free, inodes, free_inodes, block, name_max, block);
                }
                Err(errno) => reply.error(errno),
            },
        );
    }

    fn setxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let (who, ino) = (who::credentials(request, 0), convert::ino(ino));
        let (name, value) = (convert::bytes(name), Bytes::copy_from_slice(value));
        self.answer_empty(request.pid(), "setxattr", reply, |fs| async move {
            fs.setxattr(ino, name, value, convert::xattr_mode(flags)?, &who).await
        });
    }

    fn getxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        let (who, ino) = (who::credentials(request, 0), convert::ino(ino));
        let name = convert::bytes(name);
        self.answer_xattr(request.pid(), "getxattr", size, reply, |fs| async move {
            fs.getxattr(ino, name, &who).await
        });
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let (who, ino) = (who::credentials(request, 0), convert::ino(ino));
        self.answer_xattr(request.pid(), "listxattr", size, reply, |fs| async move {
            let names = fs.listxattr(ino, &who).await?;
            Ok(names.iter().flat_map(|name| name.iter().copied().chain([0])).collect())
        });
    }

    fn removexattr(&self, request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (who, ino) = (who::credentials(request, 0), convert::ino(ino));
        let name = convert::bytes(name);
        self.answer_empty(request.pid(), "removexattr", reply, |fs| async move {
            fs.removexattr(ino, name, &who).await
        });
    }

    fn access(&self, request: &Request, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        let (who, ino) = (who::credentials(request, 0), convert::ino(ino));
        let wanted = Access::from_bits(u32::try_from(mask.bits()).unwrap_or(0));
        self.answer_empty(request.pid(), "access", reply, |fs| async move {
            fs.access(ino, wanted, &who).await
        });
    }

    fn getlk(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        owner: LockOwner,
        start: u64,
        end: u64,
        kind: i32,
        pid: u32,
        reply: ReplyLock,
    ) {
        let ino = convert::ino(ino);
        let work = |fs: Arc<NativeFs<C>>| async move {
            fs.getlk(ino, convert::lock(owner.0, (start, end), kind, pid)?).await
        };
        self.answer(request.pid(), "getlk", work, |outcome| match outcome {
            Ok(Some(lock)) => {
                reply.locked(lock.start, lock.end, convert::lock_kind(lock.kind), lock.pid);
            }
            Ok(None) => reply.locked(0, 0, convert::lock_kind(LockKind::Unlock), 0),
            Err(errno) => reply.error(errno),
        });
    }

    fn setlk(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        owner: LockOwner,
        start: u64,
        end: u64,
        kind: i32,
        pid: u32,
        waits: bool,
        reply: ReplyEmpty,
    ) {
        let (ino, thread) = (convert::ino(ino), request.pid());
        let fs = Arc::clone(&self.fs);
        // Waiting for a lock has no end but the lock, or a signal.
        self.runtime.spawn(async move {
            let set = async {
                let lock = convert::lock(owner.0, (start, end), kind, pid)?;
                fs.setlk(ino, lock, waits, || who::has_signal(thread)).await
            };
            match set.await {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(convert::errno("setlk", &error)),
            }
        });
    }

    fn fallocate(
        &self,
        request: &Request,
        _: INodeNo,
        file: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let who = who::credentials(request, 0);
        self.answer_empty(request.pid(), "fallocate", reply, |fs| async move {
            fs.fallocate(handle(file), offset, length, mode, &who).await
        });
    }

    fn lseek(
        &self,
        request: &Request,
        _: INodeNo,
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
        let work =
            |fs: Arc<NativeFs<C>>| async move { fs.seek(handle(file), offset, target).await };
        self.answer(request.pid(), "lseek", work, |outcome| match outcome {
            Ok(found) => reply.offset(found.cast_signed()),
            Err(errno) => reply.error(errno),
        });
    }

    fn copy_file_range(
        &self,
        request: &Request,
        _: INodeNo,
        source: FileHandle,
        source_at: u64,
        _: INodeNo,
        target: FileHandle,
        target_at: u64,
        length: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let who = who::credentials(request, 0);
        let (from, to) = ((handle(source), source_at), (handle(target), target_at));
        let work = |fs: Arc<NativeFs<C>>| async move {
            let copied = fs.copy_file_range(from, to, length, &who).await?;
            // One call copies within a chunk, so the count fits.
            Ok(u32::try_from(copied).unwrap_or(u32::MAX))
        };
        self.answer(request.pid(), "copy_file_range", work, |outcome| match outcome {
            Ok(copied) => reply.written(copied),
            Err(errno) => reply.error(errno),
        });
    }
}
