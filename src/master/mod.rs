//! The master: names and attributes, the accounts of the chunk servers, and which of them gets the
//! next file.
//!
//! [`service`] decodes calls and answers them; [`state`] decides, over the tables of
//! [`crate::store`]; [`accounts`] and [`placement`] are its pure parts.
//!
//! [`members`] says who belongs to the cluster, and where.
//!
//! [`fs`] is the native file system beside it: [`namespace`] decides about names and inodes,
//! [`chunks`] accounts for their contents, [`sessions`], [`events`] and [`locks`] are about the
//! clients. All of it is in the same store, in tables of its own. [`gateway`] shows its tree to
//! classic clients, beside the hash table.

pub mod accounts;
pub mod chunks;
pub mod events;
pub mod fs;
pub mod gateway;
pub mod lock_table;
pub mod locks;
pub mod members;
pub mod namespace;
pub mod placement;
pub mod service;
pub mod sessions;
pub mod state;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::descriptors;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::listen::Listen;
use crate::rpc::tls::{Identity, TlsError, Trust};
use crate::rpc::{RpcClient, server};
use crate::store::{DataDir, Store, sweep_periodically, sync_periodically};

use fs::FileSystem;
use gateway::Gateway;
use service::Master;
use state::State;

/// What a master needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: Listen,
    /// Where the tables are.
    pub data_dir: PathBuf,
    /// The certificate, in PEM form.
    pub cert: PathBuf,
    /// Its private key, in PEM form.
    pub key: PathBuf,
    /// The certificates to trust for the chunk servers; its own if `None`.
    pub ca: Option<PathBuf>,
    /// Updates in the log before the backup is renewed.
    pub backup_every: u64,
    /// Time between two sweeps for expired entries.
    pub sweep_period: Duration,
    /// Whether chunk servers that join are called back before they are believed.
    pub calls_back: bool,
    /// How long a session of a client lasts after its last renewal.
    pub session_lease: Duration,
}

impl Config {
    /// A master with these keys and this data directory, on a free loopback port.
    #[must_use]
    pub fn new(data_dir: PathBuf, cert: PathBuf, key: PathBuf) -> Self {
        Self {
            listen: Listen::anywhere_local(),
            data_dir,
            cert,
            key,
            ca: None,
            backup_every: limits::BACKUP_EVERY_DEFAULT,
            sweep_period: limits::SWEEP_PERIOD,
            calls_back: true,
            session_lease: limits::SESSION_LEASE,
        }
    }
}

/// A master that serves.
pub struct Running {
    url: String,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    store: Arc<Store>,
}

impl Running {
    /// The URL that it serves at.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Answers the requests under way, writes everything through to the disk, and ends.
    ///
    /// # Errors
    /// `ReadOnly` if the disk failed.
    pub async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        block_in_place(|| self.store.sync())
    }
}

/// Starts a master: opens its data, listens, serves. Needs tokio's multi-threaded runtime.
///
/// # Errors
/// Says in one line what is wrong with the keys, the address or the data directory.
pub async fn start(config: Config) -> Result<Running> {
    descriptors::want();
    let keys = |error: TlsError| FsError::new(ErrorKind::InvalidArgument, error.to_string());
    let identity = Identity::load(&config.cert, &config.key).map_err(keys)?;
    let trust = Trust::load(config.ca.as_ref().unwrap_or(&config.cert)).map_err(keys)?;
    // Whoever has the port already keeps it, and this one leaves nothing behind.
    let listeners = config.listen.bind().await?;
    let open = || {
        let dir = DataDir::open(&config.data_dir, state::ROLE)?;
        let state = State::open(&dir, config.backup_every)?;
        Ok::<_, FsError>((dir, state))
    };
    let (dir, state) = block_in_place(open)?;
    let url = config.listen.url(Listen::port_of(&listeners)?);
    let store = Arc::clone(state.store());
    let counts = state.counts()?;
    tracing::info!(%url, data = %config.data_dir.display(), entries = counts.entries, "serving");

    let master = block_in_place(|| Master::new(dir, state))?;
    let shutdown = CancellationToken::new();
    let files = block_in_place(|| FileSystem::start(&master, config.session_lease, &shutdown))?;
    let tasks = TaskTracker::new();
    let mut registry = Arc::clone(&master).registry();
    files.add_to(&mut registry);
    let client = RpcClient::new(trust, limits::CALL_TIMEOUT);
    files.add_join(&mut registry, config.calls_back.then(|| client.clone()));
    let gateway = Gateway::new(&master, &files, client);
    gateway.add_to(&mut registry);
    tasks.spawn(gateway::tend(gateway, config.sweep_period, shutdown.clone()));
    tasks.spawn(server::serve(listeners, identity, Arc::new(registry), shutdown.clone()));
    tasks.spawn(fs::keep_numbers_periodically(Arc::clone(&files), shutdown.clone()));
    tasks.spawn(fs::reap_periodically(files, shutdown.clone()));
    let step = move || master.state().sweep(clock::now());
    tasks.spawn(sweep_periodically(step, config.sweep_period, shutdown.clone()));
    let to_sync = Arc::clone(&store);
    tasks.spawn(sync_periodically(move || to_sync.sync(), shutdown.clone()));
    Ok(Running { url, shutdown, tasks, store })
}
