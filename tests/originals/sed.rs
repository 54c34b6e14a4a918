//! The report's test B: ten mounts of the original `Memory` add lines to one file with `sed -i`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::cluster::{Cluster, Kind};
use crate::common::mount::Mount;
use crate::common::python::Python;
use crate::common::{SOON, Shown, say, turn, wait_until};
use crate::run;

const MOUNTS: usize = 10;
const LINES: usize = 5;

/// Python 2, for which the programs were written, if it can mount.
fn python() -> Python {
    Python::two().filter(Python::has_fuse).unwrap_or_else(Python::three)
}

/// Ten mounts, and a file with one line.
fn mounts(cluster: &Cluster, python: &Python) -> Vec<Mount> {
    let mounts: Vec<_> = (0..MOUNTS).map(|_| Mount::original(python, cluster, &[])).collect();
    fs::write(mounts[0].path("file"), "begin\n").unwrap();
    mounts
}

/// A shell that adds lines of its own, each with one command, on one mount.
fn adds_lines(mount: &Mount, number: usize, command: &str) -> Command {
    let file = mount.path("file");
    let line = format!("i=0; while [ $i -lt {LINES} ]; do {command} || failed=1; i=$((i+1)); done");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("n={number}; failed=0; {line}; exit $failed")).arg(file);
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

const SED: &str = "sed -i \"$ a line $n $i\" \"$0\"";

/// How many of the lines that were added are there; all that is there must be such lines.
fn kept(mount: &Mount) -> usize {
    let text = fs::read_to_string(mount.path("file")).unwrap_or_default();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("begin"), "{text}");
    let lines: Vec<&str> = lines.collect();
    let is_whole = |line: &&str| line.split(' ').count() == 3 && line.starts_with("line ");
    assert!(text.ends_with('\n') && lines.iter().all(is_whole), "{text}");
    assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), lines.len(), "{text}");
    lines.len()
}

/// All at once; gives what failed.
fn at_once(mounts: &[Mount], command: &str) -> Vec<String> {
    let shells = mounts.iter().enumerate();
    let shells: Vec<_> =
        shells.map(|(number, mount)| adds_lines(mount, number, command).spawn().unwrap()).collect();
    let ends = shells.into_iter().map(|shell| shell.wait_with_output().unwrap());
    ends.filter(|end| !end.status.success()).map(|end| Shown(&end).to_string()).collect()
}

#[test]
fn test_b_one_after_another_loses_nothing() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 3);
    let mounts = mounts(&cluster, &python());
    for command in [SED, "echo line $n $((i+100)) >> \"$0\""] {
        for (number, mount) in mounts.iter().enumerate() {
            let end = adds_lines(mount, number, command).output().unwrap();
            assert!(end.status.success(), "{command}: {}\n{}", Shown(&end), mount.log());
        }
    }
    for mount in &mounts {
        assert_eq!(kept(mount), 2 * MOUNTS * LINES);
    }
    mounts.into_iter().for_each(Mount::unmount);
}

/// A lock of `flock` on such a mount is known to that mount only; one beside it, on a disk that all
/// of them have, is known to all.
#[test]
fn test_b_at_once_under_a_lock_loses_nothing() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 3);
    let mounts = mounts(&cluster, &python());
    let lock = tempfile::NamedTempFile::new().unwrap();
    let failures = at_once(&mounts, &under_lock(lock.path()));
    assert!(failures.is_empty(), "{failures:#?}");
    assert_eq!(kept(&mounts[0]), MOUNTS * LINES);
    mounts.into_iter().for_each(Mount::unmount);
}

fn under_lock(path: &Path) -> String {
    format!("flock {} {SED}", path.display())
}

/// Who reads a file and puts another in its place takes away what others put there in between, at
/// any server; how often that happens is a matter of time. But no command fails, no line is torn,
/// and nothing is left beside the file for long.
#[test]
fn test_b_at_once_fails_nowhere() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 3);
    let mounts = mounts(&cluster, &python());
    let failures = at_once(&mounts, SED);
    assert!(failures.is_empty(), "{failures:#?}");
    let kept = kept(&mounts[0]);
    say(&format!("test B at once: {kept} lines of {} are left", MOUNTS * LINES));
    // A list that one got before may bring back another's old name for some seconds.
    wait_until("nothing is left beside the file", SOON, || {
        let names = fs::read_dir(mounts[1].root()).unwrap();
        names.map(|entry| entry.unwrap().file_name()).eq(["file"])
    });
    mounts.into_iter().for_each(Mount::unmount);
}

/// The same race, in an order that is decided beforehand: whatever the original servers keep, ours
/// keep.
#[test]
fn test_b_at_once_keeps_what_the_original_keeps() {
    let python = python();
    for options in ["1", "2 --look list --append checked", "3 --dialect string --lists array"] {
        let run = |kind: Kind| {
            let cluster = Cluster::start(&kind, 3);
            run(&python, "originals_race.py", &cluster, options).unwrap()
        };
        let (original, ours) = (run(Kind::Original(python.clone())), run(Kind::Rust));
        assert_eq!(original, ours, "{python}, {options}");
        assert!(original.contains("line ") && original.contains("failed: []"), "{original}");
    }
}
