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
//! these have seen the name. Who is mistaken for another sees a name for a few seconds too long.
//!
//! All of it is in memory, for seconds: what a restart of the master forgets, no client waits for.

use std::collections::{BTreeMap, HashSet};
use std::sync::Weak;

use crate::clock::Timestamp;
use crate::limits;
use crate::types::{Cookie, Ino, Name};

/// The connection of a client to the master.
type Connection = Weak<()>;

/// Names that stay, and lists that were put lately, by directory.
#[derive(Debug, Default)]
pub(super) struct Lists {
    directories: BTreeMap<Ino, Directory>,
    /// Names in all that is remembered.
    size: usize,
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
    /// Whether some client has been given it in a list since.
    is_shown: bool,
}

#[derive(Debug)]
struct ListPut {
    by: Connection,
    at: Timestamp,
    /// Names from here on were made later.
    end: Cookie,
    /// What was staged: perhaps another client's list as well, or none if that one has taken it.
    lists: Vec<HashSet<Name>>,
}

impl ListPut {
    fn size(&self) -> usize {
        self.lists.iter().map(HashSet::len).sum()
    }
}

impl Lists {
    /// A client deletes a name of the tree; says whether it stays in the lists.
    pub(super) fn delete(
        &mut self,
        directory: Ino,
        (name, cookie): (&Name, Cookie),
        by: &Connection,
        now: Timestamp,
    ) -> bool {
        self.forget_old(now);
        let entry = self.directories.entry(directory).or_default();
        let put = entry.puts.iter().rfind(|put| is_same(&put.by, by));
        let put = put.or_else(|| entry.puts.iter().rfind(|put| !is_open(&put.by)));
        let is_listed_no_more = put.is_some_and(|put| {
            cookie < put.end
                && !put.lists.is_empty()
                && put.lists.iter().all(|list| !list.contains(name))
        });
        if is_listed_no_more || self.size >= limits::LISTED_NAMES_MAX {
            return false;
        }
        entry.deleted.retain(|deleted| deleted.name != *name);
        let deleted = Deleted { name: name.clone(), by: by.clone(), at: now, is_shown: false };
        entry.deleted.push(deleted);
        self.size += 1;
        true
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
        let put = ListPut { by: by.clone(), at: now, end, lists };
        self.size += put.size();
        if entry.puts.len() == limits::LIST_PUTS_KEPT_MAX {
            entry.puts.remove(0);
        }
        entry.puts.push(put);
        let Directory { deleted, puts } = entry;
        deleted.retain(|deleted| !is_done_with(deleted, puts, by));
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

/// Whether the last of these puts, by `by`, ends the stay of a name.
fn is_done_with(deleted: &Deleted, puts: &[ListPut], by: &Connection) -> bool {
    let lacks = |put: &ListPut| put.lists.iter().any(|list| !list.contains(&deleted.name));
    if is_same(&deleted.by, by) {
        // Its list may have been taken along with another client's.
        return puts.iter().any(|put| put.at >= deleted.at && lacks(put));
    }
    deleted.is_shown && !is_open(&deleted.by) && puts.last().is_some_and(lacks)
}

fn is_open(connection: &Connection) -> bool {
    connection.strong_count() > 0
}

fn is_same(one: &Connection, other: &Connection) -> bool {
    Weak::ptr_eq(one, other) && is_open(one)
}

#[cfg(test)]
mod tests;
