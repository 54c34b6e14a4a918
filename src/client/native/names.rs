//! Operations on names: find, make, move, remove, list.

use std::time::Instant;

use bytes::Bytes;

use super::data::Cluster;
use super::fence::Fence;
use super::fs::NativeFs;
use super::inodes::LastPage;
use crate::client::vfs::{Handle, Listing, Node};
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::Packed;
use crate::proto::fs::{
    Changed, Lookup, MakeDir, MakeLink, MakeNode, MakeSymlink, ReadLink, RemoveDir, Rename, Unlink,
};
use crate::types::{Attr, Cookie, Credentials, DirEntry, DirPage, Ino, Name, RenameMode};

impl<C: Cluster> NativeFs<C> {
    /// The attributes of what a name stands for.
    ///
    /// # Errors
    /// `NotFound`, and those of the master.
    pub async fn lookup(&self, parent: Ino, name: &Name, who: &Credentials) -> Result<Attr> {
        if let Some(known) = self.known(parent, name) {
            return self.getattr(known.ok_or_else(no_such_name)?).await;
        }
        if self.list_ahead(parent, who).await
            && let Some(known) = self.known(parent, name)
        {
            return self.getattr(known.ok_or_else(no_such_name)?).await;
        }
        let fence = self.cache.fence();
        let call = Lookup { parent, name: name.clone(), who: Packed(who.clone()) };
        match self.cluster.ask(call).await {
            Ok(Packed(attr)) => {
                self.cache.put_entry(parent, name, Some(attr.ino), &fence);
                self.cache.put_attr(&attr, &fence);
                self.current(attr).await
            }
            Err(error) => {
                if error.kind() == ErrorKind::NotFound {
                    self.cache.put_entry(parent, name, None, &fence);
                }
                Err(error)
            }
        }
    }

    /// What a name stands for, with attributes in the cache, or that it stands for nothing, if that
    /// is known here.
    fn known(&self, parent: Ino, name: &Name) -> Option<Option<Ino>> {
        let known = self.entry(parent, name)?;
        if known.is_some_and(|ino| self.cache.attr(ino).is_none()) {
            return None;
        }
        if known.is_some() {
            self.ahead.note_hit(parent);
        }
        Some(known)
    }

    /// Attributes that came with a name, with what this mount has written and not yet sent.
    async fn current(&self, attr: Attr) -> Result<Attr> {
        let Some(inode) = self.inodes.get(attr.ino) else { return Ok(attr) };
        let (is_dirty, attr) = {
            let mut state = inode.state();
            (state.is_dirty(), state.update(attr))
        };
        if is_dirty { self.getattr(attr.ino).await } else { Ok(attr) }
    }

    /// A name was made by this mount.
    pub(super) fn note_name(
        &self,
        (parent, name): (Ino, &Name),
        attr: &Attr,
        directory: Option<&Attr>,
        fence: &Fence,
    ) {
        self.cache.renew_entries(&[(parent, name, Some(attr.ino))], fence);
        match directory {
            Some(directory) => self.cache.renew_attr(directory, fence),
            None => self.cache.drop_attr_only(parent),
        }
        self.cache.renew_attr(attr, fence);
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
        let fence = self.cache.fence();
        let call = |session| {
            let (name, who) = (name.clone(), Packed(who.clone()));
            MakeDir { parent, name, mode, who, session }
        };
        let losses = self.cache.losses();
        let made = self.ask_in_session(call).await;
        let Packed(attr) = self.forget_unless_done(made, &[(parent, name)])?;
        self.cache.put_complete(attr.ino, &fence, losses);
        self.note_name((parent, name), &attr, None, &fence);
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
        node: Node,
        who: &Credentials,
    ) -> Result<Attr> {
        let Node { kind, mode, rdev } = node;
        let fence = self.cache.fence();
        let call = |session| {
            let (name, kind, who) = (name.clone(), Packed(kind), Packed(who.clone()));
            MakeNode { parent, name, kind, mode, rdev, who, session }
        };
        let made = self.ask_in_session(call).await;
        let Packed(attr) = self.forget_unless_done(made, &[(parent, name)])?;
        self.note_name((parent, name), &attr, None, &fence);
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
        let fence = self.cache.fence();
        let call = |session| {
            let (name, target, who) = (name.clone(), target.clone(), Packed(who.clone()));
            MakeSymlink { parent, name, target, who, session }
        };
        let made = self.ask_in_session(call).await;
        let Packed(attr) = self.forget_unless_done(made, &[(parent, name)])?;
        self.note_name((parent, name), &attr, None, &fence);
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
        let fence = self.cache.fence();
        let call = |session| {
            let (name, who) = (name.clone(), Packed(who.clone()));
            MakeLink { ino, parent, name, who, session }
        };
        let made = self.ask_in_session(call).await;
        let Packed(attr) = self.forget_unless_done(made, &[(parent, name)])?;
        self.note_name((parent, name), &attr, None, &fence);
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
        let fence = self.cache.fence();
        let removed = self.ask_in_session(call).await;
        self.note_removed((parent, name), removed, &fence)
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
        let fence = self.cache.fence();
        let removed = self.ask_in_session(call).await;
        self.note_removed((parent, name), removed, &fence)
    }

