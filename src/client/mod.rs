//! The client: what a mount does.

pub mod native;
