//! Times of files, which are floats in the dicts of Python clients.

use crate::types::FileTime;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// A time as a float. Floats of today have a quarter of a microsecond: so whole microseconds
/// survive, and the rest is cut off rather than rounded into the future.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "seconds of the next 200 million years are exact")]
pub fn to_seconds(time: FileTime) -> f64 {
    time.seconds as f64 + f64::from(time.nanoseconds / 1000) / MICROS_PER_SECOND as f64
}

/// A float as a time, in whole microseconds.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a float beyond 64 bits becomes the last time there is"
)]
pub fn to_time(seconds: f64) -> FileTime {
    let micros = (seconds * MICROS_PER_SECOND as f64).round() as i64;
    let rest = micros.rem_euclid(MICROS_PER_SECOND);
    FileTime {
        seconds: micros.div_euclid(MICROS_PER_SECOND),
        nanoseconds: u32::try_from(rest * 1000).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::{to_seconds, to_time};
    use crate::types::FileTime;

    #[test]
    fn times_keep_their_microseconds() {
        for (seconds, nanoseconds) in
            [(0, 0), (-1, 5000), (1_700_000_000, 123_456_000), (4_000_000_000, 999_999_000)]
        {
            let time = FileTime { seconds, nanoseconds };
            assert_eq!(to_time(to_seconds(time)), time);
        }
        let cut = to_time(to_seconds(FileTime { seconds: 7, nanoseconds: 999_999_999 }));
        assert_eq!(cut, FileTime { seconds: 7, nanoseconds: 999_999_000 });
        assert_eq!(to_time(f64::MAX).nanoseconds % 1000, 0);
    }
}
