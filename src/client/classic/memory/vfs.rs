//! Memory in the words of the kernel.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::client::calls::Calls;
use crate::client::classic::memory::Memory;
use crate::client::classic::memory::names::Making;
use crate::client::vfs::{
    Attempt, Handle, KernelPolicy, Listing, Node, OpenFlags, Opened, Pages, Vfs,
};
use crate::error::{ErrorKind, FsError, Result};
use crate::proto::fs::StatFs;
use crate::types::{
    Attr, Cookie, Credentials, FileKind, Ino, Name, RenameMode, SetAttr, XattrMode,
};

impl<C: Calls> Vfs for Memory<C> {
    /// Nobody tells of changes here, so the kernel asks each time.
    fn policy(&self) -> KernelPolicy {
        KernelPolicy { cache_ttl: Duration::ZERO, is_posix: false }
    }

    async fn lookup(&self, parent: Ino, name: Name, _: Credentials, _: Attempt) -> Result<Attr> {
        self.shared.lookup(parent, &name).await
    }

    fn forget(&self, ino: Ino, count: u64) {
        self.shared.inodes.forget(ino, count);
    }

    async fn getattr(&self, ino: Ino) -> Result<Attr> {
        self.shared.getattr(ino).await
    }

    async fn setattr(
        &self,
        ino: Ino,
        handle: Option<Handle>,
        change: SetAttr,
        _: Credentials,
    ) -> Result<Attr> {
        self.shared.setattr(ino, handle, change).await
    }

    async fn readlink(&self, ino: Ino) -> Result<Bytes> {
        self.shared.readlink(ino).await
    }

    async fn mknod(&self, parent: Ino, name: Name, node: Node, who: Credentials) -> Result<Attr> {
        let Node { kind, mode, .. } = node;
        self.shared.mknod(parent, &name, Making { kind, mode, who }).await
    }

    async fn mkdir(&self, parent: Ino, name: Name, mode: u32, who: Credentials) -> Result<Attr> {
        let making = Making { kind: FileKind::Directory, mode, who };
        self.shared.mkdir(parent, &name, making).await
    }

    async fn symlink(
        &self,
        parent: Ino,
        name: Name,
        target: Bytes,
        who: Credentials,
    ) -> Result<Attr> {
        self.shared.symlink(parent, &name, target, who).await
    }

    async fn link(&self, _: Ino, _: Ino, _: Name, _: Credentials) -> Result<Attr> {
        let message = "a file has one path here, and so one name";
        Err(FsError::new(ErrorKind::NotPermitted, message))
    }

    async fn unlink(&self, parent: Ino, name: Name, _: Credentials) -> Result<()> {
        self.shared.unlink(parent, &name).await
    }

    async fn rmdir(&self, parent: Ino, name: Name, _: Credentials) -> Result<()> {
        self.shared.rmdir(parent, &name).await
    }

    async fn rename(
        &self,
        from: (Ino, Name),
        to: (Ino, Name),
        mode: RenameMode,
        _: Credentials,
    ) -> Result<()> {
        self.shared.rename(from, to, mode).await
    }

    async fn open(&self, ino: Ino, flags: OpenFlags, _: Credentials, _: Attempt) -> Result<Opened> {
        let handle = self.shared.open(ino, flags).await?;
        Ok(Opened { handle, pages: Pages::Drop })
    }

    async fn create(
        &self,
        parent: Ino,
        name: Name,
        mode: u32,
        flags: OpenFlags,
        who: Credentials,
        _: Attempt,
    ) -> Result<(Attr, Opened)> {
        let (attr, handle) = self.shared.create(parent, &name, mode, flags, &who).await?;
        Ok((attr, Opened { handle, pages: Pages::Drop }))
    }

    async fn read(&self, handle: Handle, offset: u64, size: u32) -> Result<Bytes> {
        self.shared.read(handle, offset, size).await
    }

    async fn write(
        &self,
        handle: Handle,
        offset: u64,
        data: Bytes,
        appends: bool,
        _: Credentials,
    ) -> Result<()> {
        self.shared.write(handle, offset, data, appends).await
    }

    async fn flush(&self, handle: Handle, _: u64) -> Result<()> {
        self.shared.flush(handle).await
    }

    async fn fsync(&self, handle: Handle) -> Result<()> {
        self.shared.fsync(handle).await
    }

    async fn release(&self, handle: Handle) -> Result<()> {
        self.shared.release(handle).await
    }

    async fn opendir(&self, ino: Ino, _: Credentials) -> Result<Handle> {
        self.shared.directory(&self.shared.inodes.path(ino)?).await?;
        Ok(self.shared.open.open_directory(ino))
    }

    async fn readdir(
        &self,
        handle: Handle,
        after: Cookie,
        _: bool,
        _: Credentials,
    ) -> Result<Listing> {
        let directory = self.shared.open.directory(handle)?;
        let path = self.shared.inodes.path(directory.ino)?;
        let entries = match directory.entries.filter(|_| after >= Cookie::FIRST) {
            Some(entries) => entries,
            None => {
                let entries = Arc::new(self.shared.entries(&path).await?);
                self.shared.open.set_entries(handle, entries.clone());
                entries
            }
        };
        let first = entries.partition_point(|entry| entry.cookie <= after);
        let parent = path.parent().and_then(|parent| self.shared.inodes.find(&parent));
        let parent = parent.unwrap_or(directory.ino);
        Ok(Listing { parent, entries: entries[first..].to_vec(), unsent: Vec::new() })
    }

    fn releasedir(&self, handle: Handle) {
        self.shared.open.close_directory(handle);
    }

    async fn fsyncdir(&self, ino: Ino) -> Result<()> {
        self.shared.sync_path(&self.shared.inodes.path(ino)?).await
    }

    /// The protocol says nothing about space: a terabyte, always free, stops no program.
    async fn statfs(&self) -> Result<StatFs> {
        const ROOM: u64 = 1 << 40;
        Ok(StatFs { total: ROOM, free: ROOM, inodes: 0 })
    }

    async fn setxattr(
        &self,
        ino: Ino,
        name: Bytes,
        value: Bytes,
        mode: XattrMode,
        _: Credentials,
    ) -> Result<()> {
        self.shared.setxattr(ino, name, value, mode).await
    }

    async fn getxattr(&self, ino: Ino, name: Bytes, _: Credentials) -> Result<Bytes> {
        self.shared.getxattr(ino, &name).await
    }

    async fn listxattr(&self, ino: Ino, _: Credentials) -> Result<Vec<Bytes>> {
        self.shared.listxattr(ino).await
    }

    async fn removexattr(&self, ino: Ino, name: Bytes, _: Credentials) -> Result<()> {
        self.shared.removexattr(ino, &name).await
    }

    fn path(&self, ino: Ino) -> Option<Vec<u8>> {
        let path = self.shared.inodes.path(ino).ok()?;
        let key = path.as_bytes();
        Some(if key == b"/" { Vec::new() } else { key.to_vec() })
    }

    /// Files go as a whole, so all of a file counts.
    fn unsent(&self) -> Vec<(Ino, u64)> {
        let files = self.shared.open.all().into_iter();
        let unsent = files.filter_map(|file| Some((file.ino, file.snapshot()?.contents.len())));
        unsent.map(|(ino, bytes)| (ino, bytes as u64)).collect()
    }

    async fn store_all(&self) -> Result<()> {
        self.shared.store_all().await
    }
}
