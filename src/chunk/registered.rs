//! The chunk servers that the master knows by a URL, without an identity: no other URL is ever called,
//! whoever names it.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::cluster::ServerUrls;
use crate::types::ServerUrl;

/// What the master has told of them.
#[derive(Debug, Default)]
pub(super) struct Registered {
    known: Mutex<Known>,
    /// Held by the one that asks the master: the others wait for the same answer.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    servers: HashSet<ServerUrl>,
    /// When the master was asked.
    asked: Option<Instant>,
}

impl Registered {
    /// Checks that there is a server with this URL. `ask` asks the master for all of them, if this
    /// one is not known or was not for some time.
    ///
    /// # Errors
    /// Those of asking; `UnknownServer` if the master does not know it.
    pub(super) async fn check<F>(&self, server: &ServerUrl, ask: impl FnOnce() -> F) -> Result<()>
    where
        F: Future<Output = Result<ServerUrls>>,
    {
        let begun = Instant::now();
        if self.knows(server, begun.checked_sub(limits::REGISTERED_AGE_MAX)) {
            return Ok(());
        }
        let _asking = self.asking.lock().await;
        let asked = self.known().asked;
        if asked.is_none_or(|asked| asked < begun) {
            if let Some(asked) = asked {
                tokio::time::sleep_until(asked + limits::ADDRESSES_AGE_MIN).await;
            }
            let asked = Some(Instant::now());
            let ServerUrls(servers) = ask().await?;
            *self.known() = Known { servers: servers.into_iter().collect(), asked };
        }
        if self.knows(server, None) {
            return Ok(());
        }
        let message = format!("the master knows no chunk server {server}");
        Err(FsError::new(ErrorKind::UnknownServer, message))
    }

    /// Whether the master knew a server when it was asked last, and that is not before `since`.
    fn knows(&self, server: &ServerUrl, since: Option<Instant>) -> bool {
        let known = self.known();
        known.asked.is_some() && known.asked >= since && known.servers.contains(server)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // It changes in single steps.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
