//! The connections that wait for their peer's next request. They may wait for ever, but the one
//! that has waited longest makes room for a new one when there are too many.
//!
//! A server that closed them after a time would break clients: `xmlrpc.client` of Python 3.10 to
//! 3.12 takes a connection that was closed while it was idle for a failure of its next call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// All idle connections of a server, the one that is idle for longest first.
#[derive(Default)]
pub(super) struct IdleConnections {
    queue: Mutex<Queue>,
    /// Somebody has become idle.
    joined: Notify,
}

#[derive(Default)]
struct Queue {
    next: u64,
    waiting: BTreeMap<u64, CancellationToken>,
}

/// The place of one connection, which is idle at first.
pub(super) struct IdlePlace {
    all: Arc<IdleConnections>,
    /// Its number in the queue while it is idle.
    number: Mutex<Option<u64>>,
    /// It is wanted for another connection.
    close: CancellationToken,
}

impl IdleConnections {
    /// A place for a new connection.
    pub(super) fn enter(self: &Arc<Self>) -> IdlePlace {
        let all = Arc::clone(self);
        let place = IdlePlace { all, number: Mutex::new(None), close: CancellationToken::new() };
        place.begin();
        place
    }

    /// Closes the connection that is idle for longest, as soon as there is one.
    pub(super) async fn close_longest(&self) {
        loop {
            let joined = self.joined.notified();
            if let Some((_, close)) = lock(&self.queue).waiting.pop_first() {
                return close.cancel();
            }
            joined.await;
        }
    }
}

impl IdlePlace {
    /// The connection waits for a request from now on.
    pub(super) fn begin(&self) {
        let mut queue = lock(&self.all.queue);
        let number = queue.next;
        queue.next += 1;
        queue.waiting.insert(number, self.close.clone());
        *lock(&self.number) = Some(number);
        drop(queue);
        self.all.joined.notify_waiters();
    }

    /// A request has come.
    pub(super) fn end(&self) {
        let mut queue = lock(&self.all.queue);
        if let Some(number) = lock(&self.number).take() {
            queue.waiting.remove(&number);
        }
    }

    /// Returns when the connection has to make room for another.
    pub(super) async fn closed(&self) {
        self.close.cancelled().await;
    }
}

impl Drop for IdlePlace {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic leaves no half-made change behind: the queue changes in single steps.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
