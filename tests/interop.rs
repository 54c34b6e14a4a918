//! Interoperation with the homework's Python programs: every client reads what every other wrote,
//! at our servers and at the original's.

mod common;

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::cluster::{Cluster, Kind};
use common::mount::Mount;
use common::python::{Python, with_python_2};
use common::say;
use tempfile::TempDir;

/// How a client stores: `--dialect` and `--contents`.
#[derive(Clone, Copy, Debug)]
struct Style {
    dialect: &'static str,
    contents: &'static str,
}

impl Style {
    fn options(self) -> [&'static str; 4] {
        ["--dialect", self.dialect, "--contents", self.contents]
    }
}

/// A client of the matrix.
struct Client {
    /// Its name, which is in the names of the files it writes.
    name: String,
    access: Access,
}

enum Access {
    /// Through a mountpoint.
    Mount(Mount),
    /// Through `HtProxy`, without a mount; with the options that lead it to the servers.
    Proxy(Python, Vec<String>),
}

impl Client {
    fn ours(cluster: &Cluster, style: Style) -> Self {
        let mount = Mount::ours(cluster, &style.options());
        Self { name: format!("rust-mount-{}", style.dialect), access: Access::Mount(mount) }
    }

    /// A mount of the tree itself, which has no form.
    fn native(cluster: &Cluster) -> Self {
        let mount = Mount::ours(cluster, &[]);
        Self { name: "rust-mount-native".to_owned(), access: Access::Mount(mount) }
    }

    fn is_ours(&self) -> bool {
        self.name.starts_with("rust")
    }

    fn python_mount(python: &Python, cluster: &Cluster, style: Style) -> Self {
        let mount = Mount::python(python, cluster, &style.options());
        let name = format!("python{}-mount-{}", python.version, style.dialect);
        Self { name, access: Access::Mount(mount) }
    }

    fn proxy(python: &Python, cluster: &Cluster, style: Style) -> Self {
        let style_options = style.options().map(str::to_owned);
        let options = cluster.client_options().into_iter().chain(style_options).collect();
        let name = format!("python{}-proxy-{}", python.version, style.dialect);
        Self { name, access: Access::Proxy(python.clone(), options) }
    }

    /// Stores every file of a directory under a name with this client's own in front.
    fn write(&self, files: &Path) -> Result<(), String> {
        match &self.access {
            Access::Proxy(..) => self.step("write", &[&self.name], files).map(|_| ()),
            Access::Mount(mount) => for_each(files, |name, contents| {
                let path = mount.path(&format!("{}-{name}", self.name));
                fs::write(&path, contents).map_err(|error| error.to_string())
            }),
        }
    }

    /// Compares the files that each of the writers wrote.
    fn check(&self, writers: &[&str], files: &Path) -> Result<(), String> {
        let Access::Mount(mount) = &self.access else {
            return self.step("check", writers, files).map(|_| ());
        };
        let listed = names_in(mount.root())?;
        let check_one = |writer: &&str| {
            let check = |name: &str, contents| check_file(mount, &listed, writer, name, contents);
            for_each(files, check).err().map(|error| format!("of {writer}: {error}"))
        };
        let failures: Vec<String> = writers.iter().filter_map(check_one).collect();
        if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
    }

    /// Deletes the files that `writer` wrote.
    fn delete(&self, writer: &str, files: &Path) -> Result<(), String> {
        match &self.access {
            Access::Proxy(..) => self.step("delete", &[writer], files).map(|_| ()),
            Access::Mount(mount) => for_each(files, |name, _| {
                let path = mount.path(&format!("{writer}-{name}"));
                fs::remove_file(path).map_err(|error| error.to_string())
            }),
        }
    }

    /// The names in the root.
    fn list(&self) -> Result<Vec<String>, String> {
        let Access::Proxy(python, options) = &self.access else {
            let Access::Mount(mount) = &self.access else { return Ok(Vec::new()) };
            return names_in(mount.root());
        };
        let arguments: Vec<String> = [vec!["list".to_owned()], options.clone()].concat();
        let names = python.try_run("matrix_client.py", &arguments)?;
        Ok(names.lines().filter(|name| !matches!(*name, "." | "..")).map(str::to_owned).collect())
    }

    fn step(&self, step: &str, writers: &[&str], files: &Path) -> Result<String, String> {
        let Access::Proxy(python, options) = &self.access else {
            return Err("a mount takes no steps".to_owned());
        };
        let own = [step.to_owned(), files.display().to_string()].into_iter();
        let prefixes = writers.iter().map(|writer| format!("{writer}-"));
        let arguments: Vec<String> = own.chain(prefixes).chain(options.clone()).collect();
        python.try_run("matrix_client.py", &arguments)
    }
}

/// Compares one file that `writer` wrote, and its attributes.
fn check_file(
    mount: &Mount,
    listed: &[String],
    writer: &str,
    name: &str,
    contents: Vec<u8>,
) -> Result<(), String> {
    let name = format!("{writer}-{name}");
    let path = mount.path(&name);
    let metadata = fs::metadata(&path).map_err(|error| error.to_string())?;
    let back = fs::read(&path).map_err(|error| error.to_string())?;
    if !listed.contains(&name) {
        return Err("it is not listed".to_owned());
    }
    if !metadata.is_file() || metadata.len() != contents.len() as u64 {
        return Err(format!("its attributes are {metadata:?}"));
    }
    let start = &back[..back.len().min(60)];
    if back == contents { Ok(()) } else { Err(format!("{} bytes {start:?}", back.len())) }
}