    /// A name was taken away, if the master said so. It tells others what this mount did, and this
    /// mount itself only in the answer.
    fn note_removed(
        &self,
        place: (Ino, &Name),
        outcome: Result<Packed<Changed>>,
        fence: &Fence,
    ) -> Result<()> {
        let Packed(changed) = self.forget_unless_done(outcome, &[place])?;
        self.note_changed(&changed, fence);
        self.cache.renew_entries(&[(place.0, place.1, None)], fence);
        Ok(())
    }

    fn note_changed(&self, changed: &Changed, fence: &Fence) {
        changed.attributes.iter().for_each(|attr| self.cache.renew_attr(attr, fence));
        changed.gone.iter().for_each(|ino| self.cache.drop_attr(*ino));
    }

    pub(super) fn drop_name(&self, parent: Ino, name: &Name) {
        self.cache.drop_entry(parent, name);
        self.cache.drop_attr(parent);
    }

    /// What a name stands for, if that is known here.
    fn entry(&self, parent: Ino, name: &Name) -> Option<Option<Ino>> {
        let known = self.cache.entry(parent, name);
        known.or_else(|| self.cache.is_left_out(parent, name).then_some(None))
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
        let known = (self.entry(from.0, from.1), self.entry(to.0, to.1));
        let fence = self.cache.fence();
        let renamed = self.ask_in_session(call).await;
        let Packed(changed) = self.forget_unless_done(renamed, &[from, to])?;
        self.note_changed(&changed, &fence);
        match known {
            // Two names of one inode stay as they are.
            (Some(Some(moved)), Some(taken))
                if mode != RenameMode::Exchange && taken != Some(moved) =>
            {
                let made = [(from.0, from.1, None), (to.0, to.1, Some(moved))];
                self.cache.renew_entries(&made, &fence);
            }
            _ => {
                self.drop_name(from.0, from.1);
                self.drop_name(to.0, to.1);
            }
        }
        Ok(())
    }

    /// Entries of an open directory behind `after`, with their attributes if asked for. A listing
    /// that starts anew shows what is new.
    ///
    /// # Errors
    /// Those of the master.
    pub async fn readdir(
        &self,
        handle: Handle,
        after: Cookie,
        with_attributes: bool,
        who: &Credentials,
    ) -> Result<Listing> {
        let directory = self.inodes.directory(handle)?;
        let mut page = directory.last_page.lock().await;
        let is_start = after < Cookie::FIRST;
        let was_unread = std::mem::take(&mut page.is_unread);
        if is_start && was_unread && page.is_fresh() {
            self.bring_up_to_date(directory.ino, &mut page);
        } else if is_start {
            *page = LastPage::default();
        }
        let has_wanted = !with_attributes || page.has_attributes && page.is_fresh();
        if page.since.is_some() && page.after <= after && has_wanted {
            let known = self.known_listing(directory.ino, &page, after);
            // To the kernel an empty answer is the end.
            if page.is_last || !known.entries.is_empty() {
                return Ok(known);
            }
        }
        self.next_page(directory.ino, &mut page, after, with_attributes, who).await?;
        let parent = page.parent.unwrap_or(directory.ino);
        Ok(self.listing(parent, page.entries.clone()))
    }

    /// What is still true of a page that came a moment ago, behind `after`: the kernel takes what it
    /// gets for what there is, and this mount may have changed names meanwhile.
    fn known_listing(&self, ino: Ino, page: &LastPage, after: Cookie) -> Listing {
        let is_true = |entry: &&DirEntry| {
            entry.cookie > after
                && self.entry(ino, &entry.name).is_none_or(|known| known == Some(entry.ino))
        };
        let entries = page.entries.iter().filter(is_true).cloned().collect();
        self.listing(page.parent.unwrap_or(ino), entries)
    }

    fn listing(&self, parent: Ino, entries: Vec<DirEntry>) -> Listing {
        let is_unsent =
            |ino: &Ino| self.inodes.get(*ino).is_some_and(|inode| inode.state().is_dirty());
        let unsent = entries.iter().map(|entry| entry.ino).filter(is_unsent).collect();
        Listing { parent, entries, unsent }
    }

    async fn next_page(
        &self,
        ino: Ino,
        last: &mut LastPage,
        after: Cookie,
        with_attributes: bool,
        who: &Credentials,
    ) -> Result<()> {
        let range = (after, last.until);
        let page = self.fetch_page(ino, range, limits::LISTING_PAGE, with_attributes, who).await?;
        *last = LastPage { after, has_attributes: with_attributes, ..LastPage::from(page) };
        self.bring_up_to_date(ino, last);
        Ok(())
    }

    /// Puts what this mount knows better into a page that the kernel is about to get.
    fn bring_up_to_date(&self, ino: Ino, page: &mut LastPage) {
        for entry in &mut page.entries {
            // A listing does not wait for chunk servers, so the times may be older than the bytes.
            if let (Some(attr), Some(inode)) = (&mut entry.attr, self.inodes.get(entry.ino)) {
                *attr = inode.state().update(attr.clone());
            }
            if page.has_attributes {
                // Each is as good as a lookup to the kernel.
                self.told.note(ino, &entry.name, entry.ino);
            }
        }
    }
}

impl From<DirPage> for LastPage {
    /// The first page, with attributes.
    fn from(page: DirPage) -> Self {
        Self {
            parent: Some(page.parent),
            until: Some(page.until),
            after: Cookie::START,
            entries: page.entries,
            is_last: page.is_last,
            has_attributes: true,
            since: Some(Instant::now()),
            is_unread: false,
        }
    }
}

fn no_such_name() -> FsError {
    FsError::new(ErrorKind::NotFound, "there is no such name")
}
