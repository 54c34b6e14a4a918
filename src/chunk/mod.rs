//! The chunk server.

pub mod native;
