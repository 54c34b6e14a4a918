//! Test E of the homework's report: whoever listens to the network sees neither key nor value nor
//! method. The same listener does see all three when the same call goes over plain HTTP.
//!
//! Listening takes tcpdump and the right to capture (root has it).

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use common::cluster::{Cluster, Kind};
use common::mount::Mount;
use common::python::Python;
use common::{SOON, keys, wait_until};
use tempfile::TempDir;

const KEY: &str = "/the-name-of-a-secret";
const VALUE: &str = "what nobody else may know";
const FILE: &str = "a-file-of-which-nobody-knows";
const METHOD: &str = "<methodName>put</methodName>";
const MARK: &str = "this packet is the last one";

/// Everything that goes over the loopback interface from or to some ports.
struct Capture {
    tcpdump: Child,
    file: PathBuf,
    mark: TcpListener,
    _dir: TempDir,
}

impl Capture {
    fn start(ports: &[u16]) -> Self {
        let dir = tempfile::tempdir().expect("there is a place for temporary directories");
        let (file, messages) = (dir.path().join("packets"), dir.path().join("messages"));
        let create = |path| fs::File::create(path).expect("a temporary directory takes files");
        let mark = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let marked = mark.local_addr().expect("it has an address").port();
        let filter: Vec<_> = ports.iter().chain([&marked]).map(|p| format!("port {p}")).collect();
        let tcpdump = Command::new("tcpdump")
            .args(["-i", "lo", "-U", "-s", "0", "-w", "-", &filter.join(" or ")])
            .stdin(Stdio::null())
            .stdout(create(&file))
            .stderr(create(&messages))
            .spawn()
            .expect("tcpdump is installed");
        let mut capture = Self { tcpdump, file, mark, _dir: dir };
        wait_until("tcpdump listens", SOON, || {
            let said = fs::read_to_string(&messages).unwrap_or_default();
            let ended = capture.tcpdump.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "tcpdump cannot capture here; it takes root: {said}");
            said.contains("listening on")
        });
        capture
    }

    /// The packets up to now.
    fn packets(&self) -> Vec<u8> {
        let address = self.mark.local_addr().expect("it has an address");
        let mut marker = TcpStream::connect(address).expect("the mark's listener listens");
        marker.write_all(MARK.as_bytes()).expect("the mark is sent");
        let read = || fs::read(&self.file).expect("tcpdump's file can be read");
        wait_until("the last packet is captured", SOON, || shows(&read(), MARK));
        read()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        drop(self.tcpdump.kill());
        drop(self.tcpdump.wait());
    }
}

fn shows(packets: &[u8], text: &str) -> bool {
    packets.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The call, by a program of five lines; `trust` is what it knows of certificates.
fn call(url: &str, trust: &str) {
    Python::three().evaluate(&format!(
        "import ssl, xmlrpc.client\n\
         server = xmlrpc.client.ServerProxy({url:?}{trust})\n\
         server.put({KEY:?}, {VALUE:?}, 60)\n"
    ));
}

/// Answers one call over plain HTTP.
fn answer_one(listener: &TcpListener) {
    let (mut peer, _) = listener.accept().expect("somebody calls");
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    while !shows(&request, "</methodCall>") {
        let length = peer.read(&mut buffer).expect("the request can be read");
        assert_ne!(length, 0, "the request breaks off");
        request.extend_from_slice(&buffer[..length]);
    }
    let body = "<?xml version='1.0'?><methodResponse><params><param><value><boolean>1</boolean>\
                </value></param></params></methodResponse>";
    let head = "HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\nContent-Length:";
    let answer = format!("{head} {}\r\n\r\n{body}", body.len());
    peer.write_all(answer.as_bytes()).expect("the answer can be sent");
}

#[test]
fn test_e_a_capture_shows_neither_key_nor_value_nor_method() {
    let cluster = Cluster::start(&Kind::Rust, 1);
    let capture = Capture::start(&[cluster.master.port(), cluster.chunks[0].port()]);
    let certificate = keys().certificate.display().to_string();
    let trust = format!(", context=ssl.create_default_context(cafile={certificate:?})");
    for url in [&cluster.master.url, &cluster.chunks[0].url] {
        call(url, &trust);
    }
    let mount = Mount::ours(&cluster, &[]);
    fs::write(mount.path(FILE), VALUE).expect("the mount takes a file");
    mount.unmount();

    let packets = capture.packets();
    // A handshake of TLS, which names the server in clear, was seen: so the capture saw the calls.
    assert!(shows(&packets, "localhost"), "nothing was captured");
    for secret in [KEY, FILE, VALUE, METHOD, "methodName", "base64"] {
        assert!(!shows(&packets, secret), "the capture shows {secret:?}");
    }
}

#[test]
fn the_same_call_over_plain_http_would_show_all_three() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let port = listener.local_addr().expect("it has an address").port();
    let capture = Capture::start(&[port]);
    thread::scope(|scope| {
        scope.spawn(|| answer_one(&listener));
        call(&format!("http://127.0.0.1:{port}"), "");
    });
    let packets = capture.packets();
    for visible in [KEY, VALUE, METHOD] {
        assert!(shows(&packets, visible), "the capture does not show {visible:?}");
    }
}
