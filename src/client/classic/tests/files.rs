//! Files: contents, attributes, and what their operations cost.

use bytes::Bytes;

use super::{Mount, TTL_S, WHO, kind_of};
use crate::client::classic::cluster::{Cluster, MASTER};
use crate::client::vfs::{Attempt, Node, OpenFlags, Vfs};
use crate::error::ErrorKind;
use crate::types::{FileKind, FileTime, Ino, Name, SetAttr, SetTime, Ttl, XattrMode};

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
        let (_, ttl) = cluster.value(MASTER, "/hello").unwrap();
        assert_eq!(ttl, Ttl::from_s(TTL_S.try_into().unwrap()));
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
        mount.memory.write(handle, n * 1024, piece.clone(), false, WHO).await.unwrap();
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
    mount.memory.write(handle, 0, Bytes::from_static(b"abc"), false, WHO).await.unwrap();
    assert_eq!(mount.stat("/new").await.unwrap().size, 3);
    assert_eq!(mount.list("/").await.unwrap(), ["new"]);
    assert_eq!(mount.chmod("/new", 0o600).await.unwrap().mode, 0o600);
    assert_eq!(cluster.value(MASTER, "/new"), None);
    let (dir, name) = mount.dir_of("/new").await.unwrap();
    let exclusive = OpenFlags(libc::O_RDWR | libc::O_CREAT | libc::O_EXCL);
    let again = mount.memory.create(dir, name, 0o644, exclusive, WHO, Attempt::First).await;
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
    mount.memory.write(handle, 0, Bytes::from_static(b"end"), true, WHO).await.unwrap();
    mount.memory.write(handle, 15, Bytes::from_static(b"x"), false, WHO).await.unwrap();
    mount.close(handle).await.unwrap();
    assert_eq!(mount.read("/f").await.unwrap(), &b"0123456789end\0\0x"[..]);
    let ino = mount.stat("/f").await.unwrap().ino;
    for (size, expected) in [(4, &b"0123"[..]), (6, b"0123\0\0"), (0, b"")] {
        let resize = SetAttr { size: Some(size), ..SetAttr::default() };
        assert_eq!(mount.memory.setattr(ino, None, resize, WHO).await.unwrap().size, size);
        assert_eq!(Mount::new(&cluster).await.read("/f").await.unwrap(), expected);
    }
    let too_large = SetAttr { size: Some(u64::MAX / 2), ..SetAttr::default() };
    assert_eq!(
        kind_of(mount.memory.setattr(ino, None, too_large, WHO).await),
        ErrorKind::FileTooLarge
    );
    let handle = mount.open("/f").await.unwrap();
    let far = mount.memory.write(handle, 1 << 40, Bytes::from_static(b"x"), false, WHO).await;
    assert_eq!(kind_of(far), ErrorKind::FileTooLarge);
    mount.close(handle).await.unwrap();
}

#[tokio::test]
async fn handles_of_one_file_share_what_is_written() {
    let cluster = Cluster::new(1);
    let mount = Mount::new(&cluster).await;
    let writer = mount.create("/f").await.unwrap();
    mount.memory.write(writer, 0, Bytes::from_static(b"abc"), false, WHO).await.unwrap();
    let reader = mount.open("/f").await.unwrap();
    assert_eq!(mount.memory.read(reader, 1, 9).await.unwrap(), "bc");
    mount.memory.write(writer, 3, Bytes::from_static(b"d"), false, WHO).await.unwrap();
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
    mount.memory.write(handle, 3, Bytes::from_static(b"d"), false, WHO).await.unwrap();
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
    mount.memory.write(handle, 0, Bytes::from_static(b"abc"), false, WHO).await.unwrap();
    mount.unlink("/f").await.unwrap();
    assert_eq!(mount.memory.read(handle, 0, 9).await.unwrap(), "abc");
    mount.close(handle).await.unwrap();
    assert_eq!(cluster.keys(MASTER), ["/"]);
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
    mount.memory.setattr(ino, None, changes, WHO).await.unwrap();
    let set = |name: &'static str, value: &'static [u8], mode| {
        mount.memory.setxattr(ino, name.into(), value.into(), mode, WHO)
    };
    set("user.a", b"\0\xff", XattrMode::Any).await.unwrap();
    assert_eq!(kind_of(set("user.a", b"", XattrMode::Create).await), ErrorKind::Exists);
    assert_eq!(kind_of(set("user.b", b"", XattrMode::Replace).await), ErrorKind::NoAttribute);
    assert_eq!(kind_of(set("system.x", b"", XattrMode::Any).await), ErrorKind::Unsupported);
    let root = mount.stat("/").await.unwrap().ino;
    let target = Bytes::from_static("ä/../f".as_bytes());
    mount.memory.symlink(root, Name::new("l").unwrap(), target.clone(), WHO).await.unwrap();
    let fifo = Node { kind: FileKind::Fifo, mode: 0o600, rdev: 0 };
    mount.memory.mknod(root, Name::new("p").unwrap(), fifo, WHO).await.unwrap();

    let other = Mount::new(&cluster).await;
    let attr = other.stat("/f").await.unwrap();
    assert_eq!((attr.mode, attr.uid, attr.gid, attr.size), (0o4711, 3, 4, 1));
    assert_eq!((attr.atime, attr.mtime), (time, time));
    assert_eq!(
        other.memory.getxattr(attr.ino, "user.a".into(), WHO).await.unwrap(),
        &b"\0\xff"[..]
    );
    assert_eq!(other.memory.listxattr(attr.ino, WHO).await.unwrap(), ["user.a"]);
    other.memory.removexattr(attr.ino, "user.a".into(), WHO).await.unwrap();
    let gone = other.memory.removexattr(attr.ino, "user.a".into(), WHO).await;
    assert_eq!(kind_of(gone), ErrorKind::NoAttribute);
    let link = other.stat("/l").await.unwrap();
    assert_eq!((link.kind, link.size), (FileKind::Symlink, 7));
    assert_eq!(other.memory.readlink(link.ino).await.unwrap(), target);
    assert_eq!(other.stat("/p").await.unwrap().kind, FileKind::Fifo);
    let linked = other.memory.link(link.ino, Ino::ROOT, Name::new("m").unwrap(), WHO).await;
    assert_eq!(kind_of(linked), ErrorKind::NotPermitted);
}

#[tokio::test]
async fn times_that_are_set_while_a_file_is_open_stay() {
    let cluster = Cluster::new(1);
    let mount = Mount::new(&cluster).await;
    mount.write("/f", b"x").await.unwrap();
    let handle = mount.open("/f").await.unwrap();
    mount.memory.write(handle, 0, Bytes::from_static(b"y"), false, WHO).await.unwrap();
    let time = FileTime { seconds: 5, nanoseconds: 0 };
    let changes = SetAttr { mtime: SetTime::At(time), ..SetAttr::default() };
    let ino = mount.stat("/f").await.unwrap().ino;
    mount.memory.setattr(ino, Some(handle), changes, WHO).await.unwrap();
    mount.close(handle).await.unwrap();
    assert_eq!(Mount::new(&cluster).await.stat("/f").await.unwrap().mtime, time);
}

#[tokio::test]
async fn fsync_reaches_the_disks_of_all_servers_that_matter() {
    let cluster = Cluster::new(2);
    let mount = Mount::new(&cluster).await;
    mount.mkdir("/d").await.unwrap();
    let handle = mount.create("/d/f").await.unwrap();
    mount.memory.write(handle, 0, Bytes::from_static(b"x"), false, WHO).await.unwrap();
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
