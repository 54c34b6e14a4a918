//! Contents of another chunk server, to copy from.

use bytes::Bytes;
use tokio::runtime::Handle;

use super::ChunkSource;
use crate::error::Result;
use crate::proto::chunk::{Read, Seek};
use crate::rpc::{Method, RpcClient};
use crate::types::{ChunkKey, ChunkVersion, ServerUrl, Whence};

/// Another chunk server. To be asked from a thread that may wait, inside tokio's multi-threaded
/// runtime.
pub(super) struct RemoteSource {
    client: RpcClient,
    server: ServerUrl,
}

impl RemoteSource {
    pub(super) fn new(client: RpcClient, server: ServerUrl) -> Self {
        Self { client, server }
    }

    fn call<M: Method>(&self, call: M) -> Result<M::Answer> {
        let answer = self.client.call(self.server.as_str(), call);
        Ok(Handle::current().block_on(answer)?)
    }
}

impl ChunkSource for RemoteSource {
    fn read(&self, key: &ChunkKey, at: &ChunkVersion, offset: u64, length: u64) -> Result<Bytes> {
        self.call(Read { chunk: *key, version: at.clone(), offset, length })
    }

    fn seek(
        &self,
        key: &ChunkKey,
        at: &ChunkVersion,
        offset: u64,
        whence: Whence,
    ) -> Result<Option<u64>> {
        let found = self.call(Seek { chunk: *key, version: at.clone(), offset, whence })?;
        Ok(found.0)
    }
}
