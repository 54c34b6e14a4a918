//! Who calls: what the kernel says, and what `/proc` knows of the calling thread.

use std::fs;

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

/// The number of the thread of this machine that began last; a later one has a higher number, until
/// they begin anew. `None` if the system does not say.
///
/// What it says of one thread (`/proc/PID/stat`) cannot be asked for here: while a program is being
/// started the kernel holds that back, and at the same time waits for this mount, to close files.
pub(super) fn last_thread() -> Option<u32> {
    // proc_loadavg(5)
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    load.split_whitespace().last()?.parse().ok()
}

fn status(thread: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{thread}/status")).ok()
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::{groups_of, has_signal, last_thread};

    #[test]
    fn this_process_has_no_signal_and_a_gone_one_counts_as_interrupted() {
        assert!(!has_signal(std::process::id()));
        assert!(has_signal(u32::MAX));
        assert!(groups_of(u32::MAX).is_empty());
    }

    #[test]
    fn threads_that_begin_later_have_higher_numbers() {
        let before = last_thread().unwrap();
        let later = std::thread::spawn(|| rustix::thread::gettid().as_raw_nonzero().get());
        let later = u32::try_from(later.join().unwrap()).unwrap();
        // They begin anew at the end of all numbers.
        assert!(later > before || before - later > 1000, "{later} {before}");
    }
}
