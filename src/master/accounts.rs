//! How many bytes each chunk server has, and which file they come from.
//!
//! A server's size is what it joined with plus the *charges* of all keys. A charge is exactly what
//! the `changeSize` calls for a key added, by server; when the key's entry goes, exactly that is
//! given back. So sizes cannot drift, whatever dicts the clients store, and cannot go below 0.
//!
//! A client announces the growth (`changeSize`) before it stores the entry (`put`). Until the
//! entry comes, the growth is *pending*; if it never comes, the growth lapses and only what the
//! last `put` had settled remains.
//!
//! Charges name a server as it was named when they were made; sizes are kept under its identity.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::master::members;
use crate::store::{ReadTxn, TABLE_END, Table, Txn};
use crate::types::{Key, ServerId};

/// Server → size in bytes, 8 bytes, big-endian.
pub const SERVERS: Table = Table("servers");
/// Key → [`Charge`].
pub const CHARGES: Table = Table("charges");
/// Time of the last growth that no `put` has settled (8 bytes, big-endian), then the key → nothing.
pub const PENDING: Table = Table("pending");

/// The tables that the accounts live in.
pub const TABLES: [Table; 3] = [SERVERS, CHARGES, PENDING];

/// What one key contributes to the sizes of servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// By server; hardly ever more than one.
    parts: Vec<Part>,
    /// When the growth was announced that no `put` has settled.
    pending: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    server: ServerId,
    /// Bytes that are in the server's size now.
    bytes: u64,
    /// Bytes that were when the entry was last put.
    settled: u64,
}

impl Charge {
    /// Whether no `put` has settled it.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// The charge of an entry that was put, whose contents are on this server.
    #[must_use]
    pub fn settled(server: ServerId, bytes: u64) -> Self {
        Self { parts: vec![Part { server, bytes, settled: bytes }], pending: None }
    }

    /// Bytes of it, on all servers.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    fn part(&mut self, server: &ServerId) -> &mut Part {
        let found = self.parts.iter().position(|part| part.server == *server);
        let at = found.unwrap_or_else(|| {
            self.parts.push(Part { server: server.clone(), bytes: 0, settled: 0 });
            self.parts.len() - 1
        });
        &mut self.parts[at]
    }
}

/// The sizes that a change left behind, by server.
pub type Sizes = Vec<(ServerId, u64)>;

/// A server's size.
///
/// # Errors
/// `UnknownServer` if nobody registered it.
pub fn size(txn: &dyn ReadTxn, server: &ServerId) -> Result<u64> {
    known_size(txn, server)?.ok_or_else(|| {
        FsError::new(ErrorKind::UnknownServer, format!("no chunk server {server} is registered"))
    })
}

/// The sizes of all servers.
///
/// # Errors
/// What the store says.
pub fn sizes(txn: &dyn ReadTxn) -> Result<Sizes> {
    let rows = txn.scan(SERVERS, &[], TABLE_END, limits::SERVERS_MAX)?;
    rows.into_iter()
        .map(|(id, size)| {
            let id = std::str::from_utf8(&id).map_err(|_| damaged())?;
            Ok((id.parse()?, decode_size(&size)?))
        })
        .collect()
}

/// A server that records named `was` has an identity, under which its size is kept from now on.
///
/// # Errors
/// What the store says.
pub fn rename(txn: &mut dyn Txn, was: &ServerId, server: &ServerId) -> Result<Sizes> {
    let Some(size) = size_of(txn, was)? else { return Ok(Sizes::new()) };
    let size = size_of(txn, server)?.unwrap_or(0).saturating_add(size);
    txn.delete(SERVERS, was.as_str().as_bytes());
    set_size(txn, server, size);
    Ok(vec![(server.clone(), size)])
}

