//! Our client and the homework's at work on the same files: each sees what the other changes.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use common::cluster::{Cluster, Kind};
use common::mount::Mount;
use common::python::{Python, with_python_2};
use common::{SOON, turn, wait_until};
use rustix::fs::{XattrFlags, getxattr, listxattr, removexattr, setxattr};

/// One client makes and changes things in every way; the other sees all of it.
fn changes_are_seen(actor: &Mount, observer: &Mount) {
    let (there, here) = (|name: &str| actor.path(name), |name: &str| observer.path(name));
    // An attribute may be up to a second old.
    let sees = |what: &str, condition: &dyn Fn() -> bool| {
        wait_until(&format!("the other client sees {what}"), SOON, condition);
    };
    let holds = |name: &str, contents: &str| {
        fs::read_to_string(here(name)).is_ok_and(|found| found == contents)
    };

    fs::write(there("f"), "one\n").expect("write");
    sees("a file", &|| holds("f", "one\n"));
    append(&there("f"), "two\n");
    sees("what was appended", &|| holds("f", "one\ntwo\n"));
    truncate(&there("f"), 5);
    sees("the end that was cut off", &|| holds("f", "one\nt"));
    truncate(&there("f"), 7);
    sees("the zeros that were added", &|| holds("f", "one\nt\0\0"));
    fs::set_permissions(there("f"), fs::Permissions::from_mode(0o601)).expect("chmod");
    sees("the mode", &|| fs::metadata(here("f")).is_ok_and(|m| m.mode() == 0o100_601));
    fs::rename(there("f"), there("g")).expect("rename");
    sees("the new name", &|| holds("g", "one\nt\0\0") && !here("f").exists());

    symlink("no/such größe", there("link")).expect("symlink");
    sees("a symbolic link", &|| {
        fs::read_link(here("link")).is_ok_and(|target| target == Path::new("no/such größe"))
    });
    extended_attributes(&there("g"), &here("g"));

    fs::create_dir(there("d")).expect("mkdir");
    fs::write(there("d/inner"), "inside").expect("write into a directory");
    sees("what is in a directory", &|| holds("d/inner", "inside"));
    assert!(fs::remove_dir(here("d")).is_err(), "a directory with a file in it was removed");
    for name in ["d/inner", "g", "link"] {
        fs::remove_file(there(name)).expect("unlink");
    }
    fs::remove_dir(there("d")).expect("rmdir");
    let entries = || fs::read_dir(observer.root()).map(Iterator::count);
    sees("that nothing is left", &|| entries().is_ok_and(|count| count == 0));
}

fn append(path: &Path, text: &str) {
    use std::io::Write as _;
    let mut file = fs::File::options().append(true).open(path).expect("open to append");
    file.write_all(text.as_bytes()).expect("append");
}

fn truncate(path: &Path, length: u64) {
    let file = fs::File::options().write(true).open(path).expect("open to write");
    file.set_len(length).expect("truncate");
}

fn extended_attributes(there: &Path, here: &Path) {
    let value = [0, 255, b'v'];
    setxattr(there, "user.größe", &value, XattrFlags::empty()).expect("setxattr");
    let mut buffer = [0; 100];
    wait_until("the other client sees an extended attribute", SOON, || {
        getxattr(here, "user.größe", &mut buffer).is_ok_and(|length| buffer[..length] == value)
    });
    let length = listxattr(here, &mut buffer).expect("listxattr");
    assert_eq!(&buffer[..length], "user.größe\0".as_bytes());
    removexattr(there, "user.größe").expect("removexattr");
    wait_until("the other client sees that it is gone", SOON, || {
        listxattr(here, &mut buffer).is_ok_and(|length| length == 0)
    });
}

#[test]
fn each_sees_what_the_other_changes() {
    let _turn = turn();
    for kind in [Kind::Rust, Kind::Original(Python::three())] {
        for style in [["string", "raw"], ["binary", "pickled"]] {
            let style = ["--dialect", style[0], "--contents", style[1]];
            let cluster = Cluster::start(&kind, 2);
            let ours = Mount::ours(&cluster, &style);
            let python = Mount::python(&Python::three(), &cluster, &style);
            println!("{kind}, {style:?}: ours changes");
            changes_are_seen(&ours, &python);
            println!("{kind}, {style:?}: the Python client changes");
            changes_are_seen(&python, &ours);
            ours.unmount();
            python.unmount();
        }
    }
}

