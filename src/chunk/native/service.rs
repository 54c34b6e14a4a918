//! The methods of the native contents: decode, do, answer; and the work beside them.

use std::sync::Arc;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio_util::sync::CancellationToken;

use super::remote::RemoteSource;
use super::{CopyFrom, NativeStore, StagedValues};
use crate::chunk::peers::Peers;
use crate::error::Result;
use crate::limits;
use crate::proto::chunk::{
    Allocate, Copy, Delete, Found, GetSpace, List, Listed, MakeCuts, Punch, Read, Seek, Stat,
    SyncChunks, Truncate, Write, Zero,
};
use crate::proto::values::Done;
use crate::rpc::{Method, Registry};
use crate::store::in_background;

/// Offers all methods of the native contents. `staged` are the values that classic clients put:
/// `chunk.sync` covers them, too, so this has to come after their own methods.
/// `peers` are the other chunk servers, for `chunk.copy`.
pub fn register(
    registry: &mut Registry,
    store: &Arc<NativeStore>,
    staged: &Arc<dyn StagedValues>,
    peers: &Peers,
) {
    let own = Arc::clone(store);
    registry.add_quick(move |call: Read, _| {
        let own = Arc::clone(&own);
        let is_quick = call.length <= limits::QUICK_READ_MAX;
        let read = move || own.read(&call.chunk, &call.version, call.offset, call.length);
        quickly_or_beside(is_quick, read)
    });
    register_changes(registry, store, peers);
    register_questions(registry, store);
    let values = Arc::clone(staged);
    let own = Arc::clone(store);
    registry.add_quick(move |call: SyncChunks, _| {
        let (own, values) = (Arc::clone(&own), Arc::clone(&values));
        async move { in_background(move || sync(&own, &*values, call)).await.map(|()| Done) }
    });
    registry.weigh::<SyncChunks>();
}

fn sync(store: &NativeStore, staged: &dyn StagedValues, call: SyncChunks) -> Result<()> {
    match call.chunks {
        Some(chunks) => store.sync(&chunks),
        None => staged.sync().and(store.sync_all()),
    }
}

fn register_changes(registry: &mut Registry, store: &Arc<NativeStore>, peers: &Peers) {
    let own = Arc::clone(store);
    registry.add_quick(move |call: Write, _| {
        let own = Arc::clone(&own);
        let size: usize = call.extents.iter().map(|extent| extent.data.len()).sum();
        // It goes into the operating system's cache, in less time than a hand-over takes.
        let is_quick =
            size <= limits::QUICK_WRITE_MAX && !own.waits_for_disk(&call.chunk, &call.extents);
        quickly_or_beside(is_quick, move || own.write(&call.chunk, &call.version, &call.extents))
    });
    offer(registry, store, |store, call: Truncate| {
        store.truncate(&call.chunk, &call.version, call.length)
    });
    offer(registry, store, |store, call: MakeCuts| store.cut(&call.chunk, &call.version));
    offer(registry, store, |store, call: Allocate| {
        let range = (call.offset, call.length);
        store.allocate(&call.chunk, &call.version, range, call.extend)
    });
    offer(registry, store, |store, call: Punch| {
        store.punch(&call.chunk, &call.version, call.offset, call.length)
    });
    offer(registry, store, |store, call: Zero| {
        store.zero(&call.chunk, &call.version, call.offset, call.length)
    });
    let peers = peers.clone();
    offer(registry, store, move |store, call: Copy| {
        let from =
            CopyFrom { key: call.from_chunk, at: call.from_version, offset: call.from_offset };
        let target = (&call.chunk, &call.version);
        match call.from_server.0 {
            None => store.copy(store, &from, target, call.offset, call.length),
            Some(server) => {
                let source = RemoteSource::new(peers.clone(), server);
                store.copy(&source, &from, target, call.offset, call.length)
            }
        }
    });
    registry.weigh::<Allocate>();
    registry.weigh::<Zero>();
    registry.weigh::<Copy>();
    offer(registry, store, |store, call: Delete| {
        let kept = store.delete(&call.chunks)?;
        kept.into_iter().next().map_or(Ok(Done), |(_, error)| Err(error))
    });
}

fn register_questions(registry: &mut Registry, store: &Arc<NativeStore>) {
    offer(registry, store, |store, call: Seek| {
        store.seek(&call.chunk, &call.version, call.offset, call.whence).map(Found)
    });
    offer(registry, store, |store, call: Stat| store.stat(&call.chunk));
    offer(registry, store, |store, call: List| {
        let limit = usize::try_from(call.limit).unwrap_or(usize::MAX);
        let page = store.list(call.after.0.as_ref(), limit)?;
        Ok(page.into_iter().map(|(key, stat)| Listed { key, stat }).collect())
    });
    offer(registry, store, |store, _: GetSpace| store.space());
}

/// Offers a method that may wait for the disk.
fn offer<M: Method>(
    registry: &mut Registry,
    store: &Arc<NativeStore>,
    answer: impl Fn(&NativeStore, M) -> Result<M::Answer> + Send + Sync + 'static,
) {
    let store = Arc::clone(store);
    registry.add(move |call: M, _| {
        let answer = blocking(|| answer(&store, call));
        async { answer }
    });
}

/// Does work at once if it is quick, else in a thread where it keeps no other call waiting.
async fn quickly_or_beside<T: Send + 'static>(
    is_quick: bool,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if is_quick { work() } else { in_background(work).await }
}

/// Does work that may wait for the disk where it keeps no other call waiting.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Until `shutdown`, syncs from time to time, so that a power cut costs little; first looks through
/// what the last process left.
pub async fn tend(store: Arc<NativeStore>, shutdown: CancellationToken) {
    let own = Arc::clone(&store);
    report("looking through the chunks", in_background(move || own.inspect()).await);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(limits::CHUNK_SYNC_PERIOD) => {}
        }
        if store.is_dirty() {
            let own = Arc::clone(&store);
            report("syncing the chunks", in_background(move || own.sync_all()).await);
        }
    }
}

fn report(what: &str, result: Result<()>) {
    if let Err(error) = result {
        tracing::error!("{what}: {error}");
    }
}
