//! Calls straight at servers, for a look at what they hold.

use std::time::Duration;

use htfs::proto::classic::{Dialect, Get, Put};
use htfs::rpc::tls::Trust;
use htfs::rpc::{CallError, Method, RpcClient};
use htfs::types::{Key, StoredValue, Ttl, ValueKind};
use tokio::runtime::Runtime;

use super::keys;

/// A client of our own making that waits for answers.
pub(crate) struct Rpc {
    runtime: Runtime,
    client: RpcClient,
}

impl Rpc {
    /// A client that trusts the keys of the tests.
    pub(crate) fn new() -> Self {
        Self::with_timeout(Duration::from_secs(20))
    }

    /// The same, with a deadline for every call.
    pub(crate) fn with_timeout(timeout: Duration) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let trust = Trust::load(&keys().certificate).expect("openssl-gen.sh makes good keys");
        Self {
            runtime: runtime.expect("a runtime can be made"),
            client: RpcClient::new(trust, timeout),
        }
    }

    /// Calls a method of a server.
    pub(crate) fn call<M: Method>(&self, url: &str, call: M) -> Result<M::Answer, CallError> {
        self.runtime.block_on(self.client.call(url, call))
    }

    /// The value under a key, if there is one.
    pub(crate) fn get(&self, url: &str, key: &str) -> Result<Option<StoredValue>, CallError> {
        let call = Get { key: key_of(key), dialect: Dialect::String };
        Ok(self.call(url, call)?.map(|entry| entry.value))
    }

    /// Puts text under a key, for a day; `None` deletes.
    pub(crate) fn put(&self, url: &str, key: &str, text: Option<&str>) -> Result<(), CallError> {
        match text {
            Some(text) => self.put_value(url, key, text_value(text)),
            None => self.put_for(url, key, (text_value(""), Ttl::ZERO)),
        }
    }

    /// Puts a value under a key, for a day.
    pub(crate) fn put_value(
        &self,
        url: &str,
        key: &str,
        value: StoredValue,
    ) -> Result<(), CallError> {
        self.put_for(url, key, (value, Ttl::from_s(86_400)))
    }

    fn put_for(
        &self,
        url: &str,
        key: &str,
        (value, ttl): (StoredValue, Ttl),
    ) -> Result<(), CallError> {
        let call = Put { key: key_of(key), dialect: Dialect::String, value, ttl };
        self.call(url, call).map(|_| ())
    }
}

/// Text as a key.
pub(crate) fn key_of(text: &str) -> Key {
    Key::new(text.to_owned()).expect("the keys of the tests are short")
}

/// Text as the value that a server stores.
pub(crate) fn text_value(text: &str) -> StoredValue {
    StoredValue { kind: ValueKind::String, bytes: text.to_owned().into() }
}
