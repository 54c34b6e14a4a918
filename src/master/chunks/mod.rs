//! Native chunks at the chunk servers, as the master accounts for them: bytes on each server,
//! chunks to be deleted. Pure, over a transaction.
//!
//! | table     | key                                 | value                                  |
//! |-----------|-------------------------------------|----------------------------------------|
//! | `usage`   | server                              | bytes of its chunks, 64 bits           |
//! | `garbage` | server, 0, inode, index, incarnation | nothing                               |
//! | `health`  | server                              | [`Health`] in postcard's form          |
//!
//! All numbers are big-endian. A URL has no byte 0, so keys of one server lie side by side.

mod health;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::store::{ReadTxn, TABLE_END, Table, Txn};
use crate::types::{ChunkKey, DroppedChunk, Ino, ServerId};

pub use health::{Health, Servers, Silence};

/// Bytes of native chunks, by server.
const USAGE: Table = Table("usage");
/// Chunks that a server has to delete.
const GARBAGE: Table = Table("garbage");
/// What earlier versions knew of chunks that no file refers to; each server knows its own now.
const STRAYS: Table = Table("stray");
/// The last heartbeat of each server.
const HEALTH: Table = Table("health");

/// The tables of this module.
pub const TABLES: [Table; 4] = [USAGE, GARBAGE, STRAYS, HEALTH];

/// A server that records named `was` has an identity, under which its accounts are kept from now on.
///
/// # Errors
/// What the store says.
pub fn rename(txn: &mut dyn Txn, was: &ServerId, server: &ServerId) -> Result<()> {
    let (was_key, key) = (was.as_str().as_bytes(), server.as_str().as_bytes());
    if let Some(bytes) = txn.get(USAGE, was_key)? {
        let own = txn.get(USAGE, key)?.map_or(Ok(0), |own| number(&own))?;
        txn.delete(USAGE, was_key);
        txn.put(USAGE, key, &own.saturating_add(number(&bytes)?).to_be_bytes());
    }
    if let Some(health) = txn.get(HEALTH, was_key)? {
        txn.delete(HEALTH, was_key);
        txn.put(HEALTH, key, &health);
    }
    let (from, to) = rows_of(was);
    for (row, _) in txn.scan(GARBAGE, &from, &to, usize::MAX)? {
        let chunk = chunk_key(&row)?;
        txn.delete(GARBAGE, &row);
        txn.put(GARBAGE, &row_key(server, &chunk), &[]);
    }
    Ok(())
}

/// Adds what the chunks of each server grew by, and answers how much each has now. `named` tells
/// which server a record names.
///
/// # Errors
/// What the store says.
pub fn count(
    txn: &mut dyn Txn,
    grown: &BTreeMap<ServerId, i64>,
    named: impl Fn(&ServerId) -> ServerId,
) -> Result<Vec<(ServerId, u64)>> {
    let mut sizes = Vec::with_capacity(grown.len());
    for (name, grown) in grown {
        let server = named(name);
        let before = txn.get(USAGE, server.as_str().as_bytes())?;
        let before = before.map_or(Ok(0), |bytes| number(&bytes))?;
        let size = before.saturating_add_signed(*grown);
        txn.put(USAGE, server.as_str().as_bytes(), &size.to_be_bytes());
        sizes.push((server, size));
    }
    Ok(sizes)
}

/// Bytes of native chunks on every server that ever had some.
///
/// # Errors
/// What the store says.
pub fn usage(txn: &dyn ReadTxn) -> Result<Vec<(ServerId, u64)>> {
    let rows = txn.scan(USAGE, &[], TABLE_END, limits::SERVERS_MAX)?;
    rows.into_iter().map(|(server, size)| Ok((to_server(&server)?, number(&size)?))).collect()
}

/// Forgets a server that has no chunks. What it has to delete is kept: it may come back.
pub fn forget(txn: &mut dyn Txn, server: &ServerId) {
    txn.delete(USAGE, server.as_str().as_bytes());
    txn.delete(HEALTH, server.as_str().as_bytes());
}

/// Keeps in mind what servers have to delete. `named` tells which server a record names.
pub fn discard(txn: &mut dyn Txn, dropped: &[DroppedChunk], named: impl Fn(&ServerId) -> ServerId) {
    for chunk in dropped {
        for name in &chunk.replicas {
            txn.put(GARBAGE, &row_key(&named(name), &chunk.key), &[]);
        }
    }
}

/// A server has deleted these.
pub fn deleted(txn: &mut dyn Txn, server: &ServerId, keys: &[ChunkKey]) {
    for key in keys {
        txn.delete(GARBAGE, &row_key(server, key));
    }
}

/// Some of what a server has to delete.
///
/// # Errors
/// What the store says.
pub fn garbage(txn: &dyn ReadTxn, server: &ServerId, limit: usize) -> Result<Vec<ChunkKey>> {
    let (from, to) = rows_of(server);
    let rows = txn.scan(GARBAGE, &from, &to, limit)?;
    rows.iter().map(|(key, _)| chunk_key(key)).collect()
}

fn row_key(server: &ServerId, key: &ChunkKey) -> Vec<u8> {
    let numbers = [key.ino.0, key.index, key.incarnation].map(u64::to_be_bytes);
    [server.as_str().as_bytes(), &[0], numbers.as_flattened()].concat()
}

/// Where the rows of a server begin and end.
fn rows_of(server: &ServerId) -> (Vec<u8>, Vec<u8>) {
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

fn to_server(bytes: &[u8]) -> Result<ServerId> {
    let text = std::str::from_utf8(bytes).map_err(|_| damaged())?;
    text.parse()
}

fn damaged() -> FsError {
    FsError::new(ErrorKind::Corrupt, "the accounts of the chunks are damaged")
}
