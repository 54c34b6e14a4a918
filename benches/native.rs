//! The native methods of the master: calls per second, and how long a change takes to reach another
//! client: `cargo bench --bench native`. Needs the keys that `openssl-gen.sh` makes.
#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first thing that is wrong")]

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use htfs::master;
use htfs::proto::Packed;
use htfs::proto::chunk::Optional;
use htfs::proto::cluster::{Heartbeat, Join, Strays};
use htfs::proto::fs::{
    ChunkBytes, Create, Extend, GetAttr, Lookup, OpenMode, Opened, SessionId, Written,
};
use htfs::proto::session::{Attach, WaitEvents};
use htfs::rpc::tls::Trust;
use htfs::rpc::{Method, RpcClient};
use htfs::types::{Access, Change, Credentials, Ino, Name, ServerId, ServerUrl};

/// How long one row is measured.
const ROW_TIME: Duration = Duration::from_secs(3);

/// Changes whose way to another client is measured.
const EVENTS: usize = 500;

#[derive(Clone)]
struct Client {
    rpc: RpcClient,
    url: String,
    session: SessionId,
    last_event: u64,
}

impl Client {
    async fn attach(url: &str, cert: &Path) -> Self {
        let rpc = RpcClient::new(Trust::load(cert).unwrap(), Duration::from_secs(30));
        let attach = Attach { client: Bytes::from_static(b"bench"), cluster: Optional(None) };
        let session = rpc.call(url, attach).await.unwrap().0;
        Self { rpc, url: url.to_owned(), session: session.id, last_event: session.last_event }
    }

    async fn call<M: Method>(&self, call: M) -> M::Answer {
        self.rpc.call(&self.url, call).await.unwrap()
    }

    async fn create(&self, name: String) -> Opened {
        let access = Access::READ.and(Access::WRITE);
        let open =
            OpenMode { access, is_truncating: false, is_exclusive: true, keeps_atime: false };
        let call = Create {
            parent: Ino::ROOT,
            name: Name::new(name).unwrap(),
            mode: 0o644,
            open: Packed(open),
            who: Packed(Credentials::ROOT),
            session: self.session,
        };
        self.call(call).await.0
    }

    async fn extend(&self, opened: &Opened) {
        let chunk = &opened.layout[0];
        let used = ChunkBytes { key: chunk.key, version: chunk.version, bytes: 100 };
        let call = Extend {
            ino: opened.attr.ino,
            written: Packed(Written { end: 100, is_modified: true, is_durable: false }),
            chunks: Packed(vec![used]),
            who: Packed(Credentials::ROOT),
            session: self.session,
        };
        self.call(call).await;
    }
}

/// Calls from so many clients at once for [`ROW_TIME`], and prints a row.
#[expect(clippy::cast_precision_loss, reason = "for people")]
async fn measure(what: &str, clients: &[Client], work: impl AsyncFn(&Client, usize, usize)) {
    let began = Instant::now();
    let one = async |number: usize, client: &Client| {
        let mut latencies = Vec::new();
        while began.elapsed() < ROW_TIME {
            let start = Instant::now();
            work(client, number, latencies.len()).await;
            latencies.push(start.elapsed());
        }
        latencies
    };
    let rows = match clients {
        [only] => vec![one(0, only).await],
        [a, b, c, d, ..] => {
            let (a, b, c, d) = tokio::join!(one(0, a), one(1, b), one(2, c), one(3, d));
            vec![a, b, c, d]
        }
        _ => unreachable!("one client or four"),
    };
    let elapsed = began.elapsed();
    let mut latencies = rows.concat();
    latencies.sort();
    let rate = latencies.len() as f64 / elapsed.as_secs_f64();
    print_row(&format!("{what} | {}", clients.len()), &latencies, &format!("{rate:.0}"));
}

fn print_row(what: &str, latencies: &[Duration], rate: &str) {
    let percentile = |p: usize| latencies[(latencies.len() - 1) * p / 100].as_secs_f64() * 1e3;
    println!("| {what} | {rate} | {:.3} | {:.3} |", percentile(50), percentile(99));
}

async fn measure_events(from: &Client, to: &mut Client) {
    let mut delays = Vec::new();
    for n in 0..EVENTS {
        let name = format!("event{n}");
        let entry = Change::Entry(Ino::ROOT, Name::new(name.clone()).unwrap());
        let arrival = async {
            loop {
                let (session, after) = (to.session, to.last_event);
                let events =
                    to.call(WaitEvents { session, after, wait_ms: 10_000, own: false }).await.0;
                to.last_event = events.last_event;
                if events.changes.contains(&entry) {
                    return Instant::now();
                }
            }
        };
        let done = async {
            from.create(name).await;
            Instant::now()
        };
        let (done, arrival) = tokio::join!(done, arrival);
        delays.push(arrival.saturating_duration_since(done));
    }
    delays.sort();
    print_row("a change reaches another client | 1", &delays, "");
}

#[tokio::main]
async fn main() {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("keys");
    let (cert, key) = (keys.join("cacert.pem"), keys.join("privkey.pem"));
    let dir = tempfile::tempdir().unwrap();
    let config = master::Config::new(dir.path().join("data"), cert.clone(), key);
    let running = master::start(config).await.unwrap();
    let url = running.url().to_owned();
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client::attach(&url, &cert).await);
    }
    let server = ServerId::new(1);
    let join = Join {
        server: server.clone(),
        url: ServerUrl::new("https://localhost:9001").unwrap(),
        cluster: Optional(None),
        boot: 1,
        process: 1,
        held: 0,
        has_chunks: false,
    };
    let cluster = clients[0].call(join).await;
    let beat = Heartbeat {
        server,
        cluster,
        process: 1,
        total: 1 << 40,
        free: 1 << 40,
        held: 0,
        disk: 1,
        deleted: Packed(Vec::new()),
        strays: Packed(Strays::default()),
    };
    clients[0].call(beat).await;

    println!("| method | clients | calls/s | p50 ms | p99 ms |\n|---|---|---|---|---|");
    let file = clients[0].create("file".to_owned()).await;
    for (round, clients) in [&clients[..1], &clients[..]].into_iter().enumerate() {
        let ino = file.attr.ino;
        measure("fs.getattr", clients, async |client, _, _| {
            client.call(GetAttr { ino }).await;
        })
        .await;
        measure("fs.lookup", clients, async |client, _, _| {
            let name = Name::new("file").unwrap();
            let who = Packed(Credentials::ROOT);
            client.call(Lookup { parent: Ino::ROOT, name, who }).await;
        })
        .await;
        measure("fs.create", clients, async |client, number, n| {
            client.create(format!("{round}-{number}-{n}")).await;
        })
        .await;
        measure("fs.extend", clients, async |client, _, _| client.extend(&file).await).await;
    }
    let mut other = Client::attach(&url, &cert).await;
    measure_events(&clients[0], &mut other).await;
    running.stop().await.unwrap();
}
