//! Numbers that are given out once: inodes, incarnations of chunks, versions of cuts.
//!
//! A power cut takes the latest commits of the master, and a backup that is brought back takes many.
//! What was given out meanwhile is still known to clients and chunk servers, so it must not be given
//! out again, for something else. Therefore every start of the master is a new *life*:
//!
//! * Inode numbers are reserved in ranges, each on the disk before its first number is used; a life
//!   begins behind the range of the one before.
//! * Incarnations are counted from a random number of 64 bits, another one for every life, so the
//!   key of a chunk is new even if the number of its inode should not be.
//! * Versions of cuts begin at a floor above all of the lives before.

use crate::error::{ErrorKind, FsError, Result};
use crate::types::{ChunkKey, Ino};

use super::records::{CHUNKS, encode, numbered_key, save_superblock};
use super::{Change, Namespace, View};

/// What a new life of the master brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// A random number.
    pub number: u64,
    /// The generation of inodes that are made in it; another random number.
    pub generation: u32,
    /// A number above all versions of earlier lives: the time, in units of which there are more than
    /// cuts of one chunk.
    pub version_floor: u64,
}

/// Versions that the cuts of one chunk in one life may take, if the clock went back.
const VERSIONS_PER_LIFE: u64 = 1 << 32;

/// Inodes by which a chunk that is reported may be ahead of the master's own numbers.
const INO_AHEAD_MAX: u64 = 1 << 40;

impl View<'_> {
    /// Whether less than half of `count` inodes are reserved.
    ///
    /// # Errors
    /// Only those of the store.
    pub fn needs_inodes(&self, count: u64) -> Result<bool> {
        let superblock = self.superblock()?;
        Ok(superblock.reserved_ino.0.saturating_sub(superblock.next_ino.0) < count / 2)
    }

    /// Whether the inode of a chunk has never been given out.
    ///
    /// # Errors
    /// Only those of the store.
    pub fn is_ahead(&self, key: ChunkKey) -> Result<bool> {
        Ok(key.ino >= self.superblock()?.next_ino)
    }
}

impl Namespace<'_> {
    /// Begins a life of the master, before anything else is done in it. The caller reserves inodes
    /// next.
    ///
    /// # Errors
    /// Only those of the store.
    pub fn begin_life(&mut self, life: Life) -> Result<()> {
        let mut superblock = self.view().superblock()?;
        superblock.life = life.number;
        superblock.generation = life.generation;
        let after_the_last = superblock.version_floor.saturating_add(VERSIONS_PER_LIFE);
        superblock.version_floor = life.version_floor.max(after_the_last);
        if superblock.reserved_ino != Ino(u64::MAX) {
            superblock.next_ino = superblock.next_ino.max(superblock.reserved_ino);
        }
        superblock.reserved_ino = superblock.next_ino;
        save_superblock(self.txn, &superblock);
        Ok(())
    }

    /// Reserves `count` inodes. The caller syncs the store then, before those that are left of the
    /// last reservation have been used.
    ///
    /// # Errors
    /// Only those of the store.
    pub fn reserve_inodes(&mut self, count: u64) -> Result<()> {
        let mut superblock = self.view().superblock()?;
        superblock.reserved_ino = Ino(superblock.next_ino.0.saturating_add(count));
        save_superblock(self.txn, &superblock);
        Ok(())
    }

    /// A chunk server holds a chunk. Answers whether this master has never given out its inode, and so
    /// has lost what it knew; it will not give it out either.
    ///
    /// # Errors
    /// Only those of the store.
    pub fn see_foreign_chunk(&mut self, key: ChunkKey) -> Result<bool> {
        let mut superblock = self.view().superblock()?;
        let is_ahead = key.ino >= superblock.next_ino;
        let is_possible = key.ino.0 - superblock.next_ino.0.min(key.ino.0) < INO_AHEAD_MAX;
        if is_ahead && is_possible {
            superblock.next_ino = Ino(key.ino.0 + 1);
            save_superblock(self.txn, &superblock);
        }
        Ok(is_ahead)
    }

    /// The only replica of a chunk has a version that the master, which has lost what it knew, never
    /// heard of: it stands from now on.
    ///
    /// # Errors
    /// Only those of the store.
    pub fn see_newer_version(&mut self, key: ChunkKey, version: u64) -> Result<()> {
        let Some(mut chunk) = self.view().chunk(key.ino, key.index)? else { return Ok(()) };
        let is_same = chunk.incarnation == key.incarnation && chunk.replicas.len() == 1;
        if is_same && version > chunk.version {
            (chunk.version, chunk.cuts_from) = (version, version);
            chunk.cuts.clear();
            self.txn.put(CHUNKS, &numbered_key(key.ino, key.index), &encode(&chunk));
            self.mark_cut(key.ino)?;
        }
        Ok(())
    }

    /// The contents of a file are others than this master knew.
    fn mark_cut(&mut self, ino: Ino) -> Result<()> {
        let mut inode = self.inode(ino)?;
        let contents = inode.contents_mut()?;
        contents.data_version += 1;
        let version = contents.data_version;
        self.save_inode(ino, &inode);
        self.changed(Change::Contents(ino, version));
        Ok(())
    }

    /// The number of a new inode. It is used for nothing else, also if the inode never comes to be.
    ///
    /// # Errors
    /// `Io` if none are reserved.
    pub(super) fn next_ino(&mut self) -> Result<Ino> {
        let mut superblock = self.view().superblock()?;
        let ino = superblock.next_ino;
        if ino >= superblock.reserved_ino {
            let message = "the master has no inode numbers: it could not reserve more on its disk";
            return Err(FsError::new(ErrorKind::Io, message));
        }
        superblock.next_ino = Ino(ino.0 + 1);
        save_superblock(self.txn, &superblock);
        Ok(ino)
    }

    /// The incarnation of new chunks of a file whose chunks were forgotten so often.
    pub(super) fn incarnation(&self, count: u64) -> Result<u64> {
        Ok(self.view().superblock()?.life.wrapping_add(count))
    }
}
