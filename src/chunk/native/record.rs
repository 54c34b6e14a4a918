//! What the index keeps of a chunk, and how: keys and values of its tables.
//!
//! * `chunks`: chunk key → [`Head`].
//! * `chunk_blocks`: chunk key, then one byte. Below [`MARKS`] it is the number of a page of
//!   checksums: 64 blocks, 8 bytes each (CRC32C, then the bytes it covers, both little-endian
//!   u32). A page that is missing is all holes. At [`MARKS`] there are the [`Marks`].
//! * `chunk_contents`: chunk key → the whole contents of a small chunk.
//! * `chunk_meta`: a few facts about the whole store, by name.
//!
//! A chunk key is inode, index and incarnation, big-endian, so that the order of keys is the order
//! of files.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::sum::Sum;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits::{CHECKSUM_BLOCK_SIZE, CHUNK_SIZE};
use crate::store::{ReadTxn, Table, Txn};
use crate::types::{ChunkKey, Ino};

/// Every chunk and its [`Head`].
pub(super) const HEADS: Table = Table("chunks");
/// Checksums and marks.
pub(super) const BLOCKS: Table = Table("chunk_blocks");
/// The contents of small chunks.
pub(super) const CONTENTS: Table = Table("chunk_contents");
/// Facts about the whole store.
pub(super) const META: Table = Table("chunk_meta");

/// Chunks that no file refers to: chunk → what is known of that.
pub(super) const STRAYS: Table = Table("chunk_stray");

/// The tables that the store of the chunks needs.
pub const TABLES: [Table; 5] = [HEADS, BLOCKS, CONTENTS, META, STRAYS];

/// Bytes of a chunk key in the index.
pub(super) const KEY_SIZE: usize = 24;
/// Blocks with their checksums in one page.
pub(super) const PAGE_BLOCKS: usize = 64;
/// The last byte of the key of the [`Marks`]: behind the pages.
const MARKS: u8 = 0xff;
/// Bytes of one checksum in a page.
const SUM_SIZE: usize = 8;
/// Contents that are looked through at a time.
const CONTENTS_PAGE: usize = 256;

const _: () = assert!(
    CHUNK_SIZE.div_ceil((CHECKSUM_BLOCK_SIZE * PAGE_BLOCKS) as u64) <= MARKS as u64,
    "the pages of a chunk are numbered in one byte"
);

/// What is known of a chunk as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The version of its contents; who names an older one may not write.
    pub(super) version: u64,
    /// Its length at the last sync, in bytes.
    pub(super) length: u64,
    /// Bytes in it that are no holes, at the last sync.
    pub(super) held: u64,
    /// A cut that came with the version and may not have reached the file. Nothing has been
    /// acknowledged since then, or not durably.
    pub(super) cut_to: Option<u64>,
    /// The boot of the machine in which bytes behind `length` were acknowledged, or may have been,
    /// that no sync has covered.
    pub(super) open: Option<u64>,
    /// A power cut may have taken what was behind its end.
    pub(super) is_torn: bool,
}

/// As the first programs wrote it.
#[derive(Deserialize)]
struct FirstHead {
    version: u64,
    length: u64,
    held: u64,
    cut_to: Option<u64>,
}

fn decode_head(bytes: &[u8]) -> Result<Head> {
    decode(bytes).or_else(|_| {
        let FirstHead { version, length, held, cut_to } = decode(bytes)?;
        Ok(Head { version, length, held, cut_to, ..Head::default() })
    })
}

/// The blocks whose recorded checksum does not count, because they may have been changed since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marks {
    /// Bit `n` of byte `m` stands for block `8 * m + n`.
    bits: Vec<u8>,
    /// If the chunk has been cut since: all blocks from this one on are marked, and the length is
    /// that of the file, whatever the head says.
    pub(super) cut: Option<u32>,
}

impl Marks {
    /// These blocks and everything from `cut` on.
    pub(super) fn new(blocks: impl Iterator<Item = usize>, cut: Option<u32>) -> Self {
        let mut bits = Vec::new();
        for block in blocks {
            bits.resize(bits.len().max(block / 8 + 1), 0);
            bits[block / 8] |= 1 << (block % 8);
        }
        Self { bits, cut }
    }

