//! Limits hold under load, and nothing is told to those who should not know.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::thread;

use htfs::limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::common::python::Python;
use crate::common::{SOON, turn, wait_until};
use crate::{cluster, mounts, script};

/// The largest memory that a mount takes in these tests, in KiB.
const MOUNT_MEMORY_MAX: u64 = 200 << 10;

/// The same of a server.
const SERVER_MEMORY_MAX: u64 = 300 << 10;

/// Connections of those who say nothing.
const STRANGERS: usize = limits::CONNECTIONS_MAX + 300;

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

    for server in cluster.chunks.iter().chain([&cluster.master]) {
        let used = server.process.status_number("VmHWM:");
        assert!(used < SERVER_MEMORY_MAX, "{} took {used} KiB", server.url);
    }
}

/// What a server must refuse, and in time: bodies, nesting, calls and keys beyond the limits. Each
/// server goes on on the same connection, or on a new one where it closes the old one.
const TOO_MUCH: &str = r#"
import http.client, ssl, sys
port, certificate = PORT, "CERTIFICATE"
trust = ssl.create_default_context(cafile=certificate)

def post(body, length=None):
    connection = http.client.HTTPSConnection("localhost", port, context=trust, timeout=60)
    connection.putrequest("POST", "/RPC2")
    connection.putheader("Content-Type", "text/xml")
    connection.putheader("Content-Length", str(length or len(body)))
    connection.endheaders()
    try:
        connection.send(body)
    except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
        pass  # It was refused before it was all there.
    answer = connection.getresponse()
    return answer.status, answer.read()

def call(method, *values):
    params = b"".join(b"<param><value>" + value + b"</value></param>" for value in values)
    return (b"<methodCall><methodName>" + method + b"</methodName><params>" + params
            + b"</params></methodCall>")

def refused(what, answer):
    status, body = answer
    assert status >= 400 or b"<fault>" in body, (what, status, body[:300])

def text(size):
    return b"<string>" + b"x" * size + b"</string>"

number = b"<int>100</int>"
refused("a body over the limit", post(b"", 1 << 30))
deep = b"<array><data><value>" * 10000 + b"</value></data></array>" * 10000
refused("deep nesting", post(call(b"put", text(1), deep, number)))
wide = b"<array><data>" + b"<value><int>1</int></value>" * 800000 + b"</data></array>"
refused("much XML", post(call(b"put", text(1), wide, number)))
refused("a long key", post(call(b"put", text(100000), text(1), number)))
one = (b"<value><struct><member><name>methodName</name><value>get</value></member><member>"
       b"<name>params</name><value><array><data/></array></value></member></struct></value>")
many = b"<array><data>" + one * 5000 + b"</data></array>"
refused("a thousand calls in one", post(call(b"system.multicall", many)))
# A pickle like a file's attributes, of lists in lists: kept as a value, or refused; never unpacked.
post(call(b"put", text(1).replace(b"x", b"/x"), b"<string>" + b"(l" * 100000 + b".</string>", number))
status, body = post(call(b"system.listMethods"))
assert status == 200 and b"<fault>" not in body, (status, body)
"#;

#[test]
fn promise_7_bounded_whatever_strangers_send() {
    let _turn = turn();
    let cluster = cluster();
    let [mount] = mounts(&cluster);
    fs::write(mount.path("before"), [7; 300_000]).unwrap();
    let certificate = crate::common::keys().certificate.display().to_string();
    for server in [&cluster.master, &cluster.chunks[0]] {
        let lines = TOO_MUCH.replace("PORT", &server.port().to_string());
        Python::three().evaluate(&lines.replace("CERTIFICATE", &certificate));
    }

    // Strangers who only connect, more than a server takes: the others wait their turn, and mounts
    // go on, new ones as well.
    let old = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: old.maximum, ..old }).unwrap();
    let strangers: Vec<TcpStream> = [&cluster.master, &cluster.chunks[0]]
        .into_iter()
        .flat_map(|server| (0..STRANGERS).map(move |_| server.port()))
        .map(|port| TcpStream::connect(("localhost", port)).unwrap())
        .collect();
    fs::write(mount.path("during"), "goes on").unwrap();
    let [other] = mounts(&cluster);
    assert_eq!(fs::read(other.path("during")).unwrap(), b"goes on");
    assert_eq!(fs::read(other.path("before")).unwrap(), [7; 300_000]);
    drop(strangers);
    for server in cluster.chunks.iter().chain([&cluster.master]) {
        let used = server.process.status_number("VmHWM:");
        assert!(used < SERVER_MEMORY_MAX, "{} took {used} KiB", server.url);
    }
}

/// Threads that make the large tree; each makes directories of its own.
const MAKERS: usize = 4;
const DIRS_EACH: usize = 50;
const FILES_PER_DIR: usize = 500;

/// Of so many files one has contents.
const FULL_ONE_IN: usize = 50;

/// Makes a part of the large tree.
fn make_files(root: &Path, maker: usize) {
    for dir in 0..DIRS_EACH {
        let dir = root.join(format!("{maker}-{dir}"));
        fs::create_dir(&dir).unwrap();
        for number in 0..FILES_PER_DIR {
            let mut file = File::create_new(dir.join(format!("file {number}"))).unwrap();
            if number % FULL_ONE_IN == 0 {
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
    fs::create_dir(&tree).unwrap();
    thread::scope(|scope| {
        for maker in 0..MAKERS {
            let tree = &tree;
            scope.spawn(move || make_files(tree, maker));
        }
    });
    let files = MAKERS * DIRS_EACH * FILES_PER_DIR;
    for mount in [&mount, &other] {
        let count = |lines: &str| script(mount.root(), &format!("{lines} | wc -l"));
        assert_eq!(count("find tree -type f"), format!("{files}\n"));
        let empty = files - files / FULL_ONE_IN;
        assert_eq!(count("find tree -type f -size 0 -links 1"), format!("{empty}\n"));
        assert_eq!(count("ls -lR tree | grep ' file '"), format!("{files}\n"));
    }
    script(other.root(), "ls -d tree/* | xargs -P 4 -n 25 rm -r; rmdir tree");
    wait_until("the tree is gone on the other mount, too", SOON, || !tree.exists());
    for mount in [&mount, &other] {
        let used = mount.process().status_number("VmHWM:");
        assert!(used < MOUNT_MEMORY_MAX, "a mount took {used} KiB");
    }
    let used = cluster.master.process.status_number("VmHWM:");
    assert!(used < SERVER_MEMORY_MAX, "the master took {used} KiB");
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
