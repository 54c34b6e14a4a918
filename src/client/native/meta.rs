//! What the native client asks the master: the methods of [`crate::proto::fs`] and
//! [`crate::proto::session`], each of them one transaction there.

use std::future::Future;

use crate::error::Result;
use crate::rpc::Method;

/// The master. A call is the method's own type, so an operation has one name and one list of
/// parameters from here to the namespace.
pub trait Meta: Send + Sync + 'static {
    /// Calls a method of the master.
    ///
    /// # Errors
    /// The master's own; `Unreachable`, `TimedOut` or `Io` if there is no answer.
    fn ask<M: Method>(&self, call: M) -> impl Future<Output = Result<M::Answer>> + Send;
}
