//! A directory in pages, with cookies that hold while others create and delete in it.

use serde::{Deserialize, Serialize};

use super::{Attr, ChunkLayout, FileKind, Ino, Name};

/// A place in the order in which the names of a directory are listed.
///
/// Every entry has its own cookie, given when the name was made and kept until it is gone; new
/// entries get higher ones. A reader that goes on behind a cookie therefore sees every entry that
/// is there all the time exactly once, whatever comes and goes meanwhile.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Cookie(pub u64);

impl Cookie {
    /// Before all entries.
    pub const START: Self = Self(0);
    /// The entry `.`, which the client makes up.
    pub const DOT: Self = Self(1);
    /// The entry `..`, which the client makes up.
    pub const DOT_DOT: Self = Self(2);
    /// Of the first entry that is stored.
    pub const FIRST: Self = Self(3);
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirEntry {
    /// Its place in the order.
    pub cookie: Cookie,
    /// The name.
    pub name: Name,
    /// What it stands for.
    pub ino: Ino,
    /// And the kind of that.
    pub kind: FileKind,
    /// The attributes, if the reader asked for them.
    pub attr: Option<Attr>,
    /// With them, where the contents of a small file are.
    pub place: Option<ChunkLayout>,
}

/// Some entries of a directory in their order. `.` and `..` are not among them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirPage {
    /// What `..` stands for; the directory itself for the root.
    pub parent: Ino,
    /// The entries.
    pub entries: Vec<DirEntry>,
    /// Whether these are the last ones.
    pub is_last: bool,
    /// Where the listing ends. A reader that passes it along with the next page gets no entries
    /// that were made after it began, and so comes to an end while others, or it itself, keep
    /// making new ones.
    pub until: Cookie,
}
