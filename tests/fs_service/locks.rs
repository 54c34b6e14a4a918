//! Locks over sessions.

use std::time::Duration;

use htfs::error::ErrorKind;
use htfs::proto::Packed;
use htfs::proto::fs::MakeDir;
use htfs::proto::session::{GetLock, Lock, LockKind, SetLock};
use htfs::types::{Credentials, Ino, Name};

use crate::client::{Client, Master};

const LONG_MS: u64 = 15_000;

fn write_lock(owner: u64) -> Lock {
    Lock { owner, is_flock: false, kind: LockKind::Write, start: 0, end: 9, pid: 42 }
}

fn set(client: &Client, ino: Ino, lock: Lock, wait_ms: u64) -> SetLock {
    SetLock { session: client.session, ino, lock: Packed(lock), wait_ms }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_keeps_others_out_until_it_is_freed() {
    let master = Master::start().await;
    let (a, b) = (master.client().await, master.client().await);
    let ino = a.create(Ino::ROOT, "file").await.attr.ino;
    let lock = write_lock(1);
    assert!(a.call(set(&a, ino, lock, 0)).await.unwrap());
    assert!(!b.call(set(&b, ino, lock, 0)).await.unwrap(), "the same owner in another session");
    let ask = GetLock { session: b.session, ino, lock: Packed(lock) };
    assert_eq!(b.call(ask).await.unwrap().0.map(|lock| lock.pid), Some(42));

    let unlock = Lock { kind: LockKind::Unlock, ..lock };
    let (is_held, ()) = tokio::join!(b.call(set(&b, ino, lock, LONG_MS)), async {
        assert!(a.call(set(&a, ino, unlock, 0)).await.unwrap());
    });
    assert!(is_held.unwrap());
    assert!(!a.call(set(&a, ino, lock, 10)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_wait_for_each_other_are_told() {
    let master = Master::start().await;
    let (a, b) = (master.client().await, master.client().await);
    let first = a.create(Ino::ROOT, "first").await.attr.ino;
    let second = a.create(Ino::ROOT, "second").await.attr.ino;
    let lock = write_lock(1);
    assert!(a.call(set(&a, first, lock, 0)).await.unwrap());
    assert!(b.call(set(&b, second, lock, 0)).await.unwrap());
    // Whichever of them comes second is refused, and then lets the other one in.
    let attempt = async |client: &Client, wanted: Ino, own: Ino| match client
        .call(set(client, wanted, lock, LONG_MS))
        .await
    {
        Ok(is_held) => {
            assert!(is_held);
            0
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Deadlock);
            let unlock = Lock { kind: LockKind::Unlock, ..lock };
            client.call(set(client, own, unlock, 0)).await.unwrap();
            1
        }
    };
    let (by_a, by_b) = tokio::join!(attempt(&a, second, first), attempt(&b, first, second));
    assert_eq!(by_a + by_b, 1, "one of the two is refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_locks_of_a_session_end_with_it() {
    let master = Master::with_lease(Duration::from_secs(1)).await;
    let a = master.client().await;
    let ino = a.create(Ino::ROOT, "file").await.attr.ino;
    assert!(a.call(set(&a, ino, write_lock(1), 0)).await.unwrap());
    let b = master.client().await;
    // Nobody renews the session of the first: the second waits until that is over. Its own must
    // not end meanwhile.
    let mut is_held = false;
    while !is_held {
        b.renew(&[]).await.unwrap();
        is_held = b.call(set(&b, ino, write_lock(1), 200)).await.unwrap();
    }
    assert_eq!(a.refused(set(&a, ino, write_lock(1), 0)).await, ErrorKind::BadHandle);
    assert_eq!(a.renew(&[]).await.unwrap_err().kind(), ErrorKind::BadHandle);
    let name = Name::new("late").unwrap();
    let who = Packed(Credentials::ROOT);
    let late = MakeDir { parent: Ino::ROOT, name, mode: 0o755, who, session: a.session };
    assert_eq!(a.refused(late).await, ErrorKind::BadHandle, "it is over, and changes nothing");
}
