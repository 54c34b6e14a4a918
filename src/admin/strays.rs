//! `htfs gc`: the chunks that no file refers to, and their removal.

use std::fmt;

use serde::Serialize;

use super::{columns, count, duration, failure};
use crate::error::Result;
use crate::proto::Packed;
use crate::proto::cluster::{ListStrays, RemoveStrays, ServerStrays, Strays};
use crate::rpc::RpcClient;
use crate::types::{ServerId, ServerUrl};

/// The answer of the command.
#[derive(Debug, Serialize)]
pub struct Garbage {
    servers: Vec<Row>,
}

/// The strays of one server.
#[derive(Debug, Serialize)]
struct Row {
    server: ServerId,
    url: ServerUrl,
    chunks: u64,
    strays: u64,
    set_aside: u64,
    /// In seconds, if any will be removed.
    removed_in: Option<u64>,
    is_held_back: bool,
}

impl Garbage {
    /// Asks a master what its chunk servers hold that no file refers to.
    ///
    /// # Errors
    /// Says why it has not answered.
    pub async fn of(client: &RpcClient, master: &ServerUrl) -> Result<Self> {
        let asked = client.call(master.as_str(), ListStrays {}).await;
        let Packed(strays) = asked.map_err(|error| failure(error).context(master))?;
        Ok(Self { servers: strays.into_iter().map(Row::from).collect() })
    }

    /// How many chunks would be removed.
    #[must_use]
    pub fn strays(&self) -> u64 {
        self.servers.iter().map(|row| row.strays).sum()
    }

    /// Lets all servers remove their strays.
    ///
    /// # Errors
    /// Says which one could not be told, and why; those before it have been.
    pub async fn remove(&self, client: &RpcClient, master: &ServerUrl) -> Result<()> {
        for row in self.servers.iter().filter(|row| row.strays > 0) {
            let call = RemoveStrays { server: row.server.clone() };
            let told = client.call(master.as_str(), call).await;
            told.map_err(|error| failure(error).context(&row.url))?;
        }
        Ok(())
    }

    /// The servers that have strays, for `htfs status`.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        self.servers.iter().filter(|row| row.strays > 0).map(|row| {
            let strays = count(row.strays, "chunk", "chunks");
            format!("{}: {strays} that no file refers to; {}", row.url, row.fate())
        })
    }
}

impl From<ServerStrays> for Row {
    fn from(ServerStrays { server, url, strays }: ServerStrays) -> Self {
        let Strays { chunks, strays, set_aside, removed_in_s, is_held_back } = strays;
        Self { server, url, chunks, strays, set_aside, removed_in: removed_in_s, is_held_back }
    }
}

impl Row {
    /// What becomes of the strays.
    fn fate(&self) -> String {
        match self.removed_in {
            _ if self.strays == 0 => "none".to_owned(),
            _ if self.is_held_back => {
                "kept, because they are so many, or the master's data older than they were: look why, \
                 then htfs gc --confirm"
                    .to_owned()
            }
            Some(seconds) => format!("the first is removed in {}", duration(seconds)),
            None => "kept for now".to_owned(),
        }
    }
}

impl fmt::Display for Garbage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["SERVER", "ID", "CHUNKS", "STRAYS", "SET ASIDE", "REMOVAL"];
        let rows = self.servers.iter().map(|row| {
            let numbers = [row.chunks, row.strays, row.set_aside].map(|number| number.to_string());
            let names = [row.url.to_string(), row.server.short()];
            [names.as_slice(), &numbers, &[row.fate()]].concat()
        });
        let head = std::iter::once(head.map(str::to_owned).to_vec());
        f.write_str(&columns(&head.chain(rows).collect::<Vec<_>>()))
    }
}
