//! What is under a path, as a classic client sees it.

use bytes::Bytes;

use super::Gateway;
use super::notes::{self, Habit, Note};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::limits;
use crate::master::namespace::View;
use crate::proto::classic::Dialect;
use crate::proto::form::Layout;
use crate::store::ReadTxn;
use crate::types::{Attr, ChunkLayout, Credentials, FileKind, Ino, Name, ServerId, TreePath};

/// Names and values of extended attributes that a dict shows, in bytes: clients read no larger
/// dicts than [`limits::PICKLED_ATTRIBUTES_MAX`].
const XATTRS_SHOWN_MAX: usize = limits::PICKLED_ATTRIBUTES_MAX / 8;

/// What is under a path.
pub(super) struct Found {
    pub(super) attr: Attr,
    /// Nothing is noted of what no classic client has put.
    pub(super) note: Note,
    /// Where a symbolic link points.
    pub(super) target: Bytes,
    /// The extended attributes that the dict shows.
    pub(super) xattrs: Vec<(Bytes, Bytes)>,
    /// Where the contents are, as far as a classic value reaches.
    pub(super) chunks: Vec<ChunkLayout>,
    expires: Option<Timestamp>,
    /// What clients of each dialect were last seen to use: string, binary.
    learned: [Option<Layout>; 2],
    /// Of contents and dicts, likewise, the types on the wire.
    sent: [[Option<Dialect>; 2]; 2],
}

impl Found {
    /// The server with the beginning of the contents.
    pub(super) fn holder(&self) -> Option<&ServerId> {
        self.chunks.first().and_then(|chunk| chunk.replicas.first())
    }

    /// Seconds it has left.
    pub(super) fn ttl_s(&self, now: Timestamp) -> u64 {
        self.expires.map_or(limits::TTL_MAX_S, |at| at.since_ms(now) / 1000)
    }

    /// The form in which clients of a dialect expect its contents: the one in which they put it;
    /// what others put, and files made natively, in the one that they were last seen to use.
    pub(super) fn layout(&self, dialect: Dialect) -> Layout {
        let own = self.note.form.filter(|(own, _)| *own == dialect).map(|(_, layout)| layout);
        let [string, binary] = self.learned;
        let learned = match dialect {
            Dialect::String => string,
            Dialect::Binary => binary,
        };
        let others = self.note.form.map(|(_, layout)| layout);
        own.or(learned).or(others).unwrap_or(Layout::usual(dialect))
    }

    /// The type on the wire in which clients of a dialect expect its contents, or its dict.
    pub(super) fn sent_as(&self, habit: Habit, dialect: Dialect) -> Dialect {
        let Note { form, contents, dict, .. } = &self.note;
        let own = match habit {
            Habit::Contents => form.map(|(key, _)| key).zip(*contents),
            Habit::Dict => *dict,
        };
        let own = own.filter(|(key, _)| *key == dialect).map(|(_, sent)| sent);
        let [contents, dicts] = self.sent;
        let [string, binary] = if habit == Habit::Contents { contents } else { dicts };
        let learned = if dialect == Dialect::String { string } else { binary };
        own.or(learned).unwrap_or(dialect)
    }
}

/// A path in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The root directory.
    Root,
    /// A name in a directory that is there, and what it stands for.
    Name { directory: Ino, name: Name, ino: Option<Ino> },
    /// The directory is not there.
    Nowhere,
}

impl Place {
    /// Finds a path's place.
    pub(super) fn of(view: View<'_>, path: &TreePath) -> Result<Self> {
        let Some((parents, name)) = path.split() else { return Ok(Self::Root) };
        match view.walk(parents)? {
            Some(directory) if directory.kind == FileKind::Directory => {
                let ino = view.find(directory.ino, name)?.map(|attr| attr.ino);
                Ok(Self::Name { directory: directory.ino, name: name.clone(), ino })
            }
            _ => Ok(Self::Nowhere),
        }
    }

    /// The inode that is there.
    pub(super) fn ino(&self) -> Option<Ino> {
        match self {
            Self::Root => Some(Ino::ROOT),
            Self::Name { ino, .. } => *ino,
            Self::Nowhere => None,
        }
    }

    /// The directory and the name.
    pub(super) fn entry(&self) -> Option<(Ino, &Name)> {
        match self {
            Self::Name { directory, name, .. } => Some((*directory, name)),
            Self::Root | Self::Nowhere => None,
        }
    }
}

impl Gateway {
    /// What is under a path, if a classic client may see it. What has expired is removed.
    pub(super) fn look(&self, path: &TreePath, now: Timestamp) -> Result<Option<Found>> {
        let found = self.files.store().read(|txn| {
            let place = Place::of(View::new(txn), path)?;
            let Some(ino) = place.ino() else { return Ok(None) };
            find(txn, &place, ino).map(Some)
        })?;
        let Some(found) = found else { return Ok(None) };
        if found.attr.ino == Ino::ROOT && !found.note.is_put {
            return Ok(None);
        }
        if found.expires.is_some_and(|at| at <= now) {
            if found.attr.ino == Ino::ROOT {
                return Ok(None);
            }
            // It is gone for classic clients either way; that a full disk, or files in it, keep it
            // is no error of the caller's.
            if let Err(error) = self.expire(found.attr.ino, now) {
                tracing::debug!("what has expired stays: {error}");
            }
            return Ok(None);
        }
        Ok(Some(found))
    }
}

fn find(txn: &dyn ReadTxn, place: &Place, ino: Ino) -> Result<Found> {
    let view = View::new(txn);
    let attr = view.getattr(ino)?;
    let note = notes::load(txn, ino)?.unwrap_or_default();
    let target = match attr.kind {
        FileKind::Symlink => view.readlink(ino)?,
        _ => Bytes::new(),
    };
    let chunks = match attr.kind {
        FileKind::Regular => view.layout(ino, 0, limits::OPENED_LAYOUT_MAX)?.chunks,
        _ => Vec::new(),
    };
    Ok(Found {
        expires: note.expires(&attr, place.entry()),
        xattrs: shown_xattrs(view, ino)?,
        learned: [notes::learned(txn, Dialect::String)?, notes::learned(txn, Dialect::Binary)?],
        sent: [sent(txn, Habit::Contents)?, sent(txn, Habit::Dict)?],
        attr,
        note,
        target,
        chunks,
    })
}

fn sent(txn: &dyn ReadTxn, habit: Habit) -> Result<[Option<Dialect>; 2]> {
    let [string, binary] = [Dialect::String, Dialect::Binary];
    Ok([notes::learned_type(txn, habit, string)?, notes::learned_type(txn, habit, binary)?])
}

/// The extended attributes that a dict shows, and that a dict without them removes. ACLs are not
/// among them: classic clients could only spoil them.
pub(super) fn shown_xattrs(view: View<'_>, ino: Ino) -> Result<Vec<(Bytes, Bytes)>> {
    let mut shown = Vec::new();
    let mut size = 0;
    for name in view.listxattr(&Credentials::ROOT, ino)? {
        if name.starts_with(b"system.") {
            continue;
        }
        let value = view.getxattr(&Credentials::ROOT, ino, &name)?;
        size += name.len() + value.len();
        if size > XATTRS_SHOWN_MAX {
            break;
        }
        shown.push((name, value));
    }
    Ok(shown)
}
