//! FUSE: converts the kernel's requests and our replies, and knows nothing else.
//!
//! Each request is carried out by a task of its own: so one that waits for a server keeps no
//! other waiting. The kernel asks again for every name and attribute; what may be remembered for
//! a moment is decided below, in one place.

mod answer;
mod convert;

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fuser::{
    BsdFileFlags, Errno, FileHandle, Filesystem, INodeNo, InitFlags, KernelConfig, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use tokio::runtime::Handle as Runtime;

use crate::client::vfs::Vfs;
use crate::error::{ErrorKind, FsError, Result};
use crate::types::{Cookie, FileKind, SetAttr};

use answer::{Answer, Bounded, Listing};
use convert::{
    bytes, handle, ino, mount_options, name, open_mode, rename_mode, report, set_time, who,
    xattr_mode,
};

/// Parts of the log that are of no interest: fuser warns of every request that it has no method
/// for, and the kernel knows what to do without.
pub const QUIET: &[&str] = &["fuser=error"];

/// Mounts a file system. What this gives serves the kernel's requests, until the file system is
/// unmounted, by whomever.
///
/// # Errors
/// What the system says.
pub fn mount_session<V: Vfs>(
    adapter: Adapter<V>,
    mountpoint: &Path,
    source: &str,
    allows_other: bool,
) -> io::Result<impl FnOnce() -> io::Result<()> + Send + use<V>> {
    let options = mount_options(source, allows_other);
    let session = fuser::Session::new(adapter, mountpoint, &options)?;
    Ok(move || session.run())
}

/// A file system as fuser wants it.
#[derive(Debug)]
pub struct Adapter<V> {
    vfs: Arc<V>,
    runtime: Runtime,
}

/// What a request is about, for the log.
struct Subject {
    operation: &'static str,
    ino: INodeNo,
    name: Bytes,
}

fn on(operation: &'static str, ino: INodeNo) -> Subject {
    Subject { operation, ino, name: Bytes::new() }
}

fn at(operation: &'static str, ino: INodeNo, name: &OsStr) -> Subject {
    Subject { operation, ino, name: bytes(name) }
}

impl<V: Vfs> Adapter<V> {
    /// Requests are carried out by tasks on `runtime`.
    #[must_use]
    pub fn new(vfs: Arc<V>, runtime: Runtime) -> Self {
        Self { vfs, runtime }
    }

    /// Carries out a request and answers it.
    fn run<T, R: Answer<T>>(
        &self,
        subject: Subject,
        reply: R,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) {
        self.runtime.spawn(async move {
            match work.await {
                Ok(done) => reply.answer(done),
                Err(error) => {
                    report(subject.operation, subject.ino, &subject.name, &error);
                    reply.refuse(Errno::from_i32(error.kind().errno()));
                }
            }
        });
    }
}

/// `run!(self, subject, reply, vfs => call)`: carries out a call of the file system.
macro_rules! run {
    ($self:ident, $subject:expr, $reply:ident, $vfs:ident => $call:expr) => {{
        let $vfs = $self.vfs.clone();
        $self.run($subject, $reply, async move { $call.await });
    }};
}

impl<V: Vfs> Filesystem for Adapter<V> {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Where the kernel cannot, it truncates with a request of its own, and programs that keep
        // a file open see later what others have written.
        config.add_capabilities(InitFlags::FUSE_ATOMIC_O_TRUNC).ok();
        config.add_capabilities(InitFlags::FUSE_AUTO_INVAL_DATA).ok();
        config.set_time_granularity(Duration::from_micros(1)).ok();
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, child: &OsStr, reply: ReplyEntry) {
        let (subject, name) = (at("lookup", parent, child), name(child));
        run!(self, subject, reply, vfs => vfs.lookup(ino(parent), name?));
    }

    fn forget(&self, _: &Request, number: INodeNo, count: u64) {
        self.vfs.forget(ino(number), count);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        run!(self, on("getattr", number), reply, vfs => vfs.getattr(ino(number)));
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        fh: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (atime, mtime, by_handle) = (set_time(atime), set_time(mtime), fh.is_some());
        let changes = SetAttr { mode, uid, gid, size, atime, mtime, by_handle };
        let fh = fh.map(handle);
        run!(self, on("setattr", number), reply, vfs => vfs.setattr(ino(number), fh, changes));
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        run!(self, on("readlink", number), reply, vfs => vfs.readlink(ino(number)));
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        child: &OsStr,
        mode: u32,
        _: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let (subject, name, who) = (at("mknod", parent, child), name(child), who(request));
        let kind = FileKind::from_mode(mode)
            .ok_or_else(|| FsError::new(ErrorKind::InvalidArgument, "no such kind of file"));
        run!(self, subject, reply, vfs => vfs.mknod(ino(parent), name?, kind?, mode, who));
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        child: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let (subject, name, who) = (at("mkdir", parent, child), name(child), who(request));
        run!(self, subject, reply, vfs => vfs.mkdir(ino(parent), name?, mode, who));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, child: &OsStr, reply: ReplyEmpty) {
        let (subject, name) = (at("unlink", parent, child), name(child));
        run!(self, subject, reply, vfs => vfs.unlink(ino(parent), name?));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, child: &OsStr, reply: ReplyEmpty) {
        let (subject, name) = (at("rmdir", parent, child), name(child));
        run!(self, subject, reply, vfs => vfs.rmdir(ino(parent), name?));
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        child: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let (subject, name, who) = (at("symlink", parent, child), name(child), who(request));
        let target = bytes(target.as_os_str());
        run!(self, subject, reply, vfs => vfs.symlink(ino(parent), name?, target, who));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        child: &OsStr,
        new_parent: INodeNo,
        new_child: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let subject = at("rename", parent, child);
        let (from, to, mode) = (name(child), name(new_child), rename_mode(flags));
        let (parent, new_parent) = (ino(parent), ino(new_parent));
        run!(self, subject, reply, vfs => vfs.rename((parent, from?), (new_parent, to?), mode?));
    }

    fn link(
        &self,
        _: &Request,
        number: INodeNo,
        new_parent: INodeNo,
        child: &OsStr,
        reply: ReplyEntry,
    ) {
        let (subject, name) = (at("link", new_parent, child), name(child));
        run!(self, subject, reply, vfs => vfs.link(ino(number), ino(new_parent), name?));
    }

    fn open(&self, _: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let mode = open_mode(flags.0);
        run!(self, on("open", number), reply, vfs => vfs.open(ino(number), mode));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        child: &OsStr,
        mode: u32,
        _: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (subject, name, who) = (at("create", parent, child), name(child), who(request));
        let how = open_mode(flags);
        run!(self, subject, reply, vfs => vfs.create(ino(parent), name?, mode, how, who));
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        run!(self, on("read", number), reply, vfs => vfs.read(handle(fh), offset, size));
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // Pages of a mapping go where they are, however the file was opened.
        let is_mapped = write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        let appends = flags.0 & libc::O_APPEND != 0 && !is_mapped;
        let data = Bytes::copy_from_slice(data);
        run!(self, on("write", number), reply, vfs => vfs.write(handle(fh), offset, data, appends));
    }

    fn flush(&self, _: &Request, number: INodeNo, fh: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        run!(self, on("close", number), reply, vfs => vfs.flush(handle(fh)));
    }

    fn fsync(&self, _: &Request, number: INodeNo, fh: FileHandle, _: bool, reply: ReplyEmpty) {
        run!(self, on("fsync", number), reply, vfs => vfs.fsync(handle(fh)));
    }

    fn release(
        &self,
        _: &Request,
        number: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        run!(self, on("release", number), reply, vfs => vfs.release(handle(fh)));
    }

    fn opendir(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        run!(self, on("opendir", number), reply, vfs => vfs.opendir(ino(number)));
    }

    fn readdir(
        &self,
        _: &Request,
        number: INodeNo,
        fh: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        let vfs = self.vfs.clone();
        self.run(on("readdir", number), reply, async move {
            let page = vfs.readdir(handle(fh), Cookie(offset)).await?;
            Ok(Listing { ino: number, offset, page })
        });
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.vfs.releasedir(handle(fh));
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        run!(self, on("fsyncdir", number), reply, vfs => vfs.fsyncdir(ino(number)));
    }

    fn statfs(&self, _: &Request, number: INodeNo, reply: ReplyStatfs) {
        run!(self, on("statfs", number), reply, vfs => vfs.statfs());
    }

    fn setxattr(
        &self,
        _: &Request,
        number: INodeNo,
        attribute: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let (subject, name) = (at("setxattr", number, attribute), bytes(attribute));
        let (value, mode) = (Bytes::copy_from_slice(value), xattr_mode(flags));
        run!(self, subject, reply, vfs => vfs.setxattr(ino(number), name, value, mode?));
    }

    fn getxattr(
        &self,
        _: &Request,
        number: INodeNo,
        attribute: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        let (subject, name) = (at("getxattr", number, attribute), bytes(attribute));
        let vfs = self.vfs.clone();
        self.run(subject, reply, async move {
            Ok(Bounded { room: size, answer: vfs.getxattr(ino(number), name).await? })
        });
    }

    fn listxattr(&self, _: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        let vfs = self.vfs.clone();
        self.run(on("listxattr", number), reply, async move {
            let names = vfs.listxattr(ino(number)).await?;
            let list: Vec<u8> = names.iter().flat_map(|name| [name, &b"\0"[..]].concat()).collect();
            Ok(Bounded { room: size, answer: list.into() })
        });
    }

    fn removexattr(&self, _: &Request, number: INodeNo, attribute: &OsStr, reply: ReplyEmpty) {
        let (subject, name) = (at("removexattr", number, attribute), bytes(attribute));
        run!(self, subject, reply, vfs => vfs.removexattr(ino(number), name));
    }
}
