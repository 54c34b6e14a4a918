//! The master's state without a network: times to live, accounts, dumps.

use std::path::Path;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use proptest::prelude::{Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{State, write_dump};
use crate::clock::Timestamp;
use crate::dump::{self, Dump};
use crate::error::ErrorKind;
use crate::limits;
use crate::pickle::{Attributes, Style};
use crate::rpc::Peer;
use crate::store::DataDir;
use crate::types::{Key, ServerId, StoredValue, Ttl, ValueKind};

const NOW: Timestamp = Timestamp(1_000_000);
const DAY_S: i64 = 86_400;

fn url(n: u16) -> ServerId {
    format!("https://localhost:{}", 9001 + n).parse().unwrap()
}

fn key(name: &str) -> Key {
    Key::new(name.to_owned()).unwrap()
}

fn dict(size: u64) -> StoredValue {
    let bytes = Attributes { size, ..Attributes::default() }.write(Style::Compact);
    StoredValue { kind: ValueKind::Base64, bytes }
}

fn text(text: &'static str) -> StoredValue {
    StoredValue { kind: ValueKind::String, bytes: Bytes::from_static(text.as_bytes()) }
}

fn open(path: &Path) -> (State, DataDir) {
    let dir = DataDir::open(path, super::ROLE).unwrap();
    (State::open(&dir, 5).unwrap(), dir)
}

fn size_of(state: &State, server: &ServerId) -> u64 {
    state.sizes().unwrap().iter().find(|(url, _)| url == server).unwrap().1
}

/// What a client does to write a file.
fn write_file(state: &mut State, name: &str, server: &ServerId, size: u64, ttl_s: i64) {
    state.change_size(&key(name), server, size, &Weak::new(), NOW).unwrap();
    state.put(&key(name), dict(size), Ttl::from_s(ttl_s), NOW).unwrap();
}

#[test]
fn an_empty_key_that_an_earlier_program_took_goes_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (mut state, lock) = open(dir.path());
    state.register(&url(0), 0).unwrap();
    state.put(&key("before"), text("v"), Ttl::from_s(DAY_S), NOW).unwrap();
    let empty = Key::empty();
    let stored = super::Stored { value: text("x"), expires: Timestamp(NOW.0 + 1000) };
    state
        .logged
        .write_unchecked(|txn| {
            super::accounts::change(txn, &empty, &url(0), (0, 700), NOW)?;
            super::Entries::put(txn, &empty, &stored).map(drop)
        })
        .unwrap();
    drop((state, lock));

    let (mut state, lock) = open(dir.path());
    assert_eq!((state.counts().unwrap().entries, size_of(&state, &url(0))), (1, 0));
    for n in 0..20 {
        state.put(&key(&format!("k{n}")), text("v"), Ttl::from_s(DAY_S), NOW).unwrap();
    }
    // After its time, and that of its growth.
    while state.sweep(Timestamp(NOW.0 + 400_000)).unwrap() {}
    drop((state, lock));
    let (state, _lock) = open(dir.path());
    assert_eq!((state.counts().unwrap().entries, size_of(&state, &url(0))), (21, 0));
}

#[test]
fn values_live_as_long_as_they_should() {
    let dir = tempfile::tempdir().unwrap();
    let (mut state, _dir) = open(dir.path());
    let key = key("k");
    state.put(&key, text("v"), Ttl::from_s(10), NOW).unwrap();
    let entry = state.get(&key, Timestamp(NOW.0 + 1500)).unwrap().unwrap();
    assert_eq!((entry.value, entry.ttl_s), (text("v"), 8));
    assert!(state.get(&key, Timestamp(NOW.0 + 9_999)).unwrap().is_some());
    assert!(state.get(&key, Timestamp(NOW.0 + 10_000)).unwrap().is_none());
    assert_eq!(state.counts().unwrap().entries, 0, "an expired entry is dropped when touched");

    for ttl_s in [0, -1, i64::MIN] {
        state.put(&key, text("v"), Ttl::from_s(DAY_S), NOW).unwrap();
        state.put(&key, text("w"), Ttl::from_s(ttl_s), NOW).unwrap();
        assert!(state.get(&key, NOW).unwrap().is_none());
    }
    state.put(&key, text("v"), Ttl::from_s(i64::MAX), NOW).unwrap();
    assert_eq!(state.get(&key, NOW).unwrap().unwrap().ttl_s, limits::TTL_MAX_S);
}

#[test]
fn a_server_grows_by_the_difference_and_gets_back_what_goes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut state, _dir) = open(dir.path());
    state.register(&url(0), 0).unwrap();
    write_file(&mut state, "/a", &url(0), 100, DAY_S);
    write_file(&mut state, "/b", &url(0), 30, 10);
    write_file(&mut state, "/a", &url(0), 40, DAY_S);
    assert_eq!(size_of(&state, &url(0)), 70);
    state.put(&key("/a"), text(""), Ttl::ZERO, NOW).unwrap();
    assert_eq!(size_of(&state, &url(0)), 30);
    let later = NOW.plus_seconds(10);
    state.sweep(later).unwrap();
    assert_eq!(size_of(&state, &url(0)), 0, "an expired file gives its size back");
}

