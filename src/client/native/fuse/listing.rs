//! Directories in the kernel's form, as much as it has room for.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use fuser::{FileType, INodeNo, ReplyDirectory, ReplyDirectoryPlus};

use super::{KERNEL_TTL, convert};
use crate::types::{Attr, Cookie, DirEntry, Ino};

/// What `..` stands for, and entries.
type Page = (Ino, Vec<DirEntry>);

/// `.` and `..`, as far as they are behind `after`.
fn dots(
    here: Ino,
    parent: Ino,
    after: Cookie,
) -> impl Iterator<Item = (Cookie, Ino, &'static str)> {
    let dots = [(Cookie::DOT, here, "."), (Cookie::DOT_DOT, parent, "..")];
    dots.into_iter().filter(move |(cookie, _, _)| *cookie > after)
}

pub(super) fn fill(reply: &mut ReplyDirectory, here: Ino, after: Cookie, (parent, entries): &Page) {
    for (cookie, ino, name) in dots(here, *parent, after) {
        if reply.add(INodeNo(ino.0), cookie.0, FileType::Directory, name) {
            return;
        }
    }
    for entry in entries {
        let name = OsStr::from_bytes(entry.name.as_bytes());
        if reply.add(INodeNo(entry.ino.0), entry.cookie.0, convert::kind(entry.kind), name) {
            return;
        }
    }
}

/// As [`fill`], with attributes: each entry is a lookup of the kernel's. It asks again for those
/// that are `unsent`.
pub(super) fn fill_plus(
    reply: &mut ReplyDirectoryPlus,
    here: &Attr,
    after: Cookie,
    (parent, entries): &Page,
    unsent: &[Ino],
) {
    for (cookie, ino, name) in dots(here.ino, *parent, after) {
        // The kernel takes only number and kind of these two (`fuse_direntplus_link`).
        let mut attr = convert::attr(here);
        attr.ino = INodeNo(ino.0);
        if reply.add(attr.ino, cookie.0, name, &KERNEL_TTL, &attr, convert::generation(here)) {
            return;
        }
    }
    for entry in entries {
        let Some(attr) = &entry.attr else { continue };
        let name = OsStr::from_bytes(entry.name.as_bytes());
        let (ino, generation) = (INodeNo(entry.ino.0), convert::generation(attr));
        let kernel_attr = convert::attr(attr);
        let ttl = if unsent.contains(&entry.ino) { Duration::ZERO } else { KERNEL_TTL };
        if reply.add(ino, entry.cookie.0, name, &ttl, &kernel_attr, generation) {
            return;
        }
    }
}
