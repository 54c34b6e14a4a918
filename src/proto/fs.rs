//! `fs.*`: the native file system at the master. Each method is one transaction there, and has the
//! name of the operation in every other layer.
//!
//! `who` is whom the client says it asks for; TLS proves the server only. It goes with what POSIX
//! permits by user: finding and changing names, opening, attributes. `fs.getattr`, `fs.readlink`,
//! `fs.layout` and `fs.place` have none, on purpose: who has an inode has found it by its name, who
//! has its chunks read or placed has opened it, and neither needs a permission after that.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::limits::{DIRECTORY_PAGE_MAX, LAYOUT_PAGE_MAX};
pub use crate::proto::append::{AbortAppend, Append, Appended};
use crate::proto::field::{Packed, method};
use crate::proto::values::Done;
pub use crate::proto::xattr::{GetXattr, ListXattr, RemoveXattr, SetXattr};
use crate::types::{
    Access, Attr, ChunkKey, ChunkLayout, Cookie, Credentials, DirPage, FileKind, Ino, Name,
    RenameMode, SetAttr,
};

/// Bytes of an entry of a directory with its attributes: half of them are for the name.
const ENTRY_SIZE_MAX: u64 = 512;

/// Bytes of the place of a chunk: nearly all are for the URL of its server.
const LAYOUT_SIZE_MAX: u64 = 512;

/// A session of one client: see [`crate::proto::session`]. 0 stands for none.
pub type SessionId = u64;

/// A file that was opened or created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Its attributes at that moment.
    pub attr: Attr,
    /// Whether it was made by this call.
    pub is_new: bool,
    /// The first chunks it has, so that reading a small file needs no other question. For a new
    /// file, or one opened to write that has none, where its first chunk will be.
    pub layout: Vec<ChunkLayout>,
    /// The attributes of the directory, if the file was opened by name.
    pub parent: Option<Attr>,
    /// The first entries of a directory, with their attributes, so that listing a small one needs no
    /// other question.
    pub listing: Option<DirPage>,
}

/// What a change of names did to inodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The attributes, afterwards, of those that changed: directories, and what the names stood for.
    pub attributes: Vec<Attr>,
    /// Those that are gone.
    pub gone: Vec<Ino>,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenMode {
    /// What the handle may be used for.
    pub access: Access,
    /// Cut it to nothing (`O_TRUNC`).
    pub is_truncating: bool,
    /// It must be new (`O_EXCL`); for `fs.create` only.
    pub is_exclusive: bool,
    /// The time of access stays (`O_NOATIME`).
    pub keeps_atime: bool,
}

/// Room and numbers of the whole file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatFs {
    /// Bytes on all chunk servers together.
    pub total: u64,
    /// Of these, free.
    pub free: u64,
    /// Inodes there are.
    pub inodes: u64,
}

/// Where a write ended, for `fs.extend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The offset behind the last byte written: the file is at least this large afterwards.
    pub end: u64,
    /// Whether contents changed, so that size and times follow. If not, this only tells that every
    /// replica of these chunks has the version named, with all cuts made, and what they take up.
    pub is_modified: bool,
    /// Whether the answer is to wait until the master has this, and all it did before, on its disk.
    pub is_durable: bool,
}

/// What one chunk takes up now, for the account of space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkBytes {
    /// Which chunk, as the layout named it that the writer went by.
    pub key: ChunkKey,
    /// And which version of it.
    pub version: u64,
    /// Bytes it takes up on one server.
    pub bytes: u64,
}

method! {
    /// The attributes of what a name in a directory stands for.
    [repeatable] Lookup = "fs.lookup" {
        /// The directory.
        parent: Ino,
        /// The name.
        name: Name,
        /// Who asks.
        who: Packed<Credentials>,
    } -> Packed<Attr>
}

method! {
    /// The attributes of an inode.
    [repeatable] GetAttr = "fs.getattr" {
        /// The inode.
        ino: Ino,
    } -> Packed<Attr>
}

method! {
    /// Changes mode, owner, times or size, and answers the new attributes.
    [once] SetAttributes = "fs.setattr" {
        /// The inode.
        ino: Ino,
        /// What to change.
        change: Packed<SetAttr>,
        /// Who asks.
        who: Packed<Credentials>,
        /// The session that asks, or 0: it is not told what it knows from the answer.
        session: SessionId,
    } -> Packed<Attr>
}

method! {
    /// Whether somebody may do something with an inode.
    [repeatable] CheckAccess = "fs.access" {
        /// The inode.
        ino: Ino,
        /// What.
        wanted: Packed<Access>,
        /// Who.
        who: Packed<Credentials>,
    } -> Done
}

method! {
    /// The target of a symbolic link.
    [repeatable] ReadLink = "fs.readlink" {
        /// The link.
        ino: Ino,
    } -> Bytes
}

method! {
    /// Makes a directory.
    [once] MakeDir = "fs.mkdir" {
        /// Where.
        parent: Ino,
        /// Its name.
        name: Name,
        /// Permission bits.
        mode: u32,
        /// Who asks.
        who: Packed<Credentials>,
        /// The session that asks, or 0: it is not told what it knows from the answer.
        session: SessionId,
    } -> Packed<Attr>
}

method! {
    /// Makes a regular file, device, fifo or socket, without opening it.
    [once] MakeNode = "fs.mknod" {
        /// Where.
        parent: Ino,
        /// Its name.
        name: Name,
        /// What it is.
        kind: Packed<FileKind>,
        /// Permission bits.
        mode: u32,
        /// Which device, in the kernel's 32-bit encoding.
        rdev: u32,
        /// Who asks.
        who: Packed<Credentials>,
        /// The session that asks, or 0: it is not told what it knows from the answer.
        session: SessionId,
    } -> Packed<Attr>
}

