//! The mount's session at the master: what it holds open, and the stream of what others changed.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::data::Cluster;
use super::fs::NativeFs;
use super::lock;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::Packed;
use crate::proto::fs::SessionId;
use crate::proto::session::{Attach, Detach, Events, Renew, WaitEvents};
use crate::types::{Change, Ino};

/// What is known of the session.
pub(super) struct SessionState {
    client: Bytes,
    id: AtomicU64,
    lease_ms: AtomicU64,
    last_event: AtomicU64,
    /// Counts opened files: a renewal that was under way meanwhile did not name them.
    opened: AtomicU64,
    /// Inodes that this mount has ever locked: only those cost a call when they are closed.
    locked: Mutex<HashSet<Ino>>,
}

impl SessionState {
    pub(super) fn new(client: &str) -> Self {
        Self {
            client: Bytes::copy_from_slice(client.as_bytes()),
            id: AtomicU64::new(0),
            lease_ms: AtomicU64::new(0),
            last_event: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            locked: Mutex::default(),
        }
    }

    pub(super) fn note_locked(&self, ino: Ino) {
        lock(&self.locked).insert(ino);
    }

    pub(super) fn has_locked(&self, ino: Ino) -> bool {
        lock(&self.locked).contains(&ino)
    }

    /// Nobody has the inode open any more, so nobody has a lock on it.
    pub(super) fn forget_locked(&self, ino: Ino) {
        lock(&self.locked).remove(&ino);
    }

    pub(super) fn id(&self) -> SessionId {
        self.id.load(Ordering::Acquire)
    }

    pub(super) fn note_opened(&self) {
        self.opened.fetch_add(1, Ordering::AcqRel);
    }
}

impl<C: Cluster> NativeFs<C> {
    pub(super) async fn attach_session(&self) -> Result<()> {
        let call = Attach { client: self.session.client.clone() };
        let Packed(session) = self.cluster.ask(call).await?;
        self.session.last_event.store(session.last_event, Ordering::Release);
        self.session.lease_ms.store(session.lease_ms, Ordering::Release);
        self.session.id.store(session.id, Ordering::Release);
        self.cache.heard();
        Ok(())
    }

    pub(super) async fn end_session(&self) {
        let call = Detach { session: self.session.id() };
        if let Err(error) = self.cluster.ask(call).await {
            tracing::debug!("the session ends by itself: {error}");
        }
    }

    /// Asks for events again and again, and drops what they name. Never ends.
    pub(super) async fn follow_events(&self) {
        let mut pause = limits::EVENTS_WAIT / 10;
        loop {
            let session = self.session.id();
            let call = WaitEvents {
                session,
                after: self.session.last_event.load(Ordering::Acquire),
                wait_ms: u64::try_from(limits::EVENTS_WAIT.as_millis()).unwrap_or(u64::MAX),
            };
            match self.cluster.ask(call).await {
                Ok(Packed(events)) => {
                    pause = limits::EVENTS_WAIT / 10;
                    self.take_events(events);
                }
                Err(error) => {
                    tracing::debug!("no events: {error}");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(limits::CACHE_AGE_MAX);
                    if is_unknown_session(&error) {
                        self.reattach(session).await;
                    }
                }
            }
        }
    }

    fn take_events(&self, events: Events) {
        if events.is_overflow {
            tracing::info!("events were missed; all caches are dropped");
            self.drop_caches();
        }
        for change in &events.changes {
            self.take_change(change);
        }
        self.session.last_event.store(events.last_event, Ordering::Release);
        self.cache.heard();
    }

    /// Drops what a change makes untrue, here and in the kernel.
    fn take_change(&self, change: &Change) {
        let notify = self.notify.get();
        match change {
            Change::Attributes(ino) => {
                self.cache.drop_attr(*ino);
                if let Some(inode) = self.inodes.get(*ino) {
                    inode.state().is_stale = true;
                }
                notify.inspect(|notify| notify.attributes(*ino));
            }
            Change::Contents(ino) => {
                self.cache.drop_attr(*ino);
                self.cache.drop_pages(*ino);
                if let Some(inode) = self.inodes.get(*ino) {
                    let mut state = inode.state();
                    state.is_stale = true;
                    state.forget_contents();
                }
                notify.inspect(|notify| notify.contents(*ino));
            }
            Change::Entry(parent, name) => {
                self.cache.drop_entry(*parent, name);
                notify.inspect(|notify| notify.entry(*parent, name));
            }
        }
    }

    /// Forgets all that is cached. The kernel's names and attributes end by themselves within
    /// [`limits::CACHE_AGE_MAX`]; pages of open files do not.
    fn drop_caches(&self) {
        self.cache.drop_all();
        for inode in self.inodes.all() {
            {
                let mut state = inode.state();
                state.is_stale = true;
                state.forget_contents();
            }
            self.notify.get().inspect(|notify| notify.contents(inode.ino));
        }
    }

    /// Renews the session in good time. Never ends.
    pub(super) async fn keep_session(&self) {
        loop {
            let lease = Duration::from_millis(self.session.lease_ms.load(Ordering::Acquire));
            tokio::time::sleep((lease / 4).clamp(limits::EVENTS_WAIT / 10, limits::SYNC_PERIOD))
                .await;
            let session = self.session.id();
            if let Err(error) = self.renew().await {
                tracing::debug!("the session was not renewed: {error}");
                if is_unknown_session(&error) {
                    self.reattach(session).await;
                }
            }
        }
    }

    async fn renew(&self) -> Result<()> {
        loop {
            let opened = self.session.opened.load(Ordering::Acquire);
            let call = Renew { session: self.session.id(), open: Packed(self.inodes.held()) };
            self.cluster.ask(call).await?;
            if opened == self.session.opened.load(Ordering::Acquire) {
                return Ok(());
            }
        }
    }

    /// Begins a new session in place of `lost`, which the master does not know any more.
    async fn reattach(&self, lost: SessionId) {
        if self.session.id() != lost {
            return;
        }
        match self.attach_session().await {
            Ok(()) => {
                tracing::info!("the master has a new session for this mount");
                self.drop_caches();
                if let Err(error) = self.renew().await {
                    tracing::warn!("the new session was not renewed: {error}");
                }
            }
            Err(error) => tracing::debug!("no new session: {error}"),
        }
    }
}

/// Whether the master answered that it has no such session (any more).
fn is_unknown_session(error: &FsError) -> bool {
    matches!(error.kind(), ErrorKind::Stale | ErrorKind::NotFound | ErrorKind::BadHandle)
}
