//! The homework's client: HtProxy, and above it Memory, a file system in two hash tables.

pub mod cache;
pub mod ht_proxy;
pub mod inodes;
pub mod key_path;
mod key_types;
pub mod memory;
pub mod names;
pub mod open_file;
pub mod open_files;
pub mod path_locks;
pub mod stat;

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod tests;

pub use crate::proto::form::{Form, Layout};
pub use ht_proxy::{HtProxy, Record};
pub use key_path::KeyPath;
pub use memory::Memory;
