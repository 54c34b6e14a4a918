//! The native file system of one mount: what its operations share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::ahead::Ahead;
use super::cache::Cache;
use super::data::Cluster;
use super::inode::{Inode, State};
use super::inodes::Inodes;
use super::session::SessionState;
use super::told::Told;
use crate::client::vfs::Notify;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::ratelimit::RateLimit;
use crate::rpc::Patience;
use crate::types::{Attr, Ino, shown_path};

/// A mount. Its operations may be called from any task at any time.
pub struct NativeFs<C> {
    pub(super) cluster: Arc<C>,
    pub(super) cache: Cache,
    pub(super) ahead: Ahead,
    pub(super) inodes: Inodes,
    pub(super) session: SessionState,
    /// Written bytes held over all files, flights included.
    pub(super) dirty_bytes: AtomicU64,
    /// What the kernel was told of names.
    pub(super) told: Told,
    /// Who is told what the kernel must forget.
    pub(super) notify: OnceLock<Arc<dyn Notify>>,
    /// What the log was told of lately.
    pub(super) told_log: RateLimit,
    is_closed: AtomicBool,
}

impl<C: Cluster> NativeFs<C> {
    /// Attaches to the master under a name that people know the client by.
    ///
    /// # Errors
    /// Those of the call to the master.
    pub async fn attach(cluster: C, client: &str) -> Result<Arc<Self>> {
        let fs = Self {
            cluster: Arc::new(cluster),
            cache: Cache::new(),
            ahead: Ahead::new(),
            inodes: Inodes::default(),
            session: SessionState::new(client),
            dirty_bytes: AtomicU64::new(0),
            told: Told::new(),
            notify: OnceLock::new(),
            told_log: RateLimit::default(),
            is_closed: AtomicBool::new(false),
        };
        fs.attach_session().await?;
        Ok(Arc::new(fs))
    }

    /// Says who is to be told what the kernel must forget. Only the first call counts.
    pub fn notify_with(&self, notify: Arc<dyn Notify>) {
        self.notify.get_or_init(|| notify);
    }

    /// Tells the kernel what may have to wait for reads or writes of its own, which this mount answers
    /// meanwhile. Nobody may hold the turn of a file.
    ///
    /// # Errors
    /// `Io` if the mount is about to end.
    pub(super) async fn tell_kernel(
        &self,
        tell: impl FnOnce(&dyn Notify) + Send + 'static,
    ) -> Result<()> {
        let Some(notify) = self.notify.get().map(Arc::clone) else { return Ok(()) };
        tokio::task::spawn_blocking(move || tell(&*notify))
            .await
            .map_err(|error| super::given_up(&error))
    }

    /// Keeps the mount in step with the cluster until `shutdown`: events, renewals, old writes.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let all = async {
            tokio::join!(self.follow_events(), self.keep_session(), self.flush_old_writes())
        };
        shutdown.run_until_cancelled(all).await;
    }

    /// Sends all that was written and is only here; tries every file, and gives the first error.
    ///
    /// # Errors
    /// The first one.
    pub async fn store_all(&self) -> Result<()> {
        let mut outcome = Ok(());
        for inode in self.inodes.all() {
            outcome = outcome.and(self.flush_inode(&inode).await);
        }
        outcome
    }

    /// What was written and is only here: the files, and how many bytes of each.
    #[must_use]
    pub fn unsent(&self) -> Vec<(Ino, u64)> {
        let of = |inode: Arc<Inode>| {
            let bytes = inode.state().unsent_byte_count();
            (inode.ino, bytes)
        };
        self.inodes.all().into_iter().map(of).filter(|(_, bytes)| *bytes > 0).collect()
    }

    /// The path of a file below the mountpoint, or what is known of it, for people.
    pub(super) fn shown(&self, ino: Ino) -> String {
        self.told.path(ino).map_or_else(|| format!("inode {ino}"), |path| shown_path(&path))
    }

    /// Takes no more writes from now on: nobody would send them.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    /// # Errors
    /// `Io` after [`Self::close`].
    pub(super) fn check_open(&self) -> Result<()> {
        match self.is_closed.load(Ordering::Acquire) {
            true => Err(FsError::new(ErrorKind::Io, "the mount has ended")),
            false => Ok(()),
        }
    }

    /// Ends the session: locks and open files of this mount are free at once.
    pub async fn detach(&self) {
        self.end_session().await;
    }

    async fn flush_old_writes(self: &Arc<Self>) {
        let period: Duration = limits::FLUSH_PERIOD / 2;
        loop {
            tokio::time::sleep(period).await;
            for inode in self.inodes.all() {
                let since = inode.state().dirty_since;
                if since.is_some_and(|since| since.elapsed() >= period) {
                    self.flush_in_background(&inode);
                }
            }
        }
    }

    /// Begins a flush that nobody waits for, unless one is under way. Its error is told by the next
    /// operation of each handle.
    pub(super) fn flush_in_background(self: &Arc<Self>, inode: &Arc<Inode>) {
        if std::mem::replace(&mut inode.state().is_flushing, true) {
            return;
        }
        let (fs, inode) = (Arc::clone(self), Arc::clone(inode));
        tokio::spawn(async move {
            // Nobody waits, but a server that is away must not make it an error at once.
            let patience = Patience::for_each_call();
            let outcome = patience.scope(fs.flush_inode(&inode)).await;
            let mut state = inode.state();
            state.is_flushing = false;
            if let Err(error) = outcome {
                fs.told_log.warn(&format!("unsent: {error}"), || {
                    let path = fs.shown(inode.ino);
                    format!("what was written to {path} could not be sent yet: {error}")
                });
                state.fail(error);
            }
        });
    }

    /// Takes over the attributes that a change of contents by this mount led to. If others changed
    /// the file since this mount looked last, what it has of the contents is old.
    pub(super) fn note_change(&self, state: &mut State, attr: Attr) {
        let (before, after) = (state.attr.data_version, attr.data_version);
        if after == before + 1 {
            self.cache.step_pages(attr.ino, before, after);
        } else if after != before {
            state.forget_contents();
            self.cache.drop_pages(attr.ino);
        }
        state.attr = attr;
    }

    /// Bytes that were written in this mount and not yet sent.
    #[must_use]
    pub fn dirty_byte_count(&self) -> u64 {
        self.dirty_bytes.load(Ordering::Relaxed)
    }
}
