//! The mountpoint: checking it, mounting on it, and leaving it clean whatever happens.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::mount::UnmountFlags;
use tokio::sync::oneshot;

use crate::client::fuse::{Options, mount_session};
use crate::client::vfs::Vfs;
use crate::error::{ErrorKind, FsError, Result};

/// Longest time for the kernel to say anything about the mountpoint.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for the kernel to hang up after the mount is gone. It does not while programs
/// still have files open; those get errors when this process ends.
const HANG_UP_TIMEOUT: Duration = Duration::from_millis(300);

/// A mounted file system. Dropping it unmounts.
#[derive(Debug)]
pub struct Mounted {
    mountpoint: PathBuf,
    ended: oneshot::Receiver<io::Result<()>>,
    is_mounted: bool,
}

impl Mounted {
    /// Mounts a file system.
    ///
    /// # Errors
    /// Says what is wrong with the mountpoint, or with FUSE, and what to do.
    pub async fn new<V: Vfs>(vfs: V, mountpoint: &Path, options: Options) -> Result<Self> {
        let mountpoint = check_in_time(mountpoint).await?;
        let (runtime, at) = (tokio::runtime::Handle::current(), mountpoint.clone());
        let mount = move || mount_session(vfs, &at, &options, runtime);
        let serve = tokio::task::spawn_blocking(mount)
            .await
            .map_err(|error| FsError::new(ErrorKind::Io, error.to_string()))?
            .map_err(|error| cannot_mount(&mountpoint, &error))?;
        let (to_ended, ended) = oneshot::channel();
        // Not one of tokio's threads: it may have to outlive the runtime, and it must not keep the
        // runtime from ending.
        std::thread::Builder::new().name("fuse".to_owned()).spawn(move || {
            to_ended.send(serve()).ok();
        })?;
        Ok(Self { mountpoint, ended, is_mounted: true })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Returns when somebody else has unmounted it.
    ///
    /// # Errors
    /// What went wrong between the kernel and this process, if that is why.
    pub async fn ended(&mut self) -> Result<()> {
        let ended = (&mut self.ended).await;
        self.is_mounted = false;
        match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(FsError::from(error).context("the kernel's requests")),
            Err(_) => Err(FsError::new(ErrorKind::Io, "the thread for requests has died")),
        }
    }

