//! How fast the codec is, and what one call costs through all of TLS and HTTP.
//!
//! Prints lines for people; compares nothing and fails never. `cargo bench --bench codec`.

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use htfs::proto::classic::{Dialect, Entry, Get, Put};
use htfs::proto::values::Done;
use htfs::rpc::server::serve;
use htfs::rpc::tls::{Identity, Trust};
use htfs::rpc::wire::{Decoder, Form, Message, MessageBody};
use htfs::rpc::{Registry, RpcClient, Value};
use htfs::types::{Key, StoredValue, Ttl, ValueKind};
use hyper::body::Body as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const BLOB_SIZE: usize = 1 << 20;
const MEASURED_FOR: Duration = Duration::from_secs(2);

fn main() -> Outcome<()> {
    codec()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(calls())
}

/// Seconds of processor time that this process has used, all threads together.
///
/// Source: proc_pid_stat(5), fields 14 and 15, in hundredths of a second.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// A measurement that is under way.
struct Measured {
    start: Instant,
    processor_s: f64,
    count: u32,
}

impl Measured {
    fn start() -> Self {
        Self { start: Instant::now(), processor_s: processor_seconds(), count: 0 }
    }

    fn goes_on(&self) -> bool {
        self.start.elapsed() < MEASURED_FOR
    }

    /// Prints how often something of `size` bytes was done in a second, and how much processor
    /// time it took, which is the better measure on a machine that does other things as well.
    fn report(&self, what: &str, size: usize) {
        let count = f64::from(self.count);
        let per_second = count / self.start.elapsed().as_secs_f64();
        let megabytes = per_second * f64::from(u32::try_from(size).unwrap_or(u32::MAX)) / 1e6;
        let processor_us = (processor_seconds() - self.processor_s) / count * 1e6;
        println!("{what:<40} {per_second:>9.0}/s {megabytes:>8.0} MB/s {processor_us:>9.1} us CPU");
    }
}

/// Does `work` for a while and reports it.
fn repeat(what: &str, size: usize, mut work: impl FnMut() -> Outcome<()>) -> Outcome<()> {
    work()?;
    let mut measured = Measured::start();
    while measured.goes_on() {
        work()?;
        measured.count += 1;
    }
    measured.report(what, size);
    Ok(())
}

/// All bytes of a body, each piece given up as soon as it is made.
fn drain(mut body: MessageBody) -> usize {
    let mut context = Context::from_waker(Waker::noop());
    let mut size = 0;
    while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context) {
        size += black_box(frame.into_data()).map_or(0, |bytes| bytes.len());
    }
    size
}

fn collect(mut body: MessageBody) -> Vec<u8> {
    let mut context = Context::from_waker(Waker::noop());
    let mut bytes = Vec::new();
    while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context) {
        bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    bytes
}

/// The text as Python writes it: a line feed after every 76 letters.
fn wrapped(body: &[u8]) -> Vec<u8> {
    let start = body.windows(8).position(|tag| tag == b"<base64>").unwrap_or_default() + 8;
    let end = body.windows(9).rposition(|tag| tag == b"</base64>").unwrap_or(body.len());
    let lines: Vec<&[u8]> = body.get(start..end).unwrap_or_default().chunks(76).collect();
    let (head, tail) = (body.get(..start), body.get(end..));
    [head.unwrap_or_default(), &lines.join(&b'\n'), tail.unwrap_or_default()].concat()
}

fn decode(body: &[u8], form: Form) -> Outcome<()> {
    // Pieces as large as a connection reads them.
    const PIECE: usize = 64 << 10;
    let mut decoder = Decoder::for_call(form);
    let mut rest = body.len();
    for piece in body.chunks(PIECE) {
        rest -= piece.len();
        decoder.push(piece, Some(rest))?;
    }
    black_box(decoder.finish_call()?);
    Ok(())
}

