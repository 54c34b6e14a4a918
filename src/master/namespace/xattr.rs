//! Extended attributes, ACLs among them.
//!
//! | names                      | read                | written                                |
//! |----------------------------|---------------------|----------------------------------------|
//! | `user.*`                   | who may read        | who may write; files, directories only |
//! | `trusted.*`                | the superuser       | the superuser                          |
//! | `security.*`               | everybody           | the superuser                          |
//! | `system.posix_acl_access`  | everybody           | the owner                              |
//! | `system.posix_acl_default` | everybody           | the owner; directories only            |
//!
//! Errors are as `xattr_permission` in Linux (`fs/xattr.c`) and `set_posix_acl` (`fs/posix_acl.c`)
//! have them.

use bytes::Bytes;

use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::types::{Access, Credentials, Ino, XattrMode};

use super::acl::Acl;
use super::permission::{STICKY, permit_owner};
use super::records::{Body, Inode, XATTRS, decode_bare, encode_bare, ino_key, named_key};
use super::set_acl::{AclKind, require_acls};
use super::{Namespace, View};

/// Rights that a program file gives to its process; not to outlive a change of the file.
const CAPABILITIES: &[u8] = b"security.capability";

/// Whose rules hold for an attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    User,
    Trusted,
    Security,
    Acl(AclKind),
}

impl View<'_> {
    /// The value of an extended attribute.
    ///
    /// # Errors
    /// `BufferTooSmall` (`ERANGE`) for an empty or too long name; `Stale`; then `NoAttribute` for
    /// what the caller may not know of, `AccessDenied` for what he may not read; `Unsupported`;
    /// `InvalidArgument` for a bare prefix; `NoAttribute`.
    pub fn getxattr(&self, who: &Credentials, ino: Ino, name: &[u8]) -> Result<Bytes> {
        check_name(name)?;
        let inode = self.inode(ino)?;
        let class = Class::of(name);
        match class {
            Ok(Class::Trusted) if !who.is_superuser() => return Err(no_attribute()),
            Ok(Class::User) if !may_have_user_attributes(&inode) => return Err(no_attribute()),
            Ok(Class::Acl(_)) => require_acls(&inode)?,
            Err(_) if name.starts_with(b"system.") => {}
            Ok(Class::User) | Err(_) => self.permit(who, ino, &inode, Access::READ)?,
            Ok(Class::Trusted | Class::Security) => {}
        }
        class?.with_suffix(name)?;
        self.find_xattr(ino, name)?.ok_or_else(no_attribute)
    }

    /// The names of all extended attributes that the caller may know of.
    ///
    /// # Errors
    /// `Stale`.
    pub fn listxattr(&self, who: &Credentials, ino: Ino) -> Result<Vec<Bytes>> {
        if self.inode(ino)?.xattr_list_size == 0 {
            return Ok(Vec::new());
        }
        let (from, to) = (ino_key(ino), ino_key(Ino(ino.0 + 1)));
        let records = self.txn.scan(XATTRS, &from, &to, usize::MAX)?;
        let names = records.into_iter().map(|(key, _)| key.slice(8..));
        let is_shown = |name: &Bytes| who.is_superuser() || !name.starts_with(b"trusted.");
        Ok(names.filter(is_shown).collect())
    }

    pub(super) fn find_xattr(&self, ino: Ino, name: &[u8]) -> Result<Option<Bytes>> {
        let Some(value) = self.txn.get(XATTRS, &named_key(ino, name))? else { return Ok(None) };
        Ok(Some(value.slice_ref(decode_bare(XATTRS, &value)?)))
    }

    fn permit_setxattr(
        &self,
        who: &Credentials,
        ino: Ino,
        inode: &Inode,
        name: &[u8],
    ) -> Result<Class> {
        let forbidden = |message| Err(FsError::new(ErrorKind::NotPermitted, message));
        let class = Class::of(name);
        match class {
            Ok(Class::Trusted | Class::Security) if !who.is_superuser() => {
                return forbidden("only the superuser may set such an attribute");
            }
            Ok(Class::User) if !may_have_user_attributes(inode) => {
                return forbidden("only files and directories have user attributes");
            }
            Ok(Class::User) if inode.is_directory() && inode.mode & STICKY != 0 => {
                permit_owner(who, inode)?;
                self.permit(who, ino, inode, Access::WRITE)?;
            }
            Err(_) if name.starts_with(b"system.") => {}
            Ok(Class::User) | Err(_) => self.permit(who, ino, inode, Access::WRITE)?,
            Ok(_) => {}
        }
        class?.with_suffix(name)
    }
}

