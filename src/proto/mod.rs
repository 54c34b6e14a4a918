//! The methods on the wire: one type per method, with its name, encoding and decoding together.
//! Knows types and values, no sockets. The only contract between the three roles.

mod append;
pub mod chunk;
pub mod classic;
pub mod cluster;
mod field;
pub mod form;
pub mod fs;
pub mod gateway;
pub mod log;
pub mod path_list;
pub mod python;
pub mod server;
pub mod session;
pub mod values;
mod xattr;

pub use field::{Field, Packed};