fn codec() -> Outcome<()> {
    let contents: Vec<u8> = (0..=255).cycle().take(BLOB_SIZE).collect();
    let shared = Bytes::from(contents.clone());
    let small = vec![Value::Base64(b"/a/path".to_vec()), Value::Base64(vec![7; 100])];
    let large = Message::call("put", vec![Value::Base64(contents)])?;
    let body = wrapped(&collect(large.body(Form::Xml)?));
    repeat("decode 1 MiB in lines of 76", BLOB_SIZE, || decode(&body, Form::Xml))?;

    for (form, name) in [(Form::Xml, "XML"), (Form::Binary, "binary")] {
        repeat(&format!("encode 1 MiB of contents, {name}"), BLOB_SIZE, || {
            // A value holds its bytes alone, so a stored one is copied once.
            let value = Value::Base64(shared.to_vec());
            black_box(drain(Message::answer(value)?.body(form)?));
            Ok(())
        })?;
        let body = collect(large.body(form)?);
        repeat(&format!("decode 1 MiB of contents, {name}"), BLOB_SIZE, || decode(&body, form))?;
        repeat(&format!("encode a call with 100 bytes, {name}"), 100, || {
            black_box(drain(Message::call("put", small.clone())?.body(form)?));
            Ok(())
        })?;
        let body = collect(Message::call("put", small.clone())?.body(form)?);
        repeat(&format!("decode a call with 100 bytes, {name}"), 100, || decode(&body, form))?;
    }
    Ok(())
}

/// A server that answers `get` with contents as long as the key says, and forgets what is put.
fn registry() -> Registry {
    let mut registry = Registry::default();
    let (small, large) = (Bytes::from(vec![7; 100]), Bytes::from(vec![7; BLOB_SIZE]));
    registry.add(move |get: Get, _| {
        let bytes = if get.key.as_bytes() == LARGE { large.clone() } else { small.clone() };
        let value = StoredValue { kind: ValueKind::Base64, bytes };
        async move { Ok(Some(Entry { value, ttl_s: 1 })) }
    });
    registry.add(|put: Put, _| async move {
        black_box(put);
        Ok(Done)
    });
    registry
}

const LARGE: &[u8] = b"large";

/// Makes `callers` calls at a time for a while; prints how many there were in a second.
async fn measure<F>(what: &str, size: usize, callers: usize, call: impl Fn() -> F) -> Outcome<()>
where
    F: Future<Output = Outcome<()>> + Send + 'static,
{
    call().await?;
    let mut measured = Measured::start();
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        tasks.spawn(call());
    }
    while let Some(done) = tasks.join_next().await {
        done??;
        measured.count += 1;
        if measured.goes_on() {
            tasks.spawn(call());
        }
    }
    measured.report(&format!("{what}, {callers} at a time"), size);
    Ok(())
}

async fn calls() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("openssl-gen.sh");
    let output = Command::new(script).arg("--dir").arg(directory.path()).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let certificate = directory.path().join("cacert.pem");
    let identity = Identity::load(&certificate, &directory.path().join("privkey.pem"))?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("https://127.0.0.1:{}", listener.local_addr()?.port());
    let shutdown = CancellationToken::new();
    let serving = serve(vec![listener], identity, Arc::new(registry()), shutdown.clone());
    let server = tokio::spawn(serving);

    let client = RpcClient::new(Trust::load(&certificate)?, Duration::from_secs(30));
    let shared = Bytes::from(vec![7; BLOB_SIZE]);
    for callers in [1, 8] {
        for (name, size) in [("100 bytes", 100), ("1 MiB", BLOB_SIZE)] {
            let key = Key::new(if size == BLOB_SIZE { LARGE } else { b"small" })?;
            let get = || {
                let (client, url) = (client.clone(), url.clone());
                let get = Get { key: key.clone(), dialect: Dialect::Binary };
                async move { client.call(&url, get).await.map(drop).map_err(Into::into) }
            };
            measure(&format!("TLS: get of {name}"), size, callers, get).await?;
            let put = || {
                let (client, url) = (client.clone(), url.clone());
                let value = StoredValue { kind: ValueKind::Base64, bytes: shared.slice(..size) };
                let put =
                    Put { key: key.clone(), dialect: Dialect::Binary, value, ttl: Ttl::from_s(1) };
                async move { client.call(&url, put).await.map(drop).map_err(Into::into) }
            };
            measure(&format!("TLS: put of {name}"), size, callers, put).await?;
        }
    }
    shutdown.cancel();
    server.await?;
    Ok(())
}
