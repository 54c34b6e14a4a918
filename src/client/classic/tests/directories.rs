//! Directories: names, trees, and several clients at once.

use bytes::Bytes;

use super::{Mount, WHO, kind_of};
use crate::client::classic::cluster::{Cluster, MASTER};
use crate::client::vfs::Vfs;
use crate::error::ErrorKind;

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
    mount.memory.write(open, 0, Bytes::from_static(b"un"), false, WHO).await.unwrap();
    assert_eq!(kind_of(mount.rename("/d", "/full").await), ErrorKind::NotEmpty);
    assert_eq!(kind_of(mount.rename("/d", "/b").await), ErrorKind::NotDirectory);
    assert_eq!(kind_of(mount.rename("/b", "/d").await), ErrorKind::IsDirectory);
    assert_eq!(kind_of(mount.rename("/d", "/d/e/g").await), ErrorKind::InvalidArgument);
    assert_eq!(kind_of(mount.rename("/none", "/c").await), ErrorKind::NotFound);
    let ino = mount.stat("/d/e").await.unwrap().ino;
    mount.rename("/d", "/x").await.unwrap();
    mount.rename("/x", "/full/z").await.unwrap();
    assert_eq!(mount.stat("/full/z/e").await.unwrap().ino, ino);
    mount.memory.write(open, 2, Bytes::from_static(b"stored"), false, WHO).await.unwrap();
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
