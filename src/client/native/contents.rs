//! Operations on contents: read, write, fsync.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::data::Cluster;
use super::fs::NativeFs;
use super::inode::{Inode, too_large};
use super::writer::Goal;
use crate::client::vfs::Handle;
use crate::error::Result;
use crate::extent::chunk_count;
use crate::limits;
use crate::proto::Packed;
use crate::proto::fs::Layout;
use crate::proto::server::SyncMaster;
use crate::rpc::patience::inherited;
use crate::types::{Access, Attr, ChunkKey, ChunkLayout, Credentials, Ino, ServerId};

impl<C: Cluster> NativeFs<C> {
    /// Up to `length` bytes from `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// `BadHandle`; `Corrupt` if no replica has the bytes whole; no answer.
    pub async fn read(self: &Arc<Self>, handle: Handle, offset: u64, length: u32) -> Result<Bytes> {
        let file = self.inodes.file(handle)?;
        file.permit(Access::READ)?;
        self.check_locks(&file)?;
        self.read_inode(&file.inode, offset, u64::from(length)).await
    }

    /// Writes all of `data`, at `offset` or, if it `appends`, at the end of the file; answers where.
    ///
    /// # Errors
    /// `BadHandle`; `FileTooLarge`; an error that an earlier write met after it returned.
    pub async fn write(
        self: &Arc<Self>,
        handle: Handle,
        offset: u64,
        data: Bytes,
        appends: bool,
        who: &Credentials,
    ) -> Result<u64> {
        let file = self.inodes.file(handle)?;
        // A page that a mapping made dirty may be written through any handle of the file.
        file.permit(Access::WRITE)?;
        self.check_locks(&file)?;
        self.check_open()?;
        file.untold_failure()?;
        let length = data.len() as u64;
        if offset.checked_add(length).is_none_or(|end| end > limits::FILE_SIZE_MAX) {
            return Err(too_large());
        }
        let appended = match appends {
            true => Some(self.append(&file, length, who).await?),
            false => None,
        };
        let offset = appended.map_or(offset, |appended| appended.offset);
        let (held, loses_set_id, has_pages) = {
            let mut state = file.inode.state();
            let before = state.dirty.byte_count();
            state.write(offset, data, who);
            let held = state.dirty.byte_count();
            self.dirty_bytes.fetch_add(held - before, Ordering::Relaxed);
            let Attr { mode, gid, .. } = state.attr;
            let has_pages = file.is_direct && state.handles > state.direct_handles;
            (held, who.mode_after_write(mode, gid) != mode, has_pages)
        };
        if has_pages && length > 0 {
            self.drop_pages_under(file.inode.ino, offset, length).await?;
        }
        if let Some(appended) = appended {
            self.finish_append(&file, appended, length, who).await?;
        } else if file.is_sync {
            self.sync_inode(&file.inode).await?;
        } else if loses_set_id {
            // Nobody may run a program with its owner's rights once somebody else has changed it.
            self.flush_inode(&file.inode).await?;
        } else if self.dirty_byte_count() > limits::DIRTY_MAX {
            self.flush_inode(&file.inode).await?;
        } else if held >= limits::FLUSH_SIZE {
            self.flush_in_background(&file.inode);
        }
        Ok(offset)
    }

    /// Drops the kernel's pages of a range that was just written past them. Somebody who reads through
    /// pages may have brought the old bytes there while the new ones were on their way here, and after
    /// an asynchronous write the kernel does not look.
    ///
    /// A page that is being read has to come first, and its request may wait in the kernel until this
    /// write, of many, is answered: so the wait for it is short. It is dropped all the same then.
    async fn drop_pages_under(&self, ino: Ino, offset: u64, length: u64) -> Result<()> {
        let dropped = self.tell_kernel(move |notify| notify.range_now(ino, offset, length));
        tokio::time::timeout(limits::DROPPED_PAGES_WAIT, dropped).await.unwrap_or(Ok(()))
    }

