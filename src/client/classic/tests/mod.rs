//! Memory over servers inside the process: what programs see, what is stored, and what it costs.

use bytes::Bytes;

use crate::client::classic::cluster::{Cluster, MASTER};
use crate::client::classic::ht_proxy::HtProxy;
use crate::client::classic::memory::Memory;
use crate::client::vfs::{Attempt, Handle, OpenFlags, Vfs};
use crate::error::{ErrorKind, Result};
use crate::proto::classic::Dialect;
use crate::proto::form::Layout;
use crate::types::{Attr, Cookie, Credentials, Ino, Name, RenameMode, SetAttr};

mod directories;
mod files;
mod key_types;
mod strangers;

const WHO: Credentials = Credentials { uid: 7, gid: 8, groups: Vec::new(), umask: 0 };
const TTL_S: u64 = 1_000_000;

/// A mount, with paths instead of inodes.
struct Mount {
    memory: Memory<Cluster>,
}

impl Mount {
    async fn new(cluster: &Cluster) -> Self {
        Self::with(cluster, None, None).await
    }

    async fn with(cluster: &Cluster, dialect: Option<Dialect>, layout: Option<Layout>) -> Self {
        Self::try_with(cluster, dialect, layout).await.unwrap()
    }

    async fn try_with(
        cluster: &Cluster,
        dialect: Option<Dialect>,
        layout: Option<Layout>,
    ) -> Result<Self> {
        let proxy = HtProxy::new(cluster.clone(), MASTER.to_owned(), dialect, TTL_S);
        Ok(Self { memory: Memory::open(proxy, layout, (1, 2)).await? })
    }

    async fn dir_of(&self, path: &str) -> Result<(Ino, Name)> {
        let (dir, name) = path.rsplit_once('/').unwrap();
        Ok((self.stat(dir).await?.ino, Name::new(name.as_bytes().to_vec())?))
    }

    async fn stat(&self, path: &str) -> Result<Attr> {
        let mut attr = self.memory.getattr(Ino::ROOT).await?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let name = Name::new(name.as_bytes().to_vec())?;
            attr = self.memory.lookup(attr.ino, name, WHO, Attempt::First).await?;
        }
        Ok(attr)
    }

    async fn create(&self, path: &str) -> Result<Handle> {
        let (dir, name) = self.dir_of(path).await?;
        let flags = OpenFlags(libc::O_RDWR | libc::O_TRUNC);
        Ok(self.memory.create(dir, name, 0o644, flags, WHO, Attempt::First).await?.1.handle)
    }

    async fn open(&self, path: &str) -> Result<Handle> {
        let opened =
            self.memory.open(self.stat(path).await?.ino, OpenFlags::default(), WHO, Attempt::First);
        Ok(opened.await?.handle)
    }

    async fn close(&self, handle: Handle) -> Result<()> {
        let flushed = self.memory.flush(handle, 0).await;
        self.memory.release(handle).await.and(flushed)
    }

    /// What a shell does for `echo -n contents > path`.
    async fn write(&self, path: &str, contents: &[u8]) -> Result<()> {
        let handle = match self.stat(path).await {
            Ok(attr) => {
                let flags = OpenFlags(libc::O_RDWR | libc::O_TRUNC);
                self.memory.open(attr.ino, flags, WHO, Attempt::First).await?.handle
            }
            Err(_) => self.create(path).await?,
        };
        let data = Bytes::copy_from_slice(contents);
        let written = self.memory.write(handle, 0, data, false, WHO).await;
        self.close(handle).await.and(written.map(drop))
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        let handle = self.open(path).await?;
        let contents = self.memory.read(handle, 0, u32::MAX).await;
        self.close(handle).await?;
        contents
    }

    async fn list(&self, path: &str) -> Result<Vec<String>> {
        let handle = self.memory.opendir(self.stat(path).await?.ino, WHO).await?;
        let page = self.memory.readdir(handle, Cookie::START, false, WHO).await;
        self.memory.releasedir(handle);
        let mut names: Vec<_> =
            page?.entries.into_iter().map(|entry| entry.name.to_string()).collect();
        names.sort();
        Ok(names)
    }

    async fn mkdir(&self, path: &str) -> Result<Attr> {
        let (dir, name) = self.dir_of(path).await?;
        self.memory.mkdir(dir, name, 0o755, WHO).await
    }

    async fn unlink(&self, path: &str) -> Result<()> {
        let (dir, name) = self.dir_of(path).await?;
        self.memory.unlink(dir, name, WHO).await
    }

    async fn rmdir(&self, path: &str) -> Result<()> {
        let (dir, name) = self.dir_of(path).await?;
        self.memory.rmdir(dir, name, WHO).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (self.dir_of(from).await?, self.dir_of(to).await?);
        self.memory.rename(from, to, RenameMode::Replace, WHO).await
    }

    async fn chmod(&self, path: &str, mode: u32) -> Result<Attr> {
        let ino = self.stat(path).await?.ino;
        let change = SetAttr { mode: Some(mode), ..SetAttr::default() };
        self.memory.setattr(ino, None, change, WHO).await
    }
}

fn kind_of<T>(result: Result<T>) -> ErrorKind {
    result.map(|_| ()).expect_err("it should have failed").kind()
}
