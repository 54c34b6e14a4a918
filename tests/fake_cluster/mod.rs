//! A cluster inside the process: the real namespace over a map, chunks in memory. Every call takes
//! the way over XML-RPC values; only the network is missing.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(unreachable_pub, reason = "shared by several tests, each a crate of its own")]

mod chunks;
mod master;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use htfs::client::native::NativeFs;
use htfs::client::native::data::{ChunkChange, ChunkIo};
use htfs::client::native::meta::Meta;
use htfs::error::{ErrorKind, FsError, Result};
use htfs::rpc::{Answer as _, Caller, Method, Registry};
use htfs::types::{ChunkKey, ChunkLayout, Extent, ServerUrl, Whence};
use tokio_util::sync::CancellationToken;

use chunks::Chunks;
use master::Master;

/// A handle of the cluster; clones are of the same one.
#[derive(Clone)]
pub struct FakeCluster {
    registry: Arc<Registry>,
    pub master: Arc<Master>,
    pub chunks: Arc<Chunks>,
    /// So many of the next writes to chunks fail.
    pub failing_writes: Arc<AtomicU32>,
    /// Calls of the master so far.
    pub asked: Arc<AtomicU32>,
    /// Calls of chunk servers so far.
    pub chunk_calls: Arc<AtomicU32>,
}

impl FakeCluster {
    pub fn new() -> Self {
        let master = Arc::new(Master::new());
        Self {
            registry: Arc::new(master::registry(&master)),
            master,
            chunks: Arc::default(),
            failing_writes: Arc::default(),
            asked: Arc::default(),
            chunk_calls: Arc::default(),
        }
    }

    /// One more client, with its events followed until the token is dropped.
    pub async fn client(&self) -> (Arc<NativeFs<Self>>, tokio_util::sync::DropGuard) {
        let fs = NativeFs::attach(self.clone(), "test").await.expect("the master takes sessions");
        let shutdown = CancellationToken::new();
        tokio::spawn(Arc::clone(&fs).run(shutdown.clone()));
        (fs, shutdown.drop_guard())
    }

    fn chunk_call(&self) {
        self.chunk_calls.fetch_add(1, Ordering::SeqCst);
    }
}

impl Meta for FakeCluster {
    async fn ask<M: Method>(&self, call: M) -> Result<M::Answer> {
        if M::NAME != "fs.events" && M::NAME != "fs.renew" {
            self.asked.fetch_add(1, Ordering::SeqCst);
        }
        let answer = self.registry.dispatch(M::NAME, call.into_params(), Caller::default()).await;
        let value = answer.map_err(FsError::from)?;
        M::Answer::from_value(value)
            .map_err(|wrong| FsError::new(ErrorKind::Protocol, wrong.to_string()))
    }
}

impl ChunkIo for FakeCluster {
    async fn read(&self, chunk: &ChunkLayout, offset: u64, length: u64) -> Result<Bytes> {
        self.chunk_call();
        tokio::task::yield_now().await;
        self.chunks.read(chunk, offset, length)
    }

    async fn write(&self, chunk: &ChunkLayout, pieces: Vec<Extent>) -> Result<u64> {
        self.chunk_call();
        tokio::task::yield_now().await;
        let fails = |n: u32| n.checked_sub(1);
        if self.failing_writes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok() {
            return Err(FsError::new(ErrorKind::NoSpace, "the disk is full, says the test"));
        }
        self.chunks.write(chunk, &pieces)
    }

    async fn change(&self, chunk: &ChunkLayout, change: ChunkChange) -> Result<u64> {
        self.chunk_call();
        self.chunks.change(chunk, change)
    }

    async fn seek(&self, chunk: &ChunkLayout, offset: u64, target: Whence) -> Result<Option<u64>> {
        self.chunk_call();
        self.chunks.seek(chunk, offset, target)
    }

    async fn copy(
        &self,
        source: (&ChunkLayout, u64),
        target: (&ChunkLayout, u64),
        length: u64,
    ) -> Result<Option<u64>> {
        self.chunk_call();
        self.chunks.copy(source, target, length).map(Some)
    }

    async fn sync(&self, _: &ServerUrl, _: Vec<ChunkKey>) -> Result<()> {
        self.chunk_call();
        Ok(())
    }
}
