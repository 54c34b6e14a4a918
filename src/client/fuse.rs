//! FUSE: converts the kernel's requests and our replies, and knows nothing else.
//!
//! `filesystem` has one short method per request; `answer` and `convert` are the conversions;
//! `deadline` says how long requests may take, and `report` what went wrong; `notify` tells the kernel
//! what others changed; `who` finds out about the calling process; `sizes` is what the kernel believes of
//! files, and `retries` which calls it has begun anew.
//!
//! A request that needs nobody else is answered at once, every other by a task of its own: so one
//! that waits for a server keeps no other waiting. What the kernel may remember, the file system's [`KernelPolicy`] says. Writes go
//! through (no writeback cache), so mappings and descriptors agree.

mod answer;
mod convert;
mod deadline;
mod direct;
mod filesystem;
mod notify;
mod report;
mod retries;
mod sizes;
mod who;

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fuser::{INodeNo, Request};
use tokio::runtime::Handle as Runtime;
use tokio_util::sync::CancellationToken;

use crate::client::vfs::{Attempt, KernelPolicy, Vfs};
use crate::error::{ErrorKind, FsError, Result};
use crate::rpc::Patience;
use crate::rpc::shards::{Shard, Turn};
use crate::types::{Credentials, Ino, shown_path};

use answer::{Answer, Telling};
use convert::{bytes, errno, mount_options};
use deadline::{Caller, Deadline, Deadlines, RENAMES};
use direct::mount_directly;
use notify::KernelNotify;
use report::Reports;
use retries::{Refusable, Retries};
use sizes::KernelSizes;

/// Parts of the log that are of no interest: fuser warns of every request that it has no method
/// for, and the kernel knows what to do without.
pub const QUIET: &[&str] = &["fuser=error"];

/// How to mount.
#[derive(Clone, Debug)]
pub struct Options {
    /// What `mount` and `df` show in front of the mountpoint.
    pub source: String,
    /// Each system call ends within this time, with an error if it must; waiting for a lock does not
    /// count. `None` if they are to wait until the servers are there, or they are killed.
    pub timeout: Option<Duration>,
    /// Whether users other than the one who mounts may use the mount.
    pub allows_other: bool,
    /// Whether set-id bits and capabilities of programs count. Only the superuser can want that.
    pub trusts_set_id: bool,
    /// Whether devices can be opened; as above.
    pub trusts_devices: bool,
}

/// Mounts a file system. What this gives serves the kernel's requests, until the file system is
/// unmounted, by whomever.
///
/// # Errors
/// What the system says.
pub fn mount_session<V: Vfs>(
    vfs: V,
    mountpoint: &Path,
    options: &Options,
    runtime: Runtime,
) -> io::Result<impl FnOnce() -> io::Result<()> + Send + use<V>> {
    let policy = vfs.policy();
    let config = mount_options(options, policy);
    let sizes = Arc::new(KernelSizes::new());
    let shared = Shared {
        mountpoint: mountpoint.to_owned(),
        ttl: policy.cache_ttl,
        deadlines: Deadlines::new(options.timeout),
        reports: Reports::default(),
        sizes: Arc::clone(&sizes),
        retries: Retries::default(),
    };
    let adapter = Adapter { vfs: vfs.clone(), policy, shared: Arc::new(shared), runtime };
    let session = match mount_directly(mountpoint, options, policy)? {
        Some((device, mounted)) => {
            let session = fuser::Session::from_fd(adapter, device, config.acl, config)?;
            mounted.keep();
            session
        }
        None => fuser::Session::new(adapter, mountpoint, &config)?,
    };
    vfs.notify_with(Arc::new(KernelNotify::start(session.notifier(), sizes)?));
    Ok(move || session.run())
}

/// A file system as fuser wants it.
struct Adapter<V> {
    vfs: V,
    policy: KernelPolicy,
    shared: Arc<Shared>,
    runtime: Runtime,
}

/// What the requests of a mount have in common.
struct Shared {
    mountpoint: PathBuf,
    /// How long the kernel may use names and attributes.
    ttl: Duration,
    deadlines: Deadlines,
    reports: Reports,
    /// What the kernel believes of files, and which calls it has begun anew.
    sizes: Arc<KernelSizes>,
    retries: Retries,
}

