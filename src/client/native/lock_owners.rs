//! Who may have locks on files through this mount, and through which handles.
//!
//! The kernel names the owner of a lock by an address: that of a table of descriptors for
//! `fcntl(2)`, that of an open file for `flock(2)` and for locks of open file descriptions. An address
//! is in use again as soon as it is free, and the release of the file that had it arrives some time
//! after its `close`. So an owner is known here by the handles that it locked through as well: it
//! leaves with the last of them, and who comes under the same address while it leaves is another.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::time::timeout;

use super::lock;
use crate::client::vfs::Handle;
use crate::limits;
use crate::types::Ino;

/// All owners.
#[derive(Default)]
pub(super) struct LockOwners {
    files: Mutex<HashMap<Ino, FileLocks>>,
    /// Counts owners that left.
    leaves: AtomicU64,
    /// The last number that the kernel did not give.
    last_number: AtomicU64,
    /// Told of whenever the locks of somebody who leaves are free.
    freed: Notify,
}

#[derive(Default)]
struct FileLocks {
    /// By the kernel's number.
    owners: HashMap<u64, Owner>,
    leaving: Vec<Leaving>,
}

struct Owner {
    /// The number that the master knows.
    number: u64,
    handles: Vec<Through>,
    /// Calls for it that are under way.
    calls: u32,
    /// Calls that gave it a lock, or may have.
    grants: u64,
    /// Whether it may have a lock at the master.
    may_hold: bool,
}

/// A handle that an owner locks through.
struct Through {
    handle: Handle,
    /// Calls through it that are under way.
    calls: u32,
    /// Whether one of them gave a lock, or may have.
    may_hold: bool,
}

/// Somebody who has gone and whose locks the master may still have.
struct Leaving {
    number: u64,
    /// It could not be told; it will be, with the next renewal of the session.
    is_late: bool,
}

/// A call about a lock that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockCall {
    ino: Ino,
    owner: u64,
    /// The handle, unless it takes locks away.
    handle: Option<Handle>,
    /// The owner's number at the master.
    pub(super) number: u64,
    grants: u64,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockOutcome {
    /// The owner has a lock, or may have one.
    Held,
    /// Nothing has changed.
    Refused,
    /// The owner has no lock on the file any more.
    Cleared,
}

impl Owner {
    fn through(&mut self, handle: Option<Handle>) -> Option<&mut Through> {
        self.handles.iter_mut().find(|through| Some(through.handle) == handle)
    }

    /// One of its calls has ended. A handle that it has no lock through is none of its any more.
    fn end(&mut self, call: &LockCall, outcome: LockOutcome) {
        self.calls -= 1;
        if let Some(through) = self.through(call.handle) {
            through.calls = through.calls.saturating_sub(1);
            through.may_hold |= outcome == LockOutcome::Held;
        }
        match outcome {
            LockOutcome::Held => {
                self.grants += 1;
                self.may_hold = true;
            }
            // Not if another call gave it a lock meanwhile.
            LockOutcome::Cleared if self.grants == call.grants => self.has_lost_all(),
            LockOutcome::Cleared | LockOutcome::Refused => {}
        }
        self.handles.retain(|through| through.calls > 0 || through.may_hold);
    }

    fn has_lost_all(&mut self) {
        self.may_hold = false;
        self.handles.iter_mut().for_each(|through| through.may_hold = false);
    }
}

impl LockOwners {
    /// Notes a call before it is made: if its answer gets lost, there may be a lock.
    pub(super) fn begin(&self, ino: Ino, owner: u64, handle: Handle) -> LockCall {
        let mut files = lock(&self.files);
        let file = files.entry(ino).or_default();
        let is_taken = file.leaving.iter().any(|leaving| leaving.number == owner);
        let new = || Owner {
            number: if is_taken { self.fresh_number() } else { owner },
            handles: Vec::new(),
            calls: 0,
            grants: 0,
            may_hold: false,
        };
        let known = file.owners.entry(owner).or_insert_with(new);
        known.calls += 1;
        match known.through(Some(handle)) {
            Some(through) => through.calls += 1,
            None => known.handles.push(Through { handle, calls: 1, may_hold: false }),
        }
        LockCall { ino, owner, handle: Some(handle), number: known.number, grants: known.grants }
    }

