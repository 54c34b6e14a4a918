//! Memory over servers inside the process: what programs see, what is stored, and what it costs.

use bytes::Bytes;

use crate::client::classic::cluster::{Cluster, MASTER};
use crate::client::classic::form::{self, Form, Layout};
use crate::client::classic::ht_proxy::HtProxy;
use crate::client::classic::memory::Memory;
use crate::client::vfs::{Handle, OpenMode, Vfs};
use crate::error::{ErrorKind, Result};
use crate::pickle::{Attributes, Style};
use crate::proto::classic::Dialect;
use crate::types::{
    Attr, Cookie, Credentials, FileKind, FileTime, Ino, Name, RenameMode, SetAttr, SetTime,
    StoredValue, ValueKind, XattrMode,
};

const WHO: Credentials = Credentials { uid: 7, gid: 8, groups: Vec::new(), umask: 0 };
const TTL_S: u64 = 1_000_000;

/// A mount, with paths instead of inodes.
struct Mount {
    memory: Memory<Cluster>,
}

impl Mount {
    async fn new(cluster: &Cluster) -> Self {
        Self::with(cluster, None, None).await
    }

    async fn with(cluster: &Cluster, dialect: Option<Dialect>, layout: Option<Layout>) -> Self {
        let proxy =
            HtProxy::new(cluster.clone(), MASTER.to_owned(), dialect.unwrap_or_default(), TTL_S);
        Self { memory: Memory::open(proxy, dialect, layout, (1, 2)).await.unwrap() }
    }

    async fn dir_of(&self, path: &str) -> Result<(Ino, Name)> {
        let (dir, name) = path.rsplit_once('/').unwrap();
        Ok((self.stat(dir).await?.ino, Name::new(name.as_bytes().to_vec())?))
    }

    async fn stat(&self, path: &str) -> Result<Attr> {
        let mut attr = self.memory.getattr(Ino::ROOT).await?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let name = Name::new(name.as_bytes().to_vec())?;
            attr = self.memory.lookup(attr.ino, name).await?;
        }
        Ok(attr)
    }

    async fn create(&self, path: &str) -> Result<Handle> {
        let (dir, name) = self.dir_of(path).await?;
        let mode = OpenMode { is_exclusive: false, truncates: true };
        Ok(self.memory.create(dir, name, 0o644, mode, WHO).await?.1)
    }

    async fn open(&self, path: &str) -> Result<Handle> {
        self.memory.open(self.stat(path).await?.ino, OpenMode::default()).await
    }

    async fn close(&self, handle: Handle) -> Result<()> {
        let flushed = self.memory.flush(handle).await;
        self.memory.release(handle).await.and(flushed)
    }

    /// What a shell does for `echo -n contents > path`.
    async fn write(&self, path: &str, contents: &[u8]) -> Result<()> {
        let handle = match self.stat(path).await {
            Ok(attr) => {
                let mode = OpenMode { is_exclusive: false, truncates: true };
                self.memory.open(attr.ino, mode).await?
            }
            Err(_) => self.create(path).await?,
        };
        let data = Bytes::copy_from_slice(contents);
        let written = self.memory.write(handle, 0, data, false).await;
        self.close(handle).await.and(written)
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        let handle = self.open(path).await?;
        let contents = self.memory.read(handle, 0, u32::MAX).await;
        self.close(handle).await?;
        contents
    }

    async fn list(&self, path: &str) -> Result<Vec<String>> {
        let handle = self.memory.opendir(self.stat(path).await?.ino).await?;
        let page = self.memory.readdir(handle, Cookie::START).await;
        self.memory.releasedir(handle);
        let mut names: Vec<_> =
            page?.entries.into_iter().map(|entry| entry.name.to_string()).collect();
        names.sort();
        Ok(names)
    }

    async fn mkdir(&self, path: &str) -> Result<Attr> {
        let (dir, name) = self.dir_of(path).await?;
        self.memory.mkdir(dir, name, 0o755, WHO).await
    }

    async fn unlink(&self, path: &str) -> Result<()> {
        let (dir, name) = self.dir_of(path).await?;
        self.memory.unlink(dir, name).await
    }

    async fn rmdir(&self, path: &str) -> Result<()> {
        let (dir, name) = self.dir_of(path).await?;
        self.memory.rmdir(dir, name).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (self.dir_of(from).await?, self.dir_of(to).await?);
        self.memory.rename(from, to, RenameMode::Replace).await
    }

    async fn chmod(&self, path: &str, mode: u32) -> Result<Attr> {
        let ino = self.stat(path).await?.ino;
        self.memory.setattr(ino, None, SetAttr { mode: Some(mode), ..SetAttr::default() }).await
    }
}

