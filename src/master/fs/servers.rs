//! What chunk servers tell: who and where they are, that they are alive, what room they have, what
//! they hold and what they have deleted.

use std::sync::Arc;

use super::{Arriving, FileSystem, lock};
use crate::clock;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::master::chunks::{self, Health, Servers, Silence};
use crate::master::members::{Circumstances, Found, Joined};
use crate::master::namespace::{Namespace, View};
use crate::proto::Packed;
use crate::proto::cluster::{
    Heartbeat, Join, ListMembers, ListStrays, Member, Orders, RemoveStrays, Report, ServerStrays,
};
use crate::proto::fs::{StatFileSystem, StatFs};
use crate::proto::values::Done;
use crate::store::Purpose;
use crate::types::{ChunkKey, ClusterId, FileTime, ServerId, ServerUrl};

/// Chunks with the versions that a server has of them.
type Versions = Vec<(ChunkKey, u64)>;

impl FileSystem {
    /// Whether it is worth the while to call a server: not if it was there and is silent now.
    pub(in crate::master) fn may_answer(&self, server: &ServerId) -> bool {
        !lock(&self.servers).is_silent(server, clock::uptime())
    }

    /// Whether a server is alive.
    pub(in crate::master) fn is_alive(&self, server: &ServerId) -> bool {
        lock(&self.servers).is_alive(server, clock::uptime())
    }

    /// One of the servers that are alive, always the same for a number while they are the same.
    pub(in crate::master) fn any_alive(&self, number: u64) -> Option<ServerId> {
        lock(&self.servers).any_alive(number, clock::uptime())
    }

    pub(super) fn statfs(&self, _: StatFileSystem) -> Result<Packed<StatFs>> {
        let usage = self.look(|view| view.statfs())?;
        let (total, free) = lock(&self.servers).room(clock::uptime());
        Ok(Packed(StatFs { total, free, inodes: usage.inodes }))
    }

    /// Takes a server in. `last` says how its last process was found, by its number.
    pub(super) fn join(&self, call: Join, last: Option<(u64, Found)>) -> Result<ClusterId> {
        let is_known = self.is_known_by_url(&call)?;
        self.make_room_for(&call.server)?;
        let is_alive = self.is_alive(&call.server);
        let circumstances = Circumstances { last, is_alive, is_known };
        let mut members = self.master.members_mut();
        let joined = members.join(&self.store, &call, &circumstances)?;
        if let Some(was) = &joined.was {
            self.store.write(|txn| chunks::rename(txn, was, &call.server))?;
            lock(&self.servers).rename(was, &call.server);
        }
        self.master.state().join(&call.server, joined.was.as_ref(), call.held)?;
        let Joined { is_elsewhere, .. } = joined;
        if is_elsewhere {
            tracing::info!(server = call.server.short(), url = %call.url, "the chunk server joined");
        }
        Ok(members.cluster())
    }

    /// Says that a server was refused.
    pub(super) fn tell_refusal(&self, url: &ServerUrl, error: &FsError) {
        // It tries again every few seconds.
        self.limit.warn_line(&format!("refused the chunk server at {url}: {error}"));
    }

    /// Whether records name the server by the URL at which it is, because they are older than its
    /// identity. One without chunks, at a URL under which there have to be some, is another.
    fn is_known_by_url(&self, call: &Join) -> Result<bool> {
        let name = ServerId::from(&call.url);
        if !self.master.state().is_registered(&name)? {
            return Ok(false);
        }
        let usage = self.store.read(chunks::usage)?;
        let must_have_chunks = usage.iter().any(|(server, bytes)| *server == name && *bytes > 0);
        Ok(call.has_chunks || !must_have_chunks)
    }

    pub(super) fn members(&self, _: ListMembers) -> Result<Vec<Member>> {
        Ok(self.master.members().list())
    }

    /// Says of servers that are not heard any more what that means, once.
    pub(super) fn tell_silent(&self) {
        let news = lock(&self.servers).newly_silent(clock::uptime());
        for (server, silence, held) in news {
            let url = self.master.members().url_of(&server);
            let url = url.map_or_else(|| server.short(), |url| url.to_string());
            let mib = held >> 20;
            match silence {
                Silence::None => {}
                Silence::Silent => tracing::warn!(
                    "the chunk server at {url} is silent for {} s: what it holds ({mib} MiB) cannot be \
                     read until it is back, and it gets no new chunks",
                    limits::HEARTBEAT_TIMEOUT.as_secs()
                ),
                Silence::Lost => tracing::error!(
                    "the chunk server at {url} is silent for {} min: start it again with the same data; \
                     without them what it holds ({mib} MiB) is lost",
                    limits::SERVER_LOST_AFTER.as_secs() / 60
                ),
            }
        }
    }

