//! The log of a program: what it is asked to say, and in which form.

use std::fmt;
use std::io::IsTerminal as _;
use std::os::unix::fs::MetadataExt as _;
use std::str::FromStr;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::output::Outlet;

/// The levels of the log, by name.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The crates that log something, this one first.
const CRATES: [&str; 8] =
    ["htfs", "fjall", "fuser", "hyper", "hyper_util", "lsm_tree", "rustls", "tokio"];

/// The modules of this crate, which filters can name.
const MODULES: [&str; 22] = [
    "addresses",
    "admin",
    "chunk",
    "cli",
    "client",
    "clock",
    "descriptors",
    "dump",
    "embedded",
    "error",
    "extent",
    "limits",
    "listen",
    "master",
    "output",
    "pickle",
    "proto",
    "random",
    "ratelimit",
    "rpc",
    "store",
    "types",
];

/// What to log: levels, for everything or for a part of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').try_for_each(check_part)?;
        // Whatever is left to complain of, the filter itself finds.
        EnvFilter::try_new(text).map_err(|error| error.to_string())?;
        Ok(Self(text.to_owned()))
    }
}

/// A part is a level, or `target=level`. A word that is no level would otherwise be taken for the name
/// of a part of the program that has nothing to say, and the log would be empty.
fn check_part(part: &str) -> Result<(), String> {
    let (target, level) =
        part.split_once('=').map_or((None, part), |(target, level)| (Some(target.trim()), level));
    let level = level.trim();
    if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
        return Err(format!("\"{level}\" is not a level; those are {}", LEVELS.join(", ")));
    }
    let Some(target) = target else { return Ok(()) };
    let mut names = target.split("::");
    let is_known = match (names.next(), names.next()) {
        (Some("htfs"), Some(module)) => MODULES.contains(&module),
        (Some(name), _) => CRATES.contains(&name),
        (None, _) => false,
    };
    match is_known {
        true => Ok(()),
        false => Err(format!(
            "there is no part \"{target}\"; it looks like htfs::rpc, with one of {}",
            MODULES.join(", ")
        )),
    }
}

/// Begins to log. A second role in the same process finds the log in place.
pub(super) fn start(filter: &LogFilter, outlet: Outlet) {
    // What goes wrong in the store comes to us as results, too; the rest is of no interest.
    let quiet = crate::store::QUIET.iter().chain(crate::client::fuse::QUIET);
    let filter = quiet.fold(EnvFilter::new(&filter.0), |filter, quiet| match quiet.parse() {
        Ok(quiet) => filter.add_directive(quiet),
        Err(_) => filter,
    });
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || outlet.clone())
        .log_internal_errors(false);
    if is_journal() {
        log.with_ansi(false)
            .event_format(ForJournal(Format::default().without_time()))
            .try_init()
            .ok();
    } else {
        log.with_ansi(wants_colours()).try_init().ok();
    }
}

/// Whether standard error is a terminal whose owner has nothing against colours (no-color.org).
fn wants_colours() -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !is_refused
}

/// Whether standard error is a connection to systemd's journal (systemd.exec(5)), and not something
/// that a parent which has one made of it.
fn is_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    let Ok(file) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", file.dev(), file.ino())
}

/// Events as the journal wants them: it has a time of its own, and takes the level from a number in
/// front (sd-daemon(3)).
struct ForJournal(Format<Full, ()>);

impl<S, N> FormatEvent<S, N> for ForJournal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use super::{LogFilter, MODULES};

    #[test]
    fn words_that_are_no_levels_are_refused() {
        for good in ["info", "WARN", "off", "info,htfs::rpc=debug", "htfs::client::native=trace"] {
            assert_eq!(good.parse(), Ok(LogFilter(good.to_owned())));
        }
        for bad in ["", "loud", "info,", "htfs=loud", "htfs::rcp=debug", "nobody=info", "=info"] {
            assert!(bad.parse::<LogFilter>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn every_module_can_be_named() {
        let lib = include_str!("../lib.rs").lines();
        let declared = lib.filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
        assert_eq!(declared.collect::<Vec<_>>(), MODULES);
    }
}