impl Namespace<'_> {
    /// Sets an extended attribute. Setting an ACL sets the permission bits with it; an ACL that
    /// says no more than those is not stored. `mode` does not matter to ACLs.
    ///
    /// # Errors
    /// `BufferTooSmall` (`ERANGE`) for an empty or too long name; `TooBig` over
    /// [`limits::XATTR_VALUE_SIZE_MAX`]; `Stale`; `NotPermitted` or `AccessDenied` as the table
    /// says; `Unsupported`; `InvalidArgument` for a bare prefix; for an ACL `Unsupported`,
    /// `InvalidArgument`, or `AccessDenied` for the default ACL of something that is no directory;
    /// `Exists` or `NoAttribute` against `mode`; `NoSpace` over [`limits::XATTR_TOTAL_SIZE_MAX`].
    pub fn setxattr(
        &mut self,
        who: &Credentials,
        ino: Ino,
        name: &[u8],
        value: &[u8],
        mode: XattrMode,
    ) -> Result<()> {
        check_name(name)?;
        if value.len() > limits::XATTR_VALUE_SIZE_MAX {
            return Err(FsError::new(ErrorKind::TooBig, "the attribute's value is too long"));
        }
        let mut inode = self.inode(ino)?;
        let class = self.view().permit_setxattr(who, ino, &inode, name)?;
        if let Class::Acl(kind) = class {
            return self.set_acl(who, ino, &mut inode, kind, || Acl::parse(value));
        }
        let is_there = self.view().find_xattr(ino, name)?.is_some();
        match mode {
            XattrMode::Create if is_there => {
                return Err(FsError::new(ErrorKind::Exists, "the attribute is there already"));
            }
            XattrMode::Replace if !is_there => return Err(no_attribute()),
            _ => {}
        }
        self.put_xattr(ino, &mut inode, name, value)?;
        self.save_changed(ino, &mut inode);
        Ok(())
    }

    /// Removes an extended attribute. The permission bits stay as an access ACL had set them.
    ///
    /// # Errors
    /// As [`Namespace::setxattr`], and `NoAttribute`, except for ACLs, which may be removed again
    /// and again.
    pub fn removexattr(&mut self, who: &Credentials, ino: Ino, name: &[u8]) -> Result<()> {
        check_name(name)?;
        let mut inode = self.inode(ino)?;
        let class = self.view().permit_setxattr(who, ino, &inode, name)?;
        if let Class::Acl(kind) = class {
            return self.set_acl(who, ino, &mut inode, kind, || Ok(None));
        }
        if !self.delete_xattr(ino, &mut inode, name)? {
            return Err(no_attribute());
        }
        self.save_changed(ino, &mut inode);
        Ok(())
    }

    /// Takes away the rights that a program file gives to its process; the inode is changed but not
    /// stored.
    pub(super) fn remove_capabilities(&mut self, ino: Ino, inode: &mut Inode) -> Result<()> {
        self.delete_xattr(ino, inode, CAPABILITIES).map(drop)
    }

    /// Stores an attribute; the inode is changed but not stored.
    pub(super) fn put_xattr(
        &mut self,
        ino: Ino,
        inode: &mut Inode,
        name: &[u8],
        value: &[u8],
    ) -> Result<()> {
        let (old_list, old_total) = self.xattr_size(ino, inode, name)?;
        let list = inode.xattr_list_size as usize - old_list + name.len() + 1;
        let total = inode.xattr_total_size as usize - old_total + name.len() + 1 + value.len();
        if list > limits::XATTR_LIST_SIZE_MAX || total > limits::XATTR_TOTAL_SIZE_MAX {
            let message = "the inode has too many extended attributes";
            return Err(FsError::new(ErrorKind::NoSpace, message));
        }
        inode.xattr_list_size = u32::try_from(list).expect("it is within its limit");
        inode.xattr_total_size = u32::try_from(total).expect("it is within its limit");
        self.txn.put(XATTRS, &named_key(ino, name), &encode_bare(value));
        Ok(())
    }

    /// Deletes an attribute if it is there; the inode is changed but not stored.
    pub(super) fn delete_xattr(
        &mut self,
        ino: Ino,
        inode: &mut Inode,
        name: &[u8],
    ) -> Result<bool> {
        let (list, total) = self.xattr_size(ino, inode, name)?;
        if list == 0 {
            return Ok(false);
        }
        inode.xattr_list_size -= u32::try_from(list).expect("it was counted before");
        inode.xattr_total_size -= u32::try_from(total).expect("it was counted before");
        self.txn.delete(XATTRS, &named_key(ino, name));
        Ok(true)
    }

    /// What an attribute adds to the two sizes of its inode; 0 if it is not there.
    fn xattr_size(&self, ino: Ino, inode: &Inode, name: &[u8]) -> Result<(usize, usize)> {
        // Most inodes have none at all, and every write asks for the capabilities.
        if inode.xattr_list_size == 0 {
            return Ok((0, 0));
        }
        let value = self.view().find_xattr(ino, name)?;
        Ok(value.map_or((0, 0), |value| (name.len() + 1, name.len() + 1 + value.len())))
    }
}

