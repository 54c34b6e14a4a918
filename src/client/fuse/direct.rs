//! Mounting as the superuser, by the system call. fuser does it as well, but leaves the kind of the file
//! system out, so that `mount`, `findmnt` and `df -t` would not know it from any other of FUSE.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::Options;
use crate::client::vfs::KernelPolicy;

/// What the kernel and everybody else calls this file system: the second part is all ours.
const KIND: &str = "fuse.htfs";

/// A mount that fuser does not know of. Dropping it takes it away.
pub(super) struct Direct<'a>(Option<&'a Path>);

impl Direct<'_> {
    /// It stays: somebody else takes care of it.
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Direct<'_> {
    fn drop(&mut self) {
        if let Some(at) = self.0
            && let Err(error) = unmount(at, UnmountFlags::DETACH)
        {
            tracing::error!("{} stays mounted: {error}", at.display());
        }
    }
}

/// Mounts at a directory, and answers the connection to the kernel. `None` if this process may not: for
/// others there is fusermount.
///
/// # Errors
/// What the system says.
pub(super) fn mount_directly<'a>(
    at: &'a Path,
    options: &Options,
    policy: KernelPolicy,
) -> io::Result<Option<(OwnedFd, Direct<'a>)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_CLOEXEC)
        .open("/dev/fuse")?;
    let mut data = format!(
        "fd={},rootmode={:o},user_id={},group_id={},default_permissions",
        device.as_raw_fd(),
        fs::metadata(at)?.mode() & libc::S_IFMT,
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    if options.allows_other {
        data.push_str(",allow_other");
    }
    let mut flags = MountFlags::empty();
    flags.set(MountFlags::NOSUID, !options.trusts_set_id);
    flags.set(MountFlags::NODEV, !options.trusts_devices);
    flags.set(MountFlags::NOATIME, !policy.is_posix);
    let data = CString::new(data)?;
    match mount(options.source.as_str(), at, KIND, flags, Some(data.as_c_str())) {
        Ok(()) => Ok(Some((device.into(), Direct(Some(at))))),
        // A superuser of a container, perhaps.
        Err(rustix::io::Errno::PERM) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
