//! ACLs of inodes: kept as the extended attributes that the kernel knows them by, and in step with
//! the permission bits.

use crate::error::{ErrorKind, FsError, Result};
use crate::types::{Credentials, Ino};

use super::acl::Acl;
use super::permission::{SET_GID, may_set_group_id, permit_owner};
use super::records::{Body, Inode, corrupt};
use super::{Namespace, View};

/// The two ACLs that an inode can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AclKind {
    /// Who may do what with it.
    Access,
    /// Of a directory: what new files in it begin with.
    Default,
}

impl AclKind {
    pub(super) const ALL: [Self; 2] = [Self::Access, Self::Default];

    /// The extended attribute.
    pub(super) const fn name(self) -> &'static [u8] {
        match self {
            Self::Access => b"system.posix_acl_access",
            Self::Default => b"system.posix_acl_default",
        }
    }
}

impl View<'_> {
    /// The access ACL of an inode that has one.
    pub(super) fn access_acl(&self, ino: Ino) -> Result<Acl> {
        self.acl(ino, AclKind::Access)
    }

    /// The default ACL of a directory that has one.
    pub(super) fn default_acl(&self, ino: Ino) -> Result<Acl> {
        self.acl(ino, AclKind::Default)
    }

    fn acl(&self, ino: Ino, kind: AclKind) -> Result<Acl> {
        let value = self.find_xattr(ino, kind.name())?.unwrap_or_default();
        let acl = Acl::parse(&value)?;
        acl.ok_or_else(|| corrupt(format!("the ACL of inode {ino} is not there")))
    }
}

impl Namespace<'_> {
    /// Sets or removes an ACL for somebody. `parse` reads it, once everything that Linux checks
    /// earlier has been checked.
    ///
    /// # Errors
    /// `Unsupported` for a symbolic link; those of `parse`; `AccessDenied` for the default ACL of
    /// what is no directory; `NotPermitted`; `NoSpace`.
    pub(super) fn set_acl(
        &mut self,
        who: &Credentials,
        ino: Ino,
        inode: &mut Inode,
        kind: AclKind,
        parse: impl FnOnce() -> Result<Option<Acl>>,
    ) -> Result<()> {
        let acl = parse()?;
        require_acls(inode)?;
        if kind == AclKind::Default && !inode.is_directory() {
            let message = "only a directory has a default ACL";
            let refused = Err(FsError::new(ErrorKind::AccessDenied, message));
            return if acl.is_some() { refused } else { Ok(()) };
        }
        permit_owner(who, inode)?;
        let did_change = match (kind, acl) {
            (AclKind::Access, Some(acl)) => self.apply_acl(who, ino, inode, &acl).map(|()| true),
            (AclKind::Default, Some(acl)) => self.put_acl(ino, inode, kind, &acl).map(|()| true),
            (_, None) => self.delete_acl(ino, inode, kind),
        }?;
        if did_change {
            self.save_changed(ino, inode);
        }
        Ok(())
    }

    /// Makes permission bits and access ACL what `acl` says.
    fn apply_acl(
        &mut self,
        who: &Credentials,
        ino: Ino,
        inode: &mut Inode,
        acl: &Acl,
    ) -> Result<()> {
        if acl.is_extended() {
            self.put_acl(ino, inode, AclKind::Access, acl)?;
        } else {
            self.delete_acl(ino, inode, AclKind::Access)?;
        }
        inode.mode = inode.mode & !0o777 | acl.mode();
        if !may_set_group_id(who, inode.gid) {
            inode.mode &= !SET_GID;
        }
        Ok(())
    }

    /// Stores an ACL; the inode is changed but not stored.
    pub(super) fn put_acl(
        &mut self,
        ino: Ino,
        inode: &mut Inode,
        kind: AclKind,
        acl: &Acl,
    ) -> Result<()> {
        self.put_xattr(ino, inode, kind.name(), &acl.encode())?;
        inode.note_acl(kind, true);
        Ok(())
    }

    fn delete_acl(&mut self, ino: Ino, inode: &mut Inode, kind: AclKind) -> Result<bool> {
        inode.note_acl(kind, false);
        self.delete_xattr(ino, inode, kind.name())
    }
}

impl Inode {
    fn note_acl(&mut self, kind: AclKind, is_there: bool) {
        match kind {
            AclKind::Access => self.has_acl = is_there,
            AclKind::Default => self.has_default_acl = is_there,
        }
    }
}

/// A symbolic link has no permissions, and so no ACL.
pub(super) fn require_acls(inode: &Inode) -> Result<()> {
    match inode.body {
        Body::Symlink { .. } => {
            Err(FsError::new(ErrorKind::Unsupported, "a symbolic link has no ACL"))
        }
        _ => Ok(()),
    }
}
