//! Times and space of files, as programs go by them.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::process::Command;

use crate::common::run;
use crate::{cluster, mounts, script};

#[test]
fn o_noatime_leaves_the_time_of_access() {
    let cluster = cluster();
    let [mount, other] = mounts(&cluster);
    fs::write(mount.path("file"), "x").unwrap();
    // A time of access before that of the last change is renewed by whoever opens the file.
    let atime = || {
        let now = fs::metadata(mount.path("file")).unwrap();
        (now.atime(), now.atime_nsec())
    };
    let before = atime();
    let mut quiet = File::options();
    quiet.read(true).custom_flags(libc::O_NOATIME);
    let read = |file: File| file.read_exact_at(&mut [0], 0).unwrap();
    read(quiet.open(mount.path("file")).unwrap());
    read(quiet.write(true).open(mount.path("file")).unwrap());
    assert_eq!(atime(), before);
    read(quiet.open(other.path("file")).unwrap());
    assert_eq!(atime(), before);
    read(File::open(mount.path("file")).unwrap());
    assert!(atime() > before);
}

#[test]
fn what_fallocate_reserves_counts_as_taken() {
    let cluster = cluster();
    let [mount, other] = mounts(&cluster);
    let blocks = |script_text: &str| {
        let printed = script(mount.root(), &format!("{script_text}; stat --format=%b file"));
        assert_eq!(script(other.root(), "exec 3< file; stat --format=%b file"), printed);
        printed.trim().parse::<u64>().unwrap()
    };
    let (page, mib) = (4096 / 512, (1 << 20) / 512);
    assert_eq!(blocks("fallocate --length 5000 file"), 2 * page);
    assert_eq!(blocks("rm file; fallocate --offset 4095 --length 2 file"), 2 * page);
    assert_eq!(blocks("rm file; fallocate --length 1M file"), mib);
    // Room that is reserved is not given back by a write into it.
    assert_eq!(blocks("printf x 1<> file"), mib);
    assert_eq!(blocks("sync file; printf y 1<> file; sync file"), mib);
    assert_eq!(blocks("fallocate --offset 100M --length 70M file"), 71 * mib);
    assert_eq!(blocks("fallocate --punch-hole --length 512K file"), 71 * mib - mib / 2);
    assert_eq!(blocks("fallocate --zero-range --length 256K file"), 71 * mib - mib / 4);
    assert_eq!(blocks("truncate --size 128K file"), mib / 8);
    assert_eq!(blocks("fallocate --keep-size --offset 128K --length 64K file"), 3 * mib / 16);
    assert_eq!(blocks("truncate --size 0 file"), 0);
}

/// Stores in a mapping before and after a time is set; says how the file ends up.
const MAPPING: &str = "
import mmap, os
file = os.open('file', os.O_RDWR | os.O_CREAT, 0o644)
os.ftruncate(file, 8192)
page = mmap.mmap(file, 8192)
page[0] = 65
os.utime('file', (1000, 2000))
page.close()
os.close(file)
print(os.stat('file').st_mtime, open('file', 'rb').read(1))
file = os.open('file', os.O_RDWR)
page = mmap.mmap(file, 8192)
page[1] = 66
os.utime(file, (1000, 2000))
page[4096] = 67
page.close()
os.close(file)
print(os.stat('file').st_mtime > 2000, open('file', 'rb').read(2))
";

#[test]
fn a_time_that_is_set_after_a_store_in_a_mapping_is_kept() {
    let cluster = cluster();
    let [mount] = mounts(&cluster);
    let output = run(Command::new("python3").args(["-c", MAPPING]).current_dir(mount.root()));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed, "2000.0 b'A'\nTrue b'AB'\n", "a later store is a later change");
}
