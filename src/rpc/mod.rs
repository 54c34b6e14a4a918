//! Remote calls: XML-RPC over HTTP/1.1 over TLS, server and client side. Knows no file system.
//!
//! The way of a call: [`client`] encodes a [`Method`] with the codec in [`wire`] and sends it;
//! [`server`] bounds and reads it; [`registry`] finds the handler by the method's name, decodes
//! the parameters and answers with a value or a [`Fault`]. [`shards`] keeps each connection, on both
//! sides, on one thread; [`patience`] says how long a call may take.

pub mod client;
pub mod fault;
pub mod method;
pub mod patience;
pub mod peer;
pub mod program;
pub mod registry;
pub mod server;
pub mod shards;
mod socket;
pub mod tls;
pub mod wire;

pub use client::{Barrier, CallError, RpcClient};
pub use dxr::Value;
pub use fault::Fault;
pub use method::{Answer, Method, Params, WrongType};
pub use patience::Patience;
pub use peer::Peer;
pub use program::Program;
pub use registry::{Caller, Registry};
