//! Native contents at real chunk servers: every method over the wire, and `kill -9` while many
//! write.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use bytes::Bytes;
use common::cluster::{Cluster, Kind};
use common::rpc::{Rpc, key_of};
use common::{SOON, turn, wait_until};
use htfs::error::{ErrorKind, FsError};
use htfs::proto::Packed;
use htfs::proto::chunk::{
    Allocate, Copy, Delete, Found, GetSpace, List, MakeCuts, Optional, Punch, Read, Seek, Stat,
    SyncChunks, Truncate, Write, Zero,
};
use htfs::proto::cluster::ListMembers;
use htfs::proto::gateway::{Discard, Take};
use htfs::proto::server::SyncChunk;
use htfs::types::{ChunkKey, ChunkVersion, Cut, Extent, Ino, ServerId, Whence};

fn key(ino: u64, index: u64) -> ChunkKey {
    ChunkKey { ino: Ino(ino), index, incarnation: 0 }
}

fn write(chunk: ChunkKey, offset: u64, data: impl Into<Bytes>) -> Write {
    let extents = vec![Extent { offset, data: data.into() }];
    Write { chunk, version: ChunkVersion::of(1), extents }
}

fn read(chunk: ChunkKey, offset: u64, length: u64) -> Read {
    Read { chunk, version: ChunkVersion::of(1), offset, length }
}

fn kind<T: std::fmt::Debug>(answer: Result<T, htfs::rpc::CallError>) -> ErrorKind {
    FsError::from(answer.expect_err("it must fail")).kind()
}

#[test]
fn ranges_are_written_and_read_over_the_wire() {
    let cluster = Cluster::start(&Kind::Rust, 1);
    let (rpc, url) = (Rpc::new(), &cluster.chunks[0].url);
    let chunk = key(1 << 40, 7);
    let version = ChunkVersion::of(1);
    let (offset, length) = (100_000, 100_000);
    assert_eq!(kind(rpc.call(url, read(chunk, 0, 1))), ErrorKind::NotFound);
    assert_eq!(rpc.call(url, write(chunk, 0, vec![1; 300_000])).expect("write"), 300_000);
    assert_eq!(rpc.call(url, read(chunk, 299_999, 10)).expect("read"), vec![1]);
    let call = Zero { chunk, version: version.clone(), offset, length };
    rpc.call(url, call).expect("zero");
    let expected = [vec![1; 100_000], vec![0; 100_000], vec![1; 100_000]].concat();
    assert!(rpc.call(url, read(chunk, 0, 1 << 20)).expect("read") == expected);
    let call = Punch { chunk, version: version.clone(), offset: 65_536, length: 65_536 };
    // What was made zeros has kept its room, but where the hole is now.
    assert_eq!(rpc.call(url, call).expect("punch"), 3 * 65_536 + (300_000 - 4 * 65_536));
    let seek = |offset, whence| {
        let call = Seek { chunk, version: version.clone(), offset, whence };
        rpc.call(url, call).expect("seek")
    };
    assert_eq!(seek(0, Whence::Hole), Found(Some(65_536)));
    assert_eq!(seek(65_536, Whence::Data), Found(Some(196_608)));
    assert_eq!(seek(300_000, Whence::Data), Found(None));
    let call = Truncate { chunk, version: version.clone(), length: 10 };
    assert_eq!(rpc.call(url, call).expect("truncate"), 10);
    let call = Allocate { chunk, version, offset: 0, length: 1 << 20, extend: true };
    rpc.call(url, call).expect("allocate");
    let stat = rpc.call(url, Stat { chunk }).expect("stat");
    assert_eq!((stat.version, stat.length, stat.held), (1, 1 << 20, 10));
    let cuts = vec![Cut { version: 2, keep: 5 }];
    let cut = ChunkVersion { version: 2, cuts_from: 1, cuts, must_exist: true };
    assert_eq!(rpc.call(url, MakeCuts { chunk, version: cut }).expect("cut"), 5);
    assert_eq!(kind(rpc.call(url, write(chunk, 0, vec![1]))), ErrorKind::Stale);
}

