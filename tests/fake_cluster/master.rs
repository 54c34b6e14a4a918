//! The namespace behind the methods of a master, with events and locks as simple as they can be.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use htfs::error::{ErrorKind, FsError, Result};
use htfs::limits;
use htfs::master::namespace::{
    ChunkUse, CreateOpen, Effects, Namespace, PageRequest, RootAttr, TABLES, View,
};
use htfs::proto::Packed;
use htfs::proto::fs::{
    AbortAppend, Append, Appended, Changed, Create, Extend, GetAttr, Layout, Lookup, MakeDir,
    MakeLink, Open, Opened, Place, ReadDir, Rename, SetAttributes, Unlink,
};
use htfs::proto::server::SyncMaster;
use htfs::proto::session::{
    Attach, Detach, Events, GetLock, LockKind, Renew, Session, SetLock, WaitEvents,
};
use htfs::proto::values::Done;
use htfs::rpc::{Method, Registry};
use htfs::store::Memory;
use htfs::types::{Change, ChunkLayout, ClusterId, Cookie, FileTime, Ino, Name, ServerId};
use tokio::sync::watch;

pub struct Master {
    store: Mutex<Memory>,
    now: AtomicU64,
    sessions: AtomicU64,
    /// What changed, and by which session.
    changes: Mutex<Vec<(u64, Change)>>,
    change_count: watch::Sender<u64>,
    /// Locks as `(ino, session, owner)`, all of whole files and all exclusive.
    locks: Mutex<Vec<(Ino, u64, u64)>>,
}

impl Master {
    pub fn new() -> Self {
        let master = Self {
            store: Mutex::new(Memory::new()),
            now: AtomicU64::new(1),
            sessions: AtomicU64::new(0),
            changes: Mutex::default(),
            change_count: watch::Sender::new(0),
            locks: Mutex::default(),
        };
        assert!(!TABLES.is_empty());
        let root = RootAttr { mode: 0o755, uid: 0, gid: 0 };
        master.change(0, |names| names.format(1, root)).expect("the store is empty");
        master
    }

