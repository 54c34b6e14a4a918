//! Master and chunk servers over the network.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::data::{ChunkChange, ChunkIo};
use super::meta::Meta;
use crate::addresses::Addresses;
use crate::client::calls::Calls;
use crate::error::{ErrorKind, FsError, Result};
use crate::proto::chunk::{
    Allocate, Copy, MakeCuts, Optional, Punch, Read, Seek, SyncChunks, Write, Zero,
};
use crate::proto::cluster::{ListMembers, Member};
use crate::rpc::Method;
use crate::rpc::patience::{Patience, inherited};
use crate::types::{ChunkKey, ChunkLayout, ChunkVersion, Extent, ServerId, Whence};

/// A cluster by the URL of its master.
#[derive(Clone)]
pub struct Remote<C> {
    calls: C,
    master: Arc<str>,
    addresses: Arc<Addresses>,
}

impl<C: Calls> Remote<C> {
    /// The cluster of the master at this URL.
    pub fn new(calls: C, master: &str) -> Self {
        Self { calls, master: master.into(), addresses: Arc::default() }
    }

    /// Asks a chunk server, wherever it is now. If it cannot be reached it may come back, there or at
    /// another address, as long as whoever asks has time.
    async fn ask_server<M: Method + Clone>(&self, server: &ServerId, call: M) -> Result<M::Answer> {
        let mut located = self.addresses.of(server, || self.members()).await?;
        let patience = self.calls.patience();
        loop {
            let attempt = self.calls.call(&located.address, call.clone());
            let attempt = patience.clone().with_alternatives().scope(attempt).await;
            let failure = match attempt.map_err(FsError::from) {
                // It, or another one that it needs for that.
                Err(error) if error.kind() == ErrorKind::Unreachable => error,
                outcome => return outcome,
            };
            let moved = self.addresses.instead_of(server, &located, || self.members());
            match patience.clone().with_alternatives().scope(moved).await {
                Ok(Some(moved)) => located = moved,
                Ok(None) | Err(_) if patience.pause().await => {}
                Ok(None) | Err(_) => return Err(failure),
            }
        }
    }

    async fn members(&self) -> Result<Vec<Member>> {
        self.calls.call(&self.master, ListMembers {}).await.map_err(FsError::from)
    }

    /// Asks the replicas one after the other until one answers. If none can be reached, it waits for
    /// the first one, as long as whoever asks has time.
    async fn ask_any<M, F>(&self, chunk: &ChunkLayout, call: F) -> Result<M::Answer>
    where
        M: Method + Clone,
        F: Fn() -> M + Send + Sync,
    {
        if let [server] = &chunk.replicas[..] {
            return self.ask_server(server, call()).await;
        }
        let patience = Patience::current().with_alternatives();
        match (patience.scope(self.ask_each(chunk, &call)).await, chunk.replicas.first()) {
            (Err(error), Some(server)) if error.kind() == ErrorKind::Unreachable => {
                self.ask_server(server, call()).await
            }
            (outcome, _) => outcome,
        }
    }

    async fn ask_each<M, F>(&self, chunk: &ChunkLayout, call: &F) -> Result<M::Answer>
    where
        M: Method + Clone,
        F: Fn() -> M + Send + Sync,
    {
        let mut failure = no_replica(chunk);
        for server in &chunk.replicas {
            match self.ask_server(server, call()).await {
                Ok(answer) => return Ok(answer),
                // It is the layout that is old: other replicas would say the same.
                Err(error) if error.kind() == ErrorKind::Stale => return Err(error),
                Err(error) => {
                    tracing::debug!(%server, chunk = %chunk.key, "a replica failed: {error}");
                    failure = error;
                }
            }
        }
        Err(failure)
    }

    /// Has every replica do the same, at the same time. The last answer stands for all.
    async fn ask_all<M, F>(&self, chunk: &ChunkLayout, call: F) -> Result<M::Answer>
    where
        M: Method + Clone,
        F: Fn() -> M + Send,
    {
        if let [server] = &chunk.replicas[..] {
            return self.ask_server(server, call()).await;
        }
        let mut asked = JoinSet::new();
        for server in chunk.replicas.clone() {
            let (remote, call) = (self.clone(), call());
            asked.spawn(inherited(async move { remote.ask_server(&server, call).await }));
        }
        let mut outcome = Err(no_replica(chunk));
        let mut failure = None;
        while let Some(joined) = asked.join_next().await {
            match joined.unwrap_or_else(|error| Err(super::given_up(&error))) {
                Err(error) => failure = Some(error),
                answer => outcome = answer,
            }
        }
        failure.map_or(outcome, Err)
    }
}