    /// The same for a call that takes locks away; `None` if there are none.
    pub(super) fn begin_clearing(&self, ino: Ino, owner: u64) -> Option<LockCall> {
        let mut files = lock(&self.files);
        let known = files.get_mut(&ino)?.owners.get_mut(&owner)?;
        known.calls += 1;
        Some(LockCall { ino, owner, handle: None, number: known.number, grants: known.grants })
    }

    /// A call has ended.
    pub(super) fn end(&self, call: LockCall, outcome: LockOutcome) {
        let mut files = lock(&self.files);
        let file = files.entry(call.ino).or_default();
        let known = file.owners.get_mut(&call.owner).filter(|known| known.number == call.number);
        if let Some(known) = known {
            known.end(&call, outcome);
            if known.calls == 0 && (!known.may_hold || known.handles.is_empty()) {
                // It may have a lock through a handle that has gone meanwhile.
                let number = known.may_hold.then_some(known.number);
                file.leaving.extend(number.map(|number| Leaving { number, is_late: true }));
                file.owners.remove(&call.owner);
            }
        } else if outcome == LockOutcome::Held {
            // Whoever wanted it has left meanwhile.
            file.leaving.push(Leaving { number: call.number, is_late: true });
        }
        forget_if_empty(&mut files, call.ino);
    }

    /// The number under which the master may know an owner.
    pub(super) fn number(&self, ino: Ino, owner: u64) -> u64 {
        let files = lock(&self.files);
        let known = files.get(&ino).and_then(|file| file.owners.get(&owner));
        known.map_or(owner, |known| known.number)
    }

    /// An owner gives up all its locks on a file: its number, if it may have some. The caller frees
    /// them and says so with [`Self::freed`] or [`Self::is_late`].
    pub(super) fn leave(&self, ino: Ino, owner: u64) -> Option<u64> {
        let mut files = lock(&self.files);
        let file = files.get_mut(&ino)?;
        let known = file.owners.get(&owner)?;
        let number = known.number;
        // One that waits for a lock in another thread goes on waiting.
        if known.calls == 0 {
            file.owners.remove(&owner);
            file.leaving.push(Leaving { number, is_late: false });
        }
        self.leaves.fetch_add(1, Ordering::AcqRel);
        Some(number)
    }

    /// A handle is gone, and with it all who locked through no other: their numbers. The caller does
    /// as after [`Self::leave`].
    pub(super) fn leave_handle(&self, ino: Ino, handle: Handle) -> Vec<u64> {
        let mut files = lock(&self.files);
        let Some(file) = files.get_mut(&ino) else { return Vec::new() };
        let gone = file.owners.extract_if(|_, known| {
            known.handles.retain(|through| through.handle != handle);
            known.handles.is_empty()
        });
        let gone: Vec<u64> = gone.map(|(_, known)| known.number).collect();
        file.leaving.extend(gone.iter().map(|number| Leaving { number: *number, is_late: false }));
        self.leaves.fetch_add(gone.len() as u64, Ordering::AcqRel);
        gone
    }

    /// The locks of somebody who leaves are free.
    pub(super) fn freed(&self, ino: Ino, number: u64) {
        let mut files = lock(&self.files);
        if let Some(file) = files.get_mut(&ino) {
            file.leaving.retain(|leaving| leaving.number != number);
            forget_if_empty(&mut files, ino);
        }
        drop(files);
        self.freed.notify_waiters();
    }

    /// The locks of somebody who leaves could not be freed yet.
    pub(super) fn is_late(&self, ino: Ino, number: u64) {
        if let Some(file) = lock(&self.files).get_mut(&ino) {
            let them = file.leaving.iter_mut().filter(|leaving| leaving.number == number);
            them.for_each(|leaving| leaving.is_late = true);
        }
        self.freed.notify_waiters();
    }

