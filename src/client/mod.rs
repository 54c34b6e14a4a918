//! The client.

pub mod vfs;
