//! Opening and closing files.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::data::Cluster;
use super::fs::NativeFs;
use super::inode::Inode;
use super::inodes::Handle;
use crate::error::Result;
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
        let call = |session| Open {
            ino,
            mode: Packed(flags.mode(executes)),
            who: Packed(who.clone()),
            session,
        };
        let fence = self.cache.fence(ino);
        let Packed(opened) = self.ask_in_session(call).await?;
        self.cache.put_attr(&opened.attr, fence);
        // The kernel has no attributes in the answer to an open, and takes the size that it knows
        // for true: the news of another mount's write may still be on their way.
        self.notify.get().inspect(|notify| notify.attributes_now(ino));
        self.begin(opened, flags)
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
        let call = |session| Create {
            parent,
            name: name.clone(),
            mode,
            open: Packed(flags.mode(false)),
            who: Packed(who.clone()),
            session,
        };
        let fence = self.cache.fence(parent);
        let Packed(opened) = self.ask_in_session(call).await?;
        self.note_name(parent, name, &opened.attr, fence);
        self.begin(opened, flags)
    }

    fn begin(self: &Arc<Self>, opened: Opened, flags: OpenFlags) -> Result<OpenReply> {
        let Opened { attr, is_new, layout } = opened;
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
            self.session.held.forget_file(inode.ino);
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
        let call = |session| Open { ino, mode: Packed(mode), who: Packed(who.clone()), session };
        let Packed(opened) = self.ask_in_session(call).await?;
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
