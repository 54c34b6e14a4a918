//! The transaction that makes a dict, and what was staged with it, what is under a path.

use bytes::Bytes;

use super::dict::{Dict, note_members};
use super::look::{Place, shown_xattrs};
use super::notes::{self, Expiry, Habit, Note};
use super::pending::Promotion;
use super::take::Contents;
use super::{Gateway, has_chunks};
use crate::clock;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::master::fs::Origin;
use crate::master::namespace::{Effects, Namespace, View};
use crate::proto::classic::{Dialect, Put, is_xml_text};
use crate::proto::form;
use crate::store::{ReadTxn, Txn};
use crate::types::{Attr, Credentials, FileKind, Ino, Name, TreePath, Ttl, XattrMode};

/// What is to become of a path.
pub(super) struct Commit<'c> {
    pub(super) path: &'c TreePath,
    /// What was found there.
    pub(super) place: &'c Place,
    pub(super) dict: &'c Dict,
    pub(super) contents: &'c Contents,
    pub(super) ttl: Ttl,
    /// If nobody puts it now: it has waited to come into the tree.
    pub(super) promotion: Option<&'c Promotion>,
}

/// What became of it.
pub(super) enum Committed {
    /// It is as it is to be.
    Done,
    /// It cannot be made of what is there.
    Kept,
    /// Something else is under the path by now.
    Overtaken,
}

/// The inode of a path after a change.
struct Made {
    ino: Ino,
    /// Whether it, or its contents, are what the client has put.
    is_new: bool,
}

impl Gateway {
    /// Carries out a commit, whole or not at all.
    ///
    /// # Errors
    /// `IsDirectory` and `NotDirectory` if the kinds do not fit, `NoSpace`, those of extended
    /// attributes, and what the store says.
    pub(super) fn commit(&self, commit: &Commit<'_>, call: &Put) -> Result<Committed> {
        let (key, dialect) = (&call.key, call.dialect);
        self.files.store().check_room(limits::DISK_RESERVE)?;
        self.files.transact(Origin::NOBODY, |txn, time| {
            // Who deletes a path says so before its transaction: that comes after this one, or this
            // one sees it.
            let is_overtaken = commit.promotion.is_some_and(Promotion::is_overtaken);
            if is_overtaken || Place::of(View::new(txn), commit.path)? != *commit.place {
                return Ok((Committed::Overtaken, Effects::default()));
            }
            let old = notes_of(txn, commit.place)?;
            let mut namespace = Namespace::new(txn, time);
            let Some(made) = commit.make(&mut namespace)? else {
                return Ok((Committed::Kept, Effects::default()));
            };
            commit.set_attributes(&mut namespace, made.ino)?;
            let kept = commit.set_xattrs(&mut namespace, made.ino)?;
            let attr = namespace.view().getattr(made.ino)?;
            let effects = namespace.into_effects();
            let mut note = commit.note(old, &made, &attr, dialect, kept);
            note.dict = form::dialect_of(&call.value).map(|sent| (dialect, sent));
            notes::save(txn, made.ino, &note)?;
            // What cannot be a string says nothing of whoever writes strings where he can.
            let is_text = std::str::from_utf8(key.as_bytes()).is_ok_and(is_xml_text);
            if is_text {
                learn(txn, &note, made.is_new)?;
            }
            Ok((Committed::Done, effects))
        })
    }
}

/// Learns the habits of the client behind a note.
fn learn(txn: &mut dyn Txn, note: &Note, is_new: bool) -> Result<()> {
    if let Some((dialect, sent)) = note.dict {
        notes::learn_type(txn, Habit::Dict, dialect, sent)?;
    }
    let Some((dialect, layout)) = note.form.filter(|_| is_new) else { return Ok(()) };
    notes::learn(txn, dialect, layout)?;
    match note.contents {
        Some(sent) => notes::learn_type(txn, Habit::Contents, dialect, sent),
        None => Ok(()),
    }
}

