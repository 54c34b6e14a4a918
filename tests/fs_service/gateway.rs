//! The classic gateway of a master, with a chunk server that does what the test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use htfs::error::{ErrorKind, FsError};
use htfs::listen::Listen;
use htfs::master;
use htfs::pickle::Attributes;
use htfs::proto::Packed;
use htfs::proto::classic::{Dialect, Get, Put};
use htfs::proto::form::{Layout, write_attributes};
use htfs::proto::gateway::{Discard, Staged, Take};
use htfs::rpc::tls::Identity;
use htfs::rpc::{Registry, server};
use htfs::types::{Ino, Key, ServerId, ServerUrl, StoredValue, Ttl, ValueKind};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::client::{Client, DISK_SIZE, Master, eventually, name};
use crate::common::keys;

fn key(path: &str) -> Key {
    Key::new(path.to_owned()).expect("the paths of the tests are short")
}

fn put(path: &str, value: StoredValue, ttl_s: i64) -> Put {
    Put { key: key(path), dialect: Dialect::String, value, ttl: Ttl::from_s(ttl_s) }
}

fn text(text: &str) -> StoredValue {
    StoredValue { kind: ValueKind::String, bytes: text.to_owned().into() }
}

fn dict(mode: u32, size: u64, server: &ServerUrl) -> StoredValue {
    let contents = Some(server.clone());
    let attributes = Attributes { mode, size, contents, ..Attributes::default() };
    write_attributes(Dialect::String, &attributes)
}

fn file(size: u64, server: &ServerUrl) -> StoredValue {
    dict(libc::S_IFREG | 0o644, size, server)
}

async fn is_there(client: &Client, path: &str) -> bool {
    let get = Get { key: key(path), dialect: Dialect::String };
    client.call(get).await.expect("the server answers").is_some()
}

/// The identity of the pretended chunk server.
const SLOW: u128 = 7;

/// A chunk server with one value staged, for whoever takes it, which the test has to allow.
struct Slow {
    url: ServerUrl,
    /// One message for each question about the value, and for its removal.
    asked: mpsc::UnboundedReceiver<&'static str>,
    /// One permit lets one question be answered.
    allowed: Arc<Semaphore>,
    _serving: DropGuard,
}

impl Slow {
    /// Starts it; its first answer is that there is nothing.
    async fn start() -> Self {
        let listen = Listen::anywhere_local();
        let listeners = listen.bind().await.expect("there is a free port");
        let url = listen.url(Listen::port_of(&listeners).expect("it has a port"));
        let (to_asked, asked) = mpsc::unbounded_channel();
        let allowed = Arc::new(Semaphore::new(0));
        let mut registry = Registry::default();
        let (told, permits) = (to_asked.clone(), Arc::clone(&allowed));
        let is_first = Arc::new(std::sync::atomic::AtomicBool::new(true));
        registry.add(move |_: Take, _| {
            let (told, permits, is_first) = (told.clone(), permits.clone(), is_first.clone());
            async move {
                told.send("taken").ok();
                permits.acquire().await.expect("it is never closed").forget();
                if is_first.swap(false, std::sync::atomic::Ordering::SeqCst) {
                    return Err(FsError::new(ErrorKind::NotFound, "not yet, says the test"));
                }
                Ok(Packed(Staged { layout: Layout::Raw, token: 5, dialect: None }))
            }
        });
        registry.add(move |_: Discard, _| {
            to_asked.send("discarded").ok();
            async { Ok(true) }
        });
        registry.serve_as(ServerId::new(SLOW).as_str());
        let identity = Identity::load(&keys().certificate, &keys().key).expect("good keys");
        let shutdown = CancellationToken::new();
        let serving = server::serve(listeners, identity, Arc::new(registry), shutdown.clone());
        tokio::spawn(serving);
        let url = ServerUrl::new(url).expect("it is a URL");
        Self { url, asked, allowed, _serving: shutdown.drop_guard() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_while_it_comes_into_the_tree_stays_deleted() {
    let master = Master::start().await;
    let client = master.client().await;
    let mut slow = Slow::start().await;
    let server = client.join(SLOW, &slow.url).await;
    client.heartbeat(&server, DISK_SIZE, &[]).await;

    slow.allowed.add_permits(1);
    client.call(put("/f", file(5, &slow.url), 1000)).await.expect("put");
    assert_eq!(slow.asked.recv().await, Some("taken"));
    assert!(is_there(&client, "/f").await, "a client finds what it put");
    assert_eq!(client.lookup(Ino::ROOT, "f").await.unwrap_err().kind(), ErrorKind::NotFound);

    // Tried again, it gets as far as to the transaction, and is deleted meanwhile.
    assert_eq!(slow.asked.recv().await, Some("taken"));
    client.call(put("/f", text(""), 0)).await.expect("delete");
    slow.allowed.add_permits(1);
    let asked = Mutex::new(slow.asked);
    eventually("the chunks are garbage, or a file's", async || {
        let garbage = client.heartbeat(&server, DISK_SIZE, &[]).await;
        !garbage.is_empty() || asked.lock().expect("nobody panics with it").try_recv().is_ok()
    })
    .await;
    assert_eq!(client.lookup(Ino::ROOT, "f").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!is_there(&client, "/f").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_directory_goes_when_the_last_file_in_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, secret) = (keys().certificate.clone(), keys().key.clone());
    let config = master::Config::new(dir.path().join("data"), cert, secret);
    let sweep_period = Duration::from_millis(20);
    let running = master::start(master::Config { sweep_period, ..config }).await.unwrap();
    let client = Client::attach(running.url()).await;
    let server = ServerUrl::new("https://localhost:1").expect("a URL");
    for path in ["/d", "/d/e"] {
        let directory = dict(libc::S_IFDIR | 0o755, 0, &server);
        client.call(put(path, directory, 1)).await.expect("put");
    }
    let outer = client.lookup(Ino::ROOT, "d").await.unwrap().ino;
    let inner = client.lookup(outer, "e").await.unwrap().ino;
    client.mkdir(inner, "native").await;
    eventually("both expire", async || {
        !is_there(&client, "/d").await && !is_there(&client, "/d/e").await
    })
    .await;
    assert!(client.lookup(outer, "e").await.is_ok(), "there is something in it");
    let call = htfs::proto::fs::RemoveDir {
        parent: inner,
        name: name("native"),
        who: Packed(client.who.clone()),
        session: client.session,
    };
    client.call(call).await.expect("it is empty");
    eventually("both are gone", async || client.lookup(Ino::ROOT, "d").await.is_err()).await;
    running.stop().await.unwrap();
}
