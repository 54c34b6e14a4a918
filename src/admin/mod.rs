//! The commands of the program `htfs`: questions to running servers, with answers for people and for
//! programs. They speak [`crate::proto`], as any client does.

pub mod log;
pub mod status;
pub mod strays;

use std::path::Path;

use serde::Serialize;

use crate::clock::{LocalTime, Timestamp};
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::rpc::tls::{TlsError, Trust};
use crate::rpc::{CallError, RpcClient};

/// A client for commands.
///
/// # Errors
/// Says what is wrong with the file of certificates to trust.
pub fn client(ca: &Path) -> Result<RpcClient> {
    let wrong = |error: TlsError| FsError::new(ErrorKind::InvalidArgument, error.to_string());
    Ok(RpcClient::new(Trust::load(ca).map_err(wrong)?, limits::COMMAND_TIMEOUT))
}

/// An answer as JSON.
///
/// # Errors
/// `Io` if it has no such form, which none of ours does.
pub fn json(answer: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(answer);
    text.map_err(|error| FsError::new(ErrorKind::Io, error.to_string()))
}

/// Why a server has not answered.
fn failure(error: CallError) -> FsError {
    match error {
        CallError::Fault(fault) => FsError::from(fault).context("it answered"),
        other => other.into(),
    }
}

/// When something was, in local time, and how long ago.
fn moment(time: Timestamp, age_s: u64) -> String {
    let date = LocalTime::of_system().date_of(time).strftime("%Y-%m-%d %H:%M:%S");
    format!("{date}, {} ago", duration(age_s))
}

/// A number of seconds in the unit that fits.
fn duration(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..120 => (seconds, "s"),
        120..7200 => (seconds / 60, "min"),
        7200..172_800 => (seconds / 3600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{count} {unit}")
}

/// A number with the noun that it counts.
fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Columns side by side, each as wide as its widest cell.
fn columns(rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{columns, count, moment};
    use crate::clock::Timestamp;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let row = |cells: &[&str]| cells.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>();
        let text = columns(&[row(&["A", "B"]), row(&["größer", ""]), row(&["x", "y", "z"])]);
        assert_eq!(text, "A       B\ngrößer\nx       y  z\n");
        assert_eq!(columns(&[]), "");
    }

    #[test]
    fn ages_are_told_in_the_unit_that_fits() {
        for (age_s, told) in [
            (0, ", 0 s ago"),
            (119, ", 119 s ago"),
            (120, ", 2 min ago"),
            (7200, ", 2 h ago"),
            (10 * 86_400, ", 10 days ago"),
        ] {
            let text = moment(Timestamp(1_700_000_000_000), age_s);
            assert!(text.starts_with("2023-11-1") && text.ends_with(told), "{text}");
        }
        assert_eq!(
            (count(1, "entry", "entries"), count(0, "a", "b")),
            ("1 entry".into(), "0 b".into())
        );
    }
}
