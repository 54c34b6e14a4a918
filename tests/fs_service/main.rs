//! The native methods of the master, called over TLS as clients and chunk servers call them.

#[path = "../common/mod.rs"]
mod common;

mod chunks;
mod client;
mod events;
mod gateway;
mod heart;
mod locks;
mod lost_locks;
mod names;
mod orphans;
mod recovery;
mod whole;
