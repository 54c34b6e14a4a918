//! How the client calls servers: over the network, or inside the process in tests.

use std::future::Future;

use crate::rpc::{CallError, Method, Patience, RpcClient};

/// Something that carries calls to servers. Clones share what is behind them.
pub trait Calls: Clone + Send + Sync + 'static {
    /// Calls a method of the server at `url`.
    fn call<M: Method>(
        &self,
        url: &str,
        call: M,
    ) -> impl Future<Output = Result<M::Answer, CallError>> + Send;

    /// How long whoever calls this waits for several calls together, from now on.
    fn patience(&self) -> Patience {
        Patience::current()
    }
}

impl Calls for RpcClient {
    fn call<M: Method>(
        &self,
        url: &str,
        call: M,
    ) -> impl Future<Output = Result<M::Answer, CallError>> + Send {
        Self::call(self, url, call)
    }

    fn patience(&self) -> Patience {
        Self::patience(self)
    }
}
