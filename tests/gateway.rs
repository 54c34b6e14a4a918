//! One tree for native mounts and classic clients: each of the four dialects against a native mount,
//! in both directions.

mod common;

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use common::classic::{Classic, DIALECTS, LONG_S};
use common::cluster::{Cluster, Kind};
use common::mount::Mount;
use common::rpc::{Rpc, text_value};
use common::{SOON, wait_until};
use htfs::error::{ErrorKind, FsError};
use htfs::limits::CHUNK_SIZE;
use htfs::pickle::{Attributes, Value};
use htfs::proto::classic::Dialect;
use htfs::proto::form::{Form, Layout};
use htfs::proto::path_list::{ListForm, PathList};
use htfs::rpc::CallError;
use htfs::types::{ServerUrl, StoredValue};

const FILE: u32 = libc::S_IFREG | 0o644;

fn mount(cluster: &Cluster) -> Mount {
    Mount::ours(cluster, &[])
}

fn kind<T: std::fmt::Debug>(answer: Result<T, CallError>) -> ErrorKind {
    FsError::from(answer.expect_err("it must fail")).kind()
}

fn read(mount: &Mount, name: &str) -> Option<Vec<u8>> {
    match fs::read(mount.path(name)) {
        Ok(contents) => Some(contents),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("{name}: {error}"),
    }
}

/// Waits until a mount has heard of a change.
fn wait_for(mount: &Mount, name: &str, contents: Option<&[u8]>) {
    wait_until(name, SOON, || read(mount, name).as_deref() == contents);
}

fn specimens() -> Vec<(&'static str, Vec<u8>)> {
    let all_bytes: Vec<u8> = (0..=255).collect();
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    });
    vec![
        ("text", b"hello\n".to_vec()),
        ("bytes", all_bytes),
        ("empty", Vec::new()),
        ("5 MB", noise.take(5_000_000).collect()),
        ("a name with spaces", b" <spaces> & ]]> \n ".to_vec()),
        ("gr\u{f6}\u{df}e \u{20ac} \u{1f600}.txt", "gr\u{f6}\u{df}e\n".into()),
        ("returns", b"one\r\ntwo\rthree\n".to_vec()),
        ("like a pickle", b"S'hello'\np0\n.".to_vec()),
    ]
}

#[test]
fn files_go_both_ways_in_all_dialects() {
    let cluster = Cluster::start(&Kind::Rust, 2);
    let mount = mount(&cluster);
    for (number, form) in DIALECTS.into_iter().enumerate() {
        let classic = Classic::new(&cluster.master.url, form);
        for (name, contents) in specimens() {
            // From the classic client, overwritten natively.
            let own = format!("classic {number} {name}");
            let path = format!("/{own}");
            classic.write(&path, &contents).expect("put");
            wait_for(&mount, &own, Some(&contents));
            let metadata = fs::metadata(mount.path(&own)).expect("it is there");
            assert_eq!((metadata.len(), metadata.mode()), (contents.len() as u64, FILE), "{own}");
            assert_eq!(classic.read(&path).expect("get").expect("it is there"), contents);
            fs::write(mount.path(&own), b"native").expect("it can be written");
            assert_eq!(classic.read(&path).expect("get").expect("it is there"), "native");
            assert_eq!(classic.stat(&path).expect("get").expect("it is there").0.size, 6);

            // From the mount, overwritten by the classic client.
            let own = format!("native {number} {name}");
            let path = format!("/{own}");
            fs::write(mount.path(&own), &contents).expect("it can be written");
            let seen = classic.read(&path).expect("get").expect("it is there");
            assert!(seen == contents, "{form:?} {name}: {} bytes", seen.len());
            classic.write(&path, b"classic\n").expect("put");
            wait_for(&mount, &own, Some(b"classic\n"));
        }
    }
}