    /// Whether nothing is marked.
    pub(super) fn is_empty(&self) -> bool {
        self.bits.is_empty() && self.cut.is_none()
    }

    /// Whether a block is marked.
    pub(super) fn contains(&self, block: usize) -> bool {
        self.has_bit(block) || self.cut.is_some_and(|cut| block >= cut as usize)
    }

    /// Whether a block is marked by itself.
    pub(super) fn has_bit(&self, block: usize) -> bool {
        self.bits.get(block / 8).is_some_and(|byte| byte >> (block % 8) & 1 == 1)
    }
}

/// All that the index says about a chunk.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) head: Head,
    pub(super) marks: Marks,
    sums: Vec<Sum>,
}

impl Recorded {
    /// The checksum of a block.
    pub(super) fn sum(&self, block: usize) -> Sum {
        self.sums.get(block).copied().unwrap_or(Sum::HOLE)
    }
}

/// Reads all about a chunk; `None` if there is no such chunk.
pub(super) fn read(txn: &dyn ReadTxn, key: &ChunkKey) -> Result<Option<Recorded>> {
    let Some(head) = read_head(txn, key)? else { return Ok(None) };
    let (mut sums, mut marks) = (Vec::new(), Marks::default());
    let [from, to] = [block_key(key, 0).to_vec(), [&block_key(key, MARKS)[..], &[0]].concat()];
    for (at, value) in txn.scan(BLOCKS, &from, &to, usize::from(MARKS) + 1)? {
        match at.last() {
            Some(&MARKS) => marks = decode(&value)?,
            Some(&page) => {
                sums.resize(usize::from(page) * PAGE_BLOCKS, Sum::HOLE);
                decode_page(&value, &mut sums)?;
            }
            None => return Err(damaged()),
        }
    }
    Ok(Some(Recorded { head, marks, sums }))
}

/// The head of a chunk, if there is such a chunk.
pub(super) fn read_head(txn: &dyn ReadTxn, key: &ChunkKey) -> Result<Option<Head>> {
    txn.get(HEADS, &encode_key(key))?.map(|value| decode_head(&value)).transpose()
}

/// Whether any block of a chunk is marked.
pub(super) fn is_marked(txn: &dyn ReadTxn, key: &ChunkKey) -> Result<bool> {
    Ok(txn.get(BLOCKS, &block_key(key, MARKS))?.is_some())
}

/// The next chunks in order, at most `limit`, behind `after` or from the first.
pub(super) fn list(
    txn: &dyn ReadTxn,
    after: Option<&ChunkKey>,
    limit: usize,
) -> Result<Vec<(ChunkKey, Head)>> {
    let from = after.map_or_else(Vec::new, |key| [&encode_key(key)[..], &[0]].concat());
    let page = txn.scan(HEADS, &from, &[0xff; KEY_SIZE + 1], limit)?;
    page.iter().map(|(key, value)| Ok((decode_key(key)?, decode_head(value)?))).collect()
}

pub(super) fn put_head(txn: &mut dyn Txn, key: &ChunkKey, head: &Head) {
    txn.put(HEADS, &encode_key(key), &encode(head));
}

pub(super) fn put_marks(txn: &mut dyn Txn, key: &ChunkKey, marks: &Marks) {
    if marks.is_empty() {
        txn.delete(BLOCKS, &block_key(key, MARKS));
    } else {
        txn.put(BLOCKS, &block_key(key, MARKS), &encode(marks));
    }
}

/// Records a page of checksums; the blocks behind `sums` are holes.
pub(super) fn put_page(txn: &mut dyn Txn, key: &ChunkKey, page: usize, sums: &[Sum]) {
    let key = block_key(key, u8::try_from(page).expect("asserted above"));
    let used = sums.iter().rposition(|sum| !sum.is_hole()).map_or(0, |last| last + 1);
    if used == 0 {
        return txn.delete(BLOCKS, &key);
    }
    let mut value = Vec::with_capacity(used * SUM_SIZE);
    for sum in &sums[..used] {
        let (crc, len) = sum.parts();
        value.extend_from_slice(&crc.to_le_bytes());
        value.extend_from_slice(&len.to_le_bytes());
    }
    txn.put(BLOCKS, &key, &value);
}