#[test]
fn a_server_knows_what_it_holds() {
    let cluster = Cluster::start(&Kind::Rust, 1);
    let (rpc, url) = (Rpc::new(), &cluster.chunks[0].url);
    for ino in 1..=5 {
        rpc.call(url, write(key(ino, 0), 0, vec![1; 1000])).expect("write");
    }
    let some = SyncChunks { chunks: Some(vec![key(1, 0), key(2, 0)]) };
    rpc.call(url, some).expect("sync");
    let missing = SyncChunks { chunks: Some(vec![key(9, 0)]) };
    assert_eq!(kind(rpc.call(url, missing)), ErrorKind::NotFound);
    rpc.call(url, SyncChunk).expect("sync of everything");
    let mut after = None;
    let mut found = Vec::new();
    loop {
        let page = rpc.call(url, List { after: Optional(after), limit: 2 }).expect("list");
        let Some(last) = page.last() else { break };
        after = Some(last.key);
        found.extend(page.iter().map(|listed| (listed.key.ino.0, listed.stat.length)));
    }
    assert_eq!(found, [(1, 1000), (2, 1000), (3, 1000), (4, 1000), (5, 1000)]);
    let space = rpc.call(url, GetSpace {}).expect("space");
    assert_eq!(space.held, 5000);
    assert!(space.free < space.total);
    let chunks = vec![key(1, 0), key(4, 0), key(9, 0)];
    rpc.call(url, Delete { chunks }).expect("delete");
    assert_eq!(rpc.call(url, GetSpace {}).expect("space").held, 3000);
    assert_eq!(kind(rpc.call(url, read(key(4, 0), 0, 1))), ErrorKind::NotFound);
}

/// Which server is at a URL.
fn id_of(rpc: &Rpc, cluster: &Cluster, url: &str) -> Option<ServerId> {
    let members = rpc.call(&cluster.master.url, ListMembers {}).expect("members");
    Some(members.into_iter().find(|member| member.url.as_str() == url)?.server)
}

#[test]
fn contents_are_copied_from_server_to_server() {
    let cluster = Cluster::start(&Kind::Rust, 2);
    let rpc = Rpc::new();
    let (there, here) = (&cluster.chunks[0].url, &cluster.chunks[1].url);
    let data: Vec<u8> = (0..10_000_000u32).map(|n| (n % 253).to_le_bytes()[0]).collect();
    rpc.call(there, write(key(1, 0), 1 << 20, data.clone())).expect("write");
    let server = id_of(&rpc, &cluster, there).expect("it has joined");
    let copy = Copy {
        from_server: Optional(Some(server)),
        from_chunk: key(1, 0),
        from_version: ChunkVersion::of(1),
        from_offset: 100,
        chunk: key(2, 0),
        version: ChunkVersion::of(1),
        offset: 0,
        length: 11_000_000,
    };
    rpc.call(here, copy.clone()).expect("copy");
    let mut expected = [vec![0; (1 << 20) - 100], data].concat();
    expected.truncate(11_000_000);
    assert!(rpc.call(here, read(key(2, 0), 0, 64 << 20)).expect("read") == expected);

    // From elsewhere nothing is copied: nobody is even called there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let stranger = format!("https://{}", listener.local_addr().expect("its address"));
    let from_server = Optional(Some(stranger.parse().expect("a URL")));
    let answer = rpc.call(here, Copy { from_server, ..copy });
    assert_eq!(kind(answer), ErrorKind::UnknownServer);
    assert!(listener.accept().is_err(), "the stranger was called");
}

#[test]
fn a_server_that_joined_just_now_is_copied_from() {
    let mut cluster = Cluster::start(&Kind::Rust, 1);
    let rpc = Rpc::new();
    let copy = |from: ServerId| Copy {
        from_server: Optional(Some(from)),
        from_chunk: key(1, 0),
        from_version: ChunkVersion::of(1),
        from_offset: 0,
        chunk: key(2, 0),
        version: ChunkVersion::of(1),
        offset: 0,
        length: 5,
    };
    let here = cluster.chunks[0].url.clone();
    assert_eq!(kind(rpc.call(&here, copy(ServerId::new(1)))), ErrorKind::UnknownServer);
    cluster.add_chunk();
    let there = &cluster.chunks[1].url;
    rpc.call(there, write(key(1, 0), 0, "hello")).expect("write");
    let mut from = None;
    wait_until("it has joined", SOON, || {
        from = id_of(&rpc, &cluster, there);
        from.is_some()
    });
    let copied = thread::scope(|scope| {
        let copies: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| Rpc::new().call(&here, copy(from.clone().expect("it has joined"))))
            })
            .collect();
        copies.into_iter().map(|copy| copy.join().expect("no panic")).collect::<Vec<_>>()
    });
    assert!(copied.iter().all(Result::is_ok), "{copied:?}");
}

