//! The limits of the programs themselves: how long they ask, print, and take to end.

use std::time::Duration;

use super::CONNECT_TIMEOUT;

/// Longest time that a command of `htfs` waits for one server.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// Servers that a command of `htfs` asks at once.
pub const COMMAND_CALLS_MAX: usize = 16;

/// Operations of a log that `log.show` answers if nobody says how many.
pub const LOG_SHOWN_DEFAULT: u64 = 20;

/// Operations of a log in one answer of `log.show`.
pub const LOG_SHOWN_MAX: u64 = 1000;

/// Longest time that the client gives itself to store what is written when it stops.
pub const STORE_ON_STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Output of a program that waits to be written, in bytes: whoever reads it may be slow, or stuck.
pub const OUTPUT_WAITING_MAX: usize = 1 << 20;

/// Longest time that a program that ends waits for its last lines to be written. It is part of the
/// two seconds in which a client unmounts and ends.
pub const OUTPUT_FLUSH_TIMEOUT: Duration = Duration::from_millis(300);

/// Lines of a log of which it is remembered that they were told.
pub const LOG_LINES_MAX: usize = 256;

/// Default of `--backup-every`: updates in the log before the backup is renewed.
pub const BACKUP_EVERY_DEFAULT: u64 = 1000;

const _: () = {
    assert!(BACKUP_EVERY_DEFAULT > 0);
    assert!(CONNECT_TIMEOUT.as_millis() < COMMAND_TIMEOUT.as_millis());
    assert!(LOG_SHOWN_DEFAULT <= LOG_SHOWN_MAX);
};
