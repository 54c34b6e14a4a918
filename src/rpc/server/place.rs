//! The place of one connection: what it is doing, since when, and how fast.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::limits;
use crate::rpc::peer::Peer;
use crate::rpc::server::memory::Shares;

/// What times are counted from.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// No request has come yet.
    Fresh,
    /// It waits for the next request.
    Idle,
    /// A request arrives.
    Receiving,
    /// The server is at work, or waits for itself.
    Working,
    /// A large answer goes out.
    Answering,
}

impl Phase {
    /// Those in which a peer can be slow.
    pub(super) const SLOW: [Self; 3] = [Self::Fresh, Self::Receiving, Self::Answering];
}

/// The place of one connection. What it tells of the connection is for choosing among many: it may be
/// a moment old.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    peer: Peer,
    shares: Arc<Shares>,
    phase: AtomicU8,
    /// Since when, in nanoseconds.
    since: AtomicU64,
    /// Bytes that the phase has moved.
    moved: AtomicU64,
    /// Whether the connection has room in memory for bodies.
    holds_room: AtomicBool,
    is_leaving: AtomicBool,
    /// It is to end before the next request.
    close: Notify,
    /// It is to end now.
    cut: Notify,
}

/// A connection that has to make room for another.
pub(super) enum Leaver<'a> {
    /// It waits for a request.
    Idle(&'a Place),
    /// It is slow.
    Slow(&'a Place),
}

impl Leaver<'_> {
    /// Tells it.
    pub(super) fn leave(self) {
        let (place, notify) = match self {
            Self::Idle(place) => (place, &place.close),
            Self::Slow(place) => (place, &place.cut),
        };
        place.is_leaving.store(true, Ordering::Relaxed);
        notify.notify_one();
    }
}

impl Place {
    /// The place of a new connection.
    pub(super) fn new(number: u64, peer: Peer, shares: Arc<Shares>) -> Self {
        Self {
            number,
            peer,
            shares,
            phase: AtomicU8::new(Phase::Fresh as u8),
            since: AtomicU64::new(now_ns()),
            moved: AtomicU64::new(0),
            holds_room: AtomicBool::new(false),
            is_leaving: AtomicBool::new(false),
            close: Notify::new(),
            cut: Notify::new(),
        }
    }

    /// Its number.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whose it is.
    pub(super) fn peer(&self) -> Peer {
        self.peer
    }

    /// What the peer may have in memory.
    pub(super) fn shares(&self) -> &Shares {
        &self.shares
    }

    /// The connection begins with something else.
    pub(super) fn begin(&self, phase: Phase) {
        self.moved.store(0, Ordering::Relaxed);
        self.since.store(now_ns(), Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// The connection waits for the next request, if it was still sending its answer.
    pub(super) fn answered(&self) {
        if self.is_in(Phase::Answering) {
            self.begin(Phase::Idle);
        }
    }

    /// So many bytes went the way of the phase.
    pub(super) fn moved(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Whether it has room for bodies in memory.
    pub(super) fn set_holds_room(&self, holds_room: bool) {
        self.holds_room.store(holds_room, Ordering::Relaxed);
    }

    /// As was set last.
    pub(super) fn holds_room(&self) -> bool {
        self.holds_room.load(Ordering::Relaxed)
    }

    /// The server is at work, or cannot go on for a reason that is not the peer's.
    pub(super) fn work(&self) {
        self.phase.store(Phase::Working as u8, Ordering::Relaxed);
    }

    /// The phase goes on in which the server could not go on for so long.
    pub(super) fn resume(&self, phase: Phase, paused: Duration) {
        let paused = u64::try_from(paused.as_nanos()).unwrap_or(u64::MAX);
        self.since.fetch_add(paused, Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Whether it was told to leave.
    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// Whether the connection is in this phase.
    pub(super) fn is_in(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Relaxed) == phase as u8
    }

    /// Since when it waits for the next request; `None` if it does not, or was told to leave.
    pub(super) fn idle_since(&self) -> Option<u64> {
        let is_idle = self.is_in(Phase::Idle) && !self.is_leaving();
        is_idle.then(|| self.since.load(Ordering::Relaxed))
    }

    /// How many bytes a second it has moved in one of these phases, if it was in it for some time and
    /// that is slow; `None` else, or if it was told to leave.
    pub(super) fn slowness(&self, phases: &[Phase]) -> Option<u64> {
        if self.is_leaving() || !phases.iter().any(|phase| self.is_in(*phase)) {
            return None;
        }
        let elapsed_ns = now_ns().saturating_sub(self.since.load(Ordering::Relaxed));
        let elapsed_ms = elapsed_ns / 1_000_000;
        if u128::from(elapsed_ms) < limits::SLOWNESS_MIN.as_millis() {
            return None;
        }
        let rate = self.moved.load(Ordering::Relaxed).saturating_mul(1000) / elapsed_ms.max(1);
        (rate < limits::PRESSED_RATE_MIN).then_some(rate)
    }

    /// It was told to leave while it was idle, and is not any more: it may be told again.
    pub(super) fn stays(&self) {
        self.is_leaving.store(false, Ordering::Relaxed);
    }

    /// Returns when the connection is to end before its next request.
    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }

    /// Returns when the connection is to end now.
    pub(super) async fn cut(&self) {
        loop {
            self.cut.notified().await;
            // A call that has come all the same is carried out, and its answer is sent.
            if !self.is_in(Phase::Working) {
                return;
            }
            self.stays();
        }
    }
}

fn now_ns() -> u64 {
    u64::try_from(EPOCH.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
