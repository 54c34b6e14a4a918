//! Room in memory for bodies.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bodies up to this size, in bytes, are not counted: the bound on connections bounds them.
pub(super) const UNCOUNTED_MAX: u64 = 64 << 10;

/// The unit that is counted, in bytes.
const UNIT: u64 = 1 << 10;

/// Room for bodies; whoever needs some waits in line for it.
#[derive(Debug)]
pub(super) struct Memory {
    units: Arc<Semaphore>,
    total: u32,
    timeout: Duration,
}

/// Room that was given; dropping gives it back.
#[derive(Debug, Default)]
pub(super) struct Room {
    units: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Makes this room larger by another.
    pub(super) fn add(&mut self, other: Self) {
        match (&mut self.units, other.units) {
            (Some(units), Some(more)) => units.merge(more),
            (units, more) => *units = units.take().or(more),
        }
    }
}

impl Memory {
    /// Room for `size` bytes.
    pub(super) fn new(size: usize, timeout: Duration) -> Self {
        let total = in_units(size as u64);
        let units = Arc::new(Semaphore::new(usize::try_from(total).unwrap_or(usize::MAX)));
        Self { units, total, timeout }
    }

    /// Room for a body of `size` bytes; `None` if there was none in time.
    pub(super) async fn room(&self, size: u64) -> Option<Room> {
        if size <= UNCOUNTED_MAX {
            return Some(Room::default());
        }
        // What is larger than the whole room gets the whole room: it must be possible somehow.
        let units = in_units(size).min(self.total);
        let wait = Arc::clone(&self.units).acquire_many_owned(units);
        let permit = tokio::time::timeout(self.timeout, wait).await.ok()?.ok()?;
        Some(Room { units: Some(permit) })
    }
}

fn in_units(size: u64) -> u32 {
    u32::try_from(size.div_ceil(UNIT)).unwrap_or(u32::MAX)
}