    pub(super) fn heartbeat(&self, call: Heartbeat) -> Result<Packed<Orders>> {
        let Heartbeat { server, cluster, process, total, free, held, disk, deleted, strays } = call;
        self.master.members().check(&server, cluster, process)?;
        let health = Health { total, free, held, disk };
        let now = clock::uptime();
        let is_news = lock(&self.servers).heard(&server, health, strays.0, now)?;
        if is_news || !deleted.0.is_empty() {
            self.store.write_for(Purpose::Deletion, |txn| {
                Servers::keep(txn, &server, &health);
                chunks::deleted(txn, &server, &deleted.0);
                Ok(())
            })?;
        }
        let limit = limits::DELETIONS_PER_HEARTBEAT_MAX;
        let delete = self.store.read(|txn| chunks::garbage(txn, &server, limit))?;
        if !delete.is_empty() {
            // What the server deletes is gone for good, so nothing of this may be lost any more.
            self.store.sync()?;
        }
        let may_remove_strays = lock(&self.servers).take_confirmation(&server);
        let commits = self.store.durable_commits();
        Ok(Packed(Orders { delete, may_remove_strays, commits }))
    }

    pub(super) fn report(&self, call: Report) -> Result<Packed<Vec<ChunkKey>>> {
        let Report { server, cluster, process, held: Packed(held) } = call;
        if held.len() > limits::REPORT_PAGE_MAX {
            let message = format!("{} chunks in one report are too many", held.len());
            return Err(FsError::new(ErrorKind::TooBig, message));
        }
        self.master.members().check(&server, cluster, process)?;
        let (newer, strays) = self.sort_out(&server, held)?;
        self.take_newer(&newer)?;
        self.look_ahead(&strays)?;
        Ok(Packed(strays))
    }

    /// Chunks that a server is about to make, before a file has them: they are no strays meanwhile.
    pub(in crate::master) fn arriving(&self, first: &ChunkKey) -> Arriving {
        let this = (first.ino, first.incarnation);
        lock(&self.arriving).insert(this);
        Arriving { all: Arc::clone(&self.arriving), this }
    }

    /// Which chunks of a server are newer than this master knows, and which are nobody's.
    pub(super) fn sort_out(
        &self,
        server: &ServerId,
        held: Versions,
    ) -> Result<(Versions, Vec<ChunkKey>)> {
        let members = self.master.members();
        // Before what files have is read: those that arrive meanwhile are in one or the other.
        let arriving = lock(&self.arriving).clone();
        let held =
            held.into_iter().filter(|(key, _)| !arriving.contains(&(key.ino, key.incarnation)));
        self.store.read(|txn| {
            let view = View::new(txn);
            let (mut newer, mut strays) = (Vec::new(), Vec::new());
            for (key, version) in held {
                let layout = view.chunk_layout(key)?;
                let is_here = |name: &ServerId| members.named(name) == *server;
                match layout.filter(|layout| layout.replicas.iter().any(is_here)) {
                    None => strays.push(key),
                    Some(layout) if layout.version < version => newer.push((key, version)),
                    Some(_) => {}
                }
            }
            Ok((newer, strays))
        })
    }

    fn take_newer(&self, newer: &[(ChunkKey, u64)]) -> Result<()> {
        if newer.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            chunks = newer.len(),
            "chunks were cut, which this master has forgotten: they are taken as they are"
        );
        self.change(super::Origin::NOBODY, |namespace| {
            newer.iter().try_for_each(|(key, version)| namespace.see_newer_version(*key, *version))
        })
    }

    /// Notices chunks of files that this master has never made: its data are from before.
    fn look_ahead(&self, strays: &[ChunkKey]) -> Result<()> {
        let Some(latest) = strays.iter().max_by_key(|key| key.ino) else { return Ok(()) };
        if !self.look(|view| view.is_ahead(*latest))? {
            return Ok(());
        }
        let now = FileTime::from(clock::now_system());
        let is_ahead =
            self.store.write(|txn| Namespace::new(txn, now).see_foreign_chunk(*latest))?;
        if is_ahead {
            self.limit.warn_line(
                "chunk servers hold files that this master has never made: its data are older than \
                 theirs; bring back newer ones if there are any. No chunk is lost meanwhile",
            );
            // The numbers begin anew behind theirs.
            self.keep_numbers()?;
        }
        Ok(())
    }

    pub(super) fn list_strays(&self, _: ListStrays) -> Result<Packed<Vec<ServerStrays>>> {
        let all = lock(&self.servers).strays();
        let members = self.master.members();
        let with_url = all.into_iter().filter_map(|(server, strays)| {
            let url: ServerUrl = members.url_of(&server)?;
            Some(ServerStrays { server, url, strays })
        });
        Ok(Packed(with_url.collect()))
    }

    pub(super) fn remove_strays(&self, call: RemoveStrays) -> Result<Done> {
        let server = self.master.members().named(&call.server);
        lock(&self.servers).confirm(&server)?;
        tracing::warn!(server = server.short(), "its strays may be removed, somebody says");
        Ok(Done)
    }
}
