//! Log and backup of the master, to be looked at.

use super::{Entries, State, Stored};
use crate::error::Result;
use crate::master::accounts::{CHARGES, Charge, PENDING, SERVERS};
use crate::store::logged::Update;
use crate::types::{LogState, Operation};

impl State {
    /// Where log and backup stand.
    ///
    /// # Errors
    /// What the store says.
    pub fn log_state(&self) -> Result<LogState> {
        self.logged.state(Entries::counts)
    }

    /// The last operations in the log, at most so many.
    ///
    /// # Errors
    /// What the store says.
    pub fn last_operations(&self, limit: u64) -> Result<Vec<Operation>> {
        Ok(self.logged.last(limit)?.iter().map(operation).collect())
    }
}

fn operation(update: &Update) -> Operation {
    let on_entries = update.on_entries::<Stored>();
    let on_sizes = || on_charge(update).or_else(|| on_server(update));
    on_entries.or_else(on_sizes).unwrap_or_else(|| update.operation("other", b"", None))
}

/// What an update does to the share of a key in the sizes of servers.
fn on_charge(update: &Update) -> Option<Operation> {
    let (_, key, value) = update.writes.iter().find(|(table, ..)| *table == CHARGES)?;
    let charge: Option<Charge> = value.as_ref().and_then(|bytes| postcard::from_bytes(bytes).ok());
    let is_growth = |(table, _, value): &(_, _, Option<_>)| *table == PENDING && value.is_some();
    let what = if update.writes.iter().any(is_growth) { "changeSize" } else { "release" };
    Some(update.operation(what, key, charge.map(|charge| charge.bytes())))
}

fn on_server(update: &Update) -> Option<Operation> {
    let (_, url, size) = update.writes.iter().find(|(table, ..)| *table == SERVERS)?;
    let size = size.as_ref().and_then(|size| size.as_ref().try_into().ok());
    Some(update.operation("register", url, size.map(u64::from_be_bytes)))
}
