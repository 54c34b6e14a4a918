//! The programs mounted with fusepy: a shell's work comes to the same at the original servers and
//! at ours.

use std::process::Command;

use crate::common::cluster::{Cluster, Kind};
use crate::common::mount::Mount;
use crate::common::python::{Python, with_python_2};
use crate::common::{Shown, say};

/// Says what every command says, and whether it fails; and goes on.
const SHELL: &str = "
try() { echo \"+ $*\"; eval \"$*\" 2>&1 || echo \"exit status $?\"; }
try 'echo hello > a; cat a'
try 'echo world >> a; cat a'
try 'mv a b; ls; cat b'
try 'echo other > a; mv -f b a; ls | sort -u; cat a'
try 'sed -i s/world/there/ a; cat a'
try 'sed -i 1d a; cat a'
try 'mkdir d; stat -c %F:%a d; rmdir d; ls | sort -u'
try 'mkdir d; mv d e; rmdir e; ls | sort -u'
try 'rmdir e'
try 'ln -s a link; readlink link; cat link; rm link'
try 'chmod 600 a; stat -c %a:%s a'
try 'touch -d @1000000000 a; stat -c %Y a'
try 'truncate -s 3 a; cat a; echo'
try 'cp a \"with spaces\"; cat \"with spaces\"; rm \"with spaces\"'
try 'dd if=/dev/zero of=zeros bs=1000 count=30 status=none; cksum < zeros; rm zeros'
try 'rm a; cat a; ls'
try 'echo again > a; cat a; rm a'
";

const IN_A_TREE: &str = "
try 'mkdir -p d/e; echo deep > d/e/f; mv d/e/f d/g; sed -i s/deep/low/ d/g; cat d/g; ls d'
try 'rmdir d'
try 'mv d/g d/e/g; rm d/e/g; rmdir d/e; rmdir d; ls'
";

/// What the shell says on a mount at fresh servers.
fn transcript(kind: &Kind, python: &Python, level: &str) -> String {
    let cluster = Cluster::start(kind, 2);
    let mount = Mount::original(python, &cluster, &["--level", level, "--append", "checked"]);
    let more = if level == "tree" { IN_A_TREE } else { "" };
    let mut command = Command::new("bash");
    command.arg("-c").arg(format!("{SHELL}{more}")).current_dir(mount.root());
    let output = command.env("LC_ALL", "C.UTF-8").output().unwrap();
    assert!(output.status.success(), "{}", Shown(&output));
    let mut said = String::from_utf8(output.stdout).unwrap();
    // What the program itself says of an exception is a difference too.
    said.extend(mount.log().lines().filter(|line| line.contains("Error")));
    mount.unmount();
    said
}

fn shell_sees_no_difference(python: &Python, level: &str) {
    if !python.has_fuse() {
        say(&format!("NOTE: {python} has no fusepy here and is not mounted"));
        return;
    }
    let original = transcript(&Kind::Original(python.clone()), python, level);
    let ours = transcript(&Kind::Rust, python, level);
    assert_eq!(original, ours, "{python}, {level}; first the original's");
    assert!(original.contains("+ sed -i 1d a; cat a\nthere\n+"), "it did not work:\n{original}");
}

#[test]
fn a_shell_on_a_python_2_mount_sees_no_difference() {
    with_python_2(|python| shell_sees_no_difference(&python, "one"));
}

#[test]
fn a_shell_on_a_python_3_mount_sees_no_difference() {
    shell_sees_no_difference(&Python::three(), "one");
}

#[test]
fn a_shell_on_a_mounted_tree_sees_no_difference() {
    let python = Python::two().filter(Python::has_fuse).unwrap_or_else(Python::three);
    shell_sees_no_difference(&python, "tree");
}
