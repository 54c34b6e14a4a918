//! The lists of directories: the names that a classic client is given, and what is learned from the
//! lists that it puts.
//!
//! Names come and go with what they stand for, so a list changes nothing in the tree. It tells in
//! which form its client stores lists, and which deleted names the client has done with.

use std::collections::HashSet;

use bytes::Bytes;
use tokio::task::block_in_place;

use super::Gateway;
use super::dict::Dict;
use super::lists::{self, ListedEntry};
use super::look::Place;
use super::{deep_names, notes};
use crate::clock;
use crate::error::{ErrorKind, Result};
use crate::limits;
use crate::master::fs::Origin;
use crate::master::namespace::{Effects, PageRequest, View};
use crate::proto::Packed;
use crate::proto::classic::{Dialect, Put};
use crate::proto::gateway::{ListNames, NamesPage, StagedList, TakeLists};
use crate::proto::path_list::ListForm;
use crate::rpc::{Caller, Program};
use crate::store::ReadTxn;
use crate::types::{DirPage, Ino, Key, Name, ServerId, TreePath};

/// A name that is being deleted, which stays in the lists of its directory meanwhile.
pub(super) struct Leaving {
    directory: Ino,
    name: Name,
}

impl Gateway {
    /// Some names of a directory, with those behind them that were deleted, for classic clients.
    ///
    /// # Errors
    /// As `fs.readdir`.
    pub(super) fn list_names(&self, call: &ListNames) -> Result<NamesPage> {
        let dialect = if call.is_string { Dialect::String } else { Dialect::Binary };
        let request = PageRequest {
            after: call.after.0,
            until: call.until.0,
            limit: limits::DIRECTORY_PAGE_MAX,
            with_attr: false,
        };
        let (page, form) = self.files.store().read(|txn| {
            let page = View::new(txn).readdir(call.ino, request)?;
            Ok((page, notes::list_form(txn, call.ino, dialect)?))
        })?;
        let DirPage { entries, is_last, until, .. } = page;
        let next = entries.last().map(|entry| entry.cookie).filter(|_| !is_last);
        let mut names: Vec<Name> = entries.into_iter().map(|entry| entry.name).collect();
        let mut deep = Vec::new();
        if next.is_none() {
            // Asked after the tree: a name that goes in between is in one of them.
            names.extend(self.deleted_names(call.ino)?);
            deep = self
                .files
                .store()
                .read(|txn| deep_names::shown(View::new(txn), notes::deep_names(txn, call.ino)?))?;
        }
        let (form, dialect) = form.unwrap_or((ListForm::default(), dialect));
        Ok(NamesPage { names, deep, next, until, form, dialect })
    }

    /// Deleted names that stay in lists, without those that are there again.
    fn deleted_names(&self, directory: Ino) -> Result<Vec<Name>> {
        let deleted = self.lists().show(directory, clock::uptime());
        if deleted.is_empty() {
            return Ok(deleted);
        }
        self.files.store().read(|txn| {
            let mut absent = Vec::new();
            for name in deleted {
                if View::new(txn).listed(directory, &name)?.is_none() {
                    absent.push(name);
                }
            }
            Ok(absent)
        })
    }

    /// A client is about to delete a path: its name stays in the lists until the client has put one
    /// without it. To be called before the transaction that deletes.
    pub(super) fn keep_in_lists(
        &self,
        path: &TreePath,
        caller: &Caller,
    ) -> Result<Option<Leaving>> {
        // Our own clients take no list for all there is.
        if caller.program() == Program::Htfs {
            return Ok(None);
        }
        let found = self.files.store().read(|txn| {
            let view = View::new(txn);
            match Place::of(view, path)? {
                Place::Name { directory, name, ino: Some(_) } => {
                    let listed = view.listed(directory, &name)?;
                    let entry = |(cookie, kind)| (directory, ListedEntry { name, cookie, kind });
                    Ok(listed.map(entry))
                }
                _ => Ok(None),
            }
        })?;
        let Some((directory, entry)) = found else { return Ok(None) };
        let (by, now) = (lists::connection_of(caller), clock::uptime());
        let stays = self.lists().delete(directory, &entry, &by, now);
        Ok(stays.then_some(Leaving { directory, name: entry.name }))
    }

    /// The name was not deleted after all.
    pub(super) fn stays_in_tree(&self, leaving: &Leaving) {
        self.lists().restore(leaving.directory, &leaving.name);
    }