    /// Those whose locks are still to be freed.
    pub(super) fn late(&self) -> Vec<(Ino, u64)> {
        let files = lock(&self.files);
        let late = files.iter().flat_map(|(ino, file)| {
            let late = file.leaving.iter().filter(|leaving| leaving.is_late);
            late.map(|leaving| (*ino, leaving.number))
        });
        late.collect()
    }

    /// Counts owners that left, of any file.
    pub(super) fn leaves(&self) -> u64 {
        self.leaves.load(Ordering::Acquire)
    }

    /// Returns when all who are leaving the file have left, or after [`limits::LOCK_LEAVE_WAIT`]: the
    /// master then tells whether they are in the way.
    pub(super) async fn settled(&self, ino: Ino) {
        let all_left = async {
            loop {
                let mut freed = std::pin::pin!(self.freed.notified());
                // Registered before looking, so that nobody leaves in between.
                freed.as_mut().enable();
                if !self.is_anybody_leaving(ino) {
                    return;
                }
                freed.await;
            }
        };
        timeout(limits::LOCK_LEAVE_WAIT, all_left).await.ok();
    }

    fn is_anybody_leaving(&self, ino: Ino) -> bool {
        let files = lock(&self.files);
        files.get(&ino).is_some_and(|file| file.leaving.iter().any(|leaving| !leaving.is_late))
    }

    /// Whether anybody may have a lock on the file.
    pub(super) fn has_file(&self, ino: Ino) -> bool {
        lock(&self.files).get(&ino).is_some_and(|file| !file.owners.is_empty())
    }

    /// Whether nobody has locks.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.files).is_empty()
    }

    /// All locks are lost. Answers the files of those who may have had some. Calls that are under way
    /// are made once more.
    pub(super) fn lose(&self) -> Vec<Ino> {
        let mut files = lock(&self.files);
        let had_some = |file: &FileLocks| file.owners.values().any(|known| known.may_hold);
        let lost = files.iter().filter(|(_, file)| had_some(file)).map(|(ino, _)| *ino).collect();
        files.retain(|_, file| {
            file.leaving.clear();
            file.owners.retain(|_, known| known.calls > 0);
            file.owners.values_mut().for_each(Owner::has_lost_all);
            !file.owners.is_empty()
        });
        drop(files);
        self.freed.notify_waiters();
        lost
    }

    fn fresh_number(&self) -> u64 {
        self.last_number.fetch_add(1, Ordering::Relaxed) + 1
    }
}

fn forget_if_empty(files: &mut HashMap<Ino, FileLocks>, ino: Ino) {
    if files.get(&ino).is_some_and(|file| file.owners.is_empty() && file.leaving.is_empty()) {
        files.remove(&ino);
    }
}

#[cfg(test)]
mod tests {
    use super::{LockOutcome, LockOwners};
    use crate::client::vfs::Handle;
    use crate::types::Ino;

    const FILE: Ino = Ino(7);
    const ADDRESS: u64 = 0xffff_8880;
    const OLD: Handle = Handle(1);
    const NEW: Handle = Handle(2);

    fn locked_through(owners: &LockOwners, handle: Handle) -> u64 {
        let call = owners.begin(FILE, ADDRESS, handle);
        owners.end(call, LockOutcome::Held);
        call.number
    }

    #[test]
    fn who_comes_under_the_address_of_one_who_leaves_is_another() {
        let owners = LockOwners::default();
        let old = locked_through(&owners, OLD);
        assert_eq!(owners.leave_handle(FILE, OLD), [old]);
        let new = locked_through(&owners, NEW);
        assert_ne!(new, old, "freeing the old one's locks would free the new one's");
        owners.freed(FILE, old);
        assert_eq!(owners.number(FILE, ADDRESS), new);
        assert_eq!(owners.leave_handle(FILE, NEW), [new]);
        owners.freed(FILE, new);
        assert!(owners.is_empty());
    }

    #[test]
    fn a_release_that_is_overtaken_takes_no_lock_away() {
        let owners = LockOwners::default();
        let old = locked_through(&owners, OLD);
        assert_eq!(locked_through(&owners, NEW), old, "a process may lock through two descriptors");
        assert!(owners.leave_handle(FILE, OLD).is_empty());
        assert_eq!(owners.leave_handle(FILE, NEW), [old]);
    }

