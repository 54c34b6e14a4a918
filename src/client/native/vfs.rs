//! The native file system in the words of the kernel.

use std::sync::Arc;

use bytes::Bytes;

use super::data::Cluster;
use super::fs::NativeFs;
use super::stale;
use crate::client::vfs::{
    Attempt, Handle, KernelPolicy, Listing, Node, Notify, OpenFlags, Opened, Vfs,
};
use crate::error::{ErrorKind, Result};
use crate::limits;
use crate::proto::fs::StatFs;
use crate::proto::session::Lock;
use crate::types::{
    Attr, Change, Cookie, Credentials, Ino, Name, RenameMode, SetAttr, Whence, XattrMode,
};

impl<C: Cluster> Vfs for Arc<NativeFs<C>> {
    /// Names and attributes are never older than this, also if the mount cannot be told of changes.
    fn policy(&self) -> KernelPolicy {
        KernelPolicy { cache_ttl: limits::KERNEL_CACHE_AGE, is_posix: true }
    }

    fn notify_with(&self, notify: Arc<dyn Notify>) {
        NativeFs::notify_with(self, notify);
    }

    async fn lookup(
        &self,
        parent: Ino,
        name: Name,
        who: Credentials,
        attempt: Attempt,
    ) -> Result<Attr> {
        match NativeFs::lookup(self, parent, &name, &who).await {
            Ok(attr) => match self.told.other_name(parent, &name, &attr) {
                None => Ok(attr),
                Some((directory, other)) => {
                    self.take_change(&Change::Entry(directory, other));
                    match attempt {
                        Attempt::First => Err(stale("it has just got another name")),
                        Attempt::Last => Ok(attr),
                    }
                }
            },
            Err(error) => {
                self.told.note_absent(parent, &name);
                Err(error)
            }
        }
    }

    async fn find(&self, ino: Ino) -> Result<Attr> {
        NativeFs::find(self, ino).await
    }

    async fn find_parent(&self, directory: Ino) -> Result<Attr> {
        NativeFs::find_parent(self, directory).await
    }

    async fn getattr(&self, ino: Ino) -> Result<Attr> {
        NativeFs::getattr(self, ino).await
    }

    async fn setattr(
        &self,
        ino: Ino,
        handle: Option<Handle>,
        change: SetAttr,
        who: Credentials,
    ) -> Result<Attr> {
        NativeFs::setattr(self, ino, handle, change, &who).await
    }

    async fn readlink(&self, ino: Ino) -> Result<Bytes> {
        NativeFs::readlink(self, ino).await
    }

    async fn mknod(&self, parent: Ino, name: Name, node: Node, who: Credentials) -> Result<Attr> {
        let attr = NativeFs::mknod(self, parent, &name, node, &who).await?;
        self.told.note(parent, &name, attr.ino);
        Ok(attr)
    }

    async fn mkdir(&self, parent: Ino, name: Name, mode: u32, who: Credentials) -> Result<Attr> {
        let attr = NativeFs::mkdir(self, parent, &name, mode, &who).await?;
        self.told.note(parent, &name, attr.ino);
        Ok(attr)
    }

    async fn symlink(
        &self,
        parent: Ino,
        name: Name,
        target: Bytes,
        who: Credentials,
    ) -> Result<Attr> {
        let attr = NativeFs::symlink(self, parent, &name, target, &who).await?;
        self.told.note(parent, &name, attr.ino);
        Ok(attr)
    }

    async fn link(&self, ino: Ino, parent: Ino, name: Name, who: Credentials) -> Result<Attr> {
        let attr = NativeFs::link(self, ino, parent, &name, &who).await?;
        self.told.note(parent, &name, attr.ino);
        Ok(attr)
    }

    async fn unlink(&self, parent: Ino, name: Name, who: Credentials) -> Result<()> {
        NativeFs::unlink(self, parent, &name, &who).await
    }

    async fn rmdir(&self, parent: Ino, name: Name, who: Credentials) -> Result<()> {
        NativeFs::rmdir(self, parent, &name, &who).await
    }

    async fn rename(
        &self,
        from: (Ino, Name),
        to: (Ino, Name),
        mode: RenameMode,
        who: Credentials,
    ) -> Result<()> {
        let (from, to) = ((from.0, &from.1), (to.0, &to.1));
        NativeFs::rename(self, from, to, mode, &who).await?;
        self.told.note_moved(from, to);
        Ok(())
    }

