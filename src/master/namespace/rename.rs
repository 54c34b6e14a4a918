//! Renaming: plain, without replacing, and exchanging.

use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::types::{Access, Credentials, Ino, Name, RenameMode};

use super::create::too_many_links;
use super::entry::not_found;
use super::inode::not_directory;
use super::records::{ENTRIES, Entry, Inode, ORDER, named_key, numbered_key};
use super::remove::require_empty;
use super::{Namespace, View};

/// A name, in a directory that the caller may search.
struct Place<'n> {
    directory: Ino,
    parent: Inode,
    name: &'n Name,
}

/// What a name stands for.
struct Target {
    entry: Entry,
    inode: Inode,
}

/// A rename with all that is needed to judge it, and then to do it.
struct Rename<'n> {
    source: Place<'n>,
    moved: Target,
    destination: Place<'n>,
    taken: Option<Target>,
    mode: RenameMode,
}

impl Namespace<'_> {
    /// Gives what `from` stands for the name `to`; both are a directory and a name in it. With
    /// [`RenameMode::Exchange`] the two change places. Two names of one inode stay as they are.
    ///
    /// An entry keeps its cookie when it is renamed within its directory, and a name that is
    /// replaced keeps its own, so that a reader of the directory sees each file once.
    ///
    /// # Errors
    /// In the order of Linux (`do_renameat2` and `vfs_rename` in `fs/namei.c`): for `from` and then
    /// `to` `Stale`, `NotDirectory` and `AccessDenied` for the directory; `NotFound` if `from`, or
    /// for an exchange `to`, is not there, or the directory of `to` has been removed; `Exists` if
    /// `to` may not be replaced and is there; `InvalidArgument` if a directory would come to be
    /// inside itself; `NotEmpty` if `to` is a directory that `from` is in. Then the permission to
    /// remove `from`: `AccessDenied`, `NotPermitted`. Then for `to` the permission to make it,
    /// `AccessDenied`, or to remove what is there: `AccessDenied`, `NotPermitted`, `NotDirectory`
    /// if `from` is a directory and it is none, `IsDirectory` the other way round. Then
    /// `AccessDenied` if a directory that gets another parent may not be written to;
    /// `TooManyLinks`; `NotEmpty`.
    pub fn rename(
        &mut self,
        who: &Credentials,
        from: (Ino, &Name),
        to: (Ino, &Name),
        mode: RenameMode,
    ) -> Result<()> {
        let view = self.view();
        let (source, moved) = view.place(who, from)?;
        let (destination, taken) = view.place(who, to)?;
        let moved = moved.ok_or_else(not_found)?;
        if destination.parent.is_orphan() {
            return Err(not_found());
        }
        match (mode, &taken) {
            (RenameMode::NoReplace, Some(_)) => {
                return Err(FsError::new(ErrorKind::Exists, "the new name is taken"));
            }
            (RenameMode::Exchange, None) => return Err(not_found()),
            _ => {}
        }
        let rename = Rename { source, moved, destination, taken, mode };
        view.forbid_loops(&rename)?;
        if rename.taken.as_ref().is_some_and(|taken| taken.entry.ino == rename.moved.entry.ino) {
            return Ok(());
        }
        view.permit_rename(who, &rename)?;
        match rename {
            Rename {
                mode: RenameMode::Exchange,
                source,
                moved,
                destination,
                taken: Some(taken),
            } => self.exchange(source, moved, destination, taken),
            Rename { source, moved, destination, taken, .. } => {
                self.move_over(source, moved, destination, taken)
            }
        }
    }

    fn move_over(
        &mut self,
        source: Place<'_>,
        mut moved: Target,
        destination: Place<'_>,
        taken: Option<Target>,
    ) -> Result<()> {
        let is_same_directory = source.directory == destination.directory;
        let old = moved.entry.clone();
        self.txn.delete(ENTRIES, &named_key(source.directory, source.name.as_bytes()));
        self.txn.delete(ORDER, &numbered_key(source.directory, old.cookie.0));
        self.changed_entry(source.directory, source.name);

        let mut parent = source.parent;
        parent.directory_mut()?.entries -= 1;
        parent.nlink -= moved.subdirectories();
        if !is_same_directory {
            self.save_directory(source.directory, &mut parent);
            parent = destination.parent;
            moved.set_parent(destination.directory);
        }
        let directory = parent.directory_mut()?;
        let cookie = match &taken {
            Some(taken) => taken.entry.cookie,
            None if is_same_directory => old.cookie,
            None => directory.take_cookie(),
        };
        directory.entries += 1;
        parent.nlink += moved.subdirectories();
        if let Some(mut taken) = taken {
            parent.directory_mut()?.entries -= 1;
            parent.nlink -= taken.subdirectories();
            self.drop_link(taken.entry.ino, &mut taken.inode);
        }
        self.put_entry(destination.directory, destination.name, &Entry { cookie, ..old });
        self.save_directory(destination.directory, &mut parent);
        self.save_changed(moved.entry.ino, &mut moved.inode);
        Ok(())
    }

    fn exchange(
        &mut self,
        source: Place<'_>,
        mut moved: Target,
        destination: Place<'_>,
        mut taken: Target,
    ) -> Result<()> {
        let (there, here) = (taken.entry.cookie, moved.entry.cookie);
        let arrived = Entry { cookie: there, ..moved.entry.clone() };
        self.put_entry(destination.directory, destination.name, &arrived);
        let arrived = Entry { cookie: here, ..taken.entry.clone() };
        self.put_entry(source.directory, source.name, &arrived);

        let mut parent = source.parent;
        if source.directory != destination.directory {
            parent.nlink = parent.nlink - moved.subdirectories() + taken.subdirectories();
            self.save_directory(source.directory, &mut parent);
            parent = destination.parent;
            parent.nlink = parent.nlink - taken.subdirectories() + moved.subdirectories();
            moved.set_parent(destination.directory);
            taken.set_parent(source.directory);
        }
        self.save_directory(destination.directory, &mut parent);
        self.save_changed(moved.entry.ino, &mut moved.inode);
        self.save_changed(taken.entry.ino, &mut taken.inode);
        Ok(())
    }
}

