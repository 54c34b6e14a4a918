//! What classic clients take to be in a directory although the tree has it no more: names that one of
//! them deleted, until it has stored the list without them.
//!
//! A classic client keeps the list of a directory itself. In a rename it deletes the old path first,
//! then gets the list and removes the name, which fails if the name is not there. So a name that is
//! deleted stays in the lists that are given out, until its deleter puts a list without it, or for
//! [`limits::DELETED_NAME_GRACE`] if that one dies. In an unlink it is the other way round: the list
//! is put first, and the path deleted then; that name must not come back.
//!
//! Several clients do so at once, and one may put a list that it got before the name was made. What
//! tells their lists apart is the connection to the master, over which a client deletes and stores:
//! others' lists say nothing. Only for clients with a connection for each call they do, as far as
//! these have seen the name. In doubt a name stays, for those few seconds.
//!
//! All of it is in memory, for seconds: what a restart of the master forgets, no client waits for.

use std::collections::{BTreeMap, HashSet};
use std::sync::Weak;

use crate::clock::Timestamp;
use crate::limits;
use crate::rpc::Caller;
use crate::types::{Cookie, FileKind, Ino, Name};

/// The connection of a client to the master; none that is open for a client that makes a new one for
/// each call.
type Connection = Weak<()>;

/// The connection by which a client can be known again.
pub(super) fn connection_of(caller: &Caller) -> Connection {
    if caller.is_first_call() { Weak::new() } else { caller.token() }
}

/// Names that stay, and lists that were put lately, by directory.
#[derive(Debug, Default)]
pub(super) struct Lists {
    directories: BTreeMap<Ino, Directory>,
    /// Names in all that is remembered.
    size: usize,
    /// Deletions and puts so far: a millisecond may have several.
    count: u64,
}

#[derive(Debug, Default)]
struct Directory {
    deleted: Vec<Deleted>,
    /// In the order of their puts.
    puts: Vec<ListPut>,
}

#[derive(Debug)]
struct Deleted {
    name: Name,
    by: Connection,
    at: Timestamp,
    number: u64,
    /// Whether some client has been given it in a list since.
    is_shown: bool,
}

#[derive(Debug)]
struct ListPut {
    by: Connection,
    at: Timestamp,
    number: u64,
    /// Names from here on were made later.
    end: Cookie,
    /// Whether its client has done nothing since.
    is_latest: bool,
    /// What was staged: perhaps another client's list as well, or none if that one has taken it.
    lists: Vec<HashSet<Name>>,
}

/// A name in a directory that a client deletes.
#[derive(Debug)]
pub(super) struct ListedEntry {
    pub(super) name: Name,
    pub(super) cookie: Cookie,
    pub(super) kind: FileKind,
}

impl ListPut {
    fn size(&self) -> usize {
        self.lists.iter().map(HashSet::len).sum()
    }

    /// Whether there is a list without the name.
    fn lacks(&self, name: &Name) -> bool {
        self.lists.iter().any(|list| !list.contains(name))
    }

    /// Whether all that may be the client's list is without the name.
    fn surely_lacks(&self, name: &Name) -> bool {
        !self.lists.is_empty() && self.lists.iter().all(|list| !list.contains(name))
    }
}

impl Directory {
    /// Whether a client that deletes a name has put a list without it just before: the order of
    /// unlink.
    fn is_taken_off(&self, entry: &ListedEntry, by: &Connection) -> bool {
        let ListedEntry { name, cookie, kind } = entry;
        let put = self.puts.iter().rfind(|put| is_same(&put.by, by));
        let put = put.or_else(|| self.puts.iter().rfind(|put| !is_open(&put.by)));
        let Some(put) = put.filter(|put| *cookie < put.end) else { return false };
        if put.lists.len() == 1 || !is_same(&put.by, by) {
            return put.surely_lacks(name);
        }
        // Its list was taken along with another client's, before or now. What a client deletes right
        // after it has put a list is off that list, unless it is a directory.
        let may_be_off = |put: &ListPut| *cookie < put.end && put.lacks(name);
        put.surely_lacks(name)
            || put.is_latest && *kind != FileKind::Directory && self.puts.iter().any(may_be_off)
    }
}

