//! Inodes without a name: how they come to be, who they are, how they end.
//!
//! An orphan is a whole inode: it can be read, written, cut and given other attributes by those who
//! have it open, only no name. The master knows from its sessions when nobody has it open any more,
//! and then reaps it.

use crate::error::Result;
use crate::types::{FileTime, Ino};

use super::records::{
    Body, INODES, Inode, ORPHANS, Orphan, XATTRS, decode, encode, ino_key, number_in,
    save_superblock,
};
use super::{Namespace, View};

/// Records deleted in one transaction by [`Namespace::reap`].
const REAP_MAX: usize = 4096;

/// How far [`Namespace::reap`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// The inode is gone.
    All,
    /// A part of its records is; the rest is left to further calls, so that no transaction gets
    /// too big.
    Part,
    /// It has a name, or was gone before: nothing was done.
    Nothing,
}

impl View<'_> {
    /// Up to `limit` orphans behind `after`, and since when they are.
    ///
    /// # Errors
    /// Only those of the store.
    pub fn orphans(&self, after: Ino, limit: usize) -> Result<Vec<(Ino, FileTime)>> {
        let from = ino_key(Ino(after.0.saturating_add(1)));
        let records = self.txn.scan(ORPHANS, &from, &ino_key(Ino(u64::MAX)), limit)?;
        let read = |(key, value): (bytes::Bytes, bytes::Bytes)| {
            let orphan: Orphan = decode(ORPHANS, &value)?;
            Ok((Ino(number_in(&key, 0)?), orphan.since))
        };
        records.into_iter().map(read).collect()
    }
}

impl Namespace<'_> {
    /// Frees an orphan that nobody has open: the inode, its extended attributes, its chunks, which
    /// are listed in [`Effects::dropped`](super::Effects::dropped).
    ///
    /// # Errors
    /// Only those of the store.
    pub fn reap(&mut self, ino: Ino) -> Result<Reaped> {
        let Some(mut inode) = self.view().find_inode(ino)? else { return Ok(Reaped::Nothing) };
        if !inode.is_orphan() {
            return Ok(Reaped::Nothing);
        }
        if let Body::Regular(contents) = &mut inode.body
            && !self.drop_chunks(ino, contents, 0, REAP_MAX)?
        {
            self.save_inode(ino, &inode);
            return Ok(Reaped::Part);
        }
        self.delete_xattrs(ino)?;
        self.txn.delete(ORPHANS, &ino_key(ino));
        self.txn.delete(INODES, &ino_key(ino));
        let mut superblock = self.view().superblock()?;
        superblock.inodes -= 1;
        save_superblock(self.txn, &superblock);
        self.effects.freed.push(ino);
        Ok(Reaped::All)
    }

    /// Takes one name off an inode's count (the one name of a directory), and stores it.
    pub(super) fn drop_link(&mut self, ino: Ino, inode: &mut Inode) {
        inode.nlink = if inode.is_directory() { 0 } else { inode.nlink - 1 };
        if inode.is_orphan() {
            self.txn.put(ORPHANS, &ino_key(ino), &encode(&Orphan { since: self.now }));
            self.effects.orphaned.push(ino);
        }
        self.save_changed(ino, inode);
    }

    /// Deletes all extended attributes, of which there are at most
    /// [`XATTR_LIST_SIZE_MAX`](crate::limits::XATTR_LIST_SIZE_MAX) bytes of names.
    fn delete_xattrs(&mut self, ino: Ino) -> Result<()> {
        let (from, to) = (ino_key(ino), ino_key(Ino(ino.0 + 1)));
        for (key, _) in self.txn.scan(XATTRS, &from, &to, usize::MAX)? {
            self.txn.delete(XATTRS, &key);
        }
        Ok(())
    }
}
