//! From a request to its answer: at once, or in a task with a deadline.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use fuser::{Errno, ReplyEmpty, ReplyEntry, ReplyXattr};
use tokio::runtime::Handle as Runtime;

use super::{KERNEL_TTL, convert};
use crate::client::native::NativeFs;
use crate::client::native::data::Cluster;
use crate::error::{ErrorKind, FsError, Result};
use crate::rpc::shards::Shard;
use crate::types::Attr;

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

    /// Carries out an operation: at once, if it needs nobody else, otherwise in a task. If it takes
    /// too long the caller gets an error, and the operation goes on without him: what it has begun,
    /// such as sending bytes, must not stop halfway.
    pub(super) fn answer<T, F>(
        &self,
        operation: &'static str,
        work: impl FnOnce(Arc<NativeFs<C>>) -> F,
        reply: impl FnOnce(std::result::Result<T, Errno>) + Send + 'static,
    ) where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let mut work = Box::pin(work(Arc::clone(&self.fs)));
        let shard = Shard::next();
        let _entered = shard.map(Shard::enter);
        let mut no_waker = Context::from_waker(Waker::noop());
        if let Poll::Ready(outcome) = work.as_mut().poll(&mut no_waker) {
            return reply(outcome.map_err(|error| convert::errno(operation, &error)));
        }
        let timeout = self.timeout;
        // The task looks again first of all, so nothing is missed that happened meanwhile.
        let runtime = shard.map_or_else(|| self.runtime.clone(), |shard| shard.runtime().clone());
        runtime.spawn(async move {
            match tokio::time::timeout(timeout, &mut work).await {
                Ok(outcome) => reply(outcome.map_err(|error| convert::errno(operation, &error))),
                Err(_) => {
                    let error = FsError::new(ErrorKind::TimedOut, "the servers took too long");
                    reply(Err(convert::errno(operation, &error)));
                    if let Err(error) = work.await {
                        tracing::debug!("{operation}, given up before: {error}");
                    }
                }
            }
        });
    }

    pub(super) fn answer_entry<F>(
        &self,
        operation: &'static str,
        reply: ReplyEntry,
        work: impl FnOnce(Arc<NativeFs<C>>) -> F,
    ) where
        F: Future<Output = Result<Attr>> + Send + 'static,
    {
        self.answer(operation, work, |outcome| match outcome {
            Ok(attr) => {
                reply.entry(&KERNEL_TTL, &convert::attr(&attr), convert::generation(&attr));
            }
            Err(errno) => reply.error(errno),
        });
    }

    pub(super) fn answer_empty<F>(
        &self,
        operation: &'static str,
        reply: ReplyEmpty,
        work: impl FnOnce(Arc<NativeFs<C>>) -> F,
    ) where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.answer(operation, work, |outcome| match outcome {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        });
    }

    pub(super) fn answer_xattr<F>(
        &self,
        operation: &'static str,
        size: u32,
        reply: ReplyXattr,
        work: impl FnOnce(Arc<NativeFs<C>>) -> F,
    ) where
        F: Future<Output = Result<Bytes>> + Send + 'static,
    {
        self.answer(operation, work, move |outcome| match outcome {
            Ok(value) => match u32::try_from(value.len()) {
                Ok(length) if size == 0 => reply.size(length),
                Ok(length) if length <= size => reply.data(&value),
                _ => reply.error(Errno::ERANGE),
            },
            Err(errno) => reply.error(errno),
        });
    }
}
