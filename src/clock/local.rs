//! Local time: dates without a zone, as programs of Python write them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::Timestamp;

/// The rules by which a machine tells local time.
#[derive(Clone, Debug)]
pub struct LocalTime(TimeZone);

impl LocalTime {
    /// Those of this machine: of `TZ`, else of the system; UTC if it has none.
    #[must_use]
    pub fn of_system() -> Self {
        Self(TimeZone::system())
    }

    /// The local date of a point in time, or the last one there is.
    #[must_use]
    pub fn date_of(&self, time: Timestamp) -> DateTime {
        let time = i64::try_from(time.0).ok();
        let time = time.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        time.map_or(DateTime::MAX, |time| self.0.to_datetime(time))
    }

    /// The point in time of a local date; 1970 for earlier ones. Where clocks were put back and a date
    /// is ambiguous, the first of the two; where they were put forward and there is no such date, it
    /// is moved forward by the gap.
    #[must_use]
    pub fn time_of(&self, date: DateTime) -> Timestamp {
        // Only within a day of the first and the last date a conversion can fail.
        let last = if date.year() < 1970 { 0 } else { u64::MAX };
        let time = self.0.to_timestamp(date).map(jiff::Timestamp::as_millisecond);
        Timestamp(time.map_or(last, |ms| u64::try_from(ms).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::{DateTime, date};
    use jiff::tz::TimeZone;

    use super::LocalTime;
    use crate::clock::Timestamp;

    /// Clocks are put forward on the last Sunday of March at 2:00, and back in October at 3:00.
    fn berlin() -> LocalTime {
        LocalTime(TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap())
    }

    #[test]
    fn dates_and_times_are_the_same_to_the_millisecond() {
        for ms in [0, 1, 1_700_000_000_123, 1_785_000_000_999, 4_900_000_000_000] {
            assert_eq!(berlin().time_of(berlin().date_of(Timestamp(ms))), Timestamp(ms));
        }
        let summer = date(2026, 7, 1).at(12, 0, 0, 0);
        assert_eq!(berlin().time_of(summer), Timestamp(1_782_900_000_000));
    }

    #[test]
    fn dates_in_a_gap_and_ambiguous_dates_have_one_time() {
        let hour_ms = 3_600_000;
        let before = berlin().time_of(date(2026, 3, 29).at(1, 30, 0, 0));
        let never = berlin().time_of(date(2026, 3, 29).at(2, 30, 0, 0));
        assert_eq!(never.since_ms(before), hour_ms);
        let twice = berlin().time_of(date(2026, 10, 25).at(2, 30, 0, 0));
        let after = berlin().time_of(date(2026, 10, 25).at(3, 30, 0, 0));
        assert_eq!(after.since_ms(twice), 2 * hour_ms);
    }

    #[test]
    fn dates_far_away_end_with_time() {
        assert_eq!(berlin().time_of(date(1, 1, 1).at(0, 0, 0, 0)), Timestamp(0));
        assert_eq!(berlin().time_of(date(1969, 12, 31).at(0, 0, 0, 0)), Timestamp(0));
        assert!(berlin().time_of(DateTime::MAX).0 > Timestamp(250_000_000_000_000).0);
        assert_eq!(berlin().date_of(Timestamp(u64::MAX)), DateTime::MAX);
    }
}
