//! The mount's session at the master: what it holds open, and the stream of what others changed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::data::Cluster;
use super::doubt::{Position, Question};
use super::fs::NativeFs;
use super::held_locks::locks_lost;
use super::lock_owners::LockOwners;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::Packed;
use crate::proto::chunk::Optional;
use crate::proto::fs::SessionId;
use crate::proto::session::{Attach, Detach, Events, Renew, WaitEvents};
use crate::rpc::Method;
use crate::types::{Change, ClusterId};

/// What is known of the session.
pub(super) struct SessionState {
    client: Bytes,
    /// The cluster that the mount shows, for ever.
    cluster: OnceLock<ClusterId>,
    id: AtomicU64,
    lease_ms: AtomicU64,
    pub(super) position: Position,
    /// Counts opened files: a renewal that was under way meanwhile did not name them.
    opened: AtomicU64,
    /// Who may have locks.
    pub(super) locks: LockOwners,
    origin: Instant,
    /// When the last attachment or renewal that succeeded was sent, in milliseconds after `origin`:
    /// the master counts the lease from a later moment.
    renewed_ms: AtomicU64,
    /// Held by who replaces the session.
    replacing: tokio::sync::Mutex<()>,
}

impl SessionState {
    pub(super) fn new(client: &str) -> Self {
        Self {
            client: Bytes::copy_from_slice(client.as_bytes()),
            cluster: OnceLock::new(),
            id: AtomicU64::new(0),
            lease_ms: AtomicU64::new(0),
            position: Position::default(),
            opened: AtomicU64::new(0),
            locks: LockOwners::default(),
            origin: Instant::now(),
            renewed_ms: AtomicU64::new(0),
            replacing: tokio::sync::Mutex::default(),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether the master may have ended the session, as far as this mount can know without it.
    pub(super) fn is_lease_over(&self) -> bool {
        let age_ms = self.now_ms().saturating_sub(self.renewed_ms.load(Ordering::Acquire));
        age_ms > self.lease_ms.load(Ordering::Acquire)
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
        let known = self.session.cluster.get().copied();
        let call = Attach { client: self.session.client.clone(), cluster: Optional(known) };
        let sent_ms = self.session.now_ms();
        let Packed(session) = self.cluster.ask(call).await?;
        self.session.cluster.get_or_init(|| session.cluster);
        self.session.renewed_ms.store(sent_ms, Ordering::Release);
        self.session.position.begin(session.last_event);
        self.session.lease_ms.store(session.lease_ms, Ordering::Release);
        self.session.id.store(session.id, Ordering::Release);
        self.cache.heard();
        Ok(())
    }

    /// Makes a change that the master takes only from a session it knows. If it does not know this
    /// mount's any more, it has done nothing: the mount gets a new session and asks once more.
    ///
    /// # Errors
    /// The master's own; `Io` if there is no new session.
    pub(super) async fn ask_in_session<M: Method>(
        &self,
        call: impl Fn(SessionId) -> M + Send,
    ) -> Result<M::Answer> {
        self.ask_in_session_if(call, || true).await
    }

    /// The same, for what may only be done while a condition holds, which can end with a session.
    ///
    /// # Errors
    /// Also `Io` if it does not hold.
    pub(super) async fn ask_in_session_if<M: Method>(
        &self,
        call: impl Fn(SessionId) -> M + Send,
        may_go_on: impl Fn() -> bool + Send,
    ) -> Result<M::Answer> {
        // The number first: when locks are lost, the condition ends before there is a new one.
        let session = self.session.id();
        if !may_go_on() {
            return Err(locks_lost());
        }
        let known = self.session.position.next().after;
        match self.cluster.ask(call(session)).await {
            Err(error) if is_unknown_session(&error) => {}
            outcome => return self.note_outcome(outcome, known),
        }
        self.reattach(session).await;
        let session = self.session.id();
        if !may_go_on() {
            return Err(locks_lost());
        }
        let known = self.session.position.next().after;
        let answer = self.cluster.ask(call(session)).await;
        self.note_outcome(answer, known).map_err(|error| match is_unknown_session(&error) {
            true => FsError::new(ErrorKind::Io, "the master has no session for this mount"),
            false => error,
        })
    }

    pub(super) async fn end_session(&self) {
        self.detach_session(self.session.id()).await;
    }

    async fn detach_session(&self, session: SessionId) {
        let call = Detach { session };
        if let Err(error) = self.cluster.ask(call).await {
            tracing::debug!("the session ends by itself: {error}");
        }
    }

    /// Asks for events again and again, and drops what they name. Never ends.
    pub(super) async fn follow_events(&self) {
        let mut pause = limits::EVENTS_WAIT / 10;
        loop {
            let session = self.session.id();
            let question = self.session.position.next();
            let Question { after, own, .. } = question;
            let wait_ms = u64::try_from(limits::EVENTS_WAIT.as_millis()).unwrap_or(u64::MAX);
            let call = WaitEvents { session, after, wait_ms, own };
            match self.cluster.ask(call).await {
                Ok(Packed(events)) => {
                    pause = limits::EVENTS_WAIT / 10;
                    self.take_events(question, events);
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

    fn take_events(&self, question: Question, events: Events) {
        if events.is_overflow {
            tracing::info!("events were missed; all caches are dropped");
            self.drop_caches();
        }
        for change in &events.changes {
            self.take_change(change);
        }
        self.session.position.answered(question, events.last_event);
        self.cache.heard();
    }

    /// Drops what a change makes untrue, here and in the kernel.
    pub(super) fn take_change(&self, change: &Change) {
        let notify = self.notify.get();
        match change {
            Change::Attributes(ino) => {
                self.cache.drop_attr(*ino);
                if let Some(inode) = self.inodes.get(*ino) {
                    inode.state().is_stale = true;
                }
                notify.inspect(|notify| notify.attributes(*ino));
            }
            Change::Contents(ino, version) => {
                self.cache.drop_attr_before(*ino, *version);
                if let Some(inode) = self.inodes.get(*ino) {
                    let mut state = inode.state();
                    if state.attr.data_version < *version {
                        state.is_stale = true;
                        state.forget_contents();
                    }
                }
                // What the kernel knows already it is not told again: it throws away attributes that
                // are on their way then, and goes on with an old size.
                self.cache.drop_pages_before(*ino, *version, || {
                    notify.inspect(|notify| notify.contents(*ino));
                });
            }
            Change::Entry(parent, name) => {
                self.cache.drop_entry(*parent, name);
                notify.inspect(|notify| notify.entry(*parent, name));
            }
        }
    }

    /// Forgets all that is cached. The kernel's names and attributes end by themselves within
    /// [`limits::KERNEL_CACHE_AGE`]; pages of open files do not.
    fn drop_caches(&self) {
        self.cache.drop_all();
        for inode in self.inodes.all() {
            {
                let mut state = inode.state();
                state.is_stale = true;
                // A master that has lost something counts on from an older version.
                state.attr.data_version = 0;
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
            if self.session.is_lease_over() && !self.session.locks.is_empty() {
                // The master may still know the session, or again. Whether the locks were somebody
                // else's in between is not known, and those that are not need to be freed.
                self.reattach(session).await;
                continue;
            }
            match self.renew().await {
                Ok(()) => self.free_late_locks().await,
                Err(error) => {
                    tracing::debug!("the session was not renewed: {error}");
                    if is_unknown_session(&error) {
                        self.reattach(session).await;
                    }
                }
            }
        }
    }

    async fn renew(&self) -> Result<()> {
        loop {
            let opened = self.session.opened.load(Ordering::Acquire);
            let call = Renew { session: self.session.id(), open: Packed(self.inodes.held()) };
            let sent_ms = self.session.now_ms();
            self.cluster.ask(call).await?;
            self.session.renewed_ms.store(sent_ms, Ordering::Release);
            if opened == self.session.opened.load(Ordering::Acquire) {
                return Ok(());
            }
        }
    }

    /// Begins a new session in place of `lost`, which the master does not know any more or should
    /// not. Its locks are gone before anything is done in the new one.
    pub(super) async fn reattach(&self, lost: SessionId) {
        let _replacing = self.session.replacing.lock().await;
        if self.session.id() != lost {
            return;
        }
        self.lose_locks();
        match self.attach_session().await {
            Ok(()) => {
                tracing::warn!("the session was lost; the master has a new one for this mount");
                self.drop_caches();
                if let Err(error) = self.renew().await {
                    tracing::warn!("the new session was not renewed: {error}");
                }
                self.detach_session(lost).await;
            }
            Err(error) if error.kind() == ErrorKind::WrongCluster => {
                tracing::warn!("no new session: {error}");
            }
            Err(error) => tracing::debug!("no new session: {error}"),
        }
    }
}

/// Whether the master answered that it has no such session (any more).
pub(super) fn is_unknown_session(error: &FsError) -> bool {
    error.kind() == ErrorKind::BadHandle
}
