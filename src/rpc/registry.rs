//! The methods a server offers: one table that dispatches calls and answers the introspection
//! methods.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use dxr::Value;

use crate::error::FsError;
use crate::rpc::fault::Fault;
use crate::rpc::method::{Answer, Method, Params};

/// The connection through which a call came. All calls of one connection share it.
#[derive(Clone, Debug, Default)]
pub struct Caller(Arc<()>);

impl Caller {
    /// Something to recognise the caller by, which ends when its connection is closed.
    #[must_use]
    pub fn token(&self) -> Weak<()> {
        Arc::downgrade(&self.0)
    }
}

type Reply = Pin<Box<dyn Future<Output = Result<Value, Fault>> + Send>>;

struct Entry {
    #[expect(dead_code, reason = "introspection follows")]
    help: &'static str,
    handler: Box<dyn Fn(Params, Caller) -> Reply + Send + Sync>,
}

/// The table of methods.
#[derive(Default)]
pub struct Registry {
    methods: BTreeMap<&'static str, Entry>,
}

impl Registry {
    /// Offers method `M`, answered by `handler`.
    pub fn add<M, H, F>(&mut self, handler: H)
    where
        M: Method,
        H: Fn(M, Caller) -> F + Send + Sync + 'static,
        F: Future<Output = Result<M::Answer, FsError>> + Send + 'static,
    {
        let handler = Box::new(move |params, caller| -> Reply {
            match M::from_params(params) {
                Err(wrong) => Box::pin(std::future::ready(Err(wrong.into()))),
                Ok(call) => {
                    let answer = handler(call, caller);
                    Box::pin(async move { Ok(answer.await?.into_value()) })
                }
            }
        });
        self.methods.insert(M::NAME, Entry { help: M::HELP, handler });
    }

    /// Carries out one call.
    ///
    /// # Errors
    /// The fault to answer with.
    pub async fn dispatch(
        &self,
        name: &str,
        params: Vec<Value>,
        caller: Caller,
    ) -> Result<Value, Fault> {
        match self.methods.get(name) {
            Some(entry) => (entry.handler)(Params::new(params), caller).await,
            None => Err(Fault::new(Fault::UNKNOWN_METHOD, format!("no method \"{name}\""))),
        }
    }
}
