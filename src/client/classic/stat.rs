//! Attributes between the pickled dict, where times are floats and types are bits of a mode, and
//! the words of the file system.

use crate::clock;
use crate::error::{ErrorKind, FsError, Result};
use crate::pickle::Attributes;
pub use crate::pickle::{to_seconds, to_time};
use crate::types::{Attr, Credentials, FileKind, FileTime, Ino};

/// Permission, set-id and sticky bits of a mode.
pub const PERMISSIONS: u32 = 0o7777;

/// The time now, as a dict has it.
#[must_use]
pub fn now_s() -> f64 {
    to_seconds(FileTime::from(clock::now_system()))
}

/// The kind of file that a dict is about.
///
/// # Errors
/// `Protocol` for a mode that has none.
pub fn kind(attributes: &Attributes) -> Result<FileKind> {
    FileKind::from_mode(attributes.mode).ok_or_else(|| {
        let message = format!("the mode {:o} is of no kind of file", attributes.mode);
        FsError::new(ErrorKind::Protocol, message)
    })
}

/// The attributes of something new. In a directory with the set-group-id bit it gets the
/// directory's group, and a new directory the bit as well.
#[must_use]
pub fn new_attributes(
    kind: FileKind,
    mode: u32,
    who: &Credentials,
    directory: &Attributes,
) -> Attributes {
    let inherits = directory.mode & libc::S_ISGID != 0;
    let is_directory = kind == FileKind::Directory;
    let bit = if inherits && is_directory { libc::S_ISGID } else { 0 };
    let now = now_s();
    Attributes {
        mode: kind.mode_bits() | mode & PERMISSIONS | bit,
        nlink: if is_directory { 2 } else { 1 },
        uid: Some(who.uid),
        gid: if inherits { directory.gid } else { Some(who.gid) },
        atime_s: now,
        mtime_s: now,
        ctime_s: now,
        ..Attributes::default()
    }
}

/// What `stat` shows. `owner` and `group` are for dicts that name none.
///
/// # Errors
/// As [`kind`].
pub fn to_attr(ino: Ino, attributes: &Attributes, owner: u32, group: u32) -> Result<Attr> {
    let ctime = to_time(attributes.ctime_s);
    Ok(Attr {
        ino,
        generation: 0,
        kind: kind(attributes)?,
        mode: attributes.mode & PERMISSIONS,
        nlink: attributes.nlink,
        uid: attributes.uid.unwrap_or(owner),
        gid: attributes.gid.unwrap_or(group),
        rdev: 0,
        size: attributes.size,
        bytes: attributes.size,
        atime: to_time(attributes.atime_s),
        mtime: to_time(attributes.mtime_s),
        ctime,
        btime: ctime,
        data_version: 0,
        has_xattrs: false,
    })
}

#[cfg(test)]
mod tests {
    use super::{new_attributes, to_attr};
    use crate::types::{Credentials, FileKind, Ino};

    #[test]
    fn a_set_group_id_directory_hands_its_group_down() {
        let who = Credentials { uid: 5, gid: 6, groups: Vec::new(), umask: 0 };
        let plain = new_attributes(FileKind::Directory, 0o2755, &who, &Default::default());
        assert_eq!((plain.uid, plain.gid, plain.nlink), (Some(5), Some(6), 2));
        let mut dir = plain;
        dir.gid = Some(9);
        let file = new_attributes(FileKind::Regular, 0o644, &who, &dir);
        assert_eq!((file.mode, file.gid), (0o100_644, Some(9)));
        let below = new_attributes(FileKind::Directory, 0o755, &who, &dir);
        assert_eq!((below.mode, below.gid), (0o042_755, Some(9)));
        assert_eq!(to_attr(Ino(3), &below, 0, 0).unwrap().mode, 0o2755);
    }
}
