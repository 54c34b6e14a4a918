//! When the requests of one mount have to end.
//!
//! A system call may be several requests, one after the other, and must not take longer than one of
//! them. Two cases are of the kernel's own making: a program waits for pages that are read ahead, and
//! when that fails the kernel asks for them once more; and who changes a directory waits in the kernel
//! until the one before is answered; a rename or link holds up several. So whoever comes right behind a
//! request on the same inode that was not answered in time has waited as long as that one, and gets
//! what is left, which is next to nothing. It may still be answered, if the servers are back.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fuser::INodeNo;

use super::who;
use crate::limits;

/// Stands for what all renames from one directory to another wait for in the kernel
/// (`s_vfs_rename_mutex`), the lookups that are a part of them included. No inode has this number.
pub(super) const RENAMES: INodeNo = INodeNo(u64::MAX);

/// How long after a request that was not answered in time another one is taken for one that waited
/// behind it.
const BEHIND: Duration = Duration::from_millis(250);

/// The least time that a request gets.
const GRACE_MIN: Duration = Duration::from_millis(1);

/// The part of the time that is kept back for those that wait behind.
const RESERVE_PART: u32 = 10;

/// The most of it.
const RESERVE_MAX: Duration = Duration::from_secs(1);

/// The part of the time that the calls to servers end earlier, so that their own errors are told.
const CALLS_PART: u32 = 50;

/// The deadlines of a mount.
#[derive(Debug)]
pub(super) struct Deadlines {
    timeout: Option<Duration>,
    /// Whether there is anything in `late`: hardly ever.
    has_late: AtomicBool,
    late: Mutex<HashMap<INodeNo, Late>>,
}

/// Requests on one inode that were not answered in time.
#[derive(Debug)]
struct Late {
    /// The thread that had begun last when the first of them was late.
    last_thread: Option<u32>,
    last: Instant,
    /// How many there were.
    count: u32,
    /// Who made them, as far as there is room, and of what name the last time: the same thread has
    /// not waited for itself.
    threads: Vec<(u32, Bytes)>,
}

/// Who makes a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    pub(super) thread: u32,
    /// The name that it is about, if any.
    pub(super) name: &'a Bytes,
    /// Whether the kernel makes such a request again by itself when it has failed: it reads again what
    /// could not be read ahead, and looks a name up again that it could not find to be still there.
    pub(super) may_repeat: bool,
}

/// When a request and its calls have to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    pub(super) request: Instant,
    pub(super) calls: Instant,
}

impl Deadlines {
    /// Each system call takes at most `timeout`; as long as it likes if `None`.
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, has_late: AtomicBool::new(false), late: Mutex::default() }
    }

    fn late(&self) -> MutexGuard<'_, HashMap<INodeNo, Late>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The deadline of a request on some inodes: it may have waited for each of them.
    pub(super) fn of(
        &self,
        inodes: impl IntoIterator<Item = INodeNo>,
        caller: Caller<'_>,
    ) -> Option<Deadline> {
        let timeout = self.timeout?;
        let now = Instant::now();
        let whole = timeout - reserve(timeout);
        let left = match self.has_late.load(Ordering::Acquire) {
            true => {
                let grace = timeout / CALLS_PART;
                self.left_behind(inodes, caller, grace).unwrap_or(whole)
            }
            false => whole,
        };
        let calls = left - (timeout / CALLS_PART).min(left / 2);
        Some(Deadline { request: now + left, calls: now + calls })
    }

    /// What is left for a request that has waited behind others.
    fn left_behind(
        &self,
        inodes: impl IntoIterator<Item = INodeNo>,
        caller: Caller<'_>,
        grace: Duration,
    ) -> Option<Duration> {
        let mut all = self.late();
        all.retain(|_, late| late.last.elapsed() < BEHIND);
        self.has_late.store(!all.is_empty(), Ordering::Release);
        let behind = inodes.into_iter().filter_map(|ino| all.get(&ino));
        behind.filter_map(|late| late.left(caller, grace)).min()
    }

    /// A request was not answered in time.
    pub(super) fn missed(&self, inodes: impl IntoIterator<Item = INodeNo>, caller: Caller<'_>) {
        inodes.into_iter().for_each(|ino| self.note_late(ino, caller));
    }

    fn note_late(&self, ino: INodeNo, caller: Caller<'_>) {
        let now = Instant::now();
        let mut all = self.late();
        // Lookups may be parts of renames. They only count as such behind one.
        if ino == RENAMES && caller.may_repeat && !all.contains_key(&ino) {
            return;
        }
        if all.len() >= limits::LATE_INODES_MAX && !all.contains_key(&ino) {
            return;
        }
        let new = || {
            let last_thread = who::last_thread();
            Late { last_thread, last: now, count: 0, threads: Vec::new() }
        };
        let late = all.entry(ino).or_insert_with(new);
        late.last = now;
        late.count = late.count.saturating_add(1);
        let Caller { thread, name, .. } = caller;
        let has_room = late.threads.len() < limits::LATE_THREADS_MAX;
        match late.threads.iter_mut().find(|(other, _)| *other == thread) {
            Some((_, last)) => last.clone_from(name),
            None if has_room => late.threads.push((thread, name.clone())),
            None => {}
        }
        self.has_late.store(true, Ordering::Release);
    }

    /// A request was answered: those behind it have all their time again.
    pub(super) fn met(&self, inodes: impl IntoIterator<Item = INodeNo>) {
        if self.has_late.load(Ordering::Acquire) {
            let mut all = self.late();
            inodes.into_iter().for_each(|ino| drop(all.remove(&ino)));
        }
    }
}

