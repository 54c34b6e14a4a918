//! The mount, as ordinary programs and users meet it: in both ways, as far as these agree.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::cluster::{Cluster, Kind};
use common::mount::Mount;
use common::{run, turn};

/// The options of the two ways to mount.
const NATIVE: &[&str] = &[];
const CLASSIC: &[&str] = &["--classic"];

/// Makes two tests of one, for a function that takes the options of a mount.
macro_rules! in_both_ways {
    ($($test:ident),*) => {$(
        mod $test {
            #[test]
            fn native() {
                super::$test(super::NATIVE);
            }

            #[test]
            fn classic() {
                super::$test(super::CLASSIC);
            }
        }
    )*};
}

in_both_ways!(
    ordinary_programs_work_on_it,
    two_mounts_see_each_others_work_at_once,
    many_writers_on_many_mounts_lose_nothing,
    open_files_behave_as_files_do,
    errors_are_those_of_any_file_system,
    permissions_and_extended_attributes_are_kept
);

fn cluster(chunks: usize) -> Cluster {
    Cluster::start(&Kind::Rust, chunks)
}

/// Runs a script in a directory; it ends at the first command that fails.
fn script(dir: &Path, text: &str) -> String {
    let output = run(Command::new("bash").args(["-euc", text]).current_dir(dir));
    String::from_utf8(output.stdout).expect("the script prints text")
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("the directory can be listed");
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<_> = entries.map(|entry| name(entry.expect("to its end"))).collect();
    names.sort();
    names
}

fn errno<T>(result: std::io::Result<T>) -> i32 {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => error.raw_os_error().expect("the system failed it"),
    }
}

fn ordinary_programs_work_on_it(options: &[&str]) {
    let _turn = turn();
    let cluster = cluster(3);
    let mount = Mount::ours(&cluster, options);
    let printed = script(
        mount.root(),
        r#"
        echo hello > hello; cat hello
        test "$(stat -c '%s %A %u %h' hello)" = "6 -rw-r--r-- $(id -u) 1"
        mkdir -p a/b/c; cp -r /etc/default a/b/; diff -r /etc/default a/b/default
        mv a moved; diff -r /etc/default moved/b/default; test ! -e a
        ln -s moved/b/default link; diff -r /etc/default link/
        test "$(readlink link)" = moved/b/default
        chmod 640 hello; test "$(stat -c %a hello)" = 640
        touch -d '2001-02-03 04:05:06.789 UTC' hello
        test "$(stat -c %.3Y hello)" = 981173106.789
        cp -p hello copy; test "$(stat -c '%.3Y %a' copy)" = "981173106.789 640"
        truncate -s 3 hello; test "$(cat hello)" = hel
        echo more >> hello; test "$(cat hello)" = helmore
        dd if=/dev/urandom of=data bs=4k count=100 status=none
        dd if=data of=again bs=1k status=none; cmp data again
        dd if=/dev/zero of=data bs=1k seek=50 count=1 conv=notrunc status=none
        test "$(stat -c %s data)" = 409600; test "$(cmp -l data again | wc -l)" -gt 900
        tar cf all.tar moved; mkdir out; tar xf all.tar -C out; diff -r moved out/moved
        seq 1000 | sort -R > numbers; sort -n -o numbers numbers; test "$(head -1 numbers)" = 1
        sed -i s/hel/sel/ hello; cat hello
        find . -name 'default' -type d | sort
        rm -r moved out; ls
        "#,
    );
    assert_eq!(
        printed,
        "hello\nselmore\n./moved/b/default\n./out/moved/b/default\nagain\nall.tar\ncopy\ndata\n\
         hello\nlink\nnumbers\n"
    );
    // Another mount finds everything as it was left.
    let left = script(mount.root(), "sha256sum again copy data hello numbers");
    mount.unmount();
    let other = Mount::ours(&cluster, options);
    assert_eq!(script(other.root(), "sha256sum again copy data hello numbers"), left);
    other.unmount();
}

