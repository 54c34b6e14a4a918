//! New names: create, mkdir, mknod, symlink, link.
//!
//! The errors of all of them begin alike, in the order of Linux (`filename_create` and `may_create`
//! in `fs/namei.c`): `Stale` and `NotDirectory` for the directory; `AccessDenied` if the caller may
//! not search it; `Exists` if the name is taken; `NotFound` if the directory has been removed;
//! `AccessDenied` if the caller may not write to it. Each operation adds what comes then.

use bytes::Bytes;

use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::types::{Access, Attr, Credentials, FileKind, Ino, Name};

use super::Namespace;
use super::permission::{GROUP_EXECUTE, SET_GID, STICKY, may_set_group_id};
use super::records::{Body, Contents, Directory, Inode};
use super::set_acl::AclKind;

/// Permission bits that `mkdir` can set; a set-group-id bit only comes from the parent.
const MKDIR_MODE: u32 = 0o777 | STICKY;

impl Namespace<'_> {
    /// Opens a regular file by name and makes it if it is not there: `open` with `O_CREAT`, and
    /// with `O_EXCL` if `is_exclusive`. Answers whether the file is new.
    ///
    /// A new file may be opened in any way, whatever its mode. One that is there, of whatever kind,
    /// is judged as by [`View::open`](super::View::open) for `wanted`.
    ///
    /// # Errors
    /// As all new names. For a name that is taken: `Exists` if exclusive, `IsDirectory` for a
    /// directory, then those of `open`.
    pub fn create(
        &mut self,
        who: &Credentials,
        directory: Ino,
        name: &Name,
        mode: u32,
        open: CreateOpen,
    ) -> Result<(Attr, bool)> {
        let view = self.view();
        view.searchable(who, directory)?;
        if let Some(entry) = view.find_entry(directory, name)?
            && !open.is_exclusive
        {
            if entry.kind == FileKind::Directory {
                return Err(FsError::new(ErrorKind::IsDirectory, "it is a directory"));
            }
            return Ok((view.open(who, entry.ino, open.wanted)?, false));
        }
        let attr = self.mknod(who, directory, name, FileKind::Regular, mode, 0)?;
        Ok((attr, true))
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As all new names, then `TooManyLinks` if the parent has [`limits::LINKS_MAX`] already.
    pub fn mkdir(
        &mut self,
        who: &Credentials,
        directory: Ino,
        name: &Name,
        mode: u32,
    ) -> Result<Attr> {
        let parent = self.permit_new_name(who, directory, name)?;
        if parent.nlink >= limits::LINKS_MAX {
            return Err(too_many_links());
        }
        let body = Directory::new(directory).into();
        self.add(who, (directory, parent), name, mode & MKDIR_MODE, body)
    }

    /// Makes a regular file, a device, a fifo or a socket. `rdev` is for devices.
    ///
    /// # Errors
    /// First `NotPermitted` for a directory and `InvalidArgument` for a symbolic link; then as all
    /// new names; then `NotPermitted` if anybody but the superuser wants a device.
    pub fn mknod(
        &mut self,
        who: &Credentials,
        directory: Ino,
        name: &Name,
        kind: FileKind,
        mode: u32,
        rdev: u32,
    ) -> Result<Attr> {
        let body = match kind {
            FileKind::Regular => Body::Regular(Contents::default()),
            FileKind::CharDevice => Body::CharDevice { rdev },
            FileKind::BlockDevice => Body::BlockDevice { rdev },
            FileKind::Fifo => Body::Fifo,
            FileKind::Socket => Body::Socket,
            FileKind::Directory => {
                return Err(FsError::new(ErrorKind::NotPermitted, "a directory takes a mkdir"));
            }
            FileKind::Symlink => {
                return Err(FsError::new(ErrorKind::InvalidArgument, "a symlink needs a target"));
            }
        };
        let parent = self.permit_new_name(who, directory, name)?;
        let is_device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
        if is_device && !who.is_superuser() {
            let message = "only the superuser may make devices";
            return Err(FsError::new(ErrorKind::NotPermitted, message));
        }
        self.add(who, (directory, parent), name, mode & 0o7777, body)
    }

    /// Makes a symbolic link to any text.
    ///
    /// # Errors
    /// First, for the target: `NotFound` if it is empty, `NameTooLong` over
    /// [`limits::SYMLINK_SIZE_MAX`] bytes, `InvalidArgument` with a NUL in it; then as all new
    /// names.
    pub fn symlink(
        &mut self,
        who: &Credentials,
        directory: Ino,
        name: &Name,
        target: Bytes,
    ) -> Result<Attr> {
        let wrong = match &target[..] {
            [] => Some((ErrorKind::NotFound, "a symbolic link needs a target")),
            long if long.len() > limits::SYMLINK_SIZE_MAX => {
                Some((ErrorKind::NameTooLong, "the target is too long"))
            }
            text if text.contains(&0) => {
                Some((ErrorKind::InvalidArgument, "the target has a NUL in it"))
            }
            _ => None,
        };
        if let Some((kind, message)) = wrong {
            return Err(FsError::new(kind, message));
        }
        let parent = self.permit_new_name(who, directory, name)?;
        self.add(who, (directory, parent), name, 0o777, Body::Symlink { target })
    }

    /// Gives an inode one more name.
    ///
    /// # Errors
    /// First `Stale` for the inode; then as all new names; then `NotPermitted` for a directory,
    /// `NotFound` if its last name is gone already, `TooManyLinks` if it has
    /// [`limits::LINKS_MAX`].
    pub fn link(
        &mut self,
        who: &Credentials,
        ino: Ino,
        directory: Ino,
        name: &Name,
    ) -> Result<Attr> {
        let mut inode = self.inode(ino)?;
        let mut parent = self.permit_new_name(who, directory, name)?;
        if inode.is_directory() {
            let message = "a directory has one name only";
            return Err(FsError::new(ErrorKind::NotPermitted, message));
        }
        if inode.is_orphan() {
            return Err(FsError::new(ErrorKind::NotFound, "the file has been removed"));
        }
        if inode.nlink >= limits::LINKS_MAX {
            return Err(too_many_links());
        }
        self.add_entry(directory, &mut parent, name, (ino, &inode))?;
        self.save_directory(directory, &mut parent);
        inode.nlink += 1;
        self.save_changed(ino, &mut inode);
        Ok(inode.attr(ino))
    }

    /// The checks that all new names share; the directory.
    pub(super) fn permit_new_name(
        &self,
        who: &Credentials,
        directory: Ino,
        name: &Name,
    ) -> Result<Inode> {
        let view = self.view();
        let inode = view.searchable(who, directory)?;
        if view.find_entry(directory, name)?.is_some() {
            return Err(FsError::new(ErrorKind::Exists, "the name is taken"));
        }
        view.permit_adding(who, directory, &inode)?;
        Ok(inode)
    }

    /// Makes an inode and its first name.
    fn add(
        &mut self,
        who: &Credentials,
        parent: (Ino, Inode),
        name: &Name,
        mode: u32,
        body: Body,
    ) -> Result<Attr> {
        let ino = self.next_ino()?;
        self.add_as(who, ino, parent, name, mode, body)
    }

    /// The same with a number that was reserved before.
    pub(super) fn add_as(
        &mut self,
        who: &Credentials,
        ino: Ino,
        (directory, mut parent): (Ino, Inode),
        name: &Name,
        mode: u32,
        body: Body,
    ) -> Result<Attr> {
        let mut inode = Inode::new(who, mode, self.now, body);
        inherit_group(who, &parent, &mut inode);
        self.count_inode(&mut inode)?;
        self.inherit_acl(who, (directory, &parent), (ino, &mut inode))?;
        self.save_inode(ino, &inode);
        if inode.is_directory() {
            parent.nlink += 1;
        }
        self.add_entry(directory, &mut parent, name, (ino, &inode))?;
        self.save_directory(directory, &mut parent);
        Ok(inode.attr(ino))
    }

    /// Sets the permission bits of a new inode: from the default ACL of its directory, which also
    /// gives it ACLs of its own, or else by the umask.
    fn inherit_acl(
        &mut self,
        who: &Credentials,
        (directory, parent): (Ino, &Inode),
        (ino, inode): (Ino, &mut Inode),
    ) -> Result<()> {
        if matches!(inode.body, Body::Symlink { .. }) {
            return Ok(());
        }
        if !parent.has_default_acl {
            inode.mode &= !(who.umask & 0o777);
            return Ok(());
        }
        let default = self.view().default_acl(directory)?;
        let access = default.clone().inherited(inode.mode);
        inode.mode = inode.mode & !0o777 | access.mode();
        if access.is_extended() {
            self.put_acl(ino, inode, AclKind::Access, &access)?;
        }
        if inode.is_directory() {
            self.put_acl(ino, inode, AclKind::Default, &default)?;
        }
        Ok(())
    }
}

/// How [`Namespace::create`] opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreateOpen {
    /// The file must not be there yet.
    pub is_exclusive: bool,
    /// What a file that is there is opened for.
    pub wanted: Access,
}

/// In a directory with the set-group-id bit everything belongs to its group (`inode_init_owner` and
/// `mode_strip_sgid` in Linux, `fs/inode.c`).
fn inherit_group(who: &Credentials, parent: &Inode, inode: &mut Inode) {
    if parent.mode & SET_GID == 0 {
        return;
    }
    inode.gid = parent.gid;
    let is_set_group_id = inode.mode & SET_GID != 0 && inode.mode & GROUP_EXECUTE != 0;
    if inode.is_directory() {
        inode.mode |= SET_GID;
    } else if is_set_group_id && !may_set_group_id(who, parent.gid) {
        inode.mode &= !SET_GID;
    }
}

pub(super) fn too_many_links() -> FsError {
    FsError::new(ErrorKind::TooManyLinks, "it has as many links as there can be")
}
