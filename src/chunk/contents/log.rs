//! Log and backup of a chunk server, to be looked at.

use super::Contents;
use crate::chunk::index::{Entries, Stored};
use crate::error::Result;
use crate::types::{LogState, Operation};

impl Contents {
    /// Where log and backup stand.
    ///
    /// # Errors
    /// What the store says.
    pub fn log_state(&self) -> Result<LogState> {
        self.index().logged().state(Entries::counts)
    }

    /// The last operations in the log, at most so many.
    ///
    /// # Errors
    /// What the store says.
    pub fn last_operations(&self, limit: u64) -> Result<Vec<Operation>> {
        let last = self.index().logged().last(limit)?;
        let operation = last.iter().map(|update| {
            let on_entries = update.on_entries::<Stored>();
            on_entries.unwrap_or_else(|| update.operation("other", b"", None))
        });
        Ok(operation.collect())
    }
}
