//! The RPC server as any peer on the network sees it: good calls, bad ones, slow ones.

mod rpc_support;

use std::time::Duration;

use htfs::rpc::server::ServerLimits;
use htfs::rpc::{CallError, Fault, Method as _, Value};
use rpc_support::raw::RawConnection;
use rpc_support::{Echo, Fail, PATIENCE, Panic, TestServer, Wait};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A timeout that is meant to pass.
const SHORT: Duration = Duration::from_millis(200);

const CALL: &str = "<methodCall><methodName>echo</methodName><params><param><value>hello</value>\
    </param></params></methodCall>";

const WAIT: &str = "<methodCall><methodName>wait</methodName><params><param><value>hello</value>\
    </param></params></methodCall>";

fn small() -> ServerLimits {
    ServerLimits { body_size: 1 << 20, ..ServerLimits::default() }
}

/// Fails unless a new caller is served.
async fn assert_serves(server: &TestServer) {
    let answer = server.client().call(&server.url, Echo(Value::Integer(1))).await;
    assert_eq!(answer.expect("the server goes on").0, Value::Integer(1));
}

#[tokio::test]
async fn values_of_every_size_come_back() {
    let server = TestServer::start().await;
    let client = server.client();
    for size in [0, 1, 511, 512, 513, 98_304, 98_305, 5 << 20] {
        let contents: Vec<u8> = (0..=250).cycle().take(size).collect();
        let answer = client.call(&server.url, Echo(Value::Base64(contents.clone()))).await;
        assert_eq!(answer.unwrap().0, Value::Base64(contents));
    }
    let text = "\u{e4}<&>\r\n".repeat(1 << 18);
    let answer = client.call(&server.url, Echo(Value::String(text.clone()))).await;
    assert_eq!(answer.unwrap().0, Value::String(text));
    server.stop().await;
}

