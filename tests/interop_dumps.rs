//! Dumps of tables: the original's are read by our servers, and ours by the original, under Python 2
//! and Python 3.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::cluster::{Cluster, Kind, Server};
use common::process::Process;
use common::python::{Python, with_python_2};
use common::rpc::{Rpc, key_of, text_value};
use common::{SOON, keys, run, turn, wait_until};
use htfs::clock;
use htfs::dump;
use htfs::pickle::{Attributes, Style};
use htfs::proto::Packed;
use htfs::proto::classic::{ReadFile, WriteFile};
use htfs::proto::gateway::Resolve;
use htfs::rpc::CallError;
use htfs::types::{ServerUrl, StoredValue, ValueKind};

/// The name of the dump in all tests.
const NAME: &str = "table.pickle";

/// Runs a step of `dumps.py` about a server.
fn at(python: &Python, step: &str, server: &Server, options: &[&str]) {
    let certificate = keys().certificate.display().to_string();
    let arguments = [&[step, &server.url, "--ca", &certificate], options].concat();
    python.run("dumps.py", &arguments.into_iter().map(str::to_owned).collect::<Vec<_>>());
}

/// Runs a step of `dumps.py` about a file.
fn with_file(python: &Python, step: &str, file: &Path, options: &[&str]) {
    let file = file.to_str().expect("temporary paths are UTF-8");
    let arguments = [&[step, file], options].concat();
    python.run("dumps.py", &arguments.into_iter().map(str::to_owned).collect::<Vec<_>>());
}

fn write_file(server: &Server) {
    let call = WriteFile { file_name: NAME.to_owned() };
    Rpc::new().call(&server.url, call).expect("write_file");
}

fn try_read_file(server: &Server) -> Result<(), CallError> {
    let call = ReadFile { file_name: NAME.to_owned() };
    Rpc::new().call(&server.url, call).map(|_| ())
}

fn read_file(server: &Server) {
    try_read_file(server).expect("read_file");
}

/// Where our servers have their dumps.
fn dump_of(server: &Server) -> PathBuf {
    server.dir.join("data").join(NAME)
}

/// What we dump, a plain `pickle.load` reads.
fn ours_are_read(python: &Python) {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let lonely = Cluster::start(&Kind::Rust, 0);
    for server in [&lonely.master, &cluster.chunks[0]] {
        at(python, "put", server, &[]);
        write_file(server);
        with_file(python, "check", &dump_of(server), &[]);
        // And we read it ourselves, types and all, in the place of what came since.
        Rpc::new().put(&server.url, "text", Some("later")).expect("put");
        Rpc::new().put(&server.url, "new", Some("later")).expect("put");
        read_file(server);
        at(python, "get", server, &[]);
        assert_eq!(Rpc::new().get(&server.url, "new").expect("get"), None);
    }
}

#[test]
fn python_3_reads_our_dumps() {
    ours_are_read(&Python::three());
}

#[test]
fn python_2_reads_our_dumps() {
    with_python_2(|python| ours_are_read(&python));
}

/// What a Python pickles, in every protocol that it has, we read.
fn theirs_are_read(python: &Python, protocols: &[&str], either: &[&str]) {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let lonely = Cluster::start(&Kind::Rust, 0);
    for protocol in protocols {
        for server in [&lonely.master, &cluster.chunks[0]] {
            with_file(python, "write", &dump_of(server), &["--protocol", protocol]);
            read_file(server);
            at(python, "get", server, &[&["--many"], either].concat());
        }
    }
}

#[test]
fn tables_that_python_3_pickles_are_read() {
    theirs_are_read(&Python::three(), &["0", "1", "2", "3", "4", "5"], &[]);
}

#[test]
fn tables_that_python_2_pickles_are_read() {
    let either = ["--either", "text", "--either", "bytes"];
    with_python_2(|python| theirs_are_read(&python, &["0", "1", "2"], &either));
}

/// Tables go from the original's servers to ours, and from ours to the original's.
fn there_and_back(python: &Python) {
    let _turn = turn();
    let ours = Cluster::start(&Kind::Rust, 1);
    let original = Cluster::start(&Kind::Original(python.clone()), 1);
    let (from, to) = (&original.chunks[0], &ours.chunks[0]);
    let both = ["--plain", "--either", "text", "--either", "bytes"];
    at(python, "put", from, &["--plain"]);
    write_file(from);
    fs::copy(from.dir.join(NAME), dump_of(to)).expect("a file can be copied");
    read_file(to);
    at(python, "get", to, if python.version == 2 { &both } else { &both[..1] });

    let (from, to) = (&ours.chunks[0], &original.chunks[0]);
    at(python, "put", from, &["--plain"]);
    write_file(from);
    fs::copy(dump_of(from), to.dir.join(NAME)).expect("a file can be copied");
    read_file(to);
    let bytes = ["--plain", "--either", "bytes"];
    at(python, "get", to, if python.version == 2 { &bytes } else { &bytes[..1] });
}

#[test]
fn tables_go_there_and_back_with_servers_under_python_3() {
    there_and_back(&Python::three());
}

#[test]
fn tables_go_there_and_back_with_servers_under_python_2() {
    with_python_2(|python| there_and_back(&python));
}

