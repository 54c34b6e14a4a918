//! Random sequences of operations: the namespace answers as the model does, errors included, and
//! the file system of the machine as both.

use proptest::prelude::{ProptestConfig, proptest};

use super::model::Model;
use super::ops::{Answer, Op, Outcome, Subject, sequences, users};
use super::store::Engine;
use crate::error::Result;
use crate::master::namespace::{
    CreateOpen, Effects, Namespace, PageRequest, RootAttr, TABLES, View,
};
use crate::store::{Memory, Store};
use crate::types::{Attr, Change, Cookie, Credentials, DirPage, FileTime, Ino};

/// The namespace over a store, as a [`Subject`].
pub(super) struct Real<S> {
    store: S,
    pub(super) effects: Effects,
}

impl<S: Engine> Real<S> {
    pub(super) fn new(mut store: S, now: FileTime) -> Self {
        let root = RootAttr { mode: 0o777, uid: 0, gid: 0 };
        store.transact(|txn| Namespace::new(txn, now).format(0, root)).unwrap();
        Self { store, effects: Effects::default() }
    }

    pub(super) fn check(&self) -> Vec<String> {
        self.store.look(|txn| View::new(txn).check()).unwrap()
    }

    fn question(view: View<'_>, who: &Credentials, op: &Op) -> Option<Result<Answer>> {
        Some(match op {
            Op::Lookup((dir, name)) => view.lookup(who, *dir, name).map(Answer::Attr),
            Op::Access(ino, wanted) => view.access(who, *ino, *wanted).map(|()| Answer::Done),
            Op::Open(ino, wanted) => view.open(who, *ino, *wanted).map(|_| Answer::Done),
            Op::Readdir(ino) => list(view, *ino),
            Op::Readlink(ino) => view.readlink(*ino).map(Answer::Value),
            Op::Getxattr(ino, name) => view.getxattr(who, *ino, name.as_bytes()).map(Answer::Value),
            Op::Listxattr(ino) => view.listxattr(who, *ino).map(Answer::Keys),
            _ => return None,
        })
    }

    fn change(ns: &mut Namespace<'_>, who: &Credentials, op: &Op) -> Result<Answer> {
        match op {
            Op::Create { place: (dir, name), mode, is_exclusive, wanted } => {
                let open = CreateOpen { is_exclusive: *is_exclusive, wanted: *wanted };
                ns.create(who, *dir, name, *mode, open)
                    .map(|(attr, new)| Answer::Created(attr, new))
            }
            Op::Mkdir((dir, name), mode) => ns.mkdir(who, *dir, name, *mode).map(Answer::Attr),
            Op::Mknod((dir, name), kind, mode) => {
                ns.mknod(who, *dir, name, *kind, *mode, 0x0103).map(Answer::Attr)
            }
            Op::Symlink((dir, name), target) => {
                ns.symlink(who, *dir, name, target.clone()).map(Answer::Attr)
            }
            Op::Link(ino, (dir, name)) => ns.link(who, *ino, *dir, name).map(Answer::Attr),
            Op::Unlink((dir, name)) => ns.unlink(who, *dir, name).map(Answer::Attr),
            Op::Rmdir((dir, name)) => ns.rmdir(who, *dir, name).map(Answer::Attr),
            Op::Rename(from, to, mode) => {
                let (from, to) = ((from.0, &from.1), (to.0, &to.1));
                ns.rename(who, from, to, *mode).map(|()| Answer::Done)
            }
            Op::Setattr(ino, set) => ns.setattr(who, *ino, set).map(Answer::Attr),
            Op::Setxattr(ino, name, value, mode) => {
                ns.setxattr(who, *ino, name.as_bytes(), value, *mode).map(|()| Answer::Done)
            }
            Op::Removexattr(ino, name) => {
                ns.removexattr(who, *ino, name.as_bytes()).map(|()| Answer::Done)
            }
            Op::SetAcl(ino, name, acl) => {
                let (name, value) = (name.as_bytes(), acl.encode());
                ns.setxattr(who, *ino, name, &value, Default::default()).map(|()| Answer::Done)
            }
            Op::Append(ino, length) => ns.append(who, *ino, *length).map(Answer::Offset),
            Op::Reap(ino) => ns.reap(*ino).map(|_| Answer::Done),
            _ => unreachable!("it is a question"),
        }
    }
}

/// All entries of a directory, by name, read in pages of two.
fn list(view: View<'_>, directory: Ino) -> Result<Answer> {
    let (mut entries, mut after) = (Vec::new(), Cookie::START);
    loop {
        let request = PageRequest { after, until: None, limit: 2, with_attr: true };
        let page: DirPage = view.readdir(directory, request)?;
        after = page.entries.last().map_or(after, |entry| entry.cookie);
        entries.extend(page.entries.into_iter().map(|entry| (entry.name, entry.ino, entry.kind)));
        if page.is_last {
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            return Ok(Answer::Entries(entries));
        }
    }
}

