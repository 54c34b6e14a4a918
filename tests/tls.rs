//! Keys and certificates: what is accepted, and what is said about what is not.

mod rpc_support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use htfs::rpc::tls::{Identity, Trust};
use htfs::rpc::{CallError, RpcClient, Value};
use rpc_support::{Echo, Keys, TestServer};

/// A directory in which openssl makes things.
struct Workshop {
    directory: tempfile::TempDir,
}

impl Workshop {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs openssl in the directory.
    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(self.directory.path())
            .output()
            .expect("openssl");
        assert!(output.status.success(), "openssl {arguments}: {output:?}");
    }

    /// A self-signed certificate for the key in `key.pem`.
    fn certificate(&self, name: &str, more: &str) {
        let mut command = format!("req -new -x509 -key key.pem -out {name} -subj /CN=test");
        if !more.is_empty() {
            command = format!("{command} {more}");
        }
        self.openssl(&command);
    }

    fn load(&self, certificate: &str, key: &str) -> Result<Identity, String> {
        Identity::load(&self.path(certificate), &self.path(key)).map_err(|error| error.to_string())
    }
}

fn generate(arguments: &[&str], directory: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("openssl-gen.sh");
    Command::new(script).args(arguments).current_dir(directory).output().expect("bash")
}

async fn call(server: &TestServer, trusted: &Path, host: &str) -> Result<Value, CallError> {
    let client =
        RpcClient::new(Trust::load(trusted).expect("a certificate"), Duration::from_secs(60));
    let url = format!("https://{host}:{}", server.port);
    client.call(&url, Echo(Value::Integer(1))).await.map(|answer| answer.0)
}

