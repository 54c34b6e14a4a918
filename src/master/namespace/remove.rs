//! Taking names away: unlink, rmdir.
//!
//! The errors of both begin alike, in the order of Linux (`may_delete` in `fs/namei.c`): `Stale`
//! and `NotDirectory` for the directory; `AccessDenied` if the caller may not search it;
//! `NotFound`; `AccessDenied` if the caller may not write to it; `NotPermitted` if it is sticky and
//! neither it nor the file is the caller's.

use crate::error::{ErrorKind, FsError, Result};
use crate::types::{Attr, Credentials, Ino, Name};

use super::inode::not_directory;
use super::records::{Entry, Inode};
use super::{Namespace, View};

impl Namespace<'_> {
    /// Removes a name of anything but a directory. Answers the attributes of what it stood for:
    /// without names left it is an orphan, and goes on to exist until it is reaped.
    ///
    /// # Errors
    /// As both, then `IsDirectory`.
    pub fn unlink(&mut self, who: &Credentials, directory: Ino, name: &Name) -> Result<Attr> {
        let (mut parent, entry, mut inode) = self.permit_removal(who, directory, name)?;
        if inode.is_directory() {
            return Err(FsError::new(ErrorKind::IsDirectory, "it is a directory"));
        }
        self.remove_entry(directory, &mut parent, name, &entry)?;
        self.save_directory(directory, &mut parent);
        self.drop_link(entry.ino, &mut inode);
        Ok(inode.attr(entry.ino))
    }

    /// Removes an empty directory; it is an orphan then, for those who still have it open.
    ///
    /// # Errors
    /// As both, then `NotDirectory`, then `NotEmpty`.
    pub fn rmdir(&mut self, who: &Credentials, directory: Ino, name: &Name) -> Result<Attr> {
        let (mut parent, entry, mut inode) = self.permit_removal(who, directory, name)?;
        if !inode.is_directory() {
            return Err(not_directory());
        }
        require_empty(&inode)?;
        self.remove_entry(directory, &mut parent, name, &entry)?;
        parent.nlink -= 1;
        self.save_directory(directory, &mut parent);
        self.drop_link(entry.ino, &mut inode);
        Ok(inode.attr(entry.ino))
    }

    /// The checks that both share; the directory, the entry and what it stands for.
    fn permit_removal(
        &self,
        who: &Credentials,
        directory: Ino,
        name: &Name,
    ) -> Result<(Inode, Entry, Inode)> {
        let view = self.view();
        let parent = view.searchable(who, directory)?;
        let entry = view.entry(directory, name)?;
        let inode = view.named_inode(&entry)?;
        view.permit_removing(who, directory, &parent, &inode)?;
        Ok((parent, entry, inode))
    }
}

impl View<'_> {
    /// Whether an inode is a directory without names in it.
    ///
    /// # Errors
    /// Only those of the store.
    pub fn is_empty_directory(&self, ino: Ino) -> Result<bool> {
        let Some(inode) = self.find_inode(ino)? else { return Ok(false) };
        Ok(inode.is_directory() && require_empty(&inode).is_ok())
    }
}

/// Refuses a directory with names in it, without looking at them.
pub(super) fn require_empty(inode: &Inode) -> Result<()> {
    match inode.directory()?.entries {
        0 => Ok(()),
        _ => Err(FsError::new(ErrorKind::NotEmpty, "the directory is not empty")),
    }
}
