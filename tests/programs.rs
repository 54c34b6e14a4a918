//! Programs of every day on native mounts: those that copy, git, cargo, sqlite.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use common::cluster::{Cluster, Kind};
use common::mount::Mount;
use common::tree::assert_same;
use common::{SOON, run, turn, wait_until};

/// Runs a script in a directory; it ends at the first command that fails.
fn script(dir: &Path, text: &str) -> String {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", text]).current_dir(dir);
    String::from_utf8(run(&mut command).stdout).unwrap()
}

#[test]
fn copies_and_archives_are_the_same() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 3);
    let (first, second) = (Mount::ours(&cluster, &[]), Mount::ours(&cluster, &[]));
    script(
        first.root(),
        r#"
        mkdir from
        ( cd from; cp -a /etc/default .; ln -s default link; ln default/useradd hard || true
          mkfifo fifo; truncate -s 100M sparse; echo end >> sparse; touch -d 2001-02-03 old
          chmod 2750 default; setfattr -n user.x -v y old 2>/dev/null || true )
        cp -a from copied; diff -r --no-dereference -x fifo from copied
        tar cf archive.tar --format=posix --sparse from; mkdir unpacked; tar xpf archive.tar -C unpacked --strip 1
        tar df archive.tar
        for dir in copied unpacked; do
            diff <(cd from; find . -printf '%p %y %m %U %G %s %T@ %l\n' | grep -v '^\. ' | sort) \
                 <(cd $dir; find . -printf '%p %y %m %U %G %s %T@ %l\n' | grep -v '^\. ' | sort)
        done
        test $(du -sm from | cut -f1) -lt 10
        df . | tail -n 1 | grep -q "$PWD"
        find . -ls | wc -l
        "#,
    );
    script(second.root(), "diff -r --no-dereference -x fifo from unpacked; rm -r copied; ls");
    assert_eq!(script(first.root(), "ls | sort | xargs"), "archive.tar from unpacked\n");
}

/// Runs `rsync -aHAX`, with times to the nanosecond, from a directory to another one; answers what it
/// did, item by item.
fn rsync(from: &Path, to: &Path, options: &[&str]) -> String {
    let mut rsync = Command::new("rsync");
    rsync
        .args(["-aHAX", "--modify-window=-1", "--itemize-changes"])
        .args(options)
        .arg(from.join(""))
        .arg(to);
    String::from_utf8_lossy(&run(&mut rsync).stdout).into_owned()
}

#[test]
fn rsync_keeps_everything_there_and_back() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 3);
    let (first, second) = (Mount::ours(&cluster, &[]), Mount::ours(&cluster, &[]));
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    fs::create_dir(&plain).unwrap();
    script(&plain, include_str!("programs/odd_tree.sh"));
    // Onto a mount, on to another one, and home. Each time nothing is left to do, and all is as it
    // was, on whichever mount one looks.
    let steps = [
        (plain.clone(), first.path("one"), second.path("one")),
        (first.path("one"), second.path("two"), first.path("two")),
        (second.path("two"), dir.path().join("back"), dir.path().join("back")),
    ];
    for (from, to, seen) in &steps {
        assert_ne!(rsync(from, to, &["--sparse"]), "");
        assert_eq!(rsync(from, to, &[]), "");
        assert_eq!(rsync(&plain, to, &["--checksum"]), "");
        assert_same(to, &plain);
        assert_same(seen, &plain);
        assert!(to.join("sparse").metadata().unwrap().blocks() < 1000, "holes take no room");
    }
    // The earliest and the latest of all times, which local file systems cut to what they can hold.
    script(
        first.root(),
        "touch -d @-9223372036854775808 first; touch -d @9223372036854775807 last",
    );
    assert_eq!(script(first.root(), "stat -c %Y last"), "9223372036854775807\n");
}

const MANIFEST: &str = "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";

/// Runs cargo on the crate in a directory; answers what it said it did.
fn cargo_build(dir: &Path) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--offline", "--target-dir", "target"]).current_dir(dir);
    cargo.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
    String::from_utf8_lossy(&run(&mut cargo).stderr).into_owned()
}