    /// After a client's `put` of a directory: learns from the lists that were put at its server.
    pub(super) async fn take_lists(&self, call: &Put, dict: &Dict, caller: &Caller) {
        let Some(url) = &dict.attributes.contents else { return };
        let server = &self.master.members().at(url);
        let is_known = block_in_place(|| self.master.state().is_registered(server));
        let lists = match is_known.unwrap_or(false) && self.files.may_answer(server) {
            true => self.staged_lists(&call.key, server).await,
            false => Vec::new(),
        };
        let learned = block_in_place(|| self.learn_lists(call, lists, caller));
        if let Err(error) = learned {
            tracing::warn!("the list of {} is not taken note of: {error}", call.key);
        }
    }

    async fn staged_lists(&self, key: &Key, server: &ServerId) -> Vec<StagedList> {
        match self.ask_server(server, TakeLists { key: key.clone() }).await {
            Ok(Packed(lists)) => lists,
            Err(error) => {
                tracing::debug!("{server} keeps the list that was put there for {key}: {error}");
                Vec::new()
            }
        }
    }

    fn learn_lists(&self, call: &Put, mut lists: Vec<StagedList>, caller: &Caller) -> Result<()> {
        let key = &call.key;
        let Some(path) = TreePath::of(key) else { return Ok(()) };
        let found = self.files.store().read(|txn| {
            let view = View::new(txn);
            let Some(ino) = Place::of(view, &path)?.ino() else { return Ok(None) };
            match view.listing_end(ino) {
                Ok(end) => Ok(Some((ino, end))),
                // It is another thing by now, or gone.
                Err(error) if error.kind() == ErrorKind::NotDirectory => Ok(None),
                Err(error) => Err(error),
            }
        })?;
        let Some((ino, end)) = found else { return Ok(()) };
        if let Some(latest) = lists.first() {
            self.learn_form(ino, call.dialect, latest)?;
        }
        lists.retain(|list| list.form != ListForm::Other);
        let mut deep = Vec::new();
        let names = lists.iter().map(|list| names_in(key, list, &mut deep)).collect();
        if !lists.is_empty() {
            self.learn_deep_names(ino, deep)?;
        }
        self.lists().put(ino, names, end, &lists::connection_of(caller), clock::uptime());
        Ok(())
    }

    /// Remembers which paths beside names the list has, if they are others than before.
    fn learn_deep_names(&self, ino: Ino, listed: Vec<Bytes>) -> Result<()> {
        let merged = |txn: &dyn ReadTxn, listed| {
            let old = notes::deep_names(txn, ino)?;
            let new = deep_names::merge(View::new(txn), old.clone(), listed)?;
            Ok((old != new).then_some(new))
        };
        if self.files.store().read(|txn| merged(txn, listed.clone()))?.is_none() {
            return Ok(());
        }
        self.files.transact(Origin::NOBODY, |txn, _| {
            if let Some(new) = merged(txn, listed)? {
                notes::set_deep_names(txn, ino, &new);
            }
            Ok(((), Effects::default()))
        })
    }

    /// Remembers the form of lists, which changes hardly ever.
    fn learn_form(&self, ino: Ino, dialect: Dialect, list: &StagedList) -> Result<()> {
        let (own, expected) = self.files.store().read(|txn| {
            let own = notes::own_list_form(txn, ino, dialect)?;
            Ok((own, notes::list_form(txn, ino, dialect)?))
        })?;
        let form = match list.form {
            // An empty array does not say what will be in it.
            ListForm::Strings if list.paths.is_empty() => match (expected, dialect) {
                (Some((ListForm::Binaries, _)), _) | (None, Dialect::Binary) => ListForm::Binaries,
                _ => ListForm::Strings,
            },
            form => form,
        };
        let sent = (form, list.dialect);
        if own == Some(sent) {
            return Ok(());
        }
        self.files.transact(Origin::NOBODY, |txn, _| {
            notes::set_list_form(txn, ino, dialect, sent);
            Ok(((), Effects::default()))
        })
    }
}

/// The names in a directory that a list of its means; other paths go into `deep`.
fn names_in(directory: &Key, list: &StagedList, deep: &mut Vec<Bytes>) -> HashSet<Name> {
    let above = directory.as_bytes().strip_suffix(b"/").unwrap_or(directory.as_bytes());
    let name = |path: &Bytes| {
        let name = path.strip_prefix(above)?.strip_prefix(b"/")?;
        Name::new(name.to_vec()).ok()
    };
    let mut names = HashSet::new();
    for path in &list.paths {
        match name(path) {
            Some(name) => drop(names.insert(name)),
            None if path.as_ref() == b"/" || path.len() > limits::KEY_SIZE_MAX => {}
            None => deep.push(path.clone()),
        }
    }
    names
}
