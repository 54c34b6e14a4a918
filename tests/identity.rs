//! Who is who: servers that move, servers that are not who they seem to be, and masters that have
//! lost what they knew. Nothing that was entrusted may be lost by any of it.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::classic::{Classic, DIALECTS};
use common::cluster::{Cluster, Kind, Server};
use common::rpc::Rpc;
use common::{SOON, wait_until};
use htfs::error::{ErrorKind, FsError};
use htfs::proto::chunk::{List, Listed, Optional};
use htfs::proto::classic::GetServer;
use htfs::proto::cluster::{ListMembers, ListStrays};

/// The files of a cluster, put by a classic client, whose contents become chunks.
const FILES: usize = 5;

fn path(number: usize) -> String {
    format!("/file-{number}")
}

fn contents(number: usize) -> Vec<u8> {
    // Larger than what a chunk server keeps in its index.
    vec![u8::try_from(number + 1).expect("few files"); 200_000]
}

fn wait_for_servers(cluster: &Cluster) {
    let rpc = Rpc::new();
    let has_one = || matches!(rpc.call(&cluster.master.url, GetServer), Ok(Some(_)));
    wait_until("a chunk server has joined", SOON, has_one);
}

fn write_files(cluster: &Cluster) {
    let classic = Classic::new(&cluster.master.url, DIALECTS[0]);
    wait_for_servers(cluster);
    for number in 0..FILES {
        classic.write(&path(number), &contents(number)).expect("the file is put");
    }
}

fn are_whole(cluster: &Cluster) -> bool {
    let classic = Classic::new(&cluster.master.url, DIALECTS[0]);
    (0..FILES).all(
        |number| matches!(classic.read(&path(number)), Ok(Some(read)) if read == contents(number)),
    )
}

fn chunks_at(server: &Server) -> usize {
    let list = List { after: Optional(None), limit: 1000 };
    Rpc::new().call(&server.url, list).expect("it lists its chunks").len()
}

/// Copies a directory as `cp -a` does.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("there is cp");
    assert!(status.success());
}

fn data_of(server: &Server) -> PathBuf {
    server.dir.join("data")
}

#[test]
fn a_server_that_comes_back_under_another_url_is_the_same_server() {
    let mut cluster = Cluster::start(&Kind::Rust, 1);
    write_files(&cluster);
    assert!(are_whole(&cluster));
    let mut moved = cluster.chunks.remove(0);
    let before = moved.url.clone();
    moved.start_elsewhere();
    assert_ne!(moved.url, before);
    wait_until("its files are there under the new URL", SOON, || are_whole(&cluster));
    let members = Rpc::new().call(&cluster.master.url, ListMembers {}).expect("members");
    assert_eq!(members.len(), 1, "{members:?}");
    assert_eq!(members[0].url.as_str(), moved.url);
}

#[test]
fn servers_that_change_their_urls_with_each_other_are_not_mistaken() {
    let mut cluster = Cluster::start(&Kind::Rust, 2);
    write_files(&cluster);
    let [first, second] = &mut cluster.chunks[..] else { panic!("there are two") };
    first.process.kill();
    second.process.kill();
    first.swap_ports(second);
    wait_until("every file comes from the server that has it", SOON, || are_whole(&cluster));
}

#[test]
fn an_empty_master_makes_no_server_give_up_anything() {
    let mut cluster = Cluster::start(&Kind::Rust, 1);
    write_files(&cluster);
    let held = chunks_at(&cluster.chunks[0]);
    assert_eq!(held, FILES);
    cluster.master.process.kill();
    let (data, kept) = (data_of(&cluster.master), cluster.master.dir.join("kept"));
    std::fs::rename(&data, &kept).expect("both are ours");
    cluster.master.start_again();
    let refusal = "this chunk server belongs to cluster";
    let chunk = &mut cluster.chunks[0];
    wait_until("the server says that it is refused", SOON, || {
        chunk.process.log().contains(refusal)
    });
    wait_until("the master says so", SOON, || cluster.master.process.log().contains(refusal));
    chunk.start_again();
    wait_until("it is refused again", SOON, || chunk.process.log().matches(refusal).count() >= 2);
    assert_eq!(chunks_at(chunk), held);

    cluster.master.process.kill();
    std::fs::remove_dir_all(&data).expect("it is ours");
    std::fs::rename(&kept, &data).expect("both are ours");
    cluster.master.start_again();
    wait_until("everything is there again", SOON, || are_whole(&cluster));
}

