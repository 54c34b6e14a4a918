//! What chunk servers tell: that they are alive, what room they have, what they hold and what they
//! have deleted.

use super::{FileSystem, lock};
use crate::clock;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::master::chunks::{self, Health, Servers};
use crate::master::namespace::View;
use crate::proto::Packed;
use crate::proto::cluster::{Heartbeat, Report};
use crate::proto::fs::{StatFileSystem, StatFs};
use crate::proto::values::Done;
use crate::store::Purpose;
use crate::types::{ChunkKey, ServerUrl};

impl FileSystem {
    /// Whether it is worth the while to call a server: not if it was there and is silent now.
    pub(in crate::master) fn may_answer(&self, server: &ServerUrl) -> bool {
        !lock(&self.servers).is_silent(server, clock::uptime())
    }

    /// Whether a server is alive.
    pub(in crate::master) fn is_alive(&self, server: &ServerUrl) -> bool {
        lock(&self.servers).is_alive(server, clock::uptime())
    }

    /// One of the servers that are alive, always the same for a number while they are the same.
    pub(in crate::master) fn any_alive(&self, number: u64) -> Option<ServerUrl> {
        lock(&self.servers).any_alive(number, clock::uptime())
    }

    pub(super) fn statfs(&self, _: StatFileSystem) -> Result<Packed<StatFs>> {
        let usage = self.look(|view| view.statfs())?;
        let (total, free) = lock(&self.servers).room(clock::uptime());
        Ok(Packed(StatFs { total, free, inodes: usage.inodes }))
    }

    pub(super) fn heartbeat(&self, call: Heartbeat) -> Result<Packed<Vec<ChunkKey>>> {
        let Heartbeat { server, total, free, held, deleted: Packed(deleted) } = call;
        let health = Health { total, free, held };
        let is_news = lock(&self.servers).heard(&server, health, clock::uptime())?;
        if is_news || !deleted.is_empty() {
            self.store.write_for(Purpose::Deletion, |txn| {
                Servers::keep(txn, &server, &health);
                chunks::deleted(txn, &server, &deleted);
                Ok(())
            })?;
        }
        let limit = limits::DELETIONS_PER_HEARTBEAT_MAX;
        self.store.read(|txn| chunks::garbage(txn, &server, limit)).map(Packed)
    }

    pub(super) fn report(&self, call: Report) -> Result<Done> {
        let Report { server, held: Packed(held) } = call;
        if held.len() > limits::REPORT_PAGE_MAX {
            let message = format!("{} chunks in one report are too many", held.len());
            return Err(FsError::new(ErrorKind::TooBig, message));
        }
        let (known, unknown) = self.sort_out(&server, held)?;
        if unknown.is_empty() && known.is_empty() {
            return Ok(Done);
        }
        let now = clock::now();
        self.store.write(|txn| {
            chunks::not_strays(txn, &server, &known);
            chunks::strays(txn, &server, &unknown, now)
        })?;
        Ok(Done)
    }

    /// Which chunks a server has to keep although they were strays once, and which are strays.
    fn sort_out(
        &self,
        server: &ServerUrl,
        held: Vec<ChunkKey>,
    ) -> Result<(Vec<ChunkKey>, Vec<ChunkKey>)> {
        self.store.read(|txn| {
            let view = View::new(txn);
            let (mut known, mut unknown) = (Vec::new(), Vec::new());
            for key in held {
                if !view.is_referenced(key, server)? {
                    unknown.push(key);
                } else if chunks::is_stray(txn, server, &key)? {
                    known.push(key);
                }
            }
            Ok((known, unknown))
        })
    }
}