    fn change<T>(
        &self,
        session: u64,
        work: impl FnOnce(&mut Namespace<'_>) -> Result<T>,
    ) -> Result<T> {
        Ok(self.change_telling(session, work)?.0)
    }

    /// As [`Self::change`]; answers the inodes that changed as well.
    fn change_telling<T>(
        &self,
        session: u64,
        work: impl FnOnce(&mut Namespace<'_>) -> Result<T>,
    ) -> Result<(T, Packed<Changed>)> {
        let seconds = self.now.fetch_add(1, Ordering::SeqCst).cast_signed();
        let now = FileTime::new(seconds, 0).expect("a whole second");
        let mut store = self.store.lock().expect("no test panics in here");
        let ((answer, changed), effects) = store.write(|txn| {
            let mut names = Namespace::new(txn, now);
            let answer = work(&mut names)?;
            let changed = names.changed_inodes();
            let mut told = Changed::default();
            for ino in changed {
                match names.view().getattr(ino) {
                    Ok(attr) => told.attributes.push(attr),
                    Err(_) => told.gone.push(ino),
                }
            }
            Ok(((answer, told), names.into_effects()))
        })?;
        drop(store);
        self.tell(session, effects);
        Ok((answer, Packed(changed)))
    }

    fn tell(&self, session: u64, effects: Effects) {
        let mut changes = self.changes.lock().expect("no test panics in here");
        changes.extend(effects.changes.into_iter().map(|change| (session, change)));
        self.change_count.send_replace(changes.len() as u64);
    }

    fn view<T>(&self, work: impl FnOnce(View<'_>) -> Result<T>) -> Result<T> {
        let store = self.store.lock().expect("no test panics in here");
        store.read(|txn| work(View::new(txn)))
    }

    fn layout(&self, ino: Ino, index: u64, count: u32) -> Result<Vec<ChunkLayout>> {
        let limit = usize::try_from(count).unwrap_or(usize::MAX);
        self.view(|names| Ok(names.layout(ino, index, limit)?.chunks))
    }

    async fn events(&self, call: WaitEvents) -> Events {
        let mut count = self.change_count.subscribe();
        let news = count.wait_for(|count| *count > call.after);
        tokio::time::timeout(Duration::from_millis(call.wait_ms), news).await.ok();
        let changes = self.changes.lock().expect("no test panics in here");
        let after = usize::try_from(call.after).expect("it fits");
        let is_told = |session: u64| call.own || session != call.session;
        let others = changes[after..].iter().filter(|(session, _)| is_told(*session));
        Events {
            last_event: changes.len() as u64,
            is_overflow: false,
            changes: others.map(|(_, change)| change.clone()).collect(),
        }
    }

    fn set_lock(&self, call: &SetLock) -> bool {
        let mut locks = self.locks.lock().expect("no test panics in here");
        let mine = (call.ino, call.session, call.lock.0.owner);
        if call.lock.0.kind == LockKind::Unlock {
            locks.retain(|lock| *lock != mine);
            return true;
        }
        if locks.iter().any(|lock| lock.0 == call.ino && *lock != mine) {
            return false;
        }
        locks.push(mine);
        true
    }

    /// A name as nobody has changed it through a mount.
    pub fn find(&self, parent: Ino, name: &str) -> Option<Ino> {
        let name = Name::new(name.as_bytes().to_vec()).expect("a good name");
        let root = htfs::types::Credentials::ROOT;
        self.view(|names| names.lookup(&root, parent, &name)).ok().map(|attr| attr.ino)
    }
}

/// Adds one method, answered by a function of master and call.
fn add<M: Method>(
    registry: &mut Registry,
    master: &Arc<Master>,
    work: impl Fn(&Master, M) -> Result<M::Answer> + Send + Sync + 'static,
) {
    let (master, work) = (Arc::clone(master), Arc::new(work));
    registry.add::<M, _, _>(move |call, _| {
        let (master, work) = (Arc::clone(&master), Arc::clone(&work));
        async move {
            tokio::task::yield_now().await;
            work(&master, call)
        }
    });
}

pub fn registry(master: &Arc<Master>) -> Registry {
    let mut registry = Registry::default();
    add_names(&mut registry, master);
    add_files(&mut registry, master);
    add_contents(&mut registry, master);
    add_sessions(&mut registry, master);
    registry
}

fn add_names(registry: &mut Registry, master: &Arc<Master>) {
    add(registry, master, |m, c: Lookup| {
        m.view(|names| names.lookup(&c.who.0, c.parent, &c.name)).map(Packed)
    });
    add(registry, master, |m, c: GetAttr| m.view(|names| names.getattr(c.ino)).map(Packed));
    add(registry, master, |m, c: SetAttributes| {
        m.change(c.session, |names| names.setattr(&c.who.0, c.ino, &c.change.0)).map(Packed)
    });
    add(registry, master, |m, c: MakeDir| {
        let made = m.change(c.session, |n| n.mkdir(&c.who.0, c.parent, &c.name, c.mode));
        made.map(Packed)
    });
    add(registry, master, |m, c: MakeLink| {
        m.change(c.session, |names| names.link(&c.who.0, c.ino, c.parent, &c.name)).map(Packed)
    });
    add(registry, master, |m, c: Unlink| {
        let removed = m.change_telling(c.session, |n| n.unlink(&c.who.0, c.parent, &c.name));
        removed.map(|(_, changed)| changed)
    });
    add(registry, master, |m, c: Rename| {
        let (from, to) = ((c.parent, &c.name), (c.new_parent, &c.new_name));
        let renamed = m.change_telling(c.session, |n| n.rename(&c.who.0, from, to, c.mode.0));
        renamed.map(|((), changed)| changed)
    });
    add(registry, master, |m, c: ReadDir| {
        let page = PageRequest {
            after: c.after.0,
            until: c.until.0,
            limit: usize::try_from(c.limit).unwrap_or(usize::MAX),
            with_attr: c.with_attributes,
        };
        m.view(|names| names.readdir(c.ino, page)).map(Packed)
    });
}

fn add_files(registry: &mut Registry, master: &Arc<Master>) {
    add(registry, master, |m, c: Open| {
        let attr = m.view(|names| names.open(&c.who.0, c.ino, c.mode.0.access))?;
        let is_file = attr.kind == htfs::types::FileKind::Regular;
        let layout = if is_file { m.layout(c.ino, 0, 1)? } else { Vec::new() };
        let limit = limits::OPENED_LISTING_MAX;
        let first = PageRequest { after: Cookie::START, until: None, limit, with_attr: true };
        let is_directory = attr.kind == htfs::types::FileKind::Directory;
        let listing = is_directory.then(|| m.view(|names| names.readdir(c.ino, first)));
        let listing = listing.transpose()?;
        Ok(Packed(Opened { attr, is_new: false, layout, parent: None, listing }))
    });
    add(registry, master, |m, c: Create| {
        let open = CreateOpen { is_exclusive: c.open.0.is_exclusive, wanted: c.open.0.access };
        let server = server();
        let (attr, is_new, layout) = m.change(c.session, |names| {
            let (attr, is_new) = names.create(&c.who.0, c.parent, &c.name, c.mode, open)?;
            let layout = vec![names.allocate(attr.ino, 0, &[server])?];
            Ok((attr, is_new, layout))
        })?;
        Ok(Packed(Opened { attr, is_new, layout, parent: None, listing: None }))
    });
}

fn add_contents(registry: &mut Registry, master: &Arc<Master>) {
    add(registry, master, |m, c: Layout| m.layout(c.ino, c.index, c.count).map(Packed));
    add(registry, master, |m, c: Place| {
        m.change(0, |names| {
            c.indexes.0.iter().map(|index| names.allocate(c.ino, *index, &[server()])).collect()
        })
        .map(Packed)
    });
    add(registry, master, |m, c: Extend| {
        let used = c.chunks.0.iter();
        let uses: Vec<ChunkUse> =
            used.map(|c| ChunkUse { key: c.key, version: c.version, bytes: c.bytes }).collect();
        m.change(c.session, |names| {
            if c.written.0.is_modified {
                return names.extend(&c.who.0, c.ino, c.written.0.end, &uses);
            }
            uses.iter().try_for_each(|used| names.cut_done(*used))?;
            names.view().getattr(c.ino)
        })
        .map(Packed)
    });
    add(registry, master, |m, c: Append| {
        m.change(c.session, |names| {
            let offset = names.append(&c.who.0, c.ino, c.length)?;
            let data_version = names.view().getattr(c.ino)?.data_version;
            Ok(Packed(Appended { offset, data_version }))
        })
    });
    add(registry, master, |m, c: AbortAppend| {
        let Appended { offset, data_version } = c.appended.0;
        m.change(c.session, |names| names.abort_append(&c.who.0, c.ino, offset, data_version))
            .map(Packed)
    });
    add(registry, master, |_, _: SyncMaster| Ok(Done));
}

fn add_sessions(registry: &mut Registry, master: &Arc<Master>) {
    add(registry, master, |m, _: Attach| {
        let id = m.sessions.fetch_add(1, Ordering::SeqCst) + 1;
        let last_event = *m.change_count.borrow();
        Ok(Packed(Session { id, lease_ms: 10_000, last_event, cluster: ClusterId::new(1) }))
    });
    add(registry, master, |m, c: Renew| {
        if c.session > m.sessions.load(Ordering::SeqCst) {
            return Err(FsError::new(ErrorKind::Stale, "there is no such session"));
        }
        Ok(Done)
    });
    add(registry, master, |_, _: Detach| Ok(Done));
    add(registry, master, |m, c: SetLock| Ok(m.set_lock(&c)));
    add(registry, master, |_, _: GetLock| Ok(Packed(None)));
    let master = Arc::clone(master);
    registry.add::<WaitEvents, _, _>(move |call, _| {
        let master = Arc::clone(&master);
        async move { Ok(Packed(master.events(call).await)) }
    });
}

fn server() -> ServerId {
    ServerId::new(1)
}
