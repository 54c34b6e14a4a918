//! A folder of a local file system as a [`Disk`]: `<root>/<fan-out>/<chunk key>`, sparse files.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

use super::cache::Cache;
use super::disk::{ChunkFile, Disk, Room};
use crate::limits;
use crate::types::ChunkKey;

/// Folders below the root: so many that each stays small with millions of chunks, so few that they
/// are made in no time.
const FAN_OUT: u64 = 256;

/// The folder, beside those, of chunks that no file refers to.
const LOST_AND_FOUND: &str = "lost+found";

/// A folder of chunk files, with the most recently used ones open.
pub struct LocalDisk {
    root: PathBuf,
    open: Cache<ChunkKey, LocalFile>,
}

impl LocalDisk {
    /// Opens, or makes, the folder; only its owner can look into it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(root: &Path) -> io::Result<Self> {
        let mut folder = DirBuilder::new();
        folder.recursive(true).mode(0o700).create(root)?;
        for part in 0..FAN_OUT {
            folder.create(root.join(format!("{part:02x}")))?;
        }
        File::open(root)?.sync_all()?;
        if let Some(parent) = root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { root: root.to_owned(), open: Cache::new(limits::OPEN_CHUNK_FILES_MAX) })
    }

    /// The folder of a chunk: neighbours in one file and neighbouring files spread evenly.
    fn folder(&self, key: &ChunkKey) -> PathBuf {
        let mixed = key.ino.0.wrapping_add(key.index.rotate_left(32));
        let part = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - FAN_OUT.ilog2());
        self.root.join(format!("{part:02x}"))
    }

    fn path(&self, key: &ChunkKey) -> PathBuf {
        self.folder(key).join(key.to_string())
    }

    /// Makes it durable that a file moved between its folder and that of the strays.
    fn sync_moved(&self, key: &ChunkKey) -> io::Result<()> {
        File::open(self.root.join(LOST_AND_FOUND))?.sync_all()?;
        File::open(self.folder(key))?.sync_all()
    }

    fn open_with(&self, key: &ChunkKey, options: &OpenOptions) -> io::Result<Arc<dyn ChunkFile>> {
        if let Some(file) = self.open.get(key) {
            return Ok(file);
        }
        let file = options.open(self.path(key))?;
        Ok(self.open.get_or_insert(key, || Arc::new(LocalFile(file))))
    }
}

impl Disk for LocalDisk {
    fn create(&self, key: &ChunkKey, _: u64) -> io::Result<Arc<dyn ChunkFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        self.open_with(key, &options)
    }

    fn open(&self, key: &ChunkKey) -> io::Result<Option<Arc<dyn ChunkFile>>> {
        match self.open_with(key, OpenOptions::new().read(true).write(true)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }

    fn remove(&self, key: &ChunkKey) -> io::Result<()> {
        self.open.remove(key);
        match fs::remove_file(self.path(key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn set_aside(&self, key: &ChunkKey) -> io::Result<()> {
        let aside = self.root.join(LOST_AND_FOUND);
        DirBuilder::new().recursive(true).mode(0o700).create(&aside)?;
        self.open.remove(key);
        match fs::rename(self.path(key), aside.join(key.to_string())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            moved => moved.and_then(|()| self.sync_moved(key)),
        }
    }

    fn bring_back(&self, key: &ChunkKey) -> io::Result<bool> {
        let aside = self.root.join(LOST_AND_FOUND).join(key.to_string());
        match fs::rename(aside, self.path(key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            moved => moved.and_then(|()| self.sync_moved(key)).map(|()| true),
        }
    }

    fn sync_name(&self, key: &ChunkKey) -> io::Result<()> {
        File::open(self.folder(key))?.sync_all()
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(&self.root)?)?)
    }

    fn keys(&self) -> io::Result<Vec<ChunkKey>> {
        let mut keys = Vec::new();
        for part in 0..FAN_OUT {
            for entry in fs::read_dir(self.root.join(format!("{part:02x}")))? {
                keys.extend(
                    entry?.file_name().to_str().and_then(|name| name.parse::<ChunkKey>().ok()),
                );
            }
        }
        Ok(keys)
    }

    fn room(&self) -> io::Result<Room> {
        let stat = rustix::fs::statvfs(&self.root)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Room { total: bytes(stat.f_blocks), free: bytes(stat.f_bavail) })
    }
}

/// An open chunk file.
struct LocalFile(File);

impl ChunkFile for LocalFile {
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        // The system fills the capacity, which nobody has to fill with zeros before.
        let mut data = Vec::with_capacity(length);
        while data.len() < length {
            let at = offset + data.len() as u64;
            match rustix::io::pread(&self.0, spare_capacity(&mut data), at) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        data.truncate(length);
        Ok(data)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while written < data.len() {
            match self.0.write_at(&data[written..], offset + written as u64) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((written, error)),
            }
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::KEEP_SIZE, offset, length) {
            // A file system that cannot reserve room is like one where others use it up.
            Err(Errno::OPNOTSUPP) => Ok(()),
            done => Ok(done?),
        }
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&self.0, flags, offset, length)?)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        match rustix::fs::seek(&self.0, SeekFrom::Data(offset)) {
            Ok(data) => Ok(Some(data)),
            Err(Errno::NXIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
