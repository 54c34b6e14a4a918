//! Small files, kept in the index instead of files of their own: making, finding and removing a file
//! costs the system more than what a few kilobytes cost the index, and a whole directory of them is
//! read again without waiting for the disk.
//!
//! A file moves out when it grows over [`limits::SMALL_FILE_MAX`], and never back. While the index
//! has contents under its key, they are the file, whatever stands in the folder. So before they are
//! taken out of the index, the new file is on the disk, since they may have been; and before the new
//! file is changed, it is on the disk that they are not in the index any more.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::cache::Cache;
use super::disk::{ChunkFile, Disk, Room};
use super::index::{Commit, Index, lock};
use super::record;
use crate::error::{ErrorKind, FsError};
use crate::limits;
use crate::store::Txn;
use crate::types::ChunkKey;

/// Locks for all files together.
const LOCKS: usize = 64;

/// A disk whose small files are in the index.
pub(super) struct SmallFiles {
    shared: Arc<Shared>,
}

struct Shared {
    index: Arc<Index>,
    disk: Arc<dyn Disk>,
    /// Those that have no file on `disk`, as far as that was seen lately.
    absent: Cache<ChunkKey, ()>,
    /// Held while contents change or move, each for a part of the keys.
    locks: [Mutex<()>; LOCKS],
    hasher: RandomState,
}

impl SmallFiles {
    /// The small files in `index`, and all others on `disk`.
    pub(super) fn new(index: Arc<Index>, disk: Arc<dyn Disk>) -> Self {
        let locks = std::array::from_fn(|_| Mutex::default());
        let (absent, hasher) = (Cache::new(limits::CHUNKS_IN_MEMORY_MAX), RandomState::new());
        Self { shared: Arc::new(Shared { index, disk, absent, locks, hasher }) }
    }

    fn file(&self, key: &ChunkKey, place: Place) -> Arc<dyn ChunkFile> {
        let shared = Arc::clone(&self.shared);
        Arc::new(SmallFile { key: *key, shared, place: Mutex::new(place) })
    }
}

impl Disk for SmallFiles {
    fn create(&self, key: &ChunkKey, length: u64) -> io::Result<Arc<dyn ChunkFile>> {
        match self.shared.place(key)? {
            Place::Nowhere if !is_small(length) => self.shared.create(key, length),
            place => Ok(self.file(key, place)),
        }
    }

    fn open(&self, key: &ChunkKey) -> io::Result<Option<Arc<dyn ChunkFile>>> {
        Ok(match self.shared.place(key)? {
            Place::Nowhere => None,
            place => Some(self.file(key, place)),
        })
    }

    fn remove(&self, key: &ChunkKey) -> io::Result<()> {
        let _changing = self.shared.lock(key);
        if self.shared.contents(key)?.is_some() {
            let deleted = self.shared.index.commit_deletion(|txn| {
                record::delete_contents(txn, key);
                Ok(())
            });
            deleted.map_err(io_error)?;
        }
        self.shared.disk.remove(key)
    }

    fn set_aside(&self, key: &ChunkKey) -> io::Result<()> {
        let _changing = self.shared.lock(key);
        self.shared.disk.set_aside(key)
    }

    fn bring_back(&self, key: &ChunkKey) -> io::Result<bool> {
        let _changing = self.shared.lock(key);
        self.shared.absent.remove(key);
        self.shared.disk.bring_back(key)
    }

    fn sync_name(&self, key: &ChunkKey) -> io::Result<()> {
        match self.shared.place(key)? {
            Place::File(_) => self.shared.disk.sync_name(key),
            Place::Nowhere | Place::Index(_) => Ok(()),
        }
    }

    fn sync_all(&self) -> io::Result<()> {
        self.shared.disk.sync_all()?;
        self.shared.index.sync().map_err(io_error)
    }

    fn keys(&self) -> io::Result<Vec<ChunkKey>> {
        let mut keys = self.shared.disk.keys()?;
        let small = self.shared.index.read(|txn| record::keys_of_contents(txn));
        keys.extend(small.map_err(io_error)?);
        Ok(keys)
    }

    fn room(&self) -> io::Result<Room> {
        self.shared.disk.room()
    }
}

impl Shared {
    fn lock(&self, key: &ChunkKey) -> MutexGuard<'_, ()> {
        let number = self.hasher.hash_one(key) % LOCKS as u64;
        lock(&self.locks[usize::try_from(number).unwrap_or_default()])
    }

    fn contents(&self, key: &ChunkKey) -> io::Result<Option<Bytes>> {
        self.index.read(|txn| record::read_contents(txn, key)).map_err(io_error)
    }

    /// Where a file is now.
    fn place(&self, key: &ChunkKey) -> io::Result<Place> {
        if let Some(contents) = self.contents(key)? {
            return Ok(Place::Index(contents));
        }
        if self.absent.get(key).is_some() {
            return Ok(Place::Nowhere);
        }
        let Some(file) = self.disk.open(key)? else {
            self.absent.get_or_insert(key, || Arc::new(()));
            return Ok(Place::Nowhere);
        };
        Ok(Place::File(file))
    }

    /// Makes a file on the disk, which nobody does but through this.
    fn create(&self, key: &ChunkKey, length: u64) -> io::Result<Arc<dyn ChunkFile>> {
        let file = self.disk.create(key, length);
        self.absent.remove(key);
        file
    }

    fn commit(&self, work: impl Fn(&mut dyn Txn)) -> io::Result<Commit> {
        let committed = self.index.commit(|txn| {
            work(txn);
            Ok(())
        });
        committed.map_err(io_error)
    }

    /// Takes contents out of the index, into a file.
    fn move_out(&self, key: &ChunkKey, contents: &[u8]) -> io::Result<Arc<dyn ChunkFile>> {
        let file = self.create(key, contents.len() as u64)?;
        // It may be from a move that a crash ended.
        file.set_length(0)?;
        file.write_at(0, contents).map_err(|(_, error)| error)?;
        file.sync()?;
        self.disk.sync_name(key)?;
        let commit = self.commit(|txn| record::delete_contents(txn, key))?;
        self.index.sync_to(commit).map_err(io_error)?;
        Ok(file)
    }
}

