//! The classic gateway: one tree for native mounts and for Python clients. The classic methods are a
//! view of the namespace for keys that are paths, and the plain hash table for all others.
//!
//! * [`notes`] is what only classic clients know of a file; [`look`] is a file as they see it, and
//!   [`dict`] its dict of attributes.
//! * [`put`] decides what a `put` means; [`take`] brings staged contents under a fresh native key,
//!   and [`commit`] makes them, and the attributes, the file's in one transaction.
//! * [`listing`] is about the lists of directories; [`lists`] is what is remembered of them for a few
//!   seconds, and [`deep_names`] the paths in them that are not directly in the directory.
//! * [`expire`] removes what has expired; [`pending`] tries again what could not come into the tree.
//!
//! # What is in the plain table all the same
//!
//! A value that is no dict of attributes; a dict that names no chunk server, but has its contents in
//! it, or none; a dict under a path whose directory is not there; and the dict of a new file whose
//! contents no server has, or whose server cannot be reached. Clients get back what they put, as
//! ever, and the last kind comes into the tree as soon as its server answers. Where the tree has a
//! file, it is what is under the path, unless a client has put a dict with contents there: that one
//! never meant the file, and finds what it put until it deletes that, or a dict replaces it that
//! names a server.
//!
//! # Orders
//!
//! Nothing is locked while a chunk server is asked. The contents are under their native key before
//! the transaction that makes them the file's, and the staged value is there until after it: whoever
//! dies in between leaves the old contents, and what a client needs to put again. A transaction that
//! finds another file under the path than the one that was looked at begins anew.

mod commit;
mod deep_names;
mod dict;
mod expire;
mod listing;
mod lists;
mod look;
pub mod notes;
mod pending;
mod put;
mod take;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::block_in_place;

use crate::clock::{self, Timestamp};
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::master::fs::FileSystem;
use crate::master::service::Master;
use crate::proto::Packed;
use crate::proto::classic::{ChangeSize, Dialect, Entry, Get, GetServer, Put, ReadFile};
use crate::proto::form::{self, Ownership};
use crate::proto::gateway::{Awaited, ListNames, Resolve, Resolved};
use crate::proto::values::Done;
use crate::rpc::{Caller, Method, Registry, RpcClient};
use crate::store::in_background;
use crate::types::{FileKind, Key, ServerId, TreePath};

use lists::Lists;
use look::Found;
use notes::Habit;
use pending::Pending;

pub use expire::tend;

/// What answers classic clients at the master.
pub struct Gateway {
    master: Arc<Master>,
    files: Arc<FileSystem>,
    client: RpcClient,
    pending: Mutex<Pending>,
    lists: Mutex<Lists>,
}

impl Gateway {
    /// The gateway of a master and its tree; `client` calls the chunk servers.
    #[must_use]
    pub fn new(master: &Arc<Master>, files: &Arc<FileSystem>, client: RpcClient) -> Arc<Self> {
        let (master, files) = (Arc::clone(master), Arc::clone(files));
        let (pending, lists) = (Mutex::default(), Mutex::default());
        Arc::new(Self { master, files, client, pending, lists })
    }

    /// Offers the methods, in the place of those of the plain table alone.
    pub fn add_to(self: &Arc<Self>, registry: &mut Registry) {
        let own = Arc::clone(self);
        registry.add(move |call: Get, caller| {
            let own = Arc::clone(&own);
            async move {
                let size = own.master.state().size(&call.key)?;
                caller.make_room(size).await?;
                block_in_place(|| own.get(&call))
            }
        });
        let own = Arc::clone(self);
        registry.add(move |call: Put, caller| Arc::clone(&own).put(call, caller));
        let own = Arc::clone(self);
        registry.add(move |call: ChangeSize, caller| {
            let done = block_in_place(|| own.change_size(&call, &caller));
            async { done.map(|()| Done) }
        });
        let own = Arc::clone(self);
        registry.add(move |_: GetServer, caller| {
            let server = own.files.choose_server(&caller.token());
            async { Ok(server) }
        });
        let own = Arc::clone(self);
        registry.add(move |call: Resolve, _| {
            let found = block_in_place(|| own.resolve(&call));
            async { found.map(Packed) }
        });
        let own = Arc::clone(self);
        registry.add(move |call: ListNames, _| {
            let page = block_in_place(|| own.list_names(&call));
            async { page.map(Packed) }
        });
        let own = Arc::clone(self);
        registry.add(move |call: ReadFile, _| {
            let own = Arc::clone(&own);
            async move { in_background(move || own.read_file(&call)).await.map(|()| Done) }
        });
        registry.weigh::<ReadFile>();
        let own = Arc::clone(self);
        registry.add(move |call: Awaited, _| {
            let awaited = block_in_place(|| own.awaited(call));
            async { awaited.map(Packed) }
        });
    }