#[test]
fn cargo_builds_what_has_changed() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 3);
    let (first, second) = (Mount::ours(&cluster, &[]), Mount::ours(&cluster, &[]));
    let dir = first.path("small");
    fs::create_dir_all(dir.join("src")).unwrap();
    fs::write(dir.join("Cargo.toml"), MANIFEST).unwrap();
    let main = "mod words;\nfn main() { println!(\"{}\", words::GREETING); }\n";
    fs::write(dir.join("src/main.rs"), main).unwrap();
    let words = |greeting| format!("pub const GREETING: &str = \"{greeting}\";\n");
    fs::write(dir.join("src/words.rs"), words("hello")).unwrap();
    let program = |mount: &Mount| script(mount.root(), "small/target/debug/small");

    assert!(cargo_build(&dir).contains("Compiling small"));
    assert_eq!(program(&first), "hello\n");
    assert_eq!(program(&second), "hello\n");
    script(&dir, "touch src/words.rs");
    assert!(cargo_build(&dir).contains("Compiling small"));
    let said = cargo_build(&dir);
    assert!(said.contains("Finished") && !said.contains("Compiling"), "{said}");
    // The other mount changes the source, and builds with the results of the first.
    fs::write(second.path("small/src/words.rs"), words("hello, world")).unwrap();
    assert!(cargo_build(&second.path("small")).contains("Compiling small"));
    assert_eq!(program(&first), "hello, world\n");
    let said = cargo_build(&dir);
    assert_eq!(program(&second), "hello, world\n", "{said}");
}

#[test]
fn git_clones_collects_and_checks() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 3);
    let (first, second) = (Mount::ours(&cluster, &[]), Mount::ours(&cluster, &[]));
    let git = r#"
        export HOME=$PWD GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b
        export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
        git config --global safe.directory '*'
    "#;
    let make = r#"
        git init -q made; cd made
        for n in $(seq 30); do
            seq $((n * 100)) > file-$n; echo $n > same; git add .; git commit -qm "number $n"
        done
        cd ..; git clone -q --no-hardlinks made cloned; cd cloned
        git gc -q; git repack -qadf; git fsck --no-progress --full; git status --porcelain
        "#;
    script(first.root(), &format!("{git}{make}"));
    let check =
        "cd cloned; git fsck --no-progress; git status --porcelain; git log --oneline | wc -l";
    assert_eq!(script(second.root(), &format!("{git}{check}")), "30\n");
}

/// Inserts rows until it is over, and counts those that the database took.
fn insert_until(root: &Path, database: &str, is_over: &AtomicBool, taken: &AtomicUsize) {
    for number in 1.. {
        if is_over.load(Ordering::Acquire) {
            return;
        }
        let insert = format!("insert into t values ({number}, hex(randomblob(2000)));");
        let mut sqlite = Command::new("sqlite3");
        sqlite.args(["-bail", database, ".timeout 5000", &insert]).current_dir(root);
        if sqlite.output().expect("sqlite3 is installed").status.success() {
            taken.fetch_add(1, Ordering::AcqRel);
        }
    }
}

#[test]
fn a_database_is_whole_after_its_servers_were_killed() {
    let _turn = turn();
    for journal in ["delete", "wal"] {
        let mut cluster = Cluster::start(&Kind::Rust, 3);
        let mount = Mount::ours(&cluster, &[]);
        script(
            mount.root(),
            &format!("sqlite3 db 'pragma journal_mode={journal}; create table t(a, b);'"),
        );
        let (is_over, taken) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            scope.spawn(|| insert_until(mount.root(), "db", &is_over, &taken));
            for victim in [0, 1, 2, 0, 1, 2] {
                let goal = taken.load(Ordering::Acquire) + 5;
                wait_until("rows are taken", SOON, || taken.load(Ordering::Acquire) >= goal);
                cluster.chunks[victim].start_again();
            }
            is_over.store(true, Ordering::Release);
        });
        // Another mount finds all of it, whatever is left in the journal.
        let other = Mount::ours(&cluster, &[]);
        let found =
            script(other.root(), "sqlite3 db 'pragma integrity_check; select count(*) from t;'");
        let rows = found.strip_prefix("ok\n").and_then(|rows| rows.trim().parse::<usize>().ok());
        let rows = rows.unwrap_or_else(|| panic!("{journal}: {found}"));
        let taken = taken.into_inner();
        assert!(rows >= taken, "{journal}: {rows} rows, and {taken} were taken");
    }
}
