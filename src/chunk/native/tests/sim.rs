//! A machine in memory that can die at any step of its disk, with or without its power, and whose disk
//! can refuse any step.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use crate::chunk::native::disk::{ChunkFile, Disk, Room};
use crate::chunk::native::index::{IndexStore, lock};
use crate::chunk::native::record;
use crate::error::{ErrorKind, FsError, Result};
use crate::store::{Memory, ReadTxn, Txn};
use crate::types::ChunkKey;

/// What a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// How a machine dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    /// The process is gone; what it gave to the system stays.
    Kill,
    /// The power is gone; of what was not synced, any part may be on the disk.
    PowerCut,
}

/// How the disk refuses a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It has no room just now. The store of the index goes on after it.
    Full,
    /// It fails. The store of the index takes nothing more then, until it is opened anew, and nobody
    /// knows whether what it refused has happened.
    Failed,
}

impl Refusal {
    fn error(self) -> io::Error {
        match self {
            Self::Full => io::ErrorKind::StorageFull.into(),
            Self::Failed => io::Error::other("the disk failed"),
        }
    }
}

/// The machine.
pub(super) struct World {
    state: Mutex<State>,
}

pub(super) struct State {
    files: Vec<File>,
    names: BTreeMap<ChunkKey, usize>,
    durable_names: BTreeMap<ChunkKey, usize>,
    index: Memory,
    durable_index: Memory,
    /// The index after each commit since its last sync.
    commits: Vec<Memory>,
    steps: u64,
    dies_at: Option<u64>,
    /// Which steps are refused, and how.
    refused: Option<(Range<u64>, Refusal)>,
    has_refused: bool,
    /// Power cuts so far.
    boots: u64,
    /// A power cut leaves of a file what was written to it first.
    pub(super) keeps_order: bool,
    /// The index with the commit that failed, if that is seen to have happened after all when the
    /// index is opened anew.
    late: Option<Memory>,
    /// The index has failed.
    is_index_closed: bool,
    random: u64,
    /// Bytes that fit on the disk.
    pub(super) capacity: u64,
    /// Whether syncs of files fail.
    pub(super) fails_to_sync: bool,
    pub(super) index_syncs: u64,
}

#[derive(Clone, Default)]
struct File {
    cached: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    SetLength(u64),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                let start = usize::try_from(*offset).unwrap();
                to.resize(to.len().max(start + data.len()), 0);
                to[start..start + data.len()].copy_from_slice(data);
            }
            Self::SetLength(length) => to.resize(usize::try_from(*length).unwrap(), 0),
        }
    }

    /// The parts that can be on the disk without the others.
    fn parts(&self) -> Vec<Self> {
        let Self::Write(offset, data) = self else { return vec![self.clone()] };
        let (mut parts, mut at) = (Vec::new(), 0);
        while at < data.len() {
            let position = offset + at as u64;
            let room = usize::try_from(SECTOR - position % SECTOR).unwrap();
            let end = (at + room).min(data.len());
            parts.push(Self::Write(position, data[at..end].to_vec()));
            at = end;
        }
        parts
    }
}

impl State {
    fn random(&mut self, below: u64) -> u64 {
        // Knuth's MMIX generator; its high bits are good enough here.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % below
    }

    fn die(&mut self) -> io::Error {
        io::Error::other("the machine is dead")
    }

    /// How the disk refuses the step that was begun last, if it does.
    fn refusal(&self) -> Option<Refusal> {
        let (steps, refusal) = self.refused.as_ref()?;
        steps.contains(&self.steps).then_some(*refusal)
    }

    /// One step: `Err` if the machine is dead, `Ok(true)` if it dies in the middle of this one.
    fn step(&mut self) -> io::Result<bool> {
        self.steps += 1;
        self.has_refused |= self.refusal().is_some();
        match self.dies_at {
            Some(at) if self.steps > at => Err(self.die()),
            Some(at) => Ok(self.steps == at),
            None => Ok(false),
        }
    }

