//! The limits of a native mount: what it remembers, holds and has under way.

use std::time::Duration;

use super::{CALL_TIMEOUT, CHUNK_SIZE, SESSION_LEASE};

/// Age at which nobody sees a cached name or attribute any more that the master's event stream does
/// not vouch for.
pub const CACHE_AGE_MAX: Duration = Duration::from_secs(1);

/// The mount's share of it: age from which it uses nothing cached.
pub const MOUNT_CACHE_AGE: Duration = Duration::from_millis(600);

/// The kernel's share: how long it uses what the mount has told it.
pub const KERNEL_CACHE_AGE: Duration = Duration::from_millis(400);

/// How long one question for events waits at the master. A mount hears of its master at least this
/// often, so its caches stay valid.
pub const EVENTS_WAIT: Duration = Duration::from_millis(400);

/// How long a call of which the answer was lost may still be on its way to being carried out. A
/// master that takes longer has ended the session by then, and refuses it.
pub const OUTCOME_OPEN_MAX: Duration = Duration::from_secs(60);

/// Inodes whose attributes a mount remembers.
pub const INODES_CACHED_MAX: usize = 65_536;

/// Directories of which a mount remembers how they are gone through.
pub const WALKS_MAX: usize = 1024;

/// Largest file of which the contents are fetched while it is opened, in bytes.
pub const SMALL_FILE_SIZE_MAX: u64 = 64 << 10;

/// How long opening a small file waits for them at most.
pub const EARLY_CONTENTS_WAIT: Duration = Duration::from_millis(20);

/// How long a direct write waits at most until the kernel has dropped its pages there.
pub const DROPPED_PAGES_WAIT: Duration = Duration::from_millis(100);

/// Names, present or absent, that a mount remembers.
pub const ENTRIES_CACHED_MAX: usize = 131_072;

/// Chunks of one open file whose places a mount remembers.
pub const LAYOUT_CACHED_MAX: usize = 4096;

/// Written bytes of one file from which on a mount begins to send them, without being asked to.
pub const FLUSH_SIZE: u64 = 8 << 20;

/// Written bytes over all files that a mount holds. Who writes more, waits until his are sent.
pub const DIRTY_MAX: u64 = 64 << 20;

/// Longest time that written bytes stay in a mount unsent.
pub const FLUSH_PERIOD: Duration = Duration::from_secs(2);

/// Contents in one `chunk.write`.
pub const WRITE_CALL_SIZE_MAX: usize = 1 << 20;

/// Calls to chunk servers that one flush, or one read, has under way at once.
pub const CHUNK_CALLS_MAX: usize = 4;

/// Unit in which a sequential reader's contents are fetched and kept.
pub const READ_BLOCK_SIZE: u64 = 1 << 20;

/// Farthest that a sequential reader is read ahead of.
pub const READ_AHEAD_MAX: u64 = 8 << 20;

/// Unchanged contents that are kept for one open file that is read in order, in bytes.
pub const CLEAN_MAX: u64 = 2 * READ_AHEAD_MAX;

/// Unchanged contents that are kept over all open files: a part of the machine's memory.
pub const CLEAN_TOTAL_SHARE: u64 = 16;

/// The same on a machine with little or much of it, in bytes.
pub const CLEAN_TOTAL_RANGE: (u64, u64) = (64 << 20, 2 << 30);

/// Reads in no order of one file, from which on whole blocks of it are fetched and kept, if there
/// is room for all of it: who reads so much of it will come back.
pub const RANDOM_READS: u32 = 32;

/// Attempts of a write or read that finds that the file was cut meanwhile.
pub const STALE_ATTEMPTS_MAX: u32 = 8;

/// How long one question for a lock waits at the master. Between two of them a mount looks whether
/// the process that waits got a signal.
pub const LOCK_WAIT: Duration = Duration::from_millis(300);

/// Inodes of which a mount remembers, for a moment, that a request was not answered in time.
pub const LATE_INODES_MAX: usize = 1024;

/// Files of which a client that ends tells that they could not be stored.
pub const LOST_FILES_TOLD_MAX: usize = 100;

/// Directories above a file that its path is made of, at most.
pub const PATH_DEPTH_MAX: usize = 2048;

/// Threads that it remembers for each of them.
pub const LATE_THREADS_MAX: usize = 64;

/// How long who wants a lock waits for those who have closed the file and whose locks are about to be
/// freed. Longer than that takes; if a server hangs, the master tells who is in the way.
pub const LOCK_LEAVE_WAIT: Duration = Duration::from_secs(1);

/// How long an open waits until the kernel has taken note of what else it is told. It may be held up by
/// a call of another program.
pub const KERNEL_TOLD_WAIT: Duration = Duration::from_millis(50);

/// How often a lock is asked for by who does not wait for it, if others leave meanwhile.
pub const LOCK_ATTEMPTS_MAX: u32 = 4;

/// Entries that a mount asks for in one page of a directory.
pub const LISTING_PAGE: u32 = 2048;

/// Files and directories that are open at once in one mount.
pub const HANDLES_MAX: usize = 1 << 20;

const _: () = {
    assert!(EVENTS_WAIT.as_millis() < MOUNT_CACHE_AGE.as_millis());
    let cache_age_ms = MOUNT_CACHE_AGE.as_millis() + KERNEL_CACHE_AGE.as_millis();
    assert!(cache_age_ms <= CACHE_AGE_MAX.as_millis());
    assert!(SESSION_LEASE.as_millis() < OUTCOME_OPEN_MAX.as_millis());
    assert!(CALL_TIMEOUT.as_millis() < OUTCOME_OPEN_MAX.as_millis());
    assert!(WRITE_CALL_SIZE_MAX as u64 <= FLUSH_SIZE);
    assert!(FLUSH_SIZE < DIRTY_MAX);
    assert!(CLEAN_MAX <= CLEAN_TOTAL_RANGE.0);
    assert!(SMALL_FILE_SIZE_MAX <= READ_BLOCK_SIZE);
    assert!(CHUNK_SIZE.is_multiple_of(READ_BLOCK_SIZE));
};
