//! Native chunks at the chunk servers, as the master accounts for them: bytes on each server,
//! chunks to be deleted, chunks that nobody knows. Pure, over a transaction.
//!
//! | table     | key                                 | value                                  |
//! |-----------|-------------------------------------|----------------------------------------|
//! | `usage`   | server                              | bytes of its chunks, 64 bits           |
//! | `garbage` | server, 0, inode, index, incarnation | nothing                               |
//! | `stray`   | the same                            | when it was first reported, 64 bits    |
//! | `health`  | server                              | [`Health`] in postcard's form          |
//!
//! All numbers are big-endian. A URL has no byte 0, so keys of one server lie side by side.

mod health;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::store::{ReadTxn, TABLE_END, Table, Txn};
use crate::types::{ChunkKey, DroppedChunk, Ino, ServerUrl};

pub use health::{Health, Servers};

/// Bytes of native chunks, by server.
const USAGE: Table = Table("usage");
/// Chunks that a server has to delete.
const GARBAGE: Table = Table("garbage");
/// Chunks that a server has and no file refers to.
const STRAYS: Table = Table("stray");
/// The last heartbeat of each server.
const HEALTH: Table = Table("health");

/// The tables of this module.
pub const TABLES: [Table; 4] = [USAGE, GARBAGE, STRAYS, HEALTH];

/// Adds what the chunks of each server grew by, and answers how much each has now.
///
/// # Errors
/// What the store says.
pub fn count(txn: &mut dyn Txn, grown: &BTreeMap<ServerUrl, i64>) -> Result<Vec<(ServerUrl, u64)>> {
    let mut sizes = Vec::with_capacity(grown.len());
    for (server, grown) in grown {
        let before = txn.get(USAGE, server.as_str().as_bytes())?;
        let before = before.map_or(Ok(0), |bytes| number(&bytes))?;
        let size = before.saturating_add_signed(*grown);
        txn.put(USAGE, server.as_str().as_bytes(), &size.to_be_bytes());
        sizes.push((server.clone(), size));
    }
    Ok(sizes)
}

/// Bytes of native chunks on every server that ever had some.
///
/// # Errors
/// What the store says.
pub fn usage(txn: &dyn ReadTxn) -> Result<Vec<(ServerUrl, u64)>> {
    let rows = txn.scan(USAGE, &[], TABLE_END, limits::SERVERS_MAX)?;
    rows.into_iter().map(|(server, size)| Ok((to_server(&server)?, number(&size)?))).collect()
}

/// Keeps in mind what servers have to delete.
pub fn discard(txn: &mut dyn Txn, dropped: &[DroppedChunk]) {
    for chunk in dropped {
        for server in &chunk.replicas {
            txn.put(GARBAGE, &row_key(server, &chunk.key), &[]);
        }
    }
}

/// A server has deleted these.
pub fn deleted(txn: &mut dyn Txn, server: &ServerUrl, keys: &[ChunkKey]) {
    for key in keys {
        txn.delete(GARBAGE, &row_key(server, key));
        txn.delete(STRAYS, &row_key(server, key));
    }
}

/// Some of what a server has to delete.
///
/// # Errors
/// What the store says.
pub fn garbage(txn: &dyn ReadTxn, server: &ServerUrl, limit: usize) -> Result<Vec<ChunkKey>> {
    let (from, to) = rows_of(server);
    let rows = txn.scan(GARBAGE, &from, &to, limit)?;
    rows.iter().map(|(key, _)| chunk_key(key)).collect()
}

/// A server holds these, and no file refers to them: what has been so for the time of grace is
/// garbage from now on.
///
/// # Errors
/// What the store says.
pub fn strays(
    txn: &mut dyn Txn,
    server: &ServerUrl,
    keys: &[ChunkKey],
    now: Timestamp,
) -> Result<()> {
    let grace_ms = u64::try_from(limits::STRAY_GRACE.as_millis()).unwrap_or(u64::MAX);
    for key in keys {
        let row = row_key(server, key);
        match txn.get(STRAYS, &row)? {
            None => txn.put(STRAYS, &row, &now.0.to_be_bytes()),
            Some(since) if now.since_ms(Timestamp(number(&since)?)) >= grace_ms => {
                tracing::warn!(%server, chunk = %key, "no file refers to the chunk: deleting it");
                txn.delete(STRAYS, &row);
                txn.put(GARBAGE, &row, &[]);
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Whether a chunk of a server was found to be nobody's.
///
/// # Errors
/// What the store says.
pub fn is_stray(txn: &dyn ReadTxn, server: &ServerUrl, key: &ChunkKey) -> Result<bool> {
    Ok(txn.get(STRAYS, &row_key(server, key))?.is_some())
}

/// A file refers to these after all.
pub fn not_strays(txn: &mut dyn Txn, server: &ServerUrl, keys: &[ChunkKey]) {
    keys.iter().for_each(|key| txn.delete(STRAYS, &row_key(server, key)));
}

fn row_key(server: &ServerUrl, key: &ChunkKey) -> Vec<u8> {
    let numbers = [key.ino.0, key.index, key.incarnation].map(u64::to_be_bytes);
    [server.as_str().as_bytes(), &[0], numbers.as_flattened()].concat()
}

/// Where the rows of a server begin and end.
fn rows_of(server: &ServerUrl) -> (Vec<u8>, Vec<u8>) {
    let row = |end: u8| [server.as_str().as_bytes(), &[end]].concat();
    (row(0), row(1))
}

fn chunk_key(row: &[u8]) -> Result<ChunkKey> {
    let (_, numbers) = row.split_last_chunk::<24>().ok_or_else(damaged)?;
    let (numbers, _) = numbers.as_chunks::<8>();
    let [ino, index, incarnation] = *numbers else { return Err(damaged()) };
    Ok(ChunkKey {
        ino: Ino(u64::from_be_bytes(ino)),
        index: u64::from_be_bytes(index),
        incarnation: u64::from_be_bytes(incarnation),
    })
}

fn number(bytes: &[u8]) -> Result<u64> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| damaged())
}

fn to_server(bytes: &[u8]) -> Result<ServerUrl> {
    let text = std::str::from_utf8(bytes).map_err(|_| damaged())?;
    ServerUrl::new(text)
}

fn damaged() -> FsError {
    FsError::new(ErrorKind::Corrupt, "the accounts of the chunks are damaged")
}
