//! Servers for new chunks: the smallest one that is alive and has room. For now one for each chunk.

use std::sync::Weak;

use super::{FileSystem, Origin, lock, placement_key};
use crate::clock;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::Packed;
use crate::proto::fs::Place;
use crate::types::{ChunkLayout, Ino, ServerId, ServerUrl};

/// Servers that were chosen for a chunk. The placement counts on the chunk to come; it has to be
/// told by [`FileSystem::settle`] what became of it.
pub(super) struct Choice {
    turn: u64,
    pub(super) servers: Vec<ServerId>,
}

impl FileSystem {
    pub(super) fn place(&self, call: Place) -> Result<Packed<Vec<ChunkLayout>>> {
        let Place { ino, indexes: Packed(indexes) } = call;
        if indexes.len() > limits::PLACE_MAX {
            let message = format!("{} chunks at once are too many", indexes.len());
            return Err(FsError::new(ErrorKind::TooBig, message));
        }
        let mut layouts = Vec::with_capacity(indexes.len());
        for index in indexes {
            layouts.push(self.place_one(ino, index)?);
        }
        Ok(Packed(layouts))
    }

    fn place_one(&self, ino: Ino, index: u64) -> Result<ChunkLayout> {
        let placed = self.look(|view| view.layout(ino, index, 1))?.chunks.pop();
        if let Some(placed) = placed.filter(|placed| placed.key.index == index) {
            return Ok(placed);
        }
        let choice = self.choose()?;
        let nobody = Origin::NOBODY;
        // A chunk that somebody else placed meanwhile stays where it is.
        let placed = self.grow(nobody, |ns| ns.allocate(ino, index, &choice.servers));
        self.settle(choice, placed.as_ref().ok());
        placed
    }

    /// The server for a classic client's next file. One that sent heartbeats and is silent is left
    /// out, unless all are; one of the homework's never sends any, and is as good as it ever was.
    pub(in crate::master) fn choose_server(&self, caller: &Weak<()>) -> Option<ServerUrl> {
        let uptime = clock::uptime();
        let servers = lock(&self.servers);
        let may_answer = |server: &ServerId| !servers.is_silent(server, uptime);
        let chosen = self.master.state().choose_server(caller, clock::now(), may_answer);
        drop(servers);
        self.master.members().url_of(&chosen?)
    }

    /// Servers for a chunk that is about to be made.
    ///
    /// # Errors
    /// `NoSpace` if all servers are full, or the master's disk, `Unreachable` if none is alive.
    pub(super) fn choose(&self) -> Result<Choice> {
        self.check_life()?;
        let now = clock::uptime();
        let servers = lock(&self.servers);
        let has_room = |server: &ServerId| servers.has_room(server, now);
        let chosen = self.master.state().choose_for_chunk(clock::now(), has_room);
        let (turn, server) = chosen.ok_or_else(|| servers.refusal(now))?;
        Ok(Choice { turn, servers: vec![server] })
    }

    /// Says which chunk a choice was used for; none if it was not, or another chunk was there.
    pub(super) fn settle(&self, choice: Choice, placed: Option<&ChunkLayout>) {
        let is_new = |placed: &&ChunkLayout| placed.bytes == 0 && placed.replicas == choice.servers;
        let key = placed.filter(is_new).map(|placed| placement_key(&placed.key));
        self.master.state().settle_choice(choice.turn, key.as_ref());
    }
}
