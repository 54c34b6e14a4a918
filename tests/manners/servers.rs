//! What a master believes of chunk servers, and says of them.

use std::fs::File;

use crate::common::cluster::{Cluster, Kind};
use crate::common::rpc::Rpc;
use crate::common::{SOON, turn, wait_until};
use crate::program::{Program, chunk};
use htfs::proto::classic::Register;
use htfs::proto::cluster::{ListServers, ServerUrls};
use htfs::types::ServerUrl;

#[test]
fn a_server_that_is_silent_and_comes_back_is_told_of_once() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let url = &cluster.chunks[0].url;
    let said = |what: &str| cluster.master.process.log().matches(what).count();
    wait_until("it is there", SOON, || said("the chunk server is there") == 1);
    cluster.chunks[0].process.pause();
    wait_until("its silence is told", SOON, || said(&format!("{url} is silent")) == 1);
    cluster.chunks[0].process.go_on();
    wait_until("that it is back is told", SOON, || said("is back after") == 1);
    assert_eq!(said(&format!("{url} is silent")), 1, "{}", cluster.master.process.log());
}

#[test]
fn a_url_at_which_nobody_is_is_not_believed() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut command = chunk(dir.path(), &cluster.master.url);
    // Nobody listens at port 1; at the other one it is another server.
    for wrong in ["https://localhost:1", &cluster.chunks[0].url] {
        let mut command = std::mem::replace(&mut command, chunk(dir.path(), &cluster.master.url));
        command.args(["--advertise", wrong]).stderr(File::create(&log).unwrap());
        let _server = Program::start(command, "listening on ");
        let expected = format!("the master cannot reach this server at {wrong}");
        wait_until("it is told so", SOON, || {
            std::fs::read_to_string(&log).unwrap().contains(&expected)
        });
        let rpc = Rpc::new();
        let ServerUrls(known) = rpc.call(&cluster.master.url, ListServers {}).unwrap();
        assert_eq!(known.len(), 1, "{known:?}");
    }
    // The classic call takes what it is told, as ever.
    let rpc = Rpc::new();
    let nobody = ServerUrl::new("https://localhost:1").unwrap();
    rpc.call(&cluster.master.url, Register { server: nobody.clone() }).unwrap();
    let ServerUrls(known) = rpc.call(&cluster.master.url, ListServers {}).unwrap();
    assert!(known.contains(&nobody), "{known:?}");
}