method! {
    /// Makes a symbolic link.
    [once] MakeSymlink = "fs.symlink" {
        /// Where.
        parent: Ino,
        /// Its name.
        name: Name,
        /// What it points to.
        target: Bytes,
        /// Who asks.
        who: Packed<Credentials>,
        /// The session that asks, or 0: it is not told what it knows from the answer.
        session: SessionId,
    } -> Packed<Attr>
}

method! {
    /// Gives an inode one more name.
    [once] MakeLink = "fs.link" {
        /// The inode.
        ino: Ino,
        /// Where.
        parent: Ino,
        /// The new name.
        name: Name,
        /// Who asks.
        who: Packed<Credentials>,
        /// The session that asks, or 0: it is not told what it knows from the answer.
        session: SessionId,
    } -> Packed<Attr>
}

method! {
    /// Takes a name of a file away, and answers what changed of inodes.
    [once] Unlink = "fs.unlink" {
        /// The directory.
        parent: Ino,
        /// The name.
        name: Name,
        /// Who asks.
        who: Packed<Credentials>,
        /// The session that asks, or 0: it is not told what it knows from the answer.
        session: SessionId,
    } -> Packed<Changed>
}

method! {
    /// Removes an empty directory, and answers what changed of inodes.
    [once] RemoveDir = "fs.rmdir" {
        /// The directory it is in.
        parent: Ino,
        /// Its name.
        name: Name,
        /// Who asks.
        who: Packed<Credentials>,
        /// The session that asks, or 0: it is not told what it knows from the answer.
        session: SessionId,
    } -> Packed<Changed>
}

method! {
    /// Renames, replaces or exchanges, in one step, and answers what changed of inodes.
    [once] Rename = "fs.rename" {
        /// The directory.
        parent: Ino,
        /// The name.
        name: Name,
        /// The new directory.
        new_parent: Ino,
        /// The new name.
        new_name: Name,
        /// What to do if that is taken.
        mode: Packed<RenameMode>,
        /// Who asks.
        who: Packed<Credentials>,
        /// The session that asks, or 0: it is not told what it knows from the answer.
        session: SessionId,
    } -> Packed<Changed>
}

method! {
    /// Opens a file by its inode.
    [once] Open = "fs.open" {
        /// The file.
        ino: Ino,
        /// How.
        mode: Packed<OpenMode>,
        /// Who asks.
        who: Packed<Credentials>,
        /// The session that holds it open.
        session: SessionId,
    } -> Packed<Opened>
}

method! {
    /// Opens a file by name, and makes it if it is not there.
    [once] Create = "fs.create" {
        /// The directory.
        parent: Ino,
        /// The name.
        name: Name,
        /// Permission bits, if it is new.
        mode: u32,
        /// How it is opened.
        open: Packed<OpenMode>,
        /// Who asks.
        who: Packed<Credentials>,
        /// The session that holds it open.
        session: SessionId,
    } -> Packed<Opened>
}

method! {
    /// A page of a directory.
    [repeatable] ReadDir = "fs.readdir" {
        /// The directory.
        ino: Ino,
        /// The entries behind this one.
        after: Packed<Cookie>,
        /// Where the listing ends, from its first page; none for the first page.
        until: Packed<Option<Cookie>>,
        /// Entries at most.
        limit: u32,
        /// Whether each comes with its attributes.
        with_attributes: bool,
        /// Who asks.
        who: Packed<Credentials>,
    } -> Packed<DirPage>, at most |call| {
        u64::from(call.limit).min(DIRECTORY_PAGE_MAX as u64) * ENTRY_SIZE_MAX
    }
}

method! {
    /// Room and numbers of the whole file system.
    [repeatable] StatFileSystem = "fs.statfs" {} -> Packed<StatFs>
}

method! {
    /// Where chunks of a file are, in ascending order. Those it does not have are left out, so a
    /// file of holes is looked through in few calls.
    [repeatable] Layout = "fs.layout" {
        /// The file.
        ino: Ino,
        /// The first chunk.
        index: u64,
        /// Chunks at most, from that index on; more than one index may be passed over for each.
        count: u32,
    } -> Packed<Vec<ChunkLayout>>, at most |call| {
        u64::from(call.count).min(LAYOUT_PAGE_MAX as u64) * LAYOUT_SIZE_MAX
    }
}

method! {
    /// Places the chunks of a file that are not placed yet, each on the server with the smallest
    /// size, and answers the layout of all of them.
    [repeatable] Place = "fs.place" {
        /// The file.
        ino: Ino,
        /// Which chunks.
        indexes: Packed<Vec<u64>>,
    } -> Packed<Vec<ChunkLayout>>
}

method! {
    /// Tells that contents were written: size, times and space follow, and others are told. `Stale`
    /// if a chunk was cut or forgotten meanwhile: ask for the layout, and write again.
    [repeatable] Extend = "fs.extend" {
        /// The file.
        ino: Ino,
        /// What was written.
        written: Packed<Written>,
        /// What its chunks take up now.
        chunks: Packed<Vec<ChunkBytes>>,
        /// Who wrote.
        who: Packed<Credentials>,
        /// The session that wrote, which need not be told.
        session: SessionId,
    } -> Packed<Attr>
}
