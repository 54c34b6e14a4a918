//! Which answer goes with which of fuser's replies.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fuser::{
    Errno, FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLock, ReplyLseek,
    ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr,
};

use super::convert::{absent, file_attr, file_type, lock_kind, open_flags};
use super::sizes::KernelSizes;
use crate::client::vfs::{Handle, Listing, Opened};
use crate::limits;
use crate::proto::fs::StatFs;
use crate::proto::session::{Lock, LockKind};
use crate::types::{Attr, Cookie, Ino};

/// `statfs` counts room in these units, in bytes.
const STATFS_BLOCK: u32 = 4096;

/// Inodes that `statfs` says are free: there is no limit.
const FREE_INODES: u64 = u32::MAX as u64;

/// How the kernel is told of attributes.
#[derive(Clone, Copy)]
pub(super) struct Telling<'a> {
    /// How long it may use them, and names.
    pub(super) ttl: Duration,
    /// Where it is noted what it believes now.
    pub(super) sizes: &'a KernelSizes,
    /// When its question was read.
    pub(super) received: Instant,
}

impl Telling<'_> {
    /// Attributes in FUSE's words, which the kernel is about to be told.
    fn attr(&self, attr: &Attr) -> FileAttr {
        self.sizes.told(attr, self.received);
        file_attr(attr)
    }
}

/// A reply to a request, which must be used once.
pub(super) trait Answer<T>: Send + 'static {
    /// Answers with what was asked for.
    fn answer(self, done: T, telling: Telling<'_>);

    /// Answers with an error, which the kernel may remember for `ttl` if it is about a name.
    fn refuse(self, errno: Errno, ttl: Duration);
}

macro_rules! answer {
    ($($reply:ident, $type:ty: |$self:ident, $done:pat_param, $telling:pat_param| $answer:expr;)*) => {
        $(impl Answer<$type> for $reply {
            fn answer($self, $done: $type, $telling: Telling<'_>) {
                $answer;
            }

            fn refuse(self, errno: Errno, _: Duration) {
                self.error(errno);
            }
        })*
    };
}

answer! {
    ReplyEmpty, (): |self, (), _| self.ok();
    ReplyAttr, Attr: |self, attr, telling| self.attr(&telling.ttl, &telling.attr(&attr));
    ReplyEntry, Attr: |self, attr, telling| {
        self.entry(&telling.ttl, &telling.attr(&attr), generation(&attr))
    };
    ReplyOpen, Handle: |self, handle, _| self.opened(FileHandle(handle.0), FopenFlags::empty());
    ReplyOpen, Opened: |self, opened, _| {
        self.opened(FileHandle(opened.handle.0), open_flags(opened.pages))
    };
    ReplyCreate, (Attr, Opened): |self, (attr, opened), telling| {
        telling.sizes.created(&attr);
        let (attr, generation) = (file_attr(&attr), generation(&attr));
        let (handle, flags) = (FileHandle(opened.handle.0), open_flags(opened.pages));
        self.created(&telling.ttl, &attr, generation, handle, flags)
    };
    ReplyData, Bytes: |self, data, _| self.data(&data);
    ReplyWrite, u32: |self, size, _| self.written(size);
    ReplyDirectory, Page: |self, page, _| fill(self, &page);
    ReplyDirectoryPlus, (Attr, Page): |self, (here, page), telling| {
        fill_plus(self, &here, &page, telling)
    };
    ReplyStatfs, StatFs: |self, room, _| {
        let blocks = |bytes: u64| bytes / u64::from(STATFS_BLOCK);
        let (total, free) = (blocks(room.total), blocks(room.free));
        let (inodes, block) = (room.inodes + FREE_INODES, STATFS_BLOCK);
        let name_max = u32::try_from(limits::NAME_SIZE_MAX).unwrap_or(u32::MAX);
        self.statfs(total, free, free, inodes, FREE_INODES, block, name_max, block)
    };
    // A caller asks with size 0 how much room the answer takes.
    ReplyXattr, Bounded: |self, bounded, _| match u32::try_from(bounded.answer.len()) {
        Ok(length) if bounded.room == 0 => self.size(length),
        Ok(length) if length <= bounded.room => self.data(&bounded.answer),
        _ => self.error(Errno::ERANGE),
    };
    ReplyLock, Option<Lock>: |self, lock, _| match lock {
        Some(lock) => self.locked(lock.start, lock.end, lock_kind(lock.kind), lock.pid),
        None => self.locked(0, 0, lock_kind(LockKind::Unlock), 0),
    };
}

