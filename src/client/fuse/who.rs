//! Who calls: what the kernel says, and what `/proc` knows of the calling thread.

use std::fs;
use std::time::Duration;

use fuser::Request;

/// The supplementary groups of the caller, which do not come with a request; none if it is gone.
/// The superuser needs none.
pub(super) fn groups(request: &Request) -> Vec<u32> {
    if request.uid() == 0 {
        return Vec::new();
    }
    groups_of(request.pid())
}

fn groups_of(thread: u32) -> Vec<u32> {
    let Some(status) = status(thread) else { return Vec::new() };
    let Some(line) = field(&status, "Groups:") else { return Vec::new() };
    line.split_whitespace().filter_map(|group| group.parse().ok()).collect()
}

/// Whether a signal waits for a thread that would end a system call. A library for FUSE does not
/// pass the kernel's interrupts on; the signal itself can be seen.
pub(super) fn has_signal(thread: u32) -> bool {
    let Some(status) = status(thread) else { return true };
    let mask = |name| field(&status, name).and_then(|text| u64::from_str_radix(text, 16).ok());
    let pending = mask("SigPnd:").unwrap_or(0) | mask("ShdPnd:").unwrap_or(0);
    pending & !mask("SigBlk:").unwrap_or(0) != 0
}

/// Whether a thread is about to end by a signal, or has ended. Whatever the deadly signal was, the
/// kernel gives `SIGKILL` to every thread then. Requests of the kernel's own have no thread (0).
pub(super) fn is_killed(thread: u32) -> bool {
    if thread == 0 {
        return false;
    }
    let Some(status) = status(thread) else { return true };
    let pending = field(&status, "SigPnd:").and_then(|text| u64::from_str_radix(text, 16).ok());
    pending.unwrap_or(0) & (1 << (libc::SIGKILL - 1)) != 0
}

/// How long ago a thread began, to a hundredth of a second and not more than it is; `None` if it is
/// gone.
pub(super) fn age(thread: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{thread}/stat")).ok()?;
    // The name of the program, in brackets, may have blanks and brackets in it (proc_pid_stat(5)).
    let (_, fields) = stat.rsplit_once(')')?;
    let begun_ticks: u64 = fields.split_whitespace().nth(19)?.parse().ok()?;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let (whole, hundredths) = uptime.split_whitespace().next()?.split_once('.')?;
    let now_ticks = whole.parse::<u64>().ok()? * 100 + hundredths.parse::<u64>().ok()?;
    Some(Duration::from_millis(now_ticks.saturating_sub(begun_ticks) * 10))
}

fn status(thread: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{thread}/status")).ok()
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{age, groups_of, has_signal};

    #[test]
    fn this_process_has_no_signal_and_a_gone_one_counts_as_interrupted() {
        assert!(!has_signal(std::process::id()));
        assert!(has_signal(u32::MAX));
        assert!(groups_of(u32::MAX).is_empty());
    }

    #[test]
    fn threads_get_older() {
        let first = age(std::process::id()).unwrap();
        assert!(first < Duration::from_secs(3600), "{first:?}");
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while age(std::process::id()).unwrap() <= first {
            assert!(std::time::Instant::now() < deadline);
            std::thread::yield_now();
        }
        assert_eq!(age(u32::MAX), None);
    }
}
