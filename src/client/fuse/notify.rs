//! Telling the kernel what it must forget.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use fuser::{INodeNo, Notifier};
use tokio::sync::oneshot;

use super::sizes::KernelSizes;
use crate::client::vfs::Notify;
use crate::ratelimit::RateLimit;
use crate::types::{Attr, Ino, Name};

/// Changes that wait to be told. If there are more, the kernel finds out by itself when what it
/// remembers is too old, pages of open files aside.
const WAITING_MAX: usize = 65_536;

enum Note {
    Entry(Ino, Name),
    Attributes(Ino),
    Contents(Ino),
    /// The same, at the wish of this mount, which waits for it.
    ContentsInTurn(Ino, oneshot::Sender<()>),
    Range(Ino, u64, u64),
}

/// Passes changes on in a thread of its own: the kernel may hold a notification up until a request
/// to the same directory is answered, and that answer must not wait for it.
pub(super) struct KernelNotify {
    notes: SyncSender<Note>,
    /// Changes that wait to be told, or are being told.
    waiting: Arc<AtomicUsize>,
    /// For what cannot be held up by a request that waits for this mount.
    direct: Notifier,
    sizes: Arc<KernelSizes>,
    told_log: RateLimit,
}

impl KernelNotify {
    pub(super) fn start(notifier: Notifier, sizes: Arc<KernelSizes>) -> io::Result<Self> {
        let (notes, told) = sync_channel(WAITING_MAX);
        let direct = notifier.clone();
        let waiting = Arc::new(AtomicUsize::new(0));
        let (left, known) = (Arc::clone(&waiting), Arc::clone(&sizes));
        std::thread::Builder::new()
            .name("notify".to_owned())
            .spawn(move || tell_all(&notifier, &told, &left, &known))?;
        Ok(Self { notes, waiting, direct, sizes, told_log: RateLimit::default() })
    }

    fn send(&self, note: Note) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        match self.notes.try_send(note) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                self.told_log.warn_line("the kernel is slow to hear of changes");
            }
        }
    }
}

impl Notify for KernelNotify {
    fn entry(&self, parent: Ino, name: &Name) {
        self.send(Note::Entry(parent, name.clone()));
    }

    fn attributes(&self, ino: Ino) {
        self.send(Note::Attributes(ino));
    }

    fn contents(&self, ino: Ino) {
        self.send(Note::Contents(ino));
    }

    fn is_behind(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    fn attributes_now(&self, now: &Attr) {
        // If an answer is lost by that, it would have told of no other size.
        if self.sizes.get(now.ino) != Some(now.size) {
            self.sizes.correct(now.ino);
        }
        tell(&self.direct, &Note::Attributes(now.ino));
    }

    fn contents_now(&self, ino: Ino) {
        tell_doubting(&self.direct, &Note::Contents(ino), &self.sizes);
    }

    fn contents_in_turn(&self, ino: Ino) -> oneshot::Receiver<()> {
        let (done, told) = oneshot::channel();
        self.send(Note::ContentsInTurn(ino, done));
        told
    }

    fn size(&self, ino: Ino) -> Option<u64> {
        self.sizes.get(ino)
    }

    fn range_now(&self, ino: Ino, offset: u64, length: u64) {
        tell_doubting(&self.direct, &Note::Range(ino, offset, length), &self.sizes);
    }
}

/// Ends when nobody can send any more.
fn tell_all(
    notifier: &Notifier,
    notes: &Receiver<Note>,
    waiting: &AtomicUsize,
    sizes: &KernelSizes,
) {
    while let Ok(note) = notes.recv() {
        tell_doubting(notifier, &note, sizes);
        waiting.fetch_sub(1, Ordering::SeqCst);
        if let Note::ContentsInTurn(_, done) = note {
            // Nobody waits any more if it took too long.
            done.send(()).ok();
        }
    }
}

/// Tells what others changed. The kernel throws away what is on its way to it, before and after.
fn tell_doubting(notifier: &Notifier, note: &Note, sizes: &KernelSizes) {
    let doubt = || match note {
        Note::Attributes(ino) | Note::Contents(ino) | Note::Range(ino, ..) => sizes.doubt(*ino),
        Note::ContentsInTurn(ino, _) => sizes.correct(*ino),
        Note::Entry(..) => {}
    };
    doubt();
    tell(notifier, note);
    doubt();
}

fn tell(notifier: &Notifier, note: &Note) {
    let told = match note {
        Note::Entry(parent, name) => {
            notifier.inval_entry(INodeNo(parent.0), OsStr::from_bytes(name.as_bytes()))
        }
        // A negative offset is about attributes only (`fuse_reverse_inval_inode`).
        Note::Attributes(ino) => notifier.inval_inode(INodeNo(ino.0), -1, 0),
        Note::Contents(ino) | Note::ContentsInTurn(ino, _) => {
            notifier.inval_inode(INodeNo(ino.0), 0, 0)
        }
        Note::Range(ino, offset, length) => {
            notifier.inval_inode(INodeNo(ino.0), offset.cast_signed(), length.cast_signed())
        }
    };
    if let Err(error) = told {
        tracing::debug!("the kernel does not take a notification: {error}");
    }
}
