//! The contract with the homework's programs, seen from Python: the calls themselves, and what our
//! client's values look like to a program that knows nothing of us.

mod common;

use std::fs;

use common::cluster::{Cluster, Kind};
use common::mount::Mount;
use common::python::{Python, with_python_2};
use common::{keys, repository, turn};

/// Asks servers for everything in `contract.py`.
fn contract(kind: &Kind, python: &Python, options: &[&str]) {
    let _turn = turn();
    let mut cluster = Cluster::start(kind, 1);
    // The sizes of the servers of this one are compared, so that it must have none of its own.
    let mut lonely = Cluster::start(kind, 0);
    let ca = keys().certificate.display().to_string();
    let chunk = &mut cluster.chunks[0];
    let arguments = ["--master", &lonely.master.url, "--chunk", &chunk.url, "--ca", &ca];
    let arguments = [&arguments, options].concat().into_iter().map(str::to_owned);
    python.run("contract.py", &arguments.collect::<Vec<_>>());
    lonely.master.process.lines_until("printed at the master");
    chunk.process.lines_until("printed at the chunk server");
}

#[test]
fn our_servers_keep_the_contract_with_python_3() {
    contract(&Kind::Rust, &Python::three(), &[]);
}

#[test]
fn our_servers_keep_the_contract_with_python_2() {
    with_python_2(|python| contract(&Kind::Rust, &python, &[]));
}

/// Not a test of ours, but of the questions: whoever asks more of us than this must mark it.
#[test]
fn the_original_keeps_the_same_contract() {
    let python = Python::three();
    contract(&Kind::Original(python.clone()), &python, &["--original"]);
}

/// The lines of Python in README do what they say.
#[test]
fn the_lines_of_readme_work() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("there is a README");
    let (_, rest) = readme.split_once("```python\n").expect("README shows some Python");
    let (lines, _) = rest.split_once("```").expect("the lines of Python end");
    assert!(lines.lines().count() <= 5, "five lines are enough:\n{lines}");
    let cluster = Cluster::start(&Kind::Rust, 1);
    let script = tempfile::NamedTempFile::new().expect("there is a place for temporary files");
    let certificate = keys().certificate.display().to_string();
    let lines = lines.replace("https://localhost:8443", &cluster.master.url);
    fs::write(script.path(), lines.replace("keys/cacert.pem", &certificate))
        .expect("a temporary file takes text");
    let path = script.path().to_str().expect("temporary paths are UTF-8");
    // The programs' directory in front of an absolute path is that path.
    let output = Python::three().run(path, &[]);
    assert!(output.contains("hello"), "{output:?}");
}

/// What `types` says about a path, from a Python in some style.
fn types(python: &Python, cluster: &Cluster, style: &[&str], path: &str) -> String {
    let style = style.iter().map(|&option| option.to_owned());
    let own = ["types".to_owned(), path.to_owned()];
    let arguments = own.into_iter().chain(cluster.client_options()).chain(style);
    python.run("matrix_client.py", &arguments.collect::<Vec<_>>())
}

/// A program that unpickles without any precaution finds the types it would have put itself.
#[test]
fn our_values_are_plain_to_a_naive_program() {
    let _turn = turn();
    for (dialect, wire) in [("string", "string"), ("binary", "base64")] {
        for contents in ["raw", "pickled"] {
            let cluster = Cluster::start(&Kind::Rust, 1);
            let style = ["--dialect", dialect, "--contents", contents];
            let mount = Mount::ours(&cluster, &style);
            fs::write(mount.path("größe"), "hello\n").expect("the mount takes a file");
            for python in Python::all() {
                let of_file = types(&python, &cluster, &style, "/größe");
                let of_root = types(&python, &cluster, &style, "/");
                let wire = format!(r#""wire": "{wire}""#);
                for seen in [&of_file, &of_root] {
                    assert!(seen.contains(&wire), "{style:?} {python}: {seen}");
                    for name in ["st_mode", "st_nlink", "st_size"] {
                        let field = format!(r#""{name}": "int""#);
                        assert!(seen.contains(&field), "{style:?} {python}: no {field} in {seen}");
                    }
                }
                assert!(
                    of_root.contains(r#""names": ["/", "/gr"#),
                    "{style:?} {python}: {of_root}"
                );
                check_native_types(&python, contents, &of_file);
            }
        }
    }
}

/// Keys and names are `str` to Python 3; contents are bytes, which is `str` to Python 2.
fn check_native_types(python: &Python, contents: &str, seen: &str) {
    if python.version == 3 {
        assert!(seen.contains(r#""keys": ["str"]"#), "{seen}");
        assert!(seen.contains(r#""contents": "str""#), "{seen}");
    }
    if contents == "pickled" {
        let bytes = if python.version == 3 { "bytes" } else { "str" };
        assert!(seen.contains(&format!(r#""unpickled": "{bytes}""#)), "{python}: {seen}");
    }
}

/// Runs a step of `matrix_client.py` at a cluster.
fn step(python: &Python, cluster: &Cluster, own: &[&str], style: &[&str]) {
    let all = [own, style].concat().into_iter().map(str::to_owned);
    python.run("matrix_client.py", &all.chain(cluster.client_options()).collect::<Vec<_>>());
}

/// Pickles that no Python 2 can read, and contents that are text: our mount reads them.
#[test]
fn our_mount_reads_what_any_python_3_pickles() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let python = Python::three();
    for protocol in ["0", "1", "2", "3", "4", "5"] {
        for dialect in ["string", "binary"] {
            let style = ["--protocol", protocol, "--dialect", dialect, "--contents", "pickled"];
            let path = format!("/text-{protocol}-{dialect}");
            step(&python, &cluster, &["write-text", &path, "größe\n"], &style);
        }
    }
    let mount = Mount::ours(&cluster, &["--contents", "pickled"]);
    for protocol in 0..=5 {
        for dialect in ["string", "binary"] {
            let path = mount.path(&format!("text-{protocol}-{dialect}"));
            let text = fs::read_to_string(&path);
            let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(text, "größe\n", "{}", path.display());
        }
    }
}

/// The homework's `Memory` keeps the names of all depths in the root's list. A directory lists
/// what is directly in it, once.
#[test]
fn a_root_that_lists_all_depths_is_read() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    step(&Python::three(), &cluster, &["write-root", "/d/", "/d/f", "/x", "/x"], &[]);
    let mount = Mount::ours(&cluster, &[]);
    let entries = fs::read_dir(mount.root()).expect("the root can be read");
    let names = entries.map(|entry| entry.expect("an entry can be read").file_name());
    let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names, ["d", "x"]);
    assert!(fs::metadata(mount.path("d/f")).expect("it can be found").is_file());
}
