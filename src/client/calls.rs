//! How the client calls servers: over the network, or inside the process in tests.

use std::future::Future;
use std::time::Instant;

use crate::rpc::patience::Patience;
use crate::rpc::{CallError, Method, RpcClient};

/// Something that carries calls to servers. Clones share what is behind them.
pub trait Calls: Clone + Send + Sync + 'static {
    /// Calls a method of the server at `url`.
    fn call<M: Method>(
        &self,
        url: &str,
        call: M,
    ) -> impl Future<Output = Result<M::Answer, CallError>> + Send;

    /// When a call ends that begins now and has this patience; `None` if it may go on for ever.
    fn end_of(&self, patience: &Patience) -> Option<Instant>;
}

impl Calls for RpcClient {
    fn call<M: Method>(
        &self,
        url: &str,
        call: M,
    ) -> impl Future<Output = Result<M::Answer, CallError>> + Send {
        Self::call(self, url, call)
    }

    fn end_of(&self, patience: &Patience) -> Option<Instant> {
        Self::end_of(self, patience)
    }
}