impl Shared {
    /// What a request is about, for people.
    fn path(&self, vfs: &impl Vfs, subject: &Subject) -> String {
        let mut path = match vfs.path(Ino(subject.ino.0)) {
            Some(path) => [self.mountpoint.as_os_str().as_bytes(), &path].concat(),
            None => format!("inode {}", subject.ino).into_bytes(),
        };
        if !subject.name.is_empty() {
            // The name of an attribute is no part of the path.
            let separator = if subject.operation.contains("xattr") { " " } else { "/" };
            path.extend([separator.as_bytes(), &subject.name].concat());
        }
        shown_path(&path)
    }

    fn finish<T, R: Answer<T>>(
        &self,
        vfs: &impl Vfs,
        subject: &Subject,
        reply: R,
        outcome: Result<T>,
    ) {
        let is_stale = outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Stale);
        // Before the answer, as that lets the next request come.
        self.retries.note(subject.thread, &subject.refusable, is_stale);
        match outcome {
            Ok(done) => {
                let (sizes, received) = (&self.sizes, subject.received);
                reply.answer(done, Telling { ttl: self.ttl, sizes, received });
            }
            Err(error) => {
                self.reports.tell(subject.operation, || self.path(vfs, subject), &error);
                reply.refuse(errno(&error), self.ttl);
            }
        }
    }
}

/// Time between two looks whether somebody who waits was killed. The kernel does not let it go
/// before it has its answer.
const SIGNAL_PERIOD: Duration = Duration::from_millis(300);

/// Who asks for what, for the log and for as long as it matters.
struct Subject {
    /// The thread that waits for the answer.
    thread: u32,
    /// When the request was read from the kernel.
    received: Instant,
    /// What it is if it is answered `ESTALE`.
    refusable: Refusable,
    operation: &'static str,
    ino: INodeNo,
    name: Bytes,
    /// What else it holds up until it is answered.
    also: [Option<INodeNo>; 2],
}

fn on(request: &Request, operation: &'static str, ino: INodeNo) -> Subject {
    let (thread, received) = (request.pid(), Instant::now());
    let (refusable, name) = (Refusable::Lookup, Bytes::new());
    Subject { thread, received, refusable, operation, ino, name, also: [None; 2] }
}

fn at(request: &Request, operation: &'static str, ino: INodeNo, name: &OsStr) -> Subject {
    Subject { name: bytes(name), ..on(request, operation, ino) }
}

impl Subject {
    /// For a rename to another directory or the same one.
    fn of_rename(self, to: INodeNo) -> Self {
        let also = if to == self.ino { [None; 2] } else { [Some(to), Some(RENAMES)] };
        Self { also, ..self }
    }

    /// For a new name of an inode.
    fn of_link(self, number: INodeNo) -> Self {
        Self { also: [Some(number), None], ..self }
    }

    /// For a lookup, which may be a part of a rename.
    fn of_lookup(self) -> Self {
        Self { also: [Some(RENAMES), None], ..self }
    }

    fn caller(&self) -> Caller<'_> {
        let may_repeat = matches!(self.operation, "read" | "lookup");
        Caller { thread: self.thread, name: &self.name, may_repeat }
    }

    /// All that others may wait for until it is answered.
    fn held(&self) -> impl Iterator<Item = INodeNo> + use<> {
        std::iter::once(self.ino).chain(self.also.into_iter().flatten())
    }

    /// For an `open`.
    fn of_open(self) -> Self {
        Self { refusable: Refusable::Open, ..self }
    }

    /// For a `create`.
    fn of_create(self) -> Self {
        Self { refusable: Refusable::Create(self.ino, self.name.clone()), ..self }
    }
}

impl<V: Vfs> Adapter<V> {
    /// Whether the kernel begins anew if this is answered `ESTALE`.
    fn attempt(&self, subject: &Subject) -> Attempt {
        match subject.refusable {
            Refusable::Lookup => self.shared.retries.of_lookup(subject.thread),
            _ => self.shared.retries.of_open(subject.thread, &subject.refusable),
        }
    }

    /// Who calls. Where only the kernel looks at permissions, it knows enough of the groups.
    fn who(&self, request: &Request, umask: u32) -> Credentials {
        let groups = if self.policy.is_posix { who::groups(request) } else { Vec::new() };
        Credentials { uid: request.uid(), gid: request.gid(), groups, umask }
    }