impl<S: Engine> Subject for Real<S> {
    fn apply(&mut self, who: &Credentials, op: &Op, now: FileTime) -> Outcome {
        self.effects = Effects::default();
        let asked = self.store.look(|txn| Ok(Self::question(View::new(txn), who, op)));
        let answer = match asked.unwrap() {
            Some(answer) => answer,
            None => self.store.transact(|txn| {
                let mut ns = Namespace::new(txn, now);
                let answer = Self::change(&mut ns, who, op)?;
                self.effects = ns.into_effects();
                Ok(answer)
            }),
        };
        answer.map(forget_internals).map_err(|error| error.kind())
    }

    fn state(&mut self, ino: Ino) -> Option<Attr> {
        self.store.look(|txn| View::new(txn).getattr(ino)).ok().map(without_internals)
    }
}

impl<S: Engine> Real<S> {
    /// The version of the contents, which the model does not have.
    fn version(&self, ino: Ino) -> Option<u64> {
        self.store.look(|txn| View::new(txn).getattr(ino)).ok().map(|attr| attr.data_version)
    }
}

/// What no other file system has, or has otherwise.
fn without_internals(attr: Attr) -> Attr {
    Attr {
        generation: 0,
        bytes: 0,
        data_version: 0,
        has_xattrs: false,
        btime: FileTime::default(),
        ..attr
    }
}

fn forget_internals(answer: Answer) -> Answer {
    match answer {
        Answer::Attr(attr) => Answer::Attr(without_internals(attr)),
        Answer::Created(attr, is_new) => Answer::Created(without_internals(attr), is_new),
        other => other,
    }
}

/// The time of a step.
pub(super) fn time_of(step: usize) -> FileTime {
    FileTime { seconds: i64::try_from(step).unwrap(), nanoseconds: 1 }
}

/// Whoever has something cached is told when it changes.
fn assert_told(effects: &Effects, before: Option<&Attr>, after: Option<&Attr>) {
    if before == after {
        return;
    }
    // What is new or gone nobody has cached, except by its name.
    let (Some(before), Some(_)) = (before, after) else { return };
    let ino = before.ino;
    let is_about_it = |change: &Change| match change {
        Change::Attributes(changed) | Change::Contents(changed, _) => *changed == ino,
        Change::Entry(..) => false,
    };
    let is_told = effects.changes.iter().any(is_about_it);
    assert!(is_told, "nobody was told that inode {ino} changed");
}

/// Mounts that know a version of the contents are told of the next one, by its number.
fn assert_version_told(effects: &Effects, ino: Ino, before: Option<u64>, after: Option<u64>) {
    let (Some(before), Some(after)) = (before, after) else { return };
    let told = effects.changes.iter().filter_map(|change| match change {
        Change::Contents(changed, version) if *changed == ino => Some(*version),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    assert!(after >= before, "the version of inode {ino} went from {before} to {after}");
    assert!(before == after || !told.is_empty(), "nobody was told of version {after} of {ino}");
    assert!(told.iter().all(|version| *version == after), "{told:?} was told of {ino}: {after}");
}

/// The suite for any store: the same answers as the model, the same state, all invariants, and
/// every change told, after each step.
pub(super) fn agrees_with_model(store: impl Engine, sequence: &[(usize, Op)]) {
    let (mut real, mut model) = (Real::new(store, time_of(0)), Model::new(time_of(0)));
    let users = users();
    let mut states: Vec<Option<Attr>> = Vec::new();
    let mut versions: Vec<Option<u64>> = Vec::new();
    for (step, (user, op)) in sequence.iter().enumerate() {
        let now = time_of(step + 1);
        let expected = model.apply(&users[*user], op, now);
        let answer = real.apply(&users[*user], op, now);
        assert_eq!(answer, expected, "step {step}: {op:?} by {}", users[*user].uid);
        let last = model.nodes.keys().next_back().map_or(0, |ino| ino.0);
        for ino in (1..=last).map(Ino) {
            let state = real.state(ino);
            assert_eq!(state, model.state(ino), "step {step}: inode {ino} after {op:?}");
            let index = usize::try_from(ino.0).unwrap();
            states.resize(states.len().max(index + 1), None);
            assert_told(&real.effects, states[index].as_ref(), state.as_ref());
            states[index] = state;
            let version = real.version(ino);
            versions.resize(states.len(), None);
            assert_version_told(&real.effects, ino, versions[index], version);
            versions[index] = version;
        }
        assert_eq!(real.check(), Vec::<String>::new(), "step {step}: {op:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_namespace_agrees_with_the_model_in_memory(sequence in sequences()) {
        agrees_with_model(Memory::new(), &sequence);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 8,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_namespace_agrees_with_the_model_on_disk(sequence in sequences()) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), &TABLES).unwrap();
        agrees_with_model(store, &sequence);
    }
}
