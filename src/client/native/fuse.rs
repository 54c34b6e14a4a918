//! The mount of a native file system: converts the kernel's arguments and replies, nothing else.
//!
//! `filesystem` has one short method per request, `adapter` the way from it to an answer, `convert`
//! and `listing` the conversions; `notify` tells the
//! kernel what others changed; `who` finds out about the calling process.
//!
//! What the kernel caches by itself: names and attributes for [`KERNEL_TTL`], so that a client that
//! cannot be told any more never shows anything older; pages until the contents change. Writes go
//! through (no writeback cache), so mappings and descriptors agree.

mod adapter;
mod convert;
mod filesystem;
mod listing;
mod notify;
mod who;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use tokio::runtime::Handle as Runtime;

use super::data::Cluster;
use super::fs::NativeFs;
use crate::client::mount::detach;
use crate::error::Result;
use adapter::Adapter;
use notify::KernelNotify;

/// How long the kernel may use a name or attributes without asking again.
const KERNEL_TTL: Duration = crate::limits::CACHE_AGE_MAX;

/// Threads that take requests from the kernel. None of them waits for a server.
const THREADS: usize = 2;

/// How to mount.
#[derive(Clone, Debug)]
pub struct Options {
    /// What `mount` and `df` show in front of the mountpoint.
    pub source: String,
    /// Each request ends within this time, with an error if it must; waiting for a lock does not
    /// count.
    pub timeout: Duration,
    /// Whether users other than the one who mounts may use the mount.
    pub allows_other: bool,
}

/// A mounted file system.
pub struct Mounted {
    session: BackgroundSession,
    mountpoint: PathBuf,
}

/// Mounts a file system.
///
/// # Errors
/// What stands in the way of the mount.
pub fn mount<C: Cluster>(
    fs: &Arc<NativeFs<C>>,
    mountpoint: &Path,
    options: Options,
    runtime: Runtime,
) -> Result<Mounted> {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(options.source),
        MountOption::Subtype("htfs".to_owned()),
        MountOption::DefaultPermissions,
    ];
    if rustix::process::geteuid().is_root() {
        config.mount_options.extend([MountOption::Dev, MountOption::Suid]);
    }
    config.acl = if options.allows_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(THREADS);
    let adapter = Adapter::new(Arc::clone(fs), options.timeout, runtime);
    let session = Session::new(adapter, mountpoint, &config)?.spawn()?;
    fs.notify_with(Arc::new(KernelNotify::start(session.notifier())?));
    Ok(Mounted { session, mountpoint: mountpoint.to_owned() })
}

impl Mounted {
    /// Whether the mount has been taken away from outside, as by `umount`.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.session.guard.is_finished()
    }

    /// Takes the mount out of the tree, at once. Files that are still open in it keep it alive,
    /// invisible, until they are closed or the program ends.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn unmount(&self) -> Result<()> {
        detach(&self.mountpoint)
    }

    /// To be called before the program ends.
    pub fn leave(self) {
        if !self.is_over() {
            // What it would do when it is dropped is done: unmounting. The kernel ends it with us.
            std::mem::forget(self.session);
        }
    }
}
