//! What the store of the chunks needs of a disk: one file for each chunk. Behind a trait, so that
//! tests can cut the power at any step.

use std::io;
use std::sync::Arc;

use crate::types::ChunkKey;

/// A disk with one file for each chunk.
pub trait Disk: Send + Sync {
    /// Opens a chunk's file, and makes it, empty, if there is none. It is about to have `length` bytes,
    /// at least.
    ///
    /// # Errors
    /// What the disk says.
    fn create(&self, key: &ChunkKey, length: u64) -> io::Result<Arc<dyn ChunkFile>>;

    /// Opens a chunk's file; `None` if there is none.
    ///
    /// # Errors
    /// What the disk says.
    fn open(&self, key: &ChunkKey) -> io::Result<Option<Arc<dyn ChunkFile>>>;

    /// Removes a chunk's file, if there is one.
    ///
    /// # Errors
    /// What the disk says.
    fn remove(&self, key: &ChunkKey) -> io::Result<()>;

    /// Moves a chunk's file to where nobody uses it, on the same disk, for good. Not every disk has
    /// such a place; then nothing happens.
    ///
    /// # Errors
    /// What the disk says.
    fn set_aside(&self, _: &ChunkKey) -> io::Result<()> {
        Ok(())
    }

    /// Moves a chunk's file back, for good. Answers whether there was one.
    ///
    /// # Errors
    /// What the disk says.
    fn bring_back(&self, _: &ChunkKey) -> io::Result<bool> {
        Ok(false)
    }

    /// Makes the name of a file that was created durable.
    ///
    /// # Errors
    /// What the disk says.
    fn sync_name(&self, key: &ChunkKey) -> io::Result<()>;

    /// Makes all files and names durable.
    ///
    /// # Errors
    /// What the disk says.
    fn sync_all(&self) -> io::Result<()>;

    /// The keys of all files.
    ///
    /// # Errors
    /// What the disk says.
    fn keys(&self) -> io::Result<Vec<ChunkKey>>;

    /// The room on the disk.
    ///
    /// # Errors
    /// What the disk says.
    fn room(&self) -> io::Result<Room>;
}

/// The room on a disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// In all.
    pub total: u64,
    /// Still to be had.
    pub free: u64,
}

/// A chunk's file. What it was never given reads as zeros.
pub trait ChunkFile: Send + Sync {
    /// Up to `length` bytes from `offset` on; fewer only at the end of the file.
    ///
    /// # Errors
    /// What the disk says.
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>>;

    /// Writes at `offset`, making the file longer if need be.
    ///
    /// # Errors
    /// What the disk says, and how many bytes were written before it said so.
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), (usize, io::Error)>;

    /// Bytes up to the end.
    ///
    /// # Errors
    /// What the disk says.
    fn length(&self) -> io::Result<u64>;

    /// Cuts or lengthens the file.
    ///
    /// # Errors
    /// What the disk says.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Makes contents and length durable.
    ///
    /// # Errors
    /// What the disk says; nobody knows then what is on it.
    fn sync(&self) -> io::Result<()>;

    /// Reserves room for a range, perhaps behind the end, without changing contents or length.
    ///
    /// # Errors
    /// What the disk says.
    fn allocate(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Makes a range zeros and gives its room back.
    ///
    /// # Errors
    /// What the disk says.
    fn punch(&self, offset: u64, length: u64) -> io::Result<()>;

    /// The first offset from `offset` on that may have data; `None` if zeros follow to the end.
    ///
    /// # Errors
    /// What the disk says.
    fn next_data(&self, offset: u64) -> io::Result<Option<u64>>;
}
