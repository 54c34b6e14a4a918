//! Which chunk servers are alive, and what room they have. The last heartbeat of each is kept over
//! a restart of the master, so that files can be written at once, before the next one comes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{HEALTH, damaged, to_server};
use crate::clock::Timestamp;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::cluster::Strays;
use crate::store::{ReadTxn, TABLE_END, Txn};
use crate::types::ServerId;

/// What a chunk server says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Bytes on its disk.
    pub total: u64,
    /// Bytes that can still be written.
    pub free: u64,
    /// Bytes that its chunks take up.
    pub held: u64,
    /// A number for its disk; 0 if it is not known.
    pub disk: u64,
}

impl Health {
    /// Reads a row; those of earlier versions have no disk.
    fn from_row(row: &[u8]) -> Result<Self> {
        let of_earlier = || {
            let (total, free, held) = postcard::from_bytes(row)?;
            Ok(Self { total, free, held, disk: 0 })
        };
        postcard::from_bytes(row).or_else(|_| of_earlier()).map_err(|_: postcard::Error| damaged())
    }
}

/// The servers that send heartbeats.
#[derive(Debug, Default)]
pub struct Servers(BTreeMap<ServerId, Heard>);

/// What a server said with its last heartbeat.
#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Timestamp,
    health: Health,
    strays: Strays,
    /// Somebody has said that its strays may go, and it has not heard of that.
    is_confirmed: bool,
    /// What was said of its silence.
    said: Silence,
}

/// How a server is not heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Silence {
    /// It is heard.
    #[default]
    None,
    /// It missed some heartbeats.
    Silent,
    /// It may not come back.
    Lost,
}

impl Heard {
    fn new(at: Timestamp, health: Health) -> Self {
        Self { at, health, strays: Strays::default(), is_confirmed: false, said: Silence::None }
    }
}

impl Servers {
    /// Those that sent heartbeats before the master was restarted, as if they did so now.
    ///
    /// # Errors
    /// What the store says.
    pub fn load(txn: &dyn ReadTxn, now: Timestamp) -> Result<Self> {
        let rows = txn.scan(HEALTH, &[], TABLE_END, limits::SERVERS_MAX)?;
        let read = |(server, health): (bytes::Bytes, bytes::Bytes)| {
            Ok((to_server(&server)?, Heard::new(now, Health::from_row(&health)?)))
        };
        rows.into_iter().map(read).collect::<Result<_>>().map(Self)
    }

    /// Keeps a heartbeat over a restart.
    pub fn keep(txn: &mut dyn Txn, server: &ServerId, health: &Health) {
        let row = postcard::to_allocvec(health).expect("some numbers have a binary form");
        txn.put(HEALTH, server.as_str().as_bytes(), &row);
    }

    /// A heartbeat. Answers whether it is news: the server is new, was silent, or has other room.
    ///
    /// # Errors
    /// `NoSpace` if there are too many servers.
    pub fn heard(
        &mut self,
        server: &ServerId,
        health: Health,
        strays: Strays,
        now: Timestamp,
    ) -> Result<bool> {
        if self.0.len() >= limits::SERVERS_MAX && !self.0.contains_key(server) {
            return Err(FsError::new(ErrorKind::NoSpace, "there are too many chunk servers"));
        }
        let before = self.0.get(server).copied();
        let is_confirmed = before.is_some_and(|before| before.is_confirmed);
        self.0.insert(server.clone(), Heard { strays, is_confirmed, ..Heard::new(now, health) });
        match before {
            None => {
                let free = health.free;
                tracing::info!(server = server.short(), free, "the chunk server is there");
            }
            Some(before) if before.said > Silence::None => {
                let silent_s = now.since_ms(before.at) / 1000;
                tracing::info!(
                    server = server.short(),
                    "the chunk server is back after {silent_s} s; what it holds can be read again"
                );
            }
            Some(_) => {}
        }
        Ok(before.is_none_or(|before| before.health != health))
    }

    /// The servers of whose silence nothing was said yet, or not that it is so long, with what they hold
    /// in bytes. Each is answered once.
    pub fn newly_silent(&mut self, now: Timestamp) -> Vec<(ServerId, Silence, u64)> {
        let standing = |heard: &Heard| {
            let silent_ms = u128::from(now.since_ms(heard.at));
            match silent_ms {
                _ if silent_ms >= limits::SERVER_LOST_AFTER.as_millis() => Silence::Lost,
                _ if silent_ms >= limits::HEARTBEAT_TIMEOUT.as_millis() => Silence::Silent,
                _ => Silence::None,
            }
        };
        let mut news = Vec::new();
        for (server, heard) in &mut self.0 {
            let is = standing(heard);
            if is > heard.said {
                heard.said = is;
                news.push((server.clone(), is, heard.health.held));
            }
        }
        news
    }