    /// Carries out a request and answers it: at once, if it needs nobody else, otherwise in a task. If
    /// it takes too long, or the caller is being killed, the caller gets an error, and the work goes
    /// on without it: what it has begun, such as sending bytes, must not stop halfway. Calls that it
    /// makes to servers end all the same.
    fn run<T: Send, R: Answer<T>>(
        &self,
        subject: Subject,
        reply: R,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) {
        self.run_or_undo(subject, reply, work, |_, _| std::future::ready(Ok(())));
    }

    /// The same for what the caller would have to give back, such as a handle: if it was not told of
    /// it any more, `undo` does that.
    fn run_or_undo<T, R, U>(
        &self,
        subject: Subject,
        reply: R,
        work: impl Future<Output = Result<T>> + Send + 'static,
        undo: impl FnOnce(V, T) -> U + Send + 'static,
    ) where
        T: Send,
        R: Answer<T>,
        U: Future<Output = Result<()>> + Send,
    {
        let deadline = self.shared.deadlines.of(subject.held(), subject.caller());
        // Work without a deadline ends with the wish of whoever waits for it.
        let given_up = deadline.is_none().then(CancellationToken::new);
        let mut work = Box::pin(patience(deadline, given_up.clone()).scope(work));
        let turn = Turn::begin();
        let shard = turn.as_ref().map(Turn::shard);
        let _entered = shard.map(Shard::enter);
        if let Poll::Ready(outcome) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return self.shared.finish(&self.vfs, &subject, reply, outcome);
        }
        // The task looks again first of all, so nothing is missed that happened meanwhile.
        let runtime = shard.map_or_else(|| self.runtime.clone(), |shard| shard.runtime().clone());
        let (shared, vfs) = (Arc::clone(&self.shared), self.vfs.clone());
        runtime.spawn(async move {
            let _turn = turn;
            let request = deadline.map(|deadline| deadline.request);
            let (outcome, unfinished) = tokio::select! {
                biased;
                outcome = &mut work => (outcome, None),
                error = impatience(subject.thread, request) => (Err(error), Some(work)),
            };
            match &outcome {
                Ok(_) => shared.deadlines.met(subject.held()),
                Err(error) if error.kind().is_late() => {
                    shared.deadlines.missed(subject.held(), subject.caller());
                }
                Err(_) => {}
            }
            shared.finish(&vfs, &subject, reply, outcome);
            given_up.inspect(CancellationToken::cancel);
            let Some(work) = unfinished else { return };
            let undone = match work.await {
                Ok(done) => undo(vfs, done).await,
                Err(error) => Err(error),
            };
            if let Err(error) = undone {
                tracing::debug!("{}, given up before: {error}", subject.operation);
            }
        });
    }

    /// Carries out a request that may wait for other programs, for as long as they like. If the caller
    /// is being killed, the work hears of it at its next call to a server.
    fn run_patiently<T: Send, R: Answer<T>>(
        &self,
        subject: Subject,
        reply: R,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) {
        let given_up = CancellationToken::new();
        let (shared, vfs) = (Arc::clone(&self.shared), self.vfs.clone());
        let work = patience(None, Some(given_up.clone())).scope(work);
        self.runtime.spawn(async move {
            let mut work = pin!(work);
            let outcome = tokio::select! {
                biased;
                outcome = &mut work => outcome,
                _ = impatience(subject.thread, None) => {
                    given_up.cancel();
                    work.await
                }
            };
            shared.finish(&vfs, &subject, reply, outcome);
        });
    }
}

/// The patience of a request with this deadline, or none.
fn patience(deadline: Option<Deadline>, given_up: Option<CancellationToken>) -> Patience {
    let patience = match deadline {
        Some(deadline) => Patience::until(deadline.calls),
        None => Patience::for_each_call(),
    };
    match given_up {
        Some(given_up) => patience.unless(given_up),
        None => patience,
    }
}

/// Returns why a caller is not kept waiting any longer.
async fn impatience(thread: u32, deadline: Option<Instant>) -> FsError {
    loop {
        let left = deadline.map(|moment| moment.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return FsError::new(ErrorKind::TimedOut, "the servers took too long");
        }
        tokio::time::sleep(left.map_or(SIGNAL_PERIOD, |left| left.min(SIGNAL_PERIOD))).await;
        if who::is_killed(thread) {
            return FsError::new(ErrorKind::Interrupted, "the caller was killed");
        }
    }
}
