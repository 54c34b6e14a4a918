//! The methods of the file system, offered.

use std::future::{Future, ready};
use std::sync::Arc;

use tokio::task::block_in_place;

use super::FileSystem;
use crate::error::Result;
use crate::proto::session::{Attach, Renew};
use crate::rpc::{Method, Registry};

impl FileSystem {
    /// Offers all methods.
    pub fn add_to(self: &Arc<Self>, registry: &mut Registry) {
        self.add_questions(registry);
        self.add_changes(registry);
        self.add_clients(registry);
    }

    fn add_questions(self: &Arc<Self>, registry: &mut Registry) {
        self.quick(registry, Self::lookup);
        self.quick(registry, Self::getattr);
        self.quick(registry, Self::access);
        self.quick(registry, Self::readlink);
        self.quick(registry, Self::readdir);
        self.quick(registry, Self::getxattr);
        self.quick(registry, Self::listxattr);
        self.quick(registry, Self::layout);
        self.quick(registry, Self::statfs);
        self.quick(registry, Self::members);
        self.quick(registry, Self::list_strays);
        self.quick(registry, Self::remove_strays);
    }

    fn add_changes(self: &Arc<Self>, registry: &mut Registry) {
        self.quick(registry, Self::mkdir);
        self.quick(registry, Self::mknod);
        self.quick(registry, Self::symlink);
        self.quick(registry, Self::link);
        self.quick(registry, Self::unlink);
        self.quick(registry, Self::rmdir);
        self.quick(registry, Self::rename);
        let files = Arc::clone(self);
        registry.add_quick(move |call, _| Arc::clone(&files).setattr(call));
        self.quick(registry, Self::setxattr);
        self.quick(registry, Self::removexattr);
        self.quick(registry, Self::open);
        self.quick(registry, Self::create);
        self.quick(registry, Self::place);
        let files = Arc::clone(self);
        registry.add_quick(move |call, _| Arc::clone(&files).extend(call));
        self.quick(registry, Self::append);
        self.quick(registry, Self::abort_append);
        self.may_wait(registry, Self::heartbeat);
        self.may_wait(registry, Self::report);
    }

    fn add_clients(self: &Arc<Self>, registry: &mut Registry) {
        let files = Arc::clone(self);
        registry.add(move |call: Attach, caller| {
            ready(block_in_place(|| files.attach(call, caller.peer())))
        });
        self.may_wait(registry, Self::detach);
        let files = Arc::clone(self);
        registry.add_quick(move |call: Renew, caller| ready(files.renew(call, caller.peer())));
        self.quick(registry, Self::getlk);
        let files = Arc::clone(self);
        registry.add_quick(move |call, _| Arc::clone(&files).wait_events(call));
        self.waits(registry, Self::setlk);
    }

    /// A method that reads, from memory nearly always, or writes, into the operating system's cache:
    /// either takes microseconds. Handing the thread's other work over to another thread meanwhile
    /// was measured to cost ten times more than a transaction itself.
    fn quick<M: Method>(
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
