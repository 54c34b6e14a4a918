//! Serves a [`Registry`] over HTTP and TLS, within limits, until it is told to stop.

mod answer;
mod answer_room;
mod connection;
mod memory;
mod pace;
mod place;
mod places;
mod request;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits;
use crate::rpc::peer::Peer;
use crate::rpc::registry::Registry;
use crate::rpc::server::memory::{Bodies, Memory};
use crate::rpc::server::places::{Entry, Places, Taken};
use crate::rpc::shards;
use crate::rpc::tls::Identity;

/// What one server allows its callers; the default is what [`limits`] says.
#[derive(Clone, Debug)]
pub struct ServerLimits {
    /// Connections at once.
    pub connections: usize,
    /// Those of one peer among them.
    pub connections_per_peer: usize,
    /// Largest body, in bytes.
    pub body_size: usize,
    /// Bodies in memory at once, in bytes.
    pub bodies_in_memory: usize,
    /// Those of one peer among them, in bytes.
    pub bodies_per_peer: usize,
    /// Longest wait for room for a body.
    pub memory_timeout: Duration,
    /// Longest TLS handshake.
    pub handshake_timeout: Duration,
    /// Longest wait for the first request of a connection; there is none for those that follow.
    pub head_timeout: Duration,
    /// Longest time without a byte inside a body.
    pub stall_timeout: Duration,
    /// Slowest rate at which a body may arrive for longer than that, in bytes per second.
    pub body_rate: u64,
    /// Longest time to finish requests when the server stops.
    pub drain_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: limits::CONNECTIONS_MAX,
            connections_per_peer: limits::CONNECTIONS_PER_PEER_MAX,
            body_size: limits::BODY_SIZE_MAX,
            bodies_in_memory: limits::BODIES_IN_MEMORY_MAX,
            bodies_per_peer: limits::BODIES_PER_PEER_MAX,
            memory_timeout: limits::MEMORY_TIMEOUT,
            handshake_timeout: limits::HANDSHAKE_TIMEOUT,
            head_timeout: limits::HEAD_TIMEOUT,
            stall_timeout: limits::STALL_TIMEOUT,
            body_rate: limits::BODY_RATE_MIN,
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
    places: Arc<Places>,
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
        places: Places::new(&limits),
        requests: Memory::new(Bodies::Requests, limits.bodies_in_memory, limits.memory_timeout),
        answers: Memory::new(Bodies::Answers, limits.bodies_in_memory, limits.memory_timeout),
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

/// Accepts connections until the server stops. One over a limit waits for a place, and nobody behind
/// it does.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    const PAUSE_FIRST: Duration = Duration::from_millis(10);
    const PAUSE_MAX: Duration = Duration::from_secs(1);
    let mut pause = PAUSE_FIRST;
    loop {
        let next = async {
            let (stream, address) = listener.accept().await?;
            // A socket belongs to the runtime that registers it: here it is not to be this one.
            io::Result::Ok((stream.into_std()?, address))
        };
        let accepted = tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return,
            next = next => next,
        };
        match accepted {
            Ok((stream, address)) => {
                pause = PAUSE_FIRST;
                enter(stream, address, &shared);
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

/// Begins to serve a connection as soon as there is a place for it.
fn enter(stream: std::net::TcpStream, address: SocketAddr, shared: &Arc<Shared>) {
    let peer = Peer::from(address.ip());
    match shared.places.enter(peer) {
        Entry::Granted(taken) => begin(stream, address, taken, shared),
        Entry::Waits(waits) => {
            let own = Arc::clone(shared);
            shared.tasks.spawn(async move {
                tokio::select! {
                    () = own.shutdown.cancelled() => {}
                    taken = granted(&own, peer, waits) => match taken {
                        Some(taken) => begin(stream, address, taken, &own),
                        None => tracing::debug!(%address, "there was no place for a connection"),
                    }
                }
            });
        }
        Entry::Refused => tracing::debug!(%address, "too many connections wait for a place"),
    }
}

/// The place that a connection of this peer waits for; `None` if there was none in time.
async fn granted(
    shared: &Shared,
    peer: Peer,
    mut waits: oneshot::Receiver<Taken>,
) -> Option<Taken> {
    let end = Instant::now() + limits::PLACE_TIMEOUT;
    while Instant::now() < end {
        shared.places.make_room(peer);
        if let Ok(granted) = tokio::time::timeout(limits::PLACE_PERIOD, &mut waits).await {
            return granted.ok();
        }
    }
    None
}

fn begin(stream: std::net::TcpStream, address: SocketAddr, taken: Taken, shared: &Arc<Shared>) {
    let serving = connection::serve(stream, address, taken, Arc::clone(shared));
    shards::spawn(shared.tasks.track_future(serving));
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
