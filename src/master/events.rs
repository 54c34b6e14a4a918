//! What changed, for those who have it cached: a ring of the latest changes, and those who wait for
//! the next one.
//!
//! Every change has a number, greater than all before. A session asks for what comes behind the
//! last number it knows; if the ring has lost some of that, it is told so and trusts nothing of what
//! it has cached. The numbers go on over a restart of the master (the first one is made of the time),
//! so that nobody takes the changes of another life for those that follow.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::clock::Timestamp;
use crate::limits;
use crate::proto::fs::SessionId;
use crate::proto::session::Events;
use crate::types::Change;

/// The bits of a number that count the changes of one millisecond. The others are those of the
/// time: 43 of them last until the year 2248.
const COUNTER_BITS: u32 = 20;

/// How many changes who waits is left alone for, if they are all its own; few beside the length of
/// a log.
const WAKE_PERIOD: u64 = 256;

/// The changes of late.
#[derive(Debug)]
pub struct EventLog {
    ring: Mutex<Ring>,
    places: Semaphore,
}

#[derive(Debug)]
struct Ring {
    changes: VecDeque<Event>,
    capacity: usize,
    /// Number of the last change.
    last: u64,
    waiters: Vec<Waiter>,
}

/// A call that waits for changes.
#[derive(Debug)]
struct Waiter {
    session: SessionId,
    news: Arc<Notify>,
}

#[derive(Debug)]
struct Event {
    change: Change,
    /// Who knows of it already; 0 if nobody does.
    known_to: SessionId,
}

impl Event {
    /// Whether a session, 0 for all, has to be told.
    fn concerns(&self, session: SessionId) -> bool {
        session == 0 || self.known_to != session
    }
}

impl EventLog {
    /// An empty log that keeps `capacity` changes. `now` is the time of day.
    #[must_use]
    pub fn new(capacity: usize, now: Timestamp) -> Self {
        let (changes, last) = (VecDeque::new(), now.0 << COUNTER_BITS);
        let ring = Ring { changes, capacity, last, waiters: Vec::new() };
        Self { ring: Mutex::new(ring), places: Semaphore::new(limits::WAITERS_MAX) }
    }

