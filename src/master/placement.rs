//! Which chunk server the next file goes to. Pure: no clock, no network, no disk.
//!
//! The rule is the homework's: the server with the smallest size; among equals, the one that was
//! chosen longest ago. Finding it takes O(log n), from an ordered set.
//!
//! A size changes only when `changeSize` comes, some time after `getServer`. With many clients at
//! once the rule alone would send all of them to the same server in between. So a choice counts as
//! *under way* until its file has got its size: the server's rank is its size plus the mean size
//! of recent files for each choice under way. With files of equal size that makes the servers
//! differ by no more than one file, however the clients interleave.
//!
//! For one caller the rule holds to the letter: a caller who asks again has nothing under way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};

use crate::clock::Timestamp;
use crate::limits;
use crate::types::{Key, ServerId};

/// The mean of recent sizes: each new file counts for one in this many.
const MEAN_WEIGHT: u64 = 16;

/// The chunk servers in the order of their ranks, and the choices under way.
#[derive(Debug, Default)]
pub struct Placement {
    servers: BTreeMap<Arc<ServerId>, Server>,
    /// (rank, turn of the last choice, server): the first is the next.
    order: BTreeSet<(u64, u64, Arc<ServerId>)>,
    /// By their turns, oldest first.
    choices: BTreeMap<u64, Choice>,
    by_key: HashMap<Key, u64>,
    /// Number of the last choice.
    turn: u64,
    /// Mean size of recent files, in bytes; none placed yet is `None`.
    mean: Option<u64>,
    /// The mean by which `order` ranks; follows `mean` when that has moved by an eighth.
    ranked_mean: u64,
}

#[derive(Debug)]
struct Server {
    size: u64,
    under_way: u64,
    last_turn: u64,
}

#[derive(Debug)]
struct Choice {
    server: Arc<ServerId>,
    /// Who asked; dead when the connection is closed. A chunk of a native file is nobody's.
    caller: Option<Weak<()>>,
    made: Timestamp,
    /// The file that was made on it and is still empty: clients create first and write later.
    key: Option<Key>,
}

impl Server {
    fn rank(&self, mean: u64) -> u64 {
        // An unknown mean, or one of 0, must still count choices.
        self.size.saturating_add(self.under_way.saturating_mul(mean.max(1)))
    }
}

impl Choice {
    fn new(server: &Arc<ServerId>, caller: Option<Weak<()>>, made: Timestamp) -> Self {
        Self { server: Arc::clone(server), caller, made, key: None }
    }

    fn is_old(&self, now: Timestamp) -> bool {
        now.since_ms(self.made) >= limits::PLACEMENT_LEASE_MS
    }
}

impl Placement {
    /// Sets a server's size; one that is new here is added.
    pub fn set_size(&mut self, server: &ServerId, size: u64) {
        match self.servers.get_key_value(server) {
            Some((server, _)) => {
                let server = Arc::clone(server);
                self.rerank(&server, |entry| entry.size = size);
            }
            None => {
                let server = Arc::new(server.clone());
                let entry = Server { size, under_way: 0, last_turn: 0 };
                self.order.insert((entry.rank(self.ranked_mean), 0, Arc::clone(&server)));
                self.servers.insert(server, entry);
            }
        }
    }

    /// Leaves out a server, which has another name now or is forgotten.
    pub fn remove(&mut self, server: &ServerId) {
        self.end_where(|choice| *choice.server == *server);
        if let Some(entry) = self.servers.remove(server) {
            let rank = entry.rank(self.ranked_mean);
            self.order.remove(&(rank, entry.last_turn, Arc::new(server.clone())));
        }
    }

    /// Chooses the server for a caller's next file among those that `is_fit` admits, or among all if
    /// it admits none; `None` if there is no server.
    pub fn choose(
        &mut self,
        caller: &Weak<()>,
        now: Timestamp,
        is_fit: impl Fn(&ServerId) -> bool,
    ) -> Option<ServerId> {
        self.end_where(|choice| {
            let is_asking = |one: &Weak<()>| one.ptr_eq(caller) || one.strong_count() == 0;
            choice.caller.as_ref().is_some_and(is_asking) || choice.is_old(now)
        });
        let mut fit = self.order.iter().filter(|(_, _, server)| is_fit(server));
        let (_, _, server) = fit.next().or_else(|| self.order.first())?;
        let server = Arc::clone(server);
        self.take(&server, Choice::new(&server, Some(caller.clone()), now));
        Some(server.as_ref().clone())
    }

    /// Chooses the server for a native chunk among those that `is_fit` admits, and answers the
    /// choice's turn, too. The choice is under way until it has got a key by [`Placement::bind`]
    /// and that a size by [`Placement::arrived`], or until [`Placement::end`].
    pub fn choose_fit(
        &mut self,
        now: Timestamp,
        is_fit: impl Fn(&ServerId) -> bool,
    ) -> Option<(u64, ServerId)> {
        // Oldest first; all that is left to do here is the front, however many there are.
        while let Some((&turn, choice)) = self.choices.first_key_value()
            && (choice.is_old(now) || self.choices.len() >= limits::PLACEMENTS_UNDER_WAY_MAX)
        {
            self.end(turn);
        }
        let (_, _, server) = self.order.iter().find(|(_, _, server)| is_fit(server))?;
        let server = Arc::clone(server);
        let turn = self.take(&server, Choice::new(&server, None, now));
        Some((turn, server.as_ref().clone()))
    }