#[test]
fn an_unknown_server_is_a_fault() {
    let dir = tempfile::tempdir().unwrap();
    let (mut state, _dir) = open(dir.path());
    let error = state.change_size(&key("/a"), &url(0), 1, &Weak::new(), NOW).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownServer);
}

#[test]
fn growth_whose_put_never_came_lapses() {
    let dir = tempfile::tempdir().unwrap();
    let (mut state, _dir) = open(dir.path());
    state.register(&url(0), 0).unwrap();
    write_file(&mut state, "/a", &url(0), 100, DAY_S);
    for name in ["/a", "/new"] {
        state.change_size(&key(name), &url(0), 500, &Weak::new(), NOW).unwrap();
    }
    assert_eq!(size_of(&state, &url(0)), 1000);
    state.sweep(NOW).unwrap();
    assert_eq!(size_of(&state, &url(0)), 1000, "the clients may still be at it");
    state.sweep(NOW.plus_seconds(limits::CHARGE_TIMEOUT.as_secs())).unwrap();
    assert_eq!(size_of(&state, &url(0)), 100);
}

#[test]
fn sizes_and_entries_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (mut state, _dir) = open(dir.path());
        state.register(&url(0), 7).unwrap();
        for n in 0..8 {
            write_file(&mut state, &format!("/f{n}"), &url(0), 10, DAY_S);
        }
    }
    let (mut state, _dir) = open(dir.path());
    state.register(&url(0), 0).unwrap();
    assert_eq!(size_of(&state, &url(0)), 87, "a known server keeps its size");
    assert!(state.get(&key("/f7"), NOW).unwrap().is_some());
    state.put(&key("/f7"), text(""), Ttl::ZERO, NOW).unwrap();
    assert_eq!(size_of(&state, &url(0)), 77);
}

/// A dict as a client stores it, of a file with its contents on a server.
fn placed(size: u64, server: &ServerId) -> StoredValue {
    let attributes = Attributes { size, contents: server.as_url(), ..Attributes::default() };
    StoredValue { bytes: attributes.write(Style::Compact), ..dict(size) }
}

#[test]
fn a_dump_brings_everything_back_and_sizes_are_what_its_dicts_say() {
    let dir = tempfile::tempdir().unwrap();
    let (mut state, data) = open(dir.path());
    state.register(&url(0), 7).unwrap();
    state.change_size(&key("/a"), &url(0), 100, &Weak::new(), NOW).unwrap();
    state.put(&key("/a"), placed(100, &url(0)), Ttl::from_s(DAY_S), NOW).unwrap();
    state.put(&key("/stranger"), placed(50, &url(1)), Ttl::from_s(DAY_S), NOW).unwrap();
    state.put(&key("plain"), text("v"), Ttl::from_s(DAY_S), NOW).unwrap();
    state.put(&key("brief"), placed(9, &url(0)), Ttl::from_s(1), NOW).unwrap();
    let path = data.dump_to_write("d").unwrap();
    write_dump(&state.snapshot().unwrap(), &path).unwrap();

    state.put(&key("/a"), text(""), Ttl::ZERO, NOW).unwrap();
    write_file(&mut state, "/late", &url(0), 5, DAY_S);
    state.change_size(&key("/later"), &url(0), 3, &Weak::new(), NOW).unwrap();
    let dump = Dump::open(&path, super::ROLE).unwrap();
    state.load(&dump, NOW.plus_seconds(1)).unwrap();
    assert_eq!(state.counts().unwrap().entries, 3, "one has expired");
    assert_eq!(state.get(&key("/a"), NOW).unwrap().unwrap().value, placed(100, &url(0)));
    assert_eq!(state.get(&key("plain"), NOW).unwrap().unwrap().value, text("v"));
    assert!(state.get(&key("/late"), NOW).unwrap().is_none());
    assert_eq!(size_of(&state, &url(0)), 107, "it is charged once, and nothing else is");
    state.sweep(NOW.plus_seconds(limits::CHARGE_TIMEOUT.as_secs())).unwrap();
    assert_eq!(size_of(&state, &url(0)), 107);
    state.put(&key("/a"), text(""), Ttl::ZERO, NOW).unwrap();
    assert_eq!(size_of(&state, &url(0)), 7);
    state.load(&dump, NOW).unwrap();
    state.load(&dump, NOW).unwrap();
    assert_eq!(size_of(&state, &url(0)), 116);
}