fn two_mounts_see_each_others_work_at_once(options: &[&str]) {
    let _turn = turn();
    let cluster = cluster(2);
    let (one, two) = (Mount::ours(&cluster, options), Mount::ours(&cluster, options));
    for round in 0..10 {
        let text = format!("{round}{}", "x".repeat(round * 100));
        fs::write(one.path("f"), &text).unwrap();
        assert_eq!(fs::read_to_string(two.path("f")).unwrap(), text);
        assert_eq!(fs::metadata(two.path("f")).unwrap().len(), text.len() as u64);
        let mut appended = OpenOptions::new().append(true).open(two.path("f")).unwrap();
        appended.write_all(b"more").unwrap();
        drop(appended);
        assert_eq!(fs::read_to_string(one.path("f")).unwrap(), text + "more");
    }
    fs::create_dir(one.path("d")).unwrap();
    fs::write(two.path("d/g"), "g").unwrap();
    assert_eq!(names(&one.path("d")), ["g"]);
    fs::rename(one.path("d/g"), one.path("h")).unwrap();
    // Attributes may be a second old, names that are gone as well.
    common::wait_until("the old name goes", Duration::from_secs(2), || !two.path("d/g").exists());
    assert_eq!(fs::read_to_string(two.path("h")).unwrap(), "g");
    fs::remove_dir(two.path("d")).unwrap();
    assert_eq!(names(one.root()), ["f", "h"]);
    one.unmount();
    two.unmount();
}

fn many_writers_on_many_mounts_lose_nothing(options: &[&str]) {
    let _turn = turn();
    let cluster = cluster(3);
    let mounts: Vec<Mount> = (0..3).map(|_| Mount::ours(&cluster, options)).collect();
    std::thread::scope(|scope| {
        for (number, mount) in mounts.iter().enumerate() {
            for thread in 0..3 {
                let root = mount.root();
                scope.spawn(move || {
                    for file in 0..10 {
                        let name = format!("{number}-{thread}-{file}");
                        fs::write(root.join(&name), &name).unwrap();
                    }
                });
            }
        }
    });
    for mount in &mounts {
        let found = names(mount.root());
        assert_eq!(found.len(), 90);
        for name in found {
            assert_eq!(fs::read_to_string(mount.path(&name)).unwrap(), name);
        }
    }
    mounts.into_iter().for_each(Mount::unmount);
}

fn open_files_behave_as_files_do(options: &[&str]) {
    let _turn = turn();
    let cluster = cluster(1);
    let mount = Mount::ours(&cluster, options);
    let path = mount.path("f");
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    assert_eq!(errno(File::options().write(true).create_new(true).open(&path)), libc::EEXIST);
    file.write_all(b"0123456789").unwrap();
    // Others on the same mount see what is not stored yet.
    assert_eq!(fs::read(&path).unwrap(), b"0123456789");
    file.set_len(4).unwrap();
    file.write_at(b"end", 8).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut contents = Vec::new();
    file.read_to_end(&mut contents).unwrap();
    assert_eq!(contents, b"0123\0\0\0\0end");
    let mut appending = OpenOptions::new().append(true).open(&path).unwrap();
    appending.write_all(b"A").unwrap();
    file.write_all(b"B").unwrap();
    appending.write_all(b"C").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"0123\0\0\0\0endBC");

    fs::rename(&path, mount.path("g")).unwrap();
    file.write_at(b"renamed", 0).unwrap();
    file.sync_all().unwrap();
    assert_eq!(fs::read(mount.path("g")).unwrap(), b"renamed\0endBC");
    fs::remove_file(mount.path("g")).unwrap();
    file.write_at(b"unnamed", 0).unwrap();
    file.sync_all().unwrap();
    let mut start = [0; 7];
    file.read_at(&mut start, 0).unwrap();
    assert_eq!((&start, file.metadata().unwrap().nlink()), (b"unnamed", 0));
    drop((file, appending));
    assert_eq!(names(mount.root()), Vec::<String>::new());

    let huge = File::create(mount.path("huge")).unwrap();
    if options == CLASSIC {
        // Such a file travels as one value.
        assert_eq!(errno(huge.set_len(1 << 40)), libc::EFBIG);
        assert_eq!(errno(huge.write_at(b"x", 1 << 40)), libc::EFBIG);
    }
    huge.write_at(b"x", 1000).unwrap();
    drop(huge);
    assert_eq!(fs::metadata(mount.path("huge")).unwrap().len(), 1001);
    mount.unmount();
}