/// Originals of this Python that take keys of one type, which nobody tells our client. The form in
/// which it stores is that of the Python client, whoever of them came first.
fn keys_of_one_type(python: &Python) {
    let _turn = turn();
    let client = if python.has_fuse() { python.clone() } else { Python::three() };
    for [keys, contents] in [["string", "raw"], ["binary", "pickled"]] {
        let kind = Kind::Original(python.clone());
        for is_first in [true, false] {
            println!("{kind}, keys are {keys}, ours is first: {is_first}");
            let cluster = Cluster::with_options(&kind, 2, &["--keys", keys]);
            let ours = || Mount::ours(&cluster, &[]);
            let style = ["--dialect", keys, "--contents", contents];
            let theirs = || Mount::python(&client, &cluster, &style);
            let (ours, theirs) = if is_first {
                let ours = ours();
                (ours, theirs())
            } else {
                let theirs = theirs();
                (ours(), theirs)
            };
            changes_are_seen(&ours, &theirs);
            if is_first {
                changes_are_seen(&theirs, &ours);
            }
            ours.unmount();
            theirs.unmount();
        }
    }
}

#[test]
fn our_client_uses_the_keys_that_an_original_under_python_3_takes() {
    keys_of_one_type(&Python::three());
}

#[test]
fn our_client_uses_the_keys_that_an_original_under_python_2_takes() {
    with_python_2(|python| keys_of_one_type(&python));
}

/// One tree: the native mount has no form, and the Python client its own.
#[test]
fn a_native_mount_and_a_python_client_see_what_the_other_changes() {
    let _turn = turn();
    for style in [["string", "raw"], ["binary", "pickled"]] {
        let style = ["--dialect", style[0], "--contents", style[1]];
        let cluster = Cluster::start(&Kind::Rust, 2);
        let native = Mount::ours(&cluster, &[]);
        let python = Mount::python(&Python::three(), &cluster, &style);
        println!("{style:?}: the native mount changes");
        changes_are_seen(&native, &python);
        println!("{style:?}: the Python client changes");
        changes_are_seen(&python, &native);
        native.unmount();
        python.unmount();
    }
}

/// Both at once, in one directory, each with files of its own.
#[test]
fn native_mounts_and_python_clients_work_side_by_side() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 2);
    let mounts = [
        Mount::ours(&cluster, &[]),
        Mount::ours(&cluster, &["--classic"]),
        Mount::python(&Python::three(), &cluster, &["--dialect", "string", "--contents", "raw"]),
        Mount::python(
            &Python::three(),
            &cluster,
            &["--dialect", "binary", "--contents", "pickled"],
        ),
    ];
    let script = "for i in 1 2 3 4 5 6; do echo $i > $0-$i && mv $0-$i $0-moved-$i && \
                  echo more >> $0-moved-$i && chmod 600 $0-moved-$i; done; rm $0-moved-6";
    let programs: Vec<_> = mounts
        .iter()
        .enumerate()
        .map(|(number, mount)| {
            let mut command = Command::new("sh");
            command.arg("-ec").arg(script).arg(mount.path(&format!("f{number}")));
            command.spawn().expect("sh can be started")
        })
        .collect();
    for mut program in programs {
        assert!(program.wait().expect("a child can be waited for").success());
    }
    for mount in &mounts {
        let entries = fs::read_dir(mount.root()).expect("the root can be read");
        let names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        assert_eq!(names.len(), 20, "{names:?}");
        for writer in 0..4 {
            for number in 1..=5 {
                let path = mount.path(&format!("f{writer}-moved-{number}"));
                let expected = format!("{number}\nmore\n");
                wait_until("it is as it was left", SOON, || {
                    fs::read_to_string(&path).is_ok_and(|found| found == expected)
                        && fs::metadata(&path).is_ok_and(|m| m.mode() == 0o100_600)
                });
            }
        }
    }
    mounts.into_iter().for_each(Mount::unmount);
}

/// A server of one thread must not be kept waiting by a connection of ours that says nothing.
#[test]
fn many_programs_at_once_get_on_with_the_original() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Original(Python::three()), 2);
    let mount = Mount::ours(&cluster, &[]);
    let copies: Vec<_> = (0..8)
        .map(|number| {
            let script = "for i in 1 2 3 4 5; do echo $i > $0-$i && cat $0-$i && ls -l $0-$i; done";
            let path = mount.path(&format!("f{number}"));
            let mut command = Command::new("sh");
            command.arg("-ec").arg(script).arg(path).stdout(Stdio::null());
            command.spawn().expect("sh can be started")
        })
        .collect();
    for mut copy in copies {
        assert!(copy.wait().expect("a child can be waited for").success());
    }
    let count = fs::read_dir(mount.root()).expect("the root can be read").count();
    assert_eq!(count, 40);
    mount.unmount();
}
