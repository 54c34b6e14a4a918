//! The RPC client before servers that are away, slow, old or wrong.

mod rpc_support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use htfs::limits;
use htfs::rpc::server::ServerLimits;
use htfs::rpc::tls::Trust;
use htfs::rpc::{CallError, RpcClient, Value};
use rpc_support::raw::acceptor;
use rpc_support::{Echo, Keys, PATIENCE, TestServer, Wait};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server that gives the first of some answers to the first connection, and so on; the last
/// again and again. It reads no more of a request than arrives at once.
struct Script {
    url: String,
    keys: Keys,
    connections: Arc<AtomicUsize>,
    /// The beginning of each request.
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Script {
    async fn start(answers: &[&'static str]) -> Self {
        let keys = Keys::generate();
        let acceptor = acceptor(&keys);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://localhost:{}", listener.local_addr().expect("bound").port());
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, answers) = (Arc::clone(&connections), answers.to_vec());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let number = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
                let mut request = vec![0; 65_536];
                let length = stream.read(&mut request).await.unwrap_or_default();
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                seen.lock().expect("no panic").push(request);
                drop(stream.write_all(answers[number].as_bytes()).await);
                drop(stream.shutdown().await);
            }
        });
        Self { url, keys, connections, requests, task }
    }

    fn client(&self) -> RpcClient {
        RpcClient::new(Trust::load(&self.keys.certificate()).expect("a certificate"), PATIENCE)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const GOOD: &str = "HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\n\r\n<?xml version='1.0'?>\n\
    <methodResponse>\n<params>\n<param>\n<value><int>5</int></value>\n</param>\n</params>\n\
    </methodResponse>\n";

#[tokio::test]
async fn an_answer_may_end_with_the_connection() {
    let script = Script::start(&[GOOD]).await;
    let client = script.client();
    for _ in 0..3 {
        assert_eq!(client.call(&script.url, Echo(Value::Nil)).await.unwrap().0, Value::Integer(5));
    }
    assert_eq!(script.connections(), 3);
}

#[tokio::test]
async fn contents_go_as_they_are_to_servers_that_read_them_so() {
    const READER: &str = "HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\nAccept-Post: \
        application/x-htfs\r\n\r\n<methodResponse><params><param><value><int>5</int></value>\
        </param></params></methodResponse>";
    let script = Script::start(&[READER, READER, GOOD]).await;
    let client = script.client();
    let contents = Value::Base64(vec![b'a'; 1000]);
    for _ in 0..3 {
        client.call(&script.url, Echo(contents.clone())).await.unwrap();
    }
    let requests = script.requests.lock().unwrap();
    let is_raw = |request: &String| {
        let is_raw = request.contains("content-type: application/x-htfs");
        assert_eq!(is_raw, request.contains(&"a".repeat(1000)), "{request}");
        assert_eq!(!is_raw, request.contains(&"YWFh".repeat(333)), "{request}");
        is_raw
    };
    let forms: Vec<bool> = requests.iter().map(is_raw).collect();
    // The first call asks; the third meets another server and is sent again, as XML-RPC.
    assert_eq!(forms, [false, true, true, false]);
}

#[tokio::test]
async fn a_broken_call_is_repeated_only_if_that_is_harmless() {
    let script =
        Script::start(&["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<meth", GOOD]).await;
    let answer = script.client().call(&script.url, Echo(Value::Nil)).await;
    assert_eq!(answer.unwrap().0, Value::Integer(5));
    assert_eq!(script.connections(), 3);

    let script = Script::start(&["", GOOD]).await;
    let lost = script.client().call(&script.url, Wait(Value::Nil)).await;
    assert!(matches!(lost, Err(CallError::Lost { .. })), "{:?}", lost.err());
    assert_eq!(script.connections(), 1);

    let script = Script::start(&[""]).await;
    let lost = script.client().call(&script.url, Echo(Value::Nil)).await;
    assert!(matches!(lost, Err(CallError::Lost { .. })), "{:?}", lost.err());
    assert_eq!(script.connections(), limits::CALL_ATTEMPTS_MAX as usize);
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let busy = "HTTP/1.1 503 Busy\r\nContent-Length: 5\r\nConnection: close\r\n\r\nbusy\n";
    let script = Script::start(&[busy, GOOD]).await;
    let answer = script.client().call(&script.url, Wait(Value::Nil)).await;
    assert_eq!(answer.unwrap().0, Value::Integer(5));
}

#[tokio::test]
async fn answers_that_are_none_say_why() {
    let answers = [
        ("HTTP/1.0 404 Not Found\r\n\r\nno such page", "404 Not Found: no such page"),
        ("HTTP/1.0 500 Oops\r\n\r\n", "500"),
        ("HTTP/1.0 200 OK\r\n\r\n<html><body>hello</body></html>", "<html>"),
        ("HTTP/1.0 200 OK\r\n\r\nhello", "no <methodResponse>"),
        ("HTTP/1.0 200 OK\r\n\r\n", "no <methodResponse>"),
        ("HTTP/1.0 200 OK\r\n\r\n<methodResponse><params/></methodResponse>", "missing"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 99999999999\r\n\r\n<", "larger"),
        ("HTTP/1.0 302 Found\r\nLocation: https://localhost:1/\r\n\r\n", "302"),
    ];
    for (answer, word) in answers {
        let script = Script::start(&[answer]).await;
        match script.client().call(&script.url, Echo(Value::Nil)).await {
            Err(CallError::Protocol { reason, .. }) => {
                assert!(reason.contains(word), "{answer}: {reason}");
            }
            other => panic!("{answer}: {:?}", other.map(|answer| answer.0)),
        }
        assert_eq!(script.connections(), 1, "{answer}");
    }
}

#[tokio::test]
async fn nobody_there_is_said_at_once() {
    let server = TestServer::start().await;
    let (client, url, port) = (server.client(), server.url.clone(), server.port);
    server.stop().await;
    for url in
        [url.as_str(), "https://no-such-host.invalid:1", "http://localhost:1", "nonsense", ""]
    {
        let outcome = client.call(url, Wait(Value::Nil)).await;
        let Err(CallError::Unreachable { reason, .. }) = outcome else { panic!("{url}") };
        assert!(!reason.is_empty() && !reason.contains('\n'), "{url}: {reason}");
    }
    // Something that is there, but speaks no TLS.
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await.expect("sending");
        stream.read(&mut [0; 999]).await
    });
    match client.call(&url, Wait(Value::Nil)).await {
        Err(CallError::Unreachable { reason, .. }) => {
            assert!(reason.contains("does not speak TLS"), "{reason}");
        }
        other => panic!("{:?}", other.map(|answer| answer.0)),
    }
    drop(plain.await);
}

