//! Appending, with and without locks, by many clients: also test B of the homework's report.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use crate::common::cluster::{Cluster, Kind};
use crate::common::mount::Mount;
use crate::common::{SOON, turn, wait_until};
use crate::{cluster, mounts, script};

/// A client's line: long enough to show if it were torn.
fn line(client: usize, number: usize) -> String {
    let text = format!("line {number} of client {client};");
    format!("{}\n", text.repeat(1 + (client + number) % 9))
}

/// Has every client append so many lines at once, and looks for each of them, whole and once.
fn append_all(mounts: &[Mount], name: &str, lines: usize) {
    fs::write(mounts[0].path(name), "").unwrap();
    thread::scope(|scope| {
        for (client, mount) in mounts.iter().enumerate() {
            scope.spawn(move || {
                let mut file = File::options().append(true).open(mount.path(name)).unwrap();
                for number in 0..lines {
                    file.write_all(line(client, number).as_bytes()).unwrap();
                }
            });
        }
    });
    let all = || (0..mounts.len()).flat_map(|client| (0..lines).map(move |n| line(client, n)));
    let expected: BTreeSet<String> = all().collect();
    for mount in [&mounts[0], &mounts[mounts.len() - 1]] {
        let text = fs::read_to_string(mount.path(name)).unwrap();
        assert_eq!(text.len(), all().map(|line| line.len()).sum::<usize>());
        let found: BTreeSet<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        assert!(found == expected, "lines are torn or missing");
    }
}

#[test]
fn promise_3_append() {
    let _turn = turn();
    let cluster = cluster();
    let mounts: [Mount; 10] = mounts(&cluster);
    append_all(&mounts, "five", 5);
    append_all(&mounts, "five-hundred", 500);
}

fn bash(dir: &Path, text: &str) -> Child {
    Command::new("bash").args(["-euc", text]).current_dir(dir).spawn().unwrap()
}

#[test]
fn test_b_ten_clients_append_five_lines_each() {
    let _turn = turn();
    let cluster = cluster();
    let mounts: [Mount; 10] = mounts(&cluster);
    let shells = |text: fn(usize) -> String| {
        let start = |(client, mount): (usize, &Mount)| bash(mount.root(), &text(client));
        let shells: Vec<Child> = mounts.iter().enumerate().map(start).collect();
        for mut shell in shells {
            assert!(shell.wait().unwrap().success());
        }
    };
    let each = |file: &str| {
        script(mounts[9].root(), &format!("sort {file} | uniq -c | awk '{{print $1}}' | sort -u"))
    };

    // As a shell does it: every line opens the file anew.
    shells(|client| format!("for n in 1 2 3 4 5; do echo \"$n of {client}\" >> appended; done"));
    assert_eq!(
        script(mounts[9].root(), "wc -l < appended; grep -cx '[1-5] of [0-9]' appended"),
        "50\n50\n"
    );
    assert_eq!(each("appended"), "1\n", "every line once");

    // With an editor that reads the whole file and replaces it: under a lock.
    script(mounts[0].root(), "echo end > edited; : > lock");
    shells(|client| {
        let edit = format!("sed -i \"\\$ i $n of {client}\" edited");
        format!("for n in 1 2 3 4 5; do export n; flock lock {edit}; done")
    });
    assert_eq!(
        script(mounts[9].root(), "wc -l < edited; grep -cx '[1-5] of [0-9]' edited"),
        "51\n50\n"
    );
    assert_eq!(each("edited"), "1\n", "every line once");
}

#[test]
fn an_append_that_a_hung_server_did_not_take_leaves_nothing() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let mount = Mount::ours(&cluster, &["--timeout", "2"]);
    let other = Mount::ours(&cluster, &[]);
    fs::write(mount.path("file"), "before").unwrap();
    let mut file = File::options().append(true).open(mount.path("file")).unwrap();
    cluster.chunks[0].process.pause();
    file.write_all(b"appended").unwrap_err();
    let size = || fs::metadata(other.path("file")).unwrap().len();
    let limit = Duration::from_secs(20);
    wait_until("the room is given back", limit, || size() == 6);
    cluster.chunks[0].process.go_on();
    wait_until("the server is back", SOON, || file.write_all(b", after").is_ok());
    assert_eq!(fs::read(other.path("file")).unwrap(), b"before, after");
}

#[test]
fn an_append_of_a_killed_program_leaves_nothing_on_a_hard_mount() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let mount = Mount::ours(&cluster, &["--hard"]);
    let other = Mount::ours(&cluster, &[]);
    fs::write(mount.path("file"), "before").unwrap();
    cluster.chunks[0].process.pause();
    let mut shell = bash(mount.root(), "printf appended >> file");
    let size = || fs::metadata(other.path("file")).unwrap().len();
    wait_until("room is made", SOON, || size() == 14);
    shell.kill().unwrap();
    let limit = Duration::from_secs(20);
    wait_until("the room is given back", limit, || size() == 6);
    cluster.chunks[0].process.go_on();
    shell.wait().unwrap();
    wait_until("the server is back", SOON, || fs::read(other.path("file")).is_ok());
    assert_eq!(fs::read(other.path("file")).unwrap(), b"before");
}
