//! Durable state. [`txn`] says what a transaction is; the tables of the master and of a chunk
//! server are written against it.
//!
//! From the ground up: [`fjall`] keeps tables on disk, [`memory`] keeps them in a map; [`logged`]
//! puts the homework's log and backup above the disk; [`table`] is the hash table with expiry,
//! over any of them. [`dir`] is a server's data directory, [`file`] what is written there beside
//! the store, [`dump`] the format of `write_file`, [`print`] the lines of
//! `print_content`.

mod changes;
pub mod dir;
pub mod dump;
pub mod file;
pub mod fjall;
pub mod logged;
pub mod memory;
pub mod print;
pub mod table;
pub mod txn;

pub use dir::DataDir;
pub use fjall::{Snapshot, Store};
pub use logged::Logged;
pub use memory::Memory;
pub use table::{HashTable, Record};
pub use txn::{ReadTxn, TABLE_END, Table, Txn};

use tokio_util::sync::CancellationToken;

use crate::error::{ErrorKind, Result};
use crate::limits;

/// Filters for the log: what the database below has to say while nothing is wrong.
pub const QUIET: [&str; 2] = ["fjall=warn", "lsm_tree=warn"];

/// Writes acknowledged updates through to the disk from time to time, until `shutdown`.
pub async fn sync_periodically(
    sync: impl Fn() -> Result<()> + Clone + Send + 'static,
    shutdown: CancellationToken,
) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(limits::SYNC_PERIOD) => {}
        }
        if let Ok(Err(error)) = tokio::task::spawn_blocking(sync.clone()).await
            && error.kind() == ErrorKind::ReadOnly
        {
            // The store has said why. Every later write and sync of a caller says it again.
            return;
        }
    }
}
