//! Random work on a few chunks, and what must come of it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop, prop_oneof};

use super::{NativeStore, key};
use crate::chunk::native::CopyFrom;
use crate::chunk::native::index::lock;
use crate::error::{ErrorKind, Result};
use crate::limits;
use crate::types::{ChunkKey, ChunkVersion, Cut, Extent};

/// Chunks are up to this long here: five blocks and a bit.
const LENGTH_MAX: u64 = 5 * 65_536 + 1000;

/// Something to do.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Write(u64, Vec<(u64, u64, u8)>),
    Truncate(u64, u64),
    Cut(u64, u64),
    Punch(u64, u64, u64),
    Zero(u64, u64, u64),
    Allocate(u64, u64, u64),
    Copy(u64, u64, u64, u64, u64),
    Delete(u64),
    Sync(u64),
    SyncAll,
}

/// Three chunks.
fn any_ino() -> impl Strategy<Value = u64> {
    1..4u64
}

/// Anywhere, and often just where blocks meet, or where a chunk is small or not.
fn any_offset() -> BoxedStrategy<u64> {
    let by = || prop_oneof![Just(0i64), Just(-1), Just(1), Just(512), Just(-4096)];
    let near = (0..6u64, by()).prop_map(|(block, by)| (block * 65_536).saturating_add_signed(by));
    let small = by().prop_map(|by| limits::SMALL_FILE_MAX.saturating_add_signed(by));
    prop_oneof![0..LENGTH_MAX, near, 0..limits::SMALL_FILE_MAX, small]
        .prop_map(|offset| offset.min(LENGTH_MAX - 1))
        .boxed()
}

fn any_length() -> BoxedStrategy<u64> {
    prop_oneof![1..5000u64, Just(4096u64), Just(65_536u64), 1..200_000u64].boxed()
}

/// Any one thing to do.
pub(super) fn any_op() -> BoxedStrategy<Op> {
    let extents = prop::collection::vec((any_offset(), any_length(), 1..=255u8), 1..4);
    let range = || (any_ino(), any_offset(), any_length());
    prop_oneof![
        6 => (any_ino(), extents).prop_map(|(ino, extents)| Op::Write(ino, extents)),
        2 => (any_ino(), any_offset()).prop_map(|(ino, length)| Op::Truncate(ino, length)),
        2 => (any_ino(), any_offset()).prop_map(|(ino, keep)| Op::Cut(ino, keep)),
        1 => range().prop_map(|(ino, offset, length)| Op::Punch(ino, offset, length)),
        1 => range().prop_map(|(ino, offset, length)| Op::Zero(ino, offset, length)),
        1 => range().prop_map(|(ino, offset, length)| Op::Allocate(ino, offset, length)),
        1 => (range(), 1..3u64, any_offset()).prop_map(|((ino, offset, length), by, to)| {
            Op::Copy(ino, offset, (ino - 1 + by) % 3 + 1, to, length)
        }),
        1 => any_ino().prop_map(Op::Delete),
        4 => any_ino().prop_map(Op::Sync),
        1 => any::<bool>().prop_map(|_| Op::SyncAll),
    ]
    .boxed()
}

/// What the master knows of each chunk: its key, and its version. What is deleted never comes back
/// under its key.
#[derive(Default)]
pub(super) struct Keys {
    incarnations: [AtomicU64; 4],
    versions: [AtomicU64; 4],
    /// Cuts that no chunk server has confirmed: whoever names the version names them, too.
    owed: Mutex<BTreeMap<u64, Vec<Cut>>>,
}

impl Keys {
    pub(super) fn of(&self, ino: u64) -> ChunkKey {
        let incarnation = self.incarnations[size(ino)].load(Ordering::Relaxed);
        ChunkKey { incarnation, ..key(ino) }
    }

    pub(super) fn version(&self, ino: u64) -> u64 {
        self.versions[size(ino)].load(Ordering::Relaxed)
    }

    /// What whoever calls names.
    pub(super) fn at(&self, ino: u64) -> ChunkVersion {
        let confirmed = self.version(ino);
        let cuts = lock(&self.owed).get(&ino).cloned().unwrap_or_default();
        let version = cuts.last().map_or(confirmed, |cut| cut.version);
        ChunkVersion { version, cuts_from: confirmed, cuts, must_exist: false }
    }

    pub(super) fn forget(&self, ino: u64) {
        self.incarnations[size(ino)].fetch_add(1, Ordering::Relaxed);
        // The chunk that comes next is made at the version that is named.
        self.learn(ino, self.at(ino).version);
    }

