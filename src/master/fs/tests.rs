//! Strays, and what still works when the master's disk takes nothing any more.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::FileSystem;
use crate::error::ErrorKind;
use crate::limits;
use crate::master::service::Master;
use crate::master::state::{ROLE, State};
use crate::proto::Packed;
use crate::proto::chunk::Optional;
use crate::proto::fs::{Create, GetAttr, Open, OpenMode, Unlink};
use crate::proto::session::Attach;
use crate::rpc::Peer;
use crate::store::DataDir;
use crate::types::{Access, ChunkKey, Credentials, Ino, Name, ServerId};

fn mode(access: Access, is_truncating: bool) -> Packed<OpenMode> {
    Packed(OpenMode { access, is_truncating, is_exclusive: false, keeps_atime: false })
}

fn start(place: &Path) -> Arc<FileSystem> {
    let dir = DataDir::open(&place.join("data"), ROLE).unwrap();
    let state = State::open(&dir, limits::BACKUP_EVERY_DEFAULT).unwrap();
    let master = Master::new(dir, state).unwrap();
    FileSystem::start(&master, Duration::from_secs(60), &CancellationToken::new()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_its_way_into_the_tree_is_no_stray() {
    let place = tempfile::tempdir().unwrap();
    let files = start(place.path());
    let server = ServerId::new(1);
    let key = ChunkKey { ino: Ino(7), index: 0, incarnation: 9 };
    let behind = ChunkKey { index: 1, ..key };
    let other = ChunkKey { incarnation: 8, ..key };
    let strays = || files.sort_out(&server, vec![(key, 1), (behind, 1), (other, 1)]).unwrap().1;
    let arriving = files.arriving(&key);
    assert_eq!(strays(), [other]);
    drop(arriving);
    assert_eq!(strays(), [key, behind, other]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_disk_does_not_keep_files_from_being_opened() {
    let place = tempfile::tempdir().unwrap();
    let files = start(place.path());
    let who = || Packed(Credentials::ROOT);
    let attach = Attach { client: Bytes::new(), cluster: Optional(None) };
    let session = files.attach(attach, Peer::Loopback).unwrap().0.id;
    let (parent, name) = (Ino::ROOT, Name::new("file").unwrap());
    let open = mode(Access::WRITE, false);
    let call = Create { parent, name: name.clone(), mode: 0o644, open, who: who(), session };
    let ino = files.create(call).unwrap().0.attr.ino;

    files.store().refuse_writes("a test".to_owned());
    let open = |mode| files.open(Open { ino, mode, who: who(), session });
    let before = files.getattr(GetAttr { ino }).unwrap().0;
    for access in [Access::READ, Access::WRITE, Access::READ.and(Access::WRITE)] {
        assert_eq!(open(mode(access, false)).unwrap().0.attr, before);
    }
    let refused = open(mode(Access::WRITE, true)).map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnly, "who cuts the file has to hear of it");
    let unlinked = files.unlink(Unlink { parent, name, who: who(), session });
    assert_eq!(unlinked.map(drop).unwrap_err().kind(), ErrorKind::ReadOnly);
}
