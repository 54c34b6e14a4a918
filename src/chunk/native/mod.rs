//! The native contents of a chunk server: chunks of up to [`CHUNK_SIZE`] bytes, read and written
//! in ranges, each in a sparse file of its own, or, while it is small, in the index; with a checksum
//! for every block that is verified on every read.
//!
//! [`sum`] is the arithmetic of checksums; [`chunk`] what is known of one chunk, and who works on
//! it; [`record`] its form in the [`index`]; [`disk`] what is needed of a disk, [`local`] a folder
//! that does it, and [`small`] the index in its place; [`load`] brings a chunk back. Then one file
//! for each thing that can be done to a chunk, and [`service`], which offers them to others.
//!
//! # The crash rule
//!
//! For every block the index has a checksum; a block's checksum *counts* if the block lies below
//! the recorded length and is not marked. At every moment, and in every state of the index that a
//! crash could leave behind:
//!
//! > Where a checksum counts, the bytes below the recorded length are on the disk, are those that
//! > were summed, and nobody changes them.
//!
//! The steps that keep it so:
//!
//! 1. Before a byte below the recorded length is changed, the block's mark is *on the disk*: one
//!    sync of the index for all blocks of a call, shared with other calls. Bytes behind the
//!    recorded length need no mark, so sequential writing never waits for one.
//! 2. Before a chunk is cut below its recorded length, the mark *cut here* is on the disk: it marks
//!    all blocks from there on and says that the file knows the length.
//! 3. A sync first syncs the file, then makes one commit: the checksums of the blocks that nobody
//!    has touched since the sync began, the length at that moment, those blocks' marks cleared,
//!    and marks for all others below that length. This commit need not be on the disk: before it
//!    is, the blocks are still marked, or behind the recorded length, and that is just as safe. It
//!    follows within [`crate::limits::SYNC_PERIOD`], or with the next mark.
//! 4. After a start, the checksums that count are believed, so damage at rest shows when the block
//!    is read. All other blocks get theirs from the file: what was acknowledged is there, and a
//!    write that the crash tore apart is as it is. So neither `kill -9` nor a power cut can make a
//!    block unreadable.
//!
//! 5. Before bytes behind the recorded length are acknowledged, the record says that the chunk is
//!    *open* in this boot of the machine: of a new chunk in the commit that makes it, of one that was
//!    synced on the disk, like a mark. If the machine has started anew since, nobody knows
//!    whether there was more of the chunk than there is now: it is [`torn`], and what is behind its end
//!    is an error to read, not zeros.
//!
//! What that leaves: bits that rot between an `fsync` and the next sync of the index are not found
//! if the power is cut in that second.
//!
//! A new chunk is on the disk before its first `fsync` returns, and a cut that comes with a version
//! before anybody hears of it: whoever asked for it forgets it then. Until the file is cut for good,
//! a start does it again, and until that is over the chunk has the version it had: a cut that the disk
//! refuses half-way is one that has not been made. A deletion is on the disk before the file is removed, so a file without a record
//! is nobody's. A block is verified before a part of it is overwritten for the first time since the
//! last sync: after a crash it would be taken from the file, and damage with it.

mod adopt;
mod allocate;
mod boot;
mod cache;
mod chunk;
mod copy;
mod delete;
pub mod disk;
mod identity;
pub mod index;
mod inspect;
mod load;
pub mod local;
mod mark;
mod master_data;
mod read;
mod record;
mod remote;
mod reserved;
mod resize;
mod room;
mod seek;
pub mod service;
mod small;
mod stat;
mod strays;
mod sum;
mod sync;
#[cfg(test)]
mod tests;
mod torn;
mod version;
mod write;
mod zero;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use self::cache::Cache;
use self::chunk::{Chunk, State};
use self::disk::{ChunkFile, Disk};
use self::index::{Index, IndexStore, lock};
use self::local::LocalDisk;
use self::room::RoomGauge;
use self::small::SmallFiles;
use self::strays::StrayBook;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits::{self, CHUNK_SIZE};
use crate::types::ChunkKey;

