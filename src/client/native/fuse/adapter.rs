//! From a request to its answer: a task on the runtime, with a deadline.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fuser::{Errno, ReplyEmpty, ReplyEntry, ReplyXattr};
use tokio::runtime::Handle as Runtime;

use super::{KERNEL_TTL, convert, who};
use crate::client::native::NativeFs;
use crate::client::native::data::Cluster;
use crate::error::{ErrorKind, FsError, Result};
use crate::types::Attr;

/// Time between two looks whether somebody who waits was killed. The kernel does not let him go
/// before he has his answer.
const SIGNAL_PERIOD: Duration = Duration::from_millis(300);

/// A file system as the kernel's library wants it.
pub(super) struct Adapter<C> {
    pub(super) fs: Arc<NativeFs<C>>,
    timeout: Duration,
    pub(super) runtime: Runtime,
}

impl<C: Cluster> Adapter<C> {
    pub(super) fn new(fs: Arc<NativeFs<C>>, timeout: Duration, runtime: Runtime) -> Self {
        Self { fs, timeout, runtime }
    }

    /// Carries out an operation of a thread in a task. If it takes too long, or the thread is being
    /// killed, the caller gets an error, and the operation goes on without him: what it has begun,
    /// such as sending bytes, must not stop halfway.
    pub(super) fn answer<T, F>(
        &self,
        thread: u32,
        operation: &'static str,
        work: impl FnOnce(Arc<NativeFs<C>>) -> F,
        reply: impl FnOnce(std::result::Result<T, Errno>) + Send + 'static,
    ) where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let work = work(Arc::clone(&self.fs));
        let timeout = self.timeout;
        self.runtime.spawn(async move {
            let mut work = Box::pin(work);
            let given_up = tokio::select! {
                biased;
                outcome = &mut work => {
                    return reply(outcome.map_err(|error| convert::errno(operation, &error)));
                }
                error = impatience(thread, timeout) => error,
            };
            reply(Err(convert::errno(operation, &given_up)));
            if let Err(error) = work.await {
                tracing::debug!("{operation}, given up before: {error}");
            }
        });
    }

    pub(super) fn answer_entry<F>(
        &self,
        thread: u32,
        operation: &'static str,
        reply: ReplyEntry,
        work: impl FnOnce(Arc<NativeFs<C>>) -> F,
    ) where
        F: Future<Output = Result<Attr>> + Send + 'static,
    {
        self.answer(thread, operation, work, |outcome| match outcome {
            Ok(attr) => {
                reply.entry(&KERNEL_TTL, &convert::attr(&attr), convert::generation(&attr));
            }
            Err(errno) => reply.error(errno),
        });
    }

    pub(super) fn answer_empty<F>(
        &self,
        thread: u32,
        operation: &'static str,
        reply: ReplyEmpty,
        work: impl FnOnce(Arc<NativeFs<C>>) -> F,
    ) where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.answer(thread, operation, work, |outcome| match outcome {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        });
    }

    pub(super) fn answer_xattr<F>(
        &self,
        thread: u32,
        operation: &'static str,
        size: u32,
        reply: ReplyXattr,
        work: impl FnOnce(Arc<NativeFs<C>>) -> F,
    ) where
        F: Future<Output = Result<Bytes>> + Send + 'static,
    {
        self.answer(thread, operation, work, move |outcome| match outcome {
            Ok(value) => match u32::try_from(value.len()) {
                Ok(length) if size == 0 => reply.size(length),
                Ok(length) if length <= size => reply.data(&value),
                _ => reply.error(Errno::ERANGE),
            },
            Err(errno) => reply.error(errno),
        });
    }
}

/// Returns why a caller is not kept waiting any longer.
async fn impatience(thread: u32, timeout: Duration) -> FsError {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return FsError::new(ErrorKind::TimedOut, "the servers took too long");
        }
        tokio::time::sleep(left.min(SIGNAL_PERIOD)).await;
        if who::is_killed(thread) {
            return FsError::new(ErrorKind::Interrupted, "the caller was killed");
        }
    }
}
