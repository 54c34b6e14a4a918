//! Random work of two mounts on the same files, against a model: every open sees all that was
//! closed before.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod fake_cluster;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use fake_cluster::FakeCluster;
use htfs::client::native::NativeFs;
use htfs::client::vfs::{Handle, OpenFlags};
use htfs::limits::CHUNK_SIZE;
use htfs::types::{Credentials, Ino, Name, SetAttr};
use proptest::prelude::*;

const ROOT: Credentials = Credentials::ROOT;
const FILES: usize = 2;
const WINDOW: u64 = 700;

/// What is done to the contents of an open file, at offsets below [`WINDOW`] of a chunk.
#[derive(Clone, Debug)]
enum Op {
    Write(u64, Vec<u8>),
    Append(Vec<u8>),
    Truncate(u64),
    Punch(u64, u64),
    Reserve(u64, u64),
    CopyTo(u64, u64, u64),
}

/// A mount, a file, and what it does between open and close.
type Turn = (usize, usize, Vec<Op>);

fn offset() -> impl Strategy<Value = u64> {
    (prop_oneof![3 => Just(0), 1 => Just(CHUNK_SIZE)], 0..500_u64).prop_map(|(base, at)| base + at)
}

fn op() -> impl Strategy<Value = Op> {
    let data = || prop::collection::vec(1..=255_u8, 1..150);
    prop_oneof![
        5 => (offset(), data()).prop_map(|(at, data)| Op::Write(at, data)),
        2 => data().prop_map(Op::Append),
        3 => offset().prop_map(Op::Truncate),
        2 => (offset(), 1..200_u64).prop_map(|(at, length)| Op::Punch(at, length)),
        1 => (offset(), 1..200_u64).prop_map(|(at, length)| Op::Reserve(at, length)),
        2 => (offset(), offset(), 1..200_u64).prop_map(|(from, to, n)| Op::CopyTo(from, to, n)),
    ]
}

fn turn() -> impl Strategy<Value = Turn> {
    (0..2_usize, 0..FILES, prop::collection::vec(op(), 0..4))
}

/// A file: its size, and its bytes that are not zero.
#[derive(Clone, Debug, Default)]
struct Model {
    size: u64,
    bytes: BTreeMap<u64, u8>,
}

impl Model {
    fn byte(&self, at: u64) -> u8 {
        self.bytes.get(&at).copied().unwrap_or(0)
    }

    fn write(&mut self, at: u64, data: &[u8]) {
        for (at, byte) in (at..).zip(data) {
            self.bytes.insert(at, *byte);
        }
        self.size = self.size.max(at + data.len() as u64);
    }

    fn read(&self, at: u64, length: u64) -> Vec<u8> {
        (at..(at + length).min(self.size)).map(|at| self.byte(at)).collect()
    }
}

struct World {
    mounts: Vec<Arc<NativeFs<FakeCluster>>>,
    files: Vec<(Ino, Model)>,
}

impl World {
    async fn take(&mut self, (mount, file, ops): Turn) {
        let fs = &self.mounts[mount];
        let ino = self.files[file].0;
        let open = fs.open(ino, OpenFlags(libc::O_RDWR), &ROOT).await.unwrap();
        self.compare(mount, file, open.handle).await;
        for op in ops {
            self.apply(mount, file, open.handle, op).await;
            self.compare(mount, file, open.handle).await;
        }
        let fs = &self.mounts[mount];
        fs.flush(open.handle, 1).await.unwrap();
        fs.release(open.handle).await.unwrap();
    }

    async fn compare(&self, mount: usize, file: usize, handle: Handle) {
        let (ino, model) = &self.files[file];
        let fs = &self.mounts[mount];
        for base in [0, CHUNK_SIZE] {
            let read = fs.read(handle, base, u32::try_from(WINDOW).unwrap()).await.unwrap();
            assert_eq!(read, model.read(base, WINDOW), "from {base} on");
        }
        assert_eq!(fs.getattr(*ino).await.unwrap().size, model.size);
    }

    async fn apply(&mut self, mount: usize, file: usize, handle: Handle, op: Op) {
        let fs = Arc::clone(&self.mounts[mount]);
        let other = self.files[(file + 1) % FILES].0;
        let (ino, model) = &mut self.files[file];
        match op {
            Op::Write(at, data) => {
                fs.write(handle, at, Bytes::from(data.clone()), false, &ROOT).await.unwrap();
                model.write(at, &data);
            }
            Op::Append(data) => {
                let flags = OpenFlags(libc::O_WRONLY | libc::O_APPEND);
                let open = fs.open(*ino, flags, &ROOT).await.unwrap();
                let bytes = Bytes::from(data.clone());
                let at = fs.write(open.handle, 0, bytes, true, &ROOT).await.unwrap();
                assert_eq!(at, model.size);
                model.write(at, &data);
                fs.release(open.handle).await.unwrap();
            }
            Op::Truncate(size) => {
                let change = SetAttr { size: Some(size), ..SetAttr::default() };
                fs.setattr(*ino, Some(handle), change, &ROOT).await.unwrap();
                model.bytes.retain(|at, _| *at < size);
                model.size = size;
            }
            Op::Punch(at, length) => {
                let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
                fs.fallocate(handle, at, length, mode, &ROOT).await.unwrap();
                model.bytes.retain(|byte, _| *byte < at || *byte >= at + length);
            }
            Op::Reserve(at, length) => {
                fs.fallocate(handle, at, length, 0, &ROOT).await.unwrap();
                model.size = model.size.max(at + length);
            }
            Op::CopyTo(from, to, length) => {
                let open = fs.open(other, OpenFlags(libc::O_RDWR), &ROOT).await.unwrap();
                let ends = ((handle, from), (open.handle, to));
                let copied = fs.copy_file_range(ends.0, ends.1, length, &ROOT).await.unwrap();
                let data = model.read(from, copied);
                assert_eq!(data.len() as u64, copied);
                assert!(copied > 0 || from >= model.size);
                fs.flush(open.handle, 1).await.unwrap();
                fs.release(open.handle).await.unwrap();
                if copied > 0 {
                    self.files[(file + 1) % FILES].1.write(to, &data);
                }
            }
        }
    }
}

async fn play(turns: Vec<Turn>) {
    let cluster = FakeCluster::new();
    let ((a, _guard_a), (b, _guard_b)) = (cluster.client().await, cluster.client().await);
    let mut files = Vec::new();
    for number in 0..FILES {
        let name = Name::new(format!("f{number}").into_bytes()).unwrap();
        let flags = OpenFlags(libc::O_RDWR);
        let (attr, open) = a.create(Ino::ROOT, &name, 0o644, flags, &ROOT).await.unwrap();
        a.release(open.handle).await.unwrap();
        files.push((attr.ino, Model::default()));
    }
    let mut world = World { mounts: vec![a, b], files };
    for turn in turns {
        world.take(turn).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn two_mounts_agree_with_the_model(turns in prop::collection::vec(turn(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(turns));
    }
}
