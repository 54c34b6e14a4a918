//! Reading: what is at the servers, with what was written here over it, and ahead of those who
//! read in order.
//!
//! Bytes are fetched without a lock. If the file changed at the servers meanwhile, as far as this
//! mount knows (`State::epoch`), they may be from before or after; they are fetched again, in the
//! end with the turn held, so that no flush of this mount comes in between.

use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::task::JoinSet;

use super::clean::block_of;
use super::data::Cluster;
use super::fs::NativeFs;
use super::inode::{Inode, may_be_old};
use crate::error::{ErrorKind, Result};
use crate::extent::{ChunkPart, chunk_index, chunk_parts};
use crate::limits;
use crate::proto::Packed;
use crate::proto::fs::Layout;
use crate::rpc::patience::inherited;
use crate::rpc::shards;
use crate::types::ChunkLayout;

/// Chunks whose places are asked for at once.
const LAYOUT_AHEAD: u64 = 64;

/// Attempts to fetch bytes while the file changes, before the reader keeps its own mount still.
const FETCH_ATTEMPTS: u32 = 3;

impl<C: Cluster> NativeFs<C> {
    pub(super) async fn read_inode(
        self: &Arc<Self>,
        inode: &Arc<Inode>,
        offset: u64,
        length: u64,
    ) -> Result<Bytes> {
        if inode.state().is_stale {
            self.ask_attr(inode.ino).await?;
        }
        let (length, window) = {
            let mut state = inode.state();
            let length = length.min(state.size().saturating_sub(offset));
            if length == 0 {
                return Ok(Bytes::new());
            }
            (length, state.read_ahead(offset, length))
        };
        for _ in 0..FETCH_ATTEMPTS {
            if let Some(bytes) = self.try_read(inode, offset, length, window).await? {
                return Ok(bytes);
            }
        }
        let _turn = inode.turn.lock().await;
        loop {
            // Only others can change the file now; each turn of the loop is an event of theirs.
            if let Some(bytes) = self.try_read(inode, offset, length, 0).await? {
                return Ok(bytes);
            }
        }
    }

    /// One attempt; `None` if the file changed meanwhile.
    async fn try_read(
        self: &Arc<Self>,
        inode: &Arc<Inode>,
        offset: u64,
        length: u64,
        window: u64,
    ) -> Result<Option<Bytes>> {
        if window > 0 {
            self.wait_for_blocks(inode, offset, length).await;
        }
        let whole = {
            let state = inode.state();
            if state.is_dirty() { None } else { state.clean.slice(offset, length) }
        };
        if let Some(bytes) = whole {
            self.read_ahead(inode, offset + length, window);
            return Ok(Some(bytes));
        }
        let mut buffer = BytesMut::zeroed(usize::try_from(length).unwrap_or(usize::MAX));
        let epoch = {
            let state = inode.state();
            if state.clean.read(offset, &mut buffer) {
                state.overlay(offset, &mut buffer);
                drop(state);
                self.read_ahead(inode, offset + length, window);
                return Ok(Some(buffer.freeze()));
            }
            if is_covered(&state.dirty.covered(offset, length), length) {
                state.overlay(offset, &mut buffer);
                return Ok(Some(buffer.freeze()));
            }
            state.epoch
        };
        let block = self.fetch_blocks(inode, offset, length, window).await?;
        let is_block = block.is_some();
        let (from, fetched) = match block {
            Some(block) => block,
            None => (offset, self.fetch(inode, offset, length).await?),
        };
        let mut state = inode.state();
        if state.epoch != epoch {
            return Ok(None);
        }
        super::copy_overlap((from, &fetched), (offset, &mut buffer));
        state.overlay(offset, &mut buffer);
        if is_block {
            state.clean.insert(from, fetched);
        }
        drop(state);
        self.read_ahead(inode, offset + length, window);
        Ok(Some(buffer.freeze()))
    }

