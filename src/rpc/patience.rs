//! How long the calls of a task may take, together, and whether they wait for servers that are not
//! there. Whoever waits for the work says so once, and it holds for every call that the work makes.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

tokio::task_local! {
    static PATIENCE: Patience;
}

/// Time between two looks for a server that is not where it was.
const PAUSE: Duration = Duration::from_millis(200);

/// The patience of whoever waits. The default is that of work that nobody waits for, or that has its
/// own way to begin again: a call has the whole timeout of its client, and some attempts.
#[derive(Clone, Debug, Default)]
pub struct Patience {
    /// When all calls end; each has the timeout of its client if `None`.
    end: Option<Instant>,
    /// Somebody waits for the work.
    is_awaited: bool,
    /// A call waits for a server that is not there.
    waits: bool,
    given_up: Option<CancellationToken>,
}

impl Patience {
    /// Each call has the timeout of its client, and waits for a server that is not there.
    #[must_use]
    pub fn for_each_call() -> Self {
        Self { is_awaited: true, waits: true, ..Self::default() }
    }

    /// All calls end at a moment, and wait until then for a server that is not there.
    #[must_use]
    pub fn until(moment: Instant) -> Self {
        Self { end: Some(moment), ..Self::for_each_call() }
    }

    /// The same, but calls end as well when the token is cancelled.
    #[must_use]
    pub fn unless(self, given_up: CancellationToken) -> Self {
        Self { given_up: Some(given_up), ..self }
    }

    /// The same, for whoever has somebody else to ask if a server is not there.
    #[must_use]
    pub fn with_alternatives(self) -> Self {
        Self { waits: false, ..self }
    }

    /// That of the task that asks.
    #[must_use]
    pub fn current() -> Self {
        PATIENCE.try_with(Self::clone).unwrap_or_default()
    }

    /// Does work with this patience.
    pub fn scope<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        PATIENCE.scope(self, work)
    }

    /// Waits a moment before another server is looked for. False if there is no time for that.
    pub async fn pause(&self) -> bool {
        let is_over = |end: Instant| Instant::now() + PAUSE >= end;
        if !self.waits || self.end.is_some_and(is_over) {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => true,
            () = self.given_up() => false,
        }
    }

    /// The same, begun now, where each call has `timeout`; for ever if `None`.
    pub(super) fn begun(self, timeout: Option<Duration>) -> Self {
        Self { end: self.deadline(timeout), ..self }
    }

    /// Whether somebody waits for the work.
    pub(super) fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// Whether a call waits for a server that is not there.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// When a call ends that begins now, at a client with this timeout, if it has one.
    pub(super) fn deadline(&self, timeout: Option<Duration>) -> Option<Instant> {
        self.end.or_else(|| timeout.map(|timeout| Instant::now() + timeout))
    }

    /// Returns when nobody waits any more.
    pub(super) async fn given_up(&self) {
        match &self.given_up {
            Some(given_up) => given_up.cancelled().await,
            None => std::future::pending().await,
        }
    }
}

/// Carries the patience of the calling task over to a task that does a part of its work.
pub fn inherited<F: Future>(work: F) -> impl Future<Output = F::Output> {
    Patience::current().scope(work)
}