pub use self::adopt::StagedValues;
pub use self::copy::{ChunkSource, CopyFrom};
pub use self::delete::Kept;
pub use self::record::TABLES;
pub use self::service::{register, tend};

/// The chunks of one server. All methods may wait for the disk.
pub struct NativeStore {
    index: Arc<Index>,
    disk: Arc<dyn Disk>,
    room: RoomGauge,
    chunks: Cache<ChunkKey, Chunk>,
    /// Those that have changed since their last sync. They stay in memory until then.
    dirty: Mutex<HashMap<ChunkKey, Arc<Chunk>>>,
    /// Bytes in all chunks that are no holes, by the index.
    recorded_held: AtomicU64,
    strays: Mutex<StrayBook>,
    /// The number of the machine's present boot.
    boot: u64,
}

impl NativeStore {
    /// Opens the chunks in the folder `root`, whose index is in `store` (which must have
    /// [`TABLES`]).
    ///
    /// # Errors
    /// `Corrupt` if folder and index do not belong together, and what the disk says.
    pub fn open(store: Arc<dyn IndexStore>, root: &Path) -> Result<Self> {
        let disk = LocalDisk::open(root).map_err(|error| {
            FsError::from(error).context(format!("cannot use the folder {}", root.display()))
        })?;
        let index = Index::new(store);
        identity::check(&index, &disk, root)?;
        Self::start(index, Arc::new(disk), boot::id_of_machine())
    }

    fn start(index: Index, disk: Arc<dyn Disk>, boot_id: String) -> Result<Self> {
        let boot = boot::number(&index, boot_id)?;
        // What the last process left to the operating system, this one will rely upon.
        disk.sync_all()?;
        index.sync()?;
        let strays = index.read(StrayBook::load)?;
        let index = Arc::new(index);
        let disk: Arc<dyn Disk> = Arc::new(SmallFiles::new(Arc::clone(&index), disk));
        let store = Self {
            room: RoomGauge::new(Arc::clone(&disk)),
            index,
            disk,
            chunks: Cache::new(limits::CHUNKS_IN_MEMORY_MAX),
            dirty: Mutex::default(),
            recorded_held: AtomicU64::new(0),
            strays: Mutex::new(strays),
            boot,
        };
        store.count_held()?;
        Ok(store)
    }

    fn chunk(&self, key: &ChunkKey) -> Arc<Chunk> {
        self.chunks.get_or_insert(key, || Arc::new(Chunk::new(*key)))
    }

    /// Takes note that a chunk has to be synced.
    fn note_dirty(&self, chunk: &Arc<Chunk>, state: &mut State) {
        if !state.is_dirty {
            state.is_dirty = true;
            lock(&self.dirty).insert(chunk.key, Arc::clone(chunk));
        }
    }

    /// The file to write a chunk into, which is about to have `length` bytes. A file that is missing is
    /// made: the chunk was never synced, or it is damaged and will say so.
    fn file_to_write(&self, chunk: &Chunk, length: u64) -> Result<Arc<dyn ChunkFile>> {
        if let Some(file) = self.disk.open(&chunk.key)? {
            return Ok(file);
        }
        let file = self.disk.create(&chunk.key, length)?;
        chunk.state().is_new = true;
        Ok(file)
    }
}

fn not_found(key: &ChunkKey) -> FsError {
    FsError::new(ErrorKind::NotFound, format!("there is no chunk {key} here"))
}

/// The end of a range of a chunk.
fn end_of(offset: u64, length: u64) -> Result<u64> {
    let end = offset.checked_add(length).filter(|end| *end <= CHUNK_SIZE);
    end.ok_or_else(|| {
        let message = format!("{length} bytes at {offset} do not fit in a chunk of {CHUNK_SIZE}");
        FsError::new(ErrorKind::FileTooLarge, message)
    })
}