#[test]
fn what_others_wrote_comes_in_the_form_that_a_client_knows() {
    let cluster = Cluster::start(&Kind::Rust, 2);
    let mount = mount(&cluster);
    let [string, _, _, binary] = DIALECTS.map(|form| Classic::new(&cluster.master.url, form));
    fs::write(mount.path("n"), b"x\xff").expect("it can be written");
    // Nobody has been seen: strings are raw, and what is binary is pickled.
    assert_eq!(string.read("/n").expect("get").expect("it is there"), &b"x\xff"[..]);
    assert_eq!(binary.read("/n").expect("get").expect("it is there"), &b"x\xff"[..]);
    string.write("/s", b"of strings").expect("put");
    binary.write("/b", b"of binary").expect("put");
    assert_eq!(string.read("/b").expect("get").expect("it is there"), "of binary");
    assert_eq!(binary.read("/s").expect("get").expect("it is there"), "of strings");
    // Clients of the dialect are seen to do otherwise.
    let raw = Classic::new(&cluster.master.url, Form { layout: Layout::Raw, ..DIALECTS[3] });
    raw.write("/r", b"raw").expect("put");
    assert_eq!(raw.read("/n").expect("get").expect("it is there"), &b"x\xff"[..]);
    assert_eq!(binary.read("/b").expect("get").expect("it is there"), "of binary");
}

#[test]
fn the_root_is_absent_until_a_classic_client_puts_it() {
    let cluster = Cluster::start(&Kind::Rust, 1);
    let mount = mount(&cluster);
    fs::write(mount.path("before"), b"1").expect("it can be written");
    let classic = Classic::new(&cluster.master.url, DIALECTS[0]);
    assert_eq!(classic.stat("/").expect("get"), None);
    assert_eq!(classic.read("/before").expect("get").expect("it is there"), "1");
    classic.mkdir("/").expect("put");
    let (root, _) = classic.stat("/").expect("get").expect("it is there");
    assert_eq!(root.mode & libc::S_IFMT, libc::S_IFDIR);
    assert_eq!(classic.list("/").expect("get"), ["/", "/before"]);
    fs::write(mount.path("later"), b"2").expect("it can be written");
    assert_eq!(classic.list("/").expect("get"), ["/", "/before", "/later"]);
    // A list that a client stores takes nobody's name away.
    classic.mkdir("/").expect("put");
    assert_eq!(classic.list("/").expect("get"), ["/", "/before", "/later"]);
    // The root goes for classic clients only.
    classic.delete("/").expect("put");
    assert_eq!(classic.stat("/").expect("get"), None);
    assert_eq!(read(&mount, "later").expect("it is there"), b"2");
}

#[test]
fn directories_links_and_attributes_go_both_ways() {
    let cluster = Cluster::start(&Kind::Rust, 2);
    let mount = mount(&cluster);
    for (number, form) in DIALECTS.into_iter().enumerate() {
        let classic = Classic::new(&cluster.master.url, form);
        let (dir, path) = (format!("d{number}"), format!("/d{number}"));
        classic.mkdir(&path).expect("put");
        wait_until("the directory is there", SOON, || mount.path(&dir).is_dir());
        fs::create_dir(mount.path(&dir).join("below")).expect("mkdir");
        let file = format!("{path}/below/f");
        classic.write(&file, b"deep").expect("put");
        wait_for(&mount, &file[1..], Some(b"deep"));
        assert_eq!(classic.list(&path).expect("get"), [format!("{path}/below")]);
        assert_eq!(
            classic.list(&format!("{path}/below")).expect("get"),
            std::slice::from_ref(&file)
        );
        let (attributes, _) = classic.stat(&path).expect("get").expect("it is there");
        assert_eq!((attributes.size, attributes.nlink), (0, 3));

        // A directory with files in it is not deleted.
        assert_eq!(kind(classic.delete(&path)), ErrorKind::NotEmpty);

        symlink("below/f", mount.path(&dir).join("native")).expect("symlink");
        let target = classic.read(&format!("{path}/native")).expect("get").expect("it is there");
        assert_eq!(target, "below/f");
        let link = format!("{path}/classic");
        classic.put(&link, libc::S_IFLNK | 0o777, b"below/f", LONG_S).expect("put");
        wait_until("the link is there", SOON, || {
            fs::read_link(mount.path(&link[1..])).is_ok_and(|to| to == Path::new("below/f"))
        });
        assert_eq!(fs::read(mount.path(&link[1..])).expect("read"), b"deep");

        attributes_go_both_ways(&classic, &mount, &file);
        classic.delete(&file).expect("put");
        wait_for(&mount, &file[1..], None);
        fs::remove_dir(mount.path(&dir).join("below")).expect("rmdir");
        assert_eq!(classic.stat(&format!("{path}/below")).expect("get"), None);
    }
}

