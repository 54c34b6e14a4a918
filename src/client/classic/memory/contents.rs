//! Contents of files: loaded with one get, changed in memory, stored with one put.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::client::calls::Calls;
use crate::client::classic::ht_proxy::Record;
use crate::client::classic::key_path::KeyPath;
use crate::client::classic::memory::{Shared, not_found};
use crate::client::classic::open_file::{OpenFile, Snapshot};
use crate::client::classic::stat;
use crate::client::vfs::{Handle, OpenFlags};
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::pickle::Attributes;
use crate::proto::form::Form;
use crate::rpc::patience::inherited;
use crate::types::{FileKind, Ino};

/// Attempts to find attributes and contents that belong together, while somebody stores both.
const CONSISTENT_ATTEMPTS_MAX: u32 = 4;

/// Time between them.
const CONSISTENT_PAUSE: Duration = Duration::from_millis(25);

impl<C: Calls> Shared<C> {
    pub(super) async fn open(&self, ino: Ino, flags: OpenFlags) -> Result<Handle> {
        let own = self.open.find(ino).and_then(|file| file.own_attributes());
        let attributes = match own {
            Some(own) => own,
            None => {
                let path = self.inodes.path(ino)?;
                let record = self.fetch(&path).await?.ok_or_else(|| not_found(&path))?;
                record.attributes.clone()
            }
        };
        match stat::kind(&attributes)? {
            FileKind::Directory => {
                return Err(FsError::new(ErrorKind::IsDirectory, "a directory has no contents"));
            }
            kind if self.inodes.kind(ino) != Some(kind) => {
                return Err(FsError::new(ErrorKind::Stale, "it has become another kind of file"));
            }
            _ => {}
        }
        let (handle, file) = self.open.open(ino, &attributes);
        file.refresh(&attributes);
        if flags.truncates()
            && let Err(error) = file.set_size(0, self.form)
        {
            self.open.close(handle);
            return Err(error);
        }
        Ok(handle)
    }

    pub(super) async fn read(&self, handle: Handle, offset: u64, size: u32) -> Result<Bytes> {
        let file = self.open.of_handle(handle)?;
        loop {
            if let Some(bytes) = file.read(offset, size) {
                return Ok(bytes);
            }
            self.load(&file).await?;
        }
    }

    pub(super) async fn write(
        &self,
        handle: Handle,
        offset: u64,
        data: Bytes,
        appends: bool,
    ) -> Result<()> {
        let file = self.open.of_handle(handle)?;
        let offset = (!appends).then_some(offset);
        while !file.write(offset, &data, self.form)? {
            self.load(&file).await?;
        }
        Ok(())
    }

    /// Sets the size of a file; where no handle will be closed afterwards, it is stored at once.
    pub(super) async fn set_size(&self, ino: Ino, handle: Option<Handle>, size: u64) -> Result<()> {
        if let Some(handle) = handle {
            return self.resize(&*self.open.of_handle(handle)?, size).await;
        }
        let own = self.open(ino, OpenFlags::default()).await?;
        let result = async {
            let file = self.open.of_handle(own)?;
            self.resize(&file, size).await?;
            self.store(&file).await
        };
        let result = result.await;
        self.open.close(own);
        result
    }

    async fn resize(&self, file: &OpenFile, size: u64) -> Result<()> {
        while !file.set_size(size, self.form)? {
            self.load(file).await?;
        }
        Ok(())
    }

    /// Brings the contents into memory, if they are not.
    async fn load(&self, file: &OpenFile) -> Result<()> {
        if file.is_loaded() {
            return Ok(());
        }
        let _tree = self.tree.read().await;
        let (path, _guard) = self.lock_path(file.ino).await?;
        self.load_locked(&path, file).await
    }

    /// The same for whoever has the path's lock.
    pub(super) async fn load_locked(&self, path: &KeyPath, file: &OpenFile) -> Result<()> {
        if file.is_loaded() {
            return Ok(());
        }
        let (record, contents, form) = self.read_contents(path).await?;
        file.fill(&record.attributes, contents, form)
    }

    /// Attributes and contents that belong together.
    pub(super) async fn read_contents(&self, path: &KeyPath) -> Result<(Arc<Record>, Bytes, Form)> {
        let mut attempt = 1;
        loop {
            let record = self.fetch(path).await?.ok_or_else(|| not_found(path))?;
            let size = record.attributes.size;
            let value = self.proxy.get_contents(path, &record).await?;
            let read = match &value {
                Some(value) => Form::read(value, size),
                None => (size == 0).then(|| (Bytes::new(), self.form)),
            };
            if let Some((contents, form)) = read {
                return Ok((record, contents, form));
            }
            if attempt == CONSISTENT_ATTEMPTS_MAX {
                // Nobody is storing it just now: this is how it was left.
                let server = record.server()?;
                let value = value.ok_or_else(|| {
                    let message = format!("{server} does not have the contents of {path}");
                    FsError::new(ErrorKind::Io, message)
                })?;
                let (contents, form) = Form::read_any(&value)?;
                tracing::warn!("{path} has {} bytes, not {size}", contents.len());
                return Ok((record, contents, form));
            }
            attempt += 1;
            tokio::time::sleep(CONSISTENT_PAUSE).await;
        }
    }

