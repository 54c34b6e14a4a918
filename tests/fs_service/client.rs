//! A master in this process, and clients of it with sessions of their own.

use std::future::Future;
use std::time::{Duration, Instant};

use bytes::Bytes;
use htfs::error::{ErrorKind, FsError};
use htfs::master;
use htfs::proto::Packed;
use htfs::proto::chunk::Optional;
use htfs::proto::cluster::{Heartbeat, Join, Strays};
use htfs::proto::fs::{
    ChunkBytes, Create, Extend, GetAttr, Lookup, MakeDir, Open, OpenMode, Opened, SessionId,
    Unlink, Written,
};
use htfs::proto::session::{Attach, Renew, Session};
use htfs::rpc::tls::Trust;
use htfs::rpc::{Method, RpcClient};
use htfs::types::{Access, Attr, ChunkKey, ClusterId, Credentials, Ino, Name, ServerId, ServerUrl};
use tempfile::TempDir;

use crate::common::keys;

/// Longest wait for something that ought to happen soon, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Bytes on the disk of a chunk server of the tests.
pub(crate) const DISK_SIZE: u64 = 1 << 40;

/// A master with a data directory of its own.
pub(crate) struct Master {
    pub(crate) running: master::Running,
    // The last field: it is removed when the master has ended.
    _dir: TempDir,
}

impl Master {
    pub(crate) async fn start() -> Self {
        Self::with_lease(Duration::from_secs(60)).await
    }

    /// A master whose sessions last so long.
    pub(crate) async fn with_lease(session_lease: Duration) -> Self {
        let dir = tempfile::tempdir().expect("there is a place for temporary directories");
        let (cert, key) = (keys().certificate.clone(), keys().key.clone());
        let config = master::Config::new(dir.path().join("data"), cert, key);
        let config = master::Config { session_lease, calls_back: false, ..config };
        let running = master::start(config).await.expect("the master starts");
        Self { running, _dir: dir }
    }

    /// A client with a session.
    pub(crate) async fn client(&self) -> Client {
        Client::attach(self.running.url()).await
    }

    /// A client without one.
    pub(crate) fn nobody(&self) -> Client {
        Client::new(self.running.url(), 0, 0)
    }

    /// Makes a chunk server known that has this much room.
    pub(crate) async fn add_server(&self, port: u16, free: u64) -> Server {
        let url = ServerUrl::new(format!("https://localhost:{port}")).expect("it is a URL");
        let server = self.nobody().join(port.into(), &url).await;
        self.nobody().heartbeat(&server, free, &[]).await;
        server
    }
}

/// A chunk server that is pretended.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) id: ServerId,
    pub(crate) cluster: ClusterId,
}

/// A new chunk server, as it joins.
pub(crate) fn joining(number: u128, url: &ServerUrl) -> Join {
    Join {
        server: ServerId::new(number),
        url: url.clone(),
        cluster: Optional(None),
        boot: 1,
        process: 1,
        held: 0,
        has_chunks: false,
    }
}

/// Somebody who calls the master, as the superuser unless told otherwise.
pub(crate) struct Client {
    pub(crate) rpc: RpcClient,
    url: String,
    pub(crate) session: SessionId,
    pub(crate) last_event: u64,
    pub(crate) who: Credentials,
}

impl Client {
    fn new(url: &str, session: SessionId, last_event: u64) -> Self {
        let trust = Trust::load(&keys().certificate).expect("openssl-gen.sh makes good keys");
        let rpc = RpcClient::new(trust, Duration::from_secs(30));
        Self { rpc, url: url.to_owned(), session, last_event, who: Credentials::ROOT }
    }

    pub(crate) async fn attach(url: &str) -> Self {
        let client = Self::new(url, 0, 0);
        let attach = Attach { client: Bytes::from_static(b"a test"), cluster: Optional(None) };
        let Packed(Session { id, last_event, .. }) = client.call(attach).await.expect("attached");
        Self::new(url, id, last_event)
    }

    /// The same caller at another server.
    pub(crate) fn at(&self, url: &str) -> Self {
        Self::new(url, 0, 0)
    }

    pub(crate) async fn call<M: Method>(&self, call: M) -> Result<M::Answer, FsError> {
        self.rpc.call(&self.url, call).await.map_err(FsError::from)
    }