fn attributes_go_both_ways(classic: &Classic, mount: &Mount, path: &str) {
    let own = mount.path(&path[1..]);
    fs::set_permissions(&own, fs::Permissions::from_mode(0o4711)).expect("chmod");
    let (seen, _) = classic.stat(path).expect("get").expect("it is there");
    assert_eq!(seen.mode, libc::S_IFREG | 0o4711);
    let mut changed = Attributes {
        mode: libc::S_IFREG | 0o600,
        uid: Some(12),
        gid: Some(34),
        mtime_s: 1_000_000_000.25,
        ..seen
    };
    changed.set_xattr(b"user.native", "kept".into());
    changed.set_xattr(b"strange", "noted".into());
    changed.others.push((htfs::pickle::Value::str("colour"), htfs::pickle::Value::Int(7)));
    classic.put_dict(path, &changed, LONG_S).expect("put");
    wait_until("the attributes are there", SOON, || {
        let metadata = fs::metadata(&own).expect("it is there");
        metadata.mode() == libc::S_IFREG | 0o600 && metadata.mtime() == 1_000_000_000
    });
    let metadata = fs::metadata(&own).expect("it is there");
    assert_eq!((metadata.uid(), metadata.gid()), (12, 34));
    assert_eq!(metadata.mtime_nsec(), 250_000_000);
    assert_eq!(fs::read(&own).expect("read"), b"deep", "contents stay");
    let (seen, _) = classic.stat(path).expect("get").expect("it is there");
    assert_eq!(seen.xattr(b"user.native").expect("it is there"), "kept");
    assert_eq!(seen.xattr(b"strange").expect("it is there"), "noted");
    assert_eq!(seen.others, changed.others);
    assert_eq!(seen.mtime_s.to_bits(), changed.mtime_s.to_bits());
}

#[test]
fn names_move_natively_and_classically() {
    let cluster = Cluster::start(&Kind::Rust, 2);
    let mount = mount(&cluster);
    let classic = Classic::new(&cluster.master.url, DIALECTS[3]);
    classic.write("/a", b"contents").expect("put");
    wait_for(&mount, "a", Some(b"contents"));
    fs::rename(mount.path("a"), mount.path("b")).expect("rename");
    assert_eq!(classic.stat("/a").expect("get"), None);
    assert_eq!(classic.read("/b").expect("get").expect("it is there"), "contents");
    // A path that is free again is another file's.
    classic.write("/a", b"another").expect("put");
    assert_eq!(classic.read("/b").expect("get").expect("it is there"), "contents");
    wait_for(&mount, "a", Some(b"another"));

    // Classic clients put under the new path and delete the old one, in either order.
    classic.write("/c", b"contents").expect("put");
    classic.delete("/b").expect("delete");
    classic.delete("/a").expect("delete");
    classic.write("/d", b"another").expect("put");
    wait_for(&mount, "c", Some(b"contents"));
    wait_for(&mount, "d", Some(b"another"));
    assert_eq!((read(&mount, "a"), read(&mount, "b")), (None, None));
    let names = || fs::read_dir(mount.root()).expect("readdir").count();
    wait_until("two are left", SOON, || names() == 2);
}

