//! Log lines that may come again and again: each is told at most once a minute, as with the kernel's
//! `printk_ratelimit`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits;

/// Time after which a line is told again, if there is still reason to.
const PERIOD: Duration = Duration::from_secs(60);

/// What was told lately.
#[derive(Debug, Default)]
pub struct RateLimit {
    told: Mutex<HashMap<String, Told>>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    /// How often it happened since, and was not told.
    held_back: u64,
}

impl RateLimit {
    fn told(&self) -> MutexGuard<'_, HashMap<String, Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Warns of something, if it is time to. `line` says it whole.
    pub fn warn(&self, what: &str, line: impl FnOnce() -> String) {
        match self.take_turn(what, Instant::now()) {
            None => tracing::debug!("{}", line()),
            Some(0) => tracing::warn!("{}", line()),
            Some(more) => tracing::warn!("{} ({more} more before)", line()),
        }
    }

    /// The same for what is no more than good to know.
    pub fn info(&self, what: &str, line: impl FnOnce() -> String) {
        match self.take_turn(what, Instant::now()) {
            None => tracing::debug!("{}", line()),
            Some(0) => tracing::info!("{}", line()),
            Some(more) => tracing::info!("{} ({more} more before)", line()),
        }
    }

    /// Warns with a line that is the same each time.
    pub fn warn_line(&self, line: &str) {
        self.warn(line, || line.to_owned());
    }

    /// Whether it is time to tell of something, and how often it was not told since the last time.
    fn take_turn(&self, what: &str, now: Instant) -> Option<u64> {
        let mut all = self.told();
        let is_recent = |told: &Told| now.saturating_duration_since(told.at) < PERIOD;
        if let Some(told) = all.get_mut(what) {
            if is_recent(told) {
                told.held_back += 1;
                return None;
            }
            told.at = now;
            return Some(std::mem::take(&mut told.held_back));
        }
        if all.len() >= limits::LOG_LINES_MAX {
            all.retain(|_, told| is_recent(told));
        }
        // With so many different ones, the log is no worse for one more that is told again.
        if all.len() < limits::LOG_LINES_MAX {
            all.insert(what.to_owned(), Told { at: now, held_back: 0 });
        }
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{PERIOD, RateLimit};

    #[test]
    fn what_is_repeated_is_told_once_a_minute_and_counted() {
        let (limit, start) = (RateLimit::default(), Instant::now());
        assert_eq!(limit.take_turn("a", start), Some(0));
        assert_eq!(limit.take_turn("a", start + PERIOD / 2), None);
        assert_eq!(limit.take_turn("b", start + PERIOD / 2), Some(0));
        assert_eq!(limit.take_turn("a", start + PERIOD), Some(1));
        assert_eq!(limit.take_turn("a", start + PERIOD), None);
    }
}
