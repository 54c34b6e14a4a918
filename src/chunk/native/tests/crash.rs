//! Neither `kill -9` nor a power cut, at any step, makes a block unreadable or loses what was
//! promised.

use std::sync::{Arc, LazyLock};

use proptest::prelude::{Strategy, any, prop, prop_assert_eq, proptest};

use super::model::{self, Keys, Model, Op, any_op};
use super::sim::{Death, World};
use super::{cases, start};
use crate::types::ChunkVersion;

/// One piece of work with everything in it.
pub(super) static LONG: LazyLock<Vec<Op>> = LazyLock::new(|| {
    vec![
        Op::Write(1, vec![(0, 200_000, 1)]),
        Op::Sync(1),
        Op::Write(1, vec![(70_000, 10_000, 2), (10, 5, 3)]),
        Op::Write(1, vec![(200_000, 3000, 4)]),
        Op::Sync(1),
        Op::Write(1, vec![(203_000, 100_000, 5), (202_000, 2000, 6)]),
        Op::Truncate(1, 90_000),
        Op::Cut(1, 80_000),
        Op::Write(1, vec![(100_000, 50_000, 7)]),
        Op::Sync(1),
        Op::Punch(1, 60_000, 20_000),
        Op::Cut(1, 100_000),
        Op::Cut(1, 140_000),
        Op::Write(1, vec![(110_000, 5000, 9)]),
        Op::Sync(1),
        Op::Truncate(1, 150_500),
        Op::SyncAll,
        Op::Copy(1, 1000, 2, 5000, 120_000),
        Op::Zero(1, 0, 65_536),
        Op::Sync(2),
        Op::Delete(1),
        Op::Write(1, vec![(0, 100, 8)]),
        Op::Sync(1),
    ]
});

/// The same of chunks that are small for a while.
pub(super) static GROWING: LazyLock<Vec<Op>> = LazyLock::new(|| {
    vec![
        Op::Write(1, vec![(0, 4096, 1)]),
        Op::Sync(1),
        Op::Write(1, vec![(4096, 4096, 2), (100, 50, 3)]),
        Op::Write(2, vec![(10, 500, 4)]),
        Op::Punch(1, 1000, 200),
        Op::Sync(1),
        Op::Write(1, vec![(8192, 100_000, 5)]),
        Op::Write(2, vec![(510, 20_000, 6)]),
        Op::Sync(1),
        Op::Write(1, vec![(50, 10, 7)]),
        Op::Cut(1, 3000),
        Op::Sync(2),
        Op::Write(3, vec![(0, 10, 8), (20_000, 10, 9)]),
        Op::Write(1, vec![(3000, 10, 9)]),
        Op::Sync(1),
        Op::Truncate(2, 100),
        Op::SyncAll,
        Op::Delete(1),
        Op::Write(1, vec![(0, 16_384, 1)]),
        Op::Cut(1, 5000),
        Op::Truncate(1, 16_385),
        Op::Sync(1),
        Op::Delete(2),
        Op::Write(2, vec![(0, 10, 1)]),
        Op::Allocate(2, 0, 50_000),
        Op::Sync(2),
    ]
});

/// Does some work and dies in the middle of it; then everything must be readable and possible.
/// Answers whether the work was long enough to die in.
fn die_during(ops: &[Op], rounds: &[(u64, Death)], seed: u64) -> bool {
    let world = World::new(seed);
    let (mut model, keys) = (Model::default(), Keys::default());
    let mut died = false;
    for &(steps, death) in rounds {
        world.live_on();
        let store = start(&world);
        world.die_after(steps);
        for op in ops {
            let done = op.run(&store, &keys);
            if world.is_dead() {
                died = true;
                let before: Vec<usize> = (1..4).map(|ino| model.depth(ino)).collect();
                model.run_in_vain(op);
                world.reboot(death);
                check(&world, &mut model, &keys, &before, death);
                break;
            }
            done.unwrap_or_else(|error| panic!("{op:?} failed: {error}"));
            model.run(op);
        }
    }
    died
}

fn check(world: &Arc<World>, model: &mut Model, keys: &Keys, before: &[usize], death: Death) {
    let store = start(world);
    store.inspect().unwrap();
    for (ino, before) in (1..4).zip(before) {
        let found = model::read(&store, &keys.of(ino))
            .unwrap_or_else(|error| panic!("after {death:?}, chunk {ino}: {error}"));
        // What was acknowledged of versions is durable.
        if let Ok(stat) = store.stat(&keys.of(ino)) {
            assert!((keys.version(ino)..keys.version(ino) + 2).contains(&stat.version));
            keys.learn(ino, stat.version);
            // What a power cut may have taken is cut off, so that the work can go on.
            let at = ChunkVersion::of(stat.version);
            store.truncate(&keys.of(ino), &at, stat.length).unwrap();
        }
        // A kill loses nothing that was acknowledged: the last contents, or those that were on
        // their way. A power cut may bring back any since the last sync.
        let depth = match death {
            Death::Kill => model.depth(ino) - before + 1,
            Death::PowerCut => model.depth(ino),
        };
        model.settle(ino, found, depth);
    }
}

fn deaths() -> impl Strategy<Value = Death> {
    any::<bool>().prop_map(|kill| if kill { Death::Kill } else { Death::PowerCut })
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn no_crash_makes_a_block_unreadable(
        ops in prop::collection::vec(any_op(), 1..12),
        rounds in prop::collection::vec((0..40u64, deaths()), 1..4),
        seed in any::<u64>(),
    ) {
        die_during(&ops, &rounds, seed);
    }

    #[test]
    fn work_has_the_effects_of_the_model(
        ops in prop::collection::vec(any_op(), 1..20), reopen in any::<bool>(),
    ) {
        let world = World::new(0);
        let mut store = start(&world);
        let (mut model, keys) = (Model::default(), Keys::default());
        for op in &ops {
            op.run(&store, &keys).unwrap();
            model.run(op);
            if reopen {
                drop(store);
                store = start(&world);
            }
        }
        for ino in 1..4 {
            let found = model::read(&store, &keys.of(ino)).unwrap();
            prop_assert_eq!(found == model.now(ino), true, "chunk {} differs", ino);
        }
    }
}

#[test]
fn every_step_of_a_long_piece_of_work_can_be_the_last() {
    die_at_every_step(&LONG, 50);
}

#[test]
fn every_step_of_growing_can_be_the_last() {
    die_at_every_step(&GROWING, 50);
}

fn die_at_every_step(ops: &[Op], least: u64) {
    let mut steps = 0;
    while die_during(ops, &[(steps, Death::Kill)], steps) {
        for seed in 0..8 {
            die_during(ops, &[(steps, Death::PowerCut)], steps * 100 + seed);
        }
        steps += 1;
    }
    assert!(steps > least, "only {steps} steps were seen");
}
