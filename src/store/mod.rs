//! Durable state. [`txn`] says what a transaction is; the tables of the master and of a chunk
//! server are written against it.
//!
//! From the ground up: [`fjall`] keeps tables on disk, [`memory`] keeps them in a map; [`logged`]
//! puts the homework's log and backup above the disk; [`table`] is the hash table with expiry,
//! over any of them. [`dir`] is a server's data directory, `format` its marker, [`file`] what is
//! written there beside the store, [`print`] the lines of `print_content`, [`operation`] what is
//! shown of a log; [`background`] is the work beside the calls, [`panic`] the end of a process in
//! whose store something panicked.

pub mod background;
mod changes;
pub mod dir;
pub mod file;
pub mod fjall;
mod format;
pub mod logged;
pub mod memory;
pub mod operation;
pub mod panic;
pub mod print;
pub mod table;
pub mod txn;

pub use background::{in_background, sweep_periodically, sync_periodically};
pub use dir::DataDir;
pub use fjall::{Purpose, Snapshot, Store};
pub use logged::Logged;
pub use memory::Memory;
pub use table::{HashTable, Record};
pub use txn::{ReadTxn, TABLE_END, Table, Txn};

/// Filters for the log: what the database below has to say while nothing is wrong.
pub const QUIET: [&str; 2] = ["fjall=warn", "lsm_tree=warn"];
