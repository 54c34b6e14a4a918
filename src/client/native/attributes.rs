//! Operations on attributes: stat, chmod and the like, extended attributes, room.

use bytes::Bytes;

use super::data::{ChunkChange, Cluster};
use super::fs::NativeFs;
use crate::client::vfs::Handle;
use crate::error::{ErrorKind, FsError, Result};
use crate::extent::chunk_index;
use crate::limits;
use crate::proto::Packed;
use crate::proto::fs::{
    ChunkBytes, GetAttr, GetXattr, Layout, ListXattr, RemoveXattr, SetAttributes, SetXattr,
    StatFileSystem, StatFs, Written,
};
use crate::types::{Access, Attr, Credentials, FileKind, Ino, SetAttr, SetTime, XattrMode};

/// Rights that a program file gives to its process.
pub(super) const CAPABILITIES: &[u8] = b"security.capability";

impl<C: Cluster> NativeFs<C> {
    /// The attributes of an inode. What was written here and not yet sent is sent first, so that
    /// size, times and space are those that stay.
    ///
    /// # Errors
    /// Those of the master.
    pub async fn getattr(&self, ino: Ino) -> Result<Attr> {
        let open = self.inodes.get(ino);
        if let Some(inode) = &open
            && inode.state().is_dirty()
            && let Err(error) = self.flush_inode(inode).await
        {
            // It is told by whoever closes the file; this caller only wants to look.
            tracing::debug!(%ino, "written bytes could not be sent: {error}");
        }
        let attr = match self.cache.attr(ino) {
            Some(attr) => attr,
            None => self.ask_attr(ino).await?,
        };
        Ok(match &open {
            Some(inode) => inode.state().update(attr),
            None => attr,
        })
    }

    /// The attributes of an inode from the master.
    pub(super) async fn ask_attr(&self, ino: Ino) -> Result<Attr> {
        let open = self.inodes.get(ino);
        let fence = self.cache.fence();
        if let Some(inode) = &open {
            inode.state().is_stale = false;
        }
        let Packed(attr) = self.cluster.ask(GetAttr { ino }).await?;
        self.cache.put_attr(&attr, &fence);
        if let Some(inode) = &open {
            inode.state().note_attr(attr.clone());
        }
        Ok(attr)
    }

    /// Changes attributes; a size through a handle that was opened for writing needs no other
    /// permission.
    ///
    /// # Errors
    /// Those of the master; what stood in the way of bytes that were written before.
    pub async fn setattr(
        &self,
        ino: Ino,
        handle: Option<Handle>,
        mut change: SetAttr,
        who: &Credentials,
    ) -> Result<Attr> {
        if let Some(file) = handle.and_then(|handle| self.inodes.file(handle).ok()) {
            self.check_locks(&file)?;
            change.by_handle = file.access.includes(Access::WRITE);
        }
        let new_size = change.size;
        let call = |session| {
            let (change, who) = (Packed(change.clone()), Packed(who.clone()));
            SetAttributes { ino, change, who, session }
        };
        let Some(inode) = self.inodes.get(ino) else {
            let fence = self.cache.fence();
            let outcome = self.ask_in_session(call).await;
            let Packed(attr) = self.forget_inode_unless_done(outcome, ino, new_size.is_some())?;
            if new_size.is_some() {
                self.cache.drop_pages(ino);
            }
            self.cache.renew_attr(&attr, &fence);
            return Ok(attr);
        };
        // With a new size the kernel has done so itself, and waits for this answer before it sends more.
        let is_set = matches!(change.mtime, SetTime::At(_)) && new_size.is_none();
        if is_set && inode.state().mappable > 0 {
            self.take_in_mappings(ino).await?;
        }
        // Bytes that were written before come before: a truncation cuts them, and the times that
        // are set outlive them.
        let _turn = inode.turn.lock().await;
        self.flush_in_turn(&inode).await?;
        let fence = self.cache.fence();
        let outcome = self.ask_in_session(call).await;
        let Packed(attr) = self.forget_inode_unless_done(outcome, ino, new_size.is_some())?;
        self.cache.renew_attr(&attr, &fence);
        {
            let mut state = inode.state();
            if new_size.is_some() {
                state.forget_contents();
                self.note_change(&mut state, attr.clone());
            } else {
                state.note_attr(attr.clone());
            }
        }
        if let Some(size) = new_size {
            self.make_cuts(ino, size, who).await;
        }
        Ok(attr)
    }

    /// Has the kernel send what programs have stored in mappings of a file, which it does otherwise
    /// when they are done with it: what comes later is a later write. Nobody may hold the turn.
    async fn take_in_mappings(&self, ino: Ino) -> Result<()> {
        self.tell_kernel(move |notify| notify.contents_now(ino)).await
    }