fn kind_of<T>(result: Result<T>) -> ErrorKind {
    result.map(|_| ()).expect_err("it should have failed").kind()
}

#[tokio::test]
async fn files_are_seen_by_every_mount() {
    for cluster in [Cluster::new(2), Cluster::python(2)] {
        let (one, two) = (Mount::new(&cluster).await, Mount::new(&cluster).await);
        one.write("/hello", b"hello\n").await.unwrap();
        one.write("/empty", b"").await.unwrap();
        assert_eq!(two.read("/hello").await.unwrap(), "hello\n");
        assert_eq!(two.read("/empty").await.unwrap(), "");
        assert_eq!(two.list("/").await.unwrap(), ["empty", "hello"]);
        let attr = two.stat("/hello").await.unwrap();
        assert_eq!((attr.size, attr.uid, attr.gid, attr.mode), (6, 7, 8, 0o644));
        two.write("/hello", b"bye").await.unwrap();
        assert_eq!(one.read("/hello").await.unwrap(), "bye");
        assert_eq!(kind_of(one.stat("/other").await), ErrorKind::NotFound);
        assert_eq!(cluster.size(1) + cluster.size(2), 3);
        let (_, ttl_s) = cluster.value(MASTER, "/hello").unwrap();
        assert_eq!(ttl_s, i64::try_from(TTL_S).unwrap());
    }
}

#[tokio::test]
async fn five_megabytes_in_small_pieces_cost_a_handful_of_calls() {
    let cluster = Cluster::new(1);
    let mount = Mount::new(&cluster).await;
    let handle = mount.create("/big").await.unwrap();
    cluster.take_calls();
    let piece = Bytes::from(vec![b'x'; 1024]);
    for n in 0..5 * 1024 {
        mount.memory.write(handle, n * 1024, piece.clone(), false).await.unwrap();
    }
    assert_eq!(cluster.take_calls(), []);
    mount.close(handle).await.unwrap();
    let calls = cluster.take_calls();
    assert!(calls.len() <= 10, "{calls:?}");
    assert_eq!(calls.iter().filter(|(url, name)| url != MASTER && *name == "put").count(), 1);
    let handle = mount.open("/big").await.unwrap();
    cluster.take_calls();
    for n in 0..5 * 1024 {
        assert_eq!(mount.memory.read(handle, n * 1024, 1024).await.unwrap(), piece);
    }
    assert!(cluster.take_calls().len() <= 2);
    assert_eq!(cluster.size(1), 5 << 20);
}

#[tokio::test]
async fn a_new_file_is_there_before_it_is_stored() {
    let cluster = Cluster::new(1);
    let mount = Mount::new(&cluster).await;
    let handle = mount.create("/new").await.unwrap();
    mount.memory.write(handle, 0, Bytes::from_static(b"abc"), false).await.unwrap();
    assert_eq!(mount.stat("/new").await.unwrap().size, 3);
    assert_eq!(mount.list("/").await.unwrap(), ["new"]);
    assert_eq!(mount.chmod("/new", 0o600).await.unwrap().mode, 0o600);
    assert_eq!(cluster.value(MASTER, "/new"), None);
    let (dir, name) = mount.dir_of("/new").await.unwrap();
    let exclusive = OpenMode { is_exclusive: true, truncates: false };
    let again = mount.memory.create(dir, name, 0o644, exclusive, WHO).await;
    assert_eq!(kind_of(again), ErrorKind::Exists);
    mount.close(handle).await.unwrap();
    let other = Mount::new(&cluster).await;
    assert_eq!(other.stat("/new").await.unwrap().mode, 0o600);
}

