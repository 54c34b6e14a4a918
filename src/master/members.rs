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

use std::collections::BTreeMap;
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
        Ok(Self { cluster, servers, at, former })
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

    /// Takes a server in, or up again wherever it is now. `is_alive` says whether its last process
    /// still sends heartbeats, and `is_known` whether there are records of it by its URL.
    ///
    /// # Errors
    /// `WrongCluster`; `Busy` if another process is the same server; `NoSpace` if there are too many;
    /// what the store says.
    pub fn join(
        &mut self,
        store: &Store,
        join: &Join,
        is_alive: bool,
        is_known: bool,
    ) -> Result<Joined> {
        self.check_cluster(join.cluster.0, "chunk server")?;
        let before = self.servers.get(&join.server);
        if let Some(known) = before.filter(|known| known.process != join.process)
            && (join.boot < known.boot || (join.boot == known.boot && is_alive))
        {
            return Err(taken(&join.server, known));
        }
        if before.is_none() && join.has_chunks && join.cluster.0.is_none() && !is_known {
            return Err(homeless(&join.url));
        }
        if before.is_none() && self.servers.len() >= limits::SERVERS_MAX {
            return Err(FsError::new(ErrorKind::NoSpace, "there are too many chunk servers"));
        }
        let was = is_known.then(|| ServerId::from(&join.url));
        let is_elsewhere = before.is_none_or(|known| known.url != join.url);
        let known = Known { url: join.url.clone(), boot: join.boot, process: join.process };
        self.keep(store, &join.server, known, was.as_ref())?;
        Ok(Joined { is_elsewhere, was })
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
        if let Some(before) = self.servers.get(id)
            && self.at.get(&before.url) == Some(id)
        {
            self.at.remove(&before.url);
        }
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
    store.write(|txn| {
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