    /// A step that happens or not when the machine dies in it.
    fn whole_step(&mut self, happens: impl FnOnce(&mut Self)) -> io::Result<()> {
        let dies = self.step()?;
        if let Some(refusal) = self.refusal() {
            return Err(refusal.error());
        }
        if !dies || self.random(2) == 0 {
            happens(self);
        }
        if dies { Err(self.die()) } else { Ok(()) }
    }

    fn check_index(&self) -> Result<()> {
        match self.is_index_closed {
            true => Err(FsError::new(ErrorKind::ReadOnly, "the index has failed")),
            false => Ok(()),
        }
    }

    /// What the index says of a step, and whether it goes on after it.
    fn closed_by(&mut self, step: io::Result<()>) -> Result<()> {
        let Err(error) = step else { return Ok(()) };
        if self.refusal() == Some(Refusal::Full) && !self.is_index_closed {
            return Err(FsError::new(ErrorKind::NoSpace, "the disk is full"));
        }
        self.is_index_closed = true;
        Err(FsError::new(ErrorKind::ReadOnly, error.to_string()))
    }

    fn change(&mut self, id: usize, change: Change) {
        change.apply(&mut self.files[id].cached);
        self.files[id].pending.push(change);
    }

    fn small(&self, key: &ChunkKey) -> Option<Bytes> {
        self.index.read(|txn| record::read_contents(txn, key)).unwrap()
    }

    fn sync_file(&mut self, id: usize) {
        let file = &mut self.files[id];
        file.durable = file.cached.clone();
        file.pending.clear();
    }

