//! Operations on names: find, make, move, remove, list.

use bytes::Bytes;

use super::cache::Fence;
use super::data::Cluster;
use super::fs::NativeFs;
use super::inodes::{Handle, Listing};
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::Packed;
use crate::proto::fs::{
    Lookup, MakeDir, MakeLink, MakeNode, MakeSymlink, ReadDir, ReadLink, RemoveDir, Rename, Unlink,
};
use crate::types::{Attr, Cookie, Credentials, DirEntry, FileKind, Ino, Name, RenameMode};

impl<C: Cluster> NativeFs<C> {
    /// The attributes of what a name stands for.
    ///
    /// # Errors
    /// `NotFound`, and those of the master.
    pub async fn lookup(&self, parent: Ino, name: &Name, who: &Credentials) -> Result<Attr> {
        match self.cache.entry(parent, name) {
            Some(None) => return Err(no_such_name()),
            Some(Some(ino)) if self.cache.attr(ino).is_some() => return self.getattr(ino).await,
            _ => {}
        }
        let fence = self.cache.fence(parent);
        let call = Lookup { parent, name: name.clone(), who: Packed(who.clone()) };
        match self.cluster.ask(call).await {
            Ok(Packed(attr)) => {
                self.cache.put_entry(parent, name, Some(attr.ino), fence);
                self.cache.put_found_attr(&attr, fence);
                self.current(attr).await
            }
            Err(error) => {
                if error.kind() == ErrorKind::NotFound {
                    self.cache.put_entry(parent, name, None, fence);
                }
                Err(error)
            }
        }
    }

    /// Attributes that came with a name, with what this mount has written and not yet sent.
    async fn current(&self, attr: Attr) -> Result<Attr> {
        let is_dirty = self.inodes.get(attr.ino).is_some_and(|inode| inode.state().is_dirty());
        if is_dirty { self.getattr(attr.ino).await } else { Ok(attr) }
    }

