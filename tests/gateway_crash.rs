//! Classic puts while servers die: whatever was acknowledged is there, and what a put would replace
//! is there until it is replaced.

mod common;

use std::fs;
use std::time::Duration;

use common::classic::{Classic, DIALECTS, LONG_S};
use common::cluster::{Cluster, Kind};
use common::mount::Mount;
use common::rpc::Rpc;
use common::{SOON, turn, wait_until};
use htfs::error::{ErrorKind, FsError};
use htfs::pickle::Attributes;
use htfs::proto::chunk::{List, Optional};

fn dict(size: usize, server: &htfs::types::ServerUrl) -> Attributes {
    Attributes {
        mode: libc::S_IFREG | 0o644,
        size: size as u64,
        contents: Some(server.clone()),
        ..Attributes::default()
    }
}

#[test]
fn a_chunk_server_that_dies_before_the_put_takes_nothing_away() {
    let _turn = turn();
    let mut cluster = Cluster::start(&Kind::Rust, 1);
    let mount = Mount::ours(&cluster, &["--timeout", "5"]);
    let classic = Classic::new(&cluster.master.url, DIALECTS[0]);
    classic.write("/f", b"the old").expect("put");
    let server = classic.stage("/f", b"and the new", LONG_S).expect("stage");
    classic.announce("/f", &server, 11).expect("announce");
    cluster.chunks[0].process.kill();
    // The new contents cannot be had: the client hears of it, and may put once more.
    let error = FsError::from(classic.put_dict("/f", &dict(11, &server), LONG_S).unwrap_err());
    assert!(matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Io), "{error}");
    let (seen, _) = classic.stat("/f").expect("get").expect("it is there");
    assert_eq!(seen.size, 7);
    cluster.chunks[0].start_again();
    assert_eq!(fs::read(mount.path("f")).expect("read"), b"the old");
    assert_eq!(classic.read("/f").expect("get").expect("it is there"), "the old");
    // What was staged survived the death, too.
    classic.put_dict("/f", &dict(11, &server), LONG_S).expect("put");
    wait_until("the new contents are there", SOON, || {
        fs::read(mount.path("f")).is_ok_and(|found| found == b"and the new")
    });
}

#[test]
fn who_is_first_at_the_master_keeps_his_contents_when_the_other_dies() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let mount = Mount::ours(&cluster, &[]);
    let (first, other) = (
        Classic::new(&cluster.master.url, DIALECTS[0]),
        Classic::new(&cluster.master.url, DIALECTS[3]),
    );
    first.write("/old", b"what was there before").expect("put");
    for path in ["/new", "/old"] {
        let server = first.stage(path, b"the first", LONG_S).expect("stage");
        first.announce(path, &server, 9).expect("announce");
        other.stage(path, b"and the other", LONG_S).expect("stage");
        // The other one is dead now, or slow.
        first.put_dict(path, &dict(9, &server), LONG_S).expect("put");
        assert_eq!(first.read(path).expect("get").expect("it is there"), "the first");
        wait_until("the first one's contents are there", SOON, || {
            fs::read(mount.path(&path[1..])).is_ok_and(|found| found == b"the first")
        });
        // It was slow.
        other.put_dict(path, &dict(13, &server), LONG_S).expect("put");
        wait_until("the other one's contents are there", SOON, || {
            fs::read(mount.path(&path[1..])).is_ok_and(|found| found == b"and the other")
        });
    }
    // A client that deletes what another one is about to store does not delete that.
    let server = first.stage("/old", b"the first", LONG_S).expect("stage");
    other.delete("/old").expect("delete");
    first.put_dict("/old", &dict(9, &server), LONG_S).expect("put");
    wait_until("it is there again", SOON, || {
        fs::read(mount.path("old")).is_ok_and(|found| found == b"the first")
    });
}

#[test]
fn a_new_file_whose_server_is_away_comes_into_the_tree_when_that_is_back() {
    let _turn = turn();
    let mut cluster = Cluster::start(&Kind::Rust, 1);
    let mount = Mount::ours(&cluster, &["--timeout", "5"]);
    let classic = Classic::new(&cluster.master.url, DIALECTS[3]);
    let server = classic.stage("/new", b"contents", LONG_S).expect("stage");
    classic.announce("/new", &server, 8).expect("announce");
    cluster.chunks[0].process.kill();
    classic.put_dict("/new", &dict(8, &server), LONG_S).expect("put, as ever");
    let (seen, _) = classic.stat("/new").expect("get").expect("a client finds what it put");
    assert_eq!(seen.size, 8);
    assert!(!mount.path("new").exists(), "nobody has the contents");
    // Not even a death of the master makes it forget.
    cluster.master.process.kill();
    cluster.master.start_again();
    cluster.chunks[0].start_again();
    wait_until("it is in the tree", SOON, || {
        fs::read(mount.path("new")).is_ok_and(|found| found == b"contents")
    });
    assert_eq!(classic.read("/new").expect("get").expect("it is there"), "contents");
    assert_eq!(fs::read_dir(mount.root()).expect("readdir").count(), 1);
}

#[test]
fn a_master_that_dies_during_puts_loses_none_and_leaves_no_chunk() {
    let _turn = turn();
    let mut cluster = Cluster::start(&Kind::Rust, 2);
    let urls: Vec<String> = cluster.chunks.iter().map(|chunk| chunk.url.clone()).collect();
    let master = cluster.master.url.clone();
    let acknowledged = std::sync::atomic::AtomicUsize::new(0);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let last = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let classic = Classic::new(&master, DIALECTS[0]);
            let mut last = (0, Vec::new());
            for round in 1.. {
                if is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                match classic.write("/f", format!("round {round}").repeat(3000).as_bytes()) {
                    Ok(()) => {
                        last = (round, Vec::new());
                        acknowledged.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                    // It may have been carried out, or not.
                    Err(_) => last.1.push(round),
                }
            }
            last
        });
        for _ in 0..4 {
            let count = || acknowledged.load(std::sync::atomic::Ordering::Relaxed);
            let goal = count() + 7;
            wait_until("puts are acknowledged", SOON, || count() >= goal);
            cluster.master.start_again();
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().expect("the writer does not fail")
    });
    let classic = Classic::new(&master, DIALECTS[0]);
    let found = classic.read("/f").expect("get").expect("it is there");
    let possible: Vec<u32> = [vec![last.0], last.1].concat();
    let is_right = |round: &u32| found == format!("round {round}").repeat(3000).as_bytes();
    assert!(possible.iter().any(is_right), "{possible:?}: {:?}", &found[..10]);
    let mount = Mount::ours(&cluster, &[]);
    assert!(fs::read(mount.path("f")).expect("read") == found);

    // Chunks that were taken over and never the file's are deleted, but for those of a master that
    // died in between, which wait for the time of grace: one for each death at most.
    let rpc = Rpc::with_timeout(Duration::from_secs(20));
    let held = || {
        let list = |url: &String| {
            let call = List { after: Optional(None), limit: 4096 };
            rpc.call(url, call).expect("list").len()
        };
        urls.iter().map(list).sum::<usize>()
    };
    wait_until("old chunks are deleted", SOON, || held() <= 1 + 4);
}
