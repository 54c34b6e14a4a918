//! What the namespace stores: its tables, their keys, the encoding of their values.
//!
//! | table     | key                        | value                     |
//! |-----------|----------------------------|---------------------------|
//! | `filesystem` | `superblock`            | [`Superblock`]            |
//! | `inode`   | inode                      | [`Inode`]                 |
//! | `entry`   | directory, name            | [`Entry`]                 |
//! | `order`   | directory, cookie          | [`Listed`]                |
//! | `xattr`   | inode, name                | the attribute's own bytes |
//! | `chunk`   | inode, index of the chunk  | [`Chunk`]                 |
//! | `orphan`  | inode                      | [`Orphan`]                |
//!
//! Numbers in keys are 64 bits, big-endian, so that the order of bytes is the order of numbers; the
//! rest of a key stands behind them as it is. Every value begins with one byte, the version of its
//! encoding; what follows in version 1 is the record in postcard's wire format (or the bare bytes
//! of an extended attribute).
//!
//! `entry` finds a name, `order` lists the names of a directory by their cookies.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, FsError, Result};
use crate::store::{ReadTxn, Table, Txn};
use crate::types::{Cookie, Cut, FileKind, FileTime, Ino, Name, ServerId};

/// The one record of the whole file system.
pub(super) const META: Table = Table("filesystem");
/// Inodes.
pub(super) const INODES: Table = Table("inode");
/// Names, to be found.
pub(super) const ENTRIES: Table = Table("entry");
/// Names, to be listed.
pub(super) const ORDER: Table = Table("order");
/// Extended attributes.
pub(super) const XATTRS: Table = Table("xattr");
/// Where the contents of files live.
pub(super) const CHUNKS: Table = Table("chunk");
/// Inodes without a name.
pub(super) const ORPHANS: Table = Table("orphan");

/// Every table of the namespace, for a store that has to open them.
pub const TABLES: [Table; 7] = [META, INODES, ENTRIES, ORDER, XATTRS, CHUNKS, ORPHANS];

/// Key of the [`Superblock`].
const SUPERBLOCK: &[u8] = b"superblock";

/// The version of all encodings so far, but for the superblock's.
const VERSION: u8 = 1;

/// The version of the superblock's encoding. In version 1 it is a [`SuperblockV1`].
const SUPERBLOCK_VERSION: u8 = 2;

/// What there is once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Superblock {
    /// The next new inode.
    pub(super) next_ino: Ino,
    /// Inodes below this one may be given out: that it is so is on the disk.
    pub(super) reserved_ino: Ino,
    /// What the incarnations of this life are counted from.
    pub(super) life: u64,
    /// The least version that a cut of this life gives to a chunk.
    pub(super) version_floor: u64,
    /// Goes into every new inode; another one for every life of the store's numbers.
    pub(super) generation: u32,
    /// Inodes there are, orphans included.
    pub(super) inodes: u64,
    /// Bytes their contents take up.
    pub(super) bytes: u64,
}

/// The superblock before numbers were reserved.
#[derive(Serialize, Deserialize)]
pub(super) struct SuperblockV1 {
    next_ino: Ino,
    generation: u32,
    inodes: u64,
    bytes: u64,
}

#[cfg(test)]
impl From<Superblock> for SuperblockV1 {
    fn from(superblock: Superblock) -> Self {
        let Superblock { next_ino, generation, inodes, bytes, .. } = superblock;
        Self { next_ino, generation, inodes, bytes }
    }
}

impl From<SuperblockV1> for Superblock {
    fn from(earlier: SuperblockV1) -> Self {
        let SuperblockV1 { next_ino, generation, inodes, bytes } = earlier;
        Self { generation, inodes, bytes, ..Self::new(next_ino) }
    }
}

impl Superblock {
    /// Of a file system without inodes, whose numbers nobody has to reserve.
    pub(super) fn new(next_ino: Ino) -> Self {
        Self {
            next_ino,
            reserved_ino: Ino(u64::MAX),
            life: 0,
            version_floor: 0,
            generation: 0,
            inodes: 0,
            bytes: 0,
        }
    }
}

/// An inode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Inode {
    pub(super) generation: u32,
    /// The lower 12 bits of `st_mode`.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// 0 exactly for the inodes in [`ORPHANS`].
    pub(super) nlink: u32,
    pub(super) atime: FileTime,
    pub(super) mtime: FileTime,
    pub(super) ctime: FileTime,
    pub(super) btime: FileTime,
    /// Whether there is an access ACL, so that most inodes are judged without looking for one.
    pub(super) has_acl: bool,
    /// Whether there is a default ACL.
    pub(super) has_default_acl: bool,
    /// Names of extended attributes in bytes, each with its NUL.
    pub(super) xattr_list_size: u32,
    /// Names and values of extended attributes, in bytes.
    pub(super) xattr_total_size: u32,
    pub(super) body: Body,
}