impl Class {
    /// The prefixes that need a name behind them.
    const PREFIXES: [(&'static [u8], Self); 3] =
        [(b"user.", Self::User), (b"trusted.", Self::Trusted), (b"security.", Self::Security)];

    /// # Errors
    /// `Unsupported` for names outside the table.
    fn of(name: &[u8]) -> Result<Self> {
        if let Some(kind) = AclKind::ALL.into_iter().find(|kind| kind.name() == name) {
            return Ok(Self::Acl(kind));
        }
        let prefix = Self::PREFIXES.into_iter().find(|(prefix, _)| name.starts_with(prefix));
        prefix.map(|(_, class)| class).ok_or_else(|| {
            FsError::new(ErrorKind::Unsupported, "there are no attributes of that kind here")
        })
    }

    /// The class, unless the name is a bare prefix, which Linux finds out after the permissions.
    fn with_suffix(self, name: &[u8]) -> Result<Self> {
        if Self::PREFIXES.into_iter().any(|(prefix, _)| prefix == name) {
            let message = "the attribute has no name behind its prefix";
            return Err(FsError::new(ErrorKind::InvalidArgument, message));
        }
        Ok(self)
    }
}

/// `BufferTooSmall` (`ERANGE`, as Linux has it) unless the name has 1 to
/// [`limits::XATTR_NAME_SIZE_MAX`] bytes and no NUL.
fn check_name(name: &[u8]) -> Result<()> {
    if (1..=limits::XATTR_NAME_SIZE_MAX).contains(&name.len()) && !name.contains(&0) {
        return Ok(());
    }
    Err(FsError::new(ErrorKind::BufferTooSmall, "the attribute's name is empty or too long"))
}

fn may_have_user_attributes(inode: &Inode) -> bool {
    matches!(inode.body, Body::Regular(_) | Body::Directory(_))
}

fn no_attribute() -> FsError {
    FsError::new(ErrorKind::NoAttribute, "there is no such attribute")
}
