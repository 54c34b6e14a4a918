//! The files and directories that are open on this mount, by inode and by handle.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client::classic::open_file::{Held, OpenFile};
use crate::client::vfs::Handle;
use crate::error::{ErrorKind, FsError, Result};
use crate::pickle::Attributes;
use crate::types::{DirEntry, Ino};

/// Everything that is open.
#[derive(Debug, Default)]
pub struct OpenFiles {
    table: Mutex<Table>,
    held: Held,
}

#[derive(Debug, Default)]
struct Table {
    files: HashMap<Ino, Opened>,
    handles: HashMap<Handle, Arc<OpenFile>>,
    directories: HashMap<Handle, OpenDirectory>,
    last: u64,
}

#[derive(Debug)]
struct Opened {
    file: Arc<OpenFile>,
    handles: usize,
}

/// An open directory, and its entries as the listing under way sees them.
#[derive(Clone, Debug)]
pub struct OpenDirectory {
    /// The inode.
    pub ino: Ino,
    /// None before the first entry is asked for.
    pub entries: Option<Arc<Vec<DirEntry>>>,
}

impl OpenFiles {
    /// The open file of an inode.
    #[must_use]
    pub fn find(&self, ino: Ino) -> Option<Arc<OpenFile>> {
        self.table().files.get(&ino).map(|opened| opened.file.clone())
    }

    /// One more handle for a file that the servers have; they say what its attributes are.
    pub fn open(&self, ino: Ino, attributes: &Attributes) -> (Handle, Arc<OpenFile>) {
        let held = self.held.clone();
        self.add(ino, || OpenFile::found(ino, attributes.clone(), held))
    }

    /// The first handle of a file that is made here.
    pub fn make(&self, ino: Ino, attributes: Attributes) -> (Handle, Arc<OpenFile>) {
        let held = self.held.clone();
        self.add(ino, || OpenFile::made(ino, attributes, held))
    }

    fn add(&self, ino: Ino, new: impl FnOnce() -> OpenFile) -> (Handle, Arc<OpenFile>) {
        let mut table = self.table();
        let handle = table.next();
        let opened =
            table.files.entry(ino).or_insert_with(|| Opened { file: Arc::new(new()), handles: 0 });
        opened.handles += 1;
        let file = opened.file.clone();
        table.handles.insert(handle, file.clone());
        (handle, file)
    }

    /// The file of a handle.
    ///
    /// # Errors
    /// `BadHandle` if there is no such handle.
    pub fn of_handle(&self, handle: Handle) -> Result<Arc<OpenFile>> {
        self.table().handles.get(&handle).cloned().ok_or_else(bad_handle)
    }

    /// Whether a handle is the only one of its file.
    #[must_use]
    pub fn is_last(&self, handle: Handle) -> bool {
        let table = self.table();
        let file = table.handles.get(&handle).and_then(|file| table.files.get(&file.ino));
        file.is_some_and(|opened| opened.handles == 1)
    }

    /// A handle is gone; with the last one, the file is.
    pub fn close(&self, handle: Handle) {
        let mut table = self.table();
        let Some(file) = table.handles.remove(&handle) else { return };
        if let Some(opened) = table.files.get_mut(&file.ino) {
            opened.handles -= 1;
            if opened.handles == 0 {
                table.files.remove(&file.ino);
            }
        }
    }

    /// Every open file.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<OpenFile>> {
        self.table().files.values().map(|opened| opened.file.clone()).collect()
    }

    /// A handle for a directory.
    pub fn open_directory(&self, ino: Ino) -> Handle {
        let mut table = self.table();
        let handle = table.next();
        table.directories.insert(handle, OpenDirectory { ino, entries: None });
        handle
    }

    /// The directory of a handle.
    ///
    /// # Errors
    /// `BadHandle` if there is no such handle.
    pub fn directory(&self, handle: Handle) -> Result<OpenDirectory> {
        self.table().directories.get(&handle).cloned().ok_or_else(bad_handle)
    }

    /// The listing of a directory begins with these entries.
    pub fn set_entries(&self, handle: Handle, entries: Arc<Vec<DirEntry>>) {
        if let Some(directory) = self.table().directories.get_mut(&handle) {
            directory.entries = Some(entries);
        }
    }

    /// The handle of a directory is gone.
    pub fn close_directory(&self, handle: Handle) {
        self.table().directories.remove(&handle);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn next(&mut self) -> Handle {
        self.last += 1;
        Handle(self.last)
    }
}

fn bad_handle() -> FsError {
    FsError::new(ErrorKind::BadHandle, "nothing is open under this handle")
}
