//! The native file system's service: every method is decoded, becomes one transaction on the
//! namespace, is told to those who have cached what it changed, and is answered.
//!
//! * [`methods`] offers the methods; [`names`], [`attributes`], [`contents`] carry out `fs.*`;
//!   [`clients`] is about sessions, events and locks, [`servers`] about chunk servers.
//! * [`call_back`] asks servers that join who they are; [`unused_members`] makes room for them.
//! * [`life`] sees to it that numbers are given out once.
//! * [`place`] finds servers for new chunks; [`reaper`] frees what nobody has open any more.
//!
//! # Orders
//!
//! The store has one writer at a time. Inside a transaction only the lock on the sessions may be
//! taken; the state of [`Master`] and the locks of clients are taken before or after. No lock is
//! held over an await. A hold on an inode is noted before the transaction that opens it commits,
//! and the reaper asks inside of its own: so no inode goes between being opened and being held.

mod attributes;
mod call_back;
mod clients;
mod contents;
mod life;
mod methods;
mod names;
mod place;
mod reaper;
mod servers;
#[cfg(test)]
mod tests;
mod unused_members;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::{self, Timestamp};
use crate::error::Result;
use crate::limits;
use crate::master::chunks::{self, Servers};
use crate::master::events::EventLog;
use crate::master::gateway::notes;
use crate::master::lock_table::{self, LockTable};
use crate::master::namespace::{self, Effects, Namespace, RootAttr, View};
use crate::master::service::Master;
use crate::master::sessions::Sessions;
use crate::proto::Packed;
use crate::proto::fs::{Changed, SessionId};
use crate::ratelimit::RateLimit;
use crate::store::{Purpose, ReadTxn, Store, Table, Txn};
use crate::types::{Change, FileTime, Ino, Key, ServerId};

pub use reaper::{keep_numbers_periodically, reap_periodically};

/// The root directory of a new file system.
///
/// Everybody may make files in it, and only the owner of a name may take it away, as in `/tmp`: the
/// master does not know who will mount it, and whoever does must be able to write without first
/// asking a superuser. A superuser who wants it otherwise changes owner and mode once, on any mount.
const ROOT: RootAttr = RootAttr { mode: 0o1777, uid: 0, gid: 0 };

/// Every table of the file system.
#[must_use]
pub fn tables() -> Vec<Table> {
    let tables = namespace::TABLES.into_iter().chain(chunks::TABLES).chain(lock_table::TABLES);
    tables.chain(clients::TABLES).chain(notes::TABLES).collect()
}

/// The file system behind its methods.
pub struct FileSystem {
    master: Arc<Master>,
    store: Arc<Store>,
    sessions: Mutex<Sessions>,
    events: EventLog,
    locks: LockTable,
    servers: Mutex<Servers>,
    /// Chunks that a server is being asked to make of what it has: no file has them yet.
    arriving: Arc<Mutex<BTreeSet<Arrival>>>,
    /// What servers make it say again and again.
    limit: RateLimit,
    /// Inodes without a name, and since when, by [`clock::uptime`].
    orphans: Mutex<BTreeMap<Ino, Timestamp>>,
    /// Whether new numbers can be given out.
    has_life: AtomicBool,
    /// Those who wait are answered at once when it is cancelled.
    shutdown: CancellationToken,
}

/// The file and the incarnation of chunks.
type Arrival = (Ino, u64);

/// Chunks that no file has yet, but that are no strays, until this is dropped.
pub(in crate::master) struct Arriving {
    all: Arc<Mutex<BTreeSet<Arrival>>>,
    this: Arrival,
}

impl Drop for Arriving {
    fn drop(&mut self) {
        lock(&self.all).remove(&self.this);
    }
}

/// What native contents take up on servers now.
type Sizes = Vec<(ServerId, u64)>;

/// Who makes a change, and what the answer tells it: it is not told of that again.
#[derive(Clone, Copy)]
pub(in crate::master) struct Origin {
    session: SessionId,
    known: Known,
}