    /// Unmounts, if nobody else has. From this moment no program finds the file system any more; those that still
    /// have files open keep them until this process ends.
    ///
    /// # Errors
    /// What the system says.
    pub async fn unmount(mut self) -> Result<()> {
        if !self.is_mounted {
            return Ok(());
        }
        let mountpoint = self.mountpoint.clone();
        tokio::task::spawn_blocking(move || detach(&mountpoint))
            .await
            .map_err(|error| FsError::new(ErrorKind::Io, error.to_string()))??;
        self.is_mounted = false;
        match tokio::time::timeout(HANG_UP_TIMEOUT, self.ended()).await {
            Ok(result) => result,
            Err(_) => {
                let mountpoint = self.mountpoint.display();
                tracing::warn!("programs still have files of {mountpoint} open");
                Ok(())
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.is_mounted
            && let Err(error) = detach(&self.mountpoint)
        {
            tracing::error!("{} stays mounted: {error}", self.mountpoint.display());
        }
    }
}

/// Takes the mount out of the tree at once, also if it is in use.
fn detach(mountpoint: &Path) -> Result<()> {
    match rustix::mount::unmount(mountpoint, UnmountFlags::DETACH) {
        Ok(()) => return Ok(()),
        // Somebody was faster.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => return Ok(()),
        Err(rustix::io::Errno::PERM) => {}
        Err(error) => return Err(io::Error::from(error).into()),
    }
    // Users other than root may not; a program with the right to do it for them comes with FUSE.
    let mut unmount = Command::new("fusermount3");
    unmount.args(["-u", "-z", "--"]).arg(mountpoint).stdin(Stdio::null()).stdout(Stdio::null());
    let status = unmount.status()?;
    if status.success() {
        return Ok(());
    }
    let message = format!("fusermount3 could not unmount {} ({status})", mountpoint.display());
    Err(FsError::new(ErrorKind::Io, message))
}

async fn check_in_time(mountpoint: &Path) -> Result<PathBuf> {
    let path = mountpoint.to_owned();
    let checked = tokio::task::spawn_blocking(move || check(&path));
    match tokio::time::timeout(CHECK_TIMEOUT, checked).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(FsError::new(ErrorKind::Io, error.to_string())),
        Err(_) => {
            let message = format!(
                "{0} does not answer: another file system hangs there; see `findmnt {0}`",
                mountpoint.display()
            );
            Err(FsError::new(ErrorKind::TimedOut, message))
        }
    }
}

/// The mountpoint's path without detours, if something can be mounted there.
///
/// # Errors
/// Says what is in the way, and what to do.
pub fn check(mountpoint: &Path) -> Result<PathBuf> {
    let shown = mountpoint.display();
    let wrong = |kind, message| Err(FsError::new(kind, message));
    let has_died = || {
        let message = format!(
            "{shown} is still mounted, and the client that mounted it has died; \
             run `fusermount3 -uz {shown}` and try again"
        );
        wrong(ErrorKind::Busy, message)
    };
    let metadata = match fs::metadata(mountpoint) {
        Ok(metadata) => metadata,
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => return has_died(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = format!("there is no directory {shown}; make it with `mkdir -p {shown}`");
            return wrong(ErrorKind::NotFound, message);
        }
        Err(error) => return Err(FsError::from(error).context(shown)),
    };
    if !metadata.is_dir() {
        return wrong(ErrorKind::NotDirectory, format!("{shown} is not a directory"));
    }
    let path = fs::canonicalize(mountpoint)?;
    if is_fuse(&path)? {
        // The kernel may still know the directory's attributes, but not the room on a dead mount.
        if rustix::fs::statfs(&path).is_err_and(|error| error == rustix::io::Errno::NOTCONN) {
            return has_died();
        }
        let message = format!(
            "something is mounted on {shown} already; unmount it with `fusermount3 -u {shown}`"
        );
        return wrong(ErrorKind::Busy, message);
    }
    if fs::read_dir(&path)?.next().is_some() {
        let message = format!("{shown} is not empty; mount on an empty directory");
        return wrong(ErrorKind::NotEmpty, message);
    }
    check_fuse()?;
    Ok(path)
}

/// Whether the topmost mount on a path is of FUSE, and so perhaps one of ours.
fn is_fuse(path: &Path) -> Result<bool> {
    let parent = path.parent().map(fs::metadata).transpose()?;
    if parent.is_some_and(|parent| fs::metadata(path).is_ok_and(|own| own.dev() == parent.dev())) {
        return Ok(false);
    }
    // Fields of proc_pid_mountinfo(5): the fifth is the mountpoint, with octal escapes for blanks;
    // the first behind " - " is the type.
    let mounts = fs::read("/proc/self/mountinfo")?;
    let lines = mounts.split(|byte| *byte == b'\n');
    let mut on_path = lines.filter(|line| {
        let field = line.split(|byte| *byte == b' ').nth(4);
        field.is_some_and(|field| unescape(field) == path.as_os_str().as_bytes())
    });
    let of_fuse = |line: &[u8]| line.windows(7).any(|part| part == b" - fuse");
    Ok(on_path.next_back().is_some_and(of_fuse))
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.first_chunk::<3>().filter(|_| byte == b'\\');
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) => {
                out.push(code);
                rest = &tail[3..];
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}

fn check_fuse() -> Result<()> {
    match fs::OpenOptions::new().read(true).write(true).open("/dev/fuse") {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let message = "this user may not open /dev/fuse; see its permissions";
            Err(FsError::new(ErrorKind::AccessDenied, message))
        }
        Err(_) => {
            let message = "there is no FUSE here (/dev/fuse cannot be opened): load the kernel \
                module with `modprobe fuse`, or give the container the device";
            Err(FsError::new(ErrorKind::Unsupported, message))
        }
    }
}

fn cannot_mount(mountpoint: &Path, error: &io::Error) -> FsError {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; a user other than root needs fusermount3 (package fuse3), and for --allow-other \
             the line user_allow_other in /etc/fuse.conf"
        }
        io::ErrorKind::NotFound => "; is fusermount3 (package fuse3) installed?",
        _ => "",
    };
    let reason = error.to_string();
    let message = format!("cannot mount on {}: {}{hint}", mountpoint.display(), reason.trim());
    FsError::new(ErrorKind::Io, message)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{check, unescape};
    use crate::error::ErrorKind;

    #[test]
    fn each_wrong_mountpoint_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let kind = |path: &Path| check(path).unwrap_err().kind();
        assert_eq!(kind(&dir.path().join("missing")), ErrorKind::NotFound);
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(kind(&file), ErrorKind::NotDirectory);
        assert_eq!(kind(dir.path()), ErrorKind::NotEmpty);
    }

    #[test]
    fn blanks_in_mountpoints_are_found() {
        assert_eq!(unescape(br"/a\040b\134\011"), b"/a b\\\t");
        assert_eq!(unescape(br"/a\09\9"), br"/a\09\9");
    }
}
