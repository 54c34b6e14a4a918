//! Opening and closing files.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::attributes::CAPABILITIES;
use super::data::Cluster;
use super::fs::NativeFs;
use super::inode::Inode;
use super::inodes::LastPage;
use super::stale;
use crate::client::vfs::{Attempt, Handle, OpenFlags, Opened, Pages};
use crate::error::{ErrorKind, Result};
use crate::limits;
use crate::proto::Packed;
use crate::proto::fs::{self, Create, Open, OpenMode};
use crate::rpc::shards;
use crate::types::{Access, Attr, Credentials, FileKind, Ino, Name};

/// `FMODE_EXEC` of the kernel, which it passes on in the flags of an `open` by `execve`.
const FLAG_EXECUTE: i32 = 0x20;

/// The mode for the master. `executes` is for a file that the kernel opens to execute it.
fn open_mode(flags: OpenFlags, executes: bool) -> OpenMode {
    OpenMode {
        access: if executes { Access::EXECUTE } else { flags.access() },
        is_truncating: flags.truncates(),
        is_exclusive: flags.is_exclusive(),
        keeps_atime: flags.has(libc::O_NOATIME),
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
        self.open_for_kernel(ino, flags, who, Attempt::Last).await
    }

    /// As [`Self::open`], for the kernel, which may believe things of the file that are not so.
    ///
    /// # Errors
    /// Also `Stale`, if it is to look up the file once more.
    pub(super) async fn open_for_kernel(
        self: &Arc<Self>,
        ino: Ino,
        flags: OpenFlags,
        who: &Credentials,
        attempt: Attempt,
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
        let known = self.cache.attr(ino);
        let fence = self.cache.fence();
        shards::at_home().await;
        let asked = self.ask_in_session(call);
        // A chunk server that does not answer must not keep the file from being opened.
        let early = self.early_contents(ino, flags);
        let early = tokio::time::timeout(limits::EARLY_CONTENTS_WAIT, early);
        let (opened, early) = tokio::join!(asked, early);
        let opened = match flags.truncates() {
            true => self.forget_inode_unless_done(opened, ino, true),
            false => opened,
        };
        let Packed(opened) = opened.inspect_err(|error| {
            if error.kind() == ErrorKind::Stale {
                self.forget_last_name(ino);
            }
        })?;
        self.cache.renew_attr(&opened.attr, &fence);
        if attempt == Attempt::First {
            self.check_kernel(&opened.attr).await?;
        }
        self.correct_kernel(&opened.attr, known.as_ref());
        let (_, opened) = self.begin(opened, flags)?;
        if let Ok(Some((version, contents))) = early
            && let Some(inode) = self.inodes.get(ino)
        {
            let mut state = inode.state();
            if state.attr.data_version == version && state.epoch == 0 {
                state.clean.insert(0, contents);
            }
        }
        Ok(opened)
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
    /// Those of the master, such as `Exists`; `Stale` for what is neither a file nor a directory.
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
        let fence = self.cache.fence();
        let made = self.ask_in_session(call).await;
        let Packed(opened) = self.forget_unless_done(made, &[(parent, name)])?;
        if opened.attr.kind != FileKind::Regular {
            // The kernel knew nothing of it: it does without a file system when it opens a fifo.
            self.drop_name(parent, name);
            return Err(stale("it has just become something else than a file"));
        }
        self.note_name((parent, name), &opened.attr, opened.parent.as_ref(), &fence);
        if opened.is_new {
            // The kernel asks before the first write whether it has to take this away. Its
            // attributes tell that as well, but may be dropped with those of another inode.
            let capabilities = Bytes::from_static(CAPABILITIES);
            let xattrs = self.cache.xattr_fence(opened.attr.ino);
            self.cache.put_absent_xattr(opened.attr.ino, capabilities, xattrs);
        }
        self.begin(opened, flags)
    }

    fn begin(self: &Arc<Self>, opened: fs::Opened, flags: OpenFlags) -> Result<(Attr, Opened)> {
        let fs::Opened { attr, is_new, layout, .. } = opened;
        self.session.note_opened();
        let access = if flags.has(FLAG_EXECUTE) { Access::READ } else { flags.access() };
        let (handle, inode) = self.inodes.open(attr.clone(), access, flags)?;
        {
            let mut state = inode.state();
            state.is_stale = false;
            state.note_attr(attr.clone());
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
        // Now: who locks from here on must not be taken for one who has gone.
        let leaving = self.session.locks.leave(file.inode.ino, owner);
        let sent = match file.access.includes(Access::WRITE) {
            true => self.flush_inode(&file.inode).await,
            false => Ok(()),
        };
        let untold = file.untold_failure();
        self.free_locks(file.inode.ino, leaving).await;
        sent.and(untold)
    }

    /// The handle is gone, and with it all locks of `flock(2)` and of open file descriptions that
    /// were taken through it.
    ///
    /// # Errors
    /// What stood in the way of bytes that came after the last flush, such as those of a mapping.
    pub async fn release(&self, handle: Handle) -> Result<()> {
        let file = self.inodes.file(handle)?;
        let leaving = self.session.locks.leave_handle(file.inode.ino, handle);
        let sent = self.flush_inode(&file.inode).await;
        self.free_locks(file.inode.ino, leaving).await;
        drop(file);
        if let Some(inode) = self.inodes.close(handle) {
            self.give_up(&inode);
        }
        sent
    }

    /// Forgets what a file that nobody has open any more has not sent: closing it said so.
    fn give_up(&self, inode: &Arc<Inode>) {
        let mut state = inode.state();
        let lost = state.dirty.byte_count();
        if lost > 0 {
            tracing::error!("{}: {lost} written bytes are lost", self.shown(inode.ino));
            state.dirty.take();
            self.dirty_bytes.fetch_sub(lost, Ordering::Relaxed);
        }
    }

    /// Opens a directory for reading.
    ///
    /// # Errors
    /// Those of the master, such as `AccessDenied`.
    pub async fn opendir(&self, ino: Ino, who: &Credentials) -> Result<Handle> {
        let mode = open_mode(OpenFlags(libc::O_RDONLY), false);
        let call = |session| Open { ino, mode: Packed(mode), who: Packed(who.clone()), session };
        let (fence, losses) = (self.cache.fence(), self.cache.losses());
        let Packed(opened) = self.ask_in_session(call).await?;
        debug_assert_eq!(opened.attr.kind, FileKind::Directory);
        let page = match opened.listing {
            Some(listing) => {
                self.note_page(ino, &listing, &fence);
                if listing.is_last {
                    self.cache.put_complete(ino, &fence, losses);
                }
                LastPage { is_unread: true, ..LastPage::from(listing) }
            }
            None => LastPage::default(),
        };
        let handle = self.inodes.open_directory(ino, page)?;
        self.session.note_opened();
        Ok(handle)
    }

    /// The handle of a directory is gone.
    pub fn releasedir(&self, handle: Handle) {
        self.inodes.close_directory(handle);
    }
}