impl Lists {
    /// A client deletes a name of the tree; says whether it stays in the lists.
    pub(super) fn delete(
        &mut self,
        directory: Ino,
        entry: &ListedEntry,
        by: &Connection,
        now: Timestamp,
    ) -> bool {
        self.forget_old(now);
        let is_listed_no_more =
            self.directories.get(&directory).is_some_and(|own| own.is_taken_off(entry, by));
        self.go_on(by);
        if is_listed_no_more || self.size >= limits::LISTED_NAMES_MAX {
            return false;
        }
        let ListedEntry { name, .. } = entry;
        let own = self.directories.entry(directory).or_default();
        own.deleted.retain(|deleted| deleted.name != *name);
        self.count += 1;
        let (name, by, number) = (name.clone(), by.clone(), self.count);
        own.deleted.push(Deleted { name, by, at: now, number, is_shown: false });
        self.size += 1;
        true
    }

    /// A client stores or deletes something else than a directory: its list was not the last it did.
    pub(super) fn go_on(&mut self, by: &Connection) {
        for entry in self.directories.values_mut() {
            let own = entry.puts.iter_mut().filter(|put| is_same(&put.by, by));
            own.for_each(|put| put.is_latest = false);
        }
    }

    /// A name is there again, or still.
    pub(super) fn restore(&mut self, directory: Ino, name: &Name) {
        if let Some(entry) = self.directories.get_mut(&directory) {
            entry.deleted.retain(|deleted| deleted.name != *name);
        }
    }

    /// The names that stay in a directory, which a client is given now.
    pub(super) fn show(&mut self, directory: Ino, now: Timestamp) -> Vec<Name> {
        self.forget_old(now);
        let Some(entry) = self.directories.get_mut(&directory) else { return Vec::new() };
        entry.deleted.iter_mut().for_each(|deleted| deleted.is_shown = true);
        entry.deleted.iter().map(|deleted| deleted.name.clone()).collect()
    }

    /// A client has put a list of a directory whose latest name is the one before `end`.
    pub(super) fn put(
        &mut self,
        directory: Ino,
        lists: Vec<HashSet<Name>>,
        end: Cookie,
        by: &Connection,
        now: Timestamp,
    ) {
        self.forget_old(now);
        let entry = self.directories.entry(directory).or_default();
        self.count += 1;
        let (by, number) = (by.clone(), self.count);
        let put = ListPut { by, at: now, number, end, is_latest: true, lists };
        self.size += put.size();
        if entry.puts.len() == limits::LIST_PUTS_KEPT_MAX {
            entry.puts.remove(0);
        }
        entry.puts.push(put);
        let Directory { deleted, puts } = entry;
        let Some(last) = puts.last() else { return };
        deleted.retain(|deleted| !is_done_with(deleted, puts, last));
    }

    /// Forgets what is over. What is remembered is bounded in number, too.
    pub(super) fn forget_old(&mut self, now: Timestamp) {
        let grace_ms = u64::try_from(limits::DELETED_NAME_GRACE.as_millis()).unwrap_or(u64::MAX);
        let is_fresh = |at: Timestamp| now.since_ms(at) < grace_ms;
        let is_full = self.size >= limits::LISTED_NAMES_MAX;
        self.size = 0;
        self.directories.retain(|_, entry| {
            entry.deleted.retain(|deleted| is_fresh(deleted.at));
            entry.puts.retain(|put| is_fresh(put.at) && !is_full);
            self.size += entry.deleted.len();
            self.size += entry.puts.iter().map(ListPut::size).sum::<usize>();
            !entry.deleted.is_empty() || !entry.puts.is_empty()
        });
    }
}

/// Whether the last of these puts ends the stay of a name.
fn is_done_with(deleted: &Deleted, puts: &[ListPut], last: &ListPut) -> bool {
    let Deleted { name, number, .. } = deleted;
    if is_same(&deleted.by, &last.by) {
        // Its list may have been taken along with another client's.
        return puts.iter().any(|put| put.number > *number && put.lacks(name));
    }
    deleted.is_shown && !is_open(&deleted.by) && last.lacks(name)
}

fn is_open(connection: &Connection) -> bool {
    connection.strong_count() > 0
}

fn is_same(one: &Connection, other: &Connection) -> bool {
    Weak::ptr_eq(one, other) && is_open(one)
}

#[cfg(test)]
mod tests;
