//! The places for connections: who has one, who waits for one, and whose is taken away.
//!
//! One peer gets no more than a share of them, so that it cannot lock out the others. A new connection
//! for which there is no place makes one free that is worth less: of those that wait for their
//! peer's next request the one that has waited longest, or else the slowest of those that send or take
//! something, once it has had some time. So who says nothing, or little, does not keep out whoever
//! does, from wherever.
//!
//! A connection that waits for its next request is closed for no other reason: `xmlrpc.client` of
//! Python 3.10 to 3.12 takes one that was closed while it was idle for a failure of its next call.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::limits;
use crate::rpc::peer::Peer;
use crate::rpc::server::ServerLimits;
use crate::rpc::server::memory::Shares;
use crate::rpc::server::place::{Leaver, Phase, Place};

/// All places of a server.
pub(super) struct Places {
    table: Mutex<Table>,
    total: usize,
    per_peer: usize,
    /// Bodies of one peer in memory, in bytes.
    memory_per_peer: usize,
}

#[derive(Default)]
struct Table {
    next: u64,
    taken: HashMap<u64, Arc<Place>>,
    peers: HashMap<Peer, (usize, Arc<Shares>)>,
    queue: VecDeque<Waiter>,
}

struct Waiter {
    peer: Peer,
    granted: oneshot::Sender<Taken>,
}

/// A place that a connection has, for as long as this lives.
pub(super) struct Taken {
    place: Arc<Place>,
    places: Arc<Places>,
}

/// The answer to a new connection.
pub(super) enum Entry {
    /// It has a place.
    Granted(Taken),
    /// It gets one when there is one.
    Waits(oneshot::Receiver<Taken>),
    /// Too many wait already.
    Refused,
}

impl Places {
    /// As many as these limits say, all of them free.
    pub(super) fn new(limits: &ServerLimits) -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::default(),
            total: limits.connections,
            per_peer: limits.connections_per_peer,
            memory_per_peer: limits.bodies_per_peer,
        })
    }

    /// A place for a new connection.
    pub(super) fn enter(self: &Arc<Self>, peer: Peer) -> Entry {
        let mut table = self.table();
        let is_first = !table.queue.iter().any(|waiter| self.may_enter(&table, waiter.peer));
        if is_first && self.may_enter(&table, peer) {
            return Entry::Granted(self.take(&mut table, peer));
        }
        if table.queue.len() >= limits::CONNECTIONS_WAITING_MAX {
            return Entry::Refused;
        }
        let (granted, waits) = oneshot::channel();
        table.queue.push_back(Waiter { peer, granted });
        Entry::Waits(waits)
    }

    /// Makes a place free for a connection of this peer that waits, if there is one that is worth
    /// less, and fewer are about to become free than are waited for.
    pub(super) fn make_room(&self, peer: Peer) {
        let table = self.table();
        let is_own = self.count(&table, peer) >= self.per_peer;
        let group = if is_own { Some(peer) } else { largest(&table) };
        let concerns = |place: &Place| !is_own || place.peer() == peer;
        let leaving = table.taken.values().filter(|p| concerns(p) && p.is_leaving()).count();
        let waiting = table.queue.iter().filter(|w| !is_own || w.peer == peer).count();
        if leaving >= waiting {
            return;
        }
        let of_group = || table.taken.values().filter(|place| Some(place.peer()) == group);
        let all = || table.taken.values();
        let leaver = longest_idle(of_group()).or_else(|| slowest(of_group(), &Phase::SLOW));
        let leaver = match leaver {
            None if !is_own => longest_idle(all()).or_else(|| slowest(all(), &Phase::SLOW)),
            leaver => leaver,
        };
        if let Some(leaver) = leaver {
            leaver.leave();
        }
    }

    /// Ends the slowest of the connections in this phase that have room in memory, if it is slow: of
    /// this peer, or of all with `None`. It is waited for.
    pub(super) fn relieve(&self, peer: Option<Peer>, phase: Phase) {
        let table = self.table();
        let is_holder =
            |place: &&Arc<Place>| place.holds_room() && peer.is_none_or(|p| p == place.peer());
        let holders = || table.taken.values().filter(is_holder);
        if holders().any(|place| place.is_leaving()) {
            return;
        }
        if let Some(leaver) = slowest(holders(), &[phase]) {
            leaver.leave();
        }
    }

    fn may_enter(&self, table: &Table, peer: Peer) -> bool {
        table.taken.len() < self.total && self.count(table, peer) < self.per_peer
    }

    fn count(&self, table: &Table, peer: Peer) -> usize {
        table.peers.get(&peer).map_or(0, |(count, _)| *count)
    }

    fn take(self: &Arc<Self>, table: &mut Table, peer: Peer) -> Taken {
        let number = table.next;
        table.next += 1;
        let fresh = || (0, Arc::new(Shares::new(self.memory_per_peer)));
        let (count, shares) = table.peers.entry(peer).or_insert_with(fresh);
        *count += 1;
        let place = Arc::new(Place::new(number, peer, Arc::clone(shares)));
        table.taken.insert(number, Arc::clone(&place));
        Taken { place, places: Arc::clone(self) }
    }

    fn leave(self: &Arc<Self>, place: &Place) {
        let mut table = self.table();
        table.taken.remove(&place.number());
        if let Some((count, _)) = table.peers.get_mut(&place.peer()) {
            *count -= 1;
            if *count == 0 {
                table.peers.remove(&place.peer());
            }
        }
        let waiters: Vec<_> = self.next_waiters(&mut table);
        // Outside of the lock: a place that nobody waits for any more comes back here.
        drop(table);
        for (waiter, taken) in waiters {
            waiter.granted.send(taken).ok();
        }
    }

    /// Those who get the places that are free now, first come, first served.
    fn next_waiters(self: &Arc<Self>, table: &mut Table) -> Vec<(Waiter, Taken)> {
        let mut granted = Vec::new();
        table.queue.retain(|waiter| !waiter.granted.is_closed());
        while let Some(at) = table.queue.iter().position(|w| self.may_enter(table, w.peer)) {
            let Some(waiter) = table.queue.remove(at) else { break };
            let taken = self.take(table, waiter.peer);
            granted.push((waiter, taken));
        }
        granted
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic leaves no half-made change behind: what may fail comes first.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The peer with most places.
fn largest(table: &Table) -> Option<Peer> {
    table.peers.iter().max_by_key(|(_, (count, _))| *count).map(|(peer, _)| *peer)
}

fn longest_idle<'a>(places: impl Iterator<Item = &'a Arc<Place>>) -> Option<Leaver<'a>> {
    let idle = places.filter_map(|place| Some((place.idle_since()?, place)));
    idle.min_by_key(|(since, _)| *since).map(|(_, place)| Leaver::Idle(place))
}