#[tokio::test]
async fn a_silent_server_ends_at_the_deadline() {
    let server = TestServer::start().await;
    let trust = Trust::load(&server.keys.certificate()).unwrap();
    let client = RpcClient::new(trust, Duration::from_millis(300));
    let outcome = client.call(&server.url, Wait(Value::Nil)).await;
    assert!(matches!(outcome, Err(CallError::TimedOut { .. })), "{:?}", outcome.err());
    server.waiting.add_permits(1);
    server.stop().await;
}

#[tokio::test]
async fn connections_that_the_server_closed_are_no_errors() {
    let limits = ServerLimits { connections: 1, ..ServerLimits::default() };
    let server = TestServer::start_within(limits).await;
    let clients = [server.client(), server.client()];
    for _ in 0..20 {
        // Each takes the only connection away from the other.
        for client in &clients {
            assert!(client.call(&server.url, Echo(Value::Integer(1))).await.is_ok());
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_not_sent() {
    let server = TestServer::start().await;
    let outcome = server.client().call(&server.url, Echo(Value::String("\0".to_owned()))).await;
    let Err(error @ CallError::Unsendable { .. }) = outcome else { panic!("it was sent") };
    assert!(error.to_string().contains("base64"), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn a_server_is_asked_for_its_methods() {
    let server = TestServer::start().await;
    let methods = server.client().methods(&server.url).await.unwrap();
    for name in ["echo", "wait", "system.listMethods", "system.multicall"] {
        assert!(methods.contains(name), "{methods:?}");
    }
    server.stop().await;
}
