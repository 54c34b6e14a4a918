//! Durable state. [`txn`] says what a transaction is; the tables of the master and of a chunk
//! server are written against it.

pub mod txn;

pub use txn::{Table, Txn};
