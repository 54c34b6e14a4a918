//! Inodes that somebody knows by their number only, from a file handle: numbers are never used
//! again, so there is no mistaking one.

use super::data::Cluster;
use super::fs::NativeFs;
use crate::error::{ErrorKind, FsError, Result};
use crate::proto::Packed;
use crate::proto::fs::ReadDir;
use crate::types::{Attr, Cookie, Credentials, Ino};

impl<C: Cluster> NativeFs<C> {
    /// The attributes of an inode that still has a name.
    ///
    /// # Errors
    /// `Stale` if it has none, or never was; those of the master.
    pub async fn find(&self, ino: Ino) -> Result<Attr> {
        let attr = self.getattr(ino).await?;
        if attr.nlink == 0 {
            return Err(FsError::new(ErrorKind::Stale, "the file has been removed"));
        }
        Ok(attr)
    }

    /// The attributes of the directory that a directory is in; of the root, its own.
    ///
    /// # Errors
    /// `NotDirectory`; `Stale`; those of the master.
    pub async fn find_parent(&self, directory: Ino) -> Result<Attr> {
        // The listing of it tells. That somebody may go by numbers is for the kernel to decide.
        let call = ReadDir {
            ino: directory,
            after: Packed(Cookie::START),
            until: Packed(None),
            limit: 1,
            with_attributes: false,
            who: Packed(Credentials::ROOT),
        };
        let Packed(page) = self.cluster.ask(call).await?;
        self.getattr(page.parent).await
    }
}
