//! What the kernel knows of a mounted file system, and what it may do by itself.

use std::time::Duration;

use tokio::sync::oneshot::Receiver;

use crate::types::{Attr, Ino, Name};

/// What the kernel may do by itself, and what it leaves to the file system.
#[derive(Clone, Copy, Debug)]
pub struct KernelPolicy {
    /// How long it uses names, absent ones included, and attributes without asking again.
    pub cache_ttl: Duration,
    /// The file system does all that POSIX knows: locks, umask and ACLs, set-id bits, devices. Of
    /// one that does not, the kernel applies the umask and keeps the locks of its own machine.
    pub is_posix: bool,
}

/// Who else holds copies of names, attributes and contents: the kernel. The calls must not wait
/// for an operation of the mount.
pub trait Notify: Send + Sync {
    /// What a name stands for has changed.
    fn entry(&self, parent: Ino, name: &Name);
    /// Attributes have changed, the contents have not.
    fn attributes(&self, ino: Ino);
    /// Contents and attributes have changed.
    fn contents(&self, ino: Ino);
    /// Whether something that it was told is not forgotten yet.
    fn is_behind(&self) -> bool;
    /// Attributes are these now; what it has of them is forgotten when this returns, which is at
    /// once.
    fn attributes_now(&self, now: &Attr);
    /// Contents and attributes have changed, and are forgotten when this returns. It may wait for
    /// reads of the kernel that are under way.
    fn contents_now(&self, ino: Ino);
    /// As [`Self::contents`]; told of when that and all before it are forgotten.
    fn contents_in_turn(&self, ino: Ino) -> Receiver<()>;
    /// The size that it takes a file to have, as far as that is sure.
    fn size(&self, ino: Ino) -> Option<u64>;
}

/// Whether the kernel looks up all names anew and tries once more, if it is answered `Stale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It does.
    First,
    /// It has done so, or may have: `Stale` is for the program.
    Last,
}
