//! Sending written bytes: placed by the master, written to the chunk servers several calls at a
//! time, then made known to the master in one call.
//!
//! A flush takes all that is dirty at its beginning. While it is under way further writes collect
//! for the next one. If the file is cut meanwhile, the master or a chunk server answers `Stale`;
//! the flush asks for the places again and writes the same bytes once more, so that they come after
//! the truncation, whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::data::Cluster;
use super::fs::NativeFs;
use super::inode::{Flight, Inode, may_be_old};
use crate::error::{ErrorKind, FsError, Result};
use crate::extent::chunk_parts;
use crate::limits;
use crate::proto::Packed;
use crate::proto::fs::{ChunkBytes, Extend, Place, Written};
use crate::rpc::patience::inherited;
use crate::rpc::shards::{self, Shard};
use crate::types::{Attr, ChunkLayout, Credentials, Extent};

/// How far what was written is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Where everybody sees it.
    Visible,
    /// And onto the disks of all servers, with all that the file had before.
    Durable,
}

/// Who wrote, and how often locks on the file had been lost then.
type Writer<'a> = (&'a Credentials, u64);

impl<C: Cluster> NativeFs<C> {
    /// Sends what was written to a file so far.
    ///
    /// # Errors
    /// What stood in the way; the bytes are kept and go with the next flush.
    pub(super) async fn flush_inode(&self, inode: &Arc<Inode>) -> Result<()> {
        let _turn = inode.turn.lock().await;
        self.flush_in_turn(inode).await
    }

    /// As [`Self::flush_inode`], for a caller that holds the turn.
    pub(super) async fn flush_in_turn(&self, inode: &Arc<Inode>) -> Result<()> {
        self.flush_to(Goal::Visible, inode).await.map(|_| ())
    }

    /// Sends what was written, for a caller that holds the turn; answers whether there was anything.
    ///
    /// # Errors
    /// What stood in the way. The bytes are kept, unless only their way to the disk failed.
    pub(super) async fn flush_to(&self, goal: Goal, inode: &Arc<Inode>) -> Result<bool> {
        let (flight, writer, losses) = {
            let mut state = inode.state();
            let Some(flight) = state.take_off() else { return Ok(false) };
            (flight, state.writer.clone(), state.lock_losses)
        };
        shards::at_home().await;
        let sent = self.send_until_current(goal, inode, &flight, (&writer, losses)).await;
        let mut state = inode.state();
        let held_before = flight_size(&flight) + state.dirty.byte_count();
        match sent {
            Ok((attr, synced)) => {
                state.land();
                self.note_change(&mut state, attr);
                self.dirty_bytes
                    .fetch_sub(held_before - state.dirty.byte_count(), Ordering::Relaxed);
                synced.map(|()| true)
            }
            Err(error) => {
                match state.lock_losses == losses {
                    true => state.turn_back(writer),
                    // What was written under the lock is not sent after it is lost.
                    false => state.land(),
                }
                self.dirty_bytes
                    .fetch_sub(held_before - state.dirty.byte_count(), Ordering::Relaxed);
                Err(error)
            }
        }
    }

