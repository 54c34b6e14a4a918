//! Room in memory for bodies: so much over all peers, and not all of that for one of them.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::rpc::registry::ANSWER_UNCOUNTED_MAX;
use crate::rpc::server::place::Phase;
use crate::rpc::server::places::Taken;

/// Bodies up to this size, in bytes, are not counted: the bound on connections bounds them.
pub(super) const UNCOUNTED_MAX: u64 = ANSWER_UNCOUNTED_MAX;

/// The unit that is counted, in bytes.
const UNIT: u64 = 1 << 10;

/// How long somebody waits for room before who takes it, and is slow, has to go.
const RELIEF_PERIOD: Duration = Duration::from_secs(1);

/// There was no room in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoRoom;

/// Whose bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bodies {
    /// Those that arrive.
    Requests,
    /// Those that go out.
    Answers,
}

impl Bodies {
    /// In which phase connections have such bodies because their peers are slow.
    fn phase(self) -> Phase {
        match self {
            Self::Requests => Phase::Receiving,
            Self::Answers => Phase::Answering,
        }
    }
}

/// What one peer may have of the room.
#[derive(Debug)]
pub(super) struct Shares {
    requests: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    each: u32,
}

impl Shares {
    /// So many bytes for each kind of bodies.
    pub(super) fn new(size: usize) -> Self {
        let each = in_units(size as u64);
        Self { requests: units(each), answers: units(each), each }
    }

    fn of(&self, bodies: Bodies) -> &Arc<Semaphore> {
        match bodies {
            Bodies::Requests => &self.requests,
            Bodies::Answers => &self.answers,
        }
    }
}

/// Room for bodies; whoever needs some waits in line for it.
#[derive(Debug)]
pub(super) struct Memory {
    bodies: Bodies,
    units: Arc<Semaphore>,
    total: u32,
    timeout: Duration,
}

/// Room that was given; dropping gives it back.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Out of the peer's share, and out of the whole.
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl Room {
    fn add(&mut self, share: OwnedSemaphorePermit, all: OwnedSemaphorePermit) {
        match &mut self.permits {
            Some((own_share, own_all)) => {
                own_share.merge(share);
                own_all.merge(all);
            }
            none => *none = Some((share, all)),
        }
    }

    fn units(&self) -> u32 {
        let count = self.permits.as_ref().map_or(0, |(_, all)| all.num_permits());
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Its size, in bytes.
    pub(super) fn size(&self) -> u64 {
        u64::from(self.units()) * UNIT
    }

    /// Gives back what is more than this size.
    pub(super) fn shrink(&mut self, size: u64) {
        if let Some((share, all)) = &mut self.permits {
            let units = usize::try_from(in_units(size)).unwrap_or(usize::MAX);
            let surplus = all.num_permits().saturating_sub(units);
            drop((share.split(surplus), all.split(surplus)));
        }
    }
}

impl Memory {
    /// Room for `size` bytes of such bodies.
    pub(super) fn new(bodies: Bodies, size: usize, timeout: Duration) -> Self {
        let total = in_units(size as u64);
        Self { bodies, units: units(total), total, timeout }
    }

    /// Makes a connection's room as large as `size` bytes if that is possible at once; says whether it
    /// was.
    pub(super) fn try_grow(&self, owner: &Taken, room: &mut Room, size: u64) -> bool {
        let shares = owner.place().shares();
        let Some(count) = self.missing(shares, room, size) else { return true };
        let share = Arc::clone(shares.of(self.bodies)).try_acquire_many_owned(count);
        let all = Arc::clone(&self.units).try_acquire_many_owned(count);
        let (Ok(share), Ok(all)) = (share, all) else { return false };
        room.add(share, all);
        true
    }

    /// Makes a connection's room as large as `size` bytes.
    ///
    /// # Errors
    /// [`NoRoom`] if there was none in time.
    pub(super) async fn grow(
        &self,
        owner: &Taken,
        room: &mut Room,
        size: u64,
    ) -> Result<(), NoRoom> {
        if self.try_grow(owner, room, size) {
            return Ok(());
        }
        let (place, places) = (owner.place(), owner.places());
        let count = self.missing(place.shares(), room, size).unwrap_or(0);
        let (phase, end) = (self.bodies.phase(), Instant::now() + self.timeout);
        let own = || places.relieve(Some(place.peer()), phase);
        let share = acquire(place.shares().of(self.bodies), count, end, own).await?;
        let all = acquire(&self.units, count, end, || places.relieve(None, phase)).await?;
        room.add(share, all);
        Ok(())
    }

    /// The units that are missing to so many bytes. What is larger than all there can be gets all: it
    /// must be possible somehow.
    fn missing(&self, shares: &Shares, room: &Room, size: u64) -> Option<u32> {
        let wanted = in_units(size).min(shares.each).min(self.total);
        wanted.checked_sub(room.units()).filter(|count| *count > 0)
    }
}

/// Waits in line, until the end of the time. Now and then asks for relief.
async fn acquire(
    units: &Arc<Semaphore>,
    count: u32,
    end: Instant,
    relieve: impl Fn(),
) -> Result<OwnedSemaphorePermit, NoRoom> {
    let mut wait = pin!(Arc::clone(units).acquire_many_owned(count));
    loop {
        let next = end.min(Instant::now() + RELIEF_PERIOD);
        match timeout_at(next, wait.as_mut()).await {
            Ok(permit) => return permit.map_err(|_| NoRoom),
            Err(_) if next == end => return Err(NoRoom),
            Err(_) => relieve(),
        }
    }
}

fn units(count: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS)))
}

fn in_units(size: u64) -> u32 {
    u32::try_from(size.div_ceil(UNIT)).unwrap_or(u32::MAX)
}
