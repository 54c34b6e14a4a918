//! The semantics of a mount.

pub mod dirty;
