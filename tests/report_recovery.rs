//! Test D of the homework's report: log and backup. Servers are killed at random moments under
//! load, and what they acknowledged is there afterwards.

mod common;

use std::collections::HashMap;
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use common::cluster::{Cluster, Kind, Server};
use common::mount::Mount;
use common::rpc::{Rpc, text_value};
use common::{SOON, keys, run, turn, wait_until};

/// So few that most kills fall into the renewal of a backup, or right before or behind it.
const BACKUP_EVERY: [&str; 2] = ["--backup-every", "5"];

/// Deaths in one test.
const KILLS: usize = 8;

/// What `htfs` prints for a person.
fn htfs(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_htfs"));
    command.args(arguments).arg("--ca").arg(&keys().certificate);
    String::from_utf8_lossy(&run(&mut command).stdout).into_owned()
}

/// The line of a server in `htfs status`, without its URL: role, log, backup.
fn status_of(server: &Server) -> String {
    let status = htfs(&["status", "--server", &server.url]);
    let line = status.lines().find_map(|line| line.strip_prefix(&server.url));
    let words: Vec<_> = line.unwrap_or_else(|| panic!("{status}")).split_whitespace().collect();
    words.join(" ")
}

/// The operations in `htfs log`: number, what it is, key, size.
fn log_of(server: &Server) -> Vec<String> {
    let log = htfs(&["log", "--server", &server.url]);
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    log.lines().skip(1).map(words).collect()
}

#[test]
fn test_d_seven_edits_with_k_5_leave_two_operations_and_a_backup() {
    let mut cluster = Cluster::with_options(&Kind::Rust, 1, &BACKUP_EVERY);
    // A master without chunk servers: their registration would be in its log too.
    let mut lonely = Cluster::with_options(&Kind::Rust, 0, &BACKUP_EVERY);
    let rpc = Rpc::new();
    for (server, role) in [(&mut lonely.master, "master"), (&mut cluster.chunks[0], "chunk")] {
        assert_eq!(status_of(server), format!("{role} 0 of 5 0 entries, not renewed yet"));
        for edit in 1..=7 {
            rpc.put(&server.url, &format!("key {edit}"), Some("value")).expect("put");
        }
        let expected = format!("{role} 2 of 5 5 entries, renewed ");
        let status = status_of(server);
        assert!(status.starts_with(&expected) && status.ends_with(" s ago"), "{status}");
        let last_two = ["6 put key 6 5 bytes", "7 put key 7 5 bytes"];
        assert_eq!(log_of(server), last_two);

        // What was acknowledged survives kill -9. The start changes neither log nor backup, and the
        // count goes on where it was: the third operation is the eighth edit.
        server.start_again();
        for edit in 1..=7 {
            let found = rpc.get(&server.url, &format!("key {edit}")).expect("get");
            assert_eq!(found, Some(text_value("value")), "edit {edit}");
        }
        assert!(status_of(server).starts_with(&expected));
        assert_eq!(log_of(server), last_two);
        rpc.put(&server.url, "key 1", None).expect("delete");
        assert!(status_of(server).starts_with(&format!("{role} 3 of 5 5 entries, renewed ")));
        assert_eq!(log_of(server)[2], "8 delete key 1");
        for edit in 9..=10 {
            rpc.put(&server.url, &format!("key {edit}"), Some("longer value")).expect("put");
        }
        assert!(status_of(server).starts_with(&format!("{role} 0 of 5 8 entries, renewed ")));
        assert_eq!(log_of(server), [""; 0], "all of it is in the backup");
    }
}

/// A number from 0 up to, but without, `bound`: another in every run.
fn random(bound: usize) -> usize {
    let number = RandomState::new().build_hasher().finish();
    usize::try_from(number % bound as u64).expect("it is below bound")
}

/// The progress of the writers, and whether they may stop.
#[derive(Default)]
struct Load {
    acknowledged: AtomicUsize,
    over: AtomicBool,
}

impl Load {
    fn is_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn count(&self) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until `more` writes are acknowledged.
    fn wait_for(&self, more: usize) {
        let goal = self.acknowledged.load(Ordering::Relaxed) + more;
        let reached = || self.acknowledged.load(Ordering::Relaxed) >= goal;
        wait_until("writes are acknowledged", SOON, reached);
    }
}

/// Kills servers at random moments while writes go on, and starts them again at once.
fn kill_at_random(cluster: &mut Cluster, load: &Load) {
    for _ in 0..KILLS {
        load.wait_for(1 + random(60));
        let victim = random(cluster.chunks.len() + 1);
        let server: &mut Server = match victim.checked_sub(1) {
            Some(chunk) => &mut cluster.chunks[chunk],
            None => &mut cluster.master,
        };
        println!("after {} writes: {} dies", load.acknowledged.load(Ordering::Relaxed), server.url);
        server.start_again();
    }
    load.wait_for(20);
    load.over.store(true, Ordering::Relaxed);
}

