//! Tests of the whole store: against a model, through crashes, with damage, side by side.

mod crash;
mod damage;
mod full;
mod local;
mod model;
mod power;
mod refused;
mod sim;
mod small;
mod together;
mod versions;

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::ProptestConfig;

use super::NativeStore;
use super::index::Index;
use crate::error::ErrorKind;
use crate::types::{ChunkKey, ChunkVersion, Extent, Ino};
use sim::World;

/// So many cases, or as many as the environment asks for.
fn cases(count: u32) -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(count),
    }
}

/// A key for tests.
fn key(ino: u64) -> ChunkKey {
    ChunkKey { ino: Ino(ino), index: 0, incarnation: 0 }
}

/// The version that tests write at, unless versions are what they test.
fn v1() -> ChunkVersion {
    ChunkVersion::of(1)
}

/// One extent.
fn extent(offset: u64, data: impl Into<Bytes>) -> [Extent; 1] {
    [Extent { offset, data: data.into() }]
}

/// A store on a simulated machine.
fn start(world: &Arc<World>) -> NativeStore {
    NativeStore::start(Index::new(world.index()), world.disk(), world.boot_id())
        .expect("the machine is sound")
}

/// The kind of an error that must be one.
fn kind<T: std::fmt::Debug>(result: crate::error::Result<T>) -> ErrorKind {
    result.expect_err("it must fail").kind()
}