/// Does something with the name and the contents of each file in a directory.
fn for_each(
    files: &Path,
    mut act: impl FnMut(&str, Vec<u8>) -> Result<(), String>,
) -> Result<(), String> {
    for name in names_in(files)? {
        let contents = fs::read(files.join(&name)).map_err(|error| error.to_string())?;
        act(&name, contents).map_err(|error| format!("{name:?}: {error}"))?;
    }
    Ok(())
}

fn names_in(dir: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(dir).map_err(|error| error.to_string())?;
    let names: Result<Vec<_>, _> =
        entries.map(|entry| entry.map(|entry| entry.file_name())).collect();
    let names = names.map_err(|error| error.to_string())?;
    let mut names: Vec<String> =
        names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// The files that every client writes.
fn specimens() -> TempDir {
    let dir = tempfile::tempdir().expect("there is a place for temporary directories");
    let all_bytes: Vec<u8> = (0..=255).collect();
    // A multiplicative congruential sequence, so that nothing on the way can compress or guess it.
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    });
    let five_megabytes: Vec<u8> = noise.take(5 << 20).collect();
    let files: [(&str, &[u8]); 9] = [
        ("text", b"hello\n"),
        ("bytes 0-255", &all_bytes),
        ("empty", b""),
        ("5 MB", &five_megabytes),
        ("a name with spaces", b" <spaces> around & ]]> between \n "),
        ("größe € 😀.txt", "größe € 😀\n".as_bytes()),
        ("lines of another world", b"one\r\ntwo\rthree\n\x0c"),
        ("latin-1", b"gr\xf6\xdfe\n"),
        ("like a pickle", b"S'hello'\np0\n."),
    ];
    for (name, contents) in files {
        fs::write(dir.path().join(name), contents).expect("a temporary directory takes files");
    }
    dir
}

/// Every client of this machine, storing contents in one form. Python mounts in one dialect each:
/// theirs is the same `HtProxy`.
fn clients(cluster: &Cluster, contents: &'static str) -> Vec<Client> {
    let [string, binary] = ["string", "binary"].map(|dialect| Style { dialect, contents });
    let mut clients = vec![Client::ours(cluster, string), Client::ours(cluster, binary)];
    for python in Python::all() {
        clients.push(Client::proxy(&python, cluster, string));
        clients.push(Client::proxy(&python, cluster, binary));
        let style = if (contents == "raw") == (python.version == 3) { string } else { binary };
        if python.has_fuse() {
            clients.push(Client::python_mount(&python, cluster, style));
        } else {
            say(&format!("NOTE: {python} has no fusepy here and takes part without a mount"));
        }
    }
    clients
}

/// The right to load one half of the machine: somebody waits for somebody else all the time here,
/// so there is room for two, one with each form of contents.
fn turn_of(contents: &str) -> MutexGuard<'static, ()> {
    static TURNS: [Mutex<()>; 2] = [const { Mutex::new(()) }; 2];
    TURNS[usize::from(contents == "raw")].lock().unwrap_or_else(PoisonError::into_inner)
}

/// One half of the matrix: all clients at one kind of servers with one form of contents.
fn matrix(kind: &Kind, contents: &'static str) {
    let _turn = turn_of(contents);
    let files = specimens();
    let cluster = Cluster::start(kind, 2);
    let mut clients = clients(&cluster, contents);
    if matches!(kind, Kind::Rust) {
        clients.push(Client::native(&cluster));
    }
    let mut failures = Vec::new();
    let mut note = |what: String, result: Result<(), String>| {
        println!("{} {what}", if result.is_ok() { "ok    " } else { "FAILED" });
        failures.extend(result.err().map(|error| format!("{what}: {error}")));
    };
    for client in &clients {
        note(format!("{} writes", client.name), client.write(files.path()));
    }
    for reader in &clients {
        // How the original's programs get on with each other is not our business.
        let matters =
            |writer: &&Client| matches!(kind, Kind::Rust) || reader.is_ours() || writer.is_ours();
        let writers: Vec<&str> =
            clients.iter().filter(matters).map(|client| client.name.as_str()).collect();
        let result = reader.check(&writers, files.path());
        note(format!("{} reads what {} wrote", reader.name, writers.join(", ")), result);
    }
    for (deleter, writer) in clients.iter().zip(clients.iter().cycle().skip(1)) {
        let result = deleter.delete(&writer.name, files.path());
        note(format!("{} deletes what {} wrote", deleter.name, writer.name), result);
    }
    for client in &clients {
        let result = client.list().and_then(|names| {
            if names.is_empty() { Ok(()) } else { Err(format!("left: {names:?}")) }
        });
        note(format!("{} sees nothing left", client.name), result);
    }
    assert!(failures.is_empty(), "at {kind}, contents {contents}:\n{}", failures.join("\n"));
}

#[test]
fn clients_read_each_other_at_our_servers_raw() {
    matrix(&Kind::Rust, "raw");
}

#[test]
fn clients_read_each_other_at_our_servers_pickled() {
    matrix(&Kind::Rust, "pickled");
}

#[test]
fn clients_read_each_other_at_servers_under_python_3_raw() {
    matrix(&Kind::Original(Python::three()), "raw");
}

#[test]
fn clients_read_each_other_at_servers_under_python_3_pickled() {
    matrix(&Kind::Original(Python::three()), "pickled");
}

#[test]
fn clients_read_each_other_at_servers_under_python_2_raw() {
    with_python_2(|python| matrix(&Kind::Original(python), "raw"));
}

#[test]
fn clients_read_each_other_at_servers_under_python_2_pickled() {
    with_python_2(|python| matrix(&Kind::Original(python), "pickled"));
}