/// What a session knows of the changes that its own call made.
#[derive(Clone, Copy)]
enum Known {
    /// All of them.
    All,
    /// Those of this inode, from the answer.
    One(Ino),
}

impl Origin {
    /// Nobody who has anything cached: all are told.
    pub(in crate::master) const NOBODY: Self = Self { session: 0, known: Known::All };

    /// The session that need not be told of a change.
    fn knows(&self, change: &Change) -> SessionId {
        let (Change::Attributes(ino) | Change::Contents(ino, _) | Change::Entry(ino, _)) = change;
        match self.known {
            Known::One(known) if known != *ino => 0,
            Known::All | Known::One(_) => self.session,
        }
    }
}

impl FileSystem {
    /// Opens the file system in the master's store, and makes it if there is none. Nobody is kept
    /// waiting after `shutdown`.
    ///
    /// # Errors
    /// `Corrupt` if it is damaged, and what the store says.
    pub fn start(
        master: &Arc<Master>,
        lease: Duration,
        shutdown: &CancellationToken,
    ) -> Result<Arc<Self>> {
        let store = Arc::clone(master.store());
        format(&store)?;
        let has_life = life::begin(&store)?.into();
        let now = clock::uptime();
        let sessions = clients::load(&store, lease, now)?;
        let locks = LockTable::open(Arc::clone(&store))?;
        for session in locks.holders() {
            if sessions.check(session).is_err() {
                locks.release(session)?;
            }
        }
        master.state().set_native(store.read(chunks::usage)?)?;
        let servers = store.read(|txn| Servers::load(txn, now))?;
        let orphans = reaper::load(&store, now)?;
        Ok(Arc::new(Self {
            master: Arc::clone(master),
            store,
            sessions: Mutex::new(sessions),
            events: EventLog::new(limits::EVENTS_MAX, clock::now()),
            locks,
            servers: Mutex::new(servers),
            arriving: Arc::default(),
            limit: RateLimit::default(),
            orphans: Mutex::new(orphans),
            has_life,
            shutdown: shutdown.clone(),
        }))
    }