fn no_replica(chunk: &ChunkLayout) -> FsError {
    FsError::new(ErrorKind::Io, format!("no server has chunk {}", chunk.key))
}

impl<C: Calls> Meta for Remote<C> {
    fn ask<M: Method>(&self, call: M) -> impl Future<Output = Result<M::Answer>> + Send {
        let answer = self.calls.call(&self.master, call);
        async { answer.await.map_err(FsError::from) }
    }
}

impl<C: Calls> ChunkIo for Remote<C> {
    async fn read(&self, chunk: &ChunkLayout, offset: u64, length: u64) -> Result<Bytes> {
        let key = chunk.key;
        let call = || Read { chunk: key, version: ChunkVersion::from(chunk), offset, length };
        match self.ask_any(chunk, call).await {
            // Placed, and never written to: nobody has told of bytes in it.
            Err(error) if error.kind() == ErrorKind::NotFound && chunk.bytes == 0 => {
                Ok(Bytes::new())
            }
            outcome => outcome.map_err(|error| lost_if_missing(chunk, error)),
        }
    }

    async fn write(&self, chunk: &ChunkLayout, extents: Vec<Extent>) -> Result<u64> {
        let key = chunk.key;
        let call =
            || Write { chunk: key, version: ChunkVersion::from(chunk), extents: extents.clone() };
        self.ask_all(chunk, call).await.map_err(|error| lost_if_missing(chunk, error))
    }

    async fn change(&self, chunk: &ChunkLayout, change: ChunkChange) -> Result<u64> {
        let (key, version) = (chunk.key, || ChunkVersion::from(chunk));
        let changed = match change {
            ChunkChange::Cut => {
                self.ask_all(chunk, || MakeCuts { chunk: key, version: version() }).await
            }
            ChunkChange::Allocate { offset, length } => {
                let call =
                    || Allocate { chunk: key, version: version(), offset, length, extend: false };
                self.ask_all(chunk, call).await
            }
            ChunkChange::Punch { offset, length } => {
                let call = || Punch { chunk: key, version: version(), offset, length };
                self.ask_all(chunk, call).await
            }
            ChunkChange::Zero { offset, length } => {
                let call = || Zero { chunk: key, version: version(), offset, length };
                self.ask_all(chunk, call).await
            }
        };
        match changed {
            Err(error) if error.kind() == ErrorKind::NotFound && chunk.bytes == 0 => Ok(0),
            outcome => outcome.map_err(|error| lost_if_missing(chunk, error)),
        }
    }

    async fn seek(&self, chunk: &ChunkLayout, offset: u64, target: Whence) -> Result<Option<u64>> {
        let key = chunk.key;
        let call =
            || Seek { chunk: key, version: ChunkVersion::from(chunk), offset, whence: target };
        match self.ask_any(chunk, call).await {
            Ok(found) => Ok(found.0),
            Err(error) if error.kind() == ErrorKind::NotFound && chunk.bytes == 0 => {
                Ok((target == Whence::Hole).then_some(offset))
            }
            Err(error) => Err(lost_if_missing(chunk, error)),
        }
    }

    async fn copy(
        &self,
        (source, source_at): (&ChunkLayout, u64),
        (target, target_at): (&ChunkLayout, u64),
        length: u64,
    ) -> Result<Option<u64>> {
        let has_both = target.replicas.iter().all(|server| source.replicas.contains(server));
        if !has_both || source.bytes == 0 {
            return Ok(None);
        }
        let call = || Copy {
            from_server: Optional(None),
            from_chunk: source.key,
            from_version: ChunkVersion::from(source),
            from_offset: source_at,
            chunk: target.key,
            version: ChunkVersion::from(target),
            offset: target_at,
            length,
        };
        let copied = self.ask_all(target, call).await;
        copied.map(Some).map_err(|error| lost_if_missing(source, error))
    }

    async fn sync(&self, server: &ServerId, chunks: Vec<ChunkKey>) -> Result<()> {
        self.ask_server(server, SyncChunks { chunks: Some(chunks) }).await.map(|_| ())
    }
}

/// If a server does not have a chunk to which bytes were written, it has lost it. Or the layout is
/// from before the file was cut: who sees this error asks for it again.
fn lost_if_missing(chunk: &ChunkLayout, error: FsError) -> FsError {
    match error.kind() {
        ErrorKind::NotFound => {
            FsError::new(ErrorKind::Corrupt, format!("the servers have lost chunk {}", chunk.key))
        }
        _ => error,
    }
}