#[test]
fn a_value_becomes_the_contents_of_a_file() {
    let cluster = Cluster::start(&Kind::Rust, 1);
    let (rpc, url) = (Rpc::new(), &cluster.chunks[0].url);
    rpc.put(url, "/x", Some("hello\n")).expect("put");
    let take = |size| Take { key: key_of("/x"), chunk: key(3, 0), version: 1, size };
    assert_eq!(kind(rpc.call(url, take(7))), ErrorKind::InvalidArgument);
    let Packed(staged) = rpc.call(url, take(6)).expect("take");
    assert_eq!(rpc.call(url, read(key(3, 0), 0, 100)).expect("read"), "hello\n");
    assert!(rpc.get(url, "/x").expect("get").is_some(), "whoever dies now can begin again");
    let discard = Discard { key: key_of("/x"), token: staged.token };
    assert!(rpc.call(url, discard).expect("discard"));
    assert_eq!(rpc.get(url, "/x").expect("get"), None);
    assert_eq!(kind(rpc.call(url, take(6))), ErrorKind::NotFound);
}

/// Bytes that a writer writes at once. Every fourth such run is the same writer's, so that blocks
/// have several writers.
const RUN: u64 = 10_000;
const WRITERS: u64 = 4;
const RUNS_EACH: u64 = 5;

/// Writes `count` into all runs of a writer, again and again with the next number, until the server
/// is gone.
fn count_up(url: &str, writer: u64, done: &AtomicU64, over: &AtomicBool) {
    let rpc = Rpc::new();
    while !over.load(Ordering::SeqCst) {
        let count = done.load(Ordering::SeqCst) + 1;
        let data = vec![u8::try_from(count % 251).expect("below 251"); 10_000];
        for run in 0..RUNS_EACH {
            let offset = (run * WRITERS + writer) * RUN;
            if rpc.call(url, write(key(1, 0), offset, data.clone())).is_err() {
                return;
            }
        }
        done.store(count, Ordering::SeqCst);
    }
}

#[test]
fn kill_9_while_many_write_loses_nothing() {
    let _turn = turn();
    let mut cluster = Cluster::start(&Kind::Rust, 1);
    let url = cluster.chunks[0].url.clone();
    let counts: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    let total = || counts.iter().map(|count| count.load(Ordering::SeqCst)).sum::<u64>();
    for round in 0..5 {
        let over = AtomicBool::new(false);
        let before = total();
        thread::scope(|scope| {
            for (writer, count) in (0..).zip(&counts) {
                let (url, over) = (&url, &over);
                scope.spawn(move || count_up(url, writer, count, over));
            }
            // So that marks are needed and made and cleared all the time.
            scope.spawn(|| {
                let rpc = Rpc::new();
                while !over.load(Ordering::SeqCst) {
                    let chunks = Some(vec![key(1, 0)]);
                    rpc.call(&url, SyncChunks { chunks }).ok();
                }
            });
            wait_until("the writers get on", SOON, || total() > before + 20);
            cluster.chunks[0].process.kill();
            over.store(true, Ordering::SeqCst);
        });
        cluster.chunks[0].start_again();
        let data = Rpc::new().call(&url, read(key(1, 0), 0, 64 << 20));
        let data = data.unwrap_or_else(|error| panic!("after round {round}: {error}"));
        for (at, run) in (0u64..).zip(data.chunks_exact(10_000)) {
            let writer = usize::try_from(at % WRITERS).expect("small");
            let least = counts[writer].load(Ordering::SeqCst);
            let allowed = [least, least + 1].map(|count| (count % 251).to_le_bytes()[0]);
            let bad = run.iter().position(|byte| !allowed.contains(byte));
            assert_eq!(bad, None, "round {round}, run {at}: {least} was acknowledged");
        }
    }
}