    /// The store below.
    pub(in crate::master) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Answers a question from one moment of the namespace.
    fn look<T>(&self, question: impl FnOnce(View<'_>) -> Result<T>) -> Result<T> {
        self.store.read(|txn| question(View::new(txn)))
    }

    /// Makes a change of the namespace as one transaction, and tells of it. A session that is over
    /// changes nothing any more: its locks, and what it had open, may be somebody else's by now.
    fn change<T>(
        &self,
        origin: Origin,
        work: impl FnOnce(&mut Namespace<'_>) -> Result<T>,
    ) -> Result<T> {
        self.change_for(Purpose::Change, origin, work)
    }

    /// [`FileSystem::change`] for a purpose: a deletion is made on a full disk, too.
    fn change_for<T>(
        &self,
        purpose: Purpose,
        origin: Origin,
        work: impl FnOnce(&mut Namespace<'_>) -> Result<T>,
    ) -> Result<T> {
        self.transact_for(purpose, origin, |txn, now| {
            let mut namespace = Namespace::new(txn, now);
            let value = work(&mut namespace)?;
            Ok((value, namespace.into_effects()))
        })
    }

    /// [`FileSystem::change`] for what does not answer with attributes: which ones changed, the
    /// caller has to hear, because it may have those under names that it did not say.
    fn change_names<T>(
        &self,
        purpose: Purpose,
        origin: Origin,
        work: impl FnOnce(&mut Namespace<'_>) -> Result<T>,
    ) -> Result<Packed<Changed>> {
        self.change_for(purpose, origin, |namespace| {
            work(namespace)?;
            let mut changed = Changed::default();
            for ino in namespace.changed_inodes() {
                match namespace.view().getattr(ino) {
                    Ok(attr) => changed.attributes.push(attr),
                    Err(_) => changed.gone.push(ino),
                }
            }
            Ok(Packed(changed))
        })
    }

    /// [`FileSystem::change`] for work on other tables in the same transaction.
    pub(in crate::master) fn transact<T>(
        &self,
        origin: Origin,
        work: impl FnOnce(&mut dyn Txn, FileTime) -> Result<(T, Effects)>,
    ) -> Result<T> {
        self.transact_for(Purpose::Change, origin, work)
    }

    /// [`FileSystem::transact`] for a purpose.
    pub(in crate::master) fn transact_for<T>(
        &self,
        purpose: Purpose,
        origin: Origin,
        work: impl FnOnce(&mut dyn Txn, FileTime) -> Result<(T, Effects)>,
    ) -> Result<T> {
        let names = self.master.members().names();
        let (value, effects, sizes) = self.store.write_for(purpose, |txn| {
            lock(&self.sessions).check_author(origin.session)?;
            // Read by the one writer there is, so that later changes have later times.
            let now = FileTime::from(clock::now_system());
            let (value, effects) = work(txn, now)?;
            for ino in &effects.freed {
                notes::forget(txn, *ino)?;
            }
            for directory in emptied(txn, &effects)? {
                notes::relist(txn, directory)?;
            }
            chunks::discard(txn, &effects.dropped, |name| names.id(name));
            let sizes = chunks::count(txn, &effects.grown, |name| names.id(name))?;
            Ok((value, effects, sizes))
        })?;
        self.publish(effects, sizes, origin);
        Ok(value)
    }

    /// [`FileSystem::change`] for what makes the store larger: it is refused while there is still
    /// room for deletions.
    fn grow<T>(
        &self,
        origin: Origin,
        work: impl FnOnce(&mut Namespace<'_>) -> Result<T>,
    ) -> Result<T> {
        self.store.check_room(limits::DISK_RESERVE)?;
        self.check_life()?;
        self.change(origin, work)
    }

    /// What has to follow a commit. The commit itself is done, and so is the call.
    fn publish(&self, effects: Effects, sizes: Sizes, origin: Origin) {
        let told = |change: Change| {
            let knows = origin.knows(&change);
            (change, knows)
        };
        self.events.publish(effects.changes.into_iter().map(told));
        if !effects.orphaned.is_empty() {
            let now = clock::uptime();
            lock(&self.orphans).extend(effects.orphaned.into_iter().map(|ino| (ino, now)));
        }
        if sizes.is_empty() && effects.dropped.is_empty() {
            return;
        }
        let mut state = self.master.state();
        if let Err(error) = state.set_native(sizes) {
            tracing::warn!("the sizes of the chunk servers are behind: {error}");
        }
        for chunk in effects.dropped {
            state.settle_chunk(&placement_key(&chunk.key), None);
        }
    }
}

/// Directories of which a name changed and that are empty now. The root never goes.
fn emptied(txn: &dyn ReadTxn, effects: &Effects) -> Result<Vec<Ino>> {
    let mut emptied = Vec::new();
    for change in &effects.changes {
        let Change::Entry(directory, _) = change else { continue };
        if *directory != Ino::ROOT && View::new(txn).is_empty_directory(*directory)? {
            emptied.push(*directory);
        }
    }
    Ok(emptied)
}

/// A chunk's name in the placement, which knows files by their keys.
fn placement_key(key: &crate::types::ChunkKey) -> Key {
    Key::new(key.to_string()).expect("three numbers are shorter than a path")
}

fn format(store: &Store) -> Result<()> {
    if store.read(|txn| View::new(txn).is_formatted())? {
        return Ok(());
    }
    // Another number for every file system, so that no inode of one is taken for another's.
    let generation = life::generation()?;
    let now = FileTime::from(clock::now_system());
    store.write(|txn| Namespace::new(txn, now).format(generation, ROOT))?;
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic leaves no half-made change behind: what these protect changes in single steps.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
