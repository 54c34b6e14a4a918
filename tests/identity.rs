//! Who is who: servers that move, servers that are not who they seem to be, and masters that have
//! lost what they knew. Nothing that was entrusted may be lost by any of it.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::classic::{Classic, DIALECTS};
use common::cluster::{Cluster, Kind, Server};
use common::process::Process;
use common::rpc::Rpc;
use common::{SOON, keys, wait_until};
use htfs::error::{ErrorKind, FsError};
use htfs::proto::chunk::{List, Listed, Optional};
use htfs::proto::classic::GetServer;
use htfs::proto::cluster::{Join, ListMembers, ListStrays};
use htfs::types::ServerUrl;

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
    wait_until("the chunk server has heard of the master since", SOON, || {
        let strays = Rpc::new().call(&cluster.master.url, ListStrays {}).expect("strays").0;
        strays.iter().any(|server| server.strays.chunks >= FILES as u64)
    });

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
    wait_until("the chunk server keeps them until somebody says so", SOON, || {
        cluster.chunks[0].process.log().contains("older than they were")
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

/// A cluster with one chunk server, which is there, and a directory with a copy of its data.
fn copied_server() -> (Cluster, tempfile::TempDir) {
    let mut cluster = Cluster::start(&Kind::Rust, 1);
    write_files(&cluster);
    cluster.chunks[0].process.kill();
    let dir = tempfile::tempdir().expect("a place for the copy");
    copy(&data_of(&cluster.chunks[0]), &dir.path().join("data"));
    cluster.chunks[0].start_again();
    wait_until("the server is back", SOON, || are_whole(&cluster));
    (cluster, dir)
}

#[test]
fn a_copy_of_a_server_is_not_taken_for_it() {
    let (cluster, dir) = copied_server();
    let copied = cluster.chunk_in(dir.path());
    wait_until("the copy is told so", SOON, || copied.process.log().contains("is a copy"));
    assert!(are_whole(&cluster));
    let members = Rpc::new().call(&cluster.master.url, ListMembers {}).expect("members");
    assert_eq!(members[0].url.as_str(), cluster.chunks[0].url);
}

#[test]
fn a_copy_that_was_started_more_often_is_not_taken_for_the_server_either() {
    let (mut cluster, dir) = copied_server();
    let mut copied = cluster.chunk_in(dir.path());
    for times in 1..=3 {
        let is_told = || copied.process.log().matches("is a copy").count() >= times;
        wait_until("the copy is told so", SOON, is_told);
        copied.start_again();
    }
    let members = Rpc::new().call(&cluster.master.url, ListMembers {}).expect("members");
    assert_eq!(members[0].url.as_str(), cluster.chunks[0].url);
    cluster.chunks[0].start_again();
    wait_until("the server keeps its place", SOON, || are_whole(&cluster));
}

#[test]
fn a_server_that_was_restored_from_a_backup_takes_its_place_again() {
    let mut cluster = Cluster::start(&Kind::Rust, 1);
    write_files(&cluster);
    let chunk = &mut cluster.chunks[0];
    assert!(chunk.process.terminate().success());
    let (data, backup) = (data_of(chunk), chunk.dir.join("backup"));
    copy(&data, &backup);
    for times in 2..=4 {
        let chunk = &mut cluster.chunks[0];
        chunk.start_again();
        // The log goes on over restarts.
        let has_joined = || chunk.process.log().matches(": joined ").count() >= times;
        wait_until("it has joined", SOON, has_joined);
    }
    let chunk = &mut cluster.chunks[0];
    chunk.process.kill();
    std::fs::remove_dir_all(&data).expect("it is ours");
    std::fs::rename(&backup, &data).expect("both are ours");
    // It has been started less often than the master knows.
    chunk.start_elsewhere();
    wait_until("its files are there", SOON, || are_whole(&cluster));
}

#[test]
fn a_server_takes_the_place_of_a_process_that_hangs_when_its_heartbeats_have_stopped() {
    let cluster = Cluster::start(&Kind::Rust, 1);
    write_files(&cluster);
    cluster.chunks[0].process.pause();
    let dir = tempfile::tempdir().expect("a place for the copy");
    copy(&data_of(&cluster.chunks[0]), &dir.path().join("data"));
    let copied = cluster.chunk_in(dir.path());
    let waits = || copied.process.log().contains("until a moment ago");
    wait_until("it has to wait", SOON, waits);
    let joined = || copied.process.log().contains("joined");
    wait_until("it takes its place", SOON, joined);
    cluster.chunks[0].process.go_on();
    let is_told = || cluster.chunks[0].process.log().contains("is a copy");
    wait_until("the other one is told so", SOON, is_told);
    assert!(are_whole(&cluster));
}

#[test]
fn a_join_that_the_server_knows_nothing_of_changes_nothing() {
    let cluster = Cluster::start(&Kind::Rust, 2);
    write_files(&cluster);
    let rpc = Rpc::new();
    let members = || rpc.call(&cluster.master.url, ListMembers {}).expect("members");
    wait_until("both have joined", SOON, || members().len() == 2);
    let members = members();
    // Its own URL, that of another server, and one with a word that errors of TLS have.
    let word = "https://certificate.invalid:1".to_owned();
    for url in [&members[0].url.to_string(), &members[1].url.to_string(), &word] {
        let join = Join {
            server: members[0].server.clone(),
            url: ServerUrl::new(url.clone()).expect("a URL"),
            cluster: Optional(None),
            boot: 1 << 60,
            process: 1,
            held: 0,
            has_chunks: true,
        };
        let error = rpc.call(&cluster.master.url, join).map_err(FsError::from).expect_err(url);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{url}: {error}");
    }
    assert_eq!(rpc.call(&cluster.master.url, ListMembers {}).expect("members"), members);
    assert!(are_whole(&cluster));
}

#[test]
fn a_server_with_a_certificate_that_the_master_does_not_trust_is_told_so() {
    let cluster = Cluster::start(&Kind::Rust, 0);
    let dir = tempfile::tempdir().expect("a place for the server");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("openssl-gen.sh");
    let made = Command::new(script).current_dir(dir.path()).output().expect("bash");
    assert!(made.status.success(), "{made:?}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_chunk"));
    command.args(["0", "--master", &cluster.master.url, "--data-dir", "data", "--ca"]);
    command.arg(&keys().certificate).current_dir(dir.path());
    let server = Process::start("chunk", command, dir.path());
    let told = "the server's certificate is not the one in";
    let words = "the master cannot make sure that this server is at";
    wait_until("it is told so", SOON, || server.log().contains(words));
    wait_until("the master's log has it", SOON, || cluster.master.process.log().contains(told));
    let members = Rpc::new().call(&cluster.master.url, ListMembers {}).expect("members");
    assert_eq!(members, []);
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
