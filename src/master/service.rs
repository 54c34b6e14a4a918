//! The master's methods: decode, ask the state, answer.
//!
//! The state is behind one lock, which is never held across an await. Whatever may take the disk's
//! time runs where it keeps no other call waiting.

mod log;

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::task::block_in_place;

use crate::clock;
use crate::dump::Dump;
use crate::error::Result;
use crate::master::members::Members;
use crate::master::state::{ROLE, State, write_dump};
use crate::proto::classic::{ChangeSize, Get, PrintContent, Put, ReadFile, Register, WriteFile};
use crate::proto::server::SyncMaster;
use crate::proto::values::Done;
use crate::rpc::{Peer, Registry};
use crate::store::print::print_line;
use crate::store::{DataDir, Store, in_background};
use crate::types::{ServerId, ServerUrl};

/// The master behind its methods.
pub struct Master {
    dir: DataDir,
    state: Mutex<State>,
    /// Locked before `state`, or alone.
    members: RwLock<Members>,
    store: Arc<Store>,
    writing_dump: tokio::sync::Mutex<()>,
}

impl Master {
    /// A master with this state.
    ///
    /// # Errors
    /// What the store says of the cluster's members.
    pub fn new(dir: DataDir, state: State) -> Result<Arc<Self>> {
        let store = Arc::clone(state.store());
        let members = RwLock::new(Members::open(&store)?);
        let writing_dump = tokio::sync::Mutex::default();
        Ok(Arc::new(Self { dir, state: Mutex::new(state), members, store, writing_dump }))
    }

    /// All methods.
    #[must_use]
    pub fn registry(self: Arc<Self>) -> Registry {
        let mut registry = Registry::default();
        self.add_table(&mut registry);
        self.add_servers(&mut registry);
        self.add_files(&mut registry);
        self.add_log(&mut registry);
        registry
    }

    fn add_table(self: &Arc<Self>, registry: &mut Registry) {
        let master = Arc::clone(self);
        registry.add(move |call: Get, _| {
            let entry = master.state().get(&call.key, clock::now());
            async move { Ok(entry?.map(|entry| entry.in_dialect(call.dialect))) }
        });
        let master = Arc::clone(self);
        registry.add(move |call: Put, _| {
            let now = clock::now();
            let put = || master.state().put(&call.key, call.value, call.ttl, now);
            let done = block_in_place(put);
            async { done.map(|()| Done) }
        });
        let master = Arc::clone(self);
        registry.add_quick(move |_: SyncMaster, _| {
            let store = Arc::clone(&master.store);
            async move { in_background(move || store.sync()).await.map(|()| Done) }
        });
    }

    fn add_servers(self: &Arc<Self>, registry: &mut Registry) {
        let master = Arc::clone(self);
        registry.add(move |call: ChangeSize, caller| {
            let ChangeSize { key, server, size, .. } = call;
            let (caller, now) = (caller.token(), clock::now());
            let server = master.members().at(&server);
            let change = || master.state().change_size(&key, &server, size, &caller, now);
            let done = block_in_place(change);
            async { done.map(|()| Done) }
        });
        let master = Arc::clone(self);
        registry.add(move |call: Register, caller| {
            let done = block_in_place(|| master.register(&call.server, caller.peer()));
            async { done.map(|()| Done) }
        });
    }

    fn add_files(self: &Arc<Self>, registry: &mut Registry) {
        let master = Arc::clone(self);
        registry.add(move |call: ReadFile, _| {
            let master = Arc::clone(&master);
            async move { in_background(move || master.read_file(&call.file_name)).await.map(|()| Done) }
        });
        let master = Arc::clone(self);
        registry.add(move |call: WriteFile, _| {
            let master = Arc::clone(&master);
            async move {
                // One at a time: each writes all there is.
                let _writing = master.writing_dump.lock().await;
                let own = Arc::clone(&master);
                in_background(move || own.write_file(&call.file_name)).await.map(|()| Done)
            }
        });
        let master = Arc::clone(self);
        registry.add(move |_: PrintContent, _| {
            let master = Arc::clone(&master);
            async move { in_background(move || master.print_content()).await.map(|()| Done) }
        });
        registry.weigh::<ReadFile>();
        registry.weigh::<WriteFile>();
        registry.weigh::<PrintContent>();
    }

    /// The state, locked; not to be kept over an await, nor taken inside of a transaction.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic leaves no half-made change behind: changes are made in the store, as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who belongs to the cluster; not to be kept over an await.
    pub(super) fn members(&self) -> RwLockReadGuard<'_, Members> {
        // A panic leaves no half-made change behind, as with the state.
        self.members.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, to be changed.
    pub(super) fn members_mut(&self) -> RwLockWriteGuard<'_, Members> {
        self.members.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a server of the original programs, which has no identity but its URL.
    fn register(&self, url: &ServerUrl, peer: Peer) -> Result<()> {
        if self.members().has_been_at(url) {
            return Ok(());
        }
        self.state().register_from(&ServerId::from(url), peer)
    }

    /// The store below the state.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Loads the table from a file; the tree is not touched.
    pub(super) fn read_file(&self, name: &str) -> Result<()> {
        let path = self.dir.dump_to_read(name)?;
        let dump = Dump::open(&path, ROLE).map_err(|error| error.context(name))?;
        self.state().load(&dump, clock::now()).map_err(|error| error.context(name))
    }

    fn write_file(&self, name: &str) -> Result<()> {
        let path = self.dir.dump_to_write(name)?;
        let moment = self.state().snapshot()?;
        write_dump(&moment, &path).map_err(|error| error.context(name))
    }

    fn print_content(&self) -> Result<()> {
        let mut after = None;
        loop {
            let page = self.state().page(after.as_ref())?;
            let mut out = std::io::stdout().lock();
            let Some((last, _)) = page.last() else { return Ok(out.flush()?) };
            after = Some(last.clone());
            for (key, stored) in &page {
                let now = clock::now();
                print_line(&mut out, key, &stored.value, stored.expires, now)?;
            }
        }
    }
}