    /// A server has another name.
    pub fn rename(&mut self, was: &ServerId, server: &ServerId) {
        if let Some(heard) = self.0.remove(was) {
            self.0.entry(server.clone()).or_insert(heard);
        }
    }

    /// Forgets a server.
    pub fn forget(&mut self, server: &ServerId) {
        self.0.remove(server);
    }

    /// Whether a server can take a new chunk.
    #[must_use]
    pub fn has_room(&self, server: &ServerId, now: Timestamp) -> bool {
        self.is_alive(server, now)
            && self.0.get(server).is_some_and(|h| h.health.free >= limits::PLACEMENT_ROOM_MIN)
    }

    /// Why no server can take a new chunk.
    #[must_use]
    pub fn refusal(&self, now: Timestamp) -> FsError {
        if self.0.keys().any(|server| self.is_alive(server, now)) {
            return FsError::new(ErrorKind::NoSpace, "all chunk servers are full");
        }
        FsError::new(ErrorKind::Unreachable, "no chunk server is alive")
    }

    /// The room on all live servers together: total and free bytes. What is not free is what their
    /// chunks take up, whatever else is on their disks; the free room of a disk that several share
    /// counts once.
    #[must_use]
    pub fn room(&self, now: Timestamp) -> (u64, u64) {
        let live: Vec<_> = self.0.iter().filter(|(server, _)| self.is_alive(server, now)).collect();
        // There is something, be it full: that is not the same as nothing.
        let total_min = u64::from(!live.is_empty());
        let (mut disks, mut free, mut held) = (BTreeMap::<u64, u64>::new(), 0_u64, 0_u64);
        for (_, Heard { health, .. }) in live {
            held = held.saturating_add(health.held);
            match health.disk {
                0 => free = free.saturating_add(health.free),
                // They do not look at the same moment.
                disk => {
                    let room = disks.entry(disk).or_insert(health.free);
                    *room = health.free.min(*room);
                }
            }
        }
        let free = disks.values().fold(free, |free, room| free.saturating_add(*room));
        (free.saturating_add(held).max(total_min), free)
    }

    /// What each server says of its strays.
    #[must_use]
    pub fn strays(&self) -> Vec<(ServerId, Strays)> {
        self.0.iter().map(|(server, heard)| (server.clone(), heard.strays)).collect()
    }

    /// A server's strays may go: it is told with its next heartbeat.
    ///
    /// # Errors
    /// `UnknownServer`.
    pub fn confirm(&mut self, server: &ServerId) -> Result<()> {
        let unknown = || {
            let message = format!("no chunk server {} sends heartbeats", server.short());
            FsError::new(ErrorKind::UnknownServer, message)
        };
        self.0.get_mut(server).ok_or_else(unknown)?.is_confirmed = true;
        Ok(())
    }

    /// Whether a server is to be told that its strays may go, which it is once.
    pub fn take_confirmation(&mut self, server: &ServerId) -> bool {
        self.0.get_mut(server).is_some_and(|heard| std::mem::take(&mut heard.is_confirmed))
    }

    /// Whether a server was heard, and is not any more.
    #[must_use]
    pub fn is_silent(&self, server: &ServerId, now: Timestamp) -> bool {
        self.0.contains_key(server) && !self.is_alive(server, now)
    }

    /// One of the live servers, by a number.
    #[must_use]
    pub fn any_alive(&self, number: u64, now: Timestamp) -> Option<ServerId> {
        let alive: Vec<_> = self.0.keys().filter(|server| self.is_alive(server, now)).collect();
        let at = number.checked_rem(alive.len() as u64)?;
        alive.get(usize::try_from(at).unwrap_or(0)).map(|server| (*server).clone())
    }

    /// Whether a server sends heartbeats.
    #[must_use]
    pub fn is_alive(&self, server: &ServerId, now: Timestamp) -> bool {
        let timeout_ms = limits::HEARTBEAT_TIMEOUT.as_millis();
        self.0.get(server).is_some_and(|heard| u128::from(now.since_ms(heard.at)) < timeout_ms)
    }
}