/// What may be under a key: one value after an acknowledged put; several after one that failed,
/// as it may or may not have been carried out.
type Expected = HashMap<String, Vec<Option<String>>>;

/// Puts and deletes at one server until the load is over.
fn put_until_over(url: &str, writer: usize, load: &Load) -> Expected {
    let rpc = Rpc::with_timeout(Duration::from_secs(5));
    let mut expected = Expected::new();
    for number in 0.. {
        if !load.is_on() {
            break;
        }
        let key = format!("writer {writer} key {}", number % 17);
        // Some values are large enough for files of their own, one in six is a deletion.
        let padding = "x".repeat(if number % 5 == 0 { 20_000 } else { 20 });
        let value = (number % 6 != 0).then(|| format!("{number} {padding}"));
        let possible = expected.entry(key.clone()).or_insert_with(|| vec![None]);
        match rpc.put(url, &key, value.as_deref()) {
            Ok(()) => {
                *possible = vec![value];
                load.count();
            }
            Err(_) => possible.push(value),
        }
    }
    expected
}

#[test]
fn test_d_no_acknowledged_value_is_lost_by_kill_9() {
    let _turn = turn();
    let mut cluster = Cluster::with_options(&Kind::Rust, 2, &BACKUP_EVERY);
    let urls = [&cluster.master, &cluster.chunks[0], &cluster.chunks[1]].map(|s| s.url.clone());
    let load = Load::default();
    let expected: Vec<Expected> = thread::scope(|scope| {
        let (urls, load) = (&urls, &load);
        let put = |writer: usize| move || put_until_over(&urls[writer % 3], writer, load);
        let writers: Vec<_> = (0..6).map(|writer| scope.spawn(put(writer))).collect();
        kill_at_random(&mut cluster, load);
        writers.into_iter().map(|writer| writer.join().expect("a writer does not fail")).collect()
    });

    // Once more for all: what was only in memory is gone now.
    cluster.master.start_again();
    cluster.chunks.iter_mut().for_each(Server::start_again);
    let rpc = Rpc::new();
    for (writer, expected) in expected.iter().enumerate() {
        for (key, possible) in expected {
            let found = rpc.get(&urls[writer % 3], key).expect("the server answers");
            let found = found.map(|value| String::from_utf8_lossy(&value.bytes).into_owned());
            let short = |value: &Option<String>| {
                value.as_ref().map(|text| text.chars().take(12).collect::<String>())
            };
            assert!(
                possible.contains(&found),
                "{key}: {:?} instead of {:?}",
                short(&found),
                possible.iter().map(short).collect::<Vec<_>>()
            );
        }
    }
}

/// Writes new files until the load is over; gives the names of those that fsync and close took.
fn write_until_over(root: &Path, writer: usize, load: &Load) -> Vec<String> {
    let mut names = Vec::new();
    for number in 0.. {
        if !load.is_on() {
            break;
        }
        let name = format!("file{writer}-{number}");
        let write = || {
            let mut file = fs::File::create(root.join(&name))?;
            file.write_all(contents_of(&name).as_bytes())?;
            file.sync_all()
        };
        if write().is_ok() {
            names.push(name);
            load.count();
        }
    }
    names
}

fn contents_of(name: &str) -> String {
    name.repeat(if name.ends_with('0') { 2000 } else { 2 })
}

#[test]
fn test_d_no_file_is_lost_by_kill_9() {
    let _turn = turn();
    let mut cluster = Cluster::with_options(&Kind::Rust, 2, &BACKUP_EVERY);
    let mount = Mount::ours(&cluster, &["--timeout", "5"]);
    let root = mount.root();
    let load = Load::default();
    let names: Vec<String> = thread::scope(|scope| {
        let load = &load;
        let write = |writer: usize| move || write_until_over(root, writer, load);
        let writers: Vec<_> = (0..3).map(|writer| scope.spawn(write(writer))).collect();
        kill_at_random(&mut cluster, load);
        let names = writers.into_iter().map(|writer| writer.join().expect("no writer fails"));
        names.flatten().collect()
    });

    let another = Mount::ours(&cluster, &[]);
    let entries = fs::read_dir(another.root()).expect("the root can be read");
    let listed: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
    for name in &names {
        assert!(listed.iter().any(|listed| listed == name.as_str()), "{name} is not listed");
        let found = fs::read_to_string(another.path(name));
        assert_eq!(found.expect("it can be read"), contents_of(name), "{name}");
    }
}