#[test]
fn a_native_file_of_more_than_a_chunk_is_one_value() {
    let cluster = Cluster::start(&Kind::Rust, 2);
    let mount = mount(&cluster);
    let classic = Classic::new(&cluster.master.url, DIALECTS[2]);
    classic.write("/seen", b"raw").expect("put");
    let mut file = fs::File::create(mount.path("large")).expect("create");
    file.write_all(b"first").expect("write");
    file.seek(SeekFrom::Start(CHUNK_SIZE - 3)).expect("seek");
    file.write_all(b"across").expect("write");
    drop(file);
    let contents = classic.read("/large").expect("get").expect("it is there");
    assert_eq!(contents.len() as u64, CHUNK_SIZE + 3);
    assert_eq!(&contents[..5], b"first");
    assert!(contents[5..contents.len() - 6].iter().all(|byte| *byte == 0));
    assert!(contents.ends_with(b"across"));

    // Back it comes in two chunks.
    classic.write("/back", &contents).expect("put");
    wait_until("it is there", SOON, || fs::metadata(mount.path("back")).is_ok());
    let mut back = Vec::new();
    fs::File::open(mount.path("back")).expect("open").read_to_end(&mut back).expect("read");
    assert!(back == contents);

    // What does not fit in one value is a fault that says so.
    let file = fs::File::create(mount.path("huge")).expect("create");
    file.set_len(1 << 40).expect("truncate");
    assert_eq!(classic.stat("/huge").expect("get").expect("it is there").0.size, 1 << 40);
    assert_eq!(kind(classic.read("/huge")), ErrorKind::FileTooLarge);
}

#[test]
fn what_is_open_stays_readable_when_classic_clients_delete_it() {
    let cluster = Cluster::start(&Kind::Rust, 1);
    let mount = mount(&cluster);
    let classic = Classic::new(&cluster.master.url, DIALECTS[0]);
    classic.write("/f", b"still here").expect("put");
    wait_for(&mount, "f", Some(b"still here"));
    let mut open = fs::File::open(mount.path("f")).expect("open");
    classic.delete("/f").expect("delete");
    wait_for(&mount, "f", None);
    let mut text = String::new();
    open.read_to_string(&mut text).expect("an orphan can be read");
    assert_eq!(text, "still here");
}

#[test]
fn files_expire_unless_they_are_written_natively() {
    let cluster = Cluster::start(&Kind::Rust, 1);
    let mount = mount(&cluster);
    let classic = Classic::new(&cluster.master.url, DIALECTS[0]);
    classic.put("/brief", FILE, b"1", 2).expect("put");
    classic.put("/written", FILE, b"1", 2).expect("put");
    classic.put("/renamed", FILE, b"1", 2).expect("put");
    let (_, left_s) = classic.stat("/brief").expect("get").expect("it is there");
    assert!(left_s <= 2, "{left_s}");
    wait_for(&mount, "written", Some(b"1"));
    fs::write(mount.path("written"), b"2").expect("it can be written");
    fs::rename(mount.path("renamed"), mount.path("kept")).expect("rename");
    // Only attributes of a native file: that is no wish that it should go.
    fs::write(mount.path("native"), b"3").expect("it can be written");
    let (attributes, _) = classic.stat("/native").expect("get").expect("it is there");
    classic.put_dict("/native", &attributes, 1).expect("put");

    wait_until("it expires", SOON, || classic.stat("/brief").expect("get").is_none());
    wait_for(&mount, "brief", None);
    assert_eq!(read(&mount, "written").expect("it is there"), b"2");
    assert_eq!(read(&mount, "kept").expect("it is there"), b"1");
    let (_, left_s) = classic.stat("/written").expect("get").expect("it is there");
    assert!(left_s > 1_000_000, "{left_s}");
    assert!(classic.stat("/native").expect("get").is_some());
}

