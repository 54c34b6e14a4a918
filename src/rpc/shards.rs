//! Threads that each drive tasks of their own: a connection and what its calls do stay on one.
//!
//! A runtime that moves tasks between its threads wakes a second thread for nearly every small
//! call, to look whether there is more to do. On two cores that was measured to cost as much as the
//! calls themselves. So connections are dealt out to as many threads as there are processors, and
//! whatever would keep such a thread from its other connections goes to the runtime of the program.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::{Builder, EnterGuard, Handle};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::limits;

/// The threads of this process. They run until it ends.
static SHARDS: LazyLock<Vec<Handle>> = LazyLock::new(start);

/// Counts what was dealt out.
static DEALT: AtomicUsize = AtomicUsize::new(0);

/// The [`Turn`]s that each has now.
static TURNS: LazyLock<Vec<AtomicUsize>> =
    LazyLock::new(|| SHARDS.iter().map(|_| AtomicUsize::new(0)).collect());

/// How often the thread of a shard that has work looks at its clock.
const TICK: Duration = Duration::from_millis(100);

thread_local! {
    static CURRENT: Cell<Option<Shard>> = const { Cell::new(None) };
    /// Whether the thread only acts for its shard.
    static IS_GUEST: Cell<bool> = const { Cell::new(false) };
    /// Whether there was work since the last tick of the thread, which is that of a shard.
    static IS_BUSY: Cell<bool> = const { Cell::new(false) };
    /// Begins the ticks again.
    static WORK: Arc<Notify> = Arc::default();
}

/// One of the threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard(usize);

/// While it lives, tasks and sockets that the calling thread makes belong to a shard.
pub struct Entered<'a> {
    before: (Option<Shard>, bool),
    _runtime: EnterGuard<'a>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let (shard, is_guest) = self.before;
        CURRENT.set(shard);
        IS_GUEST.set(is_guest);
    }
}

/// A piece of work that a shard has, for as long as this lives.
#[derive(Debug)]
pub struct Turn(Shard);

impl Turn {
    /// Gives a piece of work to the shard that has least to do, and to the first of several: who works
    /// alone finds its connections and caches warm. `None` if the system gave no threads.
    #[must_use]
    pub fn begin() -> Option<Self> {
        let least = TURNS.iter().enumerate().min_by_key(|(_, turns)| turns.load(Ordering::Relaxed));
        least.map(|(number, turns)| {
            turns.fetch_add(1, Ordering::Relaxed);
            Self(Shard(number))
        })
    }

    /// Which shard has it.
    #[must_use]
    pub fn shard(&self) -> Shard {
        self.0
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURNS[self.0.number()].fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shard {
    /// The next one in turn. `None` if the system gave no threads: the runtime of the program has
    /// to do.
    #[must_use]
    pub fn next() -> Option<Self> {
        let count = SHARDS.len();
        (count > 0).then(|| Self(DEALT.fetch_add(1, Ordering::Relaxed) % count))
    }

    /// That of the calling thread, or the one that it has entered.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.get()
    }

    /// Each of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::count()).map(Self)
    }

    /// How many there are.
    #[must_use]
    pub fn count() -> usize {
        SHARDS.len()
    }

    /// Its number, below [`Self::count`].
    #[must_use]
    pub fn number(self) -> usize {
        self.0
    }

    /// Its runtime.
    #[must_use]
    pub fn runtime(self) -> &'static Handle {
        &SHARDS[self.0]
    }

    /// Lets the calling thread act for it.
    #[must_use]
    pub fn enter(self) -> Entered<'static> {
        let before = (CURRENT.replace(Some(self)), IS_GUEST.replace(true));
        Entered { before, _runtime: self.runtime().enter() }
    }
}

/// Does not return in a thread that has only entered its shard. For a future that is looked at there
/// for what needs nobody else, and then becomes a task of the shard: whatever goes on behind this
/// wakes the shard's thread once, and not for every socket and timer that it touches.
pub async fn at_home() {
    poll_fn(|_| if IS_GUEST.get() { Poll::Pending } else { Poll::Ready(()) }).await;
    if !IS_BUSY.replace(true) {
        WORK.with(|work| work.notify_one());
    }
}

/// Ticks while there is work. A runtime whose next timer is far away interrupts its own wait, by two
/// system calls, for each one that is nearer, and calls set several that never come to their end. With
/// a tick always about to come none of them is the nearest.
async fn tick() {
    let work = WORK.with(Arc::clone);
    loop {
        work.notified().await;
        while IS_BUSY.take() {
            tokio::time::sleep(TICK).await;
        }
    }
}

/// Runs a task on the next shard in turn.
pub fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    match Shard::next() {
        Some(shard) => shard.runtime().spawn(task),
        None => tokio::spawn(task),
    }
}

fn start() -> Vec<Handle> {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let started = (0..processors.min(limits::SHARDS_MAX)).map(start_one);
    // Without a thread of its own each, fewer do it as well.
    started.map_while(Result::ok).collect()
}

fn start_one(number: usize) -> std::io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new().name(format!("shard-{number}")).spawn(move || {
        CURRENT.set(Some(Shard(number)));
        runtime.block_on(tick());
    })?;
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::{Shard, Turn, at_home, spawn};

    #[test]
    fn work_goes_where_there_is_least() {
        let turns: Vec<_> = (0..2 * Shard::count()).map(|_| Turn::begin().unwrap()).collect();
        for number in 0..Shard::count() {
            let there = turns.iter().filter(|turn| turn.shard().number() == number).count();
            assert_eq!(there, 2);
        }
        let last = turns.last().unwrap().shard();
        drop(turns);
        let first = Turn::begin().unwrap().shard();
        assert_eq!(first.number(), 0);
        assert_eq!(last.number(), Shard::count() - 1);
    }

    #[tokio::test]
    async fn a_task_stays_on_its_shard() {
        let (first, second) = spawn(async {
            let first = Shard::current();
            tokio::task::yield_now().await;
            (first, tokio::spawn(async { Shard::current() }).await.unwrap())
        })
        .await
        .unwrap();
        assert!(first.is_some());
        assert_eq!(first, second);
    }

    #[tokio::test]
    async fn what_a_guest_begins_goes_on_at_home() {
        let shard = Shard::next().unwrap();
        let mut work = Box::pin(async {
            at_home().await;
            Shard::current()
        });
        {
            let _entered = shard.enter();
            assert!(work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!(shard.runtime().spawn(work).await.unwrap(), Some(shard));
    }

    #[test]
    fn who_enters_a_shard_acts_for_it() {
        let shard = Shard::next().unwrap();
        assert_eq!(Shard::current(), None);
        {
            let _entered = shard.enter();
            assert_eq!(Shard::current(), Some(shard));
        }
        assert_eq!(Shard::current(), None);
    }
}
