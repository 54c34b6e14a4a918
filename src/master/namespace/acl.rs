//! POSIX access control lists: the kernel's encoding, their meaning, how they and mode bits follow
//! each other.
//!
//! The encoding is that of the extended attributes `system.posix_acl_access` and
//! `system.posix_acl_default` (Linux, `include/uapi/linux/posix_acl_xattr.h`): a 32-bit version,
//! which is 2, then entries of a 16-bit tag, 16 bits of permissions and a 32-bit user or group
//! number; all little-endian. The meaning is that of POSIX.1e draft 17, as in `acl(5)`.

use crate::error::{ErrorKind, FsError, Result};
use crate::types::Credentials;

const VERSION: u32 = 2;
const HEADER_SIZE: usize = 4;
const ENTRY_SIZE: usize = 8;

const USER_OBJECT: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJECT: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Stands for no user and no group.
const NO_ID: u32 = u32::MAX;

/// A valid list: owner, named users, owning group, named groups, mask, others, in this order, and
/// a mask if anybody is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Acl(Vec<AclEntry>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AclEntry {
    tag: u16,
    /// 0 to 7, as a digit of a mode.
    permissions: u16,
    id: u32,
}

impl Acl {
    /// Reads the kernel's encoding. A list without entries is `None`: there is to be no ACL.
    ///
    /// # Errors
    /// `Unsupported` for another version, `InvalidArgument` for anything else that is wrong.
    pub(super) fn parse(value: &[u8]) -> Result<Option<Self>> {
        if value.is_empty() {
            return Ok(None);
        }
        let (header, rest) = value.split_first_chunk::<HEADER_SIZE>().ok_or_else(malformed)?;
        if u32::from_le_bytes(*header) != VERSION {
            return Err(FsError::new(ErrorKind::Unsupported, "the ACL's version is not 2"));
        }
        let (chunks, []) = rest.as_chunks::<ENTRY_SIZE>() else { return Err(malformed()) };
        if chunks.is_empty() {
            return Ok(None);
        }
        let acl = Self(chunks.iter().map(AclEntry::parse).collect());
        if acl.is_valid() { Ok(Some(acl)) } else { Err(malformed()) }
    }

    /// Writes the kernel's encoding.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(HEADER_SIZE + ENTRY_SIZE * self.0.len());
        value.extend_from_slice(&VERSION.to_le_bytes());
        for entry in &self.0 {
            value.extend_from_slice(&entry.tag.to_le_bytes());
            value.extend_from_slice(&entry.permissions.to_le_bytes());
            value.extend_from_slice(&entry.id.to_le_bytes());
        }
        value
    }

    fn is_valid(&self) -> bool {
        let mut expected = USER_OBJECT;
        let mut needs_mask = false;
        for entry in &self.0 {
            let is_named = matches!(entry.tag, USER | GROUP);
            expected = match (expected, entry.tag) {
                (USER_OBJECT, USER_OBJECT) | (USER, USER) => USER,
                (USER, GROUP_OBJECT) | (GROUP, GROUP) => GROUP,
                (GROUP, MASK) => OTHER,
                (GROUP, OTHER) if !needs_mask => 0,
                (OTHER, OTHER) => 0,
                _ => return false,
            };
            needs_mask |= is_named;
            if entry.permissions > 7 || (is_named && entry.id == NO_ID) {
                return false;
            }
        }
        expected == 0
    }

    /// Whether the list lets somebody do all of `wanted` (a digit of a mode) with a file of this
    /// owner and group. The superuser is not special here.
    pub(super) fn permits(&self, who: &Credentials, uid: u32, gid: u32, wanted: u16) -> bool {
        let masked = |entry: &AclEntry| entry.permissions & self.mask() & wanted == wanted;
        let mut is_in_some_group = false;
        for entry in &self.0 {
            let is_group_that_matches = match entry.tag {
                USER_OBJECT if who.uid == uid => return entry.permissions & wanted == wanted,
                USER if who.uid == entry.id => return masked(entry),
                GROUP_OBJECT => who.is_in_group(gid),
                GROUP => who.is_in_group(entry.id),
                OTHER => return !is_in_some_group && entry.permissions & wanted == wanted,
                _ => false,
            };
            // Any one of the groups is enough, if it alone grants everything before the mask.
            if is_group_that_matches {
                is_in_some_group = true;
                if entry.permissions & wanted == wanted {
                    return masked(entry);
                }
            }
        }
        false
    }

    /// The permission bits that show the list in a mode: owner, mask (or group), others.
    pub(super) fn mode(&self) -> u32 {
        let group_tag = self.group_class();
        self.0.iter().fold(0, |mode, entry| {
            mode | match entry.tag {
                USER_OBJECT => u32::from(entry.permissions) << 6,
                tag if tag == group_tag => u32::from(entry.permissions) << 3,
                OTHER => u32::from(entry.permissions),
                _ => 0,
            }
        })
    }

    /// Whether the list says more than the bits of [`Acl::mode`] do.
    pub(super) fn is_extended(&self) -> bool {
        self.0.iter().any(|entry| matches!(entry.tag, USER | GROUP | MASK))
    }

    /// The list after a `chmod`.
    pub(super) fn with_mode(mut self, mode: u32) -> Self {
        self.set_mode(|_, bits| bits, mode);
        self
    }

    /// The access list of a file created with `mode` in a directory with this default list.
    pub(super) fn inherited(mut self, mode: u32) -> Self {
        self.set_mode(|permissions, bits| permissions & bits, mode);
        self
    }

    fn set_mode(&mut self, choose: impl Fn(u16, u16) -> u16, mode: u32) {
        let group_tag = self.group_class();
        for entry in &mut self.0 {
            let shift = match entry.tag {
                USER_OBJECT => 6,
                tag if tag == group_tag => 3,
                OTHER => 0,
                _ => continue,
            };
            entry.permissions = choose(entry.permissions, digit(mode, shift));
        }
    }

    /// Which entry the group bits of a mode stand for.
    fn group_class(&self) -> u16 {
        if self.0.iter().any(|entry| entry.tag == MASK) { MASK } else { GROUP_OBJECT }
    }

    fn mask(&self) -> u16 {
        self.0.iter().find(|entry| entry.tag == MASK).map_or(7, |entry| entry.permissions)
    }
}

