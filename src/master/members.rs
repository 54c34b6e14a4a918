//! Who belongs to the cluster: its identity, that of this master, and the chunk servers with theirs.
//!
//! | table        | key                             | value                               |
//! |--------------|---------------------------------|-------------------------------------|
//! | `cluster`    | `cluster`                       | the cluster's identity, 128 bits    |
//! | `cluster`    | `node`                          | the identity of this master's data  |
//! | `member`     | server                          | a version, then [`Known`] in postcard's form |
//! | `former_url` | URL that records name           | server that was there               |
//!
//! Files made before servers had identities name them by their URLs. The first server that joins at
//! such a URL is the one that is meant, for ever: its data were there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::cluster::{Join, Member};
use crate::random;
use crate::store::{Purpose, ReadTxn, Store, TABLE_END, Table};
use crate::types::{ClusterId, ServerAddress, ServerId, ServerUrl};

/// Identities of the cluster and of this master.
const CLUSTER: Table = Table("cluster");
/// Chunk servers.
const MEMBERS: Table = Table("member");
/// Servers by the URLs that older records have.
const FORMER: Table = Table("former_url");

/// The tables of this module.
pub const TABLES: [Table; 3] = [CLUSTER, MEMBERS, FORMER];

/// Key of the cluster's identity.
const CLUSTER_ID: &[u8] = b"cluster";
/// Key of this master's own.
const NODE_ID: &[u8] = b"node";

/// The version of the records.
const VERSION: u8 = 1;

/// What is known of a chunk server with an identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    url: ServerUrl,
    boot: u64,
    process: u64,
}

/// The members.
#[derive(Debug)]
pub struct Members {
    cluster: ClusterId,
    servers: BTreeMap<ServerId, Known>,
    /// Who is at a URL now.
    at: BTreeMap<ServerUrl, ServerId>,
    /// Who was at a URL when records named servers so.
    former: Arc<Names>,
    /// Servers at most.
    most: usize,
}

/// Servers by the names that older records have for them.
#[derive(Clone, Debug, Default)]
pub struct Names(BTreeMap<ServerId, ServerId>);

impl Names {
    /// The identity of a server that a record names.
    #[must_use]
    pub fn id(&self, name: &ServerId) -> ServerId {
        self.0.get(name).unwrap_or(name).clone()
    }
}

/// The process that joined last as a server, and where it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its URL.
    pub url: ServerUrl,
    /// Its number.
    pub number: u64,
}

/// How the process was found that joined last as a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It answers where it was.
    There,
    /// Nobody is there, or somebody else.
    Gone,
    /// There is no answer that says anything.
    Unclear,
}

/// What is known of a server that joins, beside what it says.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// How the process was found that joined last, by its number; `None` if there was none to look
    /// for.
    pub last: Option<(u64, Found)>,
    /// Whether that process still sends heartbeats.
    pub is_alive: bool,
    /// Whether there are records of the server by its URL.
    pub is_known: bool,
}

/// How a join went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Where the server was before, if that is somewhere else, or it is new.
    pub is_elsewhere: bool,
    /// By what records have named it until now.
    pub was: Option<ServerId>,
}

impl Members {
    /// The members as the store has them; gives the cluster and the master their identities if they
    /// have none.
    ///
    /// # Errors
    /// `Corrupt` if a record makes no sense, and what the store says.
    pub fn open(store: &Store) -> Result<Self> {
        let cluster = match store.read(|txn| identity(txn, CLUSTER_ID))? {
            Some(cluster) => cluster,
            None => found(store)?,
        };
        store.read(|txn| Self::load(txn, ClusterId::new(cluster)))
    }

