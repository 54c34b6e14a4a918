//! What is open in one mount: files by inode, and the handles through which they are used.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::clean::CleanTotal;
use super::inode::Inode;
use super::lock;
use crate::client::vfs::{Handle, OpenFlags};
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::types::{Access, Attr, Cookie, DirEntry, Ino};

/// What a handle has to be for, for a mapping that is shared and can be written to.
const MAPPABLE: Access = Access::READ.and(Access::WRITE);

/// A handle of a file.
pub(super) struct OpenFile {
    pub(super) inode: Arc<Inode>,
    pub(super) access: Access,
    /// Writes are on the disk when they return (`O_SYNC`, `O_DSYNC`).
    pub(super) is_sync: bool,
    /// Reads and writes pass by the kernel's pages (`O_DIRECT`).
    pub(super) is_direct: bool,
    /// Failures of the inode that this handle has told of.
    failures_told: AtomicU64,
    /// Losses of locks of the inode before the handle was opened.
    pub(super) lock_losses: u64,
}

impl OpenFile {
    /// The error of a flush that nobody waited for, once for each handle.
    pub(super) fn untold_failure(&self) -> Result<()> {
        let state = self.inode.state();
        let told = self.failures_told.swap(state.failures, Ordering::Relaxed);
        match &state.failure {
            Some(error) if told < state.failures => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// `BadHandle` if the handle was not opened for that.
    pub(super) fn permit(&self, access: Access) -> Result<()> {
        if self.access.includes(access) {
            return Ok(());
        }
        Err(FsError::new(ErrorKind::BadHandle, "the file was not opened for that"))
    }
}

/// A handle of a directory: the listing under way.
pub(super) struct OpenDir {
    pub(super) ino: Ino,
    pub(super) last_page: tokio::sync::Mutex<LastPage>,
}

/// A page of a directory and where it ends.
#[derive(Default)]
pub(super) struct LastPage {
    pub(super) parent: Option<Ino>,
    pub(super) until: Option<Cookie>,
    /// The place that `entries` are behind.
    pub(super) after: Cookie,
    pub(super) entries: Vec<DirEntry>,
    pub(super) is_last: bool,
    /// Whether the entries came with their attributes.
    pub(super) has_attributes: bool,
    /// When the page came; `None` if there is none.
    pub(super) since: Option<Instant>,
    /// It came with opening the directory, and nobody has read it yet.
    pub(super) is_unread: bool,
}

impl LastPage {
    /// Whether the kernel may still take its attributes for those of now.
    pub(super) fn is_fresh(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() < limits::KERNEL_CACHE_AGE)
    }
}

/// All that is open.
#[derive(Default)]
pub(super) struct Inodes {
    table: Mutex<Table>,
    /// Clean bytes kept over all files.
    clean_total: Arc<CleanTotal>,
}

#[derive(Default)]
struct Table {
    inodes: HashMap<Ino, Arc<Inode>>,
    files: HashMap<Handle, Arc<OpenFile>>,
    directories: HashMap<Handle, Arc<OpenDir>>,
    last: u64,
}

impl Table {
    fn next_handle(&mut self) -> Result<Handle> {
        if self.files.len() + self.directories.len() >= limits::HANDLES_MAX {
            return Err(FsError::new(ErrorKind::Busy, "too many files are open in this mount"));
        }
        self.last += 1;
        Ok(Handle(self.last))
    }
}

impl Inodes {
    /// Opens a file that the master has opened, with its attributes of that moment.
    pub(super) fn open(
        &self,
        attr: Attr,
        access: Access,
        flags: OpenFlags,
    ) -> Result<(Handle, Arc<Inode>)> {
        // O_SYNC contains O_DSYNC; the bytes and the size are what both ask for.
        let (is_sync, is_direct) = (flags.has(libc::O_DSYNC), flags.has(libc::O_DIRECT));
        let mut table = lock(&self.table);
        let handle = table.next_handle()?;
        let inode = table
            .inodes
            .entry(attr.ino)
            .or_insert_with(|| Arc::new(Inode::new(attr, &self.clean_total)));
        let inode = Arc::clone(inode);
        let (failures_told, lock_losses) = {
            let mut state = inode.state();
            state.handles += 1;
            state.direct_handles += u32::from(is_direct);
            state.mappable += u32::from(access.includes(MAPPABLE));
            (AtomicU64::new(state.failures), state.lock_losses)
        };
        let file = Arc::clone(&inode);
        let file = OpenFile { inode: file, access, is_sync, is_direct, failures_told, lock_losses };
        table.files.insert(handle, Arc::new(file));
        Ok((handle, inode))
    }

    pub(super) fn file(&self, handle: Handle) -> Result<Arc<OpenFile>> {
        lock(&self.table).files.get(&handle).cloned().ok_or_else(no_such_handle)
    }

    /// The open file with that inode, if it is open.
    pub(super) fn get(&self, ino: Ino) -> Option<Arc<Inode>> {
        lock(&self.table).inodes.get(&ino).cloned()
    }

    /// Every file that is open.
    pub(super) fn all(&self) -> Vec<Arc<Inode>> {
        lock(&self.table).inodes.values().cloned().collect()
    }

    /// Closes a handle; the inode is forgotten with its last one. Answers it if it was the last.
    pub(super) fn close(&self, handle: Handle) -> Option<Arc<Inode>> {
        let mut table = lock(&self.table);
        let file = table.files.remove(&handle)?;
        let is_last = {
            let mut state = file.inode.state();
            state.handles -= 1;
            state.direct_handles -= u32::from(file.is_direct);
            state.mappable -= u32::from(file.access.includes(MAPPABLE));
            state.handles == 0
        };
        is_last.then(|| table.inodes.remove(&file.inode.ino)).flatten()
    }

    /// Opens a directory, of which a page is known perhaps.
    pub(super) fn open_directory(&self, ino: Ino, page: LastPage) -> Result<Handle> {
        let mut table = lock(&self.table);
        let handle = table.next_handle()?;
        let directory = OpenDir { ino, last_page: tokio::sync::Mutex::new(page) };
        table.directories.insert(handle, Arc::new(directory));
        Ok(handle)
    }

    pub(super) fn directory(&self, handle: Handle) -> Result<Arc<OpenDir>> {
        lock(&self.table).directories.get(&handle).cloned().ok_or_else(no_such_handle)
    }

    pub(super) fn close_directory(&self, handle: Handle) {
        lock(&self.table).directories.remove(&handle);
    }

    /// The inodes that are open, files and directories: what the session holds.
    pub(super) fn held(&self) -> Vec<Ino> {
        let table = lock(&self.table);
        let directories = table.directories.values().map(|directory| directory.ino);
        let mut held: Vec<Ino> = table.inodes.keys().copied().chain(directories).collect();
        held.sort_unstable();
        held.dedup();
        held
    }
}

fn no_such_handle() -> FsError {
    FsError::new(ErrorKind::BadHandle, "the handle is not open")
}