/// What is only in inodes of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Body {
    Regular(Contents),
    Directory(Directory),
    Symlink { target: Bytes },
    CharDevice { rdev: u32 },
    BlockDevice { rdev: u32 },
    Fifo,
    Socket,
}

/// Of a regular file. The default is an empty one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Contents {
    pub(super) size: u64,
    /// Sum of its chunks' bytes.
    pub(super) bytes: u64,
    pub(super) data_version: u64,
    /// How often its chunks were forgotten: counted from the life's number, the incarnation of
    /// the next chunk that is made.
    pub(super) incarnation: u64,
}

/// Of a directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Directory {
    /// Where it is; itself for the root. Of an orphan: where it was.
    pub(super) parent: Ino,
    /// Names in it.
    pub(super) entries: u64,
    /// For the next name.
    pub(super) next_cookie: Cookie,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) ino: Ino,
    pub(super) kind: FileKind,
    pub(super) cookie: Cookie,
}

/// The same, to be listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Listed {
    pub(super) name: Name,
    pub(super) ino: Ino,
    pub(super) kind: FileKind,
}

/// A chunk of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Chunk {
    pub(super) incarnation: u64,
    pub(super) version: u64,
    pub(super) cuts_from: u64,
    /// Their versions and their lengths both grow: a cut makes earlier, longer ones needless.
    pub(super) cuts: Vec<Cut>,
    pub(super) bytes: u64,
    pub(super) replicas: Vec<ServerId>,
}

/// An inode without a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Orphan {
    /// When it lost the last one.
    pub(super) since: FileTime,
}

/// The key of an inode, and the beginning of the keys of all that belongs to it.
pub(super) fn ino_key(ino: Ino) -> [u8; 8] {
    ino.0.to_be_bytes()
}

/// The key of something that belongs to an inode and has a number.
pub(super) fn numbered_key(ino: Ino, number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&ino.0.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The key of something that belongs to an inode and has a name.
pub(super) fn named_key(ino: Ino, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(8 + name.len());
    key.extend_from_slice(&ino.0.to_be_bytes());
    key.extend_from_slice(name);
    key
}

/// The number at `offset` in a key.
pub(super) fn number_in(key: &[u8], offset: usize) -> Result<u64> {
    let bytes = key.get(offset..offset + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u64::from_be_bytes).ok_or_else(|| corrupt("a key is too short"))
}

/// A record as a value.
pub(super) fn encode(record: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(record, vec![VERSION]).expect("records have nothing postcard cannot write")
}

/// The record in a value.
pub(super) fn decode<T: DeserializeOwned>(table: Table, value: &[u8]) -> Result<T> {
    let malformed = || corrupt(format!("a record of the table \"{}\" is malformed", table.0));
    postcard::from_bytes(decode_bare(table, value)?).map_err(|_| malformed())
}

/// Bare bytes as a value.
pub(super) fn encode_bare(bytes: &[u8]) -> Vec<u8> {
    [&[VERSION], bytes].concat()
}

/// The bare bytes in a value.
pub(super) fn decode_bare(table: Table, value: &[u8]) -> Result<&[u8]> {
    match value.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        Some((version, _)) => Err(corrupt(format!(
            "a record of the table \"{}\" has version {version}, which this program does not know",
            table.0
        ))),
        None => Err(corrupt(format!("a record of the table \"{}\" is empty", table.0))),
    }
}

/// The record under a key, if there is one.
pub(super) fn load<T: DeserializeOwned>(
    txn: &dyn ReadTxn,
    table: Table,
    key: &[u8],
) -> Result<Option<T>> {
    txn.get(table, key)?.map(|value| decode(table, &value)).transpose()
}

/// The superblock, if the store has a file system in it.
pub(super) fn load_superblock(txn: &dyn ReadTxn) -> Result<Option<Superblock>> {
    let Some(value) = txn.get(META, SUPERBLOCK)? else { return Ok(None) };
    match value.split_first() {
        Some((&SUPERBLOCK_VERSION, record)) => postcard::from_bytes(record)
            .map(Some)
            .map_err(|_| corrupt("the superblock is malformed")),
        _ => decode::<SuperblockV1>(META, &value).map(|earlier| Some(earlier.into())),
    }
}

/// Stores the superblock.
pub(super) fn save_superblock(txn: &mut dyn Txn, superblock: &Superblock) {
    let value = postcard::to_extend(superblock, vec![SUPERBLOCK_VERSION]);
    txn.put(META, SUPERBLOCK, &value.expect("numbers have a binary form"));
}

/// The store holds what this program never wrote.
pub(super) fn corrupt(message: impl Into<std::borrow::Cow<'static, str>>) -> FsError {
    FsError::new(ErrorKind::Corrupt, message)
}
