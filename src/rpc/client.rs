//! Calls to servers, over pooled connections.

mod attempt;
mod connector;

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dxr::Value;

use crate::error::{ErrorKind, FsError};
use crate::limits;
use crate::rpc::client::attempt::{Failure, Sender};
use crate::rpc::fault::Fault;
use crate::rpc::method::{Answer as _, Method};
use crate::rpc::patience::Patience;
use crate::rpc::registry::ListMethods;
use crate::rpc::shards::{self, Shard};
use crate::rpc::tls::Trust;
use crate::rpc::wire::Message;

/// What stands between a caller and a server that cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barrier {
    /// There is no connection: nobody is there, or the network fails.
    NoConnection,
    /// There is no TLS connection: the server's certificate is not accepted, or it speaks no TLS.
    Tls,
    /// Another server is there than the one that is meant.
    OtherServer,
    /// The server has too much to do.
    Overload,
    /// The URL cannot be used.
    Url,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server answered with a fault.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// No connection could be made, or its certificate was refused.
    #[error("cannot reach {server}: {reason}")]
    Unreachable {
        /// The server's URL.
        server: String,
        /// What kind of thing stood in the way.
        barrier: Barrier,
        /// What it was, for people.
        reason: String,
    },
    /// The connection broke before the answer; nobody knows whether the call was carried out.
    #[error("the connection to {server} broke before the answer: {reason}")]
    Lost {
        /// The server's URL.
        server: String,
        /// How it broke.
        reason: String,
    },
    /// The deadline passed.
    #[error("{server} did not answer within {}", rounded(*timeout))]
    TimedOut {
        /// The server's URL.
        server: String,
        /// The deadline.
        timeout: Duration,
    },
    /// Nobody waits for the answer any more; nobody knows whether the call was carried out.
    #[error("{server} had not answered when the caller was killed")]
    GivenUp {
        /// The server's URL.
        server: String,
    },
    /// The answer is not one.
    #[error("{server} gave an answer that makes no sense: {reason}")]
    Protocol {
        /// The server's URL.
        server: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The parameters cannot be sent; no server was asked.
    #[error("the call of {method} cannot be sent: {reason}")]
    Unsendable {
        /// The method's name.
        method: &'static str,
        /// What is wrong with them.
        reason: String,
    },
}

impl From<CallError> for FsError {
    fn from(error: CallError) -> Self {
        let kind = match error {
            CallError::Fault(fault) => return fault.into(),
            CallError::Unreachable { .. } => ErrorKind::Unreachable,
            CallError::Lost { .. } => ErrorKind::Io,
            CallError::TimedOut { .. } | CallError::GivenUp { .. } => ErrorKind::TimedOut,
            CallError::Protocol { .. } => ErrorKind::Protocol,
            CallError::Unsendable { .. } => ErrorKind::InvalidArgument,
        };
        Self::new(kind, error.to_string())
    }
}

/// Calls methods of any number of servers. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct RpcClient {
    /// One for each shard, and the last for all other threads: a connection is driven by the runtime
    /// that made it.
    senders: Arc<[Sender]>,
    timeout: Duration,
    is_hard: bool,
}

impl RpcClient {
    /// A client that trusts `trust` and gives every call at most `timeout`, attempts included, unless
    /// the [`Patience`] of whoever calls says otherwise.
    #[must_use]
    pub fn new(trust: Trust, timeout: Duration) -> Self {
        let senders = (0..=Shard::count()).map(|_| Sender::new(&trust)).collect();
        Self { senders, timeout, is_hard: false }
    }

    /// The same client, but calls that wait for a server that is not there do so for ever. One of which
    /// the answer was lost is only repeated if that is harmless, as ever.
    #[must_use]
    pub fn hard(self) -> Self {
        Self { is_hard: true, ..self }
    }

    /// The patience of whoever calls this, from now on, for several calls together.
    #[must_use]
    pub fn patience(&self) -> Patience {
        let patience = Patience::current();
        let limit = self.limit(&patience);
        patience.begun(limit)
    }

    fn limit(&self, patience: &Patience) -> Option<Duration> {
        (!(self.is_hard && patience.is_awaited())).then_some(self.timeout)
    }

    /// Calls a method of the server at `url` (`https://host:port`, perhaps with `#` and the identity
    /// of the server that is meant behind it: another one there refuses the call).
    ///
    /// # Errors
    /// [`CallError`]; after `Unreachable` and `Unsendable` the call was certainly not carried
    /// out.
    pub async fn call<M: Method>(&self, url: &str, mut call: M) -> Result<M::Answer, CallError> {
        let contents = call.take_contents();
        let message = Message::call_with(M::NAME, call.into_params(), contents);
        let message = message.map_err(|error| CallError::Unsendable {
            method: M::NAME,
            reason: error.to_string(),
        })?;
        shards::at_home().await;
        // It is big, and would be a part of every future above it.
        let value = Box::pin(self.in_time::<M>(url, &message)).await?;
        M::Answer::from_value(value).map_err(|error| CallError::Protocol {
            server: attempt::shown(url),
            reason: error.to_string(),
        })
    }

    /// The names of the methods that the server at `url` offers.
    ///
    /// # Errors
    /// As [`Self::call`]; a server without introspection answers with a fault.
    pub async fn methods(&self, url: &str) -> Result<BTreeSet<String>, CallError> {
        self.call(url, ListMethods).await
    }

    /// Connects to the server at `url` from every shard, so that the first calls do not wait for that.
    pub async fn warm_up(&self, url: &str) {
        let connecting: Vec<_> = Shard::all()
            .map(|shard| {
                let (client, url) = (self.clone(), url.to_owned());
                shard.runtime().spawn(async move { client.methods(&url).await.map(drop) })
            })
            .collect();
        for connected in connecting {
            if let Ok(Err(error)) = connected.await {
                tracing::debug!(url, "no connection ahead: {error}");
            }
        }
    }