#[tokio::test]
async fn requests_that_are_no_calls_get_the_fitting_status() {
    let server = TestServer::start_within(small()).await;
    let length = CALL.len();
    let requests = [
        (format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{CALL}"), 200, "hello"),
        ("GET /RPC2 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405, "POST"),
        ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned(), 405, "POST"),
        (format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{CALL}"), 404, "/RPC2"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n123456789"
                .to_owned(),
            415,
            "plain XML",
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n".to_owned(), 413, "1048576"),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}",
                format!("10000\r\n{}\r\n", "x".repeat(0x10000)).repeat(17)
            ),
            413,
            "1048576",
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".to_owned(), 400, ""),
        ("\x16\x03nonsense\r\n\r\n".to_owned(), 400, ""),
        (format!("POST / HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(1 << 20)), 431, ""),
    ];
    for (request, status, text) in requests {
        let mut connection = RawConnection::open(server.port).await.unwrap();
        let shown = &request[..request.len().min(60)];
        // The server may answer, and stop listening, before all of it is sent.
        drop(connection.stream.write_all(request.as_bytes()).await);
        drop(connection.stream.flush().await);
        let response = connection.response().await;
        assert_eq!(response.status, status, "{shown:?}: {response:?}");
        assert!(response.body.contains(text), "{shown:?}: {response:?}");
        assert_eq!(status == 405, response.head.contains("\r\nallow: post\r\n"), "{response:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn bad_bodies_get_a_fault_and_the_connection_goes_on() {
    let server = TestServer::start().await;
    let mut connection = RawConnection::open(server.port).await.unwrap();
    let bodies = [
        ("", "-32700"),
        ("nonsense", "-32700"),
        ("<methodCall><methodName>echo</methodName>", "-32700"),
        ("<methodCall><methodName>no&lt;such&gt;</methodName></methodCall>", "-32601"),
        ("<methodCall><methodName>echo</methodName></methodCall>", "-32602"),
        ("<!DOCTYPE a><methodCall/>", "-32600"),
        ("<?xml version='1.0' encoding='utf-16'?><methodCall/>", "-32701"),
        ("<?xml version='1.0' encoding='utf-7'?><methodCall/>", "-32701"),
        ("<?xml version='1.0' encoding='us-ascii'?><methodCall>\u{e4}</methodCall>", "-32702"),
    ];
    for (body, code) in bodies {
        let response = connection.post(body).await;
        assert_eq!(response.status, 200, "{response:?}");
        assert!(response.head.contains("content-type: text/xml"), "{response:?}");
        assert!(response.body.contains(&format!("<i4>{code}</i4>")), "{body}: {response:?}");
        assert!(connection.post(CALL).await.body.contains("hello"));
    }
    server.stop().await;
}

#[tokio::test]
async fn old_and_new_ways_to_speak_http_are_understood() {
    let server = TestServer::start().await;
    let length = CALL.len();

    // HTTP/1.0 closes, unless it is asked not to.
    let mut connection = RawConnection::open(server.port).await.unwrap();
    connection.send(format!("POST / HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{CALL}")).await;
    assert!(connection.response().await.body.contains("hello"));
    connection.closed().await;
    let mut connection = RawConnection::open(server.port).await.unwrap();
    let head =
        format!("POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: {length}\r\n\r\n");
    for _ in 0..2 {
        connection.send(format!("{head}{CALL}")).await;
        let response = connection.response().await;
        assert!(response.head.contains("connection: keep-alive"), "{response:?}");
    }

    // HTTP/1.1 in chunks, and with the question whether to go on.
    let mut connection = RawConnection::open(server.port).await.unwrap();
    let (a, b) = CALL.split_at(50);
    connection.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    connection.send(format!("{:x}\r\n{a}\r\n{:x}\r\n{b}\r\n0\r\n\r\n", a.len(), b.len())).await;
    assert!(connection.response().await.body.contains("hello"));
    connection
        .send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        ))
        .await;
    assert_eq!(connection.response().await.status, 100);
    connection.send(CALL).await;
    assert!(connection.response().await.body.contains("hello"));

    // Two requests at once, and a peer that closes its side after the last.
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{CALL}");
    connection.send(format!("{request}{request}")).await;
    connection.stream.shutdown().await.unwrap();
    for _ in 0..2 {
        assert!(connection.response().await.body.contains("hello"));
    }
    connection.closed().await;
    server.stop().await;
}

#[tokio::test]
async fn both_versions_of_tls_are_spoken() {
    let server = TestServer::start().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut connection = RawConnection::open_with(server.port, &[version]).await.unwrap();
        assert!(connection.post(CALL).await.body.contains("hello"));
    }
    server.stop().await;
}

#[tokio::test]
async fn strangers_do_not_disturb() {
    let server = TestServer::start().await;
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", CALL.len());
    for bytes in [request.as_bytes(), b"\0\xff\x16\x03\x01nonsense", b"\x16\x03\x01\xff\xff", b""] {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        drop(timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("still open"));
        assert!(!rest.starts_with(b"HTTP"), "an answer in clear: {}", rest.escape_ascii());
        assert_serves(&server).await;
    }
    // Gone in the middle of a request.
    let mut connection = RawConnection::open(server.port).await.unwrap();
    connection.send(request).await;
    drop(connection);
    assert_serves(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn the_slow_are_not_waited_for() {
    let limits = ServerLimits {
        handshake_timeout: SHORT,
        head_timeout: SHORT,
        stall_timeout: SHORT,
        ..ServerLimits::default()
    };
    let server = TestServer::start_within(limits).await;

    let mut silent = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    assert_eq!(
        timeout(PATIENCE, silent.read(&mut [0; 9])).await.expect("still open").unwrap_or(0),
        0
    );

    let mut idle = RawConnection::open(server.port).await.unwrap();
    idle.closed().await;
    let mut half_head = RawConnection::open(server.port).await.unwrap();
    half_head.send("POST / HTTP/1.1\r\nHost:").await;
    half_head.closed().await;

    let mut half_body = RawConnection::open(server.port).await.unwrap();
    half_body.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n<methodCall>").await;
    let response = half_body.response().await;
    assert_eq!(response.status, 408, "{response:?}");
    half_body.closed().await;
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_loses_its_connection() {
    let limits = ServerLimits { connections: 1, stall_timeout: SHORT, ..ServerLimits::default() };
    let server = TestServer::start_within(limits).await;
    let mut deaf = RawConnection::open(server.port).await.unwrap();
    let contents = "AAAA".repeat(16 << 20);
    let call = CALL.replace("hello", &format!("<base64>{contents}</base64>"));
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", call.len());
    deaf.send(format!("{head}{call}")).await;
    // There is one connection only: this one gets it when the other has been given up.
    assert_serves(&server).await;
    drop(deaf);
    server.stop().await;
}

#[tokio::test]
async fn connections_are_bounded() {
    let limits = ServerLimits { connections: 2, ..ServerLimits::default() };
    let server = TestServer::start_within(limits).await;
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut connection = RawConnection::open(server.port).await.unwrap();
        let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue";
        connection.send(format!("{head}\r\nContent-Length: {}\r\n\r\n", WAIT.len())).await;
        assert_eq!(connection.response().await.status, 100);
        connection.send(WAIT).await;
        busy.push(connection);
    }
    let mut third = tokio::spawn(RawConnection::open(server.port));
    assert!(timeout(SHORT, &mut third).await.is_err(), "a third connection was served");
    // The two get their answers, and then one of them makes room.
    server.waiting.add_permits(2);
    let mut third = third.await.unwrap().unwrap();
    assert!(third.post(CALL).await.body.contains("hello"));
    for mut connection in busy {
        assert!(connection.response().await.body.contains("hello"));
    }
    server.stop().await;
}

#[tokio::test]
async fn the_idle_stay_until_others_need_their_place() {
    let limits = ServerLimits { connections: 3, head_timeout: SHORT, ..ServerLimits::default() };
    let server = TestServer::start_within(limits).await;
    let mut connections = Vec::new();
    for _ in 0..3 {
        let mut connection = RawConnection::open(server.port).await.unwrap();
        assert!(connection.post(CALL).await.body.contains("hello"));
        connections.push(connection);
    }
    // This pause is what is tested: the patience with a new connection does not concern these.
    tokio::time::sleep(2 * SHORT).await;
    for at in [2, 0, 1] {
        assert!(connections[at].post(CALL).await.body.contains("hello"));
    }
    let mut fourth = RawConnection::open(server.port).await.unwrap();
    assert!(fourth.post(CALL).await.body.contains("hello"));
    connections[2].closed().await;
    for at in [0, 1] {
        assert!(connections[at].post(CALL).await.body.contains("hello"));
    }
    server.stop().await;
}

#[tokio::test]
async fn memory_is_bounded() {
    let limits = ServerLimits {
        bodies_in_memory: 1 << 20,
        memory_timeout: SHORT,
        ..ServerLimits::default()
    };
    let server = TestServer::start_within(limits).await;
    let mut greedy = greedy(&server, 900_000).await;

    // From then on there is none for others, and there was some before.
    let mut response = RawConnection::open(server.port).await.unwrap().post(long_call()).await;
    while response.status == 200 {
        response = RawConnection::open(server.port).await.unwrap().post(long_call()).await;
    }
    assert_eq!(response.status, 503, "{response:?}");
    let mut chunked = RawConnection::open(server.port).await.unwrap();
    chunked.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    chunked.send(format!("40000\r\n{}\r\n", "x".repeat(0x40000))).await;
    let response = chunked.response().await;
    assert_eq!(response.status, 503, "{response:?}");
    assert_serves(&server).await;

    greedy.send(" ").await;
    drop(greedy);
    let mut third = RawConnection::open(server.port).await.unwrap();
    let call = CALL.replace("hello", &"x".repeat(700_000));
    let response = timeout(PATIENCE, third.post(&call)).await.unwrap();
    assert_eq!(response.status, 200, "{}", response.head);
    server.stop().await;
}

/// A call that takes some of the room for bodies.
fn long_call() -> String {
    CALL.replace("hello", &"x".repeat(250_000))
}

/// A connection that sends so many bytes of a body, and not all of it.
async fn greedy(server: &TestServer, size: usize) -> RawConnection {
    let mut greedy = RawConnection::open(server.port).await.expect("a connection");
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", size + 9);
    greedy.send(head + &" ".repeat(size)).await;
    greedy
}

/// A call in windows-1252 whose text is three times as long in UTF-8.
fn call_of_euros(count: usize) -> Vec<u8> {
    let call = format!("<?xml version='1.0' encoding='windows-1252'?>{CALL}");
    let (before, after) = call.split_once("hello").expect("the call says hello");
    [before.as_bytes(), &vec![0x80; count], after.as_bytes()].concat()
}

#[tokio::test]
async fn text_that_grows_when_it_is_read_takes_room_for_that() {
    let limits = ServerLimits {
        bodies_in_memory: 2 << 20,
        memory_timeout: SHORT,
        ..ServerLimits::default()
    };
    let server = TestServer::start_within(limits).await;
    let greedy = greedy(&server, 1_500_000).await;
    // There is room for what arrives, and not for what becomes of it.
    let mut response =
        RawConnection::open(server.port).await.unwrap().post(call_of_euros(250_000)).await;
    while response.status == 200 {
        response =
            RawConnection::open(server.port).await.unwrap().post(call_of_euros(250_000)).await;
    }
    assert_eq!(response.status, 503, "{response:?}");
    let mut other = RawConnection::open(server.port).await.unwrap();
    assert_eq!(other.post(long_call()).await.status, 200);
    drop(greedy);
    let mut other = RawConnection::open(server.port).await.unwrap();
    let response = timeout(PATIENCE, other.post(call_of_euros(250_000))).await.unwrap();
    assert!(response.body.contains(&"€".repeat(250_000)), "{}", response.head);
    server.stop().await;
}

#[tokio::test]
async fn a_handler_that_fails_fails_alone() {
    let server = TestServer::start().await;
    let client = server.client();
    let Err(CallError::Fault(fault)) = client.call(&server.url, Panic(Value::Nil)).await else {
        panic!("no fault");
    };
    assert_eq!(fault.code, Fault::INTERNAL);
    let Err(CallError::Fault(fault)) = client.call(&server.url, Fail(Value::Nil)).await else {
        panic!("no fault");
    };
    assert_eq!((fault.code, fault.message.as_str()), (libc::ENOSPC, "no room"));
    // The answer has text that XML cannot carry.
    let odd = "<value><base64>AAEC</base64></value>";
    let answer = client.call(&server.url, Echo(Value::String(odd.to_owned()))).await;
    assert_eq!(answer.unwrap().0, Value::String(odd.to_owned()));
    assert_serves(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_finishes_what_it_has_begun() {
    let server = TestServer::start().await;
    let mut idle = RawConnection::open(server.port).await.unwrap();
    let (client, url) = (server.client(), server.url.clone());
    let waiting = tokio::spawn(async move { client.call(&url, Wait(Value::Integer(7))).await });
    server.has_begun(Wait::NAME).await;

    server.begin_shutdown();
    idle.closed().await;
    let late = timeout(PATIENCE, RawConnection::open(server.port)).await.expect("it hangs");
    assert!(late.is_err(), "a connection was accepted after the end");
    assert!(!waiting.is_finished());
    server.waiting.add_permits(1);
    let answer = timeout(PATIENCE, waiting).await.expect("no answer").unwrap();
    assert_eq!(answer.unwrap().0, Value::Integer(7));
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_does_not_wait_for_ever() {
    let limits = ServerLimits { drain_timeout: SHORT, ..ServerLimits::default() };
    let server = TestServer::start_within(limits).await;
    let (client, url) = (server.client(), server.url.clone());
    let waiting = tokio::spawn(async move { client.call(&url, Wait(Value::Nil)).await });
    server.has_begun(Wait::NAME).await;
    server.stop().await;
    let lost = timeout(PATIENCE, waiting).await.expect("the call hangs").unwrap();
    assert!(matches!(lost, Err(CallError::Lost { .. })), "{:?}", lost.err());
}