    /// Loads the hash table, in which there may be dicts of files for the tree.
    fn read_file(&self, call: &ReadFile) -> Result<()> {
        self.master.read_file(&call.file_name)?;
        if let Err(error) = self.find_pending() {
            tracing::warn!("finding files that are not in the tree: {error}");
        }
        Ok(())
    }

    fn get(&self, call: &Get) -> Result<Option<Entry>> {
        let now = clock::now();
        if let Some(found) = self.find(&call.key, now)? {
            let ttl_s = found.ttl_s(now);
            let dialect = found.sent_as(Habit::Dict, call.dialect);
            return Ok(Some(Entry { value: self.write_dict(&found, dialect), ttl_s }));
        }
        let entry = self.master.state().get(&call.key, now)?;
        Ok(entry.map(|entry| entry.in_dialect(call.dialect)))
    }

    /// The file under a key, if there is one and no client has put a value of its own in front of it.
    fn find(&self, key: &Key, now: Timestamp) -> Result<Option<Found>> {
        let Some(path) = TreePath::of(key) else { return Ok(None) };
        if self.own_entry(key, now)?.is_some() {
            return Ok(None);
        }
        self.look(&path, now)
    }

    /// The dict in the hash table under a key that names no chunk server.
    fn own_entry(&self, key: &Key, now: Timestamp) -> Result<Option<Entry>> {
        let entry = self.master.state().get(key, now)?;
        let is_own = |entry: &Entry| {
            form::ownership(&entry.value).is_some_and(|whose| whose != Ownership::Shared)
        };
        Ok(entry.filter(is_own))
    }

    fn resolve(&self, call: &Resolve) -> Result<Option<Resolved>> {
        let now = clock::now();
        let Some(found) = self.find(&call.key, now)? else { return Ok(None) };
        let dialect = if call.is_string { Dialect::String } else { Dialect::Binary };
        let (layout, ttl_s) = (found.layout(dialect), found.ttl_s(now));
        let dialect = found.sent_as(Habit::Contents, dialect);
        let Found { attr, target, chunks, .. } = found;
        Ok(Some(Resolved { attr, target, chunks, layout, dialect, ttl_s }))
    }

    fn awaited(&self, call: Awaited) -> Result<Vec<Key>> {
        let Packed(mut keys) = call.keys;
        if keys.len() > limits::REPORT_PAGE_MAX {
            let message = format!("{} keys at once are too many", keys.len());
            return Err(FsError::new(ErrorKind::TooBig, message));
        }
        let mut waits = Vec::with_capacity(keys.len());
        for key in &keys {
            let mut state = self.master.state();
            waits.push(state.is_announced(key)? || state.get(key, clock::now())?.is_some());
        }
        let mut waits = waits.into_iter();
        keys.retain(|_| waits.next().unwrap_or(true));
        Ok(keys)
    }

    /// The growth counts from the size that the file has, as a classic client was told it. Once the
    /// bytes are native they are counted with the chunks, and the growth is given back.
    fn change_size(&self, call: &ChangeSize, caller: &Caller) -> Result<()> {
        let now = clock::now();
        let ChangeSize { key, server, size, .. } = call;
        let found = self.find(key, now)?;
        let server = &self.master.members().at(server);
        let mut state = self.master.state();
        match found {
            Some(found) => {
                let old = dict::st_size(&found.attr);
                let sizes = (server, Some(old), *size);
                state.change_size_from(key, sizes, &caller.token(), now)
            }
            None => state.change_size(key, server, *size, &caller.token(), now),
        }
    }

    /// Asks a chunk server, where it is now.
    async fn ask_server<M: Method>(&self, server: &ServerId, call: M) -> Result<M::Answer> {
        let address = self.master.members().address(server)?;
        self.client.call(address.as_str(), call).await.map_err(FsError::from)
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        // Single steps: a panic leaves nothing half-done.
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key's entry in the plain table and its charge are of the past.
    fn forget_plain(&self, key: &Key) {
        if let Err(error) = self.master.state().forget(key) {
            tracing::warn!("what the hash table has under {key} stays: {error}");
        }
    }
}

/// Whether a file's contents are in chunks.
const fn has_chunks(kind: FileKind) -> bool {
    matches!(kind, FileKind::Regular)
}