impl View<'_> {
    fn place<'n>(
        &self,
        who: &Credentials,
        (directory, name): (Ino, &'n Name),
    ) -> Result<(Place<'n>, Option<Target>)> {
        let parent = self.searchable(who, directory)?;
        let target = match self.find_entry(directory, name)? {
            Some(entry) => Some(Target { inode: self.named_inode(&entry)?, entry }),
            None => None,
        };
        Ok((Place { directory, parent, name }, target))
    }

    /// No directory may come to be inside itself.
    fn forbid_loops(&self, rename: &Rename<'_>) -> Result<()> {
        let Rename { source, moved, destination, taken, mode } = rename;
        if source.directory == destination.directory {
            return Ok(());
        }
        if moved.inode.is_directory() && self.is_inside(destination, moved.entry.ino)? {
            let message = "a directory cannot move into itself";
            return Err(FsError::new(ErrorKind::InvalidArgument, message));
        }
        if let Some(taken) = taken
            && taken.inode.is_directory()
            && self.is_inside(source, taken.entry.ino)?
        {
            let kind = match mode {
                RenameMode::Exchange => ErrorKind::InvalidArgument,
                _ => ErrorKind::NotEmpty,
            };
            return Err(FsError::new(kind, "the new name is a directory that the old one is in"));
        }
        Ok(())
    }

    /// Whether the directory of a place is `ancestor` or somewhere below it.
    fn is_inside(&self, place: &Place<'_>, ancestor: Ino) -> Result<bool> {
        let mut at = place.directory;
        while at != ancestor && at != Ino::ROOT {
            at = self.parent(at)?;
        }
        Ok(at == ancestor)
    }

    /// Everything that is checked after [`View::forbid_loops`].
    fn permit_rename(&self, who: &Credentials, rename: &Rename<'_>) -> Result<()> {
        let Rename { source, moved, destination, taken, mode } = rename;
        self.permit_removing(who, source.directory, &source.parent, &moved.inode)?;
        match taken {
            None => self.permit_adding(who, destination.directory, &destination.parent)?,
            Some(taken) => {
                let Place { directory, parent, .. } = destination;
                self.permit_removing(who, *directory, parent, &taken.inode)?;
                if *mode != RenameMode::Exchange {
                    require_alike(moved, taken)?;
                }
            }
        }
        if source.directory != destination.directory {
            self.permit_arrival(who, moved, taken.as_ref(), destination)?;
            if let (RenameMode::Exchange, Some(taken)) = (mode, taken) {
                self.permit_arrival(who, taken, Some(moved), source)?;
            }
        }
        match taken {
            Some(taken) if *mode != RenameMode::Exchange && taken.inode.is_directory() => {
                require_empty(&taken.inode)
            }
            _ => Ok(()),
        }
    }

    /// Checks that a directory may get another parent, in place of what leaves it.
    fn permit_arrival(
        &self,
        who: &Credentials,
        target: &Target,
        leaving: Option<&Target>,
        place: &Place<'_>,
    ) -> Result<()> {
        if !target.inode.is_directory() {
            return Ok(());
        }
        // Its entry `..` is about to change, which is a write to it.
        self.permit(who, target.entry.ino, &target.inode, Access::WRITE)?;
        let is_one_more = leaving.is_none_or(|leaving| !leaving.inode.is_directory());
        if is_one_more && place.parent.nlink >= limits::LINKS_MAX {
            return Err(too_many_links());
        }
        Ok(())
    }
}

impl Target {
    /// What it adds to the links of the directory it is in.
    fn subdirectories(&self) -> u32 {
        u32::from(self.inode.is_directory())
    }

    fn set_parent(&mut self, parent: Ino) {
        if let Ok(directory) = self.inode.directory_mut() {
            directory.parent = parent;
        }
    }
}

/// Only a directory replaces a directory.
fn require_alike(moved: &Target, taken: &Target) -> Result<()> {
    match (moved.inode.is_directory(), taken.inode.is_directory()) {
        (true, false) => Err(not_directory()),
        (false, true) => Err(FsError::new(ErrorKind::IsDirectory, "the new name is a directory")),
        _ => Ok(()),
    }
}
