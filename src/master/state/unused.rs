//! The chunk servers that only registered, as those of the original programs do once in their lives:
//! nothing tells whether there is such a server at all before it has a file. When there are too many
//! of them, those go that the same peer has made up, most likely.

use std::collections::{BTreeMap, HashMap};

use super::State;
use crate::error::Result;
use crate::limits;
use crate::master::accounts::{self, Sizes};
use crate::rpc::Peer;
use crate::types::ServerId;

/// Servers that had no file yet when they were last looked at, in the order of their coming.
#[derive(Debug, Default)]
pub(super) struct Unused {
    next: u64,
    servers: BTreeMap<u64, (ServerId, Peer)>,
}

impl Unused {
    /// Those of the servers that are known from before; nobody knows by whom.
    pub(super) fn among(sizes: &Sizes) -> Self {
        let mut unused = Self::default();
        for (server, size) in sizes {
            if *size == 0 && !server.is_number() {
                unused.add(server.clone(), Peer::Unknown);
            }
        }
        unused
    }

    /// A server has registered; the call came from `peer`.
    fn add(&mut self, server: ServerId, peer: Peer) {
        self.servers.insert(self.next, (server, peer));
        self.next += 1;
    }

    /// Takes out those that are in use by now.
    fn retain(&mut self, is_unused: impl Fn(&ServerId) -> bool) {
        self.servers.retain(|_, (server, _)| is_unused(server));
    }

    /// How many there are.
    fn len(&self) -> usize {
        self.servers.len()
    }

    /// Takes out the one that has to go: the oldest of the peer that has registered most.
    fn pop(&mut self) -> Option<ServerId> {
        let mut counts: HashMap<Peer, usize> = HashMap::new();
        for (_, peer) in self.servers.values() {
            *counts.entry(*peer).or_default() += 1;
        }
        let (greedy, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        let oldest = self.servers.iter().find(|(_, (_, peer))| *peer == greedy);
        let number = oldest.map(|(number, _)| *number)?;
        self.servers.remove(&number).map(|(server, _)| server)
    }
}

impl State {
    /// Makes a server known that has nothing but a URL, and of which nothing will be heard until it has
    /// a file. If there are too many such servers, another one goes for it.
    ///
    /// # Errors
    /// As [`State::register`].
    pub fn register_from(&mut self, server: &ServerId, peer: Peer) -> Result<()> {
        if self.is_registered(server)? {
            return Ok(());
        }
        if self.unused.len() >= limits::SERVERS_UNUSED_MAX {
            let sizes: HashMap<_, _> = self.sizes()?.into_iter().collect();
            let native = &self.native;
            self.unused.retain(|server| {
                sizes.get(server) == Some(&0) && native.get(server).is_none_or(|bytes| *bytes == 0)
            });
        }
        while self.unused.len() >= limits::SERVERS_UNUSED_MAX {
            let Some(unused) = self.unused.pop() else { break };
            tracing::warn!(server = unused.short(), "forgotten: too many servers have no file");
            self.unregister(&unused)?;
        }
        self.register(server, 0)?;
        self.unused.add(server.clone(), peer);
        Ok(())
    }

    /// Whether there is no room for one more server.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.server_count >= limits::SERVERS_MAX
    }

    /// Those of the servers that have nothing of a file.
    ///
    /// # Errors
    /// What the store says.
    pub fn without_files(&self, mut servers: Vec<ServerId>) -> Result<Vec<ServerId>> {
        let sizes: HashMap<_, _> = self.sizes()?.into_iter().collect();
        let has_none = |size: Option<&u64>| size.is_none_or(|bytes| *bytes == 0);
        servers.retain(|id| has_none(sizes.get(id)) && has_none(self.native.get(id)));
        Ok(servers)
    }

    /// Forgets a server that has nothing, if it is known.
    ///
    /// # Errors
    /// `Busy` if it has something; what the store says.
    pub fn leave(&mut self, server: &ServerId) -> Result<()> {
        if self.is_registered(server)? {
            self.unregister(server)?;
        }
        self.native.remove(server);
        Ok(())
    }

    fn unregister(&mut self, server: &ServerId) -> Result<()> {
        self.logged.write(|txn| accounts::unregister(txn, server))?;
        self.placement.remove(server);
        self.server_count = self.server_count.saturating_sub(1);
        Ok(())
    }
}