/// Makes a server known, with this many bytes; one that is known keeps its size.
///
/// # Errors
/// `NoSpace` if there are too many, and what the store says.
pub fn register(txn: &mut dyn Txn, server: &ServerId, held: u64, known: usize) -> Result<Sizes> {
    if known_size(txn, server)?.is_some() {
        return Ok(Sizes::new());
    }
    if known >= limits::SERVERS_MAX {
        let message = format!("there are {known} chunk servers, and no room for more");
        return Err(FsError::new(ErrorKind::NoSpace, message));
    }
    set_size(txn, server, held);
    Ok(vec![(server.clone(), held)])
}

/// Forgets a server that has nothing.
///
/// # Errors
/// `Busy` if it has something; what the store says.
pub fn unregister(txn: &mut dyn Txn, server: &ServerId) -> Result<()> {
    if known_size(txn, server)?.is_some_and(|size| size > 0) {
        let message = format!("chunk server {} has files", server.short());
        return Err(FsError::new(ErrorKind::Busy, message));
    }
    txn.delete(SERVERS, server.as_str().as_bytes());
    Ok(())
}

/// What [`change`] did.
#[derive(Debug, PartialEq, Eq)]
pub struct Changed {
    /// The server's size now.
    pub sizes: Sizes,
    /// Whether nothing of the file was on any server before.
    pub was_empty: bool,
}

/// The file under `key` has `new` bytes on the server instead of the `old` ones of its entry.
///
/// # Errors
/// `UnknownServer` if nobody registered it, and what the store says.
pub fn change(
    txn: &mut dyn Txn,
    key: &Key,
    server: &ServerId,
    (old, new): (u64, u64),
    now: Timestamp,
) -> Result<Changed> {
    let server = &members::named(txn, server)?;
    let size = size(txn, server)?;
    let mut charge = charge(txn, key)?.unwrap_or_default();
    let was_empty = charge.bytes() == 0;
    let part = charge.part(server);
    let before = part.bytes;
    // An entry that was put without a `changeSize` was never charged, and cannot be discharged.
    part.bytes = part.bytes.saturating_add(new).saturating_sub(old);
    let size = size.saturating_add(part.bytes).saturating_sub(before);
    unlist(txn, key, &charge);
    charge.pending = Some(now);
    txn.put(PENDING, &pending_key(now, key), &[]);
    set_charge(txn, key, &charge)?;
    set_size(txn, server, size);
    Ok(Changed { sizes: vec![(server.clone(), size)], was_empty })
}

/// The entry under `key` was put: its charge is no longer pending.
///
/// # Errors
/// What the store says.
pub fn settle(txn: &mut dyn Txn, key: &Key) -> Result<()> {
    let Some(mut charge) = charge(txn, key)? else { return Ok(()) };
    if charge.pending.is_none() {
        return Ok(());
    }
    unlist(txn, key, &charge);
    charge.pending = None;
    charge.parts.retain(|part| part.bytes > 0);
    charge.parts.iter_mut().for_each(|part| part.settled = part.bytes);
    set_charge(txn, key, &charge)
}

/// The entry under `key` is gone: gives back its whole charge.
///
/// # Errors
/// What the store says.
pub fn give_back(txn: &mut dyn Txn, key: &Key) -> Result<Sizes> {
    let Some(charge) = charge(txn, key)? else { return Ok(Sizes::new()) };
    unlist(txn, key, &charge);
    txn.delete(CHARGES, key.as_bytes());
    charge.parts.iter().filter_map(|part| shift(txn, part, 0).transpose()).collect()
}

/// The same for the empty key, which earlier programs logged although no table can hold it.
///
/// # Errors
/// What the store says.
pub fn give_back_impossible(txn: &mut dyn Txn) -> Result<()> {
    give_back(txn, &Key::empty()).map(drop)
}

/// Gives back the growth of `key` that no `put` settled.
///
/// # Errors
/// What the store says.
pub fn lapse(txn: &mut dyn Txn, key: &Key) -> Result<Sizes> {
    let Some(mut charge) = charge(txn, key)? else { return Ok(Sizes::new()) };
    unlist(txn, key, &charge);
    charge.pending = None;
    let shifted = charge.parts.iter().map(|part| shift(txn, part, part.settled));
    let sizes = shifted.filter_map(Result::transpose).collect();
    charge.parts.retain(|part| part.settled > 0);
    charge.parts.iter_mut().for_each(|part| part.bytes = part.settled);
    set_charge(txn, key, &charge)?;
    sizes
}

