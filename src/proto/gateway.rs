//! What the two halves of the classic gateway ask each other: the chunk servers where the contents
//! under a path are, and the master for the values that classic clients staged.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::proto::classic::Dialect;
use crate::proto::field::{Packed, method};
use crate::proto::form::Layout;
use crate::proto::path_list::ListForm;
use crate::types::{Attr, ChunkKey, ChunkLayout, Cookie, Ino, Key, Name};

method! {
    /// What a path stands for, for a classic client that writes keys as strings, or as base64.
    [repeatable] Resolve = "cluster.resolve" {
        /// The path.
        key: Key,
        /// Whether the client writes it as a string.
        is_string: bool,
    } -> Packed<Option<Resolved>>
}

/// What a path stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// The inode.
    pub attr: Attr,
    /// Where a symbolic link points; empty for all else.
    pub target: Bytes,
    /// Where the contents of a file are, as far as they can be one value.
    pub chunks: Vec<ChunkLayout>,
    /// The form in which the client expects contents.
    pub layout: Layout,
    /// And the type on the wire, where that can be chosen.
    pub dialect: Dialect,
    /// Seconds until it expires.
    pub ttl_s: u64,
}

method! {
    /// Writes the value that was put under a key into the first chunks of a file of this many
    /// bytes, and leaves the value. The value is the contents, or a pickle of them; of several that
    /// were put, it is the latest of that size. An empty file gets no chunk.
    [repeatable] Take = "chunk.take" {
        /// Where the value is.
        key: Key,
        /// The file's first chunk; the others follow it. Nobody has ever used these.
        chunk: ChunkKey,
        /// The version of the chunks.
        version: u64,
        /// The file's size.
        size: u64,
    } -> Packed<Staged>
}

method! {
    /// The contents of this many bytes that a value under a key means: for what has no chunks.
    [repeatable] Peek = "chunk.peek" {
        /// Where the value is.
        key: Key,
        /// The size of the contents.
        size: u64,
    } -> Packed<(Staged, Bytes)>
}

method! {
    /// Removes the value under a key that was taken, and those that were put there before it; all if
    /// the token is 0. Answers whether there was one.
    [repeatable] Discard = "chunk.discard" {
        /// Where the value is.
        key: Key,
        /// Which value.
        token: u64,
    } -> bool
}

method! {
    /// Takes the lists of paths that were put under a key, the latest first, and removes what is staged
    /// there. If the latest is no list, it stays: there is nothing else to answer for it.
    [repeatable] TakeLists = "chunk.take_lists" {
        /// The path of the directory.
        key: Key,
    } -> Packed<Vec<StagedList>>
}

/// A list that a classic client has put as the contents of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedList {
    /// The form in which it was.
    pub form: ListForm,
    /// The type on the wire of what is in it.
    pub dialect: Dialect,
    /// The paths in it.
    pub paths: Vec<Bytes>,
}

method! {
    /// The names that classic clients are to see in a directory, in pages as `fs.readdir` has them.
    [repeatable] ListNames = "cluster.list" {
        /// The directory.
        ino: Ino,
        /// Whether the client writes keys as strings.
        is_string: bool,
        /// Begin behind this place.
        after: Packed<Cookie>,
        /// End before this place: `until` of the first page, or `None` for that.
        until: Packed<Option<Cookie>>,
    } -> Packed<NamesPage>
}

/// Some names of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamesPage {
    /// The names.
    pub names: Vec<Name>,
    /// With the last of them, the paths that are in the list though not directly in the directory.
    pub deep: Vec<Bytes>,
    /// The place of the last one of them that the tree has; `None` if there are no more pages.
    pub next: Option<Cookie>,
    /// Where the listing ends.
    pub until: Cookie,
    /// The form in which the client expects the list.
    pub form: ListForm,
    /// And the type on the wire of a pickled one.
    pub dialect: Dialect,
}

method! {
    /// Which of these keys have a dict at the master that waits for the contents staged under them.
    [repeatable] Awaited = "cluster.awaited" {
        /// The keys.
        keys: Packed<Vec<Key>>,
    } -> Packed<Vec<Key>>
}

/// A value that a classic client has put, as contents of a file to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// The form in which it was.
    pub layout: Layout,
    /// Which value it is: another number for every `put`. Never 0.
    pub token: u64,
    /// The type on the wire that was chosen for it; `None` if it could have no other.
    pub dialect: Option<Dialect>,
}