/// The dates of a table are those of the clock on the wall, wherever the servers are.
#[test]
fn dates_of_expiry_are_local() {
    let python = Python::three();
    let dir = tempfile::tempdir().expect("there is a place for temporary directories");
    let mut command = Command::new(env!("CARGO_BIN_EXE_master"));
    command.args(["--listen", "localhost:0", "--data-dir", "data"]).current_dir(dir.path());
    command.arg("--cert").arg(&keys().certificate).arg("--key").arg(&keys().key);
    command.env("TZ", "EST5EDT,M3.2.0,M11.1.0");
    let mut master = Process::start("master", command, dir.path());
    let url = master.wait_for_line("listening on ");
    let rpc = Rpc::new();
    let certificate = keys().certificate.display().to_string();
    let step = |arguments: &[&str], zone: &str| {
        let mut command = python.command("dumps.py");
        command.args(arguments).env("TZ", zone);
        command
    };
    run(&mut step(&["put", &url, "--ca", &certificate], "UTC0"));
    rpc.call(&url, WriteFile { file_name: NAME.to_owned() }).expect("write_file");
    let file = dir.path().join("data").join(NAME);
    let check = ["check", file.to_str().expect("temporary paths are UTF-8")];
    run(&mut step(&check, "EST5EDT,M3.2.0,M11.1.0"));
    let elsewhere = step(&check, "UTC0").output().expect("it can be started");
    assert!(!elsewhere.status.success(), "the dates say nothing of where they are");
    run(&mut step(&["write", check[1]], "EST5EDT,M3.2.0,M11.1.0"));
    rpc.call(&url, ReadFile { file_name: NAME.to_owned() }).expect("read_file");
    run(&mut step(&["get", &url, "--ca", &certificate, "--many"], "UTC0"));
}

#[test]
fn a_dump_with_more_than_plain_data_changes_nothing() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let lonely = Cluster::start(&Kind::Rust, 0);
    let rpc = Rpc::new();
    for server in [&lonely.master, &cluster.chunks[0]] {
        rpc.put(&server.url, "k", Some("as before")).expect("put");
        let file = dump_of(server);
        let refused = |why: &str| {
            match try_read_file(server) {
                Err(CallError::Fault(fault)) => {
                    assert!(fault.message.contains(why), "{why:?} is not in {fault}");
                }
                other => panic!("{other:?} instead of a fault with {why:?}"),
            }
            let found = rpc.get(&server.url, "k").expect("get");
            assert_eq!(found, Some(text_value("as before")), "{why}");
        };
        refused("No such file");
        let lines = |class: &str| {
            format!(
                "import pickle, datetime, xmlrpc.client, os\n\
                 class Program(object):\n    def __reduce__(self): return os.mkdir, ('made',)\n\
                 value = {class}\n\
                 table = {{'good': (1, datetime.datetime(2100, 1, 1)), 'k': (value, value)}}\n\
                 pickle.dump(table, open({:?}, 'wb'), 0)",
                file.display().to_string()
            )
        };
        Python::three().evaluate(&lines("Program()"));
        refused("more than plain data: posix.mkdir");
        assert!(!server.dir.join("made").exists());
        Python::three().evaluate(&lines("xmlrpc.client.Binary(b'x')"));
        refused("more than plain data: copy_reg._reconstructor");
        Python::three().evaluate(&lines("datetime.date(2100, 1, 1)"));
        refused("more than plain data: datetime.date");
        Python::three().evaluate(&lines("1"));
        refused("dates of expiry");
        fs::write(&file, "(d").expect("it can be written");
        refused("cut short");
    }
    with_python_2(|python| {
        let server = &lonely.master;
        python.evaluate(&format!(
            "import pickle, datetime, xmlrpclib\n\
             table = {{'k': (xmlrpclib.Binary('x'), datetime.datetime(2100, 1, 1))}}\n\
             pickle.dump(table, open({:?}, 'wb'))",
            dump_of(server).display().to_string()
        ));
        let error = try_read_file(server).expect_err("it is refused").to_string();
        assert!(error.contains("more than plain data: xmlrpclib.Binary"), "{error}");
    });
}

/// The dict of a file comes into the tree when its server has what belongs to it.
#[test]
fn files_in_a_table_that_is_read_come_into_the_tree() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let (rpc, master, chunk) = (Rpc::new(), &cluster.master, &cluster.chunks[0]);
    rpc.put(&chunk.url, "/f", Some("hello")).expect("put");
    let server = ServerUrl::new(chunk.url.clone()).expect("a server's name is a URL");
    let attributes =
        Attributes { mode: 0o100_644, size: 5, contents: Some(server), ..Attributes::default() };
    let bytes = attributes.write(Style::Ascii);
    let value = StoredValue { kind: ValueKind::Either, bytes };
    let expires = clock::now().plus_seconds(1000);
    let entry = dump::Entry { key: key_of("/f"), value, expires };
    dump::write(&dump_of(master), |dump| dump.entry(&entry)).expect("a dump can be written");
    let is_there = || {
        let call = Resolve { key: key_of("/f"), is_string: true };
        let Packed(found) = rpc.call(&master.url, call).expect("the master answers");
        found.is_some()
    };
    assert!(!is_there());
    read_file(master);
    wait_until("the file is in the tree", SOON, is_there);
    assert_eq!(rpc.get(&chunk.url, "/f").expect("get"), Some(text_value("hello")));
}