#[tokio::test]
async fn appends_holes_and_truncation() {
    let cluster = Cluster::new(1);
    let mount = Mount::new(&cluster).await;
    mount.write("/f", b"0123456789").await.unwrap();
    let handle = mount.open("/f").await.unwrap();
    mount.memory.write(handle, 0, Bytes::from_static(b"end"), true).await.unwrap();
    mount.memory.write(handle, 15, Bytes::from_static(b"x"), false).await.unwrap();
    mount.close(handle).await.unwrap();
    assert_eq!(mount.read("/f").await.unwrap(), &b"0123456789end\0\0x"[..]);
    let ino = mount.stat("/f").await.unwrap().ino;
    for (size, expected) in [(4, &b"0123"[..]), (6, b"0123\0\0"), (0, b"")] {
        let resize = SetAttr { size: Some(size), ..SetAttr::default() };
        assert_eq!(mount.memory.setattr(ino, None, resize).await.unwrap().size, size);
        assert_eq!(Mount::new(&cluster).await.read("/f").await.unwrap(), expected);
    }
    let too_large = SetAttr { size: Some(u64::MAX / 2), ..SetAttr::default() };
    assert_eq!(kind_of(mount.memory.setattr(ino, None, too_large).await), ErrorKind::FileTooLarge);
    let handle = mount.open("/f").await.unwrap();
    let far = mount.memory.write(handle, 1 << 40, Bytes::from_static(b"x"), false).await;
    assert_eq!(kind_of(far), ErrorKind::FileTooLarge);
    mount.close(handle).await.unwrap();
}

#[tokio::test]
async fn handles_of_one_file_share_what_is_written() {
    let cluster = Cluster::new(1);
    let mount = Mount::new(&cluster).await;
    let writer = mount.create("/f").await.unwrap();
    mount.memory.write(writer, 0, Bytes::from_static(b"abc"), false).await.unwrap();
    let reader = mount.open("/f").await.unwrap();
    assert_eq!(mount.memory.read(reader, 1, 9).await.unwrap(), "bc");
    mount.memory.write(writer, 3, Bytes::from_static(b"d"), false).await.unwrap();
    assert_eq!(mount.memory.read(reader, 0, 9).await.unwrap(), "abcd");
    mount.close(reader).await.unwrap();
    mount.close(writer).await.unwrap();
    assert_eq!(kind_of(mount.memory.read(reader, 0, 1).await), ErrorKind::BadHandle);
}

#[tokio::test]
async fn an_unlinked_file_lives_until_it_is_closed() {
    let cluster = Cluster::new(1);
    let mount = Mount::new(&cluster).await;
    mount.write("/f", b"abc").await.unwrap();
    mount.write("/g", b"new").await.unwrap();
    let handle = mount.open("/f").await.unwrap();
    let ino = mount.stat("/f").await.unwrap().ino;
    mount.rename("/g", "/f").await.unwrap();
    mount.unlink("/f").await.unwrap();
    assert_eq!(kind_of(mount.stat("/f").await), ErrorKind::NotFound);
    assert_eq!(mount.memory.getattr(ino).await.unwrap().nlink, 0);
    mount.memory.write(handle, 3, Bytes::from_static(b"d"), false).await.unwrap();
    assert_eq!(mount.memory.read(handle, 0, 9).await.unwrap(), "abcd");
    mount.close(handle).await.unwrap();
    assert_eq!(mount.list("/").await.unwrap(), Vec::<String>::new());
    assert_eq!(cluster.keys(MASTER), ["/"]);
    assert_eq!((cluster.holders("/f"), cluster.size(1)), (0, 0));
}

#[tokio::test]
async fn a_file_that_is_removed_before_it_is_stored_leaves_nothing() {
    let cluster = Cluster::new(1);
    let mount = Mount::new(&cluster).await;
    let handle = mount.create("/f").await.unwrap();
    mount.memory.write(handle, 0, Bytes::from_static(b"abc"), false).await.unwrap();
    mount.unlink("/f").await.unwrap();
    assert_eq!(mount.memory.read(handle, 0, 9).await.unwrap(), "abc");
    mount.close(handle).await.unwrap();
    assert_eq!(cluster.keys(MASTER), ["/"]);
}

