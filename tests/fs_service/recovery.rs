//! What a master has acknowledged survives its death.

use htfs::proto::Packed;
use htfs::proto::session::{Lock, LockKind, SetLock, WaitEvents};
use htfs::types::Ino;

use crate::client::{Client, Master};
use crate::common::cluster::{Cluster, Kind};

/// Promise 4, the master's part: what was acknowledged survives `kill -9`; clients go on with the
/// sessions and the locks they had.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_nothing_that_was_acknowledged() {
    let mut cluster = tokio::task::block_in_place(|| Cluster::start(&Kind::Rust, 0));
    let url = cluster.master.url.clone();
    let (a, b) = (Client::attach(&url).await, Client::attach(&url).await);
    let lock = Lock { owner: 1, is_flock: true, kind: LockKind::Write, start: 0, end: 0, pid: 1 };
    let (mut made, mut dir) = (Vec::new(), Ino::ROOT);
    for round in 0..4 {
        dir = a.mkdir(dir, "sub").await;
        for n in 0..10 {
            let text = format!("{round}-{n}");
            made.push((dir, text.clone(), a.create(dir, &text).await.attr));
        }
        let locked = made.last().expect("some were made").2.ino;
        let set = SetLock { session: a.session, ino: locked, lock: Packed(lock), wait_ms: 0 };
        assert!(a.call(set).await.unwrap());
        tokio::task::block_in_place(|| cluster.master.start_again());
        for (parent, text, attr) in &made {
            assert_eq!(a.lookup(*parent, text).await.as_ref(), Ok(attr));
        }
        a.renew(&[locked]).await.unwrap();
        let set = SetLock { session: b.session, ino: locked, lock: Packed(lock), wait_ms: 0 };
        assert!(!b.call(set).await.unwrap(), "the lock is still the other's");
        let wait = WaitEvents { session: b.session, after: b.last_event, wait_ms: 0, own: false };
        assert!(b.call(wait).await.unwrap().0.is_overflow, "what it has cached may be old");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_system_has_a_number_of_its_own() {
    let (first, second) = (Master::start().await, Master::start().await);
    let generation = |client: Client| async move {
        let root = client.getattr(Ino::ROOT).await.unwrap();
        assert_eq!((root.mode, root.uid), (0o1777, 0));
        root.generation
    };
    assert_ne!(generation(first.nobody()).await, generation(second.nobody()).await);
}
