//! Which answer goes with which of fuser's replies.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use bytes::Bytes;
use fuser::{
    Errno, FileHandle, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr,
};

use super::convert::{file_attr, file_type};
use crate::client::vfs::{Handle, StatFs};
use crate::types::{Attr, Cookie, DirPage, FileKind};

/// The kernel is to ask again each time.
const NO_TIME: Duration = Duration::ZERO;

/// A reply to a request, which must be used once.
pub(super) trait Answer<T>: Send + 'static {
    /// Answers with what was asked for.
    fn answer(self, done: T);

    /// Answers with an error.
    fn refuse(self, errno: Errno);
}

macro_rules! answer {
    ($($reply:ident, $type:ty: |$self:ident, $done:pat_param| $answer:expr;)*) => {
        $(impl Answer<$type> for $reply {
            fn answer($self, $done: $type) {
                $answer;
            }

            fn refuse(self, errno: Errno) {
                self.error(errno);
            }
        })*
    };
}

answer! {
    ReplyEmpty, (): |self, ()| self.ok();
    ReplyAttr, Attr: |self, attr| self.attr(&NO_TIME, &file_attr(&attr));
    ReplyEntry, Attr: |self, attr| {
        self.entry(&NO_TIME, &file_attr(&attr), Generation(attr.generation.into()))
    };
    ReplyOpen, Handle: |self, handle| self.opened(FileHandle(handle.0), FopenFlags::empty());
    ReplyCreate, (Attr, Handle): |self, (attr, handle)| {
        let generation = Generation(attr.generation.into());
        let (handle, flags) = (FileHandle(handle.0), FopenFlags::empty());
        self.created(&NO_TIME, &file_attr(&attr), generation, handle, flags)
    };
    ReplyData, Bytes: |self, data| self.data(&data);
    ReplyWrite, u32: |self, size| self.written(size);
    ReplyDirectory, Listing: |self, listing| fill(self, listing);
    ReplyStatfs, StatFs: |self, fs| {
        let (size, free) = (fs.block_size, fs.free_blocks);
        self.statfs(fs.blocks, free, free, fs.files, fs.files, size, fs.name_size_max, size)
    };
    // A caller asks with size 0 how much room the answer takes.
    ReplyXattr, Bounded: |self, bounded| match u32::try_from(bounded.answer.len()) {
        Ok(length) if bounded.room == 0 => self.size(length),
        Ok(length) if length <= bounded.room => self.data(&bounded.answer),
        _ => self.error(Errno::ERANGE),
    };
}

/// An answer for which the caller has some room.
pub(super) struct Bounded {
    pub(super) room: u32,
    pub(super) answer: Bytes,
}

/// Entries behind an offset of a directory.
pub(super) struct Listing {
    pub(super) ino: INodeNo,
    pub(super) offset: u64,
    pub(super) page: DirPage,
}

/// As many entries as there is room for.
fn fill(mut reply: ReplyDirectory, listing: Listing) {
    let Listing { ino, offset, page } = listing;
    let dots = [(Cookie::DOT, ino, "."), (Cookie::DOT_DOT, INodeNo(page.parent.0), "..")];
    let mut is_full = false;
    for (cookie, ino, name) in dots {
        let is_due = cookie.0 > offset;
        is_full |= is_due && reply.add(ino, cookie.0, file_type(FileKind::Directory), name);
    }
    for entry in page.entries {
        let (name, kind) = (OsStr::from_bytes(entry.name.as_bytes()), file_type(entry.kind));
        is_full = is_full || reply.add(INodeNo(entry.ino.0), entry.cookie.0, kind, name);
    }
    reply.ok();
}