#[test]
fn strange_keys_and_values_are_the_plain_tables() {
    let cluster = Cluster::start(&Kind::Rust, 1);
    let mount = mount(&cluster);
    let (rpc, master) = (Rpc::new(), &cluster.master.url);
    let long = format!("/{}", "x".repeat(256));
    for key in ["k", "//", "/a/", "/../etc", "/.", "/a//b", "/a\nb/", &long, "/no/such/dir"] {
        rpc.put(master, key, Some("any value")).expect("put");
        assert_eq!(rpc.get(master, key).expect("get"), Some(text_value("any value")), "{key:?}");
    }
    // A path may have any value, unless there is a file.
    rpc.put(master, "/plain", Some("no dict")).expect("put");
    assert_eq!(rpc.get(master, "/plain").expect("get"), Some(text_value("no dict")));
    assert_eq!(fs::read_dir(mount.root()).expect("readdir").count(), 0);
    rpc.put(master, "/plain", None).expect("delete");
    let classic = Classic::new(master, DIALECTS[0]);
    classic.write("/plain", b"a file").expect("put");
    wait_for(&mount, "plain", Some(b"a file"));
    assert_eq!(kind(rpc.put(master, "/plain", Some("no dict"))), ErrorKind::Exists);
    assert_eq!(classic.read("/plain").expect("get").expect("it is there"), "a file");
}

#[test]
fn wild_dicts_harm_nobody() {
    let cluster = Cluster::start(&Kind::Rust, 1);
    let mount = mount(&cluster);
    let classic = Classic::new(&cluster.master.url, DIALECTS[0]);
    classic.write("/f", b"good").expect("put");
    let (good, _) = classic.stat("/f").expect("get").expect("it is there");
    let own = good.contents.clone().expect("it names a server");
    let stranger = ServerUrl::new("https://localhost:1").expect("a URL");
    let wild = |size, server: &ServerUrl| Attributes {
        size,
        contents: Some(server.clone()),
        ..good.clone()
    };
    // A size that nobody staged, for a file that is there: it stays.
    classic.put_dict("/f", &wild(u64::MAX >> 1, &own), LONG_S).expect("put");
    classic.put_dict("/f", &wild(5, &own), LONG_S).expect("put");
    assert_eq!(kind(classic.put_dict("/f", &wild(5, &stranger), LONG_S)), ErrorKind::UnknownServer);
    assert_eq!(classic.read("/f").expect("get").expect("it is there"), "good");
    assert_eq!(classic.stat("/f").expect("get").expect("it is there").0.size, 4);
    // For one that is not: the client gets back what it put, and mounts see nothing.
    for (path, dict) in [("/h", wild(u64::MAX >> 1, &own)), ("/s", wild(5, &stranger))] {
        classic.put_dict(path, &dict, LONG_S).expect("put");
        assert_eq!(classic.stat(path).expect("get").expect("it is there").0.size, dict.size);
        assert!(!mount.path(&path[1..]).exists());
        classic.delete(path).ok();
    }
    // A directory is no file, and a file no directory.
    classic.mkdir("/d").expect("put");
    assert_eq!(kind(classic.write("/d", b"file")), ErrorKind::IsDirectory);
    assert_eq!(kind(classic.mkdir("/f")), ErrorKind::NotDirectory);
    assert_eq!(kind(classic.write("/", b"file")), ErrorKind::IsDirectory);
    let device = libc::S_IFBLK | 0o600;
    assert_eq!(kind(classic.put("/dev", device, b"", LONG_S)), ErrorKind::NotPermitted);
    let times = Attributes { atime_s: f64::MAX, mtime_s: -1e300, ..good.clone() };
    classic.put_dict("/f", &times, LONG_S).expect("put");
    assert_eq!(classic.read("/f").expect("get").expect("it is there"), "good");
    assert_eq!(fs::read(mount.path("f")).expect("read"), b"good");
}

