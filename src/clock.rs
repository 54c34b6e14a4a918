//! The only reader of the wall clock. Everything else takes time as an argument.

mod local;

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

pub use local::LocalTime;

/// A point in time: milliseconds since 1970-01-01 00:00 UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The point `seconds` later, or the last point there is.
    #[must_use]
    pub fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// Whole milliseconds from `earlier` to here; 0 if `earlier` is later.
    #[must_use]
    pub fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The time now. A clock before 1970 reads as 1970.
#[must_use]
pub fn now() -> Timestamp {
    let since_epoch = now_system().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// The time since this process first asked. Never jumps, unlike the wall clock: for leases.
#[must_use]
pub fn uptime() -> Timestamp {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    Timestamp(u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// The time now in the standard library's form, with nanoseconds, for file times.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub fn now_system() -> SystemTime {
    SystemTime::now()
}