#[tokio::test]
async fn directories_nest_count_links_and_go_only_when_empty() {
    let cluster = Cluster::new(3);
    let mount = Mount::new(&cluster).await;
    mount.mkdir("/d").await.unwrap();
    mount.mkdir("/d/e").await.unwrap();
    mount.write("/d/e/f", b"x").await.unwrap();
    assert_eq!(kind_of(mount.mkdir("/d").await), ErrorKind::Exists);
    assert_eq!(kind_of(mount.mkdir("/no/e").await), ErrorKind::NotFound);
    assert_eq!(kind_of(mount.mkdir("/d/e/f/g").await), ErrorKind::NotDirectory);
    assert_eq!(mount.stat("/d").await.unwrap().nlink, 3);
    assert_eq!(mount.list("/").await.unwrap(), ["d"]);
    assert_eq!(mount.list("/d").await.unwrap(), ["e"]);
    assert_eq!(kind_of(mount.rmdir("/d/e").await), ErrorKind::NotEmpty);
    assert_eq!(kind_of(mount.rmdir("/d/e/f").await), ErrorKind::NotDirectory);
    assert_eq!(kind_of(mount.unlink("/d/e").await), ErrorKind::IsDirectory);
    mount.unlink("/d/e/f").await.unwrap();
    mount.rmdir("/d/e").await.unwrap();
    assert_eq!(mount.stat("/d").await.unwrap().nlink, 2);
    mount.rmdir("/d").await.unwrap();
    assert_eq!(cluster.keys(MASTER), ["/"]);
    assert_eq!(cluster.holders("/d"), 0);
}

#[tokio::test]
async fn a_directory_with_an_unstored_file_is_not_empty() {
    let cluster = Cluster::new(1);
    let mount = Mount::new(&cluster).await;
    mount.mkdir("/d").await.unwrap();
    let handle = mount.create("/d/f").await.unwrap();
    assert_eq!(kind_of(mount.rmdir("/d").await), ErrorKind::NotEmpty);
    mount.close(handle).await.unwrap();
    assert_eq!(mount.list("/d").await.unwrap(), ["f"]);
}

#[tokio::test]
async fn renames_replace_files_and_move_trees() {
    let cluster = Cluster::new(3);
    let mount = Mount::new(&cluster).await;
    mount.write("/a", b"a").await.unwrap();
    mount.write("/b", b"bb").await.unwrap();
    mount.rename("/a", "/b").await.unwrap();
    assert_eq!(mount.read("/b").await.unwrap(), "a");
    assert_eq!(mount.list("/").await.unwrap(), ["b"]);
    for dir in ["/d", "/d/e", "/d/empty", "/x", "/full"] {
        mount.mkdir(dir).await.unwrap();
    }
    mount.write("/d/e/f", b"deep").await.unwrap();
    mount.write("/full/y", b"").await.unwrap();
    let open = mount.create("/d/e/open").await.unwrap();
    mount.memory.write(open, 0, Bytes::from_static(b"un"), false).await.unwrap();
    assert_eq!(kind_of(mount.rename("/d", "/full").await), ErrorKind::NotEmpty);
    assert_eq!(kind_of(mount.rename("/d", "/b").await), ErrorKind::NotDirectory);
    assert_eq!(kind_of(mount.rename("/b", "/d").await), ErrorKind::IsDirectory);
    assert_eq!(kind_of(mount.rename("/d", "/d/e/g").await), ErrorKind::InvalidArgument);
    assert_eq!(kind_of(mount.rename("/none", "/c").await), ErrorKind::NotFound);
    let ino = mount.stat("/d/e").await.unwrap().ino;
    mount.rename("/d", "/x").await.unwrap();
    mount.rename("/x", "/full/z").await.unwrap();
    assert_eq!(mount.stat("/full/z/e").await.unwrap().ino, ino);
    mount.memory.write(open, 2, Bytes::from_static(b"stored"), false).await.unwrap();
    mount.close(open).await.unwrap();
    for mount in [&mount, &Mount::new(&cluster).await] {
        assert_eq!(mount.read("/full/z/e/f").await.unwrap(), "deep");
        assert_eq!(mount.read("/full/z/e/open").await.unwrap(), "unstored");
        assert_eq!(mount.list("/full/z").await.unwrap(), ["e", "empty"]);
        assert_eq!(mount.list("/").await.unwrap(), ["b", "full"]);
        assert_eq!(mount.stat("/").await.unwrap().nlink, 3);
        assert_eq!(mount.stat("/full").await.unwrap().nlink, 3);
    }
    let left = cluster.keys(MASTER).into_iter().filter(|key| key.starts_with("/d"));
    assert_eq!(left.count(), 0);
    assert_eq!(cluster.holders("/d/e/f"), 0);
}

