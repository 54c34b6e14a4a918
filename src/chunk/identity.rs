//! Who this chunk server is: the same wherever its data are started, and of one cluster for ever.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::{self, Timestamp};
use crate::error::{ErrorKind, FsError, Result};
use crate::proto::chunk::IsProcess;
use crate::random;
use crate::rpc::Registry;
use crate::store::{Purpose, ReadTxn, Store, Table};
use crate::types::{ClusterId, ServerId};

/// What is known of this server: [`ID`], [`CLUSTER`] (128 bits each), [`BOOT`], [`UPTIME`] (64 bits,
/// milliseconds); all big-endian.
const IDENTITY: Table = Table("server");

/// The table of this module.
pub const TABLES: [Table; 1] = [IDENTITY];

const ID: &[u8] = b"id";
const CLUSTER: &[u8] = b"cluster";
const BOOT: &[u8] = b"boot";
const UPTIME: &[u8] = b"uptime";

/// Who this server is.
pub struct Identity {
    store: Arc<Store>,
    id: ServerId,
    boot: u64,
    process: u64,
    cluster: Mutex<Option<ClusterId>>,
    /// How long its processes had been up when this one began, and when that was.
    uptime_before_ms: u64,
    began: Timestamp,
}

impl Identity {
    /// The identity in a store, made if there is none; counts this start.
    ///
    /// # Errors
    /// `Corrupt` if it makes no sense, and what the store says.
    pub fn open(store: &Arc<Store>) -> Result<Self> {
        let (id, cluster, boot, uptime_ms) = store.read(|txn| {
            let numbers = (number(txn, BOOT)?.unwrap_or(0), number(txn, UPTIME)?.unwrap_or(0));
            Ok((identity(txn, ID)?, identity(txn, CLUSTER)?, numbers.0, numbers.1))
        })?;
        let is_new = id.is_none();
        let id = id.map_or_else(random::bits_128, Ok)?;
        let boot = boot + 1;
        let counted = store.write_for(Purpose::Deletion, |txn| {
            txn.put(IDENTITY, ID, &id.to_be_bytes());
            txn.put(IDENTITY, BOOT, &boot.to_be_bytes());
            Ok(())
        });
        match counted.and_then(|()| store.sync()) {
            // A full disk can be read, and emptied.
            Err(error) if error.kind() == ErrorKind::NoSpace && !is_new => {
                tracing::warn!("this start is not counted: {error}");
            }
            outcome => outcome?,
        }
        Ok(Self {
            store: Arc::clone(store),
            id: ServerId::new(id),
            boot,
            process: random::bits_64()? >> 1,
            cluster: Mutex::new(cluster.map(ClusterId::new)),
            uptime_before_ms: uptime_ms,
            began: clock::uptime(),
        })
    }

    /// Which server.
    #[must_use]
    pub fn id(&self) -> &ServerId {
        &self.id
    }

    /// How often it was started, this time among them.
    #[must_use]
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// A random number of this process.
    #[must_use]
    pub fn process(&self) -> u64 {
        self.process
    }

    /// Whether this process is the one that is meant.
    #[must_use]
    pub fn is(&self, meant: &IsProcess) -> bool {
        meant.server == self.id && meant.process == self.process
    }

    /// Its cluster, if it has joined one.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        *self.lock()
    }

    /// It belongs to this cluster from now on; on the disk when this returns.
    ///
    /// # Errors
    /// What the store says.
    pub fn join(&self, cluster: ClusterId) -> Result<()> {
        if self.cluster() == Some(cluster) {
            return Ok(());
        }
        self.store.write_for(Purpose::Deletion, |txn| {
            txn.put(IDENTITY, CLUSTER, &cluster.number().to_be_bytes());
            Ok(())
        })?;
        self.store.sync()?;
        *self.lock() = Some(cluster);
        Ok(())
    }

    /// How long this server has been up in its life, in milliseconds: a clock that nobody can set,
    /// and that stands while nobody could notice anything.
    #[must_use]
    pub fn uptime_ms(&self) -> u64 {
        self.uptime_before_ms.saturating_add(clock::uptime().since_ms(self.began))
    }

    /// Keeps the uptime over a restart.
    ///
    /// # Errors
    /// What the store says.
    pub fn keep_uptime(&self) -> Result<()> {
        self.store.write(|txn| {
            txn.put(IDENTITY, UPTIME, &self.uptime_ms().to_be_bytes());
            Ok(())
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<ClusterId>> {
        // It changes in one step.
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Offers `chunk.identity`.
pub fn register(registry: &mut Registry, who: &Arc<Identity>) {
    let who = Arc::clone(who);
    registry.add_quick(move |call: IsProcess, _| std::future::ready(Ok(who.is(&call))));
}

fn identity(txn: &dyn ReadTxn, key: &[u8]) -> Result<Option<u128>> {
    let Some(bytes) = txn.get(IDENTITY, key)? else { return Ok(None) };
    bytes.as_ref().try_into().map(|bytes| Some(u128::from_be_bytes(bytes))).map_err(|_| damaged())
}

fn number(txn: &dyn ReadTxn, key: &[u8]) -> Result<Option<u64>> {
    let Some(bytes) = txn.get(IDENTITY, key)? else { return Ok(None) };
    bytes.as_ref().try_into().map(|bytes| Some(u64::from_be_bytes(bytes))).map_err(|_| damaged())
}

fn damaged() -> FsError {
    FsError::new(ErrorKind::Corrupt, "the identity of the chunk server is damaged")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Identity, TABLES};
    use crate::proto::chunk::IsProcess;
    use crate::store::Store;
    use crate::types::ServerId;

    #[test]
    fn a_server_is_only_the_process_that_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), &TABLES).unwrap());
        let (first, second) = (Identity::open(&store).unwrap(), Identity::open(&store).unwrap());
        let meant = |who: &Identity| IsProcess { server: who.id().clone(), process: who.process() };
        assert!(first.is(&meant(&first)));
        assert_eq!(first.id(), second.id());
        assert!(!first.is(&meant(&second)));
        let other = IsProcess { server: ServerId::new(1), ..meant(&first) };
        assert!(!first.is(&other));
    }
}
