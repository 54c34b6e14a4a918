//! The methods on the wire: one type per method, with its name, encoding and decoding together.
//! Knows types and values, no sockets. The only contract between the three roles.

pub mod classic;
mod field;
pub mod fs;
pub mod server;
pub mod session;
pub mod values;

pub use field::{Field, Packed};
