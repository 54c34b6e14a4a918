//! Telling the kernel what it must forget.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use fuser::{INodeNo, Notifier};

use crate::client::vfs::Notify;
use crate::types::{Ino, Name};

/// Changes that wait to be told. If there are more, the kernel finds out by itself when what it
/// remembers is too old, pages of open files aside.
const WAITING_MAX: usize = 65_536;

enum Note {
    Entry(Ino, Name),
    Attributes(Ino),
    Contents(Ino),
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
}

impl KernelNotify {
    pub(super) fn start(notifier: Notifier) -> io::Result<Self> {
        let (notes, told) = sync_channel(WAITING_MAX);
        let direct = notifier.clone();
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&waiting);
        std::thread::Builder::new()
            .name("notify".to_owned())
            .spawn(move || tell_all(&notifier, &told, &left))?;
        Ok(Self { notes, waiting, direct })
    }

    fn send(&self, note: Note) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        match self.notes.try_send(note) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                tracing::warn!("the kernel is slow to hear of changes");
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

    fn attributes_now(&self, ino: Ino) {
        tell(&self.direct, &Note::Attributes(ino));
    }

    fn contents_now(&self, ino: Ino) {
        tell(&self.direct, &Note::Contents(ino));
    }

    fn range_now(&self, ino: Ino, offset: u64, length: u64) {
        tell(&self.direct, &Note::Range(ino, offset, length));
    }
}

/// Ends when nobody can send any more.
fn tell_all(notifier: &Notifier, notes: &Receiver<Note>, waiting: &AtomicUsize) {
    while let Ok(note) = notes.recv() {
        tell(notifier, &note);
        waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tell(notifier: &Notifier, note: &Note) {
    let told = match note {
        Note::Entry(parent, name) => {
            notifier.inval_entry(INodeNo(parent.0), OsStr::from_bytes(name.as_bytes()))
        }
        // A negative offset is about attributes only (`fuse_reverse_inval_inode`).
        Note::Attributes(ino) => notifier.inval_inode(INodeNo(ino.0), -1, 0),
        Note::Contents(ino) => notifier.inval_inode(INodeNo(ino.0), 0, 0),
        Note::Range(ino, offset, length) => {
            notifier.inval_inode(INodeNo(ino.0), offset.cast_signed(), length.cast_signed())
        }
    };
    if let Err(error) = told {
        tracing::debug!("the kernel does not take a notification: {error}");
    }
}
