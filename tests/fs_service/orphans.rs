//! Files that are open and have no name any more.

use std::time::Duration;

use htfs::error::ErrorKind;
use htfs::limits;
use htfs::proto::fs::StatFileSystem;
use htfs::proto::session::Detach;
use htfs::types::{Access, Ino};

use crate::client::{Client, Master, eventually};

async fn is_gone(client: &Client, ino: Ino) -> bool {
    match client.getattr(ino).await {
        Ok(attr) => {
            assert_eq!(attr.nlink, 0);
            false
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Stale);
            true
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_lives_as_long_as_somebody_has_it_open() {
    let master = Master::start().await;
    master.add_server(9001, 1 << 30).await;
    let (a, b) = (master.client().await, master.client().await);
    let opened = a.create(Ino::ROOT, "file").await;
    let ino = opened.attr.ino;
    b.open(ino, Access::READ).await.unwrap();
    b.unlink(Ino::ROOT, "file").await;
    // It can still be written by who has it open.
    assert_eq!(a.extend(&opened, 100).await.unwrap().size, 100);
    for _ in 0..5 {
        a.renew(&[ino]).await.unwrap();
        b.renew(&[]).await.unwrap();
        assert!(!is_gone(&a, ino).await);
    }
    a.call(Detach { session: a.session }).await.unwrap();
    eventually("the file is freed", async || is_gone(&b, ino).await).await;
    assert_eq!(b.call(StatFileSystem {}).await.unwrap().0.inodes, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn inodes_that_are_not_there_are_held_by_nobody() {
    let master = Master::start().await;
    let (a, b) = (master.client().await, master.client().await);
    let invented: Vec<Ino> = (0..limits::OPEN_INODES_MAX as u64).map(|n| Ino(n + 1000)).collect();
    a.renew(&invented).await.unwrap();
    let ino = a.create(Ino::ROOT, "file").await.attr.ino;
    a.open(ino, Access::READ).await.unwrap();
    // What is there is held, also if the master did not see it being opened.
    b.renew(&[ino]).await.unwrap();
    a.unlink(Ino::ROOT, "file").await;
    for _ in 0..3 {
        a.renew(&[]).await.unwrap();
        b.renew(&[ino, Ino(5000)]).await.unwrap();
        assert!(!is_gone(&a, ino).await);
    }
    b.call(Detach { session: b.session }).await.unwrap();
    eventually("the file is freed", async || is_gone(&a, ino).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_goes_when_all_have_renewed_without_it() {
    let master = Master::start().await;
    let (a, b) = (master.client().await, master.client().await);
    let ino = a.create(Ino::ROOT, "file").await.attr.ino;
    a.unlink(Ino::ROOT, "file").await;
    b.renew(&[]).await.unwrap();
    assert!(!is_gone(&a, ino).await);
    eventually("the file is freed", async || {
        a.renew(&[]).await.unwrap();
        b.renew(&[]).await.unwrap();
        is_gone(&a, ino).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_goes_with_the_session_that_held_it() {
    let master = Master::with_lease(Duration::from_secs(1)).await;
    let a = master.client().await;
    let ino = a.create(Ino::ROOT, "file").await.attr.ino;
    a.unlink(Ino::ROOT, "file").await;
    let b = master.client().await;
    eventually("the file is freed", async || {
        b.renew(&[]).await.unwrap();
        is_gone(&b, ino).await
    })
    .await;
    assert_eq!(a.renew(&[ino]).await.unwrap_err().kind(), ErrorKind::BadHandle);
}
