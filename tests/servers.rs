//! Whole servers with trouble on their disks: two processes on one directory, damaged contents,
//! a master that lost its data, servers that come back.

mod common;

use std::fs::DirEntry;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::cluster::{Cluster, Kind, Server};
use common::rpc::{Rpc, key_of, text_value};
use common::{SOON, keys, wait_until};
use htfs::error::ErrorKind;
use htfs::proto::classic::{
    ChangeSize, Dialect, GetServer, PrintContent, ReadFile, Register, WriteFile,
};
use htfs::proto::fs::StatFileSystem;
use htfs::rpc::CallError;
use htfs::types::ServerUrl;

fn url_of(server: &Server) -> ServerUrl {
    ServerUrl::new(server.url.clone()).expect("a server's name is a URL")
}

/// Where the next file would go.
fn next_server(rpc: &Rpc, master: &Server) -> Option<ServerUrl> {
    rpc.call(&master.url, GetServer).expect("the master answers")
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let cluster = Cluster::start(&Kind::Rust, 1);
    let programs = [
        (&cluster.master, env!("CARGO_BIN_EXE_master"), ["--listen", "localhost:0"].as_slice()),
        (&cluster.chunks[0], env!("CARGO_BIN_EXE_chunk"), &["0"]),
    ];
    for (server, program, options) in programs {
        let mut second = Command::new(program);
        second.args(options).args(["--data-dir", "data"]).current_dir(&server.dir);
        second.arg("--cert").arg(&keys().certificate).arg("--key").arg(&keys().key);
        let output = second.output().expect("it can be started");
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("error: data is in use by process "), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let rpc = Rpc::new();
    rpc.put(&cluster.chunks[0].url, "k", Some("v")).expect("the first process goes on");
}

#[test]
fn damaged_contents_are_a_fault_and_the_server_goes_on() {
    let cluster = Cluster::start(&Kind::Rust, 1);
    let (rpc, chunk) = (Rpc::new(), &cluster.chunks[0]);
    let text = "text ".repeat(50_000);
    rpc.put(&chunk.url, "damaged", Some(&text)).expect("put");
    let values = std::fs::read_dir(chunk.dir.join("data/values")).expect("it is there");
    let files: Vec<PathBuf> = values.map(|entry| entry.expect("an entry").path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    let mut bytes = std::fs::read(file).expect("it can be read");
    bytes[200_000] ^= 1;
    std::fs::write(file, bytes).expect("it can be written");

    match rpc.get(&chunk.url, "damaged") {
        Err(CallError::Fault(fault)) => {
            assert_eq!(fault.code, ErrorKind::Corrupt.errno());
            assert!(fault.message.contains("damaged: the checksum of block 3 is wrong"), "{fault}");
        }
        other => panic!("{other:?} instead of a fault"),
    }
    rpc.put(&chunk.url, "good", Some(&text)).expect("put");
    assert_eq!(rpc.get(&chunk.url, "good").expect("get"), Some(text_value(&text)));
}

#[test]
fn a_master_keeps_sizes_over_a_restart() {
    let mut cluster = Cluster::start(&Kind::Rust, 2);
    let rpc = Rpc::new();
    let [first, second] = [url_of(&cluster.chunks[0]), url_of(&cluster.chunks[1])];
    let grow = |master: &Server, server: &ServerUrl, size| {
        let (key, server) = (key_of("/f"), server.clone());
        let call = ChangeSize { key, dialect: Dialect::String, server, size };
        rpc.call(&master.url, call).map(|_| ())
    };
    wait_until("both are known", SOON, || {
        [&first, &second].iter().all(|server| grow(&cluster.master, server, 0).is_ok())
    });
    grow(&cluster.master, &first, 100).expect("it is known");
    cluster.master.process.kill();
    cluster.master.start_again();
    for _ in 0..3 {
        assert_eq!(next_server(&rpc, &cluster.master), Some(second.clone()));
    }
}

#[test]
fn a_master_that_lost_its_data_learns_what_the_servers_hold() {
    let mut cluster = Cluster::start(&Kind::Rust, 2);
    let rpc = Rpc::new();
    let [first, second] = [url_of(&cluster.chunks[0]), url_of(&cluster.chunks[1])];
    rpc.put(&cluster.chunks[0].url, "/f", Some("contents")).expect("put");
    cluster.master.process.kill();
    std::fs::remove_dir_all(cluster.master.dir.join("data")).expect("it is ours");
    cluster.master.start_again();
    // The running servers announce themselves again, each with what it holds.
    let mut known = Vec::new();
    wait_until("the empty server is known", SOON, || {
        known.extend(next_server(&rpc, &cluster.master));
        known.last() == Some(&second)
    });
    assert!(known.iter().all(|server| *server == first || *server == second));
    // So does one that comes back itself.
    cluster.chunks[0].start_again();
    for _ in 0..3 {
        assert_eq!(next_server(&rpc, &cluster.master), Some(second.clone()));
    }
}

#[test]
fn a_chunk_server_waits_for_its_master_and_says_so() {
    let mut cluster = Cluster::start(&Kind::Rust, 0);
    cluster.master.process.kill();
    let chunk = cluster.add_chunk();
    let line = "waiting for the master at https://localhost:";
    wait_until("it says what it waits for", SOON, || chunk.process.log().contains(line));
    let url = url_of(chunk);
    let rpc = Rpc::new();
    rpc.put(url.as_str(), "k", Some("v")).expect("it serves meanwhile");
    cluster.master.start_again();
    let joined = || next_server(&rpc, &cluster.master) == Some(url.clone());
    wait_until("it has joined", SOON, joined);
}

#[test]
fn dumps_stay_inside_and_content_is_printed_line_by_line() {
    let mut cluster = Cluster::start(&Kind::Rust, 1);
    let rpc = Rpc::new();
    let Cluster { master, chunks, .. } = &mut cluster;
    for server in [master, &mut chunks[0]] {
        let url = server.url.clone();
        let write = |name: &str| rpc.call(&url, WriteFile { file_name: name.to_owned() });
        let read = |name: &str| rpc.call(&url, ReadFile { file_name: name.to_owned() });
        rpc.put(&url, "a\nkey", Some("a\nvalue")).expect("put");
        let data = server.dir.join("data");
        let own = names_in(&data);
        write("./dump").expect("write_file");
        assert_eq!(names_in(&data).len(), own.len() + 1);
        let mode = data.join("dump").metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it is private");
        rpc.put(&url, "a\nkey", None).expect("delete");
        // No name of the server's own can be overwritten or read.
        let paths = ["", ".", "..", "../dump", "/etc/passwd", "store/0.jnl", "htfs.x", "dumps"];
        for name in own.iter().map(String::as_str).chain(paths) {
            for result in [write(name), read(name)] {
                let is_refused = matches!(&result, Err(CallError::Fault(fault))
                    if fault.code == ErrorKind::InvalidArgument.errno());
                assert!(is_refused, "{name:?}: {result:?}");
            }
        }
        assert!(matches!(read("missing"), Err(CallError::Fault(_))));
        assert_eq!(rpc.get(&url, "a\nkey").expect("get"), None, "nothing has changed");
        read("dump").expect("read_file");
        rpc.call(&url, PrintContent).expect("print_content");
        let lines = server.process.lines_until("a\\nvalue");
        assert!(lines.iter().any(|line| line.starts_with("a\\nkey String 7 bytes, ")), "{lines:?}");
    }
}

/// The names in a directory.
fn names_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("it can be read");
    let name = |entry: std::io::Result<DirEntry>| entry.expect("an entry").file_name();
    entries.map(|entry| name(entry).into_string().expect("names are ASCII")).collect()
}

#[test]
fn a_server_of_ours_that_is_silent_is_left_out_and_one_of_others_is_not() {
    let mut cluster = Cluster::start(&Kind::Rust, 1);
    let rpc = Rpc::new();
    let own = url_of(&cluster.chunks[0]);
    let room = || rpc.call(&cluster.master.url, StatFileSystem {}).expect("statfs").0.total;
    wait_until("it has joined, and its heart beats", SOON, || {
        next_server(&rpc, &cluster.master).as_ref() == Some(&own) && room() > 0
    });
    // As one of the homework's, it registers and is not heard of any more.
    let other = ServerUrl::new("https://localhost:1").expect("a URL");
    rpc.call(&cluster.master.url, Register { server: other.clone() }).expect("register");
    let is_named = |server: &ServerUrl, master: &Server| {
        (0..4).any(|_| next_server(&rpc, master).as_ref() == Some(server))
    };
    assert!(is_named(&own, &cluster.master) && is_named(&other, &cluster.master));
    cluster.chunks[0].process.kill();
    wait_until("it is left out", SOON, || !is_named(&own, &cluster.master));
    assert_eq!(next_server(&rpc, &cluster.master), Some(other));
    cluster.chunks[0].start_again();
    wait_until("it is there again", SOON, || is_named(&own, &cluster.master));
}