    fn load(txn: &dyn ReadTxn, cluster: ClusterId) -> Result<Self> {
        let (mut servers, mut at) = (BTreeMap::new(), BTreeMap::new());
        for (id, record) in txn.scan(MEMBERS, &[], TABLE_END, limits::SERVERS_MAX)? {
            let (id, known): (ServerId, Known) = (to_id(&id)?, decode(&record)?);
            at.insert(known.url.clone(), id.clone());
            servers.insert(id, known);
        }
        let rows = txn.scan(FORMER, &[], TABLE_END, limits::SERVERS_MAX)?;
        let former = rows.into_iter().map(|(url, id)| Ok((to_id(&url)?, to_id(&id)?)));
        let former = Arc::new(Names(former.collect::<Result<_>>()?));
        Ok(Self { cluster, servers, at, former, most: limits::SERVERS_MAX })
    }

    /// Which cluster this is.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Who is at a URL; what has no identity is known by that.
    #[must_use]
    pub fn at(&self, url: &ServerUrl) -> ServerId {
        self.at.get(url).cloned().unwrap_or_else(|| ServerId::from(url))
    }

    /// Whether a server with an identity is at a URL, or was.
    #[must_use]
    pub fn has_been_at(&self, url: &ServerUrl) -> bool {
        self.at.contains_key(url) || self.former.0.contains_key(&ServerId::from(url))
    }

    /// The identity of a server that a record names.
    #[must_use]
    pub fn named(&self, name: &ServerId) -> ServerId {
        self.former.id(name)
    }

    /// The names of servers, to be asked where members cannot be locked.
    #[must_use]
    pub fn names(&self) -> Arc<Names> {
        Arc::clone(&self.former)
    }

    /// Where a server is.
    #[must_use]
    pub fn url_of(&self, name: &ServerId) -> Option<ServerUrl> {
        let id = self.named(name);
        self.servers.get(&id).map(|known| known.url.clone()).or_else(|| id.as_url())
    }

    /// Where to call a server, so that no other one takes the call.
    ///
    /// # Errors
    /// `UnknownServer` if it has never joined.
    pub fn address(&self, name: &ServerId) -> Result<ServerAddress> {
        let url = self.url_of(name).ok_or_else(|| unknown(name))?;
        Ok(ServerAddress::new(&self.named(name), &url))
    }

    /// All members, and what older records call them.
    #[must_use]
    pub fn list(&self) -> Vec<Member> {
        let own = self.servers.keys().map(|id| (id, id));
        let all = own.chain(&self.former.0).filter_map(|(named, id)| {
            let url = self.servers.get(id)?.url.clone();
            Some(Member { named: named.clone(), server: id.clone(), url })
        });
        all.collect()
    }

    /// Checks that a call comes from the process that joined last as this server.
    ///
    /// # Errors
    /// `UnknownServer` if it has to join first; `WrongCluster`; `Busy` if another process has joined
    /// as the same server.
    pub fn check(&self, id: &ServerId, cluster: ClusterId, process: u64) -> Result<()> {
        self.check_cluster(Some(cluster), "chunk server")?;
        let known = self.servers.get(id).ok_or_else(|| unknown(id))?;
        if process != known.process {
            return Err(taken(id, known));
        }
        Ok(())
    }

    /// Checks that somebody does not belong to another cluster.
    ///
    /// # Errors
    /// `WrongCluster`.
    pub fn check_cluster(&self, theirs: Option<ClusterId>, who: &str) -> Result<()> {
        match theirs.filter(|theirs| *theirs != self.cluster) {
            None => Ok(()),
            Some(theirs) => Err(FsError::new(
                ErrorKind::WrongCluster,
                format!(
                    "this {who} belongs to cluster {}, not to {}: that is another master, or one \
                     with other data",
                    theirs.short(),
                    self.cluster.short()
                ),
            )),
        }
    }

    /// The process that joined last as a server.
    #[must_use]
    pub fn last_process(&self, id: &ServerId) -> Option<Process> {
        let known = self.servers.get(id)?;
        Some(Process { url: known.url.clone(), number: known.process })
    }

