//! Where chunks go, what is written to them, and how they are deleted.

use std::collections::BTreeMap;

use htfs::error::ErrorKind;
use htfs::limits::CHUNK_SIZE;
use htfs::proto::Packed;
use htfs::proto::cluster::Report;
use htfs::proto::fs::{Append, Layout, Place, SetAttributes};
use htfs::types::{Access, ChunkKey, Credentials, Ino, ServerId, SetAttr};

use crate::client::{Client, Master, eventually};

const ROOMY: u64 = 1 << 40;

async fn truncate(client: &Client, ino: Ino, size: u64) {
    let change = Packed(SetAttr { size: Some(size), ..SetAttr::default() });
    let who = Packed(Credentials::ROOT);
    let call = SetAttributes { ino, change, who, session: client.session };
    client.call(call).await.expect("the file is cut");
}

fn first_server(opened: &htfs::proto::fs::Opened) -> ServerId {
    opened.layout[0].replicas[0].clone()
}

/// The report's Table I, with native files: 200 files on 8 servers are 25 on each.
#[tokio::test(flavor = "multi_thread")]
async fn files_spread_evenly() {
    let master = Master::start().await;
    for port in 9001..9009 {
        master.add_server(port, ROOMY).await;
    }
    let client = master.client().await;
    let mut files = BTreeMap::new();
    for n in 0..200 {
        let opened = client.create(Ino::ROOT, &format!("f{n}")).await;
        client.extend(&opened, 6).await.unwrap();
        *files.entry(first_server(&opened)).or_insert(0) += 1;
    }
    assert_eq!(files.len(), 8);
    assert!(files.values().all(|count| *count == 25), "{files:?}");
}