fn slowest<'a>(
    places: impl Iterator<Item = &'a Arc<Place>>,
    phases: &[Phase],
) -> Option<Leaver<'a>> {
    let slow = places.filter_map(|place| Some((place.slowness(phases)?, place)));
    slow.min_by_key(|(rate, _)| *rate).map(|(_, place)| Leaver::Slow(place))
}

impl Taken {
    /// The place itself.
    pub(super) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// All places of the server.
    pub(super) fn places(&self) -> &Arc<Places> {
        &self.places
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.places.leave(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Entry, Places, Taken};
    use crate::rpc::peer::Peer;
    use crate::rpc::server::ServerLimits;
    use crate::rpc::server::place::Phase;

    const GREEDY: Peer = Peer::V4([10, 0, 0, 1]);
    const OTHER: Peer = Peer::V4([10, 0, 0, 2]);

    fn four_places() -> Arc<Places> {
        let limits =
            ServerLimits { connections: 4, connections_per_peer: 3, ..ServerLimits::default() };
        Places::new(&limits)
    }

    fn granted(places: &Arc<Places>, peer: Peer) -> Taken {
        match places.enter(peer) {
            Entry::Granted(taken) => taken,
            Entry::Waits(_) | Entry::Refused => panic!("there is a place"),
        }
    }

    #[tokio::test]
    async fn one_peer_does_not_get_the_places_of_others() {
        let places = four_places();
        let mut taken: Vec<_> = (0..3).map(|_| granted(&places, GREEDY)).collect();
        let Entry::Waits(mut waits) = places.enter(GREEDY) else { panic!("it has all it may") };
        let other = granted(&places, OTHER);
        let Entry::Waits(mut late) = places.enter(OTHER) else { panic!("there are no more") };
        drop(other);
        assert!(late.try_recv().is_ok(), "who waits longer, and may not, is passed over");
        assert!(waits.try_recv().is_err());
        taken.pop();
        assert!(waits.try_recv().is_ok());
    }

    #[tokio::test]
    async fn the_idle_of_the_peer_itself_make_room() {
        let places = four_places();
        let other = granted(&places, OTHER);
        other.place().begin(Phase::Idle);
        let taken: Vec<_> = (0..3).map(|_| granted(&places, GREEDY)).collect();
        for one in &taken {
            one.place().begin(Phase::Working);
        }
        let Entry::Waits(_waits) = places.enter(GREEDY) else { panic!("it has all it may") };
        places.make_room(GREEDY);
        assert!(!taken.iter().chain([&other]).any(|one| one.place().is_leaving()));
        taken[2].place().begin(Phase::Idle);
        taken[1].place().begin(Phase::Idle);
        places.make_room(GREEDY);
        places.make_room(GREEDY);
        let leaving: Vec<_> = taken.iter().map(|one| one.place().is_leaving()).collect();
        assert_eq!(leaving, [false, false, true], "one is enough for one");
        assert!(!other.place().is_leaving());
        // For another peer the one that has most makes room.
        let Entry::Waits(_waits) = places.enter(OTHER) else { panic!("there is no room") };
        places.make_room(OTHER);
        assert!(!other.place().is_leaving());
        assert!(taken[2].place().is_leaving());
    }

    #[tokio::test]
    async fn who_does_not_wait_any_more_gets_nothing() {
        let places = four_places();
        let mut taken: Vec<_> = (0..3).map(|_| granted(&places, GREEDY)).collect();
        drop(places.enter(GREEDY));
        let Entry::Waits(mut waits) = places.enter(GREEDY) else { panic!("it has all it may") };
        taken.pop();
        assert!(waits.try_recv().is_ok());
        drop((taken, waits));
        assert_eq!(places.table().taken.len(), 0);
        assert!(places.table().peers.is_empty());
    }
}
