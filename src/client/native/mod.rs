//! The native client: a mount of the whole tree, coherent with all others.

pub mod dirty;