    /// Stores what was written, if anything was.
    pub(super) async fn store(&self, file: &OpenFile) -> Result<()> {
        if file.snapshot().is_none() {
            return Ok(());
        }
        let _tree = self.tree.read().await;
        match self.lock_path(file.ino).await {
            Ok((path, _guard)) => self.store_locked(&path, file).await,
            // It has lost its name while this task waited.
            Err(error) if error.kind() == ErrorKind::Stale => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The same for whoever has the path's lock.
    pub(super) async fn store_locked(&self, path: &KeyPath, file: &OpenFile) -> Result<()> {
        let Some(snapshot) = file.snapshot() else { return Ok(()) };
        let parent = path.parent().ok_or_else(|| not_found(path))?;
        if snapshot.is_new {
            self.directory(&parent).await?;
        }
        let form = self.form_of(path, &snapshot).await;
        let contents = form.write(Bytes::from_owner(Shareable(snapshot.contents.clone())));
        let merge = |found: Option<Attributes>| {
            let own = &snapshot.attributes;
            let (size, mtime_s, ctime_s) = (own.size, own.mtime_s, own.ctime_s);
            Attributes { size, mtime_s, ctime_s, ..found.unwrap_or_else(|| own.clone()) }
        };
        let (record, is_new) = self.proxy.put(path, contents, merge).await?;
        if is_new || snapshot.is_new {
            self.edit_directory(&parent, 0, |names| names.insert(path)).await?;
        }
        self.remember(path, Some(record.clone()));
        file.set_stored(&snapshot, &record.attributes, form);
        Ok(())
    }

    /// How a file is to be stored: as it was, if that is known or can be seen cheaply.
    async fn form_of(&self, path: &KeyPath, snapshot: &Snapshot) -> Form {
        if let Some(form) = snapshot.form {
            return form;
        }
        if snapshot.is_new {
            return self.form;
        }
        self.probe(path).await.ok().flatten().unwrap_or(self.form)
    }

    async fn probe(&self, path: &KeyPath) -> Result<Option<Form>> {
        let Some(record) = self.record(path).await? else { return Ok(None) };
        let size = record.attributes.size;
        if size > limits::FORM_PROBE_SIZE_MAX {
            return Ok(None);
        }
        let value = self.proxy.get_contents(path, &record).await?;
        Ok(value.and_then(|value| Form::read(&value, size)).map(|(_, form)| form))
    }

    pub(super) async fn flush(&self, handle: Handle) -> Result<()> {
        self.store(&*self.open.of_handle(handle)?).await
    }

    pub(super) async fn fsync(&self, handle: Handle) -> Result<()> {
        let file = self.open.of_handle(handle)?;
        self.store(&file).await?;
        let Ok(path) = self.inodes.path(file.ino) else { return Ok(()) };
        self.sync_path(&path).await
    }

    /// What is under a path, and the name of it, survive a power cut.
    pub(super) async fn sync_path(&self, path: &KeyPath) -> Result<()> {
        let mut servers = HashSet::new();
        for path in [Some(path.clone()), path.parent()].into_iter().flatten() {
            let record = self.record(&path).await?;
            servers.extend(record.and_then(|record| record.attributes.contents.clone()));
        }
        self.proxy.sync(&servers).await
    }

    /// The last handle tries once more to store what an earlier one could not.
    pub(super) async fn release(&self, handle: Handle) -> Result<()> {
        let file = self.open.of_handle(handle)?;
        let stored = if self.open.is_last(handle) { self.store(&file).await } else { Ok(()) };
        self.open.close(handle);
        if stored.is_err() && self.open.find(file.ino).is_none() && file.is_new() {
            // Nobody else has ever seen it.
            if let Ok(path) = self.inodes.path(file.ino) {
                self.inodes.detach(&path);
            }
        }
        stored
    }

    /// Tries all files at once: one dead server does not keep the others from being stored.
    pub(super) async fn store_all(self: &Arc<Self>) -> Result<()> {
        let mut stores = tokio::task::JoinSet::new();
        for file in self.open.all() {
            let shared = self.clone();
            stores.spawn(inherited(async move { shared.store(&file).await }));
        }
        let lost = |error: tokio::task::JoinError| FsError::new(ErrorKind::Io, error.to_string());
        let mut result = Ok(());
        while let Some(stored) = stores.join_next().await {
            result = result.and(stored.map_err(lost).flatten());
        }
        result
    }
}

/// The contents of an open file, lent to a call without a copy.
struct Shareable(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shareable {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
