//! How long one small call takes on an idle connection, beside what it cannot avoid: as many bytes
//! sent to and fro over bare TLS, each side in a thread of its own: `cargo bench --bench latency`.
#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first thing that is wrong")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use htfs::proto::server::SyncMaster;
use htfs::proto::values::Done;
use htfs::rpc::server::serve;
use htfs::rpc::shards;
use htfs::rpc::tls::{Identity, Trust};
use htfs::rpc::{Registry, RpcClient};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

const WARM_UP: usize = 500;
const MEASURED: usize = 10_000;

/// What a request and its answer have in bytes, HTTP and XML around a small call included.
const REQUEST_SIZE: usize = 330;
const ANSWER_SIZE: usize = 230;

#[tokio::main]
async fn main() {
    let keys = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("openssl-gen.sh");
    let made = Command::new(script).arg("--dir").arg(keys.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (certificate, key) = (keys.path().join("cacert.pem"), keys.path().join("privkey.pem"));

    let echo = start_echo(&certificate, &key).await;
    let connector = trusting(&certificate);
    shards::spawn(async move {
        let tcp = TcpStream::connect(("127.0.0.1", echo)).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = connector.connect(name, tcp).await.unwrap();
        let (request, mut answer) = ([7; REQUEST_SIZE], [0; ANSWER_SIZE]);
        let mut times = Vec::with_capacity(MEASURED);
        for turn in 0..WARM_UP + MEASURED {
            let start = Instant::now();
            tls.write_all(&request).await.unwrap();
            tls.flush().await.unwrap();
            tls.read_exact(&mut answer).await.unwrap();
            times.extend((turn >= WARM_UP).then(|| start.elapsed()));
        }
        print_row("bare TLS", times);
    })
    .await
    .unwrap();

    let identity = Identity::load(&certificate, &key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let stop = CancellationToken::new();
    let mut registry = Registry::default();
    registry.add_quick(|_: SyncMaster, _| async { Ok(Done) });
    let server = tokio::spawn(serve(vec![listener], identity, Arc::new(registry), stop.clone()));
    let client = RpcClient::new(Trust::load(&certificate).unwrap(), Duration::from_secs(30));
    shards::spawn(async move {
        let mut times = Vec::with_capacity(MEASURED);
        for turn in 0..WARM_UP + MEASURED {
            let start = Instant::now();
            client.call(&url, SyncMaster).await.unwrap();
            times.extend((turn >= WARM_UP).then(|| start.elapsed()));
        }
        print_row("one call", times);
    })
    .await
    .unwrap();
    stop.cancel();
    server.await.unwrap();
}

/// Answers every request with as many bytes as an answer has; its port.
async fn start_echo(certificate: &Path, key: &Path) -> u16 {
    let certificates = vec![CertificateDer::from_pem_file(certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(certificates, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
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

fn trusting(certificate: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

fn print_row(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e6;
    println!("{what}: {:.0} us half of the time, {:.0} us at 99 %", at(50), at(99));
}
