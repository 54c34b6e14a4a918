//! A master with a chunk server that has a disk: a file from its first byte to its last.

use bytes::Bytes;
use htfs::chunk;
use htfs::error::ErrorKind;
use htfs::proto::chunk::{Read, Stat, Write};
use htfs::proto::fs::StatFileSystem;
use htfs::types::{ChunkVersion, Extent, Ino};

use crate::client::{Client, Master, eventually};
use crate::common::keys;

async fn start_chunk_server(master: &Master, dir: &tempfile::TempDir) -> chunk::Running {
    let (cert, key) = (keys().certificate.clone(), keys().key.clone());
    let url = master.running.url().to_owned();
    let config = chunk::Config::new(url, dir.path().join("chunk"), cert, key);
    let mut running = chunk::start(config).await.expect("the chunk server starts");
    running.joined().await.expect("the master takes it");
    running
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_file_leaves_nothing_on_the_chunk_server() {
    let master = Master::start().await;
    let dir = tempfile::tempdir().unwrap();
    let server = start_chunk_server(&master, &dir).await;
    let at_server = |client: &Client| client.at(server.url().as_str());
    let client = master.client().await;
    let contents = at_server(&client);
    let stat = client.call(StatFileSystem {}).await.unwrap().0;
    assert!(stat.total > 0 && stat.total == stat.free, "{stat:?}");

    let opened = client.create(Ino::ROOT, "file").await;
    let layout = &opened.layout[0];
    let (chunk, version) = (layout.key, ChunkVersion::from(layout));
    let extents = vec![Extent { offset: 0, data: Bytes::from_static(b"hello\n") }];
    let held = contents.call(Write { chunk, version: version.clone(), extents }).await.unwrap();
    client.extend(&opened, 6).await.unwrap();
    let read = Read { chunk, version, offset: 0, length: 100 };
    assert_eq!(contents.call(read).await.unwrap(), "hello\n");
    assert!(held > 0);

    client.unlink(Ino::ROOT, "file").await;
    eventually("the chunk is deleted", async || {
        client.renew(&[]).await.unwrap();
        let stat = contents.call(Stat { chunk }).await;
        stat.is_err_and(|error| error.kind() == ErrorKind::NotFound)
    })
    .await;
    server.stop().await.unwrap();
}