impl AclEntry {
    fn parse(bytes: &[u8; ENTRY_SIZE]) -> Self {
        let [t0, t1, p0, p1, id @ ..] = *bytes;
        let tag = u16::from_le_bytes([t0, t1]);
        let permissions = u16::from_le_bytes([p0, p1]);
        // Whatever an unnamed entry carries as its number means nothing.
        let id = if matches!(tag, USER | GROUP) { u32::from_le_bytes(id) } else { NO_ID };
        Self { tag, permissions, id }
    }
}

/// One octal digit of a mode.
pub(super) fn digit(mode: u32, shift: u32) -> u16 {
    u16::try_from((mode >> shift) & 7).expect("it is below 8")
}

fn malformed() -> FsError {
    FsError::new(ErrorKind::InvalidArgument, "the ACL is malformed")
}

#[cfg(test)]
mod tests {
    use super::{Acl, Credentials, ErrorKind};

    /// An ACL's bytes from its entries: (tag, permissions, id).
    fn bytes(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut value = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            value.extend(tag.to_le_bytes());
            value.extend(permissions.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        value
    }

    const NONE: u32 = u32::MAX;

    fn named() -> Vec<(u16, u16, u32)> {
        vec![(1, 7, NONE), (2, 6, 10), (4, 5, NONE), (8, 7, 20), (16, 6, NONE), (32, 1, NONE)]
    }

    fn user(uid: u32, groups: &[u32]) -> Credentials {
        Credentials { uid, gid: 999, groups: groups.to_vec(), umask: 0 }
    }

    #[test]
    fn lists_survive_the_kernels_encoding() {
        let value = bytes(&named());
        assert_eq!(Acl::parse(&value).unwrap().unwrap().encode(), value);
        assert_eq!(Acl::parse(&bytes(&[])).unwrap(), None);
    }

    #[test]
    fn malformed_lists_are_refused() {
        let minimal = [(1, 7, NONE), (4, 5, NONE), (32, 0, NONE)];
        assert!(Acl::parse(&bytes(&minimal)).unwrap().is_some());
        let without_mask = [(1, 7, NONE), (2, 7, 10), (4, 5, NONE), (32, 0, NONE)];
        let without_other = [(1, 7, NONE), (4, 5, NONE)];
        let disordered = [(4, 7, NONE), (1, 5, NONE), (32, 0, NONE)];
        let too_much = [(1, 8, NONE), (4, 5, NONE), (32, 0, NONE)];
        let nobody = [(1, 7, NONE), (2, 7, NONE), (4, 5, NONE), (16, 7, NONE), (32, 0, NONE)];
        let twice = [(1, 7, NONE), (4, 5, NONE), (32, 0, NONE), (32, 0, NONE)];
        for bad in [&without_mask[..], &without_other, &disordered, &too_much, &nobody, &twice] {
            assert_eq!(Acl::parse(&bytes(bad)).unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
        let mut cut = bytes(&minimal);
        cut.pop();
        assert_eq!(Acl::parse(&cut).unwrap_err().kind(), ErrorKind::InvalidArgument);
        let mut other_version = bytes(&minimal);
        other_version[0] = 1;
        assert_eq!(Acl::parse(&other_version).unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn the_first_entry_that_fits_decides() {
        let acl = Acl::parse(&bytes(&named())).unwrap().unwrap();
        let permits = |who: Credentials, wanted| acl.permits(&who, 1, 2, wanted);
        assert!(permits(user(1, &[]), 7), "the mask does not bind the owner");
        assert!(permits(user(10, &[]), 6));
        assert!(!permits(user(10, &[]), 1), "nor do others' rights help a named user");
        assert!(permits(user(5, &[2]), 4));
        assert!(!permits(user(5, &[2]), 1), "the mask binds the owning group");
        assert!(permits(user(5, &[2, 20]), 6), "any group is enough");
        assert!(!permits(user(5, &[20]), 7));
        assert!(permits(user(5, &[]), 1));
        assert!(!permits(user(5, &[]), 4));
    }

    #[test]
    fn lists_and_modes_follow_each_other() {
        let acl = Acl::parse(&bytes(&named())).unwrap().unwrap();
        assert!(acl.is_extended());
        assert_eq!(acl.mode(), 0o761);
        assert_eq!(acl.clone().with_mode(0o4750).mode(), 0o750);
        assert_eq!(acl.clone().inherited(0o4650).mode(), 0o640);
        let minimal = Acl::parse(&bytes(&[(1, 7, NONE), (4, 5, NONE), (32, 4, NONE)]));
        let minimal = minimal.unwrap().unwrap();
        assert!(!minimal.is_extended());
        assert_eq!(minimal.with_mode(0o123).mode(), 0o123);
    }
}
