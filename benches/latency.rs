//! How long one small call takes on an idle connection, beside what it cannot avoid: as many bytes
//! sent to and fro over bare TLS, each side in a thread of its own: `cargo bench --bench latency`.
#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first thing that is wrong")]

#[path = "../tests/rpc_support/mod.rs"]
mod rpc_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use htfs::proto::server::SyncMaster;
use htfs::proto::values::Done;
use htfs::rpc::server::serve;
use htfs::rpc::shards;
use htfs::rpc::tls::{Identity, Trust};
use htfs::rpc::{Registry, RpcClient};
use rpc_support::Keys;
use rpc_support::raw::{RawConnection, acceptor};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const WARM_UP: usize = 500;
const MEASURED: usize = 10_000;

/// What a request and its answer have in bytes, about, HTTP and XML around a small call included.
const REQUEST_SIZE: usize = 330;
const ANSWER_SIZE: usize = 230;

#[tokio::main]
async fn main() {
    let keys = Keys::generate();
    let port = start_echo(&keys).await;
    shards::spawn(async move { print_row("bare TLS", echo(port).await) }).await.unwrap();

    let identity = Identity::load(&keys.certificate(), &keys.key()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let stop = CancellationToken::new();
    let mut registry = Registry::default();
    registry.add_quick(|_: SyncMaster, _| async { Ok(Done) });
    let server = tokio::spawn(serve(vec![listener], identity, Arc::new(registry), stop.clone()));
    let trust = Trust::load(&keys.certificate()).unwrap();
    let client = RpcClient::new(trust, Duration::from_secs(30));
    shards::spawn(async move { print_row("one call", call(&client, &url).await) }).await.unwrap();
    stop.cancel();
    server.await.unwrap();
}

/// Answers every request with as many bytes as an answer has; its port.
async fn start_echo(keys: &Keys) -> u16 {
    let acceptor = acceptor(keys);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let listener = listener.into_std().unwrap();
    drop(shards::spawn(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        let (tcp, _) = listener.accept().await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let mut tls = acceptor.accept(tcp).await.unwrap();
        let mut request = [0; REQUEST_SIZE];
        while tls.read_exact(&mut request).await.is_ok() {
            tls.write_all(&[7; ANSWER_SIZE]).await.unwrap();
            tls.flush().await.unwrap();
        }
    }));
    port
}

async fn echo(port: u16) -> Vec<Duration> {
    let mut tls = RawConnection::open(port).await.unwrap().stream;
    tls.get_ref().0.set_nodelay(true).unwrap();
    let (request, mut answer) = ([7; REQUEST_SIZE], [0; ANSWER_SIZE]);
    let mut times = Vec::with_capacity(WARM_UP + MEASURED);
    for _ in 0..WARM_UP + MEASURED {
        let start = Instant::now();
        tls.write_all(&request).await.unwrap();
        tls.flush().await.unwrap();
        tls.read_exact(&mut answer).await.unwrap();
        times.push(start.elapsed());
    }
    times
}

async fn call(client: &RpcClient, url: &str) -> Vec<Duration> {
    let mut times = Vec::with_capacity(WARM_UP + MEASURED);
    for _ in 0..WARM_UP + MEASURED {
        let start = Instant::now();
        client.call(url, SyncMaster).await.unwrap();
        times.push(start.elapsed());
    }
    times
}

fn print_row(what: &str, mut times: Vec<Duration>) {
    let measured = &mut times[WARM_UP..];
    measured.sort_unstable();
    let at = |part: usize| measured[(MEASURED - 1) * part / 100].as_secs_f64() * 1e6;
    println!("{what}: {:.0} us half of the time, {:.0} us at 99 %", at(50), at(99));
}