    /// Counts a choice as under way, and answers its turn.
    fn take(&mut self, server: &Arc<ServerId>, choice: Choice) -> u64 {
        self.turn += 1;
        let turn = self.turn;
        self.rerank(server, |entry| {
            entry.under_way += 1;
            entry.last_turn = turn;
        });
        self.choices.insert(turn, choice);
        turn
    }

    /// Says which file a choice was made for.
    pub fn bind(&mut self, turn: u64, key: &Key) {
        if let Some(choice) = self.choices.get_mut(&turn) {
            choice.key = Some(key.clone());
            self.by_key.insert(key.clone(), turn);
        }
    }

    /// A file of which nothing was on any server has got a size on this one: ends the choice behind
    /// it. `caller` is who placed it if the file is new, `None` if it existed. A new file that is
    /// still empty keeps its choice under way until it gets contents.
    pub fn placed(&mut self, key: &Key, server: &ServerId, size: u64, caller: Option<&Weak<()>>) {
        let known = self.by_key.get(key).copied();
        let turn = known.or_else(|| caller.and_then(|caller| self.choice_for(server, caller)));
        if size == 0 {
            if let Some(turn) = turn {
                self.bind(turn, key);
            }
            return;
        }
        if let Some(turn) = turn {
            self.end(turn);
        }
        self.learn(size);
    }

    /// A native chunk has got contents: ends the choice that was made for it.
    pub fn arrived(&mut self, key: &Key, size: u64) {
        if size > 0
            && let Some(turn) = self.by_key.get(key).copied()
        {
            self.end(turn);
            self.learn(size);
        }
    }

    /// A file is gone: so is what was under way for it.
    pub fn forget(&mut self, key: &Key) {
        if let Some(turn) = self.by_key.get(key).copied() {
            self.end(turn);
        }
    }

    /// The choice that a new file on this server most likely goes back to: the caller's own, else
    /// (a client with many connections) the oldest.
    fn choice_for(&self, server: &ServerId, caller: &Weak<()>) -> Option<u64> {
        let mut waiting = self
            .choices
            .iter()
            .filter(|(_, choice)| choice.key.is_none() && *choice.server == *server)
            .peekable();
        let oldest = waiting.peek().map(|(turn, _)| **turn);
        let is_own = |choice: &Choice| choice.caller.as_ref().is_some_and(|own| own.ptr_eq(caller));
        waiting.find(|(_, choice)| is_own(choice)).map(|(turn, _)| *turn).or(oldest)
    }

    fn end_where(&mut self, is_over: impl Fn(&Choice) -> bool) {
        let over: Vec<u64> = self
            .choices
            .iter()
            .filter(|(_, choice)| is_over(choice))
            .map(|(turn, _)| *turn)
            .collect();
        for turn in over {
            self.end(turn);
        }
    }

    /// A choice is no longer under way.
    pub fn end(&mut self, turn: u64) {
        let Some(choice) = self.choices.remove(&turn) else { return };
        if let Some(key) = choice.key {
            self.by_key.remove(&key);
        }
        self.rerank(&choice.server, |entry| entry.under_way -= 1);
    }

    fn learn(&mut self, size: u64) {
        let mean = self.mean.map_or(size, |mean| {
            let others = mean.saturating_mul(MEAN_WEIGHT - 1);
            // Rounded to the nearest, so that files of one size have exactly that mean.
            others.saturating_add(size).saturating_add(MEAN_WEIGHT / 2) / MEAN_WEIGHT
        });
        self.mean = Some(mean);
        if mean.abs_diff(self.ranked_mean) > self.ranked_mean / 8 {
            self.rank_by(mean);
        }
    }

    /// Ranks the servers with choices under way anew. Rare: the mean must have moved.
    fn rank_by(&mut self, mean: u64) {
        for (server, entry) in self.servers.iter().filter(|(_, entry)| entry.under_way > 0) {
            let row = |mean| (entry.rank(mean), entry.last_turn, Arc::clone(server));
            self.order.remove(&row(self.ranked_mean));
            self.order.insert(row(mean));
        }
        self.ranked_mean = mean;
    }

    fn rerank(&mut self, server: &Arc<ServerId>, change: impl FnOnce(&mut Server)) {
        let Some(entry) = self.servers.get_mut(server) else { return };
        let mean = self.ranked_mean;
        self.order.remove(&(entry.rank(mean), entry.last_turn, Arc::clone(server)));
        change(entry);
        self.order.insert((entry.rank(mean), entry.last_turn, Arc::clone(server)));
    }
}

#[cfg(test)]
mod tests;
