//! The chunk server's side of heartbeats, with a real master and a pretended disk.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use htfs::chunk::heartbeat::{Heart, Holdings};
use htfs::chunk::identity::{self, Identity};
use htfs::chunk::membership::Standing;
use htfs::chunk::native::Kept;
use htfs::error::Result;
use htfs::limits;
use htfs::proto::Packed;
use htfs::proto::cluster::{Join, Strays};
use htfs::proto::fs::Place;
use htfs::store::{Store, Txn};
use htfs::types::{ChunkKey, Ino, ServerUrl, Space};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::client::{DISK_SIZE, Master, eventually, joining};

/// A server's chunks, without contents.
#[derive(Default)]
struct Keys(Mutex<BTreeSet<ChunkKey>>);

impl Keys {
    fn locked(&self) -> MutexGuard<'_, BTreeSet<ChunkKey>> {
        self.0.lock().expect("nobody panics with the lock")
    }

    fn add(&self, key: ChunkKey) {
        self.locked().insert(key);
    }

    fn all(&self) -> Vec<ChunkKey> {
        self.locked().iter().copied().collect()
    }
}

impl Holdings for Keys {
    fn space(&self) -> Result<Space> {
        Ok(Space { total: DISK_SIZE, free: DISK_SIZE, held: 0 })
    }

    fn held(&self, after: Option<&ChunkKey>, limit: usize) -> Result<Vec<(ChunkKey, u64)>> {
        let is_behind = |key: &ChunkKey| after.is_none_or(|after| key > after);
        Ok(self.all().into_iter().filter(is_behind).take(limit).map(|key| (key, 1)).collect())
    }

    fn delete(&self, keys: &[ChunkKey]) -> Result<Kept> {
        self.locked().retain(|key| !keys.contains(key));
        Ok(Kept::new())
    }

    fn learn_strays(&self, _: &[ChunkKey], _: &[ChunkKey], _: u64) -> Result<()> {
        Ok(())
    }

    fn confirm_strays(&self) -> Result<()> {
        Ok(())
    }

    fn see_master(&self, _: u64) -> Result<()> {
        Ok(())
    }

    fn strays(&self, _: u64) -> Strays {
        Strays::default()
    }
}

/// More chunks are deleted than one heartbeat can name, and those of files that are there stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_deletes_what_no_file_refers_to() {
    let master = Master::start().await;
    let client = master.client().await;
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path(), &identity::TABLES).unwrap());
    // So old that its uptime is due to be noted, which fails later on.
    let put = |txn: &mut dyn Txn| {
        txn.put(identity::TABLES[0], b"uptime", &3_600_000_u64.to_be_bytes());
        Ok(())
    };
    store.write(put).unwrap();
    let who = Arc::new(Identity::open(&store).unwrap());
    assert!(who.uptime_ms() >= 3_600_000);
    store.refuse_writes("the disk of a test failed".to_owned());
    let url = ServerUrl::new("https://localhost:9001").unwrap();
    let join = Join {
        server: who.id().clone(),
        boot: who.boot(),
        process: who.process(),
        ..joining(1, &url)
    };
    let cluster = client.call(join).await.unwrap();
    let keys = Arc::new(Keys::default());
    let (to_heard, mut heard) = watch::channel(false);
    let shutdown = CancellationToken::new();
    let heart = Heart {
        client: client.rpc.clone(),
        master: master.running.url().to_owned(),
        who,
        holdings: Arc::<Keys>::clone(&keys),
        disk: 7,
    };
    let (standing, _) = watch::channel(Standing::Member(cluster));
    let beating = tokio::spawn(heart.run(standing, to_heard, shutdown.clone()));
    heard.wait_for(|heard| *heard).await.unwrap();

    let stays = client.create(Ino::ROOT, "stays").await.layout[0].key;
    keys.add(stays);
    let ino = client.create(Ino::ROOT, "goes").await.attr.ino;
    let count = limits::DELETIONS_PER_HEARTBEAT_MAX as u64 + limits::PLACE_MAX as u64;
    let indexes: Vec<u64> = (0..count).collect();
    for indexes in indexes.chunks(limits::PLACE_MAX) {
        let place = Place { ino, indexes: Packed(indexes.to_vec()) };
        let placed = client.call(place).await.unwrap().0;
        placed.iter().for_each(|chunk| keys.add(chunk.key));
    }
    client.unlink(Ino::ROOT, "goes").await;
    eventually("the chunks are deleted", async || {
        client.renew(&[]).await.unwrap();
        keys.all() == [stays]
    })
    .await;
    shutdown.cancel();
    beating.await.unwrap();
}
