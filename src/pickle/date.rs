//! `datetime.datetime`: the ten bytes of state that Python pickles of it.
//!
//! The year in two bytes, big end first; month, day, hour, minute, second in one each; microseconds
//! in three. (Python 3 may set the highest bit of the month, for the second of two ambiguous times.)
//!
//! Source of the format: `datetime.__reduce_ex__` in `Lib/datetime.py` of CPython.

use jiff::civil::DateTime;

const FOLD: u8 = 0x80;

/// The date of a state; `None` if there is no such date.
pub(super) fn read(state: &[u8]) -> Option<DateTime> {
    let &[year_high, year_low, month, day, hour, minute, second, high, middle, low] = state else {
        return None;
    };
    let small = |byte: u8| i8::try_from(byte).ok();
    let micros = i32::from_be_bytes([0, high, middle, low]);
    let date = DateTime::new(
        i16::from_be_bytes([year_high, year_low]),
        small(month & !FOLD)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
        micros.checked_mul(1000)?,
    );
    // Python has no years before the first.
    date.ok().filter(|date| date.year() >= 1)
}

/// The state of a date, of which what is below a microsecond is cut off.
pub(super) fn write(date: DateTime) -> [u8; 10] {
    let [year_high, year_low] = date.year().to_be_bytes();
    let [_, high, middle, low] = (date.subsec_nanosecond() / 1000).to_be_bytes();
    let [month, day, hour, minute, second] =
        [date.month(), date.day(), date.hour(), date.minute(), date.second()]
            .map(i8::cast_unsigned);
    [year_high, year_low, month, day, hour, minute, second, high, middle, low]
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::{read, write};

    #[test]
    fn states_of_python_are_dates() {
        // datetime(2026, 3, 29, 2, 30, 5, 123456).__reduce__()
        let state = *b"\x07\xea\x03\x1d\x02\x1e\x05\x01\xe2@";
        let found = date(2026, 3, 29).at(2, 30, 5, 123_456_000);
        assert_eq!(read(&state), Some(found));
        assert_eq!(write(found), state);
        let mut folded = state;
        folded[2] |= 0x80;
        assert_eq!(read(&folded), Some(found));
        for last in [date(1, 1, 1).at(0, 0, 0, 0), date(9999, 12, 31).at(23, 59, 59, 999_999_000)] {
            assert_eq!(read(&write(last)), Some(last));
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        let state = *b"\x07\xea\x03\x1d\x02\x1e\x05\x01\xe2@";
        assert_eq!(read(&state[..9]), None);
        assert_eq!(read(&[&state[..], b"\0"].concat()), None);
        for (at, byte) in
            [(0, 0x80), (0, 0x27), (2, 0), (2, 13), (3, 32), (4, 24), (5, 60), (6, 60)]
        {
            let mut wrong = state;
            wrong[at] = byte;
            assert_eq!(read(&wrong), None, "byte {at} is {byte}");
        }
        assert_eq!(read(b"\0\0\x01\x01\0\0\0\0\0\0"), None, "there is no year 0");
        assert_eq!(read(b"\x07\xea\x01\x01\0\0\0\xff\xff\xff"), None);
    }
}
