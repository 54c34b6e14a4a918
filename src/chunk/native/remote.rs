//! Contents of another chunk server, to copy from.

use bytes::Bytes;
use tokio::runtime::Handle;

use super::ChunkSource;
use crate::chunk::peers::Peers;
use crate::error::Result;
use crate::proto::chunk::{Read, Seek};
use crate::rpc::Method;
use crate::types::{ChunkKey, ChunkVersion, ServerId, Whence};

/// Another chunk server. To be asked from a thread that may wait, inside tokio's multi-threaded
/// runtime.
pub(super) struct RemoteSource {
    peers: Peers,
    server: ServerId,
}

impl RemoteSource {
    /// A server that a caller names.
    ///
    /// # Errors
    /// `UnknownServer` if the master does not know it; that it cannot be asked.
    pub(super) fn new(peers: Peers, server: ServerId) -> Result<Self> {
        Handle::current().block_on(peers.check(&server))?;
        Ok(Self { peers, server })
    }

    fn call<M: Method + Clone>(&self, call: M) -> Result<M::Answer> {
        Handle::current().block_on(self.peers.ask(&self.server, call))
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
