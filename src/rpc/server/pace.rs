//! How slowly the body of a request may arrive.

use std::time::Duration;

use tokio::time::Instant;

/// The patience with one body. It lasts for a time of silence, and what arrives adds to it, up to that
/// time again: so nobody is slower than the lowest rate for longer, in whatever part of a body, and
/// who was fast at first cannot live on that.
#[derive(Debug)]
pub(super) struct Pace {
    patience: Duration,
    /// The lowest rate, in bytes per second.
    rate: u64,
    /// When the patience is over, unless something arrives.
    due: Instant,
}

impl Pace {
    /// A body begins to arrive.
    pub(super) fn begin(patience: Duration, rate: u64, now: Instant) -> Self {
        Self { patience, rate: rate.max(1), due: now + patience }
    }

    /// When the patience is over.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// So many bytes have arrived.
    pub(super) fn arrived(&mut self, bytes: usize, now: Instant) {
        let earned_us = (bytes as u64).saturating_mul(1_000_000) / self.rate;
        let earned = Duration::from_micros(earned_us).min(self.patience);
        self.due = (self.due + earned).min(now + self.patience);
    }

    /// For so long nothing was read: it was not the peer that was slow.
    pub(super) fn paused(&mut self, time: Duration) {
        self.due += time;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Pace;

    #[test]
    fn who_was_fast_at_first_may_not_be_slow_for_longer() {
        let (patience, now) = (Duration::from_secs(30), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut pace = Pace::begin(patience, 1000, now);
        pace.arrived(1 << 30, now);
        assert_eq!(pace.due(), after(30));
        pace.arrived(4000, after(10));
        assert_eq!(pace.due(), after(34));
        pace.paused(Duration::from_secs(1));
        assert_eq!(pace.due(), after(35));
        pace.arrived(1 << 30, after(20));
        assert_eq!(pace.due(), after(50));
    }
}
