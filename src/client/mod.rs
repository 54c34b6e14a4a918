//! The client: mounts a file system whose contents and attributes are on servers.
//!
//! [`fuse`] converts the kernel's requests for a [`vfs`], and [`mount`] has the mountpoint. There
//! are two such file systems: [`native`] is that of our own masters, [`classic`] the homework's way
//! to keep files, for its masters and for those who ask for it. Both go over [`calls`].

mod bounded;
pub mod calls;
pub mod classic;
pub mod fuse;
pub mod mount;
pub mod native;
pub mod vfs;

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::Packed;
use crate::proto::classic::Dialect;
use crate::proto::fs::StatFileSystem;
use crate::rpc::RpcClient;
use crate::rpc::tls::Trust;
use crate::types::{ServerUrl, shown_path};

use classic::{HtProxy, Layout, Memory};
use mount::Mounted;
use native::attached::Attached;
use vfs::Vfs;

/// Time between two attempts to find the master.
const ATTEMPT_PERIOD: Duration = Duration::from_millis(200);

/// What a client needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// An empty directory.
    pub mountpoint: PathBuf,
    /// The master's URL.
    pub master: String,
    /// The certificates to trust, in PEM form.
    pub ca: PathBuf,
    /// Seconds that files live; for ever if `None`.
    pub ttl_s: Option<u64>,
    /// Deadline of one system call.
    pub timeout: Duration,
    /// System calls wait for servers as long as it takes, or until their programs are killed.
    pub is_hard: bool,
    /// How long to wait for a master and a chunk server.
    pub patience: Duration,
    /// The type in which new files are stored; as others do if `None`.
    pub dialect: Option<Dialect>,
    /// The form in which new files are stored; as others do if `None`.
    pub layout: Option<Layout>,
    /// Whether users other than the one who mounts may use the mount.
    pub allows_other: bool,
    /// Whether programs on the mount run with the rights that set-id bits and capabilities give.
    pub trusts_set_id: bool,
    /// Whether devices on the mount can be opened.
    pub trusts_devices: bool,
    /// Mount as the homework's clients do, also where the master has a native file system.
    pub is_classic: bool,
}

impl Config {
    /// A client of this master, with what is usual for the rest.
    #[must_use]
    pub fn new(mountpoint: PathBuf, master: String, ca: PathBuf) -> Self {
        Self {
            mountpoint,
            master,
            ca,
            ttl_s: None,
            timeout: limits::CALL_TIMEOUT,
            is_hard: false,
            patience: limits::CALL_TIMEOUT,
            dialect: None,
            layout: None,
            allows_other: rustix::process::geteuid().is_root(),
            trusts_set_id: false,
            trusts_devices: false,
            is_classic: false,
        }
    }
}

/// A client that has mounted.
#[derive(Debug)]
pub struct Running {
    mounted: Mounted,
    files: Files,
}

/// The file system behind a mount.
#[derive(Debug)]
enum Files {
    Classic(Memory<RpcClient>),
    Native(Attached),
}

impl Files {
    /// Stores what is only here. `None` if it is not done at the given moment.
    async fn store_until(&self, end: Instant) -> Option<Result<()>> {
        let stored = async {
            match self {
                Self::Classic(memory) => memory.store_all().await,
                Self::Native(attached) => attached.store_all().await,
            }
        };
        tokio::time::timeout_at(end.into(), stored).await.ok()
    }

    /// Takes no more writes, as far as that can be said to the file system.
    fn close(&self) {
        match self {
            Self::Classic(_) => {}
            Self::Native(attached) => attached.fs().close(),
        }
    }

    /// Says what was written and could not be stored.
    fn tell_lost(&self, mountpoint: &Path) {
        match self {
            Self::Classic(memory) => tell_lost(memory, mountpoint),
            Self::Native(attached) => tell_lost(&attached.fs(), mountpoint),
        }
    }

    async fn detach(self) {
        match self {
            Self::Classic(_) => {}
            Self::Native(attached) => attached.detach().await,
        }
    }
}

impl Running {
    /// Where it has mounted.
    #[must_use]
    pub fn mountpoint(&self) -> &std::path::Path {
        self.mounted.mountpoint()
    }

    /// Returns when somebody else has unmounted it.
    ///
    /// # Errors
    /// What went wrong between the kernel and this process, if that is why.
    pub async fn ended(&mut self) -> Result<()> {
        self.mounted.ended().await
    }

    /// Stores what is only here, as far as the servers are quick about it, unmounts if nobody else
    /// has, and ends the session at the master.
    ///
    /// # Errors
    /// `Io` if something could not be stored; the mount is gone all the same.
    pub async fn stop(self) -> Result<()> {
        let limit = limits::STORE_ON_STOP_TIMEOUT;
        let (end, mountpoint) = (Instant::now() + limit, self.mountpoint().to_owned());
        let before = self.files.store_until(end).await;
        let unmounted = self.mounted.unmount().await;
        // Programs have written meanwhile, and those with open files still do.
        self.files.close();
        let after = self.files.store_until(end).await;
        self.files.tell_lost(&mountpoint);
        self.files.detach().await;
        unmounted?;
        tracing::info!("unmounted");
        before.and_then(|before| Some(before.and(after?))).unwrap_or_else(|| {
            let message = format!("open files could not be stored within {limit:?}");
            Err(FsError::new(ErrorKind::Io, message))
        })
    }
}