    fn lose_power(&mut self) {
        self.boots += 1;
        let kept = usize::try_from(self.random(self.commits.len() as u64 + 1)).unwrap();
        if kept > 0 {
            self.durable_index = self.commits.swap_remove(kept - 1);
        }
        self.index = self.durable_index.clone();
        let mut files = std::mem::take(&mut self.files);
        for file in &mut files {
            // All, nothing, or any part.
            let mode = self.random(4);
            let parts: Vec<_> = file.pending.iter().flat_map(Change::parts).collect();
            if self.keeps_order {
                let kept = usize::try_from(self.random(parts.len() as u64 + 1)).unwrap();
                parts[..kept].iter().for_each(|part| part.apply(&mut file.durable));
                file.cached = file.durable.clone();
                continue;
            }
            for part in parts {
                if mode == 0 || mode > 1 && self.random(2) == 0 {
                    part.apply(&mut file.durable);
                }
            }
            file.cached = file.durable.clone();
        }
        self.files = files;
        let names: Vec<_> = self.names.keys().chain(self.durable_names.keys()).copied().collect();
        for name in names {
            let now = if self.random(2) == 0 { &self.names } else { &self.durable_names };
            match now.get(&name).copied() {
                Some(id) => self.durable_names.insert(name, id),
                None => self.durable_names.remove(&name),
            };
            // Not to be drawn twice.
            match self.durable_names.get(&name).copied() {
                Some(id) => self.names.insert(name, id),
                None => self.names.remove(&name),
            };
        }
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        let state = State {
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            index: Memory::new(),
            durable_index: Memory::new(),
            commits: Vec::new(),
            steps: 0,
            dies_at: None,
            refused: None,
            has_refused: false,
            boots: 0,
            keeps_order: false,
            is_index_closed: false,
            late: None,
            random: seed,
            capacity: 1 << 40,
            fails_to_sync: false,
            index_syncs: 0,
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn disk(self: &Arc<Self>) -> Arc<dyn Disk> {
        Arc::new(SimDisk(Arc::clone(self)))
    }

    pub(super) fn index(self: &Arc<Self>) -> Arc<dyn IndexStore> {
        Arc::new(SimIndex(Arc::clone(self)))
    }

    /// Dies in the middle of the step after so many.
    pub(super) fn die_after(&self, steps: u64) {
        let mut state = self.state();
        state.dies_at = Some(state.steps + steps + 1);
    }

    /// Refuses `count` steps after so many.
    pub(super) fn refuse_after(&self, steps: u64, count: u64, refusal: Refusal) {
        let mut state = self.state();
        let first = state.steps + steps + 1;
        state.refused = Some((first..first + count, refusal));
    }

    /// The index has reached the disk, and no file has.
    pub(super) fn keep_index(&self) {
        let mut state = self.state();
        state.durable_index = state.index.clone();
        state.commits.clear();
        state.files.iter_mut().for_each(|file| file.pending.clear());
    }

    /// The name of the present boot.
    pub(super) fn boot_id(&self) -> String {
        format!("boot {}", self.state().boots)
    }

    /// Refuses nothing more.
    pub(super) fn refuse_nothing(&self) {
        self.state().refused = None;
    }

    /// Whether any step was refused.
    pub(super) fn has_refused(&self) -> bool {
        self.state().has_refused
    }

    /// Dies no more.
    pub(super) fn live_on(&self) {
        self.state().dies_at = None;
    }

    pub(super) fn is_dead(&self) -> bool {
        let state = self.state();
        state.dies_at.is_some_and(|at| state.steps >= at)
    }

    /// Is there again after its death.
    pub(super) fn reboot(&self, death: Death) {
        let mut state = self.state();
        if let Some(late) = state.late.take() {
            state.index = late.clone();
            state.commits.push(late);
        }
        if death == Death::PowerCut {
            state.lose_power();
        }
        state.commits.clear();
        state.durable_index = state.index.clone();
        state.dies_at = None;
        state.is_index_closed = false;
        let all = 0..state.files.len();
        all.for_each(|id| state.sync_file(id));
        state.durable_names = state.names.clone();
    }

    /// Turns one bit around in a file, or in the index if it is there, in memory and on the disk.
    pub(super) fn flip(&self, key: &ChunkKey, at: u64, bit: u8) {
        let mut state = self.state();
        let at = usize::try_from(at).unwrap();
        if let Some(contents) = state.small(key) {
            let mut contents = contents.to_vec();
            contents[at] ^= 1 << bit;
            let put = state.index.write(|txn| {
                record::put_contents(txn, key, &contents);
                Ok(())
            });
            put.unwrap();
            state.durable_index = state.index.clone();
            return;
        }
        let id = state.names[key];
        state.files[id].cached[at] ^= 1 << bit;
        state.files[id].durable[at] ^= 1 << bit;
    }

    pub(super) fn remove(&self, key: &ChunkKey) {
        self.state().names.remove(key);
    }

    pub(super) fn has_file(&self, key: &ChunkKey) -> bool {
        self.state().names.contains_key(key)
    }

    /// Whether the index has contents of a chunk.
    pub(super) fn is_in_index(&self, key: &ChunkKey) -> bool {
        self.state().small(key).is_some()
    }
}

struct SimDisk(Arc<World>);

impl Disk for SimDisk {
    fn create(&self, key: &ChunkKey, _: u64) -> io::Result<Arc<dyn ChunkFile>> {
        let mut state = self.0.state();
        state.whole_step(|state| {
            if !state.names.contains_key(key) {
                state.files.push(File::default());
                state.names.insert(*key, state.files.len() - 1);
            }
        })?;
        let id = state.names[key];
        Ok(Arc::new(SimFile { world: Arc::clone(&self.0), id }))
    }

    fn open(&self, key: &ChunkKey) -> io::Result<Option<Arc<dyn ChunkFile>>> {
        let id = self.0.state().names.get(key).copied();
        Ok(id.map(|id| Arc::new(SimFile { world: Arc::clone(&self.0), id }) as Arc<dyn ChunkFile>))
    }

    fn remove(&self, key: &ChunkKey) -> io::Result<()> {
        self.0.state().whole_step(|state| {
            state.names.remove(key);
        })
    }

    fn sync_name(&self, key: &ChunkKey) -> io::Result<()> {
        self.0.state().whole_step(|state| {
            match state.names.get(key).copied() {
                Some(id) => state.durable_names.insert(*key, id),
                None => state.durable_names.remove(key),
            };
        })
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.state().whole_step(|state| {
            (0..state.files.len()).for_each(|id| state.sync_file(id));
            state.durable_names = state.names.clone();
        })
    }

    fn keys(&self) -> io::Result<Vec<ChunkKey>> {
        Ok(self.0.state().names.keys().copied().collect())
    }

    fn room(&self) -> io::Result<Room> {
        let state = self.0.state();
        let used: usize = state.names.values().map(|id| state.files[*id].cached.len()).sum();
        Ok(Room { total: state.capacity, free: state.capacity.saturating_sub(used as u64) })
    }
}

struct SimFile {
    world: Arc<World>,
    id: usize,
}

impl ChunkFile for SimFile {
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let state = self.world.state();
        let data = &state.files[self.id].cached;
        let start = usize::try_from(offset).unwrap().min(data.len());
        Ok(data[start..data.len().min(start + length)].to_vec())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> std::result::Result<(), (usize, io::Error)> {
        let mut state = self.world.state();
        let dies = state.step().map_err(|error| (0, error))?;
        let refusal = state.refusal();
        let room = usize::try_from(state.capacity.saturating_sub(offset)).unwrap();
        let mut written = data.len().min(room);
        if dies || refusal.is_some() {
            written = usize::try_from(state.random(written as u64 + 1)).unwrap();
        }
        if written > 0 {
            state.change(self.id, Change::Write(offset, data[..written].to_vec()));
        }
        match dies {
            true => Err((0, state.die())),
            false if refusal.is_some() => Err((written, refusal.unwrap().error())),
            false if written < data.len() => Err((written, io::ErrorKind::StorageFull.into())),
            false => Ok(()),
        }
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.world.state().files[self.id].cached.len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.world.state().whole_step(|state| state.change(self.id, Change::SetLength(length)))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.world.state();
        if state.fails_to_sync {
            return Err(io::Error::other("the disk is broken"));
        }
        state.whole_step(|state| state.sync_file(self.id))
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        self.world.state().whole_step(|_| ())
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        self.world.state().whole_step(|state| {
            let end = (state.files[self.id].cached.len() as u64).min(offset + length);
            let zeros = vec![0; usize::try_from(end.saturating_sub(offset)).unwrap()];
            if !zeros.is_empty() {
                state.change(self.id, Change::Write(offset, zeros));
            }
        })
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        let state = self.world.state();
        let data = &state.files[self.id].cached;
        let start = usize::try_from(offset).unwrap().min(data.len());
        let found = data[start..].iter().position(|byte| *byte != 0);
        // As on a disk, data are found by pages.
        Ok(found.map(|at| offset.max((offset + at as u64) / 4096 * 4096)))
    }
}

struct SimIndex(Arc<World>);

impl IndexStore for SimIndex {
    fn write(&self, work: &mut dyn FnMut(&mut dyn Txn) -> Result<()>) -> Result<()> {
        let mut state = self.0.state();
        state.check_index()?;
        let mut index = state.index.clone();
        index.write(|txn| work(txn))?;
        let step = state.whole_step(|state| {
            state.index = index.clone();
            state.commits.push(index.clone());
        });
        if state.refusal() == Some(Refusal::Failed) && state.random(2) == 0 {
            state.late = Some(index);
        }
        state.closed_by(step)
    }

    fn read(&self, work: &mut dyn FnMut(&dyn ReadTxn) -> Result<()>) -> Result<()> {
        let index = self.0.state().index.clone();
        index.read(|txn| work(txn))
    }

    fn sync(&self) -> Result<()> {
        let mut state = self.0.state();
        state.check_index()?;
        state.index_syncs += 1;
        let step = state.whole_step(|state| {
            state.durable_index = state.index.clone();
            state.commits.clear();
        });
        // As the store on a disk does, after a sync that failed for whatever reason.
        state.is_index_closed |= step.is_err();
        state.closed_by(step)
    }
}
