//! How long an entry of a hash table lives.

use crate::clock::Timestamp;
use crate::limits;

/// A time to live, in milliseconds: programs say it in seconds, whole or not. What does not live at
/// all is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ttl(u64);

impl Ttl {
    /// No time at all: a `put` with it deletes.
    pub const ZERO: Self = Self(0);

    /// Whole seconds, at most [`limits::TTL_MAX_S`] of them; 0 or less is no time.
    #[must_use]
    pub const fn from_s(seconds: i64) -> Self {
        let seconds = if seconds < 0 { 0 } else { seconds.unsigned_abs() };
        let seconds = if seconds > limits::TTL_MAX_S { limits::TTL_MAX_S } else { seconds };
        Self(seconds * 1000)
    }

    /// Seconds with a fraction, cut to milliseconds; `None` for what is no number.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a saturating cast is what is wanted"
    )]
    pub fn from_fraction(seconds: f64) -> Option<Self> {
        let most = limits::TTL_MAX_S * 1000;
        (!seconds.is_nan()).then(|| Self(((seconds * 1000.0) as u64).min(most)))
    }

    /// Whether it is no time at all.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Milliseconds.
    #[must_use]
    pub fn as_ms(self) -> u64 {
        self.0
    }

    /// The end of what begins at `now`.
    #[must_use]
    pub fn end(self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_add(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::Ttl;
    use crate::limits;

    #[test]
    fn seconds_may_have_a_fraction_and_have_an_end() {
        assert_eq!(Ttl::from_fraction(1.5).unwrap().as_ms(), 1500);
        assert_eq!(Ttl::from_s(2), Ttl::from_fraction(2.0).unwrap());
        for nothing in [0.0, -0.5, f64::NEG_INFINITY, 0.000_1] {
            assert!(Ttl::from_fraction(nothing).unwrap().is_zero(), "{nothing}");
        }
        assert!(Ttl::from_s(0).is_zero() && Ttl::from_s(i64::MIN).is_zero());
        assert_eq!(Ttl::from_s(i64::MAX).as_ms(), limits::TTL_MAX_S * 1000);
        assert_eq!(Ttl::from_fraction(f64::INFINITY), Some(Ttl::from_s(i64::MAX)));
        assert_eq!(Ttl::from_fraction(f64::NAN), None);
    }
}