    #[test]
    fn who_is_refused_keeps_no_lock_of_another_under_its_address() {
        let owners = LockOwners::default();
        let old = locked_through(&owners, OLD);
        owners.end(owners.begin(FILE, ADDRESS, NEW), LockOutcome::Refused);
        assert_eq!(owners.leave_handle(FILE, OLD), [old]);
        owners.freed(FILE, old);
        assert!(owners.is_empty());
        // The release may also come while the new one still asks.
        let old = locked_through(&owners, OLD);
        let asking = owners.begin(FILE, ADDRESS, NEW);
        assert!(owners.leave_handle(FILE, OLD).is_empty());
        owners.end(asking, LockOutcome::Refused);
        assert_eq!(owners.late(), [(FILE, old)]);
    }

    #[test]
    fn a_handle_with_a_lock_keeps_it_when_it_is_refused_another() {
        let owners = LockOwners::default();
        let number = locked_through(&owners, OLD);
        owners.end(owners.begin(FILE, ADDRESS, OLD), LockOutcome::Refused);
        assert_eq!(owners.leave_handle(FILE, OLD), [number]);
    }

    #[test]
    fn who_got_nothing_costs_nothing() {
        let owners = LockOwners::default();
        owners.end(owners.begin(FILE, ADDRESS, OLD), LockOutcome::Refused);
        assert!(owners.is_empty() && owners.begin_clearing(FILE, ADDRESS).is_none());
        locked_through(&owners, OLD);
        let clearing = owners.begin_clearing(FILE, ADDRESS).unwrap();
        locked_through(&owners, OLD);
        owners.end(clearing, LockOutcome::Cleared);
        assert!(owners.has_file(FILE), "a lock that came meanwhile may be there");
        owners.end(owners.begin_clearing(FILE, ADDRESS).unwrap(), LockOutcome::Cleared);
        assert!(owners.is_empty());
    }

    #[test]
    fn a_lock_that_nobody_waits_for_any_more_is_freed_later() {
        let owners = LockOwners::default();
        let call = owners.begin(FILE, ADDRESS, OLD);
        assert_eq!(owners.leave_handle(FILE, OLD), [call.number]);
        owners.freed(FILE, call.number);
        owners.end(call, LockOutcome::Held);
        assert_eq!(owners.late(), [(FILE, call.number)]);
        owners.freed(FILE, call.number);
        assert!(owners.is_empty());
    }

    #[test]
    fn who_asks_while_locks_are_lost_has_lost_none() {
        let owners = LockOwners::default();
        let asking = owners.begin(FILE, ADDRESS, OLD);
        assert!(owners.lose().is_empty());
        owners.end(asking, LockOutcome::Held);
        assert_eq!(owners.lose(), [FILE]);
        assert!(owners.is_empty());
    }

    #[test]
    fn a_process_that_waits_in_another_thread_is_still_known_after_a_close() {
        let owners = LockOwners::default();
        let waiting = owners.begin(FILE, ADDRESS, NEW);
        assert_eq!(owners.leave(FILE, ADDRESS), Some(waiting.number));
        owners.freed(FILE, waiting.number);
        owners.end(waiting, LockOutcome::Held);
        assert_eq!(owners.leave_handle(FILE, NEW), [waiting.number]);
    }

    #[tokio::test]
    async fn who_locks_waits_for_those_who_leave_and_not_for_those_who_stay() {
        let owners = LockOwners::default();
        let staying = locked_through(&owners, NEW);
        owners.settled(FILE).await;
        let call = owners.begin(FILE, ADDRESS + 1, OLD);
        owners.end(call, LockOutcome::Held);
        assert_eq!(owners.leave_handle(FILE, OLD), [call.number]);
        let settled = owners.settled(FILE);
        tokio::pin!(settled);
        assert!(futures_poll(settled.as_mut()).is_none());
        owners.freed(FILE, call.number);
        settled.await;
        assert_eq!(owners.number(FILE, ADDRESS), staying);
    }

    /// What a future gives at once.
    fn futures_poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut context) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        }
    }
}
