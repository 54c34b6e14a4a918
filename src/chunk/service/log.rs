//! The methods that show the log.

use std::sync::Arc;

use tokio::task::block_in_place;

use crate::chunk::contents::{Contents, ROLE};
use crate::clock;
use crate::error::Result;
use crate::proto::log::{LogStatus, ShowLog, ShowStatus};
use crate::rpc::Registry;

pub(super) fn add_to(registry: &mut Registry, contents: &Arc<Contents>) {
    let own = Arc::clone(contents);
    registry.add(move |_: ShowStatus, _| {
        let status = block_in_place(|| status(&own));
        async { status }
    });
    let own = Arc::clone(contents);
    registry.add(move |call: ShowLog, _| {
        let operations = block_in_place(|| own.last_operations(call.limit));
        async { operations }
    });
}

fn status(contents: &Contents) -> Result<LogStatus> {
    Ok(LogStatus::new(ROLE, contents.log_state()?, clock::now()))
}