    /// The blocks that a range is in, and where they begin, for whoever reads in order: the next read
    /// finds its bytes here. `None` for others, and if something is wrong with the blocks: that is
    /// no reason to keep a part from a reader that is right.
    async fn fetch_blocks(
        self: &Arc<Self>,
        inode: &Arc<Inode>,
        offset: u64,
        length: u64,
        window: u64,
    ) -> Result<Option<(u64, Bytes)>> {
        if window == 0 {
            return Ok(None);
        }
        let from = block_of(offset) * limits::READ_BLOCK_SIZE;
        let to = (block_of(offset + length - 1) + 1) * limits::READ_BLOCK_SIZE;
        // What a block does not have are zeros; nobody needs to send them.
        let to = to.min(inode.state().attr.size.max(offset + length));
        match self.fetch(inode, from, to - from).await {
            Ok(bytes) => Ok(Some((from, bytes))),
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits for a block that is on its way, if the range begins or ends in one.
    async fn wait_for_blocks(&self, inode: &Inode, offset: u64, length: u64) {
        for block in block_of(offset)..=block_of(offset + length.max(1) - 1) {
            let mut arrived = pin!(inode.arrived.notified());
            // Registered before looking, so that no arrival falls in between.
            arrived.as_mut().enable();
            if inode.state().fetching.contains(&block) {
                arrived.await;
            }
        }
    }

    /// Fetches the next blocks for a sequential reader in the background, some at a time, unless
    /// they are here or on their way.
    fn read_ahead(self: &Arc<Self>, inode: &Arc<Inode>, at: u64, window: u64) {
        if window < 2 * limits::READ_BLOCK_SIZE {
            return;
        }
        let (blocks, size, epoch) = {
            let mut state = inode.state();
            let state = &mut *state;
            let end = (at + window).min(state.attr.size);
            let missing = (block_of(at)..end.div_ceil(limits::READ_BLOCK_SIZE))
                .filter(|block| !state.clean.has(*block) && !state.fetching.contains(block));
            let room = limits::CHUNK_CALLS_MAX.saturating_sub(state.fetching.len());
            let blocks: Vec<u64> = missing.take(room).collect();
            state.fetching.extend(&blocks);
            (blocks, state.attr.size, state.epoch)
        };
        for block in blocks {
            let (fs, inode) = (Arc::clone(self), Arc::clone(inode));
            // Decrypting and decoding are work for more than one processor.
            shards::spawn(async move {
                let from = block * limits::READ_BLOCK_SIZE;
                let length = limits::READ_BLOCK_SIZE.min(size - from);
                let fetched = fs.fetch(&inode, from, length).await;
                let mut state = inode.state();
                state.fetching.remove(&block);
                match fetched {
                    Ok(bytes) if state.epoch == epoch => state.clean.insert(from, bytes),
                    // The reader will meet the error himself, if he comes that far.
                    Ok(_) | Err(_) => {}
                }
                drop(state);
                inode.arrived.notify_waiters();
            });
        }
    }

    /// Bytes as they are at the servers, with zeros for holes.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        inode: &Arc<Inode>,
        offset: u64,
        length: u64,
    ) -> Result<Bytes> {
        let mut attempt = 1;
        loop {
            match self.fetch_once(inode, offset, length).await {
                Err(error) if may_be_old(&error, attempt) => {
                    inode.state().layout.clear();
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn fetch_once(
        self: &Arc<Self>,
        inode: &Arc<Inode>,
        offset: u64,
        length: u64,
    ) -> Result<Bytes> {
        let mut parts = Vec::new();
        for part in chunk_parts(offset, length) {
            parts.push((part, self.locate(inode, part.index).await?));
        }
        if let [(part, chunk)] = &parts[..] {
            let Some(chunk) = chunk else { return Ok(zeros(part.length)) };
            let bytes = self.cluster.read(chunk, part.offset, part.length).await?;
            return Ok(padded(bytes, part.length));
        }
        self.fetch_parts(offset, length, parts).await
    }

    async fn fetch_parts(
        &self,
        offset: u64,
        length: u64,
        parts: Vec<(ChunkPart, Option<ChunkLayout>)>,
    ) -> Result<Bytes> {
        let mut buffer = BytesMut::zeroed(usize::try_from(length).unwrap_or(usize::MAX));
        let mut reads = JoinSet::new();
        for (part, chunk) in parts {
            let Some(chunk) = chunk else { continue };
            let cluster = Arc::clone(&self.cluster);
            reads.spawn(inherited(async move {
                let bytes = cluster.read(&chunk, part.offset, part.length).await?;
                Ok((part.index * limits::CHUNK_SIZE + part.offset, bytes))
            }));
        }
        while let Some(joined) = reads.join_next().await {
            let (at, bytes) = joined.unwrap_or_else(|error| Err(super::given_up(&error)))?;
            super::copy_overlap((at, &bytes), (offset, &mut buffer));
        }
        Ok(buffer.freeze())
    }

    /// Where a chunk is; `None` for a hole.
    pub(super) async fn locate(
        &self,
        inode: &Arc<Inode>,
        index: u64,
    ) -> Result<Option<ChunkLayout>> {
        let (epoch, count) = {
            let state = inode.state();
            if let Some(known) = state.layout.get(index) {
                return Ok(known.clone());
            }
            let last = chunk_index(state.size().saturating_sub(1));
            (state.epoch, (last.saturating_sub(index) + 1).min(LAYOUT_AHEAD))
        };
        let count_asked = u32::try_from(count).unwrap_or(1);
        let call = Layout { ino: inode.ino, index, count: count_asked };
        let Packed(chunks) = self.cluster.ask(call).await?;
        let found = chunks.iter().find(|chunk| chunk.key.index == index).cloned();
        let mut state = inode.state();
        if state.epoch == epoch {
            state.layout.learn_range(index, count, chunks);
        }
        Ok(found)
    }
}

fn is_covered(covered: &[(u64, u64)], length: u64) -> bool {
    covered.iter().map(|(_, length)| length).sum::<u64>() == length
}

fn zeros(length: u64) -> Bytes {
    BytesMut::zeroed(usize::try_from(length).unwrap_or(usize::MAX)).freeze()
}

/// What a chunk does not have behind its end are zeros.
fn padded(bytes: Bytes, length: u64) -> Bytes {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if bytes.len() >= length {
        return bytes.slice(..length);
    }
    let mut padded = BytesMut::from(bytes);
    padded.resize(length, 0);
    padded.freeze()
}
