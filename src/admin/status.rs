//! `htfs status`: log and backup of every server.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::strays::Garbage;
use super::{columns, count, failure, moment};
use crate::clock::Timestamp;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::cluster::{ListServers, ServerUrls};
use crate::proto::log::{LogStatus, ShowStatus};
use crate::rpc::RpcClient;
use crate::types::ServerUrl;

/// The answer of the command.
#[derive(Debug, Serialize)]
pub struct Status {
    servers: Vec<ServerStatus>,
    /// What chunk servers hold that no file refers to, if the master was asked and tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    garbage: Option<Garbage>,
}

#[derive(Debug, Serialize)]
struct ServerStatus {
    url: ServerUrl,
    #[serde(flatten)]
    answer: Answer,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Answer {
    Known {
        role: String,
        operations: u64,
        backup_every: u64,
        backup_entries: u64,
        /// In seconds since 1970.
        backup_time: Option<u64>,
        /// In seconds.
        backup_age: Option<u64>,
    },
    Unknown {
        error: String,
    },
}

impl Status {
    /// Asks a master, and the chunk servers that it knows.
    pub async fn of_cluster(client: &RpcClient, master: ServerUrl) -> Self {
        // What does not list its servers is asked itself, and says why.
        let listed = client.call(master.as_str(), ListServers {}).await;
        let chunks = listed.map_or_else(|_| Vec::new(), |ServerUrls(chunks)| chunks);
        let garbage = Garbage::of(client, &master).await.ok();
        let all = std::iter::once(master).chain(chunks).collect();
        Self { garbage, ..Self::of(client, all).await }
    }

    /// Asks servers, some of them at once.
    pub async fn of(client: &RpcClient, urls: Vec<ServerUrl>) -> Self {
        let places = Arc::new(Semaphore::new(limits::COMMAND_CALLS_MAX));
        let mut asking = JoinSet::new();
        for (number, url) in urls.into_iter().enumerate() {
            let (client, places) = (client.clone(), Arc::clone(&places));
            asking.spawn(async move {
                let _place = places.acquire().await;
                let asked = client.call(url.as_str(), ShowStatus).await;
                let answer = asked.map_or_else(
                    |error| Answer::Unknown { error: failure(error).to_string() },
                    Answer::from,
                );
                (number, ServerStatus { url, answer })
            });
        }
        let mut servers = asking.join_all().await;
        servers.sort_by_key(|(number, _)| *number);
        let servers = servers.into_iter().map(|(_, server)| server).collect();
        Self { servers, garbage: None }
    }

    /// Whether all servers have answered.
    ///
    /// # Errors
    /// `Unreachable` says how many have not.
    pub fn check(&self) -> Result<()> {
        let is_silent = |server: &&ServerStatus| matches!(server.answer, Answer::Unknown { .. });
        match (self.servers.iter().filter(is_silent).count(), self.servers.len()) {
            (0, _) => Ok(()),
            (silent, all) => {
                let message = format!("{silent} of {all} servers gave no status");
                Err(FsError::new(ErrorKind::Unreachable, message))
            }
        }
    }
}

impl From<LogStatus> for Answer {
    fn from(status: LogStatus) -> Self {
        let LogStatus { role, state, backup_age_s } = status;
        Self::Known {
            role,
            operations: state.operations,
            backup_every: state.backup_every,
            backup_entries: state.backup_entries,
            backup_time: state.renewed.map(|Timestamp(ms)| ms / 1000),
            backup_age: backup_age_s,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["SERVER", "ROLE", "LOG", "BACKUP"].map(str::to_owned).to_vec();
        let rows = self.servers.iter().map(|server| {
            let url = server.url.to_string();
            match &server.answer {
                Answer::Unknown { error } => vec![url, "-".into(), "-".into(), error.clone()],
                Answer::Known { role, operations, backup_every, .. } => {
                    let log = format!("{operations} of {backup_every}");
                    vec![url, role.clone(), log, server.answer.backup()]
                }
            }
        });
        f.write_str(&columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>()))?;
        let mut notes = self.garbage.iter().flat_map(Garbage::notes);
        notes.try_for_each(|note| writeln!(f, "{note}"))
    }
}

impl Answer {
    fn backup(&self) -> String {
        let Self::Known { backup_entries, backup_time, backup_age, .. } = self else {
            return String::new();
        };
        let entries = count(*backup_entries, "entry", "entries");
        match (backup_time, backup_age) {
            (Some(time_s), Some(age_s)) => {
                let time = Timestamp(time_s.saturating_mul(1000));
                format!("{entries}, renewed {}", moment(time, *age_s))
            }
            _ => format!("{entries}, not renewed yet"),
        }
    }
}