fn tell_lost(vfs: &impl Vfs, mountpoint: &Path) {
    let lost = vfs.unsent();
    for (ino, bytes) in lost.iter().take(limits::LOST_FILES_TOLD_MAX) {
        let path = match vfs.path(*ino) {
            Some(path) => shown_path(&[mountpoint.as_os_str().as_bytes(), &path].concat()),
            None => format!("inode {ino}, whose name is not known here"),
        };
        tracing::error!("{path}: {bytes} written bytes could not be stored, and are lost");
    }
    let more = lost.len().saturating_sub(limits::LOST_FILES_TOLD_MAX);
    if more > 0 {
        tracing::error!("so are those of {more} more files");
    }
}

/// Starts a client: waits for its servers, and mounts.
///
/// # Errors
/// Says in one line what is wrong with the certificates, the servers or the mountpoint.
pub async fn start(config: Config) -> Result<Running> {
    let trust = Trust::load(&config.ca)
        .map_err(|error| FsError::new(ErrorKind::InvalidArgument, error.to_string()))?;
    let master =
        ServerUrl::new(config.master.clone()).map_err(|error| error.context("the master's URL"))?;
    // What is wrong here is better known before minutes are spent on waiting.
    check_trust(&config)?;
    mount::check(&config.mountpoint)?;
    let client = RpcClient::new(trust, config.timeout);
    let client = if config.is_hard { client.hard() } else { client };
    let is_native = wait_for_master(&config, &client, master.as_str()).await?;
    let is_classic = config.is_classic || !is_native;
    if is_classic && !config.is_classic {
        tracing::info!(%master, "it is one of the homework's: mounting as with --classic");
    }
    let running = match is_classic {
        true => start_classic(&config, client, &master).await?,
        false => start_native(&config, client, &master).await?,
    };
    tracing::info!(%master, mountpoint = %running.mountpoint().display(), is_classic, "mounted");
    Ok(running)
}

/// Whoever can write to the cluster, from any machine, could make himself the superuser of one that
/// trusts set-id bits or devices: its own superuser has to want that.
fn check_trust(config: &Config) -> Result<()> {
    let is_wanted = config.trusts_set_id || config.trusts_devices;
    if !is_wanted || rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let message = "only root can mount with --suid or --dev";
    Err(FsError::new(ErrorKind::NotPermitted, message))
}

async fn start_classic(config: &Config, client: RpcClient, master: &ServerUrl) -> Result<Running> {
    if config.trusts_set_id || config.trusts_devices {
        let message =
            "a classic mount has no set-id bits and no devices; mount without --suid and --dev";
        return Err(FsError::new(ErrorKind::InvalidArgument, message));
    }
    let memory = wait_for_servers(config, &client, master.as_str()).await?;
    let mounted = mount(memory.clone(), config, master).await?;
    Ok(Running { mounted, files: Files::Classic(memory) })
}

async fn start_native(config: &Config, client: RpcClient, master: &ServerUrl) -> Result<Running> {
    let name = format!("{} (process {})", config.mountpoint.display(), std::process::id());
    let attached = Attached::new(client, master.as_str(), &name).await?;
    match mount(attached.fs(), config, master).await {
        Ok(mounted) => Ok(Running { mounted, files: Files::Native(attached) }),
        Err(error) => {
            attached.detach().await;
            Err(error)
        }
    }
}

async fn mount<V: Vfs>(vfs: V, config: &Config, master: &ServerUrl) -> Result<Mounted> {
    let options = fuse::Options {
        source: master.as_str().to_owned(),
        timeout: (!config.is_hard).then_some(config.timeout),
        allows_other: config.allows_other,
        trusts_set_id: config.trusts_set_id,
        trusts_devices: config.trusts_devices,
    };
    Mounted::new(vfs, &config.mountpoint, options).await
}

/// Waits for the master, and answers whether it has a native file system; if so, waits for a chunk
/// server as well.
async fn wait_for_master(config: &Config, client: &RpcClient, master: &str) -> Result<bool> {
    wait(config, async || {
        if !native::attached::is_native(client, master).await? {
            return Ok(false);
        }
        let Packed(room) = client.call(master, StatFileSystem {}).await?;
        if room.total == 0 {
            let message = "the master knows no chunk server yet; start one";
            return Err(FsError::new(ErrorKind::NoSpace, message));
        }
        Ok(true)
    })
    .await
}

/// Opens the file system as soon as its servers are there.
async fn wait_for_servers(
    config: &Config,
    client: &RpcClient,
    master: &str,
) -> Result<Memory<RpcClient>> {
    wait(config, async || {
        let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let ttl_s = config.ttl_s.unwrap_or(limits::TTL_MAX_S);
        let proxy = HtProxy::new(client.clone(), master.to_owned(), config.dialect, ttl_s);
        Memory::open(proxy, config.layout, owner).await
    })
    .await
}

/// Tries until something succeeds, or it is certain or the patience at an end that it does not.
async fn wait<T>(config: &Config, attempt: impl AsyncFn() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + config.patience;
    let mut is_announced = false;
    loop {
        let error = match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if !may_get_better(&error) || Instant::now() >= deadline {
            return Err(error);
        }
        if !is_announced {
            let patience_s = config.patience.as_secs();
            tracing::warn!("waiting up to {patience_s} s for the servers: {error}");
            is_announced = true;
        }
        tokio::time::sleep(ATTEMPT_PERIOD).await;
    }
}

/// Whether waiting helps: for servers that are on their way, not for wrong certificates or a dialect
/// that they do not speak.
fn may_get_better(error: &FsError) -> bool {
    match error.kind() {
        ErrorKind::Unreachable => !error.message().contains("certificate"),
        ErrorKind::TimedOut | ErrorKind::NoSpace | ErrorKind::Io => true,
        _ => false,
    }
}
