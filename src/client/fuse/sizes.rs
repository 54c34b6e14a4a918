//! The sizes that the kernel takes files to have.
//!
//! An answer to `open` brings no size. The kernel believes the one that it was told last, and looks
//! at it without asking: where a mapping ends, or if the attributes that it asks for come too late.
//! It throws away attributes that were on their way while it was told that they changed, and goes on
//! with those it has. So another size counts as known only if nothing of the kind happened around
//! the answer that told it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::client::bounded::Bounded;
use crate::limits;
use crate::types::{Attr, FileKind, Ino};

/// How long a request waits until it is read, or its answer until the thread that asked goes on, as a
/// rule.
const QUEUE_TIME: Duration = Duration::from_millis(10);

/// Sizes of regular files.
pub(super) struct KernelSizes(Mutex<Bounded<Ino, Believed>>);

#[derive(Clone, Copy, Default)]
struct Believed {
    /// `None` if it is not sure.
    size: Option<u64>,
    /// When it was told another size than before.
    changed: Option<Instant>,
    /// Until when it may throw away attributes that it asks for.
    unsure_until: Option<Instant>,
}

impl KernelSizes {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Bounded::new(limits::INODES_CACHED_MAX)))
    }

    /// The kernel is told of attributes, by the answer to a request that was read at `received`.
    pub(super) fn told(&self, attr: &Attr, received: Instant) {
        if attr.kind != FileKind::Regular {
            return;
        }
        let mut sizes = self.sizes();
        let mut believed = sizes.get(&attr.ino).copied().unwrap_or_default();
        if believed.size == Some(attr.size) {
            return;
        }
        let is_taken = believed.unsure_until.is_none_or(|end| end < received);
        believed.size = is_taken.then_some(attr.size);
        believed.changed = Some(Instant::now());
        sizes.put(attr.ino, believed);
    }

    /// The same by the answer to a `create`, which the kernel takes whatever else it is told.
    pub(super) fn created(&self, attr: &Attr) {
        self.sizes().put(attr.ino, Believed { size: Some(attr.size), ..Believed::default() });
    }

    /// Bytes were written through the kernel, up to this offset.
    pub(super) fn written(&self, ino: Ino, end: u64) {
        if let Some(Believed { size: Some(size), .. }) = self.sizes().get_mut(&ino) {
            *size = end.max(*size);
        }
    }

    /// A read ended here, before its end: the kernel may have taken that for the end of the file.
    pub(super) fn read_short(&self, ino: Ino, end: u64) {
        let mut sizes = self.sizes();
        if let Some(believed) = sizes.get_mut(&ino)
            && believed.size.is_some_and(|size| size > end)
        {
            believed.size = None;
        }
    }

    /// The kernel is told to forget attributes, whoever asks for them at that moment. Those that are
    /// on their way it will not take.
    pub(super) fn doubt(&self, ino: Ino) {
        self.doubt_until(ino, Instant::now() + QUEUE_TIME);
    }

    /// The same, by an answer on which they are asked for anew.
    pub(super) fn correct(&self, ino: Ino) {
        self.doubt_until(ino, Instant::now());
    }

    fn doubt_until(&self, ino: Ino, end: Instant) {
        let mut sizes = self.sizes();
        // What it was never told it does not know.
        let Some(believed) = sizes.get_mut(&ino) else { return };
        believed.unsure_until = Some(believed.unsure_until.map_or(end, |before| before.max(end)));
        if believed.changed.is_some_and(|changed| changed.elapsed() < QUEUE_TIME) {
            believed.size = None;
        }
    }

    pub(super) fn get(&self, ino: Ino) -> Option<u64> {
        self.sizes().get(&ino)?.size
    }

    fn sizes(&self) -> MutexGuard<'_, Bounded<Ino, Believed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{KernelSizes, QUEUE_TIME};
    use crate::types::{Attr, Ino};
    use std::time::Instant;

    const FILE: Ino = Ino(7);

    #[test]
    fn a_size_is_that_of_the_last_answer_and_what_was_written_since() {
        let (sizes, now) = (KernelSizes::new(), Instant::now());
        sizes.written(FILE, 5);
        assert_eq!(sizes.get(FILE), None);
        sizes.told(&Attr { size: 10, ..Attr::of_empty_file(FILE) }, now);
        sizes.written(FILE, 5);
        assert_eq!(sizes.get(FILE), Some(10));
        sizes.written(FILE, 15);
        sizes.read_short(FILE, 15);
        assert_eq!(sizes.get(FILE), Some(15));
        sizes.read_short(FILE, 14);
        assert_eq!(sizes.get(FILE), None);
    }

    #[test]
    fn an_answer_that_the_kernel_may_have_thrown_away_tells_nothing() {
        let (sizes, asked) = (KernelSizes::new(), Instant::now());
        let of_size = |size| Attr { size, ..Attr::of_empty_file(FILE) };
        sizes.told(&of_size(1), asked);
        sizes.doubt(FILE);
        assert_eq!(sizes.get(FILE), None, "the thread that asked may not have gone on yet");
        sizes.told(&of_size(1), asked + 2 * QUEUE_TIME);
        assert_eq!(sizes.get(FILE), Some(1));
        sizes.0.lock().unwrap().get_mut(&FILE).unwrap().changed = None;
        sizes.doubt(FILE);
        sizes.told(&of_size(1), asked);
        assert_eq!(sizes.get(FILE), Some(1), "it is the same whether or not it was taken");
        sizes.told(&of_size(2), Instant::now());
        assert_eq!(sizes.get(FILE), None, "the question may have waited since before");
    }
}
