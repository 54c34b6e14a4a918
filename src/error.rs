//! The closed list of what can go wrong with a file or a value, and its two translations: the
//! errno that a mount returns, and the code of the XML-RPC fault that carries it between machines.
//!
//! A fault code above 0 is the errno (Linux numbers) of an [`ErrorKind`]; the codes of XML-RPC
//! itself are below 0 and stay in [`crate::rpc`].

use std::borrow::Cow;
use std::fmt;
use std::io;

/// Result of an operation on files or values.
pub type Result<T> = std::result::Result<T, FsError>;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $errno:ident,)*) => {
        /// What went wrong; one errno each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorKind { $($(#[$doc])* $kind,)* }

        impl ErrorKind {
            /// Every kind, for tests and for the way back from a number.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// The errno (Linux numbers) that a mount returns.
            #[must_use]
            pub const fn errno(self) -> i32 {
                match self { $(Self::$kind => libc::$errno,)* }
            }
        }
    };
}

kinds! {
    /// No such file, directory or key.
    NotFound = ENOENT,
    /// The name is taken.
    Exists = EEXIST,
    /// A directory was needed.
    NotDirectory = ENOTDIR,
    /// A directory was not wanted.
    IsDirectory = EISDIR,
    /// The directory has entries.
    NotEmpty = ENOTEMPTY,
    /// The mode bits or ACL forbid it.
    AccessDenied = EACCES,
    /// Only an owner or root may do it.
    NotPermitted = EPERM,
    /// An argument makes no sense.
    InvalidArgument = EINVAL,
    /// A name, path or key over its limit.
    NameTooLong = ENAMETOOLONG,
    /// Too many names for one inode.
    TooManyLinks = EMLINK,
    /// Too many symbolic links on the way.
    SymlinkLoop = ELOOP,
    /// No room on the servers.
    NoSpace = ENOSPC,
    /// The file would be larger than is possible.
    FileTooLarge = EFBIG,
    /// No such extended attribute.
    NoAttribute = ENODATA,
    /// The buffer is too small for the answer.
    BufferTooSmall = ERANGE,
    /// An attribute or argument is too big.
    TooBig = E2BIG,
    /// Both names must be on one file system.
    CrossDevice = EXDEV,
    /// Somebody uses it.
    Busy = EBUSY,
    /// The handle or inode is gone.
    Stale = ESTALE,
    /// Not a handle for this.
    BadHandle = EBADF,
    /// No data or hole behind the offset.
    NoSuchOffset = ENXIO,
    /// The operation is unknown here.
    Unsupported = EOPNOTSUPP,
    /// The lock is held by another.
    WouldBlock = EAGAIN,
    /// Waiting for the lock would never end.
    Deadlock = EDEADLK,
    /// Too many locks.
    NoLocks = ENOLCK,
    /// Too many open files.
    TooManyOpen = ENFILE,
    /// A signal cut the call short.
    Interrupted = EINTR,
    /// A server did not answer in time.
    TimedOut = ETIMEDOUT,
    /// A server cannot be reached.
    Unreachable = EHOSTUNREACH,
    /// A server was named that nobody registered.
    UnknownServer = ENODEV,
    /// A server or client of another cluster.
    WrongCluster = EREMCHG,
    /// Stored contents do not match their checksum.
    Corrupt = EBADMSG,
    /// A peer answered what it may not.
    Protocol = EPROTO,
    /// The server keeps no more changes until it is restarted.
    ReadOnly = EROFS,
    /// Anything else that a disk or a network does.
    Io = EIO,
}

impl ErrorKind {
    /// Whether a call that failed so may have been carried out all the same: the answer did not come,
    /// or cannot be read, or the server failed in the middle.
    #[must_use]
    pub const fn leaves_outcome_open(self) -> bool {
        matches!(self, Self::TimedOut | Self::Io | Self::Protocol)
    }

    /// Whether a call that failed so may not have had time enough.
    #[must_use]
    pub const fn is_late(self) -> bool {
        matches!(self, Self::TimedOut | Self::Unreachable)
    }

    /// The kind with this errno, if it is one of ours.
    #[must_use]
    pub fn from_errno(errno: i32) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.errno() == errno)
    }
}

/// An error with its kind and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsError {
    kind: ErrorKind,
    message: Cow<'static, str>,
}

impl FsError {
    /// An error that says what happened and, if there is something to do, what.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The sentence for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same error with `what` in front of its message: where it happened.
    #[must_use]
    pub fn context(self, what: impl fmt::Display) -> Self {
        Self { kind: self.kind, message: format!("{what}: {}", self.message).into() }
    }
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            write!(f, "{:?}", self.kind)
        } else {
            f.write_str(&self.message)
        }
    }
}

impl std::error::Error for FsError {}

impl From<io::Error> for FsError {
    fn from(error: io::Error) -> Self {
        let kind =
            error.raw_os_error().and_then(ErrorKind::from_errno).unwrap_or(match error.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
                io::ErrorKind::TimedOut => ErrorKind::TimedOut,
                _ => ErrorKind::Io,
            });
        Self::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorKind;

    #[test]
    fn every_kind_comes_back_from_its_errno() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_errno(kind.errno()), Some(*kind));
        }
        assert_eq!(ErrorKind::from_errno(0), None);
    }
}
