//! Tests of the namespace: scenes for each operation, random sequences against a model, and the
//! same sequences against the file system of the machine.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod contents;
mod differential;
mod kernel;
mod listing;
mod lives;
mod model;
mod model_rename;
mod model_rights;
mod names;
mod numbers;
mod ops;
mod rights;
mod sequences;
mod store;
mod xattrs;

use bytes::Bytes;

use crate::error::{ErrorKind, Result};
use crate::types::{Attr, Credentials, FileKind, FileTime, Ino, Name};

use super::{Effects, Namespace, RootAttr, View};
use crate::store::Memory;
use store::Engine;

/// A file system on a [`Memory`], and a clock that ticks with every operation.
struct Scene {
    store: Memory,
    seconds: i64,
    effects: Effects,
}

impl Scene {
    /// An empty file system with a root directory for everybody.
    fn new() -> Self {
        let mut scene = Self { store: Memory::default(), seconds: 0, effects: Effects::default() };
        scene.run(|ns| ns.format(7, RootAttr { mode: 0o777, uid: 0, gid: 0 })).unwrap();
        scene
    }

    /// One operation, one transaction.
    fn run<T>(&mut self, operation: impl FnOnce(&mut Namespace<'_>) -> Result<T>) -> Result<T> {
        self.seconds += 1;
        let now = FileTime { seconds: self.seconds, nanoseconds: 1 };
        let (answer, effects) = self.store.transact(|txn| {
            let mut namespace = Namespace::new(txn, now);
            let answer = operation(&mut namespace)?;
            Ok((answer, namespace.into_effects()))
        })?;
        self.effects = effects;
        assert_eq!(self.store.look(|txn| View::new(txn).check()).unwrap(), Vec::<String>::new());
        Ok(answer)
    }

    fn look<T>(&self, question: impl FnOnce(View<'_>) -> Result<T>) -> Result<T> {
        self.store.look(|txn| question(View::new(txn)))
    }

    fn attr(&self, ino: Ino) -> Attr {
        self.look(|view| view.getattr(ino)).unwrap()
    }

    fn file(&mut self, who: &Credentials, directory: Ino, text: &str, mode: u32) -> Ino {
        let make = |ns: &mut Namespace<'_>| {
            ns.mknod(who, directory, &name(text), FileKind::Regular, mode, 0)
        };
        self.run(make).unwrap().ino
    }

    fn directory(&mut self, who: &Credentials, parent: Ino, text: &str, mode: u32) -> Ino {
        self.run(|ns| ns.mkdir(who, parent, &name(text), mode)).unwrap().ino
    }

    fn chmod(&mut self, ino: Ino, mode: u32) {
        let set = crate::types::SetAttr { mode: Some(mode), ..Default::default() };
        self.run(|ns| ns.setattr(&ROOT, ino, &set)).unwrap();
    }

    /// The seconds of the last operation.
    fn now(&self) -> FileTime {
        FileTime { seconds: self.seconds, nanoseconds: 1 }
    }
}

const ROOT: Credentials = Credentials::ROOT;

fn alice() -> Credentials {
    Credentials { uid: 1001, gid: 2001, groups: vec![3000], umask: 0 }
}

fn bob() -> Credentials {
    Credentials { uid: 1002, gid: 2002, groups: vec![3000], umask: 0 }
}

fn name(text: &str) -> Name {
    Name::new(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

/// The kind of error that an operation ended in.
#[track_caller]
fn refusal<T: std::fmt::Debug>(answer: Result<T>) -> ErrorKind {
    answer.unwrap_err().kind()
}