#[test]
fn of_equal_keys_in_a_dump_the_last_one_is_charged() {
    let dir = tempfile::tempdir().unwrap();
    let (mut state, data) = open(dir.path());
    state.register(&url(0), 0).unwrap();
    let path = data.dump_to_write("d").unwrap();
    dump::write(&path, |dump| {
        [100, 30].into_iter().try_for_each(|size| {
            let (key, value) = (key("/a"), placed(size, &url(0)));
            dump.entry(&dump::Entry { key, value, expires: NOW.plus_seconds(60) })
        })
    })
    .unwrap();
    state.load(&Dump::open(&path, super::ROLE).unwrap(), NOW).unwrap();
    assert_eq!((size_of(&state, &url(0)), state.counts().unwrap().entries), (30, 1));
}

#[derive(Clone, Debug)]
enum Edit {
    Change(u8, u16, u64),
    Put(u8, u64, i64),
    Delete(u8),
    Wait(u64),
    Sweep,
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (0u8..4, 0u16..2, 0u64..100).prop_map(|(k, s, n)| Edit::Change(k, s, n)),
        (0u8..4, 0u64..100, 1i64..20).prop_map(|(k, n, ttl)| Edit::Put(k, n, ttl)),
        (0u8..4).prop_map(Edit::Delete),
        (0u64..400).prop_map(Edit::Wait),
        prop::strategy::Just(Edit::Sweep),
    ]
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(16))]

    /// Whatever clients do, in whatever order: when all entries are gone, every server is back at
    /// what it joined with. And the order of the servers knows the same sizes as the accounts.
    #[test]
    fn sizes_never_drift(edits in prop::collection::vec(edit(), 0..40)) {
        let dir = tempfile::tempdir().unwrap();
        let (mut state, _dir) = open(dir.path());
        let joined = [3, 11];
        for (n, held) in (0..).zip(joined) {
            state.register(&url(n), held).unwrap();
        }
        let caller = Arc::new(());
        let mut now = NOW;
        let name = |k: u8| key(&format!("/{k}"));
        for edit in edits {
            match edit {
                Edit::Change(k, s, n) => {
                    let caller = Arc::downgrade(&caller);
                    state.change_size(&name(k), &url(s), n, &caller, now).unwrap();
                }
                Edit::Put(k, n, ttl) => state.put(&name(k), dict(n), Ttl::from_s(ttl), now).unwrap(),
                Edit::Delete(k) => state.put(&name(k), text(""), Ttl::ZERO, now).unwrap(),
                Edit::Wait(seconds) => now = now.plus_seconds(seconds),
                Edit::Sweep => while state.sweep(now).unwrap() {},
            }
            let sizes = state.sizes().unwrap();
            let smallest = sizes.iter().map(|(_, size)| *size).min().unwrap();
            let chosen = state.choose_server(&Arc::downgrade(&caller), now, |_| true).unwrap();
            prop_assert_eq!(size_of(&state, &chosen), smallest);
            prop_assert!(sizes.iter().all(|(_, size)| *size < 1 << 32));
        }
        while state.sweep(now.plus_seconds(10_000)).unwrap() {}
        prop_assert_eq!(state.counts().unwrap().entries, 0);
        for (n, held) in (0..).zip(joined) {
            prop_assert_eq!(size_of(&state, &url(n)), held);
        }
    }
}

#[test]
fn servers_that_somebody_makes_up_make_room_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| {
        let dir = DataDir::open(path, super::ROLE).unwrap();
        (State::open(&dir, 1_000_000).unwrap(), dir)
    };
    let (mut state, lock) = open(dir.path());
    let (greedy, other) = (Peer::V4([10, 0, 0, 1]), Peer::V4([10, 0, 0, 2]));
    let [honest, used, touched] = [20_001, 20_002, 20_003].map(url);
    state.register_from(&honest, other).unwrap();
    state.register_from(&used, greedy).unwrap();
    write_file(&mut state, "/f", &used, 10, DAY_S);
    state.register_from(&touched, greedy).unwrap();
    state.change_size(&key("/empty"), &touched, 0, &Weak::new(), NOW).unwrap();
    let invented = u16::try_from(limits::SERVERS_UNUSED_MAX).unwrap() + 100;
    for n in 0..invented {
        state.register_from(&url(n), greedy).unwrap();
        state.register_from(&url(n), greedy).unwrap();
    }
    let known = |state: &State| state.sizes().unwrap().len();
    assert_eq!(known(&state), limits::SERVERS_UNUSED_MAX + 1);
    let is_known = |server: &ServerId| state.is_registered(server).unwrap();
    assert!(is_known(&honest) && is_known(&used) && is_known(&url(invented - 1)));
    assert!(!is_known(&touched) && !is_known(&url(0)));
    // What was announced for a server that went is of no account.
    state.put(&key("/empty"), text(""), Ttl::ZERO, NOW).unwrap();
    drop((state, lock));
    let (mut state, _lock) = open(dir.path());
    state.register_from(&url(0), other).unwrap();
    assert_eq!(known(&state), limits::SERVERS_UNUSED_MAX + 1);
    let chosen = state.choose_server(&Weak::new(), NOW, |_| true).unwrap();
    assert_eq!(size_of(&state, &chosen), 0);
}
