//! A cluster inside the process: the real namespace over a map, chunks in memory. Every call takes
//! the way over XML-RPC values; only the network is missing.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(unreachable_pub, reason = "shared by several tests, each a crate of its own")]

mod chunks;
mod master;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use htfs::client::native::NativeFs;
use htfs::client::native::data::{ChunkChange, ChunkIo};
use htfs::client::native::meta::Meta;
use htfs::error::{ErrorKind, FsError, Result};
use htfs::rpc::{Answer as _, Caller, Method, Registry};
use htfs::types::{ChunkKey, ChunkLayout, Extent, ServerId, Whence};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use chunks::Chunks;
use master::Master;

/// What can happen to a call.
#[derive(Clone, Debug)]
pub enum Mishap {
    /// It is carried out, and the answer is lost.
    AnswerLost,
    /// It times out, and is carried out when this says so.
    Late(Arc<Notify>),
}

/// A handle of the cluster; clones are of the same one.
#[derive(Clone)]
pub struct FakeCluster {
    registry: Arc<Registry>,
    pub master: Arc<Master>,
    pub chunks: Arc<Chunks>,
    /// So many of the next writes to chunks fail.
    pub failing_writes: Arc<AtomicU32>,
    /// What happens to the next call of a method of the master, and which method.
    pub mishap: Arc<Mutex<Option<(&'static str, Mishap)>>>,
    /// Calls of the master so far.
    pub asked: Arc<AtomicU32>,
    /// Calls of chunk servers so far.
    pub chunk_calls: Arc<AtomicU32>,
    /// The indexes of the chunks that were synced, by call.
    pub synced: Arc<Mutex<Vec<Vec<u64>>>>,
}

impl FakeCluster {
    pub fn new() -> Self {
        let master = Arc::new(Master::new());
        Self {
            registry: Arc::new(master::registry(&master)),
            master,
            chunks: Arc::default(),
            failing_writes: Arc::default(),
            mishap: Arc::default(),
            asked: Arc::default(),
            chunk_calls: Arc::default(),
            synced: Arc::default(),
        }
    }

    /// One more client, with its events followed until the token is dropped.
    pub async fn client(&self) -> (Arc<NativeFs<Self>>, tokio_util::sync::DropGuard) {
        let fs = NativeFs::attach(self.clone(), "test").await.expect("the master takes sessions");
        let shutdown = CancellationToken::new();
        tokio::spawn(Arc::clone(&fs).run(shutdown.clone()));
        (fs, shutdown.drop_guard())
    }

    fn mishap_of(&self, method: &str) -> Option<Mishap> {
        let mut mishap = self.mishap.lock().expect("no test panics in here");
        mishap.take_if(|(unlucky, _)| *unlucky == method).map(|(_, mishap)| mishap)
    }

    /// Sets what happens to the next call of a method of the master.
    pub fn lose(&self, method: &'static str, mishap: Mishap) {
        *self.mishap.lock().expect("no test panics in here") = Some((method, mishap));
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
        let mishap = self.mishap_of(M::NAME);
        let (registry, params) = (Arc::clone(&self.registry), call.into_params());
        let dispatched = async move { registry.dispatch(M::NAME, params, Caller::default()).await };
        let answer = match mishap {
            None => dispatched.await,
            Some(Mishap::AnswerLost) => {
                dispatched.await.map_err(FsError::from)?;
                return Err(FsError::new(ErrorKind::Io, "the connection broke, says the test"));
            }
            Some(Mishap::Late(begin)) => {
                tokio::spawn(async move {
                    begin.notified().await;
                    drop(dispatched.await);
                });
                return Err(FsError::new(ErrorKind::TimedOut, "too late, says the test"));
            }
        };
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

    async fn sync(&self, _: &ServerId, chunks: Vec<ChunkKey>) -> Result<()> {
        self.chunk_call();
        let indexes = chunks.iter().map(|chunk| chunk.index).collect();
        self.synced.lock().expect("no test panics in here").push(indexes);
        Ok(())
    }
}