fn reason(outcome: Result<Value, CallError>) -> String {
    match outcome {
        Err(CallError::Unreachable { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_generated_pair_serves_every_name_of_this_host() {
    let server = TestServer::start().await;
    for host in ["localhost", "127.0.0.1"] {
        assert_eq!(
            call(&server, &server.keys.certificate(), host).await.unwrap(),
            Value::Integer(1)
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn the_pair_of_two_plain_commands_works() {
    let workshop = Workshop::new();
    workshop.openssl("genrsa -out privkey.pem 2048");
    workshop.openssl("req -new -x509 -key privkey.pem -out cacert.pem -days 1095 -subj /CN=me");
    let server = TestServer::start_with_keys(Keys::from(workshop.directory)).await;
    let trusted = server.keys.certificate();
    assert_eq!(call(&server, &trusted, "localhost").await.unwrap(), Value::Integer(1));
    server.stop().await;
}

#[tokio::test]
async fn a_certificate_may_be_issued_by_a_trusted_one() {
    let workshop = Workshop::new();
    workshop.openssl("genrsa -out key.pem 2048");
    workshop.certificate("ca.pem", "");
    workshop.openssl("genrsa -out privkey.pem 2048");
    workshop.openssl("req -new -key privkey.pem -out request.pem -subj /CN=server");
    fs::write(workshop.path("names"), "subjectAltName = DNS:localhost\n").unwrap();
    workshop.openssl(
        "x509 -req -in request.pem -CA ca.pem -CAkey key.pem -CAcreateserial -days 9 \
         -extfile names -out cacert.pem",
    );
    let trusted = workshop.path("ca.pem");
    let server = TestServer::start_with_keys(Keys::from(workshop.directory)).await;
    assert_eq!(call(&server, &trusted, "localhost").await.unwrap(), Value::Integer(1));
    let reason = reason(call(&server, &trusted, "127.0.0.1").await);
    assert!(reason.contains("another name"), "{reason}");
    server.stop().await;
}

#[tokio::test]
async fn a_strange_certificate_is_refused() {
    let server = TestServer::start().await;
    let others = Keys::generate();
    let reason = reason(call(&server, &others.certificate(), "localhost").await);
    assert!(reason.contains("not the one in") && reason.contains("copy"), "{reason}");
    server.stop().await;
}

#[test]
fn keys_are_read_in_every_form() {
    let workshop = Workshop::new();
    workshop.openssl("genrsa -out key.pem 2048");
    workshop.certificate("cert.pem", "-days 9");
    workshop.openssl("rsa -in key.pem -out pkcs1.pem -traditional");
    workshop.openssl("pkcs8 -topk8 -nocrypt -in key.pem -out pkcs8.pem");
    for (key, first) in [("pkcs1.pem", "BEGIN RSA PRIVATE KEY"), ("pkcs8.pem", "BEGIN PRIVATE KEY")]
    {
        assert!(fs::read_to_string(workshop.path(key)).unwrap().contains(first), "{key}");
        workshop.load("cert.pem", key).unwrap();
    }
    workshop.openssl("ecparam -name prime256v1 -genkey -noout -out key.pem");
    assert!(fs::read_to_string(workshop.path("key.pem")).unwrap().contains("BEGIN EC PRIVATE KEY"));
    workshop.certificate("ec.pem", "-days 9");
    workshop.load("ec.pem", "key.pem").unwrap();
}

#[test]
fn every_bad_file_gets_one_line_that_says_what_to_do() {
    let workshop = Workshop::new();
    workshop.openssl("genrsa -out key.pem 2048");
    workshop.certificate("cert.pem", "-days 9");
    workshop.openssl("genrsa -out other.pem 2048");
    workshop.openssl("rsa -in key.pem -aes128 -passout pass:abcd -traditional -out locked1.pem");
    workshop.openssl("pkcs8 -topk8 -in key.pem -passout pass:abcd -out locked8.pem");
    fs::write(workshop.path("empty.pem"), "").unwrap();
    fs::write(
        workshop.path("damaged.pem"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    fs::write(workshop.path("cut.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
    let bad = [
        ("none.pem", "key.pem", "none.pem", "openssl-gen.sh"),
        ("cert.pem", "none.pem", "none.pem", "openssl-gen.sh"),
        ("empty.pem", "key.pem", "no certificate", "cacert.pem"),
        ("key.pem", "key.pem", "no certificate", "cacert.pem"),
        ("cert.pem", "empty.pem", "no private key", "privkey.pem"),
        ("cert.pem", "cert.pem", "no private key", "privkey.pem"),
        ("cert.pem", "other.pem", "does not belong", "--force"),
        ("cert.pem", "locked1.pem", "encrypted", "openssl pkey"),
        ("cert.pem", "locked8.pem", "encrypted", "openssl pkey"),
        ("damaged.pem", "key.pem", "damaged", "openssl-gen.sh"),
        ("cut.pem", "key.pem", "cut.pem", "openssl-gen.sh"),
    ];
    for (certificate, key, what, remedy) in bad {
        let error = workshop.load(certificate, key).unwrap_err();
        assert!(error.contains(what) && error.contains(remedy), "{certificate}, {key}: {error}");
        assert!(!error.contains('\n'), "{error:?}");
    }
    for certificate in ["none.pem", "empty.pem", "damaged.pem"] {
        let error = Trust::load(&workshop.path(certificate)).unwrap_err().to_string();
        // Who only trusts is not to make any, but to copy it.
        assert!(error.contains("cacert.pem") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn a_certificate_out_of_its_time_is_refused() {
    let workshop = Workshop::new();
    workshop.openssl("genrsa -out key.pem 2048");
    // `x509 -days` with a negative number is the one way to an old certificate that every
    // version of openssl has.
    workshop.openssl("req -new -key key.pem -out request.pem -subj /CN=test");
    workshop.openssl("x509 -req -in request.pem -signkey key.pem -days -1 -out old.pem");
    let error = workshop.load("old.pem", "key.pem").unwrap_err();
    assert!(error.contains("expired on") && error.contains("--force"), "{error}");
    let error = Trust::load(&workshop.path("old.pem")).unwrap_err().to_string();
    assert!(error.contains("expired on"), "{error}");
    // Beside a good one it does no harm.
    workshop.certificate("good.pem", "-days 9");
    let both = ["old.pem", "good.pem"].map(|name| fs::read_to_string(workshop.path(name)).unwrap());
    fs::write(workshop.path("both.pem"), both.concat()).unwrap();
    Trust::load(&workshop.path("both.pem")).unwrap();
}

#[test]
fn the_script_makes_a_pair_once() {
    let workshop = Workshop::new();
    let output = generate(&["a.example", "10.1.2.3", "fe80::7"], workshop.directory.path());
    assert!(output.status.success(), "{output:?}");
    let (key, certificate) = (workshop.path("keys/privkey.pem"), workshop.path("keys/cacert.pem"));
    Identity::load(&certificate, &key).unwrap();
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        fs::read_dir(workshop.path("keys")).unwrap().count(),
        2,
        "something was left behind"
    );
    let text = Command::new("openssl")
        .args(["x509", "-noout", "-text", "-in"])
        .arg(&certificate)
        .output()
        .unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    for name in ["DNS:localhost", "IP Address:127.0.0.1", "DNS:a.example", "IP Address:10.1.2.3"] {
        assert!(text.contains(name), "{name}: {text}");
    }

    let before = fs::read(&key).unwrap();
    let output = generate(&[], workshop.directory.path());
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && message.contains("--force"), "{message}");
    assert_eq!(fs::read(&key).unwrap(), before);
    assert!(generate(&["--force"], workshop.directory.path()).status.success());
    assert_ne!(fs::read(&key).unwrap(), before);
    Identity::load(&certificate, &key).unwrap();
}

#[test]
fn the_script_refuses_what_it_does_not_understand() {
    let workshop = Workshop::new();
    for name in ["a b", "", "-x", "1.2.3.999", "::g", "a,b", "a\nb", "$(id)", "DNS:a", "-"] {
        let output = generate(&["--dir", "keys", name], workshop.directory.path());
        assert!(!output.status.success(), "{name:?}");
        let made = fs::read_dir(workshop.path("keys")).map_or(0, Iterator::count);
        assert_eq!(made, 0, "{name:?}");
    }
    let help = generate(&["--help"], workshop.directory.path());
    assert!(help.status.success());
    assert!(String::from_utf8(help.stdout).unwrap().contains("--force"));
}