    async fn send_until_current(
        &self,
        goal: Goal,
        inode: &Arc<Inode>,
        flight: &Flight,
        writer: Writer<'_>,
    ) -> Result<(Attr, Result<()>)> {
        let mut attempt = 1;
        loop {
            match self.send(goal, inode, flight, writer).await {
                Err(error) if may_be_old(&error, attempt) => {
                    inode.state().layout.clear();
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Answers the attributes after the write, and whether it is on the disks of the chunk servers,
    /// if that was the goal.
    async fn send(
        &self,
        goal: Goal,
        inode: &Arc<Inode>,
        flight: &Flight,
        writer: Writer<'_>,
    ) -> Result<(Attr, Result<()>)> {
        let batches = batches(flight);
        let indexes: Vec<u64> = batches.keys().copied().collect();
        let layouts = self.place(inode, &indexes).await?;
        let chunks = self.write_chunks(&layouts, batches).await?;
        let end = flight.last().map_or(0, |(offset, data)| offset + data.len() as u64);
        let is_durable = goal == Goal::Durable;
        let written = Written { end, is_modified: true, is_durable };
        let told = self.extend(inode, written, chunks, writer);
        if !is_durable {
            return Ok((told.await?, Ok(())));
        }
        // The disks need not wait for each other.
        let (told, synced) = tokio::join!(told, self.sync_contents(inode, layouts));
        Ok((told?, synced))
    }

    /// Tells the master what was written, and takes over what it answers.
    ///
    /// # Errors
    /// `Io` if locks on the file were lost since the writing began; those of the master.
    pub(super) async fn extend(
        &self,
        inode: &Arc<Inode>,
        written: Written,
        chunks: Vec<ChunkBytes>,
        (writer, losses): Writer<'_>,
    ) -> Result<Attr> {
        let call = |session| Extend {
            ino: inode.ino,
            written: Packed(written),
            chunks: Packed(chunks.clone()),
            who: Packed(writer.clone()),
            session,
        };
        {
            let mut state = inode.state();
            chunks.iter().for_each(|chunk| state.unsynced.note(chunk.key.index));
        }
        let fence = self.cache.fence();
        let has_locks = || inode.state().lock_losses == losses;
        let Packed(attr) = self.ask_in_session_if(call, has_locks).await?;
        self.cache.renew_attr(&attr, &fence);
        let has_other_mode = {
            let mut state = inode.state();
            for chunk in chunks {
                state.layout.set_bytes(chunk.key.index, chunk.bytes);
            }
            state.attr.mode != attr.mode
        };
        if has_other_mode && let Some(notify) = self.notify.get() {
            // The kernel expects a write to change size and times, and would go by the old set-id
            // bits for as long as it keeps attributes.
            notify.attributes_now(&attr);
        }
        Ok(attr)
    }

    /// The layouts of chunks that are about to be written to; the master places those it has to.
    pub(super) async fn place(
        &self,
        inode: &Arc<Inode>,
        indexes: &[u64],
    ) -> Result<Vec<ChunkLayout>> {
        let missing: Vec<u64> = {
            let state = inode.state();
            indexes.iter().copied().filter(|i| state.layout.chunk(*i).is_none()).collect()
        };
        let mut placed = Vec::new();
        for some in missing.chunks(limits::PLACE_MAX) {
            let call = Place { ino: inode.ino, indexes: Packed(some.to_vec()) };
            let Packed(layouts) = self.cluster.ask(call).await?;
            placed.extend(layouts);
        }
        let mut state = inode.state();
        let find = |index: &u64| {
            let placed = placed.iter().find(|chunk| chunk.key.index == *index);
            placed.or_else(|| state.layout.chunk(*index)).cloned().ok_or_else(|| {
                FsError::new(ErrorKind::Protocol, format!("the master did not place chunk {index}"))
            })
        };
        let layouts = indexes.iter().map(find).collect();
        state.layout.learn(placed);
        layouts
    }

    /// Writes batches to their chunks, some at a time; answers what each chunk takes up then.
    async fn write_chunks(
        &self,
        layouts: &[ChunkLayout],
        mut batches: BTreeMap<u64, Vec<Vec<Extent>>>,
    ) -> Result<Vec<ChunkBytes>> {
        let permits = Arc::new(Semaphore::new(limits::CHUNK_CALLS_MAX));
        let mut writes = JoinSet::new();
        let is_much = batches.values().map(Vec::len).sum::<usize>() > 1;
        for chunk in layouts {
            let chunk = Arc::new(chunk.clone());
            for pieces in batches.remove(&chunk.key.index).unwrap_or_default() {
                let (cluster, chunk) = (Arc::clone(&self.cluster), Arc::clone(&chunk));
                let permits = Arc::clone(&permits);
                let write = inherited(async move {
                    let _permit = permits.acquire_owned().await;
                    let bytes = cluster.write(&chunk, pieces).await?;
                    Ok(ChunkBytes { key: chunk.key, version: chunk.version, bytes })
                });
                // Encoding and encrypting much is work for more than one processor.
                match Shard::next().filter(|_| is_much) {
                    Some(shard) => writes.spawn_on(write, shard.runtime()),
                    None => writes.spawn(write),
                };
            }
        }
        collect_chunks(writes).await
    }
}

/// Waits for all writes, so that none is under way any more when the outcome is known, and answers
/// each chunk once, with the most that it took up.
async fn collect_chunks(mut writes: JoinSet<Result<ChunkBytes>>) -> Result<Vec<ChunkBytes>> {
    let mut chunks = BTreeMap::<u64, ChunkBytes>::new();
    let mut failure = None;
    while let Some(joined) = writes.join_next().await {
        let written = joined.unwrap_or_else(|error| Err(super::given_up(&error)));
        match written {
            Ok(written) => {
                let known = chunks.entry(written.key.index).or_insert(written);
                known.bytes = known.bytes.max(written.bytes);
            }
            // That the file was cut tells more than what came of it.
            Err(error) if failure.is_none() || error.kind() == ErrorKind::Stale => {
                failure = Some(error);
            }
            Err(_) => {}
        }
    }
    failure.map_or_else(|| Ok(chunks.into_values().collect()), Err)
}

fn flight_size(flight: &Flight) -> u64 {
    flight.iter().map(|(_, data)| data.len() as u64).sum()
}

/// Cuts a flight into calls: by chunk, and within one by size.
fn batches(flight: &[(u64, Bytes)]) -> BTreeMap<u64, Vec<Vec<Extent>>> {
    let mut batches = BTreeMap::<u64, Vec<Vec<Extent>>>::new();
    let mut room = 0;
    for (offset, data) in flight {
        let mut rest = data.clone();
        for part in chunk_parts(*offset, data.len() as u64) {
            let mut part_data = rest.split_to(as_size(part.length));
            let mut at = part.offset;
            let calls = batches.entry(part.index).or_default();
            while !part_data.is_empty() {
                let is_full = calls.last().is_some_and(|call| call.len() == limits::LIST_MAX);
                if calls.is_empty() || is_full || room == 0 {
                    calls.push(Vec::new());
                    room = limits::WRITE_CALL_SIZE_MAX;
                }
                let piece = part_data.split_to(room.min(part_data.len()));
                let length = piece.len();
                if let Some(call) = calls.last_mut() {
                    call.push(Extent { offset: at, data: piece });
                }
                room -= length;
                at += length as u64;
            }
        }
    }
    batches
}

fn as_size(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::batches;
    use crate::limits::{CHUNK_SIZE, WRITE_CALL_SIZE_MAX};
    use bytes::Bytes;

    #[test]
    fn a_flight_is_cut_at_chunks_and_at_the_size_of_a_call() {
        let long = Bytes::from(vec![7; WRITE_CALL_SIZE_MAX + 5]);
        let flight = [(0, Bytes::from_static(b"ab")), (CHUNK_SIZE - 3, long)];
        let batches = batches(&flight);
        let sizes = |call: &Vec<super::Extent>| {
            call.iter().map(|extent| (extent.offset, extent.data.len())).collect::<Vec<_>>()
        };
        let shape: Vec<_> = batches
            .iter()
            .map(|(index, calls)| (*index, calls.iter().map(sizes).collect::<Vec<_>>()))
            .collect();
        let (full, border) = (WRITE_CALL_SIZE_MAX, CHUNK_SIZE - 3);
        assert_eq!(
            shape,
            [
                (0, vec![vec![(0, 2), (border, 3)]]),
                (1, vec![vec![(0, full)], vec![(full as u64, 2)]]),
            ]
        );
    }
}
