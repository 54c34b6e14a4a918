//! Calls to servers, over pooled connections.

use std::time::Duration;

use crate::error::{ErrorKind, FsError};
use crate::rpc::fault::Fault;
use crate::rpc::method::Method;
use crate::rpc::tls::Trust;

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
}

impl From<CallError> for FsError {
    fn from(error: CallError) -> Self {
        let kind = match error {
            CallError::Fault(fault) => return fault.into(),
            CallError::Unreachable { .. } => ErrorKind::Unreachable,
            CallError::TimedOut { .. } => ErrorKind::TimedOut,
            CallError::Protocol { .. } => ErrorKind::Protocol,
        };
        Self::new(kind, error.to_string())
    }
}

/// Calls methods of any number of servers. Cheap to clone; clones share the connections.
#[derive(Clone, Debug)]
pub struct RpcClient {}

impl RpcClient {
    /// A client that trusts `trust` and gives every call at most `timeout`, attempts included.
    #[must_use]
    pub fn new(_trust: Trust, _timeout: Duration) -> Self {
        Self {}
    }

    /// Calls a method of the server at `url` (`https://host:port`).
    ///
    /// # Errors
    /// [`CallError`]; after `Unreachable` the call was certainly not carried out.
    pub async fn call<M: Method>(&self, url: &str, _call: M) -> Result<M::Answer, CallError> {
        Err(CallError::Unreachable { server: url.to_owned(), reason: "not built yet".to_owned() })
    }
}
