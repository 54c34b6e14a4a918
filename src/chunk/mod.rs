//! A chunk server: keeps contents under keys, and makes itself known to the master.
//!
//! [`service`] decodes calls and answers them; [`contents`] is the hash table, over [`index`] (what
//! is where) and [`values`] (large values in files); [`native`] are the contents of native files,
//! and [`staged`] how a value becomes such; [`gateway`] answers classic clients from both;
//! [`identity`] says which server this is; [`membership`] and
//! [`heartbeat`] talk to the master, [`peers`] knows the other chunk servers.

pub mod contents;
mod disk_id;
pub mod gateway;
pub mod heartbeat;
pub mod identity;
pub mod index;
pub mod membership;
pub mod native;
mod peers;
pub mod service;
pub mod staged;
pub mod values;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::descriptors;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::listen::Listen;
use crate::rpc::RpcClient;
use crate::rpc::server;
use crate::rpc::tls::{self, TlsError, Trust};
use crate::store::{DataDir, sweep_periodically, sync_periodically};
use crate::types::ServerUrl;

use contents::Contents;
use gateway::Gateway;
use heartbeat::Heart;
use identity::Identity;
use membership::{Membership, Standing};
use native::{NativeStore, StagedValues};
use peers::Peers;

/// What a chunk server needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: Listen,
    /// Its name, if that is not `https://` and where it listens.
    pub advertise: Option<String>,
    /// The master's URL.
    pub master: String,
    /// The certificates to trust for the master; its own if `None`.
    pub ca: Option<PathBuf>,
    /// Where the contents are.
    pub data_dir: PathBuf,
    /// The certificate, in PEM form.
    pub cert: PathBuf,
    /// Its private key, in PEM form.
    pub key: PathBuf,
    /// Updates in the log before the backup is renewed.
    pub backup_every: u64,
    /// Time between two sweeps for expired entries.
    pub sweep_period: Duration,
    /// How old a staged value must be to make room on a full disk.
    pub reclaim_age_min: Duration,
}

impl Config {
    /// A chunk server of this master with these keys and this data directory, on a free loopback
    /// port.
    #[must_use]
    pub fn new(master: String, data_dir: PathBuf, cert: PathBuf, key: PathBuf) -> Self {
        Self {
            listen: Listen::anywhere_local(),
            advertise: None,
            master,
            ca: None,
            data_dir,
            cert,
            key,
            backup_every: limits::BACKUP_EVERY_DEFAULT,
            sweep_period: limits::SWEEP_PERIOD,
            reclaim_age_min: limits::RECLAIM_AGE_MIN,
        }
    }
}

/// A chunk server that serves.
pub struct Running {
    url: ServerUrl,
    standing: watch::Receiver<Standing>,
    heard: watch::Receiver<bool>,
    refused: watch::Receiver<Option<FsError>>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    contents: Arc<Contents>,
    chunks: Arc<NativeStore>,
}

impl Running {
    /// Its name, which is the URL that it serves at.
    #[must_use]
    pub fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Returns when the master knows it, and its room.
    ///
    /// # Errors
    /// `WrongCluster` if the master does not take it. It goes on to ask.
    pub async fn joined(&mut self) -> Result<()> {
        let joined = async {
            // It fails when the server has stopped; nothing is waited for then either.
            self.standing.wait_for(|standing| *standing != Standing::Outside).await.ok();
            self.heard.wait_for(|heard| *heard).await.ok();
        };
        tokio::select! {
            biased;
            () = joined => Ok(()),
            Ok(why) = self.refused.wait_for(Option::is_some) => why.clone().map_or(Ok(()), Err),
        }
    }

    /// Answers the requests under way, writes everything through to the disk, and ends.
    ///
    /// # Errors
    /// `ReadOnly` if the disk failed.
    pub async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        tokio::task::block_in_place(|| self.chunks.sync_all().and(self.contents.sync()))
    }
}

