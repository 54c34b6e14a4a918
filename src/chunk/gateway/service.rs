//! The methods of the gateway: `get`, `put` and `chunk.replace` as the tree has it, and what the master asks
//! about staged values.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::block_in_place;

use super::Gateway;
use crate::chunk::native::StagedValues as _;
use crate::clock;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::Packed;
use crate::proto::classic::{Get, Put};
use crate::proto::gateway::{Discard, Peek, Staged, Take, TakeLists};
use crate::proto::server::{Replace, Replaced};
use crate::proto::values::Done;
use crate::rpc::Registry;
use crate::types::FileKind;

/// Offers the methods, in the place of those of the hash table alone.
pub fn register(registry: &mut Registry, gateway: &Arc<Gateway>) {
    let own = Arc::clone(gateway);
    registry.add(move |call: Get, caller| {
        let own = Arc::clone(&own);
        async move { own.get(&call, &caller).await }
    });
    let own = Arc::clone(gateway);
    registry.add(move |call: Put, caller| {
        let own = Arc::clone(&own);
        async move { own.put(call, caller.program()).await.map(|()| Done) }
    });
    let own = Arc::clone(gateway);
    registry.add(move |call: Replace, _| {
        let own = Arc::clone(&own);
        async move { own.replace(call).await }
    });
    let own = Arc::clone(gateway);
    registry.add(move |call: Take, _| {
        let Take { key, chunk, version, size } = call;
        let take = || own.chunks.take(&*own.contents, &key, (&chunk, version), size);
        let taken = block_in_place(take);
        async { taken.map(Packed) }
    });
    let own = Arc::clone(gateway);
    registry.add(move |call: Peek, _| {
        let staged = block_in_place(|| own.peek(&call));
        async { staged.map(Packed) }
    });
    let own = Arc::clone(gateway);
    registry.add(move |call: TakeLists, _| {
        let lists = block_in_place(|| own.contents.take_lists(&call.key));
        async { lists.map(Packed) }
    });
    let own = Arc::clone(gateway);
    registry.add(move |call: Discard, _| {
        let is_discarded = block_in_place(|| own.contents.discard(&call.key, call.token));
        async { is_discarded }
    });
}

impl Gateway {
    /// The list of a directory in the tree is nobody's to replace: names come and go with what they
    /// stand for. To whoever wants to, it is done.
    async fn replace(&self, call: Replace) -> Result<Replaced> {
        let Replace { key, dialect, expected, value, ttl } = call;
        let found = self.resolve(&key, dialect).await?;
        if found.is_some_and(|found| found.attr.kind == FileKind::Directory) {
            return Ok(Replaced(true));
        }
        let replace = || self.contents.replace(&key, expected.as_ref(), (value, ttl), clock::now());
        block_in_place(replace).map(Replaced)
    }

    fn peek(&self, call: &Peek) -> Result<(Staged, Bytes)> {
        if call.size > limits::SYMLINK_SIZE_MAX as u64 {
            let message = format!("{} bytes are too many for a symbolic link", call.size);
            return Err(FsError::new(ErrorKind::NameTooLong, message));
        }
        self.contents.contents(&call.key, call.size)
    }
}
