//! Opening and closing files.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::data::Cluster;
use super::fs::NativeFs;
use super::inode::Inode;
use super::inodes::Handle;
use crate::error::Result;
use crate::limits;
use crate::proto::Packed;
use crate::proto::fs::{Create, Open, OpenMode, Opened};
use crate::types::{Access, Attr, Credentials, FileKind, Ino, Name};

/// How a file is opened, from the flags of `open(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFlags(pub i32);

impl OpenFlags {
    fn has(self, flag: i32) -> bool {
        self.0 & flag == flag
    }

    /// What the handle may be used for.
    #[must_use]
    pub fn access(self) -> Access {
        match self.0 & libc::O_ACCMODE {
            libc::O_RDONLY => Access::READ,
            libc::O_WRONLY => Access::WRITE,
            _ => Access::READ.and(Access::WRITE),
        }
    }

    /// Whether writes go to the end of the file.
    #[must_use]
    pub fn appends(self) -> bool {
        self.has(libc::O_APPEND)
    }

    fn is_sync(self) -> bool {
        // O_SYNC contains O_DSYNC; the bytes and the size are what both ask for.
        self.has(libc::O_DSYNC)
    }

    /// The mode for the master. `executes` is for a file that the kernel opens to execute it.
    fn mode(self, executes: bool) -> OpenMode {
        OpenMode {
            access: if executes { Access::EXECUTE } else { self.access() },
            is_truncating: self.has(libc::O_TRUNC),
            is_exclusive: self.has(libc::O_CREAT | libc::O_EXCL),
        }
    }
}

/// `FMODE_EXEC` of the kernel, which it passes on in the flags of an `open` by `execve`.
const FLAG_EXECUTE: i32 = 0x20;

/// An opened file, for the kernel.
#[derive(Clone, Debug)]
pub struct OpenReply {
    /// The handle.
    pub handle: Handle,
    /// The file's attributes.
    pub attr: Attr,
    /// Whether the pages that the kernel has of the file are still right.
    pub keeps_pages: bool,
}

impl<C: Cluster> NativeFs<C> {
    /// Opens a file. The master is asked every time, so that what was written and closed anywhere
    /// before is seen.
    ///
    /// # Errors
    /// Those of the master, such as `AccessDenied`.
    pub async fn open(
        self: &Arc<Self>,
        ino: Ino,
        flags: OpenFlags,
        who: &Credentials,
    ) -> Result<OpenReply> {
        if let Some(inode) = self.inodes.get(ino) {
            // What was written through another handle counts for the one to come.
            self.flush_inode(&inode).await?;
        }
        let executes = flags.has(FLAG_EXECUTE);
        let call = Open {
            ino,
            mode: Packed(flags.mode(executes)),
            who: Packed(who.clone()),
            session: self.session.id(),
        };
        let fence = self.cache.fence();
        let asked = self.cluster.ask(call);
        // A chunk server that does not answer must not keep the file from being opened.
        let early = self.early_contents(ino, flags);
        let early = tokio::time::timeout(limits::EARLY_CONTENTS_WAIT, early);
        let (opened, early) = tokio::join!(asked, early);
        let Packed(opened) = opened?;
        self.cache.renew_attr(&opened.attr, &fence);
        let reply = self.begin(opened, flags)?;
        if let Ok(Some((version, contents))) = early
            && let Some(inode) = self.inodes.get(ino)
        {
            let mut state = inode.state();
            if state.attr.data_version == version && state.epoch == 0 {
                state.clean.insert(0, contents);
            }
        }
        Ok(reply)
    }

    /// The contents of a small file that is about to be read, with the version that they are of if
    /// it is still the same. Fetched while the master is asked; its answer tells whether they count.
    async fn early_contents(&self, ino: Ino, flags: OpenFlags) -> Option<(u64, Bytes)> {
        if flags.access() != Access::READ || self.inodes.get(ino).is_some() {
            return None;
        }
        let place = self.cache.place(ino)?;
        if self.cache.has_pages(ino, place.data_version) {
            return None;
        }
        // An error comes again when the program reads, if there still is one.
        let contents = self.cluster.read(&place.chunk, 0, place.size).await.ok()?;
        Some((place.data_version, contents))
    }

