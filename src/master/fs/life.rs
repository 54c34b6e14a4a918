//! The lives of the master, each of which gives out numbers of its own.

use std::sync::atomic::Ordering;

use super::FileSystem;
use crate::clock;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::master::namespace::{Life, Namespace};
use crate::random;
use crate::store::Store;
use crate::types::FileTime;

/// Bits by which milliseconds are moved up to be versions: so many cuts of one chunk in one
/// millisecond are more than there can be.
const CUTS_PER_MS_BITS: u32 = 16;

/// Begins a life, and answers whether there is one. On a disk that is full there is none: what is
/// there can be read and deleted, but nothing new gets a number.
pub(super) fn begin(store: &Store) -> Result<bool> {
    let life = Life {
        number: random::bits_64()?,
        generation: generation()?,
        version_floor: clock::now().0 << CUTS_PER_MS_BITS,
    };
    let now = FileTime::from(clock::now_system());
    let begun = store.write(|txn| {
        let mut namespace = Namespace::new(txn, now);
        namespace.begin_life(life)?;
        namespace.reserve_inodes(limits::INODES_RESERVED)
    });
    match begun.and_then(|_| store.sync()) {
        Err(error) if error.kind() == ErrorKind::NoSpace => Ok(false),
        outcome => outcome.map(|()| true),
    }
}

impl FileSystem {
    /// Checks that new numbers can be given out.
    pub(in crate::master) fn check_life(&self) -> Result<()> {
        if self.has_life.load(Ordering::Acquire) {
            return Ok(());
        }
        let message = "the disk of the master was full when it started, and has no room yet";
        Err(FsError::new(ErrorKind::NoSpace, message))
    }

    /// Sees to it that there are numbers to be given out.
    pub(super) fn keep_numbers(&self) -> Result<()> {
        if !self.has_life.load(Ordering::Acquire) {
            self.has_life.store(begin(&self.store)?, Ordering::Release);
            return Ok(());
        }
        if !self.look(|view| view.needs_inodes(limits::INODES_RESERVED))? {
            return Ok(());
        }
        let now = FileTime::from(clock::now_system());
        self.store.write(|txn| Namespace::new(txn, now).reserve_inodes(limits::INODES_RESERVED))?;
        self.store.sync()
    }
}

/// A random generation of inodes.
pub(super) fn generation() -> Result<u32> {
    let bits = u32::try_from(random::bits_64()? >> 32);
    Ok(bits.expect("32 bits are left"))
}