#[tokio::test]
async fn attributes_links_and_xattrs_are_stored() {
    let cluster = Cluster::new(1);
    let mount = Mount::new(&cluster).await;
    mount.write("/f", b"x").await.unwrap();
    let ino = mount.stat("/f").await.unwrap().ino;
    let time = FileTime { seconds: 1_600_000_000, nanoseconds: 250_000_000 };
    let changes = SetAttr {
        mode: Some(0o4711),
        uid: Some(3),
        gid: Some(4),
        atime: SetTime::At(time),
        mtime: SetTime::At(time),
        ..SetAttr::default()
    };
    mount.memory.setattr(ino, None, changes).await.unwrap();
    let set = |name: &'static str, value: &'static [u8], mode| {
        mount.memory.setxattr(ino, name.into(), value.into(), mode)
    };
    set("user.a", b"\0\xff", XattrMode::Any).await.unwrap();
    assert_eq!(kind_of(set("user.a", b"", XattrMode::Create).await), ErrorKind::Exists);
    assert_eq!(kind_of(set("user.b", b"", XattrMode::Replace).await), ErrorKind::NoAttribute);
    assert_eq!(kind_of(set("system.x", b"", XattrMode::Any).await), ErrorKind::Unsupported);
    let root = mount.stat("/").await.unwrap().ino;
    let target = Bytes::from_static("ä/../f".as_bytes());
    mount.memory.symlink(root, Name::new("l").unwrap(), target.clone(), WHO).await.unwrap();
    mount.memory.mknod(root, Name::new("p").unwrap(), FileKind::Fifo, 0o600, WHO).await.unwrap();

    let other = Mount::new(&cluster).await;
    let attr = other.stat("/f").await.unwrap();
    assert_eq!((attr.mode, attr.uid, attr.gid, attr.size), (0o4711, 3, 4, 1));
    assert_eq!((attr.atime, attr.mtime), (time, time));
    assert_eq!(other.memory.getxattr(attr.ino, "user.a".into()).await.unwrap(), &b"\0\xff"[..]);
    assert_eq!(other.memory.listxattr(attr.ino).await.unwrap(), ["user.a"]);
    other.memory.removexattr(attr.ino, "user.a".into()).await.unwrap();
    let gone = other.memory.removexattr(attr.ino, "user.a".into()).await;
    assert_eq!(kind_of(gone), ErrorKind::NoAttribute);
    let link = other.stat("/l").await.unwrap();
    assert_eq!((link.kind, link.size), (FileKind::Symlink, 7));
    assert_eq!(other.memory.readlink(link.ino).await.unwrap(), target);
    assert_eq!(other.stat("/p").await.unwrap().kind, FileKind::Fifo);
    let linked = other.memory.link(link.ino, Ino::ROOT, Name::new("m").unwrap()).await;
    assert_eq!(kind_of(linked), ErrorKind::NotPermitted);
}

