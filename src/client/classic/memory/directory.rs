//! Directories as lists of names: reading them, and editing them while others do, too.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use crate::client::calls::Calls;
use crate::client::classic::ht_proxy::{FOREVER_S, Record};
use crate::client::classic::key_path::KeyPath;
use crate::client::classic::memory::{Shared, not_found};
use crate::client::classic::names::Names;
use crate::client::classic::stat;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::form;
use crate::proto::form::Form;
use crate::rpc::patience::inherited;
use crate::types::{Cookie, DirEntry, FileKind, Ino, Name};

/// The inode number in listings for what the kernel does not hold; `stat` gives the true one.
/// Source: `FUSE_UNKNOWN_INO` of libfuse.
const INO_UNKNOWN: Ino = Ino(0xffff_ffff);

/// The time to wait after an attempt that came too late: by chance, so that of many clients one is
/// the first, and longer each time.
fn pause(attempt: u32) -> Duration {
    let range_us = 500 * u64::from(attempt.min(20) + 1);
    Duration::from_micros(RandomState::new().hash_one(attempt) % range_us)
}

impl<C: Calls> Shared<C> {
    /// Changes the list of a directory, and its times and number of links with it. `change` says
    /// whether it changed anything; it is called again when somebody else was faster.
    pub(super) async fn edit_directory(
        &self,
        dir: &KeyPath,
        links: i32,
        change: impl Fn(&mut Names) -> bool + Send + Sync,
    ) -> Result<()> {
        let _guard = self.paths.lock(dir).await;
        for attempt in 0..limits::DIRECTORY_ATTEMPTS_MAX {
            if let Some(is_changed) = self.try_edit(dir, &change).await? {
                return if is_changed { self.touch_directory(dir, links).await } else { Ok(()) };
            }
            tokio::time::sleep(pause(attempt)).await;
        }
        let message = format!("too many clients change the directory {dir} at once");
        Err(FsError::new(ErrorKind::Busy, message))
    }

    /// One attempt; none if the list was no longer as it was read.
    async fn try_edit(
        &self,
        dir: &KeyPath,
        change: &(impl Fn(&mut Names) -> bool + Send + Sync),
    ) -> Result<Option<bool>> {
        let record = self.fetch(dir).await?.ok_or_else(|| not_found(dir))?;
        let server = record.server()?;
        let found = self.proxy.get_contents(dir, &record).await?;
        let (mut names, form) = self.read_names(dir, found.as_ref())?;
        if !change(&mut names) {
            return Ok(Some(false));
        }
        let list = names.write(form)?;
        let is_replaced = self.proxy.replace_list(dir, server, found, list).await?;
        Ok(is_replaced.then_some(true))
    }

    fn read_names(
        &self,
        dir: &KeyPath,
        list: Option<&crate::types::StoredValue>,
    ) -> Result<(Names, Form)> {
        let Some(list) = list else { return Ok((Names::new(dir), self.form)) };
        let names = Names::read(list).map_err(|error| error.context(dir))?;
        let dialect = form::dialect_of(list).unwrap_or(self.form.dialect);
        Ok((names, Form { dialect, ..self.form }))
    }

    /// The list has changed, and with it the times of the directory.
    async fn touch_directory(&self, dir: &KeyPath, links: i32) -> Result<()> {
        let Some(record) = self.fetch(dir).await? else { return Ok(()) };
        let mut record = Record::clone(&record);
        // Others may have let it expire; a directory with files in it must not.
        record.ttl_s = FOREVER_S;
        let attributes = &mut record.attributes;
        attributes.mtime_s = stat::now_s();
        attributes.ctime_s = attributes.mtime_s;
        attributes.nlink = attributes.nlink.saturating_add_signed(links).max(2);
        self.proxy.put_attributes(dir, &record).await?;
        self.remember(dir, Some(record));
        Ok(())
    }

    /// The names in a directory, with those of files that are only here.
    pub(super) async fn names(&self, dir: &KeyPath, record: &Record) -> Result<Vec<Name>> {
        let list = self.proxy.get_contents(dir, record).await?;
        let (names, _) = self.read_names(dir, list.as_ref())?;
        let mut names = names.children(dir);
        for path in self.new_paths() {
            if let Some(name) = dir.name_of_entry(path.as_bytes())
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// The paths of open files that the servers do not have yet.
    fn new_paths(&self) -> impl Iterator<Item = KeyPath> + '_ {
        let new = self.open.all().into_iter().filter(|file| file.is_new());
        new.filter_map(|file| self.inodes.path(file.ino).ok())
    }

    /// The entries of a directory. A name without a file behind it, as a client leaves it that
    /// dies between two steps or a file that expires, is no entry.
    pub(super) async fn entries(self: &Arc<Self>, dir: &KeyPath) -> Result<Vec<DirEntry>> {
        let record = self.directory(dir).await?;
        let names = self.names(dir, &record).await?;
        let mut kinds: Vec<Option<FileKind>> = vec![None; names.len()];
        let mut calls = tokio::task::JoinSet::new();
        let mut waiting = names.iter().enumerate();
        loop {
            while calls.len() < limits::LISTING_CALLS_MAX
                && let Some((at, name)) = waiting.next()
            {
                let (shared, path) = (self.clone(), dir.child(name)?);
                calls.spawn(inherited(async move { (at, shared.kind_at(&path).await) }));
            }
            let Some(done) = calls.join_next().await else { break };
            let (at, kind) =
                done.map_err(|error| FsError::new(ErrorKind::Io, error.to_string()))?;
            kinds[at] = kind?;
        }
        let cookies = (Cookie::FIRST.0..).map(Cookie);
        let found = names.into_iter().zip(kinds).zip(cookies);
        Ok(found
            .filter_map(|((name, kind), cookie)| {
                let ino = dir.child(&name).ok().and_then(|path| self.inodes.find(&path));
                let ino = ino.unwrap_or(INO_UNKNOWN);
                Some(DirEntry { cookie, name, ino, kind: kind?, attr: None, place: None })
            })
            .collect())
    }

    async fn kind_at(&self, path: &KeyPath) -> Result<Option<FileKind>> {
        if self.open_at(path).is_some_and(|file| file.is_new()) {
            return Ok(Some(FileKind::Regular));
        }
        match self.record(path).await {
            Ok(None) => Ok(None),
            Ok(Some(record)) => stat::kind(&record.attributes).map(Some),
            // One file with damaged attributes must not hide all others.
            Err(error) if error.kind() == ErrorKind::Protocol => Ok(Some(FileKind::Regular)),
            Err(error) => Err(error),
        }
    }
}
