//! Calls per second of `get` and `put`, over TLS, at a chunk server of ours and at the Python one,
//! in one run: `cargo bench --bench calls`.
//!
//! The caller is the same for both servers (this process, [`RpcClient`]), so the difference is the
//! server's. Set `HTFS_PYTHON3` to choose the interpreter.
#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first thing that is wrong")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use htfs::proto::classic::{Dialect, Get, Put};
use htfs::rpc::RpcClient;
use htfs::rpc::tls::Trust;
use htfs::types::{Key, StoredValue, Ttl, ValueKind};

/// How long one row is measured.
const ROW_TIME: Duration = Duration::from_secs(3);

struct Server {
    process: Child,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Server {
    /// Starts a program and waits for its line `listening on URL`.
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let url = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, url: url.expect("the server did not start") }
    }
}

/// The latencies of the calls of one row, in ascending order.
struct Row {
    latencies: Vec<Duration>,
    value_size: usize,
    elapsed: Duration,
}

impl Row {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn print(&self, server: &str, method: &str, connections: usize) -> f64 {
        let percentile = |p: usize| self.latencies[(self.latencies.len() - 1) * p / 100];
        let rate = self.latencies.len() as f64 / self.elapsed.as_secs_f64();
        println!(
            "| {server} | `{method}` | {} | {connections} | {rate:.0} | {:.1} | {:.3} | {:.3} |",
            self.value_size,
            rate * self.value_size as f64 / 1e6,
            percentile(50).as_secs_f64() * 1e3,
            percentile(99).as_secs_f64() * 1e3,
        );
        rate
    }
}

fn key(connection: usize, count: usize) -> Key {
    Key::new(format!("/bench-{connection}-{}", count % 16).into_bytes()).unwrap()
}

async fn one_call(rpc: &RpcClient, url: &str, method: &str, key: Key, value: &StoredValue) {
    let dialect = Dialect::Binary;
    if method == "put" {
        let value = value.clone();
        rpc.call(url, Put { key, dialect, value, ttl: Ttl::from_s(3600) }).await.unwrap();
    } else {
        let found = rpc.call(url, Get { key, dialect }).await.unwrap().unwrap();
        assert_eq!(found.value.bytes.len(), value.bytes.len());
    }
}

async fn measure(
    trust: &Trust,
    url: &str,
    method: &'static str,
    size: usize,
    connections: usize,
) -> Row {
    let value = StoredValue { kind: ValueKind::Base64, bytes: vec![7; size].into() };
    let rpc = RpcClient::new(trust.clone(), Duration::from_secs(30));
    for connection in 0..connections {
        for count in 0..16 {
            one_call(&rpc, url, "put", key(connection, count), &value).await;
        }
    }
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for connection in 0..connections {
        let (rpc, url, value) = (rpc.clone(), url.to_owned(), value.clone());
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while start.elapsed() < ROW_TIME {
                let began = Instant::now();
                one_call(&rpc, &url, method, key(connection, latencies.len()), &value).await;
                latencies.push(began.elapsed());
            }
            latencies
        });
    }
    let mut latencies: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    let elapsed = start.elapsed();
    latencies.sort();
    Row { latencies, value_size: size, elapsed }
}

fn start_servers(root: &Path) -> (Vec<Server>, [(String, &'static str); 2]) {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let keys = root.join("keys");
    let made = Command::new("bash")
        .arg(manifest.join("openssl-gen.sh"))
        .args(["--dir".as_ref(), keys.as_os_str()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success(), "openssl-gen.sh failed");
    let (cert, key) = (keys.join("cacert.pem"), keys.join("privkey.pem"));
    let rust = |program: &str, name: &str| {
        let mut command = Command::new(program);
        command.arg("--cert").arg(&cert).arg("--key").arg(&key);
        command.arg("--data-dir").arg(root.join(name)).args(["--log", "warn"]);
        command
    };
    let master = Server::start(
        rust(env!("CARGO_BIN_EXE_master"), "master").args(["--listen", "localhost:0"]),
    );
    let chunk = Server::start(rust(env!("CARGO_BIN_EXE_chunk"), "chunk").args([
        "0",
        "--master",
        &master.url,
    ]));
    let python = std::env::var("HTFS_PYTHON3").unwrap_or_else(|_| "python3".to_owned());
    let script = |role: &[&str]| {
        let mut command = Command::new(&python);
        command.arg("-u").arg(manifest.join("tests/interop/simpleht_server.py")).args(role);
        command.arg("--cert").arg(&cert).arg("--key").arg(&key).stderr(Stdio::null());
        command
    };
    let python_master = Server::start(&mut script(&["master", "0"]));
    let python_chunk = Server::start(&mut script(&["chunk", "0", "--master", &python_master.url]));
    let urls = [(chunk.url.clone(), "htfs"), (python_chunk.url.clone(), "Python")];
    (vec![master, chunk, python_master, python_chunk], urls)
}

#[tokio::main]
async fn main() {
    let root = tempfile::tempdir().unwrap();
    let (_servers, urls) = start_servers(root.path());
    let trust = Trust::load(&root.path().join("keys/cacert.pem")).unwrap();
    println!("| server | method | bytes | connections | calls/s | MB/s | p50 ms | p99 ms |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut ratios = Vec::new();
    for size in [100, 1 << 20] {
        for method in ["get", "put"] {
            for connections in [1, 8] {
                let mut rates = Vec::new();
                for (url, server) in &urls {
                    let row = measure(&trust, url, method, size, connections).await;
                    rates.push(row.print(server, method, connections));
                }
                ratios.push((method, size, connections, rates[0] / rates[1]));
            }
        }
    }
    println!();
    for (method, size, connections, ratio) in ratios {
        println!("{method} of {size} bytes, {connections} connection(s): {ratio:.1} times Python");
    }
}