/// Starts a chunk server: opens its data, listens, serves, and goes on to make itself known to the
/// master, which need not be there yet. Needs tokio's multi-threaded runtime.
///
/// # Errors
/// Says in one line what is wrong with the keys, the address or the data directory.
pub async fn start(config: Config) -> Result<Running> {
    descriptors::want();
    let keys = |error: TlsError| FsError::new(ErrorKind::InvalidArgument, error.to_string());
    let certificate = tls::Identity::load(&config.cert, &config.key).map_err(keys)?;
    let trust = Trust::load(config.ca.as_ref().unwrap_or(&config.cert)).map_err(keys)?;
    let master =
        ServerUrl::new(config.master.clone()).map_err(|error| error.context("the master's URL"))?;
    // Whoever has the port already keeps it, and this one leaves nothing behind.
    let listeners = config.listen.bind().await?;
    let url = name(&config, Listen::port_of(&listeners)?)?;
    let open = || {
        let dir = DataDir::open(&config.data_dir, contents::ROLE)?;
        let contents = Contents::open(&dir, config.backup_every, clock::now())?;
        let store = Arc::clone(contents.store());
        let who = Identity::open(&store)?;
        let chunks = NativeStore::open(store, &dir.chunks())?;
        Ok::<_, FsError>((Arc::new(dir), Arc::new(contents), Arc::new(chunks), Arc::new(who)))
    };
    let (dir, contents, chunks, who) = tokio::task::block_in_place(open)?;
    let counts = contents.counts()?;
    let data = config.data_dir.display();
    let server = who.id().short();
    tracing::info!(%url, server, %data, entries = counts.entries, bytes = counts.bytes, "serving");

    let shutdown = CancellationToken::new();
    let tasks = TaskTracker::new();
    let client = RpcClient::new(trust, limits::CALL_TIMEOUT);
    let peers = Peers::new(client.clone(), master.as_str());
    let mut registry = service::registry(&dir, &contents);
    registry.serve_as(who.id().as_str());
    identity::register(&mut registry, &who);
    let staged: Arc<dyn StagedValues> = Arc::<Contents>::clone(&contents);
    native::register(&mut registry, &chunks, &staged, &peers);
    let stores = (&contents, &chunks);
    let gateway = Gateway::new(stores, &peers, who.id(), config.reclaim_age_min);
    gateway::register(&mut registry, &gateway);
    tasks.spawn(gateway::keep_room(gateway, shutdown.clone()));
    let registry = Arc::new(registry);
    tasks.spawn(server::serve(listeners, certificate, registry, shutdown.clone()));
    let own = Arc::clone(&contents);
    let step = move || own.sweep(clock::now());
    tasks.spawn(sweep_periodically(step, config.sweep_period, shutdown.clone()));
    let to_sync = Arc::clone(&contents);
    tasks.spawn(sync_periodically(move || to_sync.sync(), shutdown.clone()));
    tasks.spawn(native::tend(Arc::clone(&chunks), shutdown.clone()));
    let (to_standing, standing) = watch::channel(Standing::Outside);
    let heart = Heart {
        client: client.clone(),
        master: master.as_str().to_owned(),
        who: Arc::clone(&who),
        holdings: Arc::<NativeStore>::clone(&chunks),
        disk: disk_id::disk_id(dir.path())?,
    };
    let (to_heard, heard) = watch::channel(false);
    tasks.spawn(heart.run(to_standing.clone(), to_heard, shutdown.clone()));
    let (to_refused, refused) = watch::channel(None);
    let membership = Membership {
        client,
        master: master.as_str().to_owned(),
        url: url.clone(),
        who,
        contents: Arc::clone(&contents),
        chunks: Arc::clone(&chunks),
        refused: to_refused,
    };
    tasks.spawn(membership.run(to_standing, shutdown.clone()));
    Ok(Running { url, standing, heard, refused, shutdown, tasks, contents, chunks })
}

/// The name of a server that listens on this port.
fn name(config: &Config, port: u16) -> Result<ServerUrl> {
    if let Some(advertise) = &config.advertise {
        return ServerUrl::new(advertise.clone());
    }
    if matches!(config.listen.host.as_str(), "0.0.0.0" | "::") {
        let message = "on all addresses it needs a name that clients can reach: give --advertise";
        return Err(FsError::new(ErrorKind::InvalidArgument, message));
    }
    ServerUrl::new(config.listen.url(port))
}
