//! Serves a [`Registry`] over HTTP and TLS, within limits, until it is told to stop.

mod answer;
mod connection;
mod idle;
mod memory;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits;
use crate::rpc::registry::Registry;
use crate::rpc::server::idle::IdleConnections;
use crate::rpc::server::memory::Memory;
use crate::rpc::shards;
use crate::rpc::tls::Identity;

/// What one server allows its callers; the default is what [`limits`] says.
#[derive(Clone, Debug)]
pub struct ServerLimits {
    /// Connections at once.
    pub connections: usize,
    /// Largest body, in bytes.
    pub body_size: usize,
    /// Bodies in memory at once, in bytes.
    pub bodies_in_memory: usize,
    /// Longest wait for room for a body.
    pub memory_timeout: Duration,
    /// Longest TLS handshake.
    pub handshake_timeout: Duration,
    /// Longest wait for the first request of a connection; there is none for those that follow.
    pub head_timeout: Duration,
    /// Longest time without a byte inside a body.
    pub stall_timeout: Duration,
    /// Longest time to finish requests when the server stops.
    pub drain_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: limits::CONNECTIONS_MAX,
            body_size: limits::BODY_SIZE_MAX,
            bodies_in_memory: limits::BODIES_IN_MEMORY_MAX,
            memory_timeout: limits::MEMORY_TIMEOUT,
            handshake_timeout: limits::HANDSHAKE_TIMEOUT,
            head_timeout: limits::HEAD_TIMEOUT,
            stall_timeout: limits::STALL_TIMEOUT,
            drain_timeout: limits::DRAIN_TIMEOUT,
        }
    }
}

/// What all connections of a server share.
struct Shared {
    acceptor: TlsAcceptor,
    registry: Arc<Registry>,
    limits: ServerLimits,
    /// Where calls are carried out that may take their time.
    runtime: Handle,
    connections: Arc<Semaphore>,
    /// Those of them that wait for a request.
    idle: Arc<IdleConnections>,
    /// Room for the bodies of requests, and for those of answers.
    requests: Memory,
    answers: Memory,
    /// No new requests.
    shutdown: CancellationToken,
    /// No more patience with those under way.
    cut: CancellationToken,
    tasks: TaskTracker,
}

/// Serves until `shutdown` is cancelled and the requests under way are answered.
pub async fn serve(
    listeners: Vec<TcpListener>,
    identity: Identity,
    registry: Arc<Registry>,
    shutdown: CancellationToken,
) {
    serve_within(ServerLimits::default(), listeners, identity, registry, shutdown).await;
}

/// [`serve`] with limits of its own.
pub async fn serve_within(
    limits: ServerLimits,
    listeners: Vec<TcpListener>,
    identity: Identity,
    registry: Arc<Registry>,
    shutdown: CancellationToken,
) {
    let drain_timeout = limits.drain_timeout;
    let shared = Arc::new(Shared {
        acceptor: TlsAcceptor::from(identity.config()),
        registry,
        connections: Arc::new(Semaphore::new(limits.connections)),
        idle: Arc::default(),
        requests: Memory::new(limits.bodies_in_memory, limits.memory_timeout),
        answers: Memory::new(limits.bodies_in_memory, limits.memory_timeout),
        limits,
        runtime: Handle::current(),
        shutdown,
        cut: CancellationToken::new(),
        tasks: TaskTracker::new(),
    });
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(listener, Arc::clone(&shared)));
    }
    while accepting.join_next().await.is_some() {}
    shared.shutdown.cancelled().await;
    shared.tasks.close();
    if tokio::time::timeout(drain_timeout, shared.tasks.wait()).await.is_err() {
        tracing::warn!(
            "{} connections were cut: their requests took more than {drain_timeout:?}",
            shared.tasks.len()
        );
        shared.cut.cancel();
        shared.tasks.wait().await;
    }
}

/// Accepts connections until the server stops. One over the limit waits for another to end, which
/// the one that is idle for longest is asked to; more of them wait in the kernel, at no cost.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    const PAUSE_FIRST: Duration = Duration::from_millis(10);
    const PAUSE_MAX: Duration = Duration::from_secs(1);
    let mut pause = PAUSE_FIRST;
    loop {
        let next = async {
            let (stream, peer) = listener.accept().await?;
            // A socket belongs to the runtime that registers it: here it is not to be this one.
            let stream = stream.into_std()?;
            io::Result::Ok((stream, peer, permit(&shared).await))
        };
        let accepted = tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return,
            next = next => next,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                pause = PAUSE_FIRST;
                let serving = connection::serve(stream, peer, Arc::clone(&shared));
                shards::spawn(shared.tasks.track_future(async move {
                    serving.await;
                    drop(permit);
                }));
            }
            Err(error) if is_of_one_peer(&error) => {}
            Err(error) => {
                // Out of descriptors or memory: others must let go first.
                tracing::warn!("cannot accept connections: {error}; trying again in {pause:?}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// The right to serve one more connection, for which an idle one has to go if there are too many.
async fn permit(shared: &Shared) -> OwnedSemaphorePermit {
    let acquire = Arc::clone(&shared.connections).acquire_owned();
    let make_room = async {
        // At once if there is room: that is asked for first.
        shared.idle.close_longest().await;
        std::future::pending().await
    };
    tokio::select! {
        biased;
        permit = acquire => permit.expect("nobody closes the semaphore"),
        permit = make_room => permit,
    }
}

/// Whether accepting failed because the peer had gone, which says nothing about the next one.
fn is_of_one_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
