//! `fs.append`: room at the end of a file for an append, and giving it back.

use serde::{Deserialize, Serialize};

use crate::proto::field::{Packed, method};
use crate::proto::fs::SessionId;
use crate::types::{Attr, Credentials, Ino};

/// The room that was made for an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// The version of the contents with it.
    pub data_version: u64,
}

method! {
    /// Makes room at the end of a file for one append and answers where it begins.
    [once] Append = "fs.append" {
        /// The file.
        ino: Ino,
        /// Bytes to append.
        length: u64,
        /// Who appends.
        who: Packed<Credentials>,
        /// The session that appends, which need not be told.
        session: SessionId,
    } -> Packed<Appended>
}

method! {
    /// Gives the room of an append back that could not be written, unless the file has changed since:
    /// nothing happens then. Answers the attributes of now.
    [once] AbortAppend = "fs.abort_append" {
        /// The file.
        ino: Ino,
        /// What `fs.append` answered.
        appended: Packed<Appended>,
        /// Who appends.
        who: Packed<Credentials>,
        /// The session that appends, which need not be told.
        session: SessionId,
    } -> Packed<Attr>
}