/// A pickle of protocol 0 of a dict in the shape of the first homework.
fn whole_file(mode: u32, size: usize, contents: &str) -> StoredValue {
    let text = format!("(dS'st_mode'\nI{mode}\nsS'st_size'\nI{size}\ns{contents}.");
    text_value(&text)
}

#[test]
fn a_dict_with_its_contents_in_it_comes_back_as_it_was_put() {
    let cluster = Cluster::start(&Kind::Rust, 1);
    let mount = mount(&cluster);
    let (rpc, master, chunk) = (Rpc::new(), &cluster.master.url, &cluster.chunks[0].url);
    fs::write(mount.path("z"), b"a native file").expect("it can be written");
    let classic = Classic::new(master, DIALECTS[0]);
    let text = |size: usize| format!("S'contents'\nS'{}'\ns", "x".repeat(size));
    let dicts = [
        ("/", whole_file(libc::S_IFDIR | 0o755, 0, "S'contents'\n(lS'/'\nas")),
        ("/z", whole_file(FILE, 0, &text(0))),
        ("/z", whole_file(FILE, 5, &text(5))),
        ("/z", whole_file(FILE, 2 << 20, &text(2 << 20))),
        ("/none", whole_file(FILE, 0, "")),
        ("/none", whole_file(FILE, 5, "")),
        ("/number", whole_file(FILE, 0, "S'contents'\nI7\ns")),
        ("/two", whole_file(FILE, 0, "S'contents'\n(lS'https://a:1'\naS'https://b:1'\nas")),
    ];
    for server in [master, chunk] {
        for (path, dict) in &dicts {
            rpc.put_value(server, path, dict.clone()).expect("put");
            assert_eq!(rpc.get(server, path).expect("get").as_ref(), Some(dict), "{path}");
        }
        assert_eq!(rpc.get(server, "/").expect("get").as_ref(), Some(&dicts[0].1));
    }
    // The tree has nothing of it, and the file of that name is as it was.
    assert_eq!(read(&mount, "z").expect("it is there"), b"a native file");
    assert_eq!(fs::read_dir(mount.root()).expect("readdir").count(), 1);
    for server in [master, chunk] {
        rpc.put(server, "/z", None).expect("delete");
    }
    assert_eq!(classic.read("/z").expect("get").expect("it is there"), "a native file");
    // A file at a server takes the place of what was kept as a whole.
    let server = ServerUrl::new(chunk.clone()).expect("a URL");
    rpc.put(chunk, "/number", Some("shared")).expect("put");
    classic.announce("/number", &server, 6).expect("changeSize");
    let contents = Some(server);
    let shared = Attributes { mode: FILE, size: 6, contents, ..Attributes::default() };
    classic.put_dict("/number", &shared, LONG_S).expect("put");
    wait_for(&mount, "number", Some(b"shared"));
    assert_eq!(classic.stat("/number").expect("get").expect("it is there").0.size, 6);
    // Without a word about contents, it is the attributes of a file that is there.
    rpc.put_value(master, "/z", whole_file(libc::S_IFREG | 0o600, 13, "")).expect("put");
    wait_until("its mode has changed", SOON, || {
        fs::metadata(mount.path("z")).expect("stat").mode() == libc::S_IFREG | 0o600
    });
}

#[test]
fn the_mode_of_the_root_is_that_of_its_dict() {
    let cluster = Cluster::start(&Kind::Rust, 1);
    let mount = mount(&cluster);
    let classic = Classic::new(&cluster.master.url, DIALECTS[0]);
    classic.put("/", libc::S_IFDIR | 0o711, b"", LONG_S).expect("put");
    let (attributes, _) = classic.stat("/").expect("get").expect("it is there");
    assert_eq!(attributes.mode, libc::S_IFDIR | 0o711);
    wait_until("the mount has heard of it", SOON, || {
        fs::metadata(mount.root()).expect("stat").mode() == libc::S_IFDIR | 0o711
    });
}

