//! The master's state: the hash table, the accounts, and the order of the servers. Every change is
//! one update, logged before it is applied.

mod dump;
mod log;
mod unused;

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::{ErrorKind, Result};
use crate::limits;
use crate::master::accounts::{self, Sizes};
use crate::master::members;
use crate::master::placement::Placement;
use crate::proto::classic::Entry;
use crate::proto::form;
use crate::store::logged;
use crate::store::table::{self, Counts};
use crate::store::{DataDir, HashTable, Logged, Record, Store, Table};
use crate::types::{Key, ServerId, StoredValue, Ttl};

use unused::Unused;

pub use dump::write_dump;

/// The role, in the data directory's marker and in dumps of earlier versions.
pub const ROLE: &str = "master";

/// Entries that a sweep or a dump handles at a time.
const PAGE_SIZE: usize = 256;

/// A value with its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stored {
    /// The value.
    pub value: StoredValue,
    /// When it is gone.
    pub expires: Timestamp,
}

impl Record for Stored {
    fn expires(&self) -> Timestamp {
        self.expires
    }

    fn size(&self) -> u64 {
        self.value.bytes.len().try_into().unwrap_or(u64::MAX)
    }
}

type Entries = HashTable<Stored>;

/// The state. Times are arguments, so that tests make their own.
pub struct State {
    logged: Logged,
    placement: Placement,
    server_count: usize,
    unused: Unused,
    /// Bytes of native chunks on each server, beside what the accounts know.
    native: HashMap<ServerId, u64>,
}

impl State {
    /// Opens the state in a data directory.
    ///
    /// # Errors
    /// `Corrupt` if it is damaged, and what the disk says.
    pub fn open(dir: &DataDir, backup_every: u64) -> Result<Self> {
        let tables: Vec<Table> = table::TABLES.into_iter().chain(accounts::TABLES).collect();
        let others = super::fs::tables();
        let all = [tables.as_slice(), &logged::OWN_TABLES, &members::TABLES, &others].concat();
        let store = Store::open(&dir.store(), &all)?;
        let mut logged = Logged::open(Arc::new(store), &tables, backup_every)?;
        logged.write(|txn| {
            Entries::remove_impossible(txn)?;
            accounts::give_back_impossible(txn)
        })?;
        let mut state = Self {
            logged,
            placement: Placement::default(),
            server_count: 0,
            unused: Unused::default(),
            native: HashMap::new(),
        };
        let sizes = state.logged.read(accounts::sizes)?;
        state.server_count = sizes.len();
        state.unused = Unused::among(&sizes);
        state.show(&sizes);
        Ok(state)
    }

