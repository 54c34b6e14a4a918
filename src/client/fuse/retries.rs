//! Which calls the kernel has begun anew.
//!
//! A program's call that meets the answer `ESTALE` is begun once more, and trusts nothing then that
//! the kernel remembers of names (`retry_estale`). A second such answer goes to the program. Requests
//! do not tell to which call they belong, but threads make one call at a time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fuser::INodeNo;

use crate::client::vfs::Attempt;

/// How long a call that was begun anew takes to come back, at most.
const RETRY_TIME: Duration = Duration::from_secs(1);

/// The same for one that need not come back, or not as an `open`: it is soon taken for over.
const LOOKUP_TIME: Duration = Duration::from_millis(200);

/// Threads that are remembered; there are hardly ever so many that open files at once.
const THREADS_MAX: usize = 1024;

/// The threads that were answered `ESTALE` of late.
#[derive(Debug, Default)]
pub(super) struct Retries {
    threads: Mutex<Threads>,
    /// How many of them there are, for those who need not look.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Threads {
    refused: HashMap<u32, Refused>,
    /// When there was no room for another one: any may be meant then.
    overflown: Option<Instant>,
}

impl Threads {
    /// Forgets what is too old to matter, if there is no room.
    fn make_room(&mut self) {
        if self.refused.len() >= THREADS_MAX {
            self.refused.retain(|_, refused| refused.at.elapsed() < RETRY_TIME);
        }
    }

    fn insert(&mut self, thread: u32, refused: Refused) {
        self.make_room();
        if self.refused.len() < THREADS_MAX || self.refused.contains_key(&thread) {
            self.refused.insert(thread, refused);
        } else {
            self.overflown = Some(refused.at);
        }
    }
}

/// What is known of a thread.
enum Known {
    Refused(Refused),
    /// It may have been refused: there was no room to remember all.
    Perhaps,
    Nothing,
}

#[derive(Clone, Debug)]
struct Refused {
    at: Instant,
    request: Refusable,
}

/// A request that may be answered `ESTALE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusable {
    /// A lookup, or any other that opens nothing.
    Lookup,
    /// An `open` of an inode, which may come back as one of another inode.
    Open,
    /// A `create` of this name in this directory. Often it does not come back: what is there turns out
    /// to be no file.
    Create(INodeNo, Bytes),
}

impl Retries {
    /// What an `open` or `create` of a thread is.
    pub(super) fn of_open(&self, thread: u32, request: &Refusable) -> Attempt {
        let is_same = |refused: &Refused| match (&refused.request, request) {
            (Refusable::Lookup, _) => refused.at.elapsed() < LOOKUP_TIME,
            (Refusable::Create(..), Refusable::Create(..)) if refused.request != *request => false,
            _ => refused.at.elapsed() < RETRY_TIME,
        };
        // Threads that cannot be seen from here, because they live in another namespace, have no
        // number.
        let is_again = thread == 0
            || match self.known(thread) {
                Known::Refused(refused) => is_same(&refused),
                Known::Perhaps => true,
                Known::Nothing => false,
            };
        if is_again { Attempt::Last } else { Attempt::First }
    }

    /// What a lookup of a thread is. It may be for a call that fails to find a second name stale.
    pub(super) fn of_lookup(&self, thread: u32) -> Attempt {
        match self.known(thread) {
            Known::Refused(Refused { at, request }) if request != Refusable::Lookup => {
                if at.elapsed() < RETRY_TIME { Attempt::Last } else { Attempt::First }
            }
            Known::Perhaps => Attempt::Last,
            Known::Refused(_) | Known::Nothing => Attempt::First,
        }
    }

    /// A request of a thread is answered.
    pub(super) fn note(&self, thread: u32, request: &Refusable, is_refused: bool) {
        if is_refused {
            let mut threads = self.threads();
            threads.insert(thread, Refused { at: Instant::now(), request: request.clone() });
            self.count.store(threads.refused.len(), Ordering::Release);
        } else if *request != Refusable::Lookup && self.count.load(Ordering::Acquire) > 0 {
            let mut threads = self.threads();
            threads.refused.remove(&thread);
            self.count.store(threads.refused.len(), Ordering::Release);
        }
    }

    fn known(&self, thread: u32) -> Known {
        if self.count.load(Ordering::Acquire) == 0 {
            return Known::Nothing;
        }
        let threads = self.threads();
        match threads.refused.get(&thread) {
            Some(refused) => Known::Refused(refused.clone()),
            None if threads.overflown.is_some_and(|at| at.elapsed() < RETRY_TIME) => Known::Perhaps,
            None => Known::Nothing,
        }
    }

    fn threads(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use fuser::INodeNo;

    use super::{Refusable, Retries, THREADS_MAX};
    use crate::client::vfs::Attempt;

    const OPEN: Refusable = Refusable::Open;

    fn create(name: &'static str) -> Refusable {
        Refusable::Create(INodeNo(1), Bytes::from(name))
    }

    #[test]
    fn an_open_is_refused_once() {
        let retries = Retries::default();
        assert_eq!(retries.of_open(5, &OPEN), Attempt::First);
        retries.note(5, &OPEN, true);
        assert_eq!(retries.of_open(5, &OPEN), Attempt::Last);
        assert_eq!(retries.of_open(5, &create("a")), Attempt::Last);
        assert_eq!(retries.of_lookup(5), Attempt::Last);
        assert_eq!(retries.of_open(6, &OPEN), Attempt::First);
        retries.note(5, &OPEN, false);
        assert_eq!(retries.of_open(5, &OPEN), Attempt::First);
        assert_eq!(retries.of_lookup(5), Attempt::First);
        assert_eq!(retries.of_open(0, &OPEN), Attempt::Last, "it may be anybody");
    }

    #[test]
    fn a_refused_lookup_may_be_that_of_an_open() {
        let retries = Retries::default();
        retries.note(5, &Refusable::Lookup, true);
        assert_eq!(retries.of_lookup(5), Attempt::First);
        assert_eq!(retries.of_open(5, &OPEN), Attempt::Last);
        retries.note(5, &Refusable::Lookup, false);
        assert_eq!(retries.of_open(5, &OPEN), Attempt::Last);
        retries.note(5, &OPEN, false);
        assert_eq!(retries.of_open(5, &OPEN), Attempt::First);
    }

    #[test]
    fn who_finds_no_room_may_have_been_refused() {
        let retries = Retries::default();
        let last = u32::try_from(THREADS_MAX).unwrap();
        (1..=last).for_each(|thread| retries.note(thread, &OPEN, true));
        assert_eq!(retries.of_open(last + 1, &OPEN), Attempt::First);
        retries.note(last + 1, &OPEN, true);
        assert_eq!(retries.of_open(last + 1, &OPEN), Attempt::Last);
        assert_eq!(retries.of_lookup(last + 1), Attempt::Last);
        retries.note(1, &Refusable::Lookup, true);
        assert_eq!(retries.of_lookup(1), Attempt::First, "there is room for who is known");
    }

    #[test]
    fn a_refused_create_need_not_come_back() {
        let retries = Retries::default();
        retries.note(5, &create("fifo"), true);
        assert_eq!(retries.of_open(5, &create("fifo")), Attempt::Last);
        assert_eq!(retries.of_open(5, &OPEN), Attempt::Last, "it may be a file by now");
        assert_eq!(retries.of_open(5, &create("other")), Attempt::First);
    }
}