fn errors_are_those_of_any_file_system(options: &[&str]) {
    let _turn = turn();
    let cluster = cluster(1);
    let mount = Mount::ours(&cluster, options);
    let path = |name: &str| mount.path(name);
    fs::create_dir(path("dir")).unwrap();
    fs::write(path("dir/file"), "x").unwrap();
    assert_eq!(errno(fs::read(path("none"))), libc::ENOENT);
    assert_eq!(errno(fs::read(path("dir/file/x"))), libc::ENOTDIR);
    assert_eq!(errno(fs::create_dir(path("dir"))), libc::EEXIST);
    assert_eq!(errno(fs::remove_dir(path("dir"))), libc::ENOTEMPTY);
    assert_eq!(errno(fs::remove_dir(path("dir/file"))), libc::ENOTDIR);
    assert_eq!(errno(fs::remove_file(path("dir"))), libc::EISDIR);
    assert_eq!(errno(fs::write(path("dir"), "x")), libc::EISDIR);
    assert_eq!(errno(fs::rename(path("dir"), path("dir/sub"))), libc::EINVAL);
    fs::create_dir(path("other")).unwrap();
    assert_eq!(errno(fs::rename(path("dir/file"), path("other"))), libc::EISDIR);
    assert_eq!(errno(fs::rename(path("other"), path("dir/file"))), libc::ENOTDIR);
    assert_eq!(errno(fs::rename(path("other"), path("dir"))), libc::ENOTEMPTY);
    assert_eq!(errno(fs::hard_link(path("dir"), path("link"))), libc::EPERM);
    if options == CLASSIC {
        assert_eq!(errno(fs::hard_link(path("dir/file"), path("link"))), libc::EPERM);
    } else {
        fs::hard_link(path("dir/file"), path("link")).unwrap();
    }
    assert_eq!(errno(fs::write(path(&"n".repeat(256)), "x")), libc::ENAMETOOLONG);
    fs::write(path(&"n".repeat(255)), "x").unwrap();
    mount.unmount();
}