    async fn open(
        &self,
        ino: Ino,
        flags: OpenFlags,
        who: Credentials,
        attempt: Attempt,
    ) -> Result<Opened> {
        self.open_for_kernel(ino, flags, &who, attempt).await
    }

    async fn create(
        &self,
        parent: Ino,
        name: Name,
        mode: u32,
        flags: OpenFlags,
        who: Credentials,
        attempt: Attempt,
    ) -> Result<(Attr, Opened)> {
        let made = NativeFs::create(self, parent, &name, mode, flags, &who).await;
        let (attr, opened) = made.map_err(|error| match (error.kind(), attempt) {
            // The kernel knew nothing of that link: it follows it if it is to.
            (ErrorKind::SymlinkLoop, Attempt::First) => stale("it has just become a link"),
            _ => error,
        })?;
        self.told.note(parent, &name, attr.ino);
        Ok((attr, opened))
    }

    async fn read(&self, handle: Handle, offset: u64, size: u32) -> Result<Bytes> {
        NativeFs::read(self, handle, offset, size).await
    }

    async fn write(
        &self,
        handle: Handle,
        offset: u64,
        data: Bytes,
        appends: bool,
        who: Credentials,
    ) -> Result<()> {
        NativeFs::write(self, handle, offset, data, appends, &who).await.map(|_| ())
    }

    async fn flush(&self, handle: Handle, owner: u64) -> Result<()> {
        NativeFs::flush(self, handle, owner).await
    }

    async fn fsync(&self, handle: Handle) -> Result<()> {
        NativeFs::fsync(self, handle).await
    }

    async fn release(&self, handle: Handle) -> Result<()> {
        NativeFs::release(self, handle).await
    }

    async fn opendir(&self, ino: Ino, who: Credentials) -> Result<Handle> {
        NativeFs::opendir(self, ino, &who).await
    }

    async fn readdir(
        &self,
        handle: Handle,
        after: Cookie,
        with_attributes: bool,
        who: Credentials,
    ) -> Result<Listing> {
        NativeFs::readdir(self, handle, after, with_attributes, &who).await
    }

    fn releasedir(&self, handle: Handle) {
        NativeFs::releasedir(self, handle);
    }

    async fn fsyncdir(&self, _: Ino) -> Result<()> {
        self.sync_names().await
    }

    async fn statfs(&self) -> Result<StatFs> {
        NativeFs::statfs(self).await
    }

    async fn setxattr(
        &self,
        ino: Ino,
        name: Bytes,
        value: Bytes,
        mode: XattrMode,
        who: Credentials,
    ) -> Result<()> {
        NativeFs::setxattr(self, ino, name, value, mode, &who).await
    }

    async fn getxattr(&self, ino: Ino, name: Bytes, who: Credentials) -> Result<Bytes> {
        NativeFs::getxattr(self, ino, name, &who).await
    }

    async fn listxattr(&self, ino: Ino, who: Credentials) -> Result<Vec<Bytes>> {
        NativeFs::listxattr(self, ino, &who).await
    }

    async fn removexattr(&self, ino: Ino, name: Bytes, who: Credentials) -> Result<()> {
        NativeFs::removexattr(self, ino, name, &who).await
    }

    async fn getlk(&self, ino: Ino, lock: Lock) -> Result<Option<Lock>> {
        NativeFs::getlk(self, ino, lock).await
    }

    async fn setlk(
        &self,
        file: (Ino, Handle),
        lock: Lock,
        waits: bool,
        is_interrupted: impl Fn() -> bool + Send,
    ) -> Result<()> {
        NativeFs::setlk(self, file, lock, waits, is_interrupted).await
    }

    async fn fallocate(
        &self,
        handle: Handle,
        offset: u64,
        length: u64,
        mode: i32,
        who: Credentials,
    ) -> Result<()> {
        NativeFs::fallocate(self, handle, offset, length, mode, &who).await
    }

    async fn seek(&self, handle: Handle, offset: u64, target: Whence) -> Result<u64> {
        NativeFs::seek(self, handle, offset, target).await
    }

    async fn copy_file_range(
        &self,
        from: (Handle, u64),
        to: (Handle, u64),
        length: u64,
        who: Credentials,
    ) -> Result<u64> {
        NativeFs::copy_file_range(self, from, to, length, &who).await
    }

    fn path(&self, ino: Ino) -> Option<Vec<u8>> {
        self.told.path(ino)
    }

    fn unsent(&self) -> Vec<(Ino, u64)> {
        NativeFs::unsent(self)
    }

    async fn store_all(&self) -> Result<()> {
        NativeFs::store_all(self).await
    }
}
