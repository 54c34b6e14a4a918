//! The RPC server under peers that want more than their part of it: of its room in memory, of its
//! places for connections, of its patience.

mod rpc_support;

use std::time::Duration;

use htfs::rpc::server::ServerLimits;
use htfs::rpc::{Method as _, Value};
use rpc_support::raw::RawConnection;
use rpc_support::{Echo, Fill, PATIENCE, TestServer};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep, timeout};

/// A timeout that is meant to pass.
const SHORT: Duration = Duration::from_millis(200);

/// A timeout that is not.
const LONG: Duration = Duration::from_secs(3600);

const CALL: &str = "<methodCall><methodName>echo</methodName><params><param><value>hello</value>\
    </param></params></methodCall>";

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Fails unless a new caller is served.
async fn assert_serves(server: &TestServer) {
    let answer = server.client().call(&server.url, Echo(Value::Integer(1))).await;
    assert_eq!(answer.expect("the server goes on").0, Value::Integer(1));
}

/// A connection whose head has been read, and that sends nothing of its body.
async fn announce(server: &TestServer, size: usize) -> RawConnection {
    let mut connection = RawConnection::open(server.port).await.expect("a connection");
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: ";
    connection.send(format!("{head}{size}\r\n\r\n")).await;
    assert_eq!(connection.response().await.status, 100);
    connection
}

#[tokio::test]
async fn what_is_only_announced_takes_no_room() {
    let limits = ServerLimits {
        bodies_in_memory: 1 << 20,
        memory_timeout: SHORT,
        ..ServerLimits::default()
    };
    let server = TestServer::start_within(limits).await;
    let _idle = [announce(&server, 900_000).await, announce(&server, 512 << 20).await];
    let mut other = RawConnection::open(server.port).await.unwrap();
    let response = other.post(CALL.replace("hello", &"x".repeat(700_000))).await;
    assert_eq!(response.status, 200, "{}", response.head);
    server.stop().await;
}

/// Sends a byte of a chunked body from time to time, until the server has enough; answers the status.
async fn drip(server: &TestServer, pause: Duration) -> u16 {
    let connection = RawConnection::open(server.port).await.expect("a connection");
    let (reading, mut writing) = tokio::io::split(connection.stream);
    let mut reading = tokio::spawn(async move {
        let mut reading = reading;
        let mut answer = [0; 12];
        tokio::io::AsyncReadExt::read_exact(&mut reading, &mut answer).await.ok();
        String::from_utf8_lossy(&answer[9..]).parse().unwrap_or(0)
    });
    writing.write_all(CHUNKED.as_bytes()).await.expect("the head is taken");
    loop {
        if writing.write_all(b"1\r\n \r\n").await.is_ok() {
            writing.flush().await.ok();
        }
        if let Ok(status) = timeout(pause, &mut reading).await {
            return status.expect("no panic");
        }
    }
}

#[tokio::test]
async fn who_drips_is_not_waited_for() {
    let limits = ServerLimits { stall_timeout: 2 * SHORT, ..ServerLimits::default() };
    let server = TestServer::start_within(limits).await;
    let status = timeout(PATIENCE, drip(&server, SHORT / 10)).await.expect("it may go on");
    assert_eq!(status, 408);
    server.stop().await;
}

#[tokio::test]
async fn who_is_slow_and_honest_is_waited_for() {
    let limits =
        ServerLimits { stall_timeout: SHORT, body_rate: 20_000, ..ServerLimits::default() };
    let server = TestServer::start_within(limits).await;
    let call = CALL.replace("hello", &"x".repeat(100_000));
    let mut slow = RawConnection::open(server.port).await.unwrap();
    slow.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", call.len()))
        .await;
    let begun = Instant::now();
    for piece in call.as_bytes().chunks(2000) {
        slow.send(piece).await;
        // This pause is what is tested: five times the lowest rate.
        sleep(SHORT / 10).await;
    }
    assert!(begun.elapsed() > 2 * SHORT, "it was not slow");
    assert_eq!(slow.response().await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn the_slow_make_room_for_new_connections() {
    let limits = ServerLimits {
        connections: 4,
        handshake_timeout: LONG,
        head_timeout: LONG,
        stall_timeout: LONG,
        ..ServerLimits::default()
    };
    let server = TestServer::start_within(limits).await;
    // One has sent nothing, one half a head, one half a body, and one a body of which more comes.
    let _silent = tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    let mut half_head = RawConnection::open(server.port).await.unwrap();
    half_head.send("POST / HTTP/1.1\r\nHost:").await;
    let _half_body = announce(&server, 1000).await;
    let dripping = async { drip(&server, SHORT / 10).await };
    let callers = async {
        for _ in 0..4 {
            assert_serves(&server).await;
        }
    };
    tokio::select! {
        served = timeout(PATIENCE, callers) => served.expect("nobody else is served"),
        status = dripping => assert_eq!(status, 0, "it was answered"),
    }
    server.stop().await;
}

#[tokio::test]
async fn room_for_an_answer_is_taken_before_it_is_made_and_kept_until_it_is_gone() {
    const SIZE: usize = 16 << 20;
    let limits = ServerLimits {
        bodies_in_memory: 4 * SIZE,
        bodies_per_peer: 2 * SIZE + SIZE / 2,
        memory_timeout: SHORT,
        ..ServerLimits::default()
    };
    let server = TestServer::start_within(limits).await;
    let call = format!(
        "<methodCall><methodName>fill</methodName><params><param><value><int>{SIZE}</int></value>\
        </param></params></methodCall>"
    );
    // In the binary form an answer is given to the connection as a whole.
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nAccept: application/x-htfs\r\nContent-Length: {}\r\n\r\n",
        call.len()
    );
    let mut deaf = Vec::new();
    for _ in 0..8 {
        let mut connection = RawConnection::open(server.port).await.unwrap();
        connection.send(format!("{head}{call}")).await;
        deaf.push(connection);
    }
    let mut statuses = Vec::new();
    for connection in &mut deaf {
        statuses.push(connection.status().await);
    }
    let made = server.begun.lock().unwrap().iter().filter(|name| **name == Fill::NAME).count();
    assert_eq!(made, 2, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 2);
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 6);
    drop(deaf);
    let answer = server.client().call(&server.url, Fill(SIZE)).await;
    assert_eq!(answer.unwrap().0, Value::Base64(vec![7; SIZE]));
    server.stop().await;
}

#[tokio::test]
async fn who_takes_nothing_makes_room_for_the_answers_to_others() {
    const SIZE: usize = 16 << 20;
    let limits =
        ServerLimits { bodies_in_memory: SIZE, stall_timeout: LONG, ..ServerLimits::default() };
    let server = TestServer::start_within(limits).await;
    let call = format!(
        "<methodCall><methodName>fill</methodName><params><param><value><int>{SIZE}</int></value>\
        </param></params></methodCall>"
    );
    let mut deaf = RawConnection::open(server.port).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", call.len());
    deaf.send(format!("{head}{call}")).await;
    server.has_begun(Fill::NAME).await;
    let answer = server.client().call(&server.url, Fill(SIZE)).await;
    assert_eq!(answer.unwrap().0, Value::Base64(vec![7; SIZE]));
    drop(deaf);
    server.stop().await;
}
