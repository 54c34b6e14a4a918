//! Limits hold under load, and nothing is told to those who should not know.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::thread;

use crate::common::turn;
use crate::{cluster, mounts, script};

/// The largest memory that a mount takes in these tests, in KiB.
const MOUNT_MEMORY_MAX: u64 = 200 << 10;

#[test]
fn promise_7_bounded() {
    let _turn = turn();
    let cluster = cluster();
    let [mount] = mounts(&cluster);

    // Ten GiB with something here and there.
    let file = File::create(mount.path("sparse")).unwrap();
    file.set_len(10 << 30).unwrap();
    let place = |number: u64| number * 7_919 * 104_729 % ((10 << 30) - 4096);
    (0..300_u64)
        .for_each(|number| file.write_all_at(&number.to_le_bytes(), place(number)).unwrap());
    file.sync_all().unwrap();
    let file = File::open(mount.path("sparse")).unwrap();
    for number in 0..300_u64 {
        let mut found = [0; 8];
        file.read_exact_at(&mut found, place(number)).unwrap();
        assert_eq!(found, number.to_le_bytes());
    }
    assert!(file.metadata().unwrap().blocks() * 512 < 64 << 20, "holes take no room");

    // More written than may wait, and many names.
    script(mount.root(), "head -c 300M /dev/zero > long; cmp -n 300M long /dev/zero; rm long");
    script(
        mount.root(),
        "mkdir tree; cd tree; seq 3000 | xargs touch; ls -l | wc -l; find . -type f | wc -l",
    );
    let used = mount.process().status_number("VmHWM:");
    assert!(used < MOUNT_MEMORY_MAX, "the mount took {used} KiB");

    // Strangers who only connect: they wait their turn, and the mount goes on.
    let port = cluster.master.port();
    let strangers: Vec<TcpStream> =
        (0..600).map_while(|_| TcpStream::connect(("localhost", port)).ok()).collect();
    fs::write(mount.path("during"), "goes on").unwrap();
    assert_eq!(fs::read(mount.path("during")).unwrap(), b"goes on");
    drop(strangers);
    let used = cluster.master.process.status_number("VmHWM:");
    assert!(used < MOUNT_MEMORY_MAX, "the master took {used} KiB");
}

/// Threads that make the large tree; each makes directories of its own.
const MAKERS: usize = 4;
const DIRS_EACH: usize = 50;
const FILES_PER_DIR: usize = 500;

/// Makes a part of the large tree. Every tenth file has contents.
fn make_files(root: &Path, maker: usize) {
    for dir in 0..DIRS_EACH {
        let dir = root.join(format!("{maker}-{dir}"));
        fs::create_dir(&dir).unwrap();
        for number in 0..FILES_PER_DIR {
            let mut file = File::create_new(dir.join(format!("file {number}"))).unwrap();
            if number % 10 == 0 {
                write!(file, "contents of {number}").unwrap();
            }
        }
    }
}

#[test]
fn promise_7_bounded_over_a_hundred_thousand_files() {
    let _turn = turn();
    let cluster = cluster();
    let [mount, other] = mounts(&cluster);
    let tree = mount.path("tree");
    let start = std::time::Instant::now();
    fs::create_dir(&tree).unwrap();
    thread::scope(|scope| {
        for maker in 0..MAKERS {
            let tree = &tree;
            scope.spawn(move || make_files(tree, maker));
        }
    });
    eprintln!("made {:?}", start.elapsed());
    for mount in [&mount, &other] {
        let count = |program: &str| {
            let text = script(mount.root(), &format!("{program} | wc -l"));
            eprintln!("{program} {:?}", start.elapsed());
            text.trim().parse::<usize>().unwrap()
        };
        let files = MAKERS * DIRS_EACH * FILES_PER_DIR;
        assert_eq!(count("find tree -type f"), files);
        assert_eq!(count("find tree -type f -size -1k -printf '%s %i\\n'"), files / 10 * 9);
        assert_eq!(count("ls -lR tree | grep ' file '"), files);
        let used = mount.process().status_number("VmHWM:");
        eprintln!("{used}");
        assert!(used < MOUNT_MEMORY_MAX, "a mount took {used} KiB");
    }
    script(other.root(), "rm -r tree");
    eprintln!("removed {:?}", start.elapsed());
    assert!(!tree.exists());
    for (who, process) in [
        ("mount", mount.process()),
        ("other", other.process()),
        ("master", &cluster.master.process),
    ] {
        let used = process.status_number("VmHWM:");
        eprintln!("{who} {used}");
    }
}

/// Whether anything here can be read by others than the owner; what `dir` itself shuts in cannot.
fn assert_private(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let (path, found) = (entry.path(), entry.metadata().unwrap());
        // Behind a directory that others cannot enter, modes do not matter any more.
        assert!(
            found.mode() & 0o077 == 0 || !path.is_dir() && dir_is_private(dir),
            "{path:?} is open"
        );
        if found.is_dir() && found.mode() & 0o077 != 0 {
            assert_private(&path);
        }
    }
}

fn dir_is_private(dir: &Path) -> bool {
    dir.metadata().unwrap().mode() & 0o077 == 0
}

#[test]
fn promise_8_private() {
    let _turn = turn();
    let cluster = cluster();
    let [mount] = mounts(&cluster);
    let mut file = File::create(mount.path("secret")).unwrap();
    file.write_all(&[b's'; 200_000]).unwrap();
    file.sync_all().unwrap();
    for server in cluster.chunks.iter().chain([&cluster.master]) {
        let data = server.dir.join("data");
        assert_eq!(data.metadata().unwrap().mode() & 0o077, 0, "{data:?} is open to others");
        assert_private(&data);
    }
    let key = &crate::common::keys().key;
    assert_eq!(key.metadata().unwrap().mode() & 0o077, 0);
    // Who does not speak TLS hears nothing: neither data nor that there is a file system.
    for server in cluster.chunks.iter().chain([&cluster.master]) {
        let mut plain = TcpStream::connect(("localhost", server.port())).unwrap();
        plain
            .write_all(b"POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        let mut heard = Vec::new();
        std::io::Read::read_to_end(&mut plain, &mut heard).ok();
        assert!(!heard.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&heard));
    }
}
