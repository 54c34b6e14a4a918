//! Programs of every day on native mounts: those that copy, git, sqlite.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use common::cluster::{Cluster, Kind};
use common::mount::Mount;
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
