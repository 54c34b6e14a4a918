//! Rights that a file gives to whoever runs it, and what takes them away.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use rustix::fs::XattrFlags;

use crate::common::mount::Mount;
use crate::common::run;
use crate::{cluster, mounts, script};

/// What changes a file, in a shell of another user; the next command there looks at its mode, which
/// the kernel must not have from before.
const CHANGES: &[&str] = &[
    "printf x 1<> file",
    "printf x >> file",
    "dd if=/dev/zero of=file bs=4096 count=1 conv=notrunc oflag=direct status=none",
    "dd if=/dev/zero of=file bs=1 count=1 conv=notrunc oflag=sync status=none",
    "truncate --size=5 file",
    ": > file",
    "fallocate --length 20000 file",
    "fallocate --punch-hole --offset 100 --length 8192 file",
    "fallocate --zero-range --length 10000 file",
    "exec 3<> file; printf x >&3; fallocate --length 20000 file; printf y >&3",
];

/// What a script prints that somebody without any rights runs in a directory.
fn as_nobody(dir: &Path, script: &str) -> String {
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-euc", script]);
    String::from_utf8(run(setpriv.current_dir(dir)).stdout).unwrap()
}

fn make(mount: &Mount, mode: u32) -> File {
    let path = mount.path("file");
    let file = File::create(&path).unwrap();
    file.write_all_at(&[1; 10_000], 0).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    file
}

#[test]
fn set_id_bits_do_not_outlive_a_change_by_somebody_else() {
    let cluster = cluster();
    let [mount, other] = mounts(&cluster);
    for change in CHANGES {
        drop(make(&mount, 0o6777));
        assert_eq!(fs::metadata(mount.path("file")).unwrap().permissions().mode() & 0o7777, 0o6777);
        let seen = as_nobody(mount.root(), &format!("{change}\nstat --format=%a file"));
        assert_eq!(seen, "777\n", "after `{change}`");
        assert_eq!(as_nobody(other.root(), "exec 3< file; stat --format=%a file"), "777\n");
    }
    // The superuser may give them, and so keeps them.
    make(&mount, 0o6777).write_all_at(b"x", 0).unwrap();
    assert_eq!(as_nobody(mount.root(), "stat --format=%a file"), "6777\n");
}

#[test]
fn a_change_takes_the_capabilities_of_a_program_whoever_makes_it() {
    const NAME: &str = "security.capability";
    // Version 2 of `struct vfs_cap_data`: the right to bind low ports, in effect.
    let mut capabilities = [0; 20];
    capabilities[..8].copy_from_slice(&[1, 0, 0, 2, 0, 4, 0, 0]);
    let cluster = cluster();
    let [mount] = mounts(&cluster);
    let path = mount.path("file");
    for change in CHANGES {
        drop(make(&mount, 0o777));
        rustix::fs::setxattr(&path, NAME, &capabilities, XattrFlags::empty()).unwrap();
        as_nobody(mount.root(), change);
        let left = rustix::fs::getxattr(&path, NAME, &mut [0_u8; 20][..]);
        assert_eq!(left, Err(rustix::io::Errno::NODATA), "after `{change}`");
    }
    drop(make(&mount, 0o777));
    rustix::fs::setxattr(&path, NAME, &capabilities, XattrFlags::empty()).unwrap();
    // Without a change nobody else may take them.
    as_nobody(mount.root(), "! setfattr --remove=security.capability file 2> /dev/null");
    assert_eq!(rustix::fs::getxattr(&path, NAME, &mut [0_u8; 20][..]), Ok(20));
}

/// What nobody gets of a program that is root's and set-id, and of a device that is everybody's.
fn rights_of(mount: &Mount) -> String {
    as_nobody(mount.root(), "./id -u; { : > null; } 2> /dev/null && echo opened || echo refused")
}

#[test]
fn set_id_bits_and_devices_count_only_where_root_says_so() {
    let cluster = cluster();
    let [plain] = mounts(&cluster);
    run(Command::new("cp").arg("/usr/bin/id").arg(plain.path("id")));
    fs::set_permissions(plain.path("id"), fs::Permissions::from_mode(0o4755)).unwrap();
    script(plain.root(), "mknod --mode=666 null c 1 3");
    let of_each = [
        (&[][..], "65534\nrefused\n"),
        (&["--suid"], "0\nrefused\n"),
        (&["--dev"], "65534\nopened\n"),
        (&["--suid", "--dev"], "0\nopened\n"),
    ];
    for (options, rights) in of_each {
        assert_eq!(rights_of(&Mount::ours(&cluster, options)), rights, "{options:?}");
    }
}