    /// What was written to the file survives a power cut when this returns.
    ///
    /// # Errors
    /// What stood in the way, now or in a flush that nobody waited for.
    pub async fn fsync(&self, handle: Handle) -> Result<()> {
        let file = self.inodes.file(handle)?;
        self.check_locks(&file)?;
        let synced = self.sync_inode(&file.inode).await;
        let untold = file.untold_failure();
        synced.and(untold)
    }

    pub(super) async fn sync_inode(&self, inode: &Arc<Inode>) -> Result<()> {
        let has_sent = {
            let _turn = inode.turn.lock().await;
            self.flush_to(Goal::Durable, inode).await?
        };
        if has_sent { Ok(()) } else { self.sync_sent(inode).await }
    }

    /// As [`Self::sync_inode`], for a caller that holds the turn.
    pub(super) async fn sync_in_turn(&self, inode: &Arc<Inode>) -> Result<()> {
        let has_sent = self.flush_to(Goal::Durable, inode).await?;
        if has_sent { Ok(()) } else { self.sync_sent(inode).await }
    }

    /// Syncs what was sent before.
    async fn sync_sent(&self, inode: &Arc<Inode>) -> Result<()> {
        // Each is durable by itself, so they need not wait for each other.
        let (contents, names) =
            tokio::join!(self.sync_contents(inode, Vec::new()), self.sync_names());
        contents.and(names)
    }

    /// Syncs the chunks of a file that have changed since the last time; of those in `written` the
    /// master may not know yet that there is something in them.
    pub(super) async fn sync_contents(
        &self,
        inode: &Arc<Inode>,
        written: Vec<ChunkLayout>,
    ) -> Result<()> {
        let (due, known) = {
            let state = inode.state();
            let due = state.unsynced.due();
            let known = match &due.chunks {
                Some(some) => some.iter().map(|at| state.layout.chunk(*at).cloned()).collect(),
                None => state.layout.all(chunk_count(state.attr.size)).filter(|_| !state.is_stale),
            };
            (due, known)
        };
        let mut layout = match known {
            Some(layout) => layout,
            None => self.layout_from(inode.ino, 0).await?,
        };
        layout.retain(|chunk| chunk.bytes > 0 && written.iter().all(|new| new.key != chunk.key));
        layout.extend(written);
        self.sync_chunks(layout).await?;
        inode.state().unsynced.done(&due);
        Ok(())
    }

    async fn sync_chunks(&self, layout: Vec<ChunkLayout>) -> Result<()> {
        let mut servers = BTreeMap::<ServerId, Vec<ChunkKey>>::new();
        for chunk in layout {
            for server in &chunk.replicas {
                servers.entry(server.clone()).or_default().push(chunk.key);
            }
        }
        let mut syncs = tokio::task::JoinSet::new();
        for (server, chunks) in servers {
            let cluster = Arc::clone(&self.cluster);
            syncs.spawn(inherited(async move { cluster.sync(&server, chunks).await }));
        }
        let mut outcome = Ok(());
        while let Some(joined) = syncs.join_next().await {
            outcome = outcome.and(joined.unwrap_or_else(|error| Err(super::given_up(&error))));
        }
        outcome
    }

    /// What was done to names and attributes survives a power cut when this returns.
    ///
    /// # Errors
    /// Those of the master.
    pub async fn sync_names(&self) -> Result<()> {
        self.cluster.ask(SyncMaster).await.map(|_| ())
    }

    /// All chunks of a file from an index on, in ascending order.
    pub(super) async fn layout_from(&self, ino: Ino, first: u64) -> Result<Vec<ChunkLayout>> {
        let page = u32::try_from(limits::LAYOUT_PAGE_MAX).unwrap_or(u32::MAX);
        let mut layout = Vec::<ChunkLayout>::new();
        loop {
            let index = layout.last().map_or(first, |chunk| chunk.key.index + 1);
            let Packed(more) = self.cluster.ask(Layout { ino, index, count: page }).await?;
            let is_last = more.len() < limits::LAYOUT_PAGE_MAX;
            layout.extend(more);
            if is_last {
                return Ok(layout);
            }
        }
    }
}
