//! What a mount does when its session, and its locks with it, were lost.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use htfs::client::native::NativeFs;
use htfs::client::native::remote::Remote;
use htfs::client::vfs::{Handle, OpenFlags};
use htfs::error::ErrorKind;
use htfs::proto::session::{Lock, LockKind};
use htfs::rpc::RpcClient;
use htfs::rpc::tls::Trust;
use htfs::types::{Credentials, Ino, Name};

use crate::client::{Master, SOON};
use crate::common::keys;

type Mount = Arc<NativeFs<Remote<RpcClient>>>;

const ROOT: Credentials = Credentials::ROOT;
const READ_WRITE: OpenFlags = OpenFlags(libc::O_RDWR);

/// A mount that renews its session only if a test runs it.
async fn mount(master: &Master, name: &str) -> Mount {
    let trust = Trust::load(&keys().certificate).expect("openssl-gen.sh makes good keys");
    let remote = Remote::new(RpcClient::new(trust, SOON), master.running.url());
    NativeFs::attach(remote, name).await.expect("the master takes sessions")
}

async fn open(mount: &Mount, ino: Ino) -> Handle {
    mount.open(ino, READ_WRITE, &ROOT).await.expect("it can be opened").handle
}

fn exclusive(owner: u64) -> Lock {
    let end = i64::MAX.cast_unsigned();
    Lock { owner, is_flock: false, kind: LockKind::Write, start: 0, end, pid: 1 }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_believes_in_a_lost_lock_gets_errors() {
    let master = Master::with_lease(Duration::from_secs(1)).await;
    let silent = mount(&master, "silent").await;
    let name = |text: &'static str| Name::new(text).unwrap();
    let locked = silent.create(Ino::ROOT, &name("locked"), 0o644, READ_WRITE, &ROOT).await;
    let (locked, ino) = locked.map(|(attr, opened)| (opened.handle, attr.ino)).unwrap();
    let (_, other) =
        silent.create(Ino::ROOT, &name("other"), 0o644, READ_WRITE, &ROOT).await.unwrap();
    silent.setlk((ino, locked), exclusive(1), false, || false).await.unwrap();
    silent.write(locked, 0, Bytes::from("under the lock"), false, &ROOT).await.unwrap();

    // The lease ends, and somebody else gets the lock. The waiting is the master's.
    let heir = mount(&master, "heir").await;
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&heir).run(stop.clone()));
    let theirs = open(&heir, ino).await;
    heir.setlk((ino, theirs), exclusive(1), true, || false).await.unwrap();

    let kind = |error: htfs::error::FsError| error.kind();
    assert_eq!(silent.read(locked, 0, 9).await.map_err(kind), Err(ErrorKind::Io));
    let write = silent.write(locked, 0, Bytes::from("late"), false, &ROOT).await;
    assert_eq!(write.map_err(kind), Err(ErrorKind::Io));
    assert_eq!(silent.flush(locked, 9).await.map_err(kind), Err(ErrorKind::Io), "close tells it");
    assert_eq!(silent.dirty_byte_count(), 0, "what was written under the lock is not sent");
    assert_eq!(heir.getattr(ino).await.unwrap().size, 0);
    silent.release(locked).await.unwrap();

    // Everything else goes on in a new session: names, files that were not locked, new descriptors.
    silent.mkdir(Ino::ROOT, &name("d"), 0o755, &ROOT).await.unwrap();
    assert_eq!(silent.read(other.handle, 0, 9).await.unwrap(), "");
    let again = open(&silent, ino).await;
    assert_eq!(silent.read(again, 0, 9).await.unwrap(), "");
    let refused = silent.setlk((ino, again), exclusive(1), false, || false).await;
    assert_eq!(refused.map_err(kind), Err(ErrorKind::WouldBlock));

    heir.release(theirs).await.unwrap();
    silent.setlk((ino, again), exclusive(1), true, || false).await.unwrap();
    stop.cancel();
    running.await.unwrap();
}