    /// Lets the servers of a chunk catch up with its truncations before there are too many of
    /// them. Usually the next write does that, so that a truncation costs one call.
    async fn make_cuts(&self, ino: Ino, size: u64, who: &Credentials) {
        let index = chunk_index(size);
        let Ok(Packed(layout)) = self.cluster.ask(Layout { ino, index, count: 1 }).await else {
            return;
        };
        let Some(chunk) = layout.first().filter(|chunk| chunk.key.index == index) else { return };
        if chunk.cuts.len() < limits::CUTS_PENDING_MAX / 4 {
            return;
        }
        let made = self.cluster.change(chunk, ChunkChange::Cut).await;
        let (Ok(bytes), Some(inode)) = (made, self.inodes.get(ino)) else { return };
        let chunk = ChunkBytes { key: chunk.key, version: chunk.version, bytes };
        let written = Written { end: 0, is_modified: false, is_durable: false };
        let losses = inode.state().lock_losses;
        if let Err(error) = self.extend(&inode, written, vec![chunk], (who, losses)).await {
            tracing::debug!(%ino, "the master was not told of a cut: {error}");
        }
    }

    /// The value of an extended attribute.
    ///
    /// # Errors
    /// Those of the master, such as `NoAttribute`.
    pub async fn getxattr(&self, ino: Ino, name: Bytes, who: &Credentials) -> Result<Bytes> {
        if self.cache.is_xattr_absent(ino, &name) || self.is_without(ino, &name) {
            return Err(FsError::new(ErrorKind::NoAttribute, "there is no such attribute"));
        }
        let fence = self.cache.xattr_fence(ino);
        let call = GetXattr { ino, name: name.clone(), who: Packed(who.clone()) };
        let answer = self.cluster.ask(call).await;
        // What there is of these is no secret before anybody, unlike `user.` and `trusted.`.
        let is_open = name.starts_with(b"security.") || name.starts_with(b"system.");
        if is_open && answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::NoAttribute) {
            self.cache.put_absent_xattr(ino, name, fence);
        }
        answer
    }

    /// Whether the inode is known to have no extended attributes, as most have none, and this is
    /// one that programs ask everything for. Others get an answer that depends on who asks.
    fn is_without(&self, ino: Ino, name: &Bytes) -> bool {
        let is_common = name.starts_with(b"security.") || name.starts_with(b"system.posix_acl_");
        let has_acls = |kind| matches!(kind, FileKind::Regular | FileKind::Directory);
        let attr = self.cache.attr(ino).filter(|attr| is_common && has_acls(attr.kind));
        attr.is_some_and(|attr| !attr.has_xattrs)
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// Those of the master.
    pub async fn setxattr(
        &self,
        ino: Ino,
        name: Bytes,
        value: Bytes,
        mode: XattrMode,
        who: &Credentials,
    ) -> Result<()> {
        let call = |session| {
            let (name, value, who) = (name.clone(), value.clone(), Packed(who.clone()));
            SetXattr { ino, name, value, mode: Packed(mode), who, session }
        };
        let set = self.ask_in_session(call).await;
        self.cache.drop_attr(ino);
        self.forget_inode_unless_done(set, ino, false).map(|_| ())
    }

    /// The names of all extended attributes.
    ///
    /// # Errors
    /// Those of the master.
    pub async fn listxattr(&self, ino: Ino, who: &Credentials) -> Result<Vec<Bytes>> {
        if self.cache.attr(ino).is_some_and(|attr| !attr.has_xattrs) {
            return Ok(Vec::new());
        }
        let Packed(names) = self.cluster.ask(ListXattr { ino, who: Packed(who.clone()) }).await?;
        Ok(names)
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// Those of the master, such as `NoAttribute`.
    pub async fn removexattr(&self, ino: Ino, name: Bytes, who: &Credentials) -> Result<()> {
        // Every write takes this one away, whoever writes. The kernel does it beforehand and in the
        // writer's name, and asks CAP_SETFCAP of programs that do it by themselves.
        let is_by_write = &name[..] == CAPABILITIES;
        let who = if is_by_write { &Credentials::ROOT } else { who };
        let call =
            |session| RemoveXattr { ino, name: name.clone(), who: Packed(who.clone()), session };
        let removed = self.ask_in_session(call).await;
        self.cache.drop_attr(ino);
        self.forget_inode_unless_done(removed, ino, false).map(|_| ())
    }

    /// Room and numbers.
    ///
    /// # Errors
    /// Those of the master.
    pub async fn statfs(&self) -> Result<StatFs> {
        let Packed(room) = self.cluster.ask(StatFileSystem {}).await?;
        Ok(room)
    }
}
