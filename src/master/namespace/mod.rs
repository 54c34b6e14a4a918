//! The namespace: every name, inode, attribute and chunk of the file system, as pure decisions over
//! a transaction.
//!
//! [`View`] answers questions, [`Namespace`] makes changes. Both see one [`Txn`], and one operation
//! is one transaction: the caller opens it, calls, and commits. Nothing here reads a clock, draws a
//! random number or sends a byte; time comes as an argument, and new inode numbers from a counter
//! in the store. So the same operations in the same order give the same store, whatever engine is
//! behind it.
//!
//! What every operation keeps to:
//!
//! * An operation that fails has written nothing. All checks come before the first write; several
//!   operations may therefore share a transaction, and a failed one spoils nothing.
//! * Errors are those of a local Linux file system, and where several apply it is the one that
//!   Linux checks first. The order is written at each operation.
//! * Permissions are checked here, every time; `permission.rs` says by whom and how.
//! * What changed is kept in [`Effects`], for the caches of others and for the chunk servers.
//!
//! An inode that does not exist is `Stale`: the caller's number is from a time when it did.

mod acl;
mod adopt;
mod attr;
mod check;
mod create;
mod cut;
mod entry;
mod inode;
mod layout;
mod numbers;
mod orphan;
mod permission;
mod readdir;
mod records;
mod remove;
mod rename;
mod set_acl;
mod xattr;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{ErrorKind, FsError, Result};
use crate::store::{ReadTxn, Txn};
use crate::types::{Attr, Change, Credentials, DroppedChunk, FileTime, Ino, Name, ServerId};

pub use create::CreateOpen;
pub use layout::{ChunkUse, LayoutPage};
pub use numbers::Life;
pub use orphan::Reaped;
pub use readdir::PageRequest;
pub use records::TABLES;

use records::{Directory, Inode, Superblock, load_superblock, save_superblock};

/// The namespace as one transaction sees it.
#[derive(Clone, Copy)]
pub struct View<'t> {
    txn: &'t dyn ReadTxn,
}

/// The namespace in a transaction that changes it.
pub struct Namespace<'t> {
    txn: &'t mut dyn Txn,
    now: FileTime,
    effects: Effects,
}

/// What an operation did that others have to know of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// What is no longer as it may be cached.
    pub changes: BTreeSet<Change>,
    /// Inodes that lost their last name. Each is kept until [`Namespace::reap`]; the caller decides
    /// when, which is at once unless some session holds it open.
    pub orphaned: Vec<Ino>,
    /// Chunks that no file refers to any more. To be kept by the caller, in the same transaction,
    /// until the servers have deleted them.
    pub dropped: Vec<DroppedChunk>,
    /// Inodes that are gone for good, and with them all that belongs to their numbers.
    pub freed: Vec<Ino>,
    /// By how many bytes the chunks on each server grew.
    pub grown: BTreeMap<ServerId, i64>,
    /// Whether chunks have cuts to be made now. Servers make them for good, so nobody may be told
    /// of them before this change is on the disk.
    pub has_cuts: bool,
}

/// How much there is in the file system. What room there is only the chunk servers know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Inodes, orphans included.
    pub inodes: u64,
    /// Bytes that the contents of files take up, each replica's the same once.
    pub bytes: u64,
}

/// Who makes the root directory, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootAttr {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl<'t> View<'t> {
    /// Looks into a transaction. A snapshot will do.
    #[must_use]
    pub fn new(txn: &'t dyn ReadTxn) -> Self {
        Self { txn }
    }

    /// Whether [`Namespace::format`] has been here.
    ///
    /// # Errors
    /// Only those of the store.
    pub fn is_formatted(&self) -> Result<bool> {
        Ok(load_superblock(self.txn)?.is_some())
    }

    /// How much there is.
    ///
    /// # Errors
    /// Only those of the store.
    pub fn statfs(&self) -> Result<Usage> {
        let superblock = self.superblock()?;
        Ok(Usage { inodes: superblock.inodes, bytes: superblock.bytes })
    }

    fn superblock(&self) -> Result<Superblock> {
        let missing = || FsError::new(ErrorKind::Corrupt, "the store has no file system in it");
        load_superblock(self.txn)?.ok_or_else(missing)
    }
}

impl<'t> Namespace<'t> {
    /// Makes changes in a transaction, all of them at the time `now`.
    #[must_use]
    pub fn new(txn: &'t mut dyn Txn, now: FileTime) -> Self {
        Self { txn, now, effects: Effects::default() }
    }

    /// The namespace with the changes made so far.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View { txn: &*self.txn }
    }

    /// What the operations so far did that others have to know of.
    #[must_use]
    pub fn into_effects(self) -> Effects {
        self.effects
    }

    /// Makes the root directory in an empty store. `generation` should differ from that of any
    /// file system this one could be taken for, such as itself before a backup was restored.
    ///
    /// # Errors
    /// `Exists` if there is a file system already.
    pub fn format(&mut self, generation: u32, root: RootAttr) -> Result<Attr> {
        if self.view().is_formatted()? {
            return Err(FsError::new(ErrorKind::Exists, "the store has a file system in it"));
        }
        let superblock = Superblock { generation, ..Superblock::new(Ino::ROOT) };
        save_superblock(self.txn, &superblock);
        let directory = Directory::new(Ino::ROOT);
        let owner = Credentials { uid: root.uid, gid: root.gid, ..Credentials::ROOT };
        let mut inode = Inode::new(&owner, root.mode, self.now, directory.into());
        let ino = self.new_ino(&mut inode)?;
        self.save_inode(ino, &inode);
        Ok(inode.attr(ino))
    }

    /// The inodes of which attributes or contents, or names in them, changed so far.
    #[must_use]
    pub fn changed_inodes(&self) -> BTreeSet<Ino> {
        let changes = self.effects.changes.iter().map(|change| match change {
            Change::Attributes(ino) | Change::Contents(ino, _) | Change::Entry(ino, _) => *ino,
        });
        changes.collect()
    }

    /// Whether the changes so far include cuts of chunks.
    #[must_use]
    pub fn has_cuts(&self) -> bool {
        self.effects.has_cuts
    }

    fn changed(&mut self, change: Change) {
        self.effects.changes.insert(change);
    }

    fn changed_entry(&mut self, directory: Ino, name: &Name) {
        self.changed(Change::Entry(directory, name.clone()));
        self.changed(Change::Attributes(directory));
    }
}
