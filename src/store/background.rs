//! Work of the disk beside the calls: on threads where it keeps nobody waiting, and from time to
//! time.

use std::time::Duration;

use tokio::task::{block_in_place, spawn_blocking, yield_now};
use tokio_util::sync::CancellationToken;

use crate::error::{ErrorKind, Result};
use crate::limits;

/// Runs long work on a thread of its own.
///
/// # Errors
/// Those of the work; `Io` if it panicked.
pub async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    spawn_blocking(work).await.map_err(std::io::Error::from)?
}

/// Writes acknowledged updates through to the disk from time to time, until `shutdown`.
pub async fn sync_periodically(
    sync: impl Fn() -> Result<()> + Clone + Send + 'static,
    shutdown: CancellationToken,
) {
    while is_time(limits::SYNC_PERIOD, &shutdown).await {
        if let Err(error) = in_background(sync.clone()).await
            && error.kind() == ErrorKind::ReadOnly
        {
            // The store has said why. Every later write and sync of a caller says it again.
            return;
        }
    }
}

/// Drops what has expired from time to time, until `shutdown`. Each `step` handles some of it, and
/// says whether there may be more; between two of them the calls that wait have their turn.
pub async fn sweep_periodically(
    step: impl Fn() -> Result<bool> + Send,
    period: Duration,
    shutdown: CancellationToken,
) {
    while is_time(period, &shutdown).await {
        loop {
            match block_in_place(&step) {
                Ok(true) if !shutdown.is_cancelled() => yield_now().await,
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!("the sweep for expired entries stopped: {error}");
                    break;
                }
            }
        }
    }
}

/// Waits for a while; false if it is time to end instead.
async fn is_time(period: Duration, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        () = shutdown.cancelled() => false,
        () = tokio::time::sleep(period) => true,
    }
}