#[test]
fn an_older_master_gives_out_no_number_again_and_counts_what_it_does_not_know() {
    let mut cluster = Cluster::start(&Kind::Rust, 1);
    let classic = Classic::new(&cluster.master.url, DIALECTS[0]);
    wait_for_servers(&cluster);
    classic.write("/old", b"old").expect("put");
    assert!(cluster.master.process.terminate().success());
    let (data, backup) = (data_of(&cluster.master), cluster.master.dir.join("backup"));
    copy(&data, &backup);
    cluster.master.start_again();
    wait_until("files can be put again", SOON, || classic.write("/probe", b"probe").is_ok());
    write_files(&cluster);
    let list = List { after: Optional(None), limit: 1000 };
    let before = Rpc::new().call(&cluster.chunks[0].url, list.clone()).expect("chunks");

    cluster.master.process.kill();
    std::fs::remove_dir_all(&data).expect("it is ours");
    std::fs::rename(&backup, &data).expect("both are ours");
    cluster.master.start_again();
    let says = || cluster.master.process.log().contains("older than theirs");
    wait_until("the master notices that it is older than the chunks", SOON, says);
    let strays = || {
        let strays = Rpc::new().call(&cluster.master.url, ListStrays {}).expect("strays").0;
        strays.iter().map(|server| server.strays.strays).sum::<u64>()
    };
    wait_until("the chunks of the files that it lost are counted", SOON, || {
        strays() > FILES as u64
    });
    let old = classic.read("/old").expect("it was in the backup").expect("it is there");
    assert_eq!(old.as_ref(), b"old");

    for number in 0..FILES {
        classic.write(&format!("/new-{number}"), b"new").expect("put");
    }
    let after = Rpc::new().call(&cluster.chunks[0].url, list).expect("chunks");
    let new = after.iter().filter(|chunk| before.iter().all(|old| old.key != chunk.key));
    assert_eq!(new.clone().count(), FILES, "new files are in chunks of their own");
    assert!(
        new.clone().all(|new| before.iter().all(|old| old.key.ino != new.key.ino)),
        "and have inodes of their own"
    );
    let is_there = |old: &&Listed| after.iter().any(|chunk| chunk.key == old.key);
    assert!(before.iter().all(|old| is_there(&old)), "nothing is gone");
}

#[test]
fn a_copy_of_a_server_is_not_taken_for_it() {
    let mut cluster = Cluster::start(&Kind::Rust, 1);
    write_files(&cluster);
    cluster.chunks[0].process.kill();
    let dir = tempfile::tempdir().expect("a place for the copy");
    copy(&data_of(&cluster.chunks[0]), &dir.path().join("data"));
    cluster.chunks[0].start_again();
    wait_until("the server is back", SOON, || are_whole(&cluster));
    let copied = cluster.chunk_in(dir.path());
    wait_until("the copy is told so", SOON, || copied.process.log().contains("is a copy"));
    assert!(are_whole(&cluster));
    let members = Rpc::new().call(&cluster.master.url, ListMembers {}).expect("members");
    assert_eq!(members[0].url.as_str(), cluster.chunks[0].url);
}

#[test]
fn a_call_for_another_server_is_not_carried_out() {
    let cluster = Cluster::start(&Kind::Rust, 1);
    let url = &cluster.chunks[0].url;
    let list = || List { after: Optional(None), limit: 1 };
    let rpc = Rpc::new();
    wait_for_servers(&cluster);
    let members = rpc.call(&cluster.master.url, ListMembers {}).expect("members");
    assert!(rpc.call(&format!("{url}#{}", members[0].server), list()).is_ok());
    let other = format!("{url}#{:032x}", 1);
    let error = rpc.call(&other, list()).map_err(FsError::from).expect_err("for another");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert!(error.message().contains("another server"), "{error}");
}
