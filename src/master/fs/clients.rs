//! Sessions, events and locks of clients.

use std::sync::Arc;
use std::time::Duration;

use super::{FileSystem, lock};
use crate::clock::{self, Timestamp};
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::master::sessions::Sessions;
use crate::proto::Packed;
use crate::proto::fs::SessionId;
use crate::proto::session::{
    Attach, Detach, Events, GetLock, Lock, LockKind, Renew, Session, SetLock, WaitEvents,
};
use crate::proto::values::Done;
use crate::random;
use crate::rpc::Peer;
use crate::store::{Purpose, Store, TABLE_END, Table};

/// Session (64 bits, big-endian) → what its client is known by.
const SESSIONS: Table = Table("session");

/// The table of this module.
pub(super) const TABLES: [Table; 1] = [SESSIONS];

/// The sessions that were there when the master ended: they go on, and have a whole lease to say
/// what they hold.
pub(super) fn load(store: &Store, lease: Duration, now: Timestamp) -> Result<Sessions> {
    let mut sessions = Sessions::new(lease);
    let rows = store.read(|txn| txn.scan(SESSIONS, &[], TABLE_END, limits::SESSIONS_MAX))?;
    for (id, client) in rows {
        let damaged = |_| FsError::new(ErrorKind::Corrupt, "the table of sessions is damaged");
        let id = u64::from_be_bytes(id.as_ref().try_into().map_err(damaged)?);
        sessions.restore(id, &String::from_utf8_lossy(&client), now)?;
    }
    Ok(sessions)
}

impl FileSystem {
    pub(super) fn attach(&self, call: Attach, peer: Peer) -> Result<Packed<Session>> {
        self.master.members().check_cluster(call.cluster.0, "mount")?;
        let cluster = self.master.members().cluster();
        let client = String::from_utf8_lossy(&call.client);
        let client: String = client.chars().flat_map(char::escape_default).collect();
        let client = &client[..client.len().min(limits::CLIENT_NAME_SIZE_MAX)];
        // 63 bits, as numbers have on the wire; 0 is nobody.
        let id = (random::bits_64()? >> 1).max(1);
        // Whoever attaches has nothing cached, so what was before is no news.
        let last_event = self.events.last();
        lock(&self.sessions).attach(id, client, peer, clock::uptime())?;
        // Also on a full disk: who attaches may be the one who deletes.
        let kept = self.store.write_for(Purpose::Deletion, |txn| {
            txn.put(SESSIONS, &id.to_be_bytes(), client.as_bytes());
            Ok(())
        });
        if let Err(error) = kept {
            lock(&self.sessions).detach(id);
            return Err(error);
        }
        tracing::info!(client, "a client attached");
        let lease_ms = lock(&self.sessions).lease_ms();
        Ok(Packed(Session { id, lease_ms, last_event, cluster }))
    }

    pub(super) fn renew(&self, call: Renew, peer: Peer) -> Result<Done> {
        let Renew { session, open: Packed(mut open) } = call;
        let unknown = lock(&self.sessions).unknown(session, &open)?;
        if !unknown.is_empty() {
            // Not opened in this life of the master, or never.
            let gone = self.look(|view| view.missing(unknown))?;
            open.retain(|ino| !gone.contains(ino));
        }
        lock(&self.sessions).renew(session, peer, &open, clock::uptime()).map(|()| Done)
    }

    pub(super) fn detach(&self, call: Detach) -> Result<Done> {
        let client = lock(&self.sessions).detach(call.session);
        if let Some(client) = client {
            self.forget_session(call.session)?;
            tracing::info!(client, "a client detached");
        }
        Ok(Done)
    }

    /// Ends the sessions whose lease is over.
    pub(super) fn expire_sessions(&self) -> Result<()> {
        let expired = lock(&self.sessions).expire(clock::uptime());
        for (session, client) in expired {
            tracing::warn!(client, "a client did not renew its session: its locks are free");
            self.forget_session(session)?;
        }
        Ok(())
    }

    fn forget_session(&self, session: SessionId) -> Result<()> {
        self.locks.release(session)?;
        self.store.write_for(Purpose::Deletion, |txn| {
            txn.delete(SESSIONS, &session.to_be_bytes());
            Ok(())
        })
    }

    pub(super) async fn wait_events(self: Arc<Self>, call: WaitEvents) -> Result<Packed<Events>> {
        let WaitEvents { session, after, wait_ms, own } = call;
        lock(&self.sessions).check(session)?;
        let wait = Duration::from_millis(wait_ms);
        let told = if own { 0 } else { session };
        let nothing = Events { last_event: after, ..Events::default() };
        let events = tokio::select! {
            events = self.events.wait(told, after, wait) => events,
            // The master must not wait for those who wait.
            () = self.shutdown.cancelled() => nothing,
        };
        Ok(Packed(events))
    }

    pub(super) async fn setlk(self: Arc<Self>, call: SetLock) -> Result<bool> {
        let SetLock { session, ino, lock: Packed(wanted), wait_ms } = call;
        self.check_lockable(session, ino, &wanted)?;
        let wait = Duration::from_millis(wait_ms);
        let check = || lock(&self.sessions).check(session);
        tokio::select! {
            is_held = self.locks.set((session, ino, wanted), wait, check) => is_held,
            () = self.shutdown.cancelled() => Ok(false),
        }
    }

    pub(super) fn getlk(&self, call: GetLock) -> Result<Packed<Option<Lock>>> {
        let GetLock { session, ino, lock: Packed(wanted) } = call;
        self.check_lockable(session, ino, &wanted)?;
        self.locks.conflict(session, ino, wanted).map(Packed)
    }

    fn check_lockable(
        &self,
        session: SessionId,
        ino: crate::types::Ino,
        lock: &Lock,
    ) -> Result<()> {
        super::lock(&self.sessions).check(session)?;
        if lock.kind != LockKind::Unlock {
            self.look(|view| view.getattr(ino))?;
        }
        Ok(())
    }
}