    /// Whether there is no room for one more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.servers.len() >= self.most
    }

    /// Allows only so many servers.
    #[cfg(test)]
    pub fn limit(&mut self, most: usize) {
        self.most = most;
    }

    /// Whether a server is a member.
    #[must_use]
    pub fn has(&self, id: &ServerId) -> bool {
        self.servers.contains_key(id)
    }

    /// The servers that no older record names.
    #[must_use]
    pub fn not_former(&self) -> Vec<ServerId> {
        let former: BTreeSet<_> = self.former.0.values().collect();
        self.servers.keys().filter(|id| !former.contains(id)).cloned().collect()
    }

    /// Forgets a server. It can join again.
    ///
    /// # Errors
    /// What the store says.
    pub fn forget(&mut self, store: &Store, id: &ServerId) -> Result<()> {
        store.write_for(Purpose::Deletion, |txn| {
            txn.delete(MEMBERS, id.as_str().as_bytes());
            Ok(())
        })?;
        self.leave_place(id);
        self.servers.remove(id);
        Ok(())
    }

    /// Takes a server in, or up again wherever it is now.
    ///
    /// # Errors
    /// `WrongCluster`; `Busy` if another process is the same server, or may be; `NoSpace` if there are
    /// too many; what the store says.
    pub fn join(
        &mut self,
        store: &Store,
        join: &Join,
        circumstances: &Circumstances,
    ) -> Result<Joined> {
        let is_known = circumstances.is_known;
        self.check_cluster(join.cluster.0, "chunk server")?;
        let before = self.servers.get(&join.server);
        if let Some(known) = before {
            check_last(join, known, circumstances)?;
        }
        if before.is_none() && join.has_chunks && join.cluster.0.is_none() && !is_known {
            return Err(homeless(&join.url));
        }
        if before.is_none() && self.is_full() {
            return Err(FsError::new(ErrorKind::NoSpace, "there are too many chunk servers"));
        }
        let was = is_known.then(|| ServerId::from(&join.url));
        let is_elsewhere = before.is_none_or(|known| known.url != join.url);
        let known = Known { url: join.url.clone(), boot: join.boot, process: join.process };
        self.keep(store, &join.server, known, was.as_ref())?;
        Ok(Joined { is_elsewhere, was })
    }

    /// A server is not where it was any more, if no other one is there already.
    fn leave_place(&mut self, id: &ServerId) {
        if let Some(before) = self.servers.get(id)
            && self.at.get(&before.url) == Some(id)
        {
            self.at.remove(&before.url);
        }
    }

    fn keep(
        &mut self,
        store: &Store,
        id: &ServerId,
        known: Known,
        was: Option<&ServerId>,
    ) -> Result<()> {
        let is_new = self.servers.get(id) != Some(&known);
        if is_new || was.is_some() {
            // Without it nothing could be deleted: a full disk has room for it.
            store.write_for(Purpose::Deletion, |txn| {
                txn.put(MEMBERS, id.as_str().as_bytes(), &encode(&known));
                if let Some(was) = was {
                    txn.put(FORMER, was.as_str().as_bytes(), id.as_str().as_bytes());
                }
                Ok(())
            })?;
            // Whoever joins forgets all other masters.
            store.sync()?;
        }
        self.leave_place(id);
        self.at.insert(known.url.clone(), id.clone());
        self.servers.insert(id.clone(), known);
        if let Some(was) = was {
            Arc::make_mut(&mut self.former).0.insert(was.clone(), id.clone());
        }
        Ok(())
    }
}

/// The identity of a server that a record names, as [`Members::named`].
///
/// # Errors
/// What the store says.
pub fn named(txn: &dyn ReadTxn, name: &ServerId) -> Result<ServerId> {
    match txn.get(FORMER, name.as_str().as_bytes())? {
        Some(id) => to_id(&id),
        None => Ok(name.clone()),
    }
}

