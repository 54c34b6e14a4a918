//! Changing attributes: chmod, chown, utimens, truncate, and the time of access.

use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::types::{Access, Attr, Change, Credentials, FileTime, Ino, SetAttr, SetTime};

use super::Namespace;
use super::permission::{SET_GID, may_set_group_id, mode_after_chown, permit_owner};
use super::records::{Body, Inode};
use super::set_acl::AclKind;

/// An access time is renewed after this long even if nothing was written since, as with the mount
/// option `relatime`.
const ATIME_AGE_MAX_S: i64 = 86_400;

impl Namespace<'_> {
    /// Changes attributes, all of them or none.
    ///
    /// # Errors
    /// `InvalidArgument` for a time that is none; then, in the order of Linux (`vfs_truncate`,
    /// `notify_change` and `setattr_prepare`): `Stale`; for
    /// a new size `IsDirectory`, `InvalidArgument` if it is no regular file, `AccessDenied` if the
    /// caller may not write and has no handle; `AccessDenied` if both times are to be now and the
    /// caller neither owns nor may write the file; `Unsupported` for the mode of a symbolic link;
    /// `FileTooLarge`; `NotPermitted` for an owner, a group, a mode, or any other wish for times
    /// that the caller may not have; `Busy` if too many truncations are under way in one chunk.
    pub fn setattr(&mut self, who: &Credentials, ino: Ino, set: &SetAttr) -> Result<Attr> {
        check_time(set.atime)?;
        check_time(set.mtime)?;
        let mut inode = self.inode(ino)?;
        self.permit_setattr(who, ino, &inode, set)?;
        if *set == (SetAttr { by_handle: set.by_handle, ..SetAttr::default() }) {
            return Ok(inode.attr(ino));
        }
        if let Some(size) = set.size {
            self.truncate(ino, inode.contents_mut()?, size)?;
            self.mark_written(who, ino, &mut inode)?;
        }
        if set.uid.is_some() || set.gid.is_some() {
            self.chown(who, ino, &mut inode, set)?;
        }
        if let Some(mode) = set.mode {
            self.chmod(who, ino, &mut inode, mode)?;
        }
        apply_time(&mut inode.atime, set.atime, self.now);
        apply_time(&mut inode.mtime, set.mtime, self.now);
        self.save_changed(ino, &mut inode);
        Ok(inode.attr(ino))
    }

    /// Notes that a file was read, in the manner of `relatime`: only if it was written since it was
    /// last read, or that is a day ago. Answers whether anything changed.
    ///
    /// # Errors
    /// `Stale`.
    pub fn accessed(&mut self, ino: Ino) -> Result<bool> {
        let mut inode = self.inode(ino)?;
        let is_new = inode.atime <= inode.mtime || inode.atime <= inode.ctime;
        let is_old = self.now.seconds.saturating_sub(inode.atime.seconds) >= ATIME_AGE_MAX_S;
        if (!is_new && !is_old) || inode.atime == self.now {
            return Ok(false);
        }
        inode.atime = self.now;
        self.save_inode(ino, &inode);
        self.changed(Change::Attributes(ino));
        Ok(true)
    }

    /// What every write to a regular file does beside writing: times, version, set-id bits, file
    /// capabilities. The inode is changed but not stored.
    pub(super) fn mark_written(
        &mut self,
        who: &Credentials,
        ino: Ino,
        inode: &mut Inode,
    ) -> Result<()> {
        inode.mode = who.mode_after_write(inode.mode, inode.gid);
        self.remove_capabilities(ino, inode)?;
        inode.mtime = self.now;
        inode.ctime = self.now;
        let contents = inode.contents_mut()?;
        contents.data_version += 1;
        let version = contents.data_version;
        self.changed(Change::Contents(ino, version));
        Ok(())
    }

    fn permit_setattr(
        &self,
        who: &Credentials,
        ino: Ino,
        inode: &Inode,
        set: &SetAttr,
    ) -> Result<()> {
        if set.size.is_some() {
            inode.contents()?;
            if !set.by_handle {
                self.view().permit(who, ino, inode, Access::WRITE)?;
            }
        }
        let is_touch = (set.atime, set.mtime) == (SetTime::Now, SetTime::Now);
        if is_touch && permit_owner(who, inode).is_err() {
            self.view().permit(who, ino, inode, Access::WRITE)?;
        }
        if set.mode.is_some() && matches!(inode.body, Body::Symlink { .. }) {
            let message = "a symbolic link has no mode of its own";
            return Err(FsError::new(ErrorKind::Unsupported, message));
        }
        if set.size.is_some_and(|size| size > limits::FILE_SIZE_MAX) {
            return Err(too_large());
        }
        permit_chown(who, inode, set)?;
        let keeps_times = (set.atime, set.mtime) == (SetTime::Keep, SetTime::Keep);
        if set.mode.is_some() || !(is_touch || keeps_times) {
            permit_owner(who, inode)?;
        }
        Ok(())
    }

    fn chown(
        &mut self,
        who: &Credentials,
        ino: Ino,
        inode: &mut Inode,
        set: &SetAttr,
    ) -> Result<()> {
        inode.mode = mode_after_chown(who, inode);
        inode.uid = set.uid.unwrap_or(inode.uid);
        inode.gid = set.gid.unwrap_or(inode.gid);
        if inode.is_directory() { Ok(()) } else { self.remove_capabilities(ino, inode) }
    }

    fn chmod(&mut self, who: &Credentials, ino: Ino, inode: &mut Inode, mode: u32) -> Result<()> {
        inode.mode = mode & 0o7777;
        if !may_set_group_id(who, inode.gid) {
            inode.mode &= !SET_GID;
        }
        if inode.has_acl {
            let acl = self.view().access_acl(ino)?.with_mode(inode.mode);
            self.put_acl(ino, inode, AclKind::Access, &acl)?;
        }
        Ok(())
    }
}

/// The owner may give his file to a group he is in; everything else takes the superuser.
fn permit_chown(who: &Credentials, inode: &Inode, set: &SetAttr) -> Result<()> {
    if set.uid == Some(u32::MAX) || set.gid == Some(u32::MAX) {
        let message = "4294967295 stands for no user and no group";
        return Err(FsError::new(ErrorKind::InvalidArgument, message));
    }
    let is_owner = who.uid == inode.uid;
    let may_give = set.uid.is_none_or(|uid| is_owner && uid == inode.uid);
    let may_regroup =
        set.gid.is_none_or(|gid| is_owner && (gid == inode.gid || who.is_in_group(gid)));
    if (may_give && may_regroup) || who.is_superuser() {
        return Ok(());
    }
    Err(FsError::new(ErrorKind::NotPermitted, "only the superuser may give a file away"))
}

fn check_time(set: SetTime) -> Result<()> {
    match set {
        SetTime::At(at) => FileTime::new(at.seconds, at.nanoseconds).map(|_| ()),
        SetTime::Keep | SetTime::Now => Ok(()),
    }
}

fn apply_time(time: &mut FileTime, set: SetTime, now: FileTime) {
    match set {
        SetTime::Keep => {}
        SetTime::Now => *time = now,
        SetTime::At(at) => *time = at,
    }
}

pub(super) fn too_large() -> FsError {
    FsError::new(ErrorKind::FileTooLarge, "the file would be larger than is possible")
}