    /// The master has noted a cut.
    fn owe(&self, ino: u64, keep: u64) {
        let version = self.at(ino).version + 1;
        lock(&self.owed).entry(ino).or_default().push(Cut { version, keep });
    }

    /// This is the version that the chunk has, and nobody asks for more.
    pub(super) fn learn(&self, ino: u64, version: u64) {
        lock(&self.owed).remove(&ino);
        self.versions[size(ino)].store(version, Ordering::Relaxed);
    }
}

/// A chunk's contents; `None` where there is no chunk.
pub(super) type Image = Option<Vec<u8>>;

/// All the contents that each chunk had since they were last durable, the present ones last.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    images: BTreeMap<u64, Vec<Image>>,
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

/// Contents that tell where they belong.
fn contents(offset: u64, length: u64, tag: u8) -> Vec<u8> {
    (offset..offset + length).map(|at| tag ^ (at % 251).to_le_bytes()[0]).collect()
}

fn clipped(offset: u64, length: u64) -> u64 {
    length.min(LENGTH_MAX + 70_000 - offset)
}

impl Op {
    /// Does it.
    pub(super) fn run(&self, store: &NativeStore, keys: &Keys) -> Result<u64> {
        let ignore_absent = |result: Result<u64>| match result {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            result => result,
        };
        match *self {
            Self::Write(ino, ref extents) => {
                let extents: Vec<Extent> = extents
                    .iter()
                    .map(|&(offset, length, tag)| Extent {
                        offset,
                        data: contents(offset, clipped(offset, length), tag).into(),
                    })
                    .collect();
                store.write(&keys.of(ino), &keys.at(ino), &extents)
            }
            Self::Truncate(ino, length) => store.truncate(&keys.of(ino), &keys.at(ino), length),
            Self::Cut(ino, keep) => {
                if store.stat(&keys.of(ino)).is_err_and(|error| error.kind() == ErrorKind::NotFound)
                {
                    return Ok(0);
                }
                keys.owe(ino, keep);
                let at = keys.at(ino);
                let held = store.cut(&keys.of(ino), &at);
                if held.is_ok() {
                    keys.learn(ino, at.version);
                }
                held
            }
            Self::Punch(ino, offset, length) => {
                ignore_absent(store.punch(&keys.of(ino), &keys.at(ino), offset, length))
            }
            Self::Zero(ino, offset, length) => {
                ignore_absent(store.zero(&keys.of(ino), &keys.at(ino), offset, length))
            }
            Self::Allocate(ino, offset, length) => store.allocate(
                &keys.of(ino),
                &keys.at(ino),
                (offset, clipped(offset, length)),
                true,
            ),
            Self::Copy(from, offset, to, target, length) => {
                let from = CopyFrom { key: keys.of(from), at: keys.at(from), offset };
                if store.stat(&from.key).is_err() {
                    return Ok(0);
                }
                store.copy(
                    store,
                    &from,
                    (&keys.of(to), &keys.at(to)),
                    target,
                    clipped(target, length),
                )
            }
            Self::Delete(ino) => {
                store.delete(&[keys.of(ino)])?;
                keys.forget(ino);
                Ok(0)
            }
            Self::Sync(ino) => ignore_absent(store.sync(&[keys.of(ino)]).map(|()| 0)),
            Self::SyncAll => store.sync_all().map(|()| 0),
        }
    }
}

impl Model {
    pub(super) fn now(&self, ino: u64) -> Image {
        self.images.get(&ino).and_then(|images| images.last().cloned()).flatten()
    }

    fn become_now(&mut self, ino: u64, image: Image) {
        self.images.entry(ino).or_insert_with(|| vec![None]).push(image);
    }

    fn edit(&mut self, ino: u64, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut image = self.now(ino).unwrap_or_default();
        edit(&mut image);
        self.become_now(ino, Some(image));
    }

    fn put(&mut self, ino: u64, offset: u64, data: &[u8]) {
        self.edit(ino, |image| {
            let (start, end) = (size(offset), size(offset) + data.len());
            image.resize(image.len().max(end), 0);
            image[start..end].copy_from_slice(data);
        });
    }