    /// The number of the last change.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.ring().last
    }

    /// Tells everybody of changes, each with the session that need not be told (0 if there is
    /// none).
    pub fn publish(&self, changes: impl IntoIterator<Item = (Change, SessionId)>) {
        let mut ring = self.ring();
        let before = ring.last;
        for (change, known_to) in changes {
            ring.push(Event { change, known_to });
        }
        ring.wake(before);
    }

    /// What changed behind `after`, for a session, or all with 0; waits up to `wait` until there is something.
    /// Answers at once if too many are waiting.
    pub async fn wait(&self, session: SessionId, after: u64, wait: Duration) -> Events {
        let deadline = tokio::time::Instant::now() + wait.min(limits::WAIT_MAX);
        let permit = self.places.try_acquire();
        let waiting = Waiting::begin(self, session);
        let mut after = after;
        loop {
            let events = self.ring().behind(after, session);
            if !events.changes.is_empty() || events.is_overflow || permit.is_err() {
                return events;
            }
            after = events.last_event;
            // What was published since the look has left its mark in `news`.
            if tokio::time::timeout_at(deadline, waiting.news.notified()).await.is_err() {
                return Events { last_event: after, ..Events::default() };
            }
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A [`Waiter`] in the ring, until this is dropped.
struct Waiting<'a> {
    log: &'a EventLog,
    news: Arc<Notify>,
}

impl<'a> Waiting<'a> {
    fn begin(log: &'a EventLog, session: SessionId) -> Self {
        let news = Arc::new(Notify::new());
        log.ring().waiters.push(Waiter { session, news: Arc::clone(&news) });
        Self { log, news }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.log.ring().waiters.retain(|waiter| !Arc::ptr_eq(&waiter.news, &self.news));
    }
}

impl Ring {
    /// Wakes those who have to be told of what came behind a number. A session is not woken for what
    /// it did itself, which would cost more than doing it; only now and then, lest it seem to be
    /// too far behind.
    fn wake(&self, before: u64) {
        let is_time = before / WAKE_PERIOD != self.last / WAKE_PERIOD;
        let new = usize::try_from(self.last - before).unwrap_or(usize::MAX);
        let first = self.changes.len().saturating_sub(new);
        for Waiter { session, news } in &self.waiters {
            let mut changes = self.changes.range(first..);
            if is_time || changes.any(|event| event.concerns(*session)) {
                news.notify_one();
            }
        }
    }

    fn push(&mut self, event: Event) {
        if self.changes.len() == self.capacity {
            self.changes.pop_front();
        }
        self.changes.push_back(event);
        self.last += 1;
    }

    /// What a session has to be told behind a number, oldest first, bounded.
    fn behind(&self, after: u64, session: SessionId) -> Events {
        let kept = self.changes.len() as u64;
        let missing = self.last.checked_sub(after).filter(|missing| *missing <= kept);
        // A number that was never given is one of another master's: nothing is known about it.
        let Some(missing) = missing else {
            return Events { last_event: self.last, is_overflow: true, changes: Vec::new() };
        };
        let mut events = Events { last_event: after, ..Events::default() };
        let first = usize::try_from(kept - missing).expect("it is at most the length of the ring");
        for event in self.changes.range(first..) {
            if events.changes.len() == limits::EVENTS_PAGE_MAX {
                break;
            }
            events.last_event += 1;
            if event.concerns(session) {
                events.changes.push(event.change.clone());
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::task::JoinHandle;

    use super::{EventLog, Events};
    use crate::clock::Timestamp;
    use crate::limits;
    use crate::types::{Change, Ino};

    const LONG: Duration = Duration::from_secs(10);

    fn change(number: u64) -> Change {
        Change::Attributes(Ino(number))
    }

    /// A session that waits for what comes from now on.
    fn wait_of_session_7(log: &Arc<EventLog>) -> JoinHandle<Events> {
        let (log, start) = (Arc::clone(log), log.last());
        tokio::spawn(async move { log.wait(7, start, LONG).await })
    }

    #[tokio::test]
    async fn a_session_is_told_what_others_did() {
        let log = EventLog::new(10, Timestamp(5));
        let start = log.last();
        log.publish([(change(1), 7), (change(2), 8), (change(3), 0)]);
        let events = log.wait(7, start, LONG).await;
        assert_eq!(events.changes, [change(2), change(3)]);
        assert_eq!(events.last_event, log.last());
        assert!(!events.is_overflow);
        let events = log.wait(7, events.last_event, Duration::ZERO).await;
        assert!(events.changes.is_empty() && events.last_event == log.last());
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_the_changes_of_others_only() {
        let log = Arc::new(EventLog::new(10, Timestamp(5)));
        let start = log.last();
        let waiting = wait_of_session_7(&log);
        tokio::task::yield_now().await;
        log.publish([(change(1), 7)]);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        log.publish([(change(2), 8)]);
        let events = waiting.await.unwrap();
        assert_eq!(events.changes, [change(2)]);
        assert_eq!(events.last_event, start + 2);
    }

    #[tokio::test]
    async fn who_waits_is_never_left_behind_by_its_own_changes() {
        let log = Arc::new(EventLog::new(1000, Timestamp(5)));
        let waiting = wait_of_session_7(&log);
        for number in 0..5000 {
            log.publish([(change(number), 7)]);
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished());
        log.publish([(change(5000), 8)]);
        let events = waiting.await.unwrap();
        assert_eq!((events.changes, events.is_overflow), (vec![change(5000)], false));
        assert!(log.ring().waiters.is_empty());
    }

    #[tokio::test]
    async fn who_is_too_far_behind_is_told_so() {
        let log = EventLog::new(2, Timestamp(5));
        let start = log.last();
        log.publish([(change(1), 0), (change(2), 0)]);
        assert_eq!(log.wait(7, start, LONG).await.changes.len(), 2);
        log.publish([(change(3), 0)]);
        let events = log.wait(7, start, LONG).await;
        assert!(events.is_overflow && events.last_event == log.last());
        let ahead = log.wait(7, log.last() + 1, LONG).await;
        assert!(ahead.is_overflow, "the number is not one of this log");
        let later = EventLog::new(2, Timestamp(6));
        assert!(later.wait(7, log.last(), LONG).await.is_overflow);
    }

    #[tokio::test]
    async fn long_lists_come_in_pages() {
        let log = EventLog::new(limits::EVENTS_MAX, Timestamp(5));
        let start = log.last();
        let many = limits::EVENTS_PAGE_MAX as u64 + 1;
        log.publish((0..many).map(|number| (change(number), 0)));
        let first = log.wait(7, start, LONG).await;
        assert_eq!(first.changes.len(), limits::EVENTS_PAGE_MAX);
        let rest = log.wait(7, first.last_event, LONG).await;
        assert_eq!(rest.changes, [change(many - 1)]);
    }
}
