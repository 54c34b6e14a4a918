//! What a file system tells the kernel that it must forget.

use crate::types::{Ino, Name};

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
    /// Attributes may have changed, and are forgotten when this returns, which is at once.
    fn attributes_now(&self, ino: Ino);
    /// Contents and attributes have changed, and are forgotten when this returns. It may wait for
    /// reads of the kernel that are under way, and for writes: what was stored in mappings comes first.
    fn contents_now(&self, ino: Ino);
    /// [`Self::contents_now`] for a range that is not empty.
    fn range_now(&self, ino: Ino, offset: u64, length: u64);
}