    /// Opens a file by name and makes it if it is not there.
    ///
    /// # Errors
    /// Those of the master, such as `Exists`.
    pub async fn create(
        self: &Arc<Self>,
        parent: Ino,
        name: &Name,
        mode: u32,
        flags: OpenFlags,
        who: &Credentials,
    ) -> Result<OpenReply> {
        let call = Create {
            parent,
            name: name.clone(),
            mode,
            open: Packed(flags.mode(false)),
            who: Packed(who.clone()),
            session: self.session.id(),
        };
        let fence = self.cache.fence();
        let Packed(opened) = self.cluster.ask(call).await?;
        self.note_name((parent, name), &opened.attr, opened.parent.as_ref(), &fence);
        if opened.is_new {
            // The kernel asks before the first write whether it has to take this away.
            let capabilities = Bytes::from_static(b"security.capability");
            let xattrs = self.cache.xattr_fence(opened.attr.ino);
            self.cache.put_absent_xattr(opened.attr.ino, capabilities, xattrs);
        }
        self.begin(opened, flags)
    }

    fn begin(self: &Arc<Self>, opened: Opened, flags: OpenFlags) -> Result<OpenReply> {
        let Opened { attr, is_new, layout, .. } = opened;
        self.session.note_opened();
        let access = if flags.has(FLAG_EXECUTE) { Access::READ } else { flags.access() };
        let (handle, inode) =
            self.inodes.open(attr.clone(), access, flags.appends(), flags.is_sync())?;
        {
            let mut state = inode.state();
            state.is_stale = false;
            Self::note_attr(&mut state, attr.clone());
            state.layout.learn_opened(attr.size, layout);
        }
        let keeps_pages = self.cache.swap_pages(attr.ino, attr.data_version) && !is_new;
        Ok(OpenReply { handle, attr, keeps_pages })
    }

    /// A descriptor of the handle is closed: what was written is where others see it. The locks of
    /// `fcntl(2)` that `owner` has on the file end.
    ///
    /// # Errors
    /// What stood in the way of the bytes, now or in a flush that nobody waited for.
    pub async fn flush(&self, handle: Handle, owner: u64) -> Result<()> {
        let file = self.inodes.file(handle)?;
        let sent = match file.access.includes(Access::WRITE) {
            true => self.flush_inode(&file.inode).await,
            false => Ok(()),
        };
        let untold = file.untold_failure();
        self.unlock_owner(file.inode.ino, owner).await;
        sent.and(untold)
    }

    /// The handle is gone, and with it the lock of `flock(2)` that `owner` has through it.
    ///
    /// # Errors
    /// What stood in the way of bytes that came after the last flush, such as those of a mapping.
    pub async fn release(&self, handle: Handle, owner: Option<u64>) -> Result<()> {
        let file = self.inodes.file(handle)?;
        let sent = self.flush_inode(&file.inode).await;
        if let Some(owner) = owner {
            self.unlock_owner(file.inode.ino, owner).await;
        }
        drop(file);
        if let Some(inode) = self.inodes.close(handle) {
            self.session.forget_locked(inode.ino);
            self.give_up(&inode);
        }
        sent
    }

    /// Forgets what a file that nobody has open any more has not sent: closing it said so.
    fn give_up(&self, inode: &Arc<Inode>) {
        let mut state = inode.state();
        let lost = state.dirty.byte_count();
        if lost > 0 {
            tracing::error!(ino = %inode.ino, bytes = lost, "written bytes are lost");
            state.dirty.take();
            self.dirty_bytes.fetch_sub(lost, Ordering::Relaxed);
        }
    }

    /// Opens a directory for reading.
    ///
    /// # Errors
    /// Those of the master, such as `AccessDenied`.
    pub async fn opendir(&self, ino: Ino, who: &Credentials) -> Result<Handle> {
        let mode = OpenMode { access: Access::READ, is_truncating: false, is_exclusive: false };
        let call =
            Open { ino, mode: Packed(mode), who: Packed(who.clone()), session: self.session.id() };
        let Packed(opened) = self.cluster.ask(call).await?;
        debug_assert_eq!(opened.attr.kind, FileKind::Directory);
        let handle = self.inodes.open_directory(ino)?;
        self.session.note_opened();
        Ok(handle)
    }

    /// The handle of a directory is gone.
    pub fn releasedir(&self, handle: Handle) {
        self.inodes.close_directory(handle);
    }
}
