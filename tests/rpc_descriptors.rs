//! A server whose process has no file descriptors left. In a process of its own: the others in it
//! would have none either.

mod rpc_support;

use std::fs::File;
use std::time::Duration;

use htfs::rpc::Value;
use rpc_support::raw::RawConnection;
use rpc_support::{Echo, PATIENCE, TestServer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn a_server_without_descriptors_waits_for_some() {
    let server = TestServer::start().await;
    let old = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(128), ..old }).expect("a lower limit");
    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    assert!(hoard.len() > 20, "only {} descriptors were free", hoard.len());

    // One for our end of a connection, none for the server's.
    hoard.pop();
    let ours = TcpStream::connect(("127.0.0.1", server.port)).await.expect("the kernel's queue");
    let waited = timeout(Duration::from_millis(300), ours.readable()).await;
    assert!(waited.is_err(), "the server did something without a descriptor");

    hoard.clear();
    let mut connection =
        timeout(PATIENCE, RawConnection::open(server.port)).await.expect("it hangs").expect("TLS");
    let call = "<methodCall><methodName>system.listMethods</methodName></methodCall>";
    assert!(connection.post(call).await.body.contains("echo"));
    let answer = server.client().call(&server.url, Echo(Value::Nil)).await;
    assert_eq!(answer.expect("the server goes on").0, Value::Nil);
    drop(ours);
    server.stop().await;
}