#[test]
fn a_list_comes_back_in_the_form_in_which_it_was_put() {
    let cluster = Cluster::start(&Kind::Rust, 2);
    let mount = mount(&cluster);
    let [string, _, _, binary] = DIALECTS.map(|form| Classic::new(&cluster.master.url, form));
    let list = |form| PathList { entries: vec![Value::str("/")], form };
    let write = |form, dialect| list(form).write(dialect).expect("it has a form");
    let read = |classic: &Classic, path: &str| {
        let value = classic.value(path).expect("get").expect("it is there");
        PathList::read(&value).unwrap_or_else(|| panic!("no list: {value:?}"))
    };
    // A client with arrays and one with pickles have the same directory.
    string.put_list("/", write(ListForm::Strings, Dialect::String)).expect("put");
    binary.put_list("/", write(ListForm::Tuple, Dialect::Binary)).expect("put");
    fs::write(mount.path("gr\u{fc}n"), b"x").expect("it can be written");
    fs::create_dir(mount.path("d")).expect("mkdir");
    for (classic, form) in [(&string, ListForm::Strings), (&binary, ListForm::Tuple)] {
        let found = read(classic, "/");
        let paths: Vec<_> = found.paths().collect();
        assert_eq!(
            (found.form, paths.as_slice()),
            (form, &["/", "/gr\u{fc}n", "/d"].map(Into::into)[..])
        );
        assert_eq!(read(classic, "/d").form, form, "as clients of the dialect were seen to do");
    }
    binary.put_list("/", write(ListForm::Binaries, Dialect::Binary)).expect("put");
    assert_eq!(read(&binary, "/").form, ListForm::Binaries);
    let empty = PathList { entries: Vec::new(), form: ListForm::Strings };
    binary.put_list("/d", empty.write(Dialect::Binary).expect("it has a form")).expect("put");
    fs::write(mount.path("d/f"), b"x").expect("it can be written");
    assert_eq!(read(&binary, "/d").form, ListForm::Binaries, "an empty array says nothing");
    assert_eq!(read(&string, "/").form, ListForm::Strings);
}

#[test]
fn a_list_of_all_depths_keeps_what_is_not_directly_in_the_directory() {
    let cluster = Cluster::start(&Kind::Rust, 1);
    let mount = mount(&cluster);
    let classic = Classic::new(&cluster.master.url, DIALECTS[3]);
    let put = |paths: &[&'static str]| {
        let entries = paths.iter().map(|path| Value::str(path)).collect();
        let list = PathList { entries, form: ListForm::List };
        let list = list.write(Dialect::Binary).expect("it has a form");
        classic.put_list("/", list).expect("put");
    };
    put(&["/"]);
    classic.mkdir("/d").expect("put");
    classic.write("/d/f", b"1").expect("put");
    classic.write("/d/g", b"1").expect("put");
    put(&["/", "/d", "/d/f", "/d/g", "/no/such"]);
    assert_eq!(classic.list("/").expect("get"), ["/", "/d", "/d/f", "/d/g", "/no/such"]);
    // In a rename the path goes first, in an unlink the name.
    classic.delete("/d/f").expect("delete");
    assert_eq!(classic.list("/").expect("get"), ["/", "/d", "/d/f", "/d/g", "/no/such"]);
    put(&["/", "/d", "/d/g"]);
    put(&["/", "/d"]);
    assert_eq!(
        classic.list("/").expect("get"),
        ["/", "/d", "/d/g"],
        "another client may not know it"
    );
    classic.delete("/d/g").expect("delete");
    assert_eq!(classic.list("/").expect("get"), ["/", "/d"]);
    assert_eq!(fs::read_dir(mount.root()).expect("readdir").count(), 1);
}
