//! Directory entries: finding a name, and writing the two records that every name has.

use crate::error::{ErrorKind, FsError, Result};
use crate::types::{Attr, Change, Cookie, Credentials, FileKind, Ino, Name};

use super::records::{
    ENTRIES, Entry, Inode, Listed, ORDER, corrupt, encode, load, named_key, numbered_key,
};
use super::{Namespace, View};

impl View<'_> {
    /// What a name stands for.
    ///
    /// # Errors
    /// In this order: `Stale` and `NotDirectory` for the directory; `AccessDenied` if the caller
    /// may not search it; `NotFound`.
    pub fn lookup(&self, who: &Credentials, directory: Ino, name: &Name) -> Result<Attr> {
        self.searchable(who, directory)?;
        let entry = self.entry(directory, name)?;
        Ok(self.named_inode(&entry)?.attr(entry.ino))
    }

    /// The place of a name in the order of the directory, and the kind of what it stands for, if it
    /// is there.
    ///
    /// # Errors
    /// Only those of the store.
    pub fn listed(&self, directory: Ino, name: &Name) -> Result<Option<(Cookie, FileKind)>> {
        Ok(self.find_entry(directory, name)?.map(|entry| (entry.cookie, entry.kind)))
    }

    pub(super) fn find_entry(&self, directory: Ino, name: &Name) -> Result<Option<Entry>> {
        load(self.txn, ENTRIES, &named_key(directory, name.as_bytes()))
    }

    pub(super) fn entry(&self, directory: Ino, name: &Name) -> Result<Entry> {
        self.find_entry(directory, name)?.ok_or_else(not_found)
    }

    /// The inode of an entry, which must be there as long as the entry is.
    pub(super) fn named_inode(&self, entry: &Entry) -> Result<Inode> {
        let dangling = || corrupt(format!("inode {} has a name but is not there", entry.ino));
        self.find_inode(entry.ino)?.ok_or_else(dangling)
    }
}

impl Namespace<'_> {
    /// Gives something a new name, behind all others of the directory. The directory's inode is
    /// changed but not stored.
    pub(super) fn add_entry(
        &mut self,
        directory: Ino,
        inode: &mut Inode,
        name: &Name,
        target: (Ino, &Inode),
    ) -> Result<()> {
        let contents = inode.directory_mut()?;
        let cookie = contents.take_cookie();
        contents.entries += 1;
        let entry = Entry { ino: target.0, kind: target.1.kind(), cookie };
        self.put_entry(directory, name, &entry);
        Ok(())
    }

    /// Takes a name away. The directory's inode is changed but not stored.
    pub(super) fn remove_entry(
        &mut self,
        directory: Ino,
        inode: &mut Inode,
        name: &Name,
        entry: &Entry,
    ) -> Result<()> {
        inode.directory_mut()?.entries -= 1;
        self.txn.delete(ENTRIES, &named_key(directory, name.as_bytes()));
        self.txn.delete(ORDER, &numbered_key(directory, entry.cookie.0));
        self.changed_entry(directory, name);
        Ok(())
    }

    /// Makes a name stand for something, at a place in the order that is free or its own.
    pub(super) fn put_entry(&mut self, directory: Ino, name: &Name, entry: &Entry) {
        let listed = Listed { name: name.clone(), ino: entry.ino, kind: entry.kind };
        self.txn.put(ENTRIES, &named_key(directory, name.as_bytes()), &encode(entry));
        self.txn.put(ORDER, &numbered_key(directory, entry.cookie.0), &encode(&listed));
        self.changed_entry(directory, name);
    }

    /// Stores a directory whose names changed now.
    pub(super) fn save_directory(&mut self, directory: Ino, inode: &mut Inode) {
        inode.mtime = self.now;
        inode.ctime = self.now;
        self.save_inode(directory, inode);
        self.changed(Change::Attributes(directory));
    }
}

pub(super) fn not_found() -> FsError {
    FsError::new(ErrorKind::NotFound, "there is no such name in the directory")
}
