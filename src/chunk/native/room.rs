//! The room on the disk, asked for as seldom as possible.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::disk::Disk;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;

/// A part of the free room is given away without asking again: one in this many bytes, so that
/// others who fill the same disk are noticed in time.
const PART: u64 = 16;

/// The largest such part, in bytes.
const ALLOWANCE_MAX: u64 = 256 << 20;

/// Gives away the room on the disk, up to a reserve that is left for the index and for deletions.
/// So a write learns that the disk is full before it has changed anything.
pub(super) struct RoomGauge {
    disk: Arc<dyn Disk>,
    /// Bytes that can be given away without asking the disk.
    allowance: AtomicU64,
}

impl RoomGauge {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, allowance: AtomicU64::new(0) }
    }

    /// Takes `bytes`.
    ///
    /// # Errors
    /// `NoSpace` if only the reserve is left.
    pub(super) fn take(&self, bytes: u64) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let take = |allowance: u64| allowance.checked_sub(bytes);
        if self.allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            return Ok(());
        }
        let free = self.disk.room()?.free.saturating_sub(limits::DISK_RESERVE);
        let Some(left) = free.checked_sub(bytes) else {
            return Err(FsError::new(ErrorKind::NoSpace, "the disk of the chunk server is full"));
        };
        self.allowance.store((left / PART).min(ALLOWANCE_MAX), Ordering::Relaxed);
        Ok(())
    }
}