/// An answer for which the caller has some room.
pub(super) struct Bounded {
    pub(super) room: u32,
    pub(super) answer: Bytes,
}

/// The reply to a lookup, which may be that there is nothing, for some time.
pub(super) struct LookupReply(pub(super) ReplyEntry);

impl Answer<Attr> for LookupReply {
    fn answer(self, attr: Attr, telling: Telling<'_>) {
        self.0.answer(attr, telling);
    }

    fn refuse(self, errno: Errno, ttl: Duration) {
        if errno == Errno::ENOENT && !ttl.is_zero() {
            self.0.entry(&ttl, &absent(), Generation(0));
        } else {
            self.0.error(errno);
        }
    }
}

impl Answer<u64> for ReplyLseek {
    fn answer(self, offset: u64, _: Telling<'_>) {
        self.offset(offset.cast_signed());
    }

    fn refuse(self, errno: Errno, _: Duration) {
        // The kernel then looks by itself, at a file without holes.
        self.error(if errno == Errno::EOPNOTSUPP { Errno::ENOSYS } else { errno });
    }
}

fn generation(attr: &Attr) -> Generation {
    Generation(attr.generation.into())
}

/// Entries behind a cookie of a directory.
pub(super) struct Page {
    pub(super) ino: Ino,
    pub(super) after: Cookie,
    pub(super) listing: Listing,
}

impl Page {
    /// `.` and `..`, as far as they are due.
    fn dots(&self) -> impl Iterator<Item = (Cookie, Ino, &'static str)> {
        let dots = [(Cookie::DOT, self.ino, "."), (Cookie::DOT_DOT, self.listing.parent, "..")];
        let after = self.after;
        dots.into_iter().filter(move |(cookie, _, _)| *cookie > after)
    }
}

/// As many entries as there is room for.
fn fill(mut reply: ReplyDirectory, page: &Page) {
    let mut is_full = false;
    for (cookie, ino, name) in page.dots() {
        is_full = is_full || reply.add(INodeNo(ino.0), cookie.0, FileType::Directory, name);
    }
    for entry in &page.listing.entries {
        let (name, kind) = (OsStr::from_bytes(entry.name.as_bytes()), file_type(entry.kind));
        is_full = is_full || reply.add(INodeNo(entry.ino.0), entry.cookie.0, kind, name);
    }
    reply.ok();
}

/// As [`fill`], with attributes: each entry is a lookup of the kernel's. It asks again for those
/// that are about to change.
fn fill_plus(mut reply: ReplyDirectoryPlus, here: &Attr, page: &Page, telling: Telling<'_>) {
    let mut is_full = false;
    let ttl = telling.ttl;
    for (cookie, ino, name) in page.dots() {
        // The kernel takes only number and kind of these two (`fuse_direntplus_link`).
        let mut attr = file_attr(here);
        attr.ino = INodeNo(ino.0);
        is_full = is_full || reply.add(attr.ino, cookie.0, name, &ttl, &attr, generation(here));
    }
    for entry in &page.listing.entries {
        let Some(attr) = &entry.attr else { continue };
        let is_settled = !page.listing.unsent.contains(&entry.ino);
        let ttl = if is_settled { ttl } else { Duration::ZERO };
        let name = OsStr::from_bytes(entry.name.as_bytes());
        let (ino, found) = (INodeNo(entry.ino.0), file_attr(attr));
        is_full = is_full || reply.add(ino, entry.cookie.0, name, &ttl, &found, generation(attr));
        if !is_full {
            telling.sizes.told(attr, telling.received);
        }
    }
    reply.ok();
}