#[tokio::test]
async fn times_that_are_set_while_a_file_is_open_stay() {
    let cluster = Cluster::new(1);
    let mount = Mount::new(&cluster).await;
    mount.write("/f", b"x").await.unwrap();
    let handle = mount.open("/f").await.unwrap();
    mount.memory.write(handle, 0, Bytes::from_static(b"y"), false).await.unwrap();
    let time = FileTime { seconds: 5, nanoseconds: 0 };
    let changes = SetAttr { mtime: SetTime::At(time), ..SetAttr::default() };
    let ino = mount.stat("/f").await.unwrap().ino;
    mount.memory.setattr(ino, Some(handle), changes).await.unwrap();
    mount.close(handle).await.unwrap();
    assert_eq!(Mount::new(&cluster).await.stat("/f").await.unwrap().mtime, time);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_create_at_once_lose_no_name() {
    let cluster = Cluster::new(4);
    Mount::new(&cluster).await;
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..8 {
        let cluster = cluster.clone();
        clients.spawn(async move {
            let mount = Mount::new(&cluster).await;
            for n in 0..20 {
                mount.write(&format!("/{client}-{n}"), b"hello\n").await.unwrap();
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    let mount = Mount::new(&cluster).await;
    assert_eq!(mount.list("/").await.unwrap().len(), 160);
    assert_eq!((1..=4).map(|n| cluster.size(n)).sum::<i64>(), 160 * 6);
}

#[tokio::test]
async fn a_dead_server_gives_errors_and_what_was_written_is_kept() {
    let cluster = Cluster::new(1);
    let mount = Mount::new(&cluster).await;
    mount.write("/f", b"old").await.unwrap();
    let handle = mount.open("/f").await.unwrap();
    mount.memory.read(handle, 0, 1).await.unwrap();
    mount.memory.write(handle, 0, Bytes::from_static(b"new"), false).await.unwrap();
    let server = Cluster::chunk(1);
    cluster.set_down(server.as_str(), true);
    assert_eq!(kind_of(mount.memory.fsync(handle).await), ErrorKind::Unreachable);
    assert_eq!(kind_of(mount.memory.flush(handle).await), ErrorKind::Unreachable);
    assert_eq!(mount.memory.read(handle, 0, 9).await.unwrap(), "new");
    assert_eq!(kind_of(mount.list("/").await), ErrorKind::Unreachable);
    assert_eq!(kind_of(mount.write("/g", b"x").await), ErrorKind::Unreachable);
    assert_eq!(kind_of(mount.stat("/g").await), ErrorKind::NotFound);
    cluster.set_down(server.as_str(), false);
    mount.memory.fsync(handle).await.unwrap();
    assert_eq!(Mount::new(&cluster).await.read("/f").await.unwrap(), "new");
    mount.close(handle).await.unwrap();
    assert_eq!(mount.list("/").await.unwrap(), ["f"]);
}

#[tokio::test]
async fn fsync_reaches_the_disks_of_all_servers_that_matter() {
    let cluster = Cluster::new(2);
    let mount = Mount::new(&cluster).await;
    mount.mkdir("/d").await.unwrap();
    let handle = mount.create("/d/f").await.unwrap();
    mount.memory.write(handle, 0, Bytes::from_static(b"x"), false).await.unwrap();
    cluster.take_calls();
    mount.memory.fsync(handle).await.unwrap();
    let calls = cluster.take_calls();
    let count = |name| calls.iter().filter(|(_, method)| *method == name).count();
    assert_eq!(count("cluster.sync"), 1);
    assert!(count("chunk.sync") >= 1);
    let last_put = calls.iter().rposition(|(_, method)| *method == "put");
    let first_sync = calls.iter().position(|(_, method)| method.ends_with(".sync"));
    assert!(last_put < first_sync, "{calls:?}");
    // Servers that know no such thing are asked once.
    let python = Cluster::python(1);
    let mount = Mount::new(&python).await;
    let handle = mount.create("/f").await.unwrap();
    mount.memory.fsync(handle).await.unwrap();
    python.take_calls();
    mount.memory.fsync(handle).await.unwrap();
    assert_eq!(python.take_calls(), []);
}

fn put_python_file(cluster: &Cluster, path: &str, form: Form, contents: &[u8]) {
    let attributes = Attributes {
        mode: 0o100_644,
        nlink: 1,
        size: contents.len() as u64,
        contents: Some(Cluster::chunk(1)),
        ..Attributes::default()
    };
    let value = form.write(Bytes::copy_from_slice(contents));
    cluster.set_value(Cluster::chunk(1).as_str(), path, Some(value));
    let value = form::write_attributes(form.dialect, &attributes);
    cluster.set_value(MASTER, path, Some(value));
}

#[tokio::test]
async fn files_stay_in_the_form_that_others_gave_them() {
    for dialect in [Dialect::String, Dialect::Binary] {
        for layout in [Layout::Raw, Layout::Pickled] {
            let cluster = Cluster::python(1);
            let theirs = Form { dialect, layout };
            Mount::with(&cluster, Some(dialect), Some(layout))
                .await
                .write("/own", b"x")
                .await
                .unwrap();
            put_python_file(&cluster, "/f", theirs, b"hello");
            // A mount that is told nothing finds out, and one that is told otherwise keeps it.
            let (ours, other) = match dialect {
                Dialect::String => (Mount::new(&cluster).await, Dialect::Binary),
                Dialect::Binary => (Mount::new(&cluster).await, Dialect::String),
            };
            let told = Mount::with(&cluster, Some(other), Some(Layout::Pickled)).await;
            for (mount, before) in [(&ours, "hello"), (&told, "changed")] {
                assert_eq!(mount.read("/f").await.unwrap(), before);
                mount.write("/f", b"changed").await.unwrap();
                let (value, _) = cluster.value(Cluster::chunk(1).as_str(), "/f").unwrap();
                let (contents, form) = Form::read(&value, 7).unwrap();
                assert_eq!((&contents[..], form), (&b"changed"[..], theirs));
                let (value, _) = cluster.value(MASTER, "/f").unwrap();
                assert_eq!(form::dialect_of(&value), Some(dialect));
            }
            ours.write("/new", b"y").await.unwrap();
            let (value, _) = cluster.value(Cluster::chunk(1).as_str(), "/new").unwrap();
            assert_eq!(Form::read(&value, 1).unwrap().1, theirs);
        }
    }
}

#[tokio::test]
async fn names_without_files_are_not_listed_and_do_not_keep_a_directory() {
    let cluster = Cluster::new(1);
    let mount = Mount::new(&cluster).await;
    mount.mkdir("/d").await.unwrap();
    mount.write("/d/f", b"x").await.unwrap();
    cluster.set_value(MASTER, "/d/f", None);
    let mount = Mount::new(&cluster).await;
    assert_eq!(mount.list("/d").await.unwrap(), Vec::<String>::new());
    mount.rmdir("/d").await.unwrap();
}

#[tokio::test]
async fn what_is_damaged_gives_errors() {
    let cluster = Cluster::new(1);
    let mount = Mount::new(&cluster).await;
    mount.write("/f", b"abc").await.unwrap();
    let chunk = Cluster::chunk(1);
    let garbage = StoredValue { kind: ValueKind::Base64, bytes: "no pickle".into() };
    cluster.set_value(MASTER, "/g", Some(garbage.clone()));
    assert_eq!(kind_of(mount.stat("/g").await), ErrorKind::Protocol);
    cluster.set_value(chunk.as_str(), "/f", None);
    assert_eq!(kind_of(mount.read("/f").await), ErrorKind::Io);
    cluster.set_value(chunk.as_str(), "/", Some(garbage));
    assert_eq!(kind_of(mount.list("/").await), ErrorKind::Protocol);
    assert_eq!(kind_of(mount.mkdir("/d").await), ErrorKind::Protocol);
}

#[tokio::test]
async fn members_that_are_unknown_here_survive_every_change() {
    let cluster = Cluster::new(1);
    let mount = Mount::new(&cluster).await;
    put_python_file(&cluster, "/f", Form::default(), b"abc");
    let (value, _) = cluster.value(MASTER, "/f").unwrap();
    let mut attributes = form::read_attributes(&value).unwrap();
    attributes.others.push((crate::pickle::Value::str("theirs"), crate::pickle::Value::Int(42)));
    let bytes = attributes.write(Style::Compact);
    cluster.set_value(MASTER, "/f", Some(StoredValue { kind: ValueKind::Base64, bytes }));
    mount.chmod("/f", 0o600).await.unwrap();
    mount.write("/f", b"changed").await.unwrap();
    mount.rename("/f", "/g").await.unwrap();
    let (value, _) = cluster.value(MASTER, "/g").unwrap();
    let after = form::read_attributes(&value).unwrap();
    assert_eq!(after.others, attributes.others);
    assert_eq!((after.mode, after.size), (0o100_600, 7));
}
