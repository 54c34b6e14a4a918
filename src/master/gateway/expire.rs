//! Removing what has expired, and the work that the gateway does from time to time.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use super::Gateway;
use super::notes::{self, Note};
use crate::clock::{self, Timestamp};
use crate::error::{ErrorKind, Result};
use crate::limits;
use crate::master::fs::Origin;
use crate::master::namespace::{Effects, Namespace, View};
use crate::store::{Purpose, Txn};
use crate::types::{Credentials, FileKind, FileTime, Ino};

/// Files that a sweep looks at at a time.
const PAGE_SIZE: usize = 256;

impl Gateway {
    /// Removes a file whose end has come. A directory with files in it stays, and only classic
    /// clients do not see it; so does the root.
    ///
    /// # Errors
    /// What the store says.
    pub(super) fn expire(&self, ino: Ino, now: Timestamp) -> Result<()> {
        self.files.transact_for(Purpose::Deletion, Origin::NOBODY, |txn, time| {
            let Some(mut note) = notes::load(txn, ino)? else {
                return Ok(((), Effects::default()));
            };
            if note.expiry.as_ref().is_none_or(|expiry| expiry.at > now) {
                return Ok(((), Effects::default()));
            }
            let effects = match remove(txn, time, ino, &note) {
                Ok(effects) => effects,
                Err(error) if error.kind() == ErrorKind::NotEmpty => None,
                Err(error) => return Err(error),
            };
            if let Some(effects) = effects {
                notes::forget(txn, ino)?;
                return Ok(((), effects));
            }
            // It is not to be found by the sweep again and again.
            let is_kept =
                View::new(txn).getattr(ino).is_ok_and(|attr| attr.kind != FileKind::Directory);
            if is_kept {
                note.expiry = None;
            }
            notes::save_unlisted(txn, ino, &note)?;
            Ok(((), Effects::default()))
        })
    }

    /// Expires some files. Says whether there may be more.
    fn sweep(&self, now: Timestamp) -> Result<bool> {
        let expired = self.files.store().read(|txn| notes::expired(txn, now, PAGE_SIZE))?;
        for ino in &expired {
            self.expire(*ino, now)?;
        }
        Ok(expired.len() == PAGE_SIZE)
    }

    fn sweep_all(&self) -> Result<()> {
        while self.sweep(clock::now())? {}
        Ok(())
    }
}

/// Removes the name under which something expires, if it does; `None` if it does not.
fn remove(txn: &mut dyn Txn, time: FileTime, ino: Ino, note: &Note) -> Result<Option<Effects>> {
    let place = note.expiry.as_ref().and_then(|expiry| expiry.place.clone());
    let Some((directory, name)) = place else { return Ok(None) };
    let mut namespace = Namespace::new(txn, time);
    let attr = match namespace.view().find(directory, &name)? {
        Some(attr) if attr.ino == ino => attr,
        // Somebody has given it another name, and so wants it.
        _ => return Ok(None),
    };
    if note.expires(&attr, Some((directory, &name))).is_none() {
        return Ok(None);
    }
    if attr.kind == FileKind::Directory {
        namespace.rmdir(&Credentials::ROOT, directory, &name)?;
    } else {
        namespace.unlink(&Credentials::ROOT, directory, &name)?;
    }
    Ok(Some(namespace.into_effects()))
}

/// Until `shutdown`, sweeps for expired files every `period`, and brings into the tree what could
/// not come there before.
pub async fn tend(gateway: Arc<Gateway>, period: Duration, shutdown: CancellationToken) {
    report("finding files that are not in the tree", block_in_place(|| gateway.find_pending()));
    let mut waited = Duration::ZERO;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(limits::PENDING_PERIOD.min(period)) => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = gateway.retry_pending() => {}
        }
        waited += limits::PENDING_PERIOD.min(period);
        if waited >= period {
            waited = Duration::ZERO;
            report("the sweep for expired files", block_in_place(|| gateway.sweep_all()));
        }
    }
}

fn report(what: &str, result: Result<()>) {
    if let Err(error) = result {
        tracing::warn!("{what}: {error}");
    }
}
