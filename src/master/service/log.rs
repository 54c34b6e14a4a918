//! The methods that show the log, and the servers that the master knows.

use std::sync::Arc;

use tokio::task::block_in_place;

use super::Master;
use crate::clock;
use crate::error::Result;
use crate::master::state::ROLE;
use crate::proto::cluster::{ListServers, ServerUrls};
use crate::proto::log::{LogStatus, ShowLog, ShowStatus};
use crate::rpc::Registry;
use crate::types::{Operation, ServerId};

impl Master {
    pub(super) fn add_log(self: &Arc<Self>, registry: &mut Registry) {
        let master = Arc::clone(self);
        registry.add(move |_: ShowStatus, _| {
            let status = block_in_place(|| master.log_status());
            async { status }
        });
        let master = Arc::clone(self);
        registry.add(move |call: ShowLog, _| {
            let operations = block_in_place(|| master.last_operations(call.limit));
            async { operations }
        });
        let master = Arc::clone(self);
        registry.add(move |ListServers {}, _| {
            let sizes = block_in_place(|| master.state().sizes());
            let members = master.members();
            let url = |server: &ServerId| members.url_of(server);
            let urls = sizes.map(|sizes| sizes.iter().filter_map(|(id, _)| url(id)).collect());
            drop(members);
            async { urls.map(ServerUrls) }
        });
    }

    /// The last operations, with the URLs of servers instead of their identities.
    fn last_operations(&self, limit: u64) -> Result<Vec<Operation>> {
        let mut operations = self.state().last_operations(limit)?;
        let members = self.members();
        for operation in &mut operations {
            let server = operation.key.parse::<ServerId>().ok().filter(ServerId::is_number);
            if let Some(url) = server.and_then(|server| members.url_of(&server)) {
                operation.key = url.to_string();
            }
        }
        Ok(operations)
    }

    fn log_status(&self) -> Result<LogStatus> {
        let state = self.state().log_state()?;
        Ok(LogStatus::new(ROLE, state, clock::now()))
    }
}
