//! Calls to servers, over pooled connections.

mod attempt;
mod connector;

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use dxr::Value;

use crate::error::{ErrorKind, FsError};
use crate::limits;
use crate::rpc::client::attempt::{Failure, Sender};
use crate::rpc::fault::Fault;
use crate::rpc::method::{Answer as _, Method};
use crate::rpc::registry::ListMethods;
use crate::rpc::shards::{self, Shard};
use crate::rpc::tls::Trust;
use crate::rpc::wire::Message;

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
        /// What stood in the way.
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
    #[error("{server} did not answer within {timeout:?}")]
    TimedOut {
        /// The server's URL.
        server: String,
        /// The deadline.
        timeout: Duration,
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
            CallError::TimedOut { .. } => ErrorKind::TimedOut,
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
}

impl RpcClient {
    /// A client that trusts `trust` and gives every call at most `timeout`, attempts included.
    #[must_use]
    pub fn new(trust: Trust, timeout: Duration) -> Self {
        let senders = (0..=Shard::count()).map(|_| Sender::new(&trust)).collect();
        Self { senders, timeout }
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
        let attempts = self.attempts::<M>(url, &message);
        let value = tokio::time::timeout(self.timeout, attempts).await.unwrap_or_else(|_| {
            Err(CallError::TimedOut { server: attempt::shown(url), timeout: self.timeout })
        })?;
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

    /// Tries until there is an answer or nothing more may be tried.
    async fn attempts<M: Method>(&self, url: &str, message: &Message) -> Result<Value, CallError> {
        let mut attempt = 1;
        loop {
            let failure = match self.sender().attempt(url, message).await {
                Ok(outcome) => return Ok(outcome?),
                Err(failure) => failure,
            };
            let may_repeat = match failure {
                Failure::NotSent { .. } => true,
                Failure::Lost { .. } => M::REPEATABLE,
                Failure::Refused { .. }
                | Failure::Senseless { .. }
                | Failure::Unsendable { .. } => false,
            };
            if !may_repeat || attempt == limits::CALL_ATTEMPTS_MAX {
                return Err(failure.into_error(url, M::NAME));
            }
            tracing::debug!(url, attempt, "trying again: {failure:?}");
            tokio::time::sleep(pause(attempt)).await;
            attempt += 1;
        }
    }
}

impl fmt::Debug for RpcClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcClient").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// The time to wait after a failed attempt: four times longer each time, and up to half of that
/// more by chance, so that many clients do not come back at once.
fn pause(attempt: u32) -> Duration {
    const PAUSE_FIRST_MS: u64 = 20;
    let base_ms = PAUSE_FIRST_MS << (2 * (attempt - 1).min(8));
    let chance = RandomState::new().hash_one(attempt);
    Duration::from_millis(base_ms + chance % (base_ms / 2))
}
