//! Chunks in memory, with the rules of versions and cuts.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use htfs::client::native::data::ChunkChange;
use htfs::error::{ErrorKind, FsError, Result};
use htfs::limits::CHUNK_SIZE;
use htfs::types::{ChunkKey, ChunkLayout, Extent, Whence};

/// One byte each; `None` is a hole.
#[derive(Default)]
struct Chunk {
    version: u64,
    bytes: Vec<Option<u8>>,
}

#[derive(Default)]
pub struct Chunks(Mutex<HashMap<ChunkKey, Chunk>>);

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("it fits")
}

impl Chunks {
    fn lock(&self) -> MutexGuard<'_, HashMap<ChunkKey, Chunk>> {
        self.0.lock().expect("no test panics in here")
    }

    pub fn read(&self, layout: &ChunkLayout, offset: u64, length: u64) -> Result<Bytes> {
        let mut chunks = self.lock();
        let Some(chunk) = chunks.get_mut(&layout.key) else { return Ok(Bytes::new()) };
        chunk.catch_up(layout)?;
        let from = index(offset).min(chunk.bytes.len());
        let to = index(offset + length).min(chunk.bytes.len());
        Ok(chunk.bytes[from..to].iter().map(|byte| byte.unwrap_or(0)).collect())
    }

    fn with<T>(&self, layout: &ChunkLayout, work: impl FnOnce(&mut Chunk) -> T) -> Result<T> {
        let mut chunks = self.lock();
        let new = || Chunk { version: layout.version, bytes: Vec::new() };
        let chunk = chunks.entry(layout.key).or_insert_with(new);
        chunk.catch_up(layout)?;
        Ok(work(chunk))
    }

    pub fn write(&self, layout: &ChunkLayout, pieces: &[Extent]) -> Result<u64> {
        self.with(layout, |chunk| {
            for piece in pieces {
                let bytes: Vec<_> = piece.data.iter().copied().map(Some).collect();
                chunk.put(piece.offset, &bytes);
            }
            chunk.held()
        })
    }

    pub fn change(&self, layout: &ChunkLayout, change: ChunkChange) -> Result<u64> {
        self.with(layout, |chunk| {
            let (offset, length, byte) = match change {
                ChunkChange::Cut | ChunkChange::Allocate { .. } => (0, 0, None),
                ChunkChange::Punch { offset, length } => (offset, length, None),
                ChunkChange::Zero { offset, length } => (offset, length, Some(0)),
            };
            let from = index(offset).min(chunk.bytes.len());
            let to = index(offset + length).min(chunk.bytes.len());
            chunk.bytes[from..to].fill(byte);
            chunk.held()
        })
    }

    pub fn seek(&self, layout: &ChunkLayout, offset: u64, target: Whence) -> Result<Option<u64>> {
        self.with(layout, |chunk| {
            let is_data = |at: u64| chunk.bytes.get(index(at)).is_some_and(Option::is_some);
            let end = chunk.bytes.len() as u64 + 1;
            (offset..end.max(offset + 1).min(CHUNK_SIZE))
                .find(|at| is_data(*at) == (target == Whence::Data))
        })
    }

    pub fn copy(
        &self,
        (source, source_at): (&ChunkLayout, u64),
        (target, target_at): (&ChunkLayout, u64),
        length: u64,
    ) -> Result<u64> {
        let bytes = self.with(source, |chunk| {
            let byte = |at| chunk.bytes.get(at).copied().flatten();
            (index(source_at)..index(source_at + length)).map(byte).collect::<Vec<_>>()
        })?;
        self.with(target, |chunk| {
            chunk.put(target_at, &bytes);
            chunk.held()
        })
    }
}

impl Chunk {
    fn catch_up(&mut self, layout: &ChunkLayout) -> Result<()> {
        for cut in &layout.cuts {
            if cut.version > self.version {
                self.bytes.truncate(index(cut.keep));
                self.version = cut.version;
            }
        }
        if self.version != layout.version {
            return Err(FsError::new(ErrorKind::Stale, "the chunk has another version"));
        }
        Ok(())
    }

    fn put(&mut self, offset: u64, bytes: &[Option<u8>]) {
        let (from, to) = (index(offset), index(offset) + bytes.len());
        if self.bytes.len() < to {
            self.bytes.resize(to, None);
        }
        self.bytes[from..to].copy_from_slice(bytes);
    }

    fn held(&self) -> u64 {
        self.bytes.iter().flatten().count() as u64
    }
}
