//! A disk that refuses a step of some work, whichever: nothing half-made counts as made. Whoever tries
//! again gets what he asked for, and what is synced then survives a power cut.

use std::sync::Arc;

use proptest::prelude::{Just, any, prop, prop_oneof, proptest};

use super::crash::{GROWING, LONG};
use super::model::{self, Image, Keys, Model, Op, any_op};
use super::sim::{Death, Refusal, World};
use super::{NativeStore, cases, start};
use crate::error::{ErrorKind, Result};

/// Times that somebody tries again.
const ATTEMPTS: usize = 8;

/// Does some work, of which the disk refuses some steps in a row. Answers whether it was long enough
/// for that.
fn refuse_during(ops: &[Op], (steps, count): (u64, u64), refusal: Refusal, seed: u64) -> bool {
    let world = World::new(seed);
    let (mut model, keys) = (Model::default(), Keys::default());
    let mut store = start(&world);
    world.refuse_after(steps, count, refusal);
    for op in ops {
        if run(op, &store, &mut model, &keys).is_err() {
            store = restart(&world, store, &mut model, &keys);
        }
    }
    world.refuse_nothing();
    if run(&Op::SyncAll, &store, &mut model, &keys).is_err() {
        store = restart(&world, store, &mut model, &keys);
        run(&Op::SyncAll, &store, &mut model, &keys).unwrap();
    }
    drop(store);
    for death in [Death::PowerCut, Death::Kill] {
        world.reboot(death);
        let store = start(&world);
        store.inspect().unwrap();
        for ino in 1..4 {
            let found = read(&store, &keys, ino).unwrap();
            assert!(found == model.now(ino), "{death:?}: chunk {ino} differs");
        }
    }
    world.has_refused()
}

/// All that a process can do after it has lost its index, or knows no more what a chunk is.
fn restart(world: &Arc<World>, store: NativeStore, model: &mut Model, keys: &Keys) -> NativeStore {
    drop(store);
    world.refuse_nothing();
    world.reboot(Death::Kill);
    let store = start(world);
    observe(&store, model, keys);
    store
}

/// Does one thing, in more attempts if need be, and looks at everything after each that failed.
fn run(op: &Op, store: &NativeStore, model: &mut Model, keys: &Keys) -> Result<()> {
    let mut result = op.run(store, keys);
    if result.is_ok() {
        model.run(op);
        return Ok(());
    }
    if let Op::Cut(..) = op {
        // The master has noted it, and nobody may see what was behind it.
        model.run(op);
    } else {
        model.run_in_vain(op);
    }
    observe(store, model, keys);
    for _ in 0..ATTEMPTS {
        result = match op {
            Op::Cut(ino, _) => store.cut(&keys.of(*ino), &keys.at(*ino)),
            op => op.run(store, keys),
        };
        if result.is_ok() {
            match op {
                Op::Cut(ino, _) => keys.learn(*ino, keys.at(*ino).version),
                op => model.run(op),
            }
            return Ok(());
        }
        observe(store, model, keys);
    }
    result.map(drop)
}

fn read(store: &NativeStore, keys: &Keys, ino: u64) -> Result<Image> {
    model::read_at(store, &keys.of(ino), &keys.at(ino))
}

/// What can be read is what was, or what was to be.
fn observe(store: &NativeStore, model: &mut Model, keys: &Keys) {
    for ino in 1..4 {
        match read(store, keys, ino) {
            Ok(found) => model.observe(ino, found, usize::MAX),
            // To read, a cut may have to be made, which the disk may refuse as well.
            Err(error) => assert_ne!(error.kind(), ErrorKind::Corrupt, "chunk {ino}: {error}"),
        }
    }
}

fn refuse_every_step(ops: &[Op], least: u64) {
    for refusal in [Refusal::Full, Refusal::Failed] {
        let mut steps = 0;
        while refuse_during(ops, (steps, 1 + steps % 3), refusal, steps) {
            steps += 1;
        }
        assert!(steps > least, "only {steps} steps were seen");
    }
}

#[test]
fn every_step_of_a_long_piece_of_work_can_be_refused() {
    refuse_every_step(&LONG, 50);
}

#[test]
fn every_step_of_growing_can_be_refused() {
    refuse_every_step(&GROWING, 50);
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn nothing_half_made_counts_as_made(
        ops in prop::collection::vec(any_op(), 1..12),
        steps in 0..40u64,
        count in 1..4u64,
        refusal in prop_oneof![Just(Refusal::Full), Just(Refusal::Failed)],
        seed in any::<u64>(),
    ) {
        refuse_during(&ops, (steps, count), refusal, seed);
    }
}