    /// A name was made by this mount.
    pub(super) fn note_name(&self, parent: Ino, name: &Name, attr: &Attr, fence: Fence) {
        self.cache.put_entry(parent, name, Some(attr.ino), fence);
        self.cache.put_found_attr(attr, fence);
        self.cache.drop_attr(parent);
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// Those of the master.
    pub async fn readlink(&self, ino: Ino) -> Result<Bytes> {
        self.cluster.ask(ReadLink { ino }).await
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// Those of the master.
    pub async fn mkdir(
        &self,
        parent: Ino,
        name: &Name,
        mode: u32,
        who: &Credentials,
    ) -> Result<Attr> {
        let fence = self.cache.fence(parent);
        let call = |session| {
            let (name, who) = (name.clone(), Packed(who.clone()));
            MakeDir { parent, name, mode, who, session }
        };
        let Packed(attr) = self.ask_in_session(call).await?;
        self.note_name(parent, name, &attr, fence);
        Ok(attr)
    }

    /// Makes a regular file, a device, a fifo or a socket.
    ///
    /// # Errors
    /// Those of the master.
    pub async fn mknod(
        &self,
        parent: Ino,
        name: &Name,
        (kind, mode, rdev): (FileKind, u32, u32),
        who: &Credentials,
    ) -> Result<Attr> {
        let fence = self.cache.fence(parent);
        let call = |session| {
            let (name, kind, who) = (name.clone(), Packed(kind), Packed(who.clone()));
            MakeNode { parent, name, kind, mode, rdev, who, session }
        };
        let Packed(attr) = self.ask_in_session(call).await?;
        self.note_name(parent, name, &attr, fence);
        Ok(attr)
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// Those of the master.
    pub async fn symlink(
        &self,
        parent: Ino,
        name: &Name,
        target: Bytes,
        who: &Credentials,
    ) -> Result<Attr> {
        let fence = self.cache.fence(parent);
        let call = |session| {
            let (name, target, who) = (name.clone(), target.clone(), Packed(who.clone()));
            MakeSymlink { parent, name, target, who, session }
        };
        let Packed(attr) = self.ask_in_session(call).await?;
        self.note_name(parent, name, &attr, fence);
        Ok(attr)
    }

    /// Gives an inode one more name.
    ///
    /// # Errors
    /// Those of the master.
    pub async fn link(
        &self,
        ino: Ino,
        parent: Ino,
        name: &Name,
        who: &Credentials,
    ) -> Result<Attr> {
        let fence = self.cache.fence(parent);
        let call = |session| {
            let (name, who) = (name.clone(), Packed(who.clone()));
            MakeLink { ino, parent, name, who, session }
        };
        let Packed(attr) = self.ask_in_session(call).await?;
        self.note_name(parent, name, &attr, fence);
        self.current(attr).await
    }

    /// Takes a name of a file away.
    ///
    /// # Errors
    /// Those of the master.
    pub async fn unlink(&self, parent: Ino, name: &Name, who: &Credentials) -> Result<()> {
        let call = |session| {
            let (name, who) = (name.clone(), Packed(who.clone()));
            Unlink { parent, name, who, session }
        };
        let removed = self.ask_in_session(call).await;
        self.note_removed(parent, name);
        removed.map(|_| ())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// Those of the master.
    pub async fn rmdir(&self, parent: Ino, name: &Name, who: &Credentials) -> Result<()> {
        let call = |session| {
            let (name, who) = (name.clone(), Packed(who.clone()));
            RemoveDir { parent, name, who, session }
        };
        let removed = self.ask_in_session(call).await;
        self.note_removed(parent, name);
        removed.map(|_| ())
    }

    /// What a name stood for may have lost it, whatever the answer was: it may not have come. The
    /// master tells others what this mount did, not this mount itself.
    fn note_removed(&self, parent: Ino, name: &Name) {
        match self.cache.entry(parent, name) {
            Some(Some(ino)) => self.cache.drop_attr(ino),
            Some(None) => {}
            // Some inode has one name less, and its count may be cached.
            None => self.cache.drop_attributes(),
        }
        self.cache.drop_entry(parent, name);
        self.cache.drop_attr(parent);
    }

    /// Moves a name, in one step.
    ///
    /// # Errors
    /// Those of the master.
    pub async fn rename(
        &self,
        from: (Ino, &Name),
        to: (Ino, &Name),
        mode: RenameMode,
        who: &Credentials,
    ) -> Result<()> {
        let call = |session| Rename {
            parent: from.0,
            name: from.1.clone(),
            new_parent: to.0,
            new_name: to.1.clone(),
            mode: Packed(mode),
            who: Packed(who.clone()),
            session,
        };
        let renamed = self.ask_in_session(call).await;
        self.note_removed(from.0, from.1);
        self.note_removed(to.0, to.1);
        renamed.map(|_| ())
    }

    /// Entries of an open directory behind `after`, with their attributes if asked for, and what
    /// `..` stands for. None at the end. A listing that starts anew shows what is new.
    ///
    /// # Errors
    /// Those of the master.
    pub async fn readdir(
        &self,
        handle: Handle,
        after: Cookie,
        with_attributes: bool,
        who: &Credentials,
    ) -> Result<(Ino, Vec<DirEntry>)> {
        let directory = self.inodes.directory(handle)?;
        let mut listing = directory.listing.lock().await;
        let is_start = after < Cookie::FIRST;
        if is_start {
            *listing = Listing::default();
        }
        let position = listing.entries.iter().position(|entry| entry.cookie > after);
        let is_known =
            !is_start && listing.after <= after && (listing.has_attributes || !with_attributes);
        match (position, listing.parent) {
            (Some(position), Some(parent)) if is_known => {
                return Ok((parent, listing.entries[position..].to_vec()));
            }
            (None, Some(parent)) if is_known && listing.is_last => return Ok((parent, Vec::new())),
            _ => {}
        }
        self.next_page(directory.ino, &mut listing, after, with_attributes, who).await?;
        Ok((listing.parent.unwrap_or(directory.ino), listing.entries.clone()))
    }

    /// Those of the entries whose attributes are about to change by what was written here.
    pub fn unsent(&self, entries: &[DirEntry]) -> Vec<Ino> {
        let has_unsent =
            |ino: &Ino| self.inodes.get(*ino).is_some_and(|inode| inode.state().is_dirty());
        entries.iter().map(|entry| entry.ino).filter(has_unsent).collect()
    }

    async fn next_page(
        &self,
        ino: Ino,
        listing: &mut Listing,
        after: Cookie,
        with_attributes: bool,
        who: &Credentials,
    ) -> Result<()> {
        let fence = self.cache.fence(ino);
        let call = ReadDir {
            ino,
            after: Packed(after),
            until: Packed(listing.until),
            limit: limits::LISTING_PAGE,
            with_attributes,
            who: Packed(who.clone()),
        };
        let Packed(mut page) = self.cluster.ask(call).await?;
        for entry in &mut page.entries {
            self.cache.put_entry(ino, &entry.name, Some(entry.ino), fence);
            if let Some(attr) = &entry.attr {
                self.cache.put_found_attr(attr, fence);
            }
            // A listing does not wait for chunk servers, so the times may be older than the bytes.
            if let (Some(attr), Some(inode)) = (&mut entry.attr, self.inodes.get(entry.ino)) {
                attr.size = attr.size.max(inode.state().size());
            }
        }
        *listing = Listing {
            parent: Some(page.parent),
            until: Some(page.until),
            after,
            entries: page.entries,
            is_last: page.is_last,
            has_attributes: with_attributes,
        };
        Ok(())
    }
}

fn no_such_name() -> FsError {
    FsError::new(ErrorKind::NotFound, "there is no such name")
}
