//! A server with a few methods, and the ways to speak to it, for the tests of the RPC layer.

#![allow(dead_code, reason = "every test file uses a part of this")]

pub(crate) mod raw;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use htfs::error::{ErrorKind, FsError};
use htfs::rpc::server::{ServerLimits, serve_within};
use htfs::rpc::tls::{Identity, Trust};
use htfs::rpc::{Answer, Method, Params, Registry, RpcClient, Value, WrongType};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest time for anything in these tests; reaching it means that something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The answer of a method that answers with what it was given.
pub(crate) struct Echoed(pub(crate) Value);

impl Answer for Echoed {
    fn into_value(self) -> Value {
        self.0
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        Ok(Self(value))
    }
}

macro_rules! method {
    ($(#[$doc:meta])* $method:ident, $name:literal, $repeatable:literal) => {
        $(#[$doc])*
        pub(crate) struct $method(pub(crate) Value);

        impl Method for $method {
            const NAME: &'static str = $name;
            const HELP: &'static str = concat!($name, "(value): for tests.");
            const SIGNATURES: &'static [&'static [&'static str]] = &[&["string", "string"]];
            const REPEATABLE: bool = $repeatable;
            type Answer = Echoed;

            fn into_params(self) -> Vec<Value> {
                vec![self.0]
            }

            fn from_params(mut params: Params) -> Result<Self, WrongType> {
                let value = params.take("value", Ok)?;
                params.finish()?;
                Ok(Self(value))
            }
        }
    };
}

method! {
    /// Answers with its parameter.
    Echo, "echo", true
}
method! {
    /// Panics.
    Panic, "panic", true
}
method! {
    /// Fails as a disk does.
    Fail, "fail", true
}
method! {
    /// Answers when the test lets it.
    Wait, "wait", false
}

/// Answers with so many bytes.
pub(crate) struct Fill(pub(crate) usize);

impl Method for Fill {
    const NAME: &'static str = "fill";
    const HELP: &'static str = "fill(size): for tests.";
    const SIGNATURES: &'static [&'static [&'static str]] = &[&["base64", "int"]];
    const REPEATABLE: bool = true;
    type Answer = Echoed;

    fn answer_size_max(&self) -> u64 {
        self.0 as u64
    }

    fn into_params(self) -> Vec<Value> {
        vec![Value::Integer(self.0.try_into().expect("small"))]
    }

    fn from_params(mut params: Params) -> Result<Self, WrongType> {
        let size = params.take("size", |value| match value {
            Value::Integer(size) => Ok(size.try_into().expect("positive")),
            _ => Err(WrongType::new("expected int")),
        })?;
        params.finish()?;
        Ok(Self(size))
    }
}

/// The directory of this test, with a pair of keys in it.
pub(crate) struct Keys {
    directory: tempfile::TempDir,
}

impl Keys {
    /// A new pair, made by the script that users run.
    pub(crate) fn generate() -> Self {
        let keys = Self { directory: tempfile::tempdir().expect("a temporary directory") };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("openssl-gen.sh");
        let output =
            Command::new(script).arg("--dir").arg(keys.directory.path()).output().expect("bash");
        assert!(output.status.success(), "{output:?}");
        keys
    }

    /// A directory that has a pair already.
    pub(crate) fn from(directory: tempfile::TempDir) -> Self {
        Self { directory }
    }

    /// The certificate's file.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.directory.path().join("cacert.pem")
    }

    /// The private key's file.
    pub(crate) fn key(&self) -> PathBuf {
        self.directory.path().join("privkey.pem")
    }
}

/// A running server.
pub(crate) struct TestServer {
    /// Its URL.
    pub(crate) url: String,
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
    /// Its keys.
    pub(crate) keys: Keys,
    /// One permit lets one call of [`Wait`] end.
    pub(crate) waiting: Arc<Semaphore>,
    /// Names of the methods that were begun.
    pub(crate) begun: Arc<Mutex<Vec<&'static str>>>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl TestServer {
    /// Starts a server with the default limits.
    pub(crate) async fn start() -> Self {
        Self::start_within(ServerLimits::default()).await
    }

    /// Starts a server with keys of its own.
    pub(crate) async fn start_with_keys(keys: Keys) -> Self {
        Self::start_with(ServerLimits::default(), keys).await
    }

    /// Starts a server with limits of its own.
    pub(crate) async fn start_within(limits: ServerLimits) -> Self {
        Self::start_with(limits, Keys::generate()).await
    }

    async fn start_with(limits: ServerLimits, keys: Keys) -> Self {
        let identity = Identity::load(&keys.certificate(), &keys.key()).expect("good keys");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let shutdown = CancellationToken::new();
        let waiting = Arc::new(Semaphore::new(0));
        let begun = Arc::default();
        let registry = Arc::new(registry(&waiting, &begun));
        let serving = serve_within(limits, vec![listener], identity, registry, shutdown.clone());
        let task = tokio::spawn(serving);
        let url = format!("https://localhost:{port}");
        Self { url, port, keys, waiting, begun, shutdown, task }
    }

    /// A client that trusts the server.
    pub(crate) fn client(&self) -> RpcClient {
        RpcClient::new(Trust::load(&self.keys.certificate()).expect("a certificate"), PATIENCE)
    }

    /// Waits until a call of the method is under way.
    pub(crate) async fn has_begun(&self, method: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !self.begun.lock().expect("no panics").contains(&method) {
            assert!(tokio::time::Instant::now() < deadline, "{method} was not called");
            tokio::task::yield_now().await;
        }
    }

    /// Tells the server to stop.
    pub(crate) fn begin_shutdown(&self) {
        self.shutdown.cancel();
    }

    /// Stops the server, and waits until it has.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it hangs").expect("it panicked");
    }
}

fn registry(waiting: &Arc<Semaphore>, begun: &Arc<Mutex<Vec<&'static str>>>) -> Registry {
    let mut registry = Registry::default();
    registry.add(|call: Echo, _| async move { Ok(Echoed(call.0)) });
    registry.add(|_: Panic, _| async { panic!("as the test wishes") });
    registry.add(|_: Fail, _| async { Err(FsError::new(ErrorKind::NoSpace, "no room")) });
    let fills = Arc::clone(begun);
    registry.add(move |call: Fill, _| {
        fills.lock().expect("no panics").push(Fill::NAME);
        async move { Ok(Echoed(Value::Base64(vec![7; call.0]))) }
    });
    let (waiting, begun) = (Arc::clone(waiting), Arc::clone(begun));
    registry.add(move |call: Wait, _| {
        let waiting = Arc::clone(&waiting);
        begun.lock().expect("no panics").push(Wait::NAME);
        async move {
            waiting.acquire().await.expect("open").forget();
            Ok(Echoed(call.0))
        }
    });
    registry
}