    fn sender(&self) -> &Sender {
        let shared = self.senders.len() - 1;
        &self.senders[Shard::current().map_or(shared, Shard::number).min(shared)]
    }

    /// Tries until there is an answer, nothing more may be tried, or it is over.
    async fn in_time<M: Method>(&self, url: &str, message: &Message) -> Result<Value, CallError> {
        let (begin, patience) = (Instant::now(), Patience::current());
        let deadline = patience.deadline(self.limit(&patience));
        tokio::select! {
            biased;
            outcome = self.attempts::<M>(url, message, patience.waits(), deadline) => outcome,
            deadline = over(deadline) => Err(CallError::TimedOut {
                server: attempt::shown(url),
                timeout: deadline.saturating_duration_since(begin),
            }),
            () = patience.given_up() => Err(CallError::GivenUp { server: attempt::shown(url) }),
        }
    }

    /// A failed attempt is followed by another one as long as that may help: some, or until the
    /// deadline if the caller waits for a server that is not there.
    async fn attempts<M: Method>(
        &self,
        url: &str,
        message: &Message,
        waits: bool,
        deadline: Option<Instant>,
    ) -> Result<Value, CallError> {
        let mut attempt = 1;
        loop {
            let failure = match self.attempt::<M>(url, message, deadline).await {
                Ok(Err(fault)) if waits && is_of_another_server(&fault) => Failed::There(fault),
                Ok(outcome) => return Ok(outcome?),
                Err(failure) if may_repeat::<M>(&failure) => Failed::Here(failure),
                Err(failure) => return Err(failure.into_error(url, M::NAME)),
            };
            let pause = pause(attempt);
            let is_last = match waits {
                true => deadline.is_some_and(|deadline| Instant::now() + pause >= deadline),
                // Only who cannot be reached is not waited for.
                false if deadline.is_none() && failure.is_lost() => false,
                false => attempt == limits::CALL_ATTEMPTS_MAX,
            };
            if is_last {
                return Err(match failure {
                    Failed::Here(failure) => failure.into_error(url, M::NAME),
                    Failed::There(fault) => fault.into(),
                });
            }
            tracing::debug!(url, attempt, "trying again: {failure:?}");
            tokio::time::sleep(pause).await;
            attempt = attempt.saturating_add(1);
        }
    }

    /// One attempt. Where nothing else limits it, one that may be repeated takes no longer than the
    /// timeout of the client: the peer may have gone without a word.
    async fn attempt<M: Method>(
        &self,
        url: &str,
        message: &Message,
        deadline: Option<Instant>,
    ) -> Result<Result<Value, Fault>, Failure> {
        let is_unlimited = deadline.is_none() && M::REPEATABLE;
        let end = is_unlimited.then(|| Instant::now() + self.timeout);
        tokio::select! {
            biased;
            outcome = self.sender().attempt(url, message) => outcome,
            _ = over(end) => {
                Err(Failure::Lost { reason: format!("no answer within {:?}", self.timeout) })
            }
        }
    }
}

/// A time for people, rounded up: the same words for what took as good as the same time.
fn rounded(time: Duration) -> String {
    let tenths = time.as_millis().div_ceil(100);
    match tenths {
        0..100 => format!("{}.{} s", tenths / 10, tenths % 10),
        _ => format!("{} s", tenths.div_ceil(10)),
    }
}

/// Returns a moment when it has come.
async fn over(moment: Option<Instant>) -> Instant {
    let Some(moment) = moment else { return std::future::pending().await };
    tokio::time::sleep_until(moment.into()).await;
    moment
}

/// Why an attempt is repeated.
#[derive(Debug)]
enum Failed {
    /// The server could not be asked, or did not answer.
    Here(Failure),
    /// It could not, because of a third one.
    There(Fault),
}

impl Failed {
    fn is_lost(&self) -> bool {
        matches!(self, Self::Here(Failure::Lost { .. }))
    }
}

/// Whether a server did not do what was asked because it cannot reach another one that it needs.
fn is_of_another_server(fault: &Fault) -> bool {
    fault.code == ErrorKind::Unreachable.errno()
}

fn may_repeat<M: Method>(failure: &Failure) -> bool {
    match failure {
        Failure::NotSent { .. } => true,
        Failure::Lost { .. } => M::REPEATABLE,
        Failure::Refused { .. } | Failure::Senseless { .. } | Failure::Unsendable { .. } => false,
    }
}

impl fmt::Debug for RpcClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcClient").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// The time to wait after a failed attempt: four times longer each time, up to a limit, and up to
/// half of that more by chance, so that many clients do not come back at once.
fn pause(attempt: u32) -> Duration {
    const PAUSE_FIRST_MS: u64 = 20;
    const PAUSE_MAX_MS: u64 = 320;
    let base_ms = (PAUSE_FIRST_MS << (2 * (attempt - 1).min(8))).min(PAUSE_MAX_MS);
    let chance = RandomState::new().hash_one(attempt);
    Duration::from_millis(base_ms + chance % (base_ms / 2))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::CallError;

    #[test]
    fn calls_that_took_as_good_as_the_same_time_failed_with_the_same_words() {
        let told = |seconds: f64| {
            let timeout = Duration::from_secs_f64(seconds);
            CallError::TimedOut { server: "S".to_owned(), timeout }.to_string()
        };
        assert_eq!(told(3.519_873_412), "S did not answer within 3.6 s");
        assert_eq!(told(3.519_873_412), told(3.518_000_001));
        assert_eq!(told(29.391_2), "S did not answer within 30 s");
        assert_eq!(told(0.001), "S did not answer within 0.1 s");
    }
}