impl Late {
    /// What is left for a thread that has waited behind these; `None` if it has not.
    fn left(&self, caller: Caller<'_>, grace: Duration) -> Option<Duration> {
        let has_waited = match self.threads.iter().find(|(thread, _)| *thread == caller.thread) {
            Some((_, name)) => caller.may_repeat && name == caller.name,
            // A process that began later cannot have waited, as those of a shell script.
            None => self.last_thread.is_none_or(|last| caller.thread <= last),
        };
        if !has_waited {
            return None;
        }
        // Less and less, so that all of them together get little.
        Some(grace.checked_div(1 << self.count.min(16)).unwrap_or_default().max(GRACE_MIN))
    }
}

/// What is kept back of a timeout.
fn reserve(timeout: Duration) -> Duration {
    (timeout / RESERVE_PART).min(RESERVE_MAX)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use bytes::Bytes;
    use fuser::INodeNo;

    use super::{Caller, Deadline, Deadlines, RENAMES};

    const TIMEOUT: Duration = Duration::from_secs(20);
    const HERE: INodeNo = INodeNo(7);
    static NONE: Bytes = Bytes::new();
    static NAME: Bytes = Bytes::from_static(b"name");

    fn asks(thread: u32, name: &Bytes, may_repeat: bool) -> Caller<'_> {
        Caller { thread, name, may_repeat }
    }

    fn left(deadline: Option<Deadline>) -> Duration {
        deadline.unwrap().request.saturating_duration_since(Instant::now())
    }

    #[test]
    fn who_waits_behind_a_request_that_was_late_has_no_time_of_its_own() {
        let this = std::process::id();
        let deadlines = Deadlines::new(Some(TIMEOUT));
        assert!(left(deadlines.of([HERE], asks(this, &NONE, false))) > TIMEOUT * 8 / 10);
        deadlines.missed([HERE], asks(1, &NONE, false));
        let together: Duration = (0..100)
            .map(|_| {
                let left = left(deadlines.of([HERE], asks(this, &NONE, false)));
                deadlines.missed([HERE], asks(1, &NONE, false));
                left
            })
            .sum();
        assert!(together < TIMEOUT / 10, "{together:?}");
        assert!(
            left(deadlines.of([INodeNo(8)], asks(this, &NONE, false))) > TIMEOUT * 8 / 10,
            "another inode"
        );
        deadlines.met([HERE]);
        assert!(
            left(deadlines.of([HERE], asks(this, &NONE, false))) > TIMEOUT * 8 / 10,
            "it was answered"
        );
    }

    #[test]
    fn a_request_on_several_inodes_holds_all_of_them_up() {
        let this = std::process::id();
        let deadlines = Deadlines::new(Some(TIMEOUT));
        let there = INodeNo(8);
        deadlines.missed([HERE, there, RENAMES], asks(1, &NONE, false));
        assert!(left(deadlines.of([there], asks(this, &NONE, false))) < TIMEOUT / 10);
        assert!(left(deadlines.of([INodeNo(9), RENAMES], asks(this, &NONE, false))) < TIMEOUT / 10);
        deadlines.met([there, RENAMES]);
        assert!(left(deadlines.of([there, RENAMES], asks(this, &NONE, false))) > TIMEOUT * 8 / 10);
        assert!(left(deadlines.of([HERE, there], asks(this, &NONE, false))) < TIMEOUT / 10);
    }

    #[test]
    fn who_was_late_itself_begins_anew_unless_the_kernel_asks_again() {
        let this = std::process::id();
        let deadlines = Deadlines::new(Some(TIMEOUT));
        deadlines.missed([HERE], asks(this, &NONE, false));
        assert!(left(deadlines.of([HERE], asks(this, &NONE, false))) > TIMEOUT * 8 / 10);
        assert!(left(deadlines.of([HERE], asks(this, &NONE, true))) < TIMEOUT / 10);
        assert!(Deadlines::new(None).of([HERE], asks(this, &NONE, false)).is_none());
    }

    #[test]
    fn a_name_that_the_kernel_looks_up_again_has_no_time_of_its_own() {
        let this = std::process::id();
        let deadlines = Deadlines::new(Some(TIMEOUT));
        deadlines.missed([HERE], asks(this, &NAME, true));
        assert!(left(deadlines.of([HERE], asks(this, &NAME, true))) < TIMEOUT / 10);
        assert!(left(deadlines.of([HERE], asks(this, &NONE, true))) > TIMEOUT * 8 / 10);
    }

    #[test]
    fn lookups_are_parts_of_renames_only_behind_one() {
        let this = std::process::id();
        let deadlines = Deadlines::new(Some(TIMEOUT));
        let lookup = |ino| deadlines.of([ino, RENAMES], asks(this, &NAME, true));
        deadlines.missed([HERE, RENAMES], asks(1, &NAME, true));
        assert!(left(lookup(INodeNo(8))) > TIMEOUT * 8 / 10);
        deadlines.missed([HERE, RENAMES], asks(1, &NAME, false));
        assert!(left(lookup(INodeNo(8))) < TIMEOUT / 10);
    }
}