/// Gives the cluster and this master their identities, and answers that of the cluster.
fn found(store: &Store) -> Result<u128> {
    let (cluster, node) = (random::bits_128()?, random::bits_128()?);
    // An upgrade of a full disk has to start, too.
    store.write_for(Purpose::Deletion, |txn| {
        txn.put(CLUSTER, CLUSTER_ID, &cluster.to_be_bytes());
        txn.put(CLUSTER, NODE_ID, &node.to_be_bytes());
        Ok(())
    })?;
    store.sync()?;
    Ok(cluster)
}

fn identity(txn: &dyn ReadTxn, key: &[u8]) -> Result<Option<u128>> {
    let Some(bytes) = txn.get(CLUSTER, key)? else { return Ok(None) };
    bytes.as_ref().try_into().map(|bytes| Some(u128::from_be_bytes(bytes))).map_err(|_| damaged())
}

fn encode(known: &Known) -> Vec<u8> {
    postcard::to_extend(known, vec![VERSION]).expect("a URL and numbers have a binary form")
}

fn decode(record: &[u8]) -> Result<Known> {
    match record.split_first() {
        Some((&VERSION, known)) => postcard::from_bytes(known).map_err(|_| damaged()),
        _ => Err(damaged()),
    }
}

fn to_id(bytes: &[u8]) -> Result<ServerId> {
    std::str::from_utf8(bytes).map_err(|_| damaged())?.parse()
}

/// Checks that a process may take the place of the one that joined last. How often it was started
/// says little: a server that was restored from a backup has been started less often.
///
/// # Errors
/// `Busy` if that one is there, or may be.
fn check_last(join: &Join, known: &Known, circumstances: &Circumstances) -> Result<()> {
    if known.process == join.process {
        return Ok(());
    }
    let last = circumstances.last.filter(|(process, _)| *process == known.process);
    let is_alive = circumstances.is_alive;
    match last.map(|(_, found)| found) {
        Some(Found::There) => Err(taken(&join.server, known)),
        Some(Found::Gone) if join.boot > known.boot || !is_alive => Ok(()),
        Some(Found::Unclear) if !is_alive => Ok(()),
        // Without one, another process has joined while this one was looked at.
        Some(Found::Gone | Found::Unclear) | None => Err(awaited(&join.server, known)),
    }
}

fn unknown(id: &ServerId) -> FsError {
    let message = format!("no chunk server {} has joined this cluster", id.short());
    FsError::new(ErrorKind::UnknownServer, message)
}

fn taken(id: &ServerId, known: &Known) -> FsError {
    let message = format!(
        "another process has joined as chunk server {}, at {}: one of the two data directories is \
         a copy; stop this server, or begin anew with an empty directory",
        id.short(),
        known.url
    );
    FsError::new(ErrorKind::Busy, message)
}

fn awaited(id: &ServerId, known: &Known) -> FsError {
    let message = format!(
        "another process was chunk server {} until a moment ago, at {}: this one is taken for it when \
         that one has been silent for {} s",
        id.short(),
        known.url,
        limits::HEARTBEAT_TIMEOUT.as_secs()
    );
    FsError::new(ErrorKind::Busy, message)
}

fn homeless(url: &ServerUrl) -> FsError {
    let message = format!(
        "this chunk server holds files of a cluster that is not known, and none of this one is at \
         {url}: start it under the URL that it had before, or give it the master whose files it holds"
    );
    FsError::new(ErrorKind::WrongCluster, message)
}

fn damaged() -> FsError {
    FsError::new(ErrorKind::Corrupt, "the table of the cluster's members is damaged")
}

#[cfg(test)]
mod tests {
    use super::{Circumstances, Found, Members, TABLES};
    use crate::error::{ErrorKind, Result};
    use crate::proto::chunk::Optional;
    use crate::proto::cluster::Join;
    use crate::store::Store;
    use crate::types::{ServerId, ServerUrl};

    /// A cluster with one server, whose process 1 was its tenth.
    struct Cluster {
        members: Members,
        store: Store,
        _dir: tempfile::TempDir,
    }