    /// Calls, and answers the kind of the error that this must be.
    pub(crate) async fn refused<M: Method>(&self, call: M) -> ErrorKind {
        match self.call(call).await {
            Ok(_) => panic!("{} was not refused", M::NAME),
            Err(error) => error.kind(),
        }
    }

    fn who(&self) -> Packed<Credentials> {
        Packed(self.who.clone())
    }

    pub(crate) async fn lookup(&self, parent: Ino, path: &str) -> Result<Attr, FsError> {
        let call = Lookup { parent, name: name(path), who: self.who() };
        self.call(call).await.map(|Packed(attr)| attr)
    }

    pub(crate) async fn getattr(&self, ino: Ino) -> Result<Attr, FsError> {
        self.call(GetAttr { ino }).await.map(|Packed(attr)| attr)
    }

    pub(crate) async fn mkdir(&self, parent: Ino, path: &str) -> Ino {
        let (who, session) = (self.who(), self.session);
        let call = MakeDir { parent, name: name(path), mode: 0o755, who, session };
        self.call(call).await.expect("the directory is made").0.ino
    }

    pub(crate) fn creation(&self, parent: Ino, path: &str) -> Create {
        Create {
            parent,
            name: name(path),
            mode: 0o644,
            open: Packed(OpenMode {
                access: Access::READ.and(Access::WRITE),
                is_truncating: false,
                is_exclusive: false,
                keeps_atime: false,
            }),
            who: self.who(),
            session: self.session,
        }
    }

    pub(crate) async fn create(&self, parent: Ino, path: &str) -> Opened {
        self.call(self.creation(parent, path)).await.expect("the file is made").0
    }

    pub(crate) fn opening(&self, ino: Ino, access: Access) -> Open {
        let mode =
            OpenMode { access, is_truncating: false, is_exclusive: false, keeps_atime: false };
        Open { ino, mode: Packed(mode), who: self.who(), session: self.session }
    }

    pub(crate) async fn open(&self, ino: Ino, access: Access) -> Result<Opened, FsError> {
        self.call(self.opening(ino, access)).await.map(|Packed(opened)| opened)
    }

    pub(crate) async fn unlink(&self, parent: Ino, path: &str) {
        let (who, session) = (self.who(), self.session);
        let call = Unlink { parent, name: name(path), who, session };
        self.call(call).await.expect("the file is unlinked");
    }

    /// Tells that the first chunk of an opened file was written up to `end`.
    pub(crate) async fn extend(&self, opened: &Opened, end: u64) -> Result<Attr, FsError> {
        let chunk = opened.layout.first().expect("the first chunk comes with the file");
        let used = ChunkBytes { key: chunk.key, version: chunk.version, bytes: end };
        let call = Extend {
            ino: opened.attr.ino,
            written: Packed(Written { end, is_modified: true, is_durable: false }),
            chunks: Packed(vec![used]),
            who: self.who(),
            session: self.session,
        };
        self.call(call).await.map(|Packed(attr)| attr)
    }

    pub(crate) async fn renew(&self, open: &[Ino]) -> Result<(), FsError> {
        let renewal = Renew { session: self.session, open: Packed(open.to_vec()) };
        self.call(renewal).await.map(|_| ())
    }

    /// A chunk server with this number joins.
    pub(crate) async fn join(&self, number: u128, url: &ServerUrl) -> Server {
        let cluster = self.call(joining(number, url)).await.expect("it joins");
        Server { id: ServerId::new(number), cluster }
    }

    /// A heartbeat of a chunk server; answers what it has to delete.
    pub(crate) async fn heartbeat(
        &self,
        server: &Server,
        free: u64,
        deleted: &[ChunkKey],
    ) -> Vec<ChunkKey> {
        let beat = beating(server, free, deleted);
        self.call(beat).await.expect("the master listens").0.delete
    }
}

/// A heartbeat of a chunk server that was started once.
pub(crate) fn beating(server: &Server, free: u64, deleted: &[ChunkKey]) -> Heartbeat {
    Heartbeat {
        server: server.id.clone(),
        cluster: server.cluster,
        process: 1,
        total: DISK_SIZE,
        free,
        held: 0,
        disk: 0,
        deleted: Packed(deleted.to_vec()),
        strays: Packed(Strays::default()),
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text.to_owned()).expect("the names of the tests are good")
}

/// Asks until the answer is good, or panics with `what`.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let deadline = Instant::now() + SOON;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        tokio::task::yield_now().await;
    }
}
