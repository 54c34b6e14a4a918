//! Room for one more chunk server, where others have joined that were never used. Whoever invents
//! identities must not keep real servers out.

use std::collections::HashSet;

use super::{FileSystem, lock};
use crate::clock;
use crate::error::Result;
use crate::limits;
use crate::master::chunks;
use crate::store::Purpose;
use crate::types::ServerId;

impl FileSystem {
    /// Forgets some servers that are not alive and have nothing, if a new one finds no room. Nothing is
    /// lost by that: they can join again.
    ///
    /// # Errors
    /// What the store says.
    pub(super) fn make_room_for(&self, joining: &ServerId) -> Result<()> {
        if self.master.members().has(joining) || !self.is_full() {
            return Ok(());
        }
        let mut unused = self.unused_members()?;
        unused.truncate(limits::MEMBERS_FORGOTTEN_AT_ONCE);
        for server in &unused {
            self.forget(server)?;
        }
        if !unused.is_empty() {
            let count = unused.len();
            tracing::warn!(count, "chunk servers were forgotten: too many have no file");
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        let members = self.master.members();
        members.is_full() || self.master.state().is_full()
    }

    fn unused_members(&self) -> Result<Vec<ServerId>> {
        let usage = self.store.read(chunks::usage)?.into_iter();
        let used: HashSet<_> = usage.filter(|(_, bytes)| *bytes > 0).map(|(id, _)| id).collect();
        let mut servers = self.master.members().not_former();
        let (heard, now) = (lock(&self.servers), clock::uptime());
        servers.retain(|server| !used.contains(server) && !heard.is_alive(server, now));
        drop(heard);
        self.master.state().without_files(servers)
    }

    /// The member goes last: after a crash in between, this is done again.
    fn forget(&self, server: &ServerId) -> Result<()> {
        let mut members = self.master.members_mut();
        if self.is_alive(server) {
            return Ok(());
        }
        self.master.state().leave(server)?;
        self.store.write_for(Purpose::Deletion, |txn| {
            chunks::forget(txn, server);
            Ok(())
        })?;
        lock(&self.servers).forget(server);
        members.forget(&self.store, server)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::super::{FileSystem, lock};
    use crate::clock;
    use crate::error::{ErrorKind, Result};
    use crate::limits;
    use crate::master::chunks::{self, Health};
    use crate::master::service::Master;
    use crate::master::state::{ROLE, State};
    use crate::proto::chunk::Optional;
    use crate::proto::cluster::{Join, Strays};
    use crate::store::DataDir;
    use crate::types::{ServerId, ServerUrl};

    /// A master that takes three servers.
    fn start(place: &tempfile::TempDir) -> (Arc<Master>, Arc<FileSystem>) {
        let dir = DataDir::open(&place.path().join("data"), ROLE).unwrap();
        let state = State::open(&dir, limits::BACKUP_EVERY_DEFAULT).unwrap();
        let master = Master::new(dir, state).unwrap();
        let shutdown = CancellationToken::new();
        let files = FileSystem::start(&master, Duration::from_secs(60), &shutdown).unwrap();
        master.members_mut().limit(3);
        (master, files)
    }

    fn id(number: u16) -> ServerId {
        ServerId::new(number.into())
    }

    fn join(files: &FileSystem, number: u16, held: u64) -> Result<()> {
        let call = Join {
            server: id(number),
            url: ServerUrl::new(format!("https://localhost:{}", 9000 + number)).unwrap(),
            cluster: Optional(None),
            boot: 1,
            process: 1,
            held,
            has_chunks: false,
        };
        files.join(call, None).map(drop)
    }

    fn hear(files: &FileSystem, number: u16) {
        let (health, now) = (Health::default(), clock::uptime());
        lock(&files.servers).heard(&id(number), health, Strays::default(), now).unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_has_nothing_and_is_not_alive_makes_room_for_a_new_one() {
        let place = tempfile::tempdir().unwrap();
        let (master, files) = start(&place);
        // One has classic files, one chunks; only the third has nothing.
        join(&files, 1, 100).unwrap();
        join(&files, 2, 0).unwrap();
        join(&files, 3, 0).unwrap();
        let grown = [(id(2), 4096)].into();
        files.store.write(|txn| chunks::count(txn, &grown, ServerId::clone)).unwrap();
        join(&files, 4, 0).unwrap();
        let has = |number| master.members().has(&id(number));
        assert!(has(1) && has(2) && !has(3) && has(4));
        assert!(!master.state().is_registered(&id(3)).unwrap());
        // It is taken back in the same way.
        join(&files, 3, 0).unwrap();
        assert!(has(1) && has(2) && has(3) && !has(4));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_new_server_is_refused_when_all_others_are_alive_or_have_something() {
        let place = tempfile::tempdir().unwrap();
        let (master, files) = start(&place);
        join(&files, 1, 100).unwrap();
        for number in [2, 3] {
            join(&files, number, 0).unwrap();
            hear(&files, number);
        }
        assert_eq!(join(&files, 4, 0).unwrap_err().kind(), ErrorKind::NoSpace);
        assert!((1..4).all(|number| master.members().has(&id(number))));
        // Who is a member needs no room.
        join(&files, 2, 0).unwrap();
    }
}
