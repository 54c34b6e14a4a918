//! The client: mounts a file system whose contents and attributes are on servers.

pub mod calls;
pub mod classic;
pub mod fuse;
pub mod native;
pub mod vfs;
