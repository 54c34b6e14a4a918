//! The master: names, attributes, and where contents live.

pub mod namespace;