    /// The store below.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        self.logged.store()
    }

    /// The entry under a key. One that has expired is dropped.
    ///
    /// # Errors
    /// What the store says.
    pub fn get(&mut self, key: &Key, now: Timestamp) -> Result<Option<Entry>> {
        let Some(stored) = self.logged.read(|txn| Entries::get(txn, key))? else {
            return Ok(None);
        };
        if stored.expires <= now {
            // It is gone either way; that a full disk keeps its row is no error of the caller's.
            if let Err(error) = self.drop_entry(key) {
                tracing::warn!("an expired entry stays: {error}");
            }
            return Ok(None);
        }
        let ttl_s = stored.expires.since_ms(now) / 1000;
        Ok(Some(Entry { value: stored.value, ttl_s }))
    }

    /// About how many bytes the entry under a key has; 0 if there is none.
    ///
    /// # Errors
    /// What the store says.
    pub fn size(&self, key: &Key) -> Result<u64> {
        self.logged.read(|txn| Entries::size(txn, key))
    }

    /// Stores a value for a time, or deletes the key if that is none.
    ///
    /// # Errors
    /// `NoSpace` if the disk is full, and what the store says; nothing has changed then.
    pub fn put(&mut self, key: &Key, value: StoredValue, ttl: Ttl, now: Timestamp) -> Result<()> {
        if ttl.is_zero() {
            return self.drop_entry(key);
        }
        let stored = Stored { value, expires: ttl.end(now) };
        self.store().check_room(limits::DISK_RESERVE.saturating_add(stored.size()))?;
        self.logged.write(|txn| {
            Entries::put(txn, key, &stored)?;
            accounts::settle(txn, key)
        })
    }

    /// The server for a caller's next file, one that `is_fit` admits if there is one.
    pub fn choose_server(
        &mut self,
        caller: &Weak<()>,
        now: Timestamp,
        is_fit: impl Fn(&ServerId) -> bool,
    ) -> Option<ServerId> {
        self.placement.choose(caller, now, is_fit)
    }

    /// The file under a key now has this size on a server.
    ///
    /// # Errors
    /// `UnknownServer` if nobody registered it, and what the store says.
    pub fn change_size(
        &mut self,
        key: &Key,
        server: &ServerId,
        size: u64,
        caller: &Weak<()>,
        now: Timestamp,
    ) -> Result<()> {
        let entry = self.get(key, now)?;
        let old = entry.as_ref().map(|entry| form::st_size(&entry.value));
        self.change_size_from(key, (server, old, size), caller, now)
    }

    /// The same for a file whose size is known; `None` if it is new.
    ///
    /// # Errors
    /// As [`State::change_size`].
    pub fn change_size_from(
        &mut self,
        key: &Key,
        (server, old, new): (&ServerId, Option<u64>, u64),
        caller: &Weak<()>,
        now: Timestamp,
    ) -> Result<()> {
        let sizes = (old.unwrap_or(0), new);
        let changed = self.logged.write(|txn| accounts::change(txn, key, server, sizes, now))?;
        self.show(&changed.sizes);
        if changed.was_empty {
            let caller = old.is_none().then_some(caller);
            self.placement.placed(key, server, new, caller);
        }
        Ok(())
    }

    /// Whether a server is registered.
    ///
    /// # Errors
    /// What the store says.
    pub fn is_registered(&self, server: &ServerId) -> Result<bool> {
        match self.logged.read(|txn| accounts::size(txn, server)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::UnknownServer => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a client has announced the growth of a file and not stored it yet.
    ///
    /// # Errors
    /// What the store says.
    pub fn is_announced(&self, key: &Key) -> Result<bool> {
        let charge = self.logged.read(|txn| accounts::charge(txn, key))?;
        Ok(charge.is_some_and(|charge| charge.is_pending()))
    }

    /// Drops the entry and the charge of a key, of which the tree has a file now, or nothing more.
    ///
    /// # Errors
    /// What the store says.
    pub fn forget(&mut self, key: &Key) -> Result<()> {
        let is_known = self.logged.read(|txn| {
            Ok(Entries::get(txn, key)?.is_some() || accounts::charge(txn, key)?.is_some())
        })?;
        if is_known { self.drop_entry(key) } else { Ok(()) }
    }

    /// Makes a server known that holds this many bytes; one that is known keeps its size.
    ///
    /// # Errors
    /// `NoSpace` if there are too many, and what the store says.
    pub fn register(&mut self, server: &ServerId, held: u64) -> Result<()> {
        let known = self.server_count;
        let sizes = self.logged.write(|txn| accounts::register(txn, server, held, known))?;
        if !sizes.is_empty() {
            tracing::info!(server = server.short(), held, "a new chunk server");
            self.server_count += 1;
        }
        self.show(&sizes);
        Ok(())
    }

    /// Takes in a server with an identity. Of what is kept under the URL `was`, it is the server.
    ///
    /// # Errors
    /// As [`State::register`].
    pub fn join(&mut self, server: &ServerId, was: Option<&ServerId>, held: u64) -> Result<()> {
        let Some(was) = was else { return self.register(server, held) };
        let known = self.server_count;
        let was_known = self.logged.read(|txn| accounts::size(txn, server)).is_ok();
        let sizes = self.logged.write(|txn| accounts::rename(txn, was, server))?;
        if sizes.is_empty() {
            return self.register(server, held);
        }
        self.server_count = known - usize::from(was_known);
        if let Some(bytes) = self.native.remove(was) {
            let own = self.native.entry(server.clone()).or_default();
            *own = own.saturating_add(bytes);
        }
        self.placement.remove(was);
        self.show(&sizes);
        Ok(())
    }

    /// Drops some entries that have expired and some growth that was never settled. Says whether
    /// there may be more.
    ///
    /// # Errors
    /// What the store says.
    pub fn sweep(&mut self, now: Timestamp) -> Result<bool> {
        let expired = self.logged.read(|txn| Entries::expired(txn, now, PAGE_SIZE))?;
        for key in &expired {
            self.drop_entry(key)?;
        }
        let timeout_ms = u64::try_from(limits::CHARGE_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
        let since = Timestamp(now.0.saturating_sub(timeout_ms));
        let lapsed = self.logged.read(|txn| accounts::pending(txn, since, PAGE_SIZE))?;
        for key in &lapsed {
            let sizes = self.logged.write(|txn| accounts::lapse(txn, key))?;
            self.show(&sizes);
        }
        Ok(expired.len() == PAGE_SIZE || lapsed.len() == PAGE_SIZE)
    }

    /// Entries with keys greater than `after`.
    ///
    /// # Errors
    /// What the store says.
    pub fn page(&self, after: Option<&Key>) -> Result<Vec<(Key, Stored)>> {
        self.logged.read(|txn| Entries::page(txn, after, PAGE_SIZE))
    }

    /// How much there is.
    ///
    /// # Errors
    /// What the store says.
    pub fn counts(&self) -> Result<Counts> {
        self.logged.read(Entries::counts)
    }

    /// The sizes of all servers.
    ///
    /// # Errors
    /// What the store says.
    pub fn sizes(&self) -> Result<Sizes> {
        self.logged.read(accounts::sizes)
    }

    /// The server for a native chunk, among those that `is_fit` admits, and the turn of the choice.
    pub fn choose_for_chunk(
        &mut self,
        now: Timestamp,
        is_fit: impl Fn(&ServerId) -> bool,
    ) -> Option<(u64, ServerId)> {
        self.placement.choose_fit(now, is_fit)
    }

    /// A choice was used for this chunk, or not at all.
    pub fn settle_choice(&mut self, turn: u64, key: Option<&Key>) {
        match key {
            Some(key) => self.placement.bind(turn, key),
            None => self.placement.end(turn),
        }
    }

    /// Servers have so many bytes of native chunks now.
    ///
    /// # Errors
    /// What the store says.
    pub fn set_native(&mut self, sizes: Sizes) -> Result<()> {
        for (server, bytes) in sizes {
            self.native.insert(server.clone(), bytes);
            match self.logged.read(|txn| accounts::size(txn, &server)) {
                Ok(size) => self.show(&vec![(server, size)]),
                // It will be shown when it registers.
                Err(error) if error.kind() == ErrorKind::UnknownServer => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A native chunk has got contents, or (with `None`) is gone.
    pub fn settle_chunk(&mut self, key: &Key, bytes: Option<u64>) {
        match bytes {
            Some(bytes) => self.placement.arrived(key, bytes),
            None => self.placement.forget(key),
        }
    }

    fn drop_entry(&mut self, key: &Key) -> Result<()> {
        let sizes = self.logged.write(|txn| {
            Entries::remove(txn, key)?;
            accounts::give_back(txn, key)
        })?;
        self.show(&sizes);
        self.placement.forget(key);
        Ok(())
    }

    fn show(&mut self, sizes: &Sizes) {
        for (server, size) in sizes {
            let native = self.native.get(server).copied().unwrap_or(0);
            self.placement.set_size(server, size.saturating_add(native));
        }
    }
}

#[cfg(test)]
mod tests;