fn notes_of(txn: &dyn ReadTxn, place: &Place) -> Result<Option<(Attr, Note)>> {
    let Some(ino) = place.ino() else { return Ok(None) };
    let note = notes::load(txn, ino)?.unwrap_or_default();
    Ok(Some((View::new(txn).getattr(ino)?, note)))
}

impl Commit<'_> {
    /// Makes what is not there, or gives it its contents; `None` if these are missing.
    fn make(&self, namespace: &mut Namespace<'_>) -> Result<Option<Made>> {
        let (directory, name, ino) = match self.place {
            Place::Nowhere => return Ok(None),
            Place::Root if self.dict.kind == FileKind::Directory => {
                return Ok(Some(Made { ino: Ino::ROOT, is_new: false }));
            }
            Place::Root => return Err(is_directory()),
            Place::Name { directory, name, ino } => (*directory, name, *ino),
        };
        let Some(ino) = ino else { return self.make_new(namespace, directory, name) };
        let attr = namespace.view().getattr(ino)?;
        match (attr.kind, self.dict.kind) {
            (old, new) if old == new => self.change(namespace, &attr, directory, name),
            (FileKind::Directory, _) => Err(is_directory()),
            (_, FileKind::Directory) => {
                Err(FsError::new(ErrorKind::NotDirectory, "there is a file of that name"))
            }
            _ => self.replace(namespace, directory, name),
        }
    }

    fn make_new(
        &self,
        namespace: &mut Namespace<'_>,
        directory: Ino,
        name: &Name,
    ) -> Result<Option<Made>> {
        let (dict, mode) = (self.dict, self.dict.permissions());
        let size = dict.attributes.size;
        let who = Credentials::ROOT;
        let attr = match (dict.kind, self.contents) {
            (FileKind::Regular, Contents::Chunks { first, server, .. }) => {
                let attr = namespace.create_reserved(&who, first.ino, directory, name, mode)?;
                namespace.adopt_contents(&who, *first, size, std::slice::from_ref(server))?;
                attr
            }
            (FileKind::Symlink, Contents::Bytes { bytes, .. }) => {
                namespace.symlink(&who, directory, name, bytes.clone())?
            }
            (FileKind::Directory, _) => namespace.mkdir(&who, directory, name, mode)?,
            (kind, _) if kind != FileKind::Symlink && (size == 0 || !has_chunks(kind)) => {
                namespace.mknod(&who, directory, name, kind, mode, 0)?
            }
            _ => return Ok(None),
        };
        Ok(Some(Made { ino: attr.ino, is_new: true }))
    }

    /// Gives a file of the same kind its new contents, if there are any.
    fn change(
        &self,
        namespace: &mut Namespace<'_>,
        attr: &Attr,
        directory: Ino,
        name: &Name,
    ) -> Result<Option<Made>> {
        match self.contents {
            Contents::Chunks { first, server, .. } => {
                let size = self.dict.attributes.size;
                let servers = std::slice::from_ref(server);
                namespace.adopt_contents(&Credentials::ROOT, *first, size, servers)?;
                Ok(Some(Made { ino: attr.ino, is_new: true }))
            }
            Contents::Bytes { bytes, .. } if namespace.view().readlink(attr.ino)? != *bytes => {
                self.replace(namespace, directory, name)
            }
            Contents::Bytes { .. } | Contents::Same => {
                Ok(Some(Made { ino: attr.ino, is_new: false }))
            }
        }
    }

    /// Puts something else in the place of what is no directory.
    fn replace(
        &self,
        namespace: &mut Namespace<'_>,
        directory: Ino,
        name: &Name,
    ) -> Result<Option<Made>> {
        namespace.unlink(&Credentials::ROOT, directory, name)?;
        let made = self.make_new(namespace, directory, name)?;
        // As an error it undoes the removal.
        let missing = || FsError::new(ErrorKind::Busy, "the contents of the file are not there");
        made.ok_or_else(missing).map(Some)
    }

    /// Whoever the dict names owns what is new, else the owner of the directory.
    fn set_attributes(&self, namespace: &mut Namespace<'_>, ino: Ino) -> Result<()> {
        let attr = namespace.view().getattr(ino)?;
        let mut changes = self.dict.changes(&attr);
        if let Place::Name { directory, ino: None, .. } = self.place {
            let parent = namespace.view().getattr(*directory)?;
            changes.uid = self.dict.attributes.uid.or(Some(parent.uid));
            changes.gid = self.dict.attributes.gid.or(Some(parent.gid));
            // A new owner takes the set-id bits away, unless the mode is set after it.
            changes.mode = (attr.kind != FileKind::Symlink).then(|| self.dict.permissions());
        }
        namespace.setattr(&Credentials::ROOT, ino, &changes).map(|_| ())
    }

    /// Sets the extended attributes, and gives those that only a dict can hold.
    fn set_xattrs(&self, namespace: &mut Namespace<'_>, ino: Ino) -> Result<Option<Bytes>> {
        if !self.dict.has_xattrs {
            return Ok(None);
        }
        let who = Credentials::ROOT;
        let shown = shown_xattrs(namespace.view(), ino)?;
        let mut others = Vec::new();
        let mut wanted = Vec::new();
        for (key, value) in &self.dict.attributes.xattrs {
            let (Some(name), Some(bytes)) = (key.as_path(), value.as_path()) else {
                others.push((key.clone(), value.clone()));
                continue;
            };
            if shown.iter().any(|(old, held)| *old == name && *held == bytes) {
                wanted.push(name);
                continue;
            }
            match namespace.setxattr(&who, ino, &name, &bytes, XattrMode::Any) {
                Ok(()) => wanted.push(name),
                Err(error) if is_no_native_xattr(error.kind()) => {
                    others.push((key.clone(), value.clone()));
                }
                Err(error) => return Err(error),
            }
        }
        for (name, _) in shown.iter().filter(|(name, _)| !wanted.contains(name)) {
            namespace.removexattr(&who, ino, name)?;
        }
        Ok(Some(note_members(&others)))
    }

    fn note(
        &self,
        old: Option<(Attr, Note)>,
        made: &Made,
        attr: &Attr,
        dialect: Dialect,
        xattrs: Option<Bytes>,
    ) -> Note {
        let place = self.place.entry();
        let expired_so_far = old.as_ref().is_some_and(|(old_attr, note)| {
            old_attr.ino == attr.ino && note.expires(old_attr, place).is_some()
        });
        let mut note = match old {
            Some((old_attr, note)) if old_attr.ino == attr.ino => note,
            _ => Note::default(),
        };
        // Who changes the attributes of what others made does not let it expire.
        let expires = made.is_new || expired_so_far || attr.ino == Ino::ROOT;
        note.expiry = expires.then(|| Expiry {
            at: self.ttl.end(clock::now()),
            data_version: attr.data_version,
            place: place.map(|(directory, name)| (directory, name.clone())),
        });
        if made.is_new {
            note.data_version = attr.data_version;
            if let Contents::Chunks { staged, .. } | Contents::Bytes { staged, .. } = self.contents
            {
                (note.form, note.taken) = (Some((dialect, staged.layout)), staged.token);
                note.contents = staged.dialect;
            }
        }
        note.is_put = true;
        note.server.clone_from(&self.dict.attributes.contents);
        note.others = note_members(&self.dict.attributes.others);
        note.xattrs = xattrs.unwrap_or(note.xattrs);
        note
    }
}

/// Whether an error means that a name or value can be no extended attribute here.
fn is_no_native_xattr(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Unsupported
            | ErrorKind::InvalidArgument
            | ErrorKind::NotPermitted
            | ErrorKind::AccessDenied
            | ErrorKind::BufferTooSmall
    )
}

fn is_directory() -> FsError {
    FsError::new(ErrorKind::IsDirectory, "there is a directory of that name")
}