/// Up to `limit` keys whose growth has been pending since `before` or longer.
///
/// # Errors
/// What the store says.
pub fn pending(txn: &dyn ReadTxn, before: Timestamp, limit: usize) -> Result<Vec<Key>> {
    let end = before.0.saturating_add(1).to_be_bytes();
    let rows = txn.scan(PENDING, &[], &end, limit)?;
    rows.into_iter().map(|(row, _)| Key::new(row.slice(8..))).collect()
}

/// The charge of a key.
///
/// # Errors
/// What the store says.
pub fn charge(txn: &dyn ReadTxn, key: &Key) -> Result<Option<Charge>> {
    let bytes = txn.get(CHARGES, key.as_bytes())?;
    bytes.map(|bytes| postcard::from_bytes(&bytes).map_err(|_| damaged())).transpose()
}

/// Puts a charge from a dump into the accounts, which have none for this key. Parts of servers that
/// are not known here are left out.
///
/// # Errors
/// What the store says.
pub fn restore(txn: &mut dyn Txn, key: &Key, mut charge: Charge) -> Result<Sizes> {
    let mut sizes = Sizes::new();
    let mut parts = Vec::new();
    for mut part in charge.parts {
        part.server = members::named(txn, &part.server)?;
        let Some(size) = known_size(txn, &part.server)? else { continue };
        part.bytes = part.settled;
        let size = size.saturating_add(part.bytes);
        set_size(txn, &part.server, size);
        sizes.push((part.server.clone(), size));
        parts.push(part);
    }
    charge = Charge { parts, pending: None };
    set_charge(txn, key, &charge)?;
    Ok(sizes)
}

/// Moves a server's size by the difference between a part's bytes and `bytes`. A server that had
/// nothing may have been forgotten since.
fn shift(txn: &mut dyn Txn, part: &Part, bytes: u64) -> Result<Option<(ServerId, u64)>> {
    let server = members::named(txn, &part.server)?;
    let Some(size) = known_size(txn, &server)? else { return Ok(None) };
    let size = size.saturating_add(bytes).saturating_sub(part.bytes);
    set_size(txn, &server, size);
    Ok(Some((server, size)))
}

fn unlist(txn: &mut dyn Txn, key: &Key, charge: &Charge) {
    if let Some(since) = charge.pending {
        txn.delete(PENDING, &pending_key(since, key));
    }
}

fn set_charge(txn: &mut dyn Txn, key: &Key, charge: &Charge) -> Result<()> {
    if charge.parts.is_empty() && charge.pending.is_none() {
        txn.delete(CHARGES, key.as_bytes());
        return Ok(());
    }
    let bytes = postcard::to_allocvec(charge)
        .map_err(|error| FsError::new(ErrorKind::Io, error.to_string()))?;
    txn.put(CHARGES, key.as_bytes(), &bytes);
    Ok(())
}

/// The size of a server, whichever way it is named.
fn known_size(txn: &dyn ReadTxn, server: &ServerId) -> Result<Option<u64>> {
    size_of(txn, &members::named(txn, server)?)
}

fn size_of(txn: &dyn ReadTxn, server: &ServerId) -> Result<Option<u64>> {
    let bytes = txn.get(SERVERS, server.as_str().as_bytes())?;
    bytes.map(|bytes| decode_size(&bytes)).transpose()
}

fn set_size(txn: &mut dyn Txn, server: &ServerId, size: u64) {
    txn.put(SERVERS, server.as_str().as_bytes(), &size.to_be_bytes());
}

fn decode_size(bytes: &[u8]) -> Result<u64> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| damaged())
}

fn pending_key(since: Timestamp, key: &Key) -> Vec<u8> {
    [&since.0.to_be_bytes(), key.as_bytes()].concat()
}

fn damaged() -> FsError {
    FsError::new(ErrorKind::Corrupt, "the accounts of the chunk servers are damaged")
}
