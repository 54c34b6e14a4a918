//! The methods of the file system, offered.

use std::future::{Future, ready};
use std::sync::Arc;

use tokio::task::block_in_place;

use super::FileSystem;
use crate::error::Result;
use crate::rpc::{Method, Registry};

impl FileSystem {
    /// Offers all methods.
    pub fn add_to(self: &Arc<Self>, registry: &mut Registry) {
        self.add_questions(registry);
        self.add_changes(registry);
        self.add_clients(registry);
    }

    fn add_questions(self: &Arc<Self>, registry: &mut Registry) {
        self.asks(registry, Self::lookup);
        self.asks(registry, Self::getattr);
        self.asks(registry, Self::access);
        self.asks(registry, Self::readlink);
        self.asks(registry, Self::readdir);
        self.asks(registry, Self::getxattr);
        self.asks(registry, Self::listxattr);
        self.asks(registry, Self::layout);
        self.asks(registry, Self::statfs);
    }

    fn add_changes(self: &Arc<Self>, registry: &mut Registry) {
        self.changes(registry, Self::mkdir);
        self.changes(registry, Self::mknod);
        self.changes(registry, Self::symlink);
        self.changes(registry, Self::link);
        self.changes(registry, Self::unlink);
        self.changes(registry, Self::rmdir);
        self.changes(registry, Self::rename);
        self.changes(registry, Self::setattr);
        self.changes(registry, Self::setxattr);
        self.changes(registry, Self::removexattr);
        self.changes(registry, Self::open);
        self.changes(registry, Self::create);
        self.changes(registry, Self::place);
        self.changes(registry, Self::extend);
        self.changes(registry, Self::append);
        self.may_wait(registry, Self::heartbeat);
        self.may_wait(registry, Self::report);
    }

    fn add_clients(self: &Arc<Self>, registry: &mut Registry) {
        self.may_wait(registry, Self::attach);
        self.may_wait(registry, Self::detach);
        self.asks(registry, Self::renew);
        self.asks(registry, Self::getlk);
        let files = Arc::clone(self);
        registry.add_quick(move |call, _| Arc::clone(&files).wait_events(call));
        self.waits(registry, Self::setlk);
    }

    /// A method that reads: from memory, nearly always.
    fn asks<M: Method>(
        self: &Arc<Self>,
        registry: &mut Registry,
        handle: fn(&Self, M) -> Result<M::Answer>,
    ) {
        let files = Arc::clone(self);
        registry.add_quick(move |call: M, _| ready(handle(&files, call)));
    }

    /// A method that writes: into the operating system's cache, which takes microseconds. Handing
    /// the thread's other work over to another thread meanwhile was measured to cost ten
    /// times more than the transaction itself.
    fn changes<M: Method>(
        self: &Arc<Self>,
        registry: &mut Registry,
        handle: fn(&Self, M) -> Result<M::Answer>,
    ) {
        let files = Arc::clone(self);
        registry.add_quick(move |call: M, _| ready(handle(&files, call)));
    }

    /// A method that makes many changes.
    fn may_wait<M: Method>(
        self: &Arc<Self>,
        registry: &mut Registry,
        handle: fn(&Self, M) -> Result<M::Answer>,
    ) {
        let files = Arc::clone(self);
        registry.add(move |call: M, _| ready(block_in_place(|| handle(&files, call))));
    }

    /// A method that may wait for others.
    fn waits<M, F>(self: &Arc<Self>, registry: &mut Registry, handle: fn(Arc<Self>, M) -> F)
    where
        M: Method,
        F: Future<Output = Result<M::Answer>> + Send + 'static,
    {
        let files = Arc::clone(self);
        registry.add(move |call: M, _| handle(Arc::clone(&files), call));
    }
}