/// Where a file is.
enum Place {
    /// There is none, or an empty one.
    Nowhere,
    Index(Bytes),
    File(Arc<dyn ChunkFile>),
}

impl Place {
    /// The contents, if they are or would be in the index.
    fn small(&self) -> Result<&[u8], Arc<dyn ChunkFile>> {
        match self {
            Self::Nowhere => Ok(&[]),
            Self::Index(contents) => Ok(contents),
            Self::File(file) => Err(Arc::clone(file)),
        }
    }
}

/// A file that may be small. Who changes it holds a part of the chunk, so what is read here is what
/// was there when it was opened, or what was written through it since.
struct SmallFile {
    key: ChunkKey,
    shared: Arc<Shared>,
    place: Mutex<Place>,
}

impl SmallFile {
    /// Changes the contents, which are to have `length` bytes, by `change`; or moves them out, if
    /// they grow too large, and gives the file.
    fn change(
        &self,
        length: impl FnOnce(usize) -> u64,
        change: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<Option<Arc<dyn ChunkFile>>> {
        let mut place = lock(&self.place);
        if let Place::File(file) = &*place {
            return Ok(Some(Arc::clone(file)));
        }
        let _changing = self.shared.lock(&self.key);
        // Another part of the chunk may have changed, or moved it, meanwhile.
        *place = self.shared.place(&self.key)?;
        let contents = match place.small() {
            Ok(contents) => contents,
            Err(file) => return Ok(Some(file)),
        };
        let length = length(contents.len());
        let is_first = matches!(*place, Place::Nowhere);
        if let Some(length) = usize::try_from(length).ok().filter(|_| is_small(length)) {
            if length > 0 || !is_first {
                let mut contents = contents.to_vec();
                contents.resize(length, 0);
                change(&mut contents);
                self.shared.commit(|txn| record::put_contents(txn, &self.key, &contents))?;
                *place = Place::Index(contents.into());
            }
            return Ok(None);
        }
        let file = match is_first {
            true => self.shared.create(&self.key, length)?,
            false => self.shared.move_out(&self.key, contents)?,
        };
        *place = Place::File(Arc::clone(&file));
        Ok(Some(file))
    }
}

/// Whether a file of so many bytes belongs in the index.
pub(super) fn is_small(length: u64) -> bool {
    length <= limits::SMALL_FILE_MAX
}

impl ChunkFile for SmallFile {
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let file = match lock(&self.place).small() {
            Ok(contents) => return Ok(part(contents, offset, length as u64).to_vec()),
            Err(file) => file,
        };
        file.read_at(offset, length)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), (usize, io::Error)> {
        let end = offset + data.len() as u64;
        let large = self.change(
            |length| end.max(length as u64),
            |contents| part_mut(contents, offset, data.len() as u64).copy_from_slice(data),
        );
        match large.map_err(|error| (0, error))? {
            Some(file) => file.write_at(offset, data),
            None => Ok(()),
        }
    }

    fn length(&self) -> io::Result<u64> {
        let file = match lock(&self.place).small() {
            Ok(contents) => return Ok(contents.len() as u64),
            Err(file) => file,
        };
        file.length()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.change(|_| length, |_| ())?.map_or(Ok(()), |file| file.set_length(length))
    }

    fn sync(&self) -> io::Result<()> {
        let file = match lock(&self.place).small() {
            Ok(_) => return self.shared.index.sync().map_err(io_error),
            Err(file) => file,
        };
        file.sync()
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        // The index reserves nothing; there is room for it as long as the server takes changes.
        if is_small(offset + length) && lock(&self.place).small().is_ok() {
            return Ok(());
        }
        let large = self.change(|_| u64::MAX, |_| ())?;
        large.map_or(Ok(()), |file| file.allocate(offset, length))
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        let large = self.change(
            |length| length as u64,
            |contents| part_mut(contents, offset, length).fill(0),
        )?;
        large.map_or(Ok(()), |file| file.punch(offset, length))
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        let file = match lock(&self.place).small() {
            Ok(contents) => {
                let rest = part(contents, offset, u64::MAX).iter();
                return Ok(rest.zip(offset..).find(|(byte, _)| **byte != 0).map(|(_, at)| at));
            }
            Err(file) => file,
        };
        file.next_data(offset)
    }
}

/// What there is of a range.
fn part(contents: &[u8], offset: u64, length: u64) -> &[u8] {
    contents.get(bounds(contents.len(), offset, length)).unwrap_or_default()
}

fn part_mut(contents: &mut [u8], offset: u64, length: u64) -> &mut [u8] {
    contents.get_mut(bounds(contents.len(), offset, length)).unwrap_or_default()
}

fn bounds(available: usize, offset: u64, length: u64) -> std::ops::Range<usize> {
    let within = |at: u64| usize::try_from(at).map_or(available, |at| at.min(available));
    within(offset)..within(offset.saturating_add(length))
}

fn io_error(error: FsError) -> io::Error {
    match error.kind() {
        ErrorKind::NoSpace => io::Error::new(io::ErrorKind::StorageFull, error),
        _ => io::Error::other(error),
    }
}
