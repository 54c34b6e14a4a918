//! What a file system tells the kernel that it must forget, and asks of it.

use tokio::sync::oneshot::Receiver;

use crate::types::{Attr, Ino, Name};

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
    /// reads of the kernel that are under way, and for writes: what was stored in mappings comes first.
    fn contents_now(&self, ino: Ino);
    /// [`Self::contents_now`] for a range that is not empty.
    fn range_now(&self, ino: Ino, offset: u64, length: u64);
    /// As [`Self::contents`]; told of when that and all before it are forgotten.
    fn contents_in_turn(&self, ino: Ino) -> Receiver<()>;
    /// The size that it takes a file to have, as far as that is sure.
    fn size(&self, ino: Ino) -> Option<u64>;
}