    fn joining(process: u64, boot: u64) -> Join {
        Join {
            server: ServerId::new(7),
            url: ServerUrl::new(format!("https://localhost:{}", 9000 + process)).unwrap(),
            cluster: Optional(None),
            boot,
            process,
            held: 0,
            has_chunks: false,
        }
    }

    impl Cluster {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(dir.path(), &TABLES).unwrap();
            let members = Members::open(&store).unwrap();
            let mut cluster = Self { members, store, _dir: dir };
            cluster.join(&joining(1, 10), None, false).unwrap();
            cluster
        }

        fn join(&mut self, join: &Join, last: Option<(u64, Found)>, is_alive: bool) -> Result<()> {
            let circumstances = Circumstances { last, is_alive, is_known: false };
            self.members.join(&self.store, join, &circumstances).map(drop)
        }

        fn kind(&mut self, join: &Join, found: Found, is_alive: bool) -> Option<ErrorKind> {
            self.join(join, Some((1, found)), is_alive).err().map(|error| error.kind())
        }
    }

    #[test]
    fn nobody_takes_the_place_of_a_process_that_answers() {
        let mut cluster = Cluster::new();
        for (boot, is_alive) in [(u64::MAX, true), (u64::MAX, false), (10, false), (1, true)] {
            let refused = cluster.kind(&joining(2, boot), Found::There, is_alive);
            assert_eq!(refused, Some(ErrorKind::Busy), "{boot} {is_alive}");
        }
        let id = ServerId::new(7);
        cluster.members.check(&id, cluster.members.cluster(), 1).unwrap();
    }

    #[test]
    fn a_server_that_was_started_again_takes_its_place_at_once() {
        let mut cluster = Cluster::new();
        assert_eq!(cluster.kind(&joining(2, 11), Found::Gone, true), None);
    }

    #[test]
    fn a_server_from_a_backup_takes_its_place_when_its_heartbeats_have_stopped() {
        let mut cluster = Cluster::new();
        for boot in [3, 10] {
            assert_eq!(cluster.kind(&joining(2, boot), Found::Gone, true), Some(ErrorKind::Busy));
        }
        assert_eq!(cluster.kind(&joining(2, 3), Found::Gone, false), None);
    }

    #[test]
    fn a_process_that_hangs_is_judged_by_its_heartbeats() {
        let mut cluster = Cluster::new();
        for boot in [3, 11] {
            let refused = cluster.kind(&joining(2, boot), Found::Unclear, true);
            assert_eq!(refused, Some(ErrorKind::Busy));
        }
        assert_eq!(cluster.kind(&joining(2, 3), Found::Unclear, false), None);
    }

    #[test]
    fn who_has_joined_while_another_was_looked_for_is_not_put_out() {
        let mut cluster = Cluster::new();
        cluster.join(&joining(2, 11), Some((1, Found::Gone)), false).unwrap();
        for last in [None, Some((1, Found::Gone))] {
            let error = cluster.join(&joining(3, 12), last, false).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Busy);
        }
    }

    #[test]
    fn who_is_forgotten_joins_as_a_new_one_and_who_is_named_by_older_records_stays() {
        let mut cluster = Cluster::new();
        let id = ServerId::new(7);
        assert_eq!(cluster.members.not_former(), std::slice::from_ref(&id));
        cluster.members.forget(&cluster.store, &id).unwrap();
        let url = joining(1, 10).url;
        assert_eq!(cluster.members.at(&url), ServerId::from(&url));
        assert!(!Members::open(&cluster.store).unwrap().has(&id));
        let circumstances = Circumstances { last: None, is_alive: false, is_known: true };
        cluster.members.join(&cluster.store, &joining(2, 1), &circumstances).unwrap();
        assert_eq!(cluster.members.not_former(), []);
    }

    #[test]
    fn the_same_process_joins_again_and_again() {
        let mut cluster = Cluster::new();
        cluster.join(&joining(1, 10), None, true).unwrap();
    }
}
