//! Memory: the file system that the homework's client has in its two hash tables.
//!
//! A file is what is stored under its path: attributes at the master, contents at a chunk server.
//! The contents of a directory is the list of the paths of its children. So a path that changes
//! means that things are stored anew, and nothing but the order of the steps keeps a directory and
//! its files together: files are complete before they are named, and named elsewhere before they
//! are removed.

mod attributes;
mod contents;
mod directory;
mod names;
mod rename;
mod root;
mod vfs;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::RwLock;

use crate::client::calls::Calls;
use crate::client::classic::cache::RecordCache;
use crate::client::classic::ht_proxy::{HtProxy, Record};
use crate::client::classic::inodes::Inodes;
use crate::client::classic::key_path::KeyPath;
use crate::client::classic::open_file::OpenFile;
use crate::client::classic::open_files::OpenFiles;
use crate::client::classic::path_locks::{PathGuard, PathLocks};
use crate::client::classic::stat;
use crate::error::{ErrorKind, FsError, Result};
use crate::pickle::Attributes;
use crate::proto::form::Form;
use crate::types::{Attr, FileKind, Ino};

/// The file system; clones share everything.
#[derive(Debug)]
pub struct Memory<C> {
    shared: Arc<Shared<C>>,
}

#[derive(Debug)]
struct Shared<C> {
    proxy: HtProxy<C>,
    /// How new files are stored.
    form: Form,
    inodes: Inodes,
    records: RecordCache,
    open: OpenFiles,
    /// Taken for writing while a directory moves, so that nothing below it is stored meanwhile;
    /// before any of `paths`.
    tree: RwLock<()>,
    paths: PathLocks,
    /// Owner and group of files whose dicts name none: whoever mounted.
    owner: (u32, u32),
}

impl<C> Clone for Memory<C> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<C: Calls> Shared<C> {
    /// What the master has under a path, from now.
    async fn fetch(&self, path: &KeyPath) -> Result<Option<Arc<Record>>> {
        let asked = Instant::now();
        let record = self.proxy.get(path).await?.map(Arc::new);
        self.records.insert(path, record.clone(), asked);
        Ok(record)
    }

    /// What the master has under a path, or had a moment ago.
    async fn record(&self, path: &KeyPath) -> Result<Option<Arc<Record>>> {
        match self.records.get(path) {
            Some(record) => Ok(Some(record)),
            None => self.fetch(path).await,
        }
    }

    /// This client has stored, or removed, what is under a path.
    fn remember(&self, path: &KeyPath, record: Option<Record>) {
        self.records.insert(path, record.map(Arc::new), Instant::now());
    }

    /// The record of a directory.
    async fn directory(&self, path: &KeyPath) -> Result<Arc<Record>> {
        let record = self.record(path).await?.ok_or_else(|| not_found(path))?;
        match stat::kind(&record.attributes)? {
            FileKind::Directory => Ok(record),
            _ => Err(FsError::new(ErrorKind::NotDirectory, format!("{path} is no directory"))),
        }
    }

    /// The file that is open under a path.
    fn open_at(&self, path: &KeyPath) -> Option<Arc<OpenFile>> {
        self.inodes.find(path).and_then(|ino| self.open.find(ino))
    }

    /// Waits until an inode's path is this task's, and gives the path.
    async fn lock_path(&self, ino: Ino) -> Result<(KeyPath, PathGuard)> {
        loop {
            let path = self.inodes.path(ino)?;
            let guard = self.paths.lock(&path).await;
            // Somebody may have renamed it meanwhile.
            if self.inodes.path(ino)? == path {
                return Ok((path, guard));
            }
        }
    }

    fn to_attr(&self, ino: Ino, attributes: &Attributes) -> Result<Attr> {
        stat::to_attr(ino, attributes, self.owner.0, self.owner.1)
    }
}

fn not_found(path: &KeyPath) -> FsError {
    FsError::new(ErrorKind::NotFound, format!("there is no {path}"))
}
