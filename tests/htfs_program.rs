//! The program `htfs`: what it shows of servers, and what it says when it cannot.

mod common;

use std::process::{Command, Output};

use common::cluster::{Cluster, Kind};
use common::python::Python;
use common::rpc::Rpc;
use common::{SOON, Shown, keys, wait_until};
use htfs::proto::chunk::{Stat, Write};
use htfs::proto::cluster::{ListServers, ServerUrls};
use htfs::types::{ChunkKey, ChunkVersion, Extent, Ino};

fn htfs(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_htfs"));
    command.args(arguments).output().expect("it can be started")
}

/// Asks with the certificate of the tests.
fn ask(arguments: &[&str]) -> Output {
    let certificate = keys().certificate.display().to_string();
    htfs(&[arguments, &["--ca", &certificate]].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What it prints when all is well.
fn good(arguments: &[&str]) -> String {
    let output = ask(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", Shown(&output));
    assert_eq!(text(&output.stderr), "", "{arguments:?}");
    text(&output.stdout)
}

#[test]
fn its_help_has_an_example_of_every_command() {
    let help = text(&htfs(&["--help"]).stdout);
    for command in ["status", "log"] {
        assert!(help.contains(command), "{help}");
        let help = text(&htfs(&[command, "--help"]).stdout);
        for word in ["Example:", "--server", "--ca", "--json", &format!("htfs {command} --")] {
            assert!(help.contains(word), "{word} is not in {help}");
        }
    }
    let help = text(&htfs(&["gc", "--help"]).stdout);
    for word in ["Example:", "--master", "--confirm", "--yes", "--json", "lost+found"] {
        assert!(help.contains(word), "{word} is not in {help}");
    }
    for wrong in [
        &[][..],
        &["nonsense"],
        &["status", "--nonsense"],
        &["status", "--server", "localhost:many"],
        &["status", "--master", "https://a:1", "--server", "https://a:1"],
        &["log", "--limit", "0"],
        &["log", "--limit", "many"],
        &["gc", "--yes"],
    ] {
        let output = htfs(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", Shown(&output));
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{wrong:?}");
    }
}

#[test]
fn a_cluster_is_shown_from_its_master() {
    let cluster = Cluster::start(&Kind::Rust, 2);
    let rpc = Rpc::new();
    let known = || rpc.call(&cluster.master.url, ListServers {}).expect("cluster.servers");
    wait_until("both have joined", SOON, || known().0.len() == 2);
    let ServerUrls(known) = known();
    for chunk in &cluster.chunks {
        assert!(known.iter().any(|url| url.as_str() == chunk.url), "{known:?}");
    }
    rpc.put(&cluster.chunks[0].url, "k", Some("value")).expect("put");

    let status = good(&["status", "--master", &cluster.master.url]);
    let lines: Vec<&str> = status.lines().collect();
    assert_eq!(lines.len(), 4, "{status}");
    assert!(lines[0].starts_with("SERVER "), "{status}");
    let is_master = |line: &str| {
        line.starts_with(&cluster.master.url) && line.contains(" master  2 of 1000  0 entries")
    };
    assert!(is_master(lines[1]), "the registrations are in its log: {status}");
    for (chunk, operations) in cluster.chunks.iter().zip([1, 0]) {
        let line = lines.iter().find(|line| line.starts_with(&chunk.url));
        let expected = format!(" chunk   {operations} of 1000  0 entries, not renewed yet");
        assert!(line.is_some_and(|line| line.ends_with(&expected)), "{status}");
    }
    let log = good(&["log", "--server", &cluster.master.url, "--limit", "1"]);
    let lines: Vec<&str> = log.lines().collect();
    assert!(
        lines[0].contains("(master): 2 operations in the log, which is emptied at 1000"),
        "{log}"
    );
    assert!(lines[1].starts_with("2  register  https://localhost:"), "{log}");
    assert_eq!(lines.len(), 2, "{log}");
}

#[test]
fn programs_get_json() {
    let cluster = Cluster::start(&Kind::Rust, 1);
    let (rpc, url) = (Rpc::new(), &cluster.chunks[0].url);
    rpc.put(url, "a\nkey", Some("value")).expect("put");
    let check = "import json, sys; answer = json.loads(sys.argv[1]); assert ";
    let python = |answer: &str, condition: &str| {
        let lines = format!("{check}{condition}, answer").replace("sys.argv[1]", &quoted(answer));
        Python::three().evaluate(&lines);
    };
    let status = good(&["status", "--server", url, "--json"]);
    python(
        &status,
        &format!(
            "answer == {{'servers': [{{'url': '{url}', 'role': 'chunk', 'operations': 1, \
             'backup_every': 1000, 'backup_entries': 0, 'backup_time': None, 'backup_age': None}}]}}"
        ),
    );
    let log = good(&["log", "--server", url, "--json"]);
    python(
        &log,
        r"answer['log'] == [{'number': 1, 'what': 'put', 'key': 'a\\nkey', 'size': 5, 'more': 0}]",
    );
    python(&log, "(answer['role'], answer['operations']) == ('chunk', 1)");
}

/// Text as a literal of Python.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}

#[test]
fn a_server_that_gives_no_answer_is_named_and_the_others_are_shown() {
    let mut cluster = Cluster::start(&Kind::Rust, 1);
    let dead = cluster.chunks[0].url.clone();
    cluster.chunks[0].process.kill();
    let output = ask(&["status", "--server", &cluster.master.url, "--server", &dead]);
    assert_eq!(output.status.code(), Some(1));
    let status = text(&output.stdout);
    assert!(status.contains(" master  "), "{status}");
    assert!(
        status.contains(&format!("{dead}  -       -          cannot reach {dead}: ")),
        "{status}"
    );
    assert_eq!(text(&output.stderr), "error: 1 of 2 servers gave no status\n");

    let output = ask(&["log", "--server", &dead]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
    let error = text(&output.stderr);
    assert!(error.starts_with(&format!("error: {dead}: cannot reach {dead}: ")), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");

    let output = htfs(&["status", "--server", &cluster.master.url, "--ca", "/nowhere.pem"]);
    let error = text(&output.stderr);
    assert!(output.status.code() == Some(1) && error.contains("/nowhere.pem"), "{error}");
}

#[test]
fn a_server_of_the_homework_has_no_log_to_show() {
    let cluster = Cluster::start(&Kind::Original(Python::three()), 0);
    let output = ask(&["status", "--master", &cluster.master.url]);
    assert_eq!(output.status.code(), Some(1));
    let status = text(&output.stdout);
    assert!(status.contains("it answered: ") && status.contains("not supported"), "{status}");
}

#[test]
fn chunks_that_no_file_refers_to_are_shown_and_removed_when_somebody_says_so() {
    let cluster = Cluster::start(&Kind::Rust, 1);
    let (rpc, url) = (Rpc::new(), cluster.chunks[0].url.as_str());
    let master = ["--master", cluster.master.url.as_str()];
    let ask_for = |command: &[&str]| good(&[command, &master].concat());
    let chunk = ChunkKey { ino: Ino(1 << 20), index: 0, incarnation: 7 };
    let extents = vec![Extent { offset: 0, data: vec![1; 100_000].into() }];
    rpc.call(url, Write { chunk, version: ChunkVersion::of(1), extents }).expect("write");
    wait_until("it is found", SOON, || ask_for(&["gc"]).contains("the first is removed in 6 days"));
    let status = ask_for(&["status"]);
    assert!(status.contains("1 chunk that no file refers to"), "{status}");
    let json: serde_json::Value = serde_json::from_str(&ask_for(&["gc", "--json"])).expect("JSON");
    assert_eq!(json["servers"][0]["strays"], 1, "{json}");

    // Nobody can be asked here whether that is meant.
    let refused = ask(&[&["gc", "--confirm"][..], &master].concat());
    assert_eq!(refused.status.code(), Some(1), "{}", Shown(&refused));
    assert!(text(&refused.stderr).contains("--yes"), "{}", Shown(&refused));
    let is_there = || rpc.call(url, Stat { chunk }).is_ok();
    assert!(is_there());
    ask_for(&["gc", "--confirm", "--yes"]);
    wait_until("it is removed", SOON, || !is_there());
    wait_until("and not counted", SOON, || ask_for(&["gc"]).contains("none"));
}
