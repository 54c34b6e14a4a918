//! How long the calls of a task may take, together, and whether they wait for servers that are not
//! there. Whoever waits for the work says so once, and it holds for every call that the work makes.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

tokio::task_local! {
    static PATIENCE: Patience;
}

/// The patience of whoever waits. The default is that of work that nobody waits for, or that has its
/// own way to begin again: a call has the whole timeout of its client, and some attempts.
#[derive(Clone, Debug, Default)]
pub struct Patience {
    /// When all calls end; each has the timeout of its client if `None`.
    end: Option<Instant>,
    waits: bool,
    given_up: Option<CancellationToken>,
}

impl Patience {
    /// Each call has the timeout of its client, and waits for a server that is not there.
    #[must_use]
    pub fn for_each_call() -> Self {
        Self { end: None, waits: true, given_up: None }
    }

    /// All calls end at a moment, and wait until then for a server that is not there.
    #[must_use]
    pub fn until(moment: Instant) -> Self {
        Self { end: Some(moment), waits: true, given_up: None }
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

    /// The same, but all calls end at a moment, if there is one.
    #[must_use]
    pub fn ending(self, end: Option<Instant>) -> Self {
        Self { end, ..self }
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

    /// Whether a call waits for a server that is not there.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// When a call ends that begins now, at a client with this timeout, if it has one.
    pub(super) fn deadline(&self, timeout: Option<Duration>) -> Option<Instant> {
        self.end.or_else(|| timeout.map(|timeout| Instant::now() + timeout))
    }

    /// Returns when nobody waits any more.
    pub async fn given_up(&self) {
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