fn permissions_and_extended_attributes_are_kept(options: &[&str]) {
    let _turn = turn();
    let cluster = cluster(1);
    let mount = Mount::ours(&cluster, options);
    // Another user must get as far as the mountpoint.
    let above = mount.root().parent().expect("it is in a directory of its own");
    fs::set_permissions(above, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(mount.root(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = File::options().write(true).create_new(true).mode(0o600).open(mount.path("private"));
    file.unwrap().write_all(b"secret").unwrap();
    fs::write(mount.path("public"), "open").unwrap();
    let as_nobody = |text: &str| {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", text]);
        setpriv.current_dir(mount.root()).output().unwrap().status.success()
    };
    assert!(as_nobody("cat public") && !as_nobody("cat private"));
    assert!(
        !as_nobody("echo x > new") && !as_nobody("rm public") && !as_nobody("chmod 777 public")
    );
    fs::set_permissions(mount.root(), fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(as_nobody(
        "umask 027; echo x > theirs; test $(stat -c '%u %a' theirs | tr ' ' -) = 65534-640"
    ));
    assert!(!as_nobody("rm public"), "the directory is sticky");

    let public = mount.path("public");
    let set = |name: &str, value: &[u8], flags| {
        rustix::fs::setxattr(&public, name, value, flags).map_err(std::io::Error::from)
    };
    let any = rustix::fs::XattrFlags::empty();
    set("user.colour", b"\0red\xff", any).unwrap();
    assert_eq!(errno(set("user.colour", b"", rustix::fs::XattrFlags::CREATE)), libc::EEXIST);
    assert_eq!(errno(set("user.none", b"", rustix::fs::XattrFlags::REPLACE)), libc::ENODATA);
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(&public, "user.colour", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"\0red\xff");
    let short = rustix::fs::getxattr(&public, "user.colour", &mut value[..2]);
    assert_eq!(short.unwrap_err(), rustix::io::Errno::RANGE);
    let length = rustix::fs::listxattr(&public, &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"user.colour\0");
    rustix::fs::removexattr(&public, "user.colour").unwrap();
    assert_eq!(rustix::fs::listxattr(&public, &mut value[..]).unwrap(), 0);
    mount.unmount();
}

#[test]
fn a_dead_server_gives_errors_in_time_and_the_mount_goes_on() {
    let _turn = turn();
    let mut cluster = cluster(1);
    let mount = Mount::ours(&cluster, &["--classic", "--timeout", "2"]);
    fs::write(mount.path("f"), "old").unwrap();
    let mut open = File::options().write(true).open(mount.path("f")).unwrap();
    open.write_all(b"new").unwrap();

    // A server that hangs: the connection stands, and nothing comes.
    cluster.chunks[0].process.pause();
    let start = Instant::now();
    assert_eq!(errno(open.sync_all()), libc::ETIMEDOUT);
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    assert_eq!(fs::metadata(mount.path("f")).unwrap().len(), 3, "the master still answers");
    cluster.chunks[0].process.go_on();

    // And one that is gone.
    cluster.chunks[0].process.kill();
    let start = Instant::now();
    assert_eq!(
        errno(fs::write(mount.path("g"), "x").and_then(|()| open.sync_all())),
        libc::EHOSTUNREACH
    );
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    assert!(mount.log().contains("fsync"), "the client does not say so:\n{}", mount.log());

    cluster.chunks[0].start_again();
    // What was written is stored as soon as that is possible.
    open.sync_all().unwrap();
    assert_eq!(fs::read_to_string(mount.path("f")).unwrap(), "new");
    drop(open);
    mount.unmount();
}

#[test]
fn a_busy_mount_with_dead_servers_is_gone_within_two_seconds() {
    let _turn = turn();
    let cluster = cluster(1);
    let mount = Mount::ours(&cluster, CLASSIC);
    let mut open = File::create(mount.path("f")).unwrap();
    open.write_all(b"x").unwrap();
    cluster.master.process.pause();
    cluster.chunks[0].process.pause();
    mount.unmount_within(Duration::from_secs(2));
    assert!(open.write_all(b"y").is_err());
    cluster.master.process.go_on();
    cluster.chunks[0].process.go_on();
}

#[test]
fn what_is_open_when_the_client_stops_is_stored() {
    let _turn = turn();
    let cluster = cluster(2);
    let mount = Mount::ours(&cluster, CLASSIC);
    let mut open = File::create(mount.path("f")).unwrap();
    open.write_all(b"not closed").unwrap();
    mount.unmount();
    drop(open);
    let mount = Mount::ours(&cluster, CLASSIC);
    assert_eq!(fs::read_to_string(mount.path("f")).unwrap(), "not closed");
    mount.unmount();
}

#[test]
fn files_expire_only_if_they_are_told_to() {
    let _turn = turn();
    let cluster = cluster(1);
    let mount = Mount::ours(&cluster, CLASSIC);
    fs::write(mount.path("lasting"), "x").unwrap();
    mount.unmount();
    let mount = Mount::ours(&cluster, &["--ttl", "2"]);
    fs::write(mount.path("passing"), "x").unwrap();
    let lives = || fs::metadata(mount.path("passing")).is_ok();
    assert!(lives());
    common::wait_until("the file expires", Duration::from_secs(10), || !lives());
    fs::read(mount.path("lasting")).unwrap();
    mount.unmount();
}
