//! What the kernel of a mount may do by itself.

use std::time::Duration;

/// What the kernel may do by itself, and what it leaves to the file system.
#[derive(Clone, Copy, Debug)]
pub struct KernelPolicy {
    /// How long it uses names, absent ones included, and attributes without asking again.
    pub cache_ttl: Duration,
    /// The file system does all that POSIX knows: locks, umask and ACLs, set-id bits, devices. Of
    /// one that does not, the kernel applies the umask and keeps the locks of its own machine.
    pub is_posix: bool,
}

/// Whether the kernel looks up all names anew and tries once more, if it is answered `Stale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It does.
    First,
    /// It has done so, or may have: `Stale` is for the program.
    Last,
}
