//! `htfs log`: the last operations in the log of a server.

use std::fmt;

use serde::Serialize;

use super::{columns, count, failure};
use crate::error::Result;
use crate::proto::log::{LogStatus, ShowLog, ShowStatus};
use crate::rpc::RpcClient;
use crate::types::{Operation, ServerUrl};

/// The answer of the command.
#[derive(Debug, Serialize)]
pub struct Log {
    url: ServerUrl,
    role: String,
    /// How many operations are in the log; the last ones follow.
    operations: u64,
    backup_every: u64,
    log: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    number: u64,
    what: String,
    key: String,
    size: Option<u64>,
    more: u64,
}

impl Log {
    /// Asks a server for its last operations, at most so many.
    ///
    /// # Errors
    /// Says why it has not answered.
    pub async fn of(client: &RpcClient, url: ServerUrl, limit: u64) -> Result<Self> {
        let status = client.call(url.as_str(), ShowStatus).await;
        let context = |error| failure(error).context(&url);
        let LogStatus { role, state, .. } = status.map_err(context)?;
        let log = client.call(url.as_str(), ShowLog { limit }).await.map_err(context)?;
        let row = |operation: Operation| {
            let Operation { number, what, key, size, more } = operation;
            Row { number, what, key, size, more }
        };
        Ok(Self {
            role,
            operations: state.operations,
            backup_every: state.backup_every,
            log: log.into_iter().map(row).collect(),
            url,
        })
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, role, operations, backup_every, log } = self;
        let held = count(*operations, "operation", "operations");
        writeln!(f, "{url} ({role}): {held} in the log, which is emptied at {backup_every}")?;
        let rows = log.iter().map(|row| {
            let size = row.size.map(|size| count(size, "byte", "bytes")).unwrap_or_default();
            let more = match row.more {
                0 => String::new(),
                more => format!("and {}", count(more, "other", "others")),
            };
            vec![row.number.to_string(), row.what.clone(), row.key.clone(), size, more]
        });
        f.write_str(&columns(&rows.collect::<Vec<_>>()))
    }
}
