//! The namespace against the machine's own file system: the same operations by the same users have
//! the same answers, errno included, leave the same attributes, and change the same times.

use proptest::prelude::{ProptestConfig, proptest};
use proptest::test_runner::TestCaseError;

use super::kernel::Kernel;
use super::ops::{Answer, Op, Subject, sequences, users};
use super::sequences::{Real, time_of};
use crate::store::Memory;
use crate::types::{Access, Attr, Credentials, FileKind, FileTime, Ino, SetAttr};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_namespace_agrees_with_the_machine(sequence in sequences()) {
        // Who the thread acts as must not matter to any other test.
        let compared = std::thread::spawn(move || agrees_with_machine(&sequence)).join();
        if let Err(panic) = compared {
            let message = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            return Err(TestCaseError::fail(message));
        }
    }
}

fn agrees_with_machine(sequence: &[(usize, Op)]) {
    let mut kernel = match Kernel::new() {
        Ok(kernel) => kernel,
        Err(reason) => return eprintln!("SKIPPED, nothing was compared: {reason}"),
    };
    let mut real = Real::new(Memory::default(), time_of(0));
    let users = users();
    for (step, (user, op)) in sequence.iter().enumerate() {
        let who = &users[*user];
        if !is_comparable(&mut real, &kernel, who, op) {
            continue;
        }
        let before = states(&mut real, &mut kernel);
        let expected = kernel.apply(who, op, time_of(step + 1)).map(comparable);
        let answer = real.apply(who, op, time_of(step + 1)).map(comparable);
        assert_eq!(answer, expected, "step {step}: {op:?} by {}", who.uid);
        for (old, new) in before.iter().zip(states(&mut real, &mut kernel)) {
            let Some((own, theirs)) = &new else { continue };
            let what = format!("step {step}: inode {} after {op:?} by {}", own.ino, who.uid);
            assert_eq!(without_times(own), without_times(theirs), "{what}");
            if let (Some((own_old, their_old)), true) = (old, kernel.has_fine_times) {
                assert_eq!(changes(own_old, own), changes(their_old, theirs), "{what}: times");
            }
        }
    }
}

type Pair = Option<(Attr, Attr)>;

fn states(real: &mut Real<Memory>, kernel: &mut Kernel) -> Vec<Pair> {
    let state = |ino| Some((real.state(ino)?, kernel.state(ino).expect("both have it")));
    (1..200).map(Ino).map(state).collect()
}

/// Which of the times an operation changed: contents, attributes.
fn changes(before: &Attr, after: &Attr) -> (bool, bool) {
    (before.mtime != after.mtime, before.ctime != after.ctime)
}

/// Times are comparable only if they were set.
fn without_times(attr: &Attr) -> Attr {
    let chosen = 1_000_000_000..1_000_000_010;
    let keep =
        |time: FileTime| if chosen.contains(&time.seconds) { time } else { FileTime::default() };
    Attr {
        size: if attr.kind == FileKind::Directory { 0 } else { attr.size },
        // The machine sets it when it reads.
        atime: FileTime::default(),
        mtime: keep(attr.mtime),
        ctime: FileTime::default(),
        ..attr.clone()
    }
}

fn comparable(answer: Answer) -> Answer {
    match answer {
        Answer::Attr(attr) => Answer::Attr(without_times(&attr)),
        Answer::Created(attr, is_new) => Answer::Created(without_times(&attr), is_new),
        other => other,
    }
}

/// Whether the operation can be said in system calls, and is not one where Linux looks at more than
/// the file system.
fn is_comparable(real: &mut Real<Memory>, kernel: &Kernel, who: &Credentials, op: &Op) -> bool {
    let mut state = |ino: &Ino| real.state(*ino);
    let opens = |attr: &Attr| {
        matches!(attr.kind, FileKind::Regular | FileKind::Directory | FileKind::Symlink)
    };
    let can_open = |wanted: &Access| !wanted.includes(Access::EXECUTE) && *wanted != Access::NONE;
    match op {
        Op::Lookup((dir, _))
        | Op::Mkdir((dir, _), _)
        | Op::Mknod((dir, _), ..)
        | Op::Symlink((dir, _), _)
        | Op::Unlink((dir, _))
        | Op::Rmdir((dir, _)) => state(dir).is_some(),
        Op::Rename((from, _), (to, _), _) => state(from).is_some() && state(to).is_some(),
        Op::Create { place, wanted, .. } => state(&place.0).is_some_and(|directory| {
            // In a sticky directory Linux protects some from opening what others made.
            let is_sticky = directory.mode & 0o1000 != 0;
            let may_open =
                |attr: Attr| opens(&attr) && !(is_sticky && attr.kind == FileKind::Symlink);
            let target = kernel.find(place).and_then(|ino| state(&ino));
            can_open(wanted) && target.is_none_or(may_open)
        }),
        // The sysctl `fs.protected_hardlinks` keeps others from linking.
        Op::Link(ino, (dir, _)) => {
            let owner = state(ino).map(|attr| attr.uid);
            state(dir).is_some() && owner.is_some_and(|uid| who.uid == 0 || who.uid == uid)
        }
        Op::Open(ino, wanted) => can_open(wanted) && state(ino).is_some_and(|attr| opens(&attr)),
        Op::Readlink(ino) => state(ino).is_some_and(|attr| attr.kind == FileKind::Symlink),
        Op::Setattr(ino, set) => match state(ino) {
            None => false,
            Some(attr) => {
                let is_asked = *set != SetAttr::default();
                let opens_to_cut = matches!(attr.kind, FileKind::Regular | FileKind::Directory);
                is_asked && (set.size.is_none() || opens_to_cut)
            }
        },
        Op::Append(ino, length) => {
            let is_regular = state(ino).is_some_and(|attr| attr.kind == FileKind::Regular);
            let may = Op::Open(*ino, Access::WRITE);
            is_regular && *length > 0 && real.apply(who, &may, FileTime::default()).is_ok()
        }
        Op::Reap(ino) => state(ino).is_some_and(|attr| attr.nlink == 0),
        Op::Access(ino, _)
        | Op::Readdir(ino)
        | Op::Setxattr(ino, ..)
        | Op::Getxattr(ino, _)
        | Op::Listxattr(ino)
        | Op::Removexattr(ino, _)
        | Op::SetAcl(ino, ..) => state(ino).is_some(),
    }
}
