//! What the native chunk store does by itself, without network: `cargo bench --bench chunk_store`.
//!
//! The files are in the directory for temporary files (`TMPDIR`), so that is the disk measured.
#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first thing that is wrong")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use htfs::chunk::native::{NativeStore, TABLES};
use htfs::limits::CHUNK_SIZE;
use htfs::store::Store;
use htfs::types::{ChunkKey, ChunkVersion, Extent, Ino};

/// Bytes written and read in sequence.
const TOTAL: u64 = 512 << 20;
const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;
/// How long a row of small operations is measured.
const ROW_TIME: Duration = Duration::from_secs(2);

fn key(ino: u64, index: u64) -> ChunkKey {
    ChunkKey { ino: Ino(ino), index, incarnation: 0 }
}

struct Bench {
    store: NativeStore,
    at: ChunkVersion,
    random: u64,
}

impl Bench {
    fn write(&self, key: &ChunkKey, offset: u64, data: &Bytes) {
        let extent = Extent { offset, data: data.clone() };
        self.store.write(key, &self.at, &[extent]).unwrap();
    }

    /// A page of the file that [`Bench::sequential`] wrote: its chunk and its offset there.
    fn random_page(&mut self) -> (ChunkKey, u64) {
        // Knuth's MMIX generator.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let offset = (self.random >> 33) % (TOTAL / PAGE) * PAGE;
        (key(1, offset / CHUNK_SIZE), offset % CHUNK_SIZE)
    }

    fn sequential(&self) {
        let data = Bytes::from(vec![7; usize::try_from(MIB).unwrap()]);
        let pieces = || (0..TOTAL).step_by(usize::try_from(MIB).unwrap());
        let place = |offset| (key(1, offset / CHUNK_SIZE), offset % CHUNK_SIZE);
        let write = |what: &str| {
            let start = Instant::now();
            for offset in pieces() {
                let (key, offset) = place(offset);
                self.write(&key, offset, &data);
            }
            print_rate(what, TOTAL, start.elapsed());
        };
        write("write 1 MiB, new");
        let start = Instant::now();
        self.store.sync_all().unwrap();
        print_rate("sync of that", TOTAL, start.elapsed());
        write("write 1 MiB, over synced");
        self.store.sync_all().unwrap();
        let start = Instant::now();
        for offset in pieces() {
            let (key, offset) = place(offset);
            assert_eq!(self.store.read(&key, &self.at, offset, MIB).unwrap().len(), data.len());
        }
        print_rate("read 1 MiB, cached", TOTAL, start.elapsed());
    }

    fn random(&mut self) {
        let page = Bytes::from(vec![9; usize::try_from(PAGE).unwrap()]);
        self.count("read 4 KiB at random, cached", 1, |bench| {
            let (key, offset) = bench.random_page();
            bench.store.read(&key, &bench.at, offset, PAGE).unwrap();
        });
        for batch in [1, 256] {
            self.store.sync_all().unwrap();
            self.count(
                &format!("write 4 KiB at random over synced, {batch} a call"),
                batch,
                |bench| {
                    // The pages of one call are in one chunk.
                    let (key, _) = bench.random_page();
                    let extents: Vec<Extent> = (0..batch)
                        .map(|_| Extent { offset: bench.random_page().1, data: page.clone() })
                        .collect();
                    bench.store.write(&key, &bench.at, &extents).unwrap();
                },
            );
        }
        self.count("write 4 KiB at random over dirty", 1, |bench| {
            let (key, offset) = bench.random_page();
            bench.write(&key, offset, &page);
        });
        let mut end = 0;
        self.count("append 4 KiB and sync", 1, |bench| {
            bench.write(&key(2, end / CHUNK_SIZE), end % CHUNK_SIZE, &page);
            bench.store.sync(&[key(2, end / CHUNK_SIZE)]).unwrap();
            end += PAGE;
        });
        let mut ino = 100;
        self.count("make a chunk of 4 KiB", 1, |bench| {
            bench.write(&key(ino, 0), 0, &page);
            ino += 1;
        });
    }

    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn count(&mut self, what: &str, each: u64, mut work: impl FnMut(&mut Self)) {
        let start = Instant::now();
        let mut done = 0;
        while start.elapsed() < ROW_TIME {
            work(self);
            done += each;
        }
        println!("| {what} | {:.0} ops/s |", done as f64 / start.elapsed().as_secs_f64());
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn print_rate(what: &str, bytes: u64, elapsed: Duration) {
    println!("| {what} | {:.0} MB/s |", bytes as f64 / 1e6 / elapsed.as_secs_f64());
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let index = Arc::new(Store::open(&folder.path().join("store"), &TABLES).unwrap());
    let store = NativeStore::open(index, &folder.path().join("chunks")).unwrap();
    let mut bench = Bench { store, at: ChunkVersion::of(1), random: 1 };
    println!("| native chunk store | |\n|---|---|");
    bench.sequential();
    bench.random();
}