/// The contents of a small chunk; `None` if they are not here.
pub(super) fn read_contents(txn: &dyn ReadTxn, key: &ChunkKey) -> Result<Option<Bytes>> {
    txn.get(CONTENTS, &encode_key(key))
}

pub(super) fn put_contents(txn: &mut dyn Txn, key: &ChunkKey, contents: &[u8]) {
    txn.put(CONTENTS, &encode_key(key), contents);
}

pub(super) fn delete_contents(txn: &mut dyn Txn, key: &ChunkKey) {
    txn.delete(CONTENTS, &encode_key(key));
}

/// The chunks whose contents are here.
pub(super) fn keys_of_contents(txn: &dyn ReadTxn) -> Result<Vec<ChunkKey>> {
    let mut keys = Vec::new();
    let mut from = Vec::new();
    loop {
        // With their contents, so few at a time.
        let page = txn.scan(CONTENTS, &from, &[0xff; KEY_SIZE + 1], CONTENTS_PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(keys) };
        from = [last, &[0][..]].concat();
        for (key, _) in &page {
            keys.push(decode_key(key)?);
        }
    }
}

/// Deletes all that is recorded of a chunk, its contents with it if they are here.
pub(super) fn delete(txn: &mut dyn Txn, key: &ChunkKey) -> Result<()> {
    txn.delete(HEADS, &encode_key(key));
    txn.delete(STRAYS, &encode_key(key));
    delete_contents(txn, key);
    let [from, to] = [block_key(key, 0).to_vec(), [&block_key(key, MARKS)[..], &[0]].concat()];
    for (at, _) in txn.scan(BLOCKS, &from, &to, usize::from(MARKS) + 1)? {
        txn.delete(BLOCKS, &at);
    }
    Ok(())
}

fn decode_page(value: &Bytes, sums: &mut Vec<Sum>) -> Result<()> {
    let (entries, rest) = value.as_chunks::<SUM_SIZE>();
    if !rest.is_empty() || entries.len() > PAGE_BLOCKS {
        return Err(damaged());
    }
    for entry in entries {
        let [a, b, c, d, e, f, g, h] = *entry;
        let (crc, len) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        sums.push(Sum::from_parts(crc, len).ok_or_else(damaged)?);
    }
    Ok(())
}

pub(super) fn encode_key(key: &ChunkKey) -> [u8; KEY_SIZE] {
    let mut bytes = [0; KEY_SIZE];
    bytes[..8].copy_from_slice(&key.ino.0.to_be_bytes());
    bytes[8..16].copy_from_slice(&key.index.to_be_bytes());
    bytes[16..].copy_from_slice(&key.incarnation.to_be_bytes());
    bytes
}

pub(super) fn decode_key(bytes: &[u8]) -> Result<ChunkKey> {
    let (ino, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
    let (index, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
    let incarnation = rest.try_into().map_err(|_| damaged())?;
    Ok(ChunkKey {
        ino: Ino(u64::from_be_bytes(*ino)),
        index: u64::from_be_bytes(*index),
        incarnation: u64::from_be_bytes(incarnation),
    })
}

fn block_key(key: &ChunkKey, last: u8) -> [u8; KEY_SIZE + 1] {
    let mut bytes = [last; KEY_SIZE + 1];
    bytes[..KEY_SIZE].copy_from_slice(&encode_key(key));
    bytes
}

fn encode(record: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(record).expect("records are plain data")
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    postcard::from_bytes(bytes).map_err(|_| damaged())
}

fn damaged() -> FsError {
    FsError::new(ErrorKind::Corrupt, "the index of the chunks is damaged")
}

#[cfg(test)]
mod tests {
    use super::{Head, decode_head, encode};

    #[test]
    fn heads_of_the_first_programs_are_read() {
        let first = encode(&(3_u64, 70_000_u64, 65_536_u64, Some(4096_u64)));
        let head = Head {
            version: 3,
            length: 70_000,
            held: 65_536,
            cut_to: Some(4096),
            open: None,
            is_torn: false,
        };
        assert_eq!(decode_head(&first).unwrap(), head);
        let now = Head { open: Some(7), is_torn: true, ..head };
        assert_eq!(decode_head(&encode(&now)).unwrap(), now);
        assert!(decode_head(&first[..3]).is_err());
    }
}
