//! Two clients in one tree.

use bytes::Bytes;
use htfs::error::ErrorKind;
use htfs::proto::Packed;
use htfs::proto::fs::{
    CheckAccess, GetXattr, ListXattr, MakeLink, MakeNode, MakeSymlink, ReadDir, ReadLink,
    RemoveDir, RemoveXattr, Rename, SetAttributes, SetXattr, StatFileSystem,
};
use htfs::types::{Access, Cookie, Credentials, FileKind, Ino, RenameMode, SetAttr, XattrMode};

use crate::client::{Master, name};

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_see_one_tree() {
    let master = Master::start().await;
    let (a, b) = (master.client().await, master.client().await);
    let dir = a.mkdir(Ino::ROOT, "dir").await;
    assert_eq!(b.lookup(Ino::ROOT, "dir").await.unwrap().ino, dir);
    let file = a.create(dir, "file").await;
    assert!(file.is_new);
    let again = b.create(dir, "file").await;
    assert_eq!((again.is_new, again.attr.ino), (false, file.attr.ino));
    let mut exclusive = b.creation(dir, "file");
    exclusive.open.0.is_exclusive = true;
    assert_eq!(b.refused(exclusive).await, ErrorKind::Exists);

    let (who, session) = (Packed(Credentials::ROOT), b.session);
    let rename = Rename {
        parent: dir,
        name: name("file"),
        new_parent: Ino::ROOT,
        new_name: name("moved"),
        mode: Packed(RenameMode::NoReplace),
        who: who.clone(),
        session,
    };
    b.call(rename.clone()).await.unwrap();
    assert_eq!(b.refused(rename).await, ErrorKind::NotFound);
    assert_eq!(a.lookup(Ino::ROOT, "moved").await.unwrap().ino, file.attr.ino);

    let ino = file.attr.ino;
    let link =
        MakeLink { ino, parent: dir, name: name("link"), who: who.clone(), session: a.session };
    assert_eq!(a.call(link).await.unwrap().0.nlink, 2);
    let remove = RemoveDir { parent: Ino::ROOT, name: name("dir"), who, session };
    assert_eq!(b.refused(remove.clone()).await, ErrorKind::NotEmpty);
    a.unlink(dir, "link").await;
    b.call(remove).await.unwrap();
    assert_eq!(a.getattr(dir).await.map(|attr| attr.nlink), Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_system_lets_everybody_in() {
    let master = Master::start().await;
    let mut user = master.client().await;
    user.who = Credentials { uid: 1000, gid: 1000, groups: vec![1001], umask: 0o027 };
    let file = user.create(Ino::ROOT, "mine").await.attr;
    assert_eq!((file.uid, file.gid, file.mode), (1000, 1000, 0o640));
    let mut other = master.client().await;
    other.who = Credentials { uid: 2000, gid: 2000, groups: vec![], umask: 0 };
    let ino = file.ino;
    let check =
        |wanted| CheckAccess { ino, wanted: Packed(wanted), who: Packed(other.who.clone()) };
    assert_eq!(other.refused(check(Access::READ)).await, ErrorKind::AccessDenied);
    assert_eq!(other.open(ino, Access::READ).await.unwrap_err().kind(), ErrorKind::AccessDenied);
    let (who, session) = (Packed(other.who.clone()), other.session);
    let change = Packed(SetAttr { mode: Some(0o777), ..SetAttr::default() });
    let chmod = SetAttributes { ino, change: change.clone(), who, session };
    assert_eq!(other.refused(chmod).await, ErrorKind::NotPermitted);
    let who = Packed(user.who.clone());
    let chmod = SetAttributes { ino, change, who, session: user.session };
    assert_eq!(user.call(chmod).await.unwrap().0.mode, 0o777);
    assert!(other.open(ino, Access::READ).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_inode_can_be_made_and_read() {
    let master = Master::start().await;
    let client = master.client().await;
    let (who, session) = (Packed(Credentials::ROOT), client.session);
    let target = Bytes::from_static(b"to \xff nowhere");
    let symlink = MakeSymlink {
        parent: Ino::ROOT,
        name: name("symlink"),
        target: target.clone(),
        who: who.clone(),
        session,
    };
    let ino = client.call(symlink).await.unwrap().0.ino;
    assert_eq!(client.call(ReadLink { ino }).await.unwrap(), target);
    let fifo = MakeNode {
        parent: Ino::ROOT,
        name: name("fifo"),
        kind: Packed(FileKind::Fifo),
        mode: 0o600,
        rdev: 0,
        who: who.clone(),
        session,
    };
    assert_eq!(client.call(fifo).await.unwrap().0.kind, FileKind::Fifo);

    let set = SetXattr {
        ino,
        name: Bytes::from_static(b"trusted.colour"),
        value: Bytes::from_static(b"blue\0"),
        mode: Packed(XattrMode::Create),
        who: who.clone(),
        session,
    };
    client.call(set.clone()).await.unwrap();
    assert_eq!(client.refused(set.clone()).await, ErrorKind::Exists);
    let get = GetXattr { ino, name: set.name.clone(), who: who.clone() };
    assert_eq!(client.call(get.clone()).await.unwrap(), set.value);
    let list = ListXattr { ino, who: who.clone() };
    assert_eq!(client.call(list).await.unwrap().0, std::slice::from_ref(&set.name));
    client.call(RemoveXattr { ino, name: set.name, who, session }).await.unwrap();
    assert_eq!(client.refused(get).await, ErrorKind::NoAttribute);
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_are_read_in_pages() {
    let master = Master::start().await;
    let client = master.client().await;
    for n in 0..10 {
        client.create(Ino::ROOT, &format!("f{n}")).await;
    }
    let mut names = Vec::new();
    let (mut after, mut until) = (Cookie::START, None);
    loop {
        let page = ReadDir {
            ino: Ino::ROOT,
            after: Packed(after),
            until: Packed(until),
            limit: 4,
            with_attributes: true,
            who: Packed(Credentials::ROOT),
        };
        let page = client.call(page).await.unwrap().0;
        // What is made meanwhile is not part of this listing.
        client.create(Ino::ROOT, &format!("late{}", names.len())).await;
        let Some(last) = page.entries.last() else { break };
        (after, until) = (last.cookie, Some(page.until));
        assert!(page.entries.iter().all(|entry| entry.attr.is_some()));
        names.extend(page.entries.iter().map(|entry| entry.name.clone()));
        if page.is_last {
            break;
        }
    }
    assert_eq!(names, (0..10).map(|n| name(&format!("f{n}"))).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn statfs_adds_up_what_the_servers_report() {
    let master = Master::start().await;
    master.add_server(9001, 100).await;
    master.add_server(9002, 23).await;
    let stat = master.nobody().call(StatFileSystem {}).await.unwrap().0;
    // Nothing is in use: what others have on those disks does not count.
    assert_eq!((stat.total, stat.free, stat.inodes), (123, 123, 1));
}
