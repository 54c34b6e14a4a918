//! Opening and closing files.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::data::Cluster;
use super::fs::NativeFs;
use super::inode::Inode;
use crate::client::vfs::{Handle, OpenFlags, Opened, Pages};
use crate::error::Result;
use crate::proto::Packed;
use crate::proto::fs::{self, Create, Open, OpenMode};
use crate::types::{Access, Attr, Credentials, FileKind, Ino, Name};

/// `FMODE_EXEC` of the kernel, which it passes on in the flags of an `open` by `execve`.
const FLAG_EXECUTE: i32 = 0x20;

/// The mode for the master. `executes` is for a file that the kernel opens to execute it.
fn open_mode(flags: OpenFlags, executes: bool) -> OpenMode {
    OpenMode {
        access: if executes { Access::EXECUTE } else { flags.access() },
        is_truncating: flags.truncates(),
        is_exclusive: flags.is_exclusive(),
    }
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
    ) -> Result<Opened> {
        if let Some(inode) = self.inodes.get(ino) {
            // What was written through another handle counts for the one to come.
            self.flush_inode(&inode).await?;
        }
        let executes = flags.has(FLAG_EXECUTE);
        let call = |session| Open {
            ino,
            mode: Packed(open_mode(flags, executes)),
            who: Packed(who.clone()),
            session,
        };
        let fence = self.cache.fence(ino);
        let Packed(opened) = self.ask_in_session(call).await?;
        self.cache.put_attr(&opened.attr, fence);
        self.begin(opened, flags).map(|(_, opened)| opened)
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
    ) -> Result<(Attr, Opened)> {
        let call = |session| Create {
            parent,
            name: name.clone(),
            mode,
            open: Packed(open_mode(flags, false)),
            who: Packed(who.clone()),
            session,
        };
        let fence = self.cache.fence(parent);
        let Packed(opened) = self.ask_in_session(call).await?;
        self.note_name(parent, name, &opened.attr, fence);
        self.begin(opened, flags)
    }

    fn begin(self: &Arc<Self>, opened: fs::Opened, flags: OpenFlags) -> Result<(Attr, Opened)> {
        let fs::Opened { attr, is_new, layout } = opened;
        self.session.note_opened();
        let access = if flags.has(FLAG_EXECUTE) { Access::READ } else { flags.access() };
        // O_SYNC contains O_DSYNC; the bytes and the size are what both ask for.
        let is_sync = flags.has(libc::O_DSYNC);
        let (handle, inode) = self.inodes.open(attr.clone(), access, is_sync)?;
        {
            let mut state = inode.state();
            state.is_stale = false;
            Self::note_attr(&mut state, attr.clone());
            state.layout.learn_opened(attr.size, layout);
        }
        let is_right = self.cache.swap_pages(attr.ino, attr.data_version) && !is_new;
        let pages = match is_right {
            // The kernel would put appended bytes into its pages where it believes the end to be;
            // only the master knows.
            _ if flags.appends() => Pages::Bypass,
            true => Pages::Keep,
            false => Pages::Drop,
        };
        Ok((attr, Opened { handle, pages }))
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
