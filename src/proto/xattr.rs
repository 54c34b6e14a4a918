//! `fs.getxattr` and its like: extended attributes, POSIX ACLs among them.

use bytes::Bytes;

use crate::proto::field::{Packed, method};
use crate::proto::fs::SessionId;
use crate::proto::values::Done;
use crate::types::{Credentials, Ino, XattrMode};

method! {
    /// The value of an extended attribute.
    [repeatable] GetXattr = "fs.getxattr" {
        /// The inode.
        ino: Ino,
        /// The attribute, with its prefix.
        name: Bytes,
        /// Who asks.
        who: Packed<Credentials>,
    } -> Bytes
}

method! {
    /// Sets an extended attribute.
    [once] SetXattr = "fs.setxattr" {
        /// The inode.
        ino: Ino,
        /// The attribute, with its prefix.
        name: Bytes,
        /// Its value.
        value: Bytes,
        /// What must be there already.
        mode: Packed<XattrMode>,
        /// Who asks.
        who: Packed<Credentials>,
        /// The session that asks, or 0: it is not told what it knows from the answer.
        session: SessionId,
    } -> Done
}

method! {
    /// The names of all extended attributes.
    [repeatable] ListXattr = "fs.listxattr" {
        /// The inode.
        ino: Ino,
        /// Who asks.
        who: Packed<Credentials>,
    } -> Packed<Vec<Bytes>>
}

method! {
    /// Removes an extended attribute.
    [once] RemoveXattr = "fs.removexattr" {
        /// The inode.
        ino: Ino,
        /// The attribute, with its prefix.
        name: Bytes,
        /// Who asks.
        who: Packed<Credentials>,
        /// The session that asks, or 0: it is not told what it knows from the answer.
        session: SessionId,
    } -> Done
}
