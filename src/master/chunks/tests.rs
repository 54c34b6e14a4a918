//! The accounts of chunks, over a map.

use std::collections::BTreeMap;

use super::{Health, Servers, Silence, count, deleted, discard, garbage, rename, usage};
use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::limits;
use crate::proto::cluster::Strays;
use crate::store::{Memory, Txn as _};
use crate::types::{ChunkKey, DroppedChunk, Ino, ServerId};

/// Of chunks that no file refers to.
const NONE: Strays =
    Strays { chunks: 0, strays: 0, set_aside: 0, removed_in_s: None, is_held_back: false };

fn server(port: u16) -> ServerId {
    ServerId::new(port.into())
}

fn key(ino: u64) -> ChunkKey {
    ChunkKey { ino: Ino(ino), index: 1, incarnation: u64::from(u32::MAX) + ino }
}

#[test]
fn garbage_stays_until_its_own_server_has_deleted_it() {
    let mut store = Memory::new();
    // One URL is the beginning of the other.
    let (a, b) = (server(90), server(9001));
    discard(
        &mut store,
        &[DroppedChunk { key: key(1), replicas: vec![a.clone(), b.clone()] }],
        ServerId::clone,
    );
    discard(
        &mut store,
        &[DroppedChunk { key: key(2), replicas: vec![a.clone()] }],
        ServerId::clone,
    );
    assert_eq!(garbage(&store, &a, 10).unwrap(), [key(1), key(2)]);
    assert_eq!(garbage(&store, &a, 1).unwrap(), [key(1)]);
    deleted(&mut store, &a, &[key(1)]);
    assert_eq!(garbage(&store, &a, 10).unwrap(), [key(2)]);
    assert_eq!(garbage(&store, &b, 10).unwrap(), [key(1)]);
}

#[test]
fn accounts_follow_a_server_that_gets_an_identity() {
    let mut store = Memory::new();
    let (was, now): (ServerId, _) = ("https://localhost:9001".parse().unwrap(), server(7));
    let dropped = DroppedChunk { key: key(1), replicas: vec![was.clone()] };
    discard(&mut store, &[dropped], ServerId::clone);
    count(&mut store, &BTreeMap::from([(was.clone(), 10)]), ServerId::clone).unwrap();
    rename(&mut store, &was, &now).unwrap();
    // What is deleted later is named by records from before.
    let dropped = DroppedChunk { key: key(2), replicas: vec![was.clone()] };
    discard(&mut store, &[dropped], |_| now.clone());
    let sizes = count(&mut store, &BTreeMap::from([(was.clone(), -4)]), |_| now.clone()).unwrap();
    assert_eq!(sizes, [(now.clone(), 6)]);
    assert_eq!(usage(&store).unwrap(), sizes);
    assert_eq!(garbage(&store, &now, 10).unwrap(), [key(1), key(2)]);
    assert_eq!(garbage(&store, &was, 10).unwrap(), []);
}

#[test]
fn usage_follows_what_grows_and_shrinks() {
    let mut store = Memory::new();
    let (a, b) = (server(9001), server(9002));
    count(&mut store, &BTreeMap::from([(a.clone(), 10), (b.clone(), 5)]), ServerId::clone).unwrap();
    let sizes = count(&mut store, &BTreeMap::from([(a.clone(), -3)]), ServerId::clone).unwrap();
    assert_eq!(sizes, [(a.clone(), 7)]);
    assert_eq!(usage(&store).unwrap(), [(a, 7), (b, 5)]);
}

#[test]
fn silent_and_full_servers_get_nothing() {
    let mut store = Memory::new();
    let (a, b) = (server(9001), server(9002));
    let full = Health { total: 100, free: 0, held: 100, disk: 0 };
    let roomy = Health { total: 1 << 40, free: 1 << 30, held: 7, disk: 0 };
    let timeout = u64::try_from(limits::HEARTBEAT_TIMEOUT.as_millis()).unwrap();
    let mut servers = Servers::default();
    assert_eq!(servers.refusal(Timestamp(0)).kind(), ErrorKind::Unreachable);
    assert!(servers.heard(&a, full, NONE, Timestamp(0)).unwrap());
    assert_eq!(servers.refusal(Timestamp(0)).kind(), ErrorKind::NoSpace);
    assert!(servers.heard(&b, roomy, NONE, Timestamp(0)).unwrap());
    assert!(!servers.heard(&b, roomy, NONE, Timestamp(1)).unwrap(), "that is no news");
    assert!(!servers.has_room(&a, Timestamp(1)) && servers.has_room(&b, Timestamp(1)));
    assert_eq!(servers.room(Timestamp(1)), ((1 << 30) + 107, 1 << 30));
    assert!(!servers.has_room(&b, Timestamp(1 + timeout)));
    Servers::keep(&mut store, &b, &roomy);
    let restarted = Servers::load(&store, Timestamp(5)).unwrap();
    assert!(restarted.has_room(&b, Timestamp(6)));
}

#[test]
fn a_disk_that_servers_share_is_counted_once() {
    let mut servers = Servers::default();
    let on = |disk, free, held| Health { total: 1 << 40, free, held, disk };
    for (port, health) in [(9001, on(5, 1000, 10)), (9002, on(5, 990, 20)), (9003, on(6, 500, 3))] {
        servers.heard(&server(port), health, NONE, Timestamp(0)).unwrap();
    }
    assert_eq!(servers.room(Timestamp(1)), (1490 + 33, 1490));
    // What does not say on which disk it is has one of its own.
    servers.heard(&server(9004), on(0, 7, 1), NONE, Timestamp(0)).unwrap();
    servers.heard(&server(9005), on(0, 7, 1), NONE, Timestamp(0)).unwrap();
    assert_eq!(servers.room(Timestamp(1)), (1490 + 33 + 14 + 2, 1490 + 14));
}

#[test]
fn what_earlier_versions_kept_of_a_server_is_read() {
    let mut store = Memory::new();
    let row = postcard::to_allocvec(&(1_u64 << 40, 1_u64 << 30, 7_u64)).unwrap();
    store.put(crate::master::chunks::HEALTH, server(9001).as_str().as_bytes(), &row);
    let servers = Servers::load(&store, Timestamp(5)).unwrap();
    assert_eq!(servers.room(Timestamp(6)), ((1 << 30) + 7, 1 << 30));
}

#[test]
fn silence_is_news_once() {
    let mut servers = Servers::default();
    let health = Health { total: 100, free: 50, held: 7, disk: 0 };
    let after = |time: std::time::Duration| Timestamp(u64::try_from(time.as_millis()).unwrap());
    servers.heard(&server(9001), health, NONE, Timestamp(0)).unwrap();
    assert_eq!(servers.newly_silent(Timestamp(1)), []);
    for (time, silence) in
        [(limits::HEARTBEAT_TIMEOUT, Silence::Silent), (limits::SERVER_LOST_AFTER, Silence::Lost)]
    {
        assert_eq!(servers.newly_silent(after(time)), [(server(9001), silence, 7)]);
        assert_eq!(servers.newly_silent(after(time)), []);
    }
    let back = after(limits::SERVER_LOST_AFTER * 2);
    servers.heard(&server(9001), health, NONE, back).unwrap();
    assert_eq!(servers.newly_silent(back), []);
}