    /// What an operation does to the contents; every step of it that can be seen.
    pub(super) fn run(&mut self, op: &Op) {
        match *op {
            Op::Write(ino, ref extents) => {
                for &(offset, length, tag) in extents {
                    let data = contents(offset, clipped(offset, length), tag);
                    self.put(ino, offset, &data);
                }
            }
            Op::Truncate(ino, length) => self.edit(ino, |image| image.resize(size(length), 0)),
            Op::Cut(ino, keep) => {
                let Some(images) = self.images.get_mut(&ino).filter(|i| i.last() != Some(&None))
                else {
                    return;
                };
                // For good: nothing behind it was ever there.
                images.iter_mut().flatten().for_each(|image| image.truncate(size(keep)));
            }
            Op::Punch(ino, offset, length) | Op::Zero(ino, offset, length) => {
                let Some(image) = self.now(ino) else { return };
                let start = size(offset).min(image.len());
                let end = size(offset + length).min(image.len());
                self.edit(ino, |image| image[start..end].fill(0));
            }
            Op::Allocate(ino, offset, length) => {
                let end = size(offset + clipped(offset, length));
                self.edit(ino, |image| image.resize(image.len().max(end), 0));
            }
            Op::Copy(from, offset, to, target, length) => {
                let Some(mut source) = self.now(from) else { return };
                let length = clipped(target, length);
                source.resize(source.len().max(size(offset + length)), 0);
                self.put(to, target, &source[size(offset)..size(offset + length)]);
            }
            Op::Delete(ino) => {
                self.become_now(ino, None);
                self.forget_past(ino);
            }
            Op::Sync(ino) => self.forget_past(ino),
            Op::SyncAll => (1..4).for_each(|ino| self.forget_past(ino)),
        }
    }

    /// As [`Model::run`], of an operation that did not end: the past counts still.
    pub(super) fn run_in_vain(&mut self, op: &Op) {
        match op {
            Op::Delete(ino) => self.become_now(*ino, None),
            Op::Cut(ino, keep) => {
                if let Some(mut image) = self.now(*ino) {
                    image.truncate(size(*keep));
                    self.become_now(*ino, Some(image));
                }
            }
            Op::Sync(_) | Op::SyncAll => {}
            op => self.run(op),
        }
    }

    fn forget_past(&mut self, ino: u64) {
        if let Some(images) = self.images.get_mut(&ino) {
            images.drain(..images.len() - 1);
        }
    }

    /// How many contents a chunk had.
    pub(super) fn depth(&self, ino: u64) -> usize {
        self.images.get(&ino).map_or(1, Vec::len)
    }

    /// Checks that what is found could be there if everything but the last `depth` contents is
    /// past; from here on, it is what is there.
    pub(super) fn settle(&mut self, ino: u64, found: Image, depth: usize) {
        let nothing = vec![None];
        let images = self.images.get(&ino).unwrap_or(&nothing);
        let possible = &images[images.len().saturating_sub(depth)..];
        match &found {
            None => assert!(possible.contains(&None), "chunk {ino} is gone"),
            Some(data) => {
                let lengths = || possible.iter().map(|image| image.as_ref().map_or(0, Vec::len));
                let (least, most) = (lengths().min().unwrap(), lengths().max().unwrap());
                assert!(
                    (least..=most).contains(&data.len()),
                    "chunk {ino} has {} bytes and not {least} to {most}",
                    data.len()
                );
                let byte = |image: &Image, at: usize| {
                    image.as_ref().and_then(|image| image.get(at)).copied().unwrap_or(0)
                };
                for (at, found) in data.iter().enumerate() {
                    assert!(
                        possible.iter().any(|image| byte(image, at) == *found),
                        "chunk {ino} has {found} at {at}, which never was there"
                    );
                }
            }
        }
        self.images.insert(ino, vec![found]);
    }

    /// As [`Model::settle`], while the machine lives on: after a power cut, the past may still come
    /// back.
    pub(super) fn observe(&mut self, ino: u64, found: Image, depth: usize) {
        let mut past = self.images.get(&ino).cloned().unwrap_or_else(|| vec![None]);
        self.settle(ino, found.clone(), depth);
        past.push(found);
        self.images.insert(ino, past);
    }
}

/// All of a chunk up to its end, read in the store at the version that it has.
pub(super) fn read(store: &NativeStore, key: &ChunkKey) -> Result<Image> {
    match store.stat(key) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(stat) => {
            let at = ChunkVersion::of(stat.version);
            Ok(Some(store.read(key, &at, 0, stat.length)?.to_vec()))
        }
    }
}

/// The same at the version that is meant, with nothing lost behind the end.
pub(super) fn read_at(store: &NativeStore, key: &ChunkKey, at: &ChunkVersion) -> Result<Image> {
    match store.read(key, at, 0, limits::CHUNK_SIZE) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => Ok(Some(read?.to_vec())),
    }
}
