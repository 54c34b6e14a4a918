//! The report's test B: ten mounts of the original `Memory` add lines to one file with `sed -i`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::cluster::{Cluster, Kind};
use crate::common::mount::Mount;
use crate::common::python::Python;
use crate::common::{Shown, say, turn};

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

/// The lines that were added and are there, and those that are not.
fn kept(mount: &Mount) -> usize {
    let text = fs::read_to_string(mount.path("file")).unwrap_or_default();
    let lines: BTreeSet<&str> = text.lines().filter(|line| line.starts_with("line ")).collect();
    assert_eq!(text.lines().next(), Some("begin"), "{text}");
    lines.len()
}

/// All at once; gives what failed.
fn at_once(mounts: &[Mount], command: &str) -> Vec<String> {
    let shells = mounts.iter().enumerate();
    let shells: Vec<_> = shells
        .map(|(number, mount)| adds_lines(mount, number, command).spawn().unwrap())
        .collect();
    let ends = shells.into_iter().map(|shell| shell.wait_with_output().unwrap());
    ends.filter(|end| !end.status.success()).map(|end| Shown(&end).to_string()).collect()
}

#[test]
fn test_b_one_after_another_loses_nothing() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 3);
    let mounts = mounts(&cluster, &python());
    for command in [SED, "echo line $n echo $i >> \"$0\""] {
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
/// any server. But no command fails, and no line is lost that the original servers keep.
#[test]
fn test_b_at_once_fails_nowhere_and_keeps_what_the_original_keeps() {
    let _turn = turn();
    let run = |kind: Kind| {
        let cluster = Cluster::start(&kind, 3);
        let mounts = mounts(&cluster, &python());
        let failures = at_once(&mounts, SED);
        let kept = kept(&mounts[0]);
        // The original's own programs may have come to grief.
        drop(mounts);
        say(&format!("test B at once, at {kind}: {kept} lines, {} failures", failures.len()));
        (kept, failures)
    };
    let (ours, failures) = run(Kind::Rust);
    assert!(failures.is_empty(), "{failures:#?}");
    let (original, _) = run(Kind::Original(python()));
    assert!(ours >= original, "{ours} lines, and {original} at the original servers");
}
