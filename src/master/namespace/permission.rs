//! Who may do what: the one place where permission is decided.
//!
//! The namespace decides everything itself, whether or not the kernel of the client has decided
//! already (a FUSE mount with `default_permissions` does, from attributes that may be cached). What
//! it takes from the client is only the identity of the caller: whoever holds the right to speak to
//! the master at all may name any user, as with any network file system without logins.
//!
//! * Operations on a name need to search the directory that is given by its inode. That the caller
//!   could reach that directory is not checked again: he holds it, as a process holds its working
//!   directory.
//! * Operations on an open file (`append`, `extend`, `allocate`, reading a layout, listing pages,
//!   `setattr` with `by_handle`) need no permission, because it was decided by [`View::open`]: what
//!   somebody may do with a descriptor does not change with a later `chmod`.
//! * The superuser may read and write everything, search every directory, and execute a file that
//!   anybody may execute.
//! * An ACL is asked only if the group bits of the mode (its mask) grant anything, as in Linux
//!   (`acl_permission_check` in `fs/namei.c`).

use crate::error::{ErrorKind, FsError, Result};
use crate::types::{Access, Attr, Credentials, Ino};

use super::View;
use super::acl::digit;
use super::records::{Body, Inode};

/// Set-user-id bit of a mode.
pub(super) const SET_UID: u32 = 0o4000;
/// Set-group-id bit of a mode.
pub(super) const SET_GID: u32 = 0o2000;
/// Sticky bit of a mode.
pub(super) const STICKY: u32 = 0o1000;
/// Permission for the group to execute.
pub(super) const GROUP_EXECUTE: u32 = 0o0010;
/// Permission for anybody to execute.
const ANY_EXECUTE: u32 = 0o0111;

impl View<'_> {
    /// Whether somebody may do this, as `access(2)` asks.
    ///
    /// # Errors
    /// `Stale`; `AccessDenied`.
    pub fn access(&self, who: &Credentials, ino: Ino, wanted: Access) -> Result<()> {
        self.permit(who, ino, &self.inode(ino)?, wanted)
    }

    /// Whether somebody may open the inode so; the attributes it has at that moment.
    ///
    /// # Errors
    /// In this order: `Stale`; `SymlinkLoop` for a symbolic link; `IsDirectory` for a directory
    /// that is to be written; `AccessDenied`.
    pub fn open(&self, who: &Credentials, ino: Ino, wanted: Access) -> Result<Attr> {
        let inode = self.inode(ino)?;
        match inode.body {
            Body::Symlink { .. } => {
                return Err(FsError::new(ErrorKind::SymlinkLoop, "it is a symbolic link"));
            }
            Body::Directory(_) if wanted.includes(Access::WRITE) => {
                return Err(FsError::new(ErrorKind::IsDirectory, "it is a directory"));
            }
            _ => self.permit(who, ino, &inode, wanted)?,
        }
        Ok(inode.attr(ino))
    }

    /// Checks the permission bits and the ACL of an inode.
    pub(super) fn permit(
        &self,
        who: &Credentials,
        ino: Ino,
        inode: &Inode,
        wanted: Access,
    ) -> Result<()> {
        if self.is_granted(who, ino, inode, wanted)? || is_overridden(who, inode, wanted) {
            return Ok(());
        }
        Err(FsError::new(ErrorKind::AccessDenied, "the permissions forbid it"))
    }

    fn is_granted(
        &self,
        who: &Credentials,
        ino: Ino,
        inode: &Inode,
        wanted: Access,
    ) -> Result<bool> {
        let wanted = digit(wanted.bits(), 0);
        let grants = |shift| digit(inode.mode, shift) & wanted == wanted;
        if who.uid == inode.uid {
            return Ok(grants(6));
        }
        if inode.has_acl && digit(inode.mode, 3) != 0 {
            let acl = self.access_acl(ino)?;
            return Ok(acl.permits(who, inode.uid, inode.gid, wanted));
        }
        Ok(grants(if who.is_in_group(inode.gid) { 3 } else { 0 }))
    }

    /// The directory, if it is one and the caller may search it.
    pub(super) fn searchable(&self, who: &Credentials, directory: Ino) -> Result<Inode> {
        let inode = self.inode(directory)?;
        inode.directory()?;
        self.permit(who, directory, &inode, Access::EXECUTE)?;
        Ok(inode)
    }

    /// Checks that the caller may make a new name in the directory.
    pub(super) fn permit_adding(
        &self,
        who: &Credentials,
        directory: Ino,
        inode: &Inode,
    ) -> Result<()> {
        if inode.is_orphan() {
            return Err(FsError::new(ErrorKind::NotFound, "the directory has been removed"));
        }
        self.permit(who, directory, inode, Access::WRITE.and(Access::EXECUTE))
    }

    /// Checks that the caller may take the name of `victim` out of the directory.
    pub(super) fn permit_removing(
        &self,
        who: &Credentials,
        directory: Ino,
        inode: &Inode,
        victim: &Inode,
    ) -> Result<()> {
        self.permit(who, directory, inode, Access::WRITE.and(Access::EXECUTE))?;
        let is_sticky = inode.mode & STICKY != 0;
        let is_owner = who.uid == victim.uid || who.uid == inode.uid || who.is_superuser();
        if is_sticky && !is_owner {
            let message = "the directory is sticky and the file belongs to another user";
            return Err(FsError::new(ErrorKind::NotPermitted, message));
        }
        Ok(())
    }
}

/// What the superuser may do against the permission bits.
fn is_overridden(who: &Credentials, inode: &Inode, wanted: Access) -> bool {
    let executes_file = wanted.includes(Access::EXECUTE) && !inode.is_directory();
    who.is_superuser() && (!executes_file || inode.mode & ANY_EXECUTE != 0)
}

/// Checks that the caller owns the inode, or is the superuser.
pub(super) fn permit_owner(who: &Credentials, inode: &Inode) -> Result<()> {
    if who.uid == inode.uid || who.is_superuser() {
        return Ok(());
    }
    Err(FsError::new(ErrorKind::NotPermitted, "only the owner may do that"))
}

/// Whether the caller may keep or give the set-group-id bit on something of this group.
pub(super) fn may_set_group_id(who: &Credentials, gid: u32) -> bool {
    who.is_superuser() || who.is_in_group(gid)
}

/// The mode after a `chown` by anybody: the set-id bits were given for another owner
/// (`chown_common` in `fs/open.c`). Directories keep theirs, where they mean something else.
pub(super) fn mode_after_chown(who: &Credentials, inode: &Inode) -> u32 {
    if inode.is_directory() {
        return inode.mode;
    }
    let mut mode = inode.mode & !SET_UID;
    if mode & GROUP_EXECUTE != 0 || !may_set_group_id(who, inode.gid) {
        mode &= !SET_GID;
    }
    mode
}