/// The report's nine files: one of 10 MB, eight of 1 MB, on three servers.
#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_server_comes_first() {
    let master = Master::start().await;
    for port in 9001..9004 {
        master.add_server(port, ROOMY).await;
    }
    let client = master.client().await;
    let mut sizes = BTreeMap::new();
    for n in 0..9 {
        let opened = client.create(Ino::ROOT, &format!("f{n}")).await;
        let size = if n == 0 { 10 } else { 1 };
        client.extend(&opened, size << 20).await.unwrap();
        *sizes.entry(first_server(&opened)).or_insert(0) += size;
    }
    let mut sizes: Vec<u64> = sizes.into_values().collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [4, 4, 10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_are_placed_one_by_one() {
    let master = Master::start().await;
    for port in 9001..9004 {
        master.add_server(port, ROOMY).await;
    }
    let client = master.client().await;
    let ino = client.create(Ino::ROOT, "file").await.attr.ino;
    let place = Place { ino, indexes: Packed(vec![0, 7, 2]) };
    let placed = client.call(place.clone()).await.unwrap().0;
    let indexes: Vec<u64> = placed.iter().map(|chunk| chunk.key.index).collect();
    assert_eq!(indexes, [0, 7, 2]);
    assert_eq!(client.call(place).await.unwrap().0, placed, "it stays where it is");
    let mut servers: Vec<_> = placed.iter().map(|chunk| &chunk.replicas).collect();
    servers.sort();
    servers.dedup();
    assert_eq!(servers.len(), 3);
    for (count, expected) in [(1, &[2][..]), (6, &[2, 7])] {
        let layout = client.call(Layout { ino, index: 1, count }).await.unwrap().0;
        assert_eq!(layout.iter().map(|chunk| chunk.key.index).collect::<Vec<_>>(), expected);
    }
    let again = client.open(ino, Access::READ).await.unwrap();
    assert_eq!(again.layout.len(), 3, "a small file's layout comes with the open");
}

#[tokio::test(flavor = "multi_thread")]
async fn full_servers_get_no_chunks() {
    let master = Master::start().await;
    let client = master.client().await;
    let ino = client.create(Ino::ROOT, "file").await.attr.ino;
    let place = Place { ino, indexes: Packed(vec![0]) };
    assert_eq!(client.refused(place.clone()).await, ErrorKind::Unreachable);
    let server = master.add_server(9001, 0).await;
    assert_eq!(client.refused(place.clone()).await, ErrorKind::NoSpace);
    assert_eq!(client.create(Ino::ROOT, "other").await.layout, [], "it may stay empty");
    client.heartbeat(&server, ROOMY, &[]).await;
    assert_eq!(client.call(place).await.unwrap().0[0].replicas, [server.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_overtaken_by_a_truncation_is_found_out() {
    let master = Master::start().await;
    master.add_server(9001, ROOMY).await;
    let (a, b) = (master.client().await, master.client().await);
    let opened = a.create(Ino::ROOT, "file").await;
    assert_eq!(a.extend(&opened, 1000).await.unwrap().bytes, 1000);
    truncate(&b, opened.attr.ino, 10).await;
    assert_eq!(a.extend(&opened, 2000).await.unwrap_err().kind(), ErrorKind::Stale);
    let again = a.open(opened.attr.ino, Access::WRITE).await.unwrap();
    assert_eq!(again.layout[0].cuts.len(), 1);
    assert_eq!(a.extend(&again, 2000).await.unwrap().size, 2000);
    let settled = a.open(opened.attr.ino, Access::READ).await.unwrap();
    assert_eq!(settled.layout[0].cuts, [], "who wrote has cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_cut_when_opened_gets_a_new_first_chunk() {
    let master = Master::start().await;
    let server = master.add_server(9001, ROOMY).await;
    let client = master.client().await;
    let opened = client.create(Ino::ROOT, "file").await;
    client.extend(&opened, 1000).await.unwrap();
    let mut call = client.opening(opened.attr.ino, Access::WRITE);
    call.mode.0.is_truncating = true;
    let again = client.call(call).await.unwrap().0;
    assert_eq!((again.attr.size, again.attr.bytes), (0, 0));
    let (old, new) = (opened.layout[0].key, again.layout[0].key);
    assert_ne!(old, new);
    assert_eq!(client.heartbeat(&server, ROOMY, &[]).await, [old]);
    assert_eq!(client.extend(&opened, 1000).await.unwrap_err().kind(), ErrorKind::Stale);
    assert_eq!(client.extend(&again, 7).await.unwrap().size, 7);
}

/// Promise 3, the master's part: each append has a place of its own.
#[tokio::test(flavor = "multi_thread")]
async fn appends_get_places_of_their_own() {
    let master = Master::start().await;
    let (a, b) = (master.client().await, master.client().await);
    let ino = a.create(Ino::ROOT, "file").await.attr.ino;
    let append = |client: &Client| Append {
        ino,
        length: 10,
        who: Packed(Credentials::ROOT),
        session: client.session,
    };
    let mut places = Vec::new();
    for _ in 0..20 {
        let (first, second) = tokio::join!(a.call(append(&a)), b.call(append(&b)));
        places.extend([first.unwrap().0.offset, second.unwrap().0.offset]);
    }
    places.sort_unstable();
    assert_eq!(places, (0..40).map(|n| n * 10).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_deleted_files_are_deleted_by_their_servers() {
    let master = Master::start().await;
    let server = master.add_server(9001, ROOMY).await;
    let client = master.client().await;
    let opened = client.create(Ino::ROOT, "file").await;
    let place = Place { ino: opened.attr.ino, indexes: Packed(vec![0, 1]) };
    let chunks = client.call(place).await.unwrap().0;
    client.extend(&opened, CHUNK_SIZE).await.unwrap();
    assert_eq!(client.heartbeat(&server, ROOMY, &[]).await, []);
    truncate(&client, opened.attr.ino, 1).await;
    assert_eq!(client.heartbeat(&server, ROOMY, &[]).await, [chunks[1].key]);
    client.unlink(Ino::ROOT, "file").await;
    let both = [chunks[0].key, chunks[1].key];
    eventually("the file is freed", async || {
        client.renew(&[]).await.unwrap();
        client.heartbeat(&server, ROOMY, &[]).await == both
    })
    .await;
    assert_eq!(client.heartbeat(&server, ROOMY, &both[..1]).await, both[1..]);
    assert_eq!(client.heartbeat(&server, ROOMY, &both[1..]).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_knows_is_not_deleted_at_once() {
    let master = Master::start().await;
    let server = master.add_server(9001, ROOMY).await;
    let client = master.client().await;
    let known = client.create(Ino::ROOT, "file").await.layout[0].key;
    let unknown = ChunkKey { ino: Ino(999), index: 0, incarnation: 0 };
    let held = Packed(vec![(known, 1), (unknown, 1)]);
    let report = Report { server: server.id.clone(), cluster: server.cluster, process: 1, held };
    assert_eq!(client.call(report.clone()).await.unwrap().0, [unknown]);
    assert_eq!(client.call(report).await.unwrap().0, [unknown]);
    assert_eq!(client.heartbeat(&server, ROOMY, &[]).await, []);
}

/// Identities are no secret: anybody may ask for them.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_another_process_than_the_server_is_refused_and_changes_nothing() {
    let master = Master::start().await;
    let server = master.add_server(9001, ROOMY).await;
    let client = master.client().await;
    let file = client.create(Ino::ROOT, "file").await;
    let key = file.layout[0].key;
    let version = async || {
        let layout = Layout { ino: file.attr.ino, index: 0, count: 1 };
        client.call(layout).await.unwrap().0[0].version
    };
    let before = version().await;
    let report = |process, version| {
        let (server, cluster, held) = (server.id.clone(), server.cluster, vec![(key, version)]);
        Report { server, cluster, process, held: Packed(held) }
    };
    assert_eq!(client.refused(report(2, before + 1)).await, ErrorKind::Busy);
    assert_eq!(version().await, before);
    client.call(report(1, before + 1)).await.unwrap();
    assert_eq!(version().await, before + 1);
}
