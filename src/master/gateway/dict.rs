//! The dict of attributes: read from a value, and written from an inode.

use bytes::Bytes;

use super::Gateway;
use super::look::Found;
use crate::limits;
use crate::pickle::{self, Attributes, Style, Value, to_seconds, to_time};
use crate::proto::classic::Dialect;
use crate::proto::form;
use crate::types::{Attr, FileKind, FileTime, SetAttr, SetTime, StoredValue, ValueKind};

/// A dict that a classic client has put.
pub(super) struct Dict {
    pub(super) kind: FileKind,
    pub(super) attributes: Attributes,
    /// The members that it has; some clients leave times or extended attributes out.
    has_atime: bool,
    has_mtime: bool,
    pub(super) has_xattrs: bool,
}

impl Dict {
    /// The dict in a value; `None` if it is anything but a dict of attributes.
    pub(super) fn read(value: &StoredValue) -> Option<Self> {
        if value.kind == ValueKind::Xml || value.bytes.len() > limits::PICKLED_ATTRIBUTES_MAX {
            return None;
        }
        let members = form::unwrap_pickle(value)?;
        members.get("st_mode")?;
        let has = |name: &str| members.get(name).is_some();
        let attributes = form::read_attributes(value).ok()?;
        Some(Self {
            kind: FileKind::from_mode(attributes.mode)?,
            has_atime: has("st_atime"),
            has_mtime: has("st_mtime"),
            has_xattrs: has("attrs"),
            attributes,
        })
    }

    /// Permission bits.
    pub(super) fn permissions(&self) -> u32 {
        self.attributes.mode & 0o7777
    }

    /// What has to change for an inode to have these attributes. A time that the client read here
    /// and puts back is no change: floats are not as fine as times.
    pub(super) fn changes(&self, attr: &Attr) -> SetAttr {
        let time = |has: bool, old: FileTime, new: f64| {
            let is_new = has && to_seconds(old).to_bits() != new.to_bits();
            if is_new { SetTime::At(to_time(new)) } else { SetTime::Keep }
        };
        let own = &self.attributes;
        let is_other_mode = self.permissions() != attr.mode && attr.kind != FileKind::Symlink;
        let is_other = |new: Option<u32>, old: u32| new.filter(|new| *new != old);
        let (uid, gid) = (is_other(own.uid, attr.uid), is_other(own.gid, attr.gid));
        // A new owner takes the set-id bits away, unless the mode is set after it.
        let sets_mode = is_other_mode || (uid.or(gid).is_some() && attr.kind != FileKind::Symlink);
        SetAttr {
            mode: sets_mode.then(|| self.permissions()),
            uid,
            gid,
            atime: time(self.has_atime, attr.atime, own.atime_s),
            mtime: time(self.has_mtime, attr.mtime, own.mtime_s),
            ..SetAttr::default()
        }
    }
}

/// `st_size` as a dict has it: a directory has no contents of its own.
pub(super) fn st_size(attr: &Attr) -> u64 {
    if attr.kind == FileKind::Directory { 0 } else { attr.size }
}

impl Gateway {
    /// The dict of what is under a path, as a value of the asking client's dialect.
    pub(super) fn write_dict(&self, found: &Found, dialect: Dialect) -> StoredValue {
        let attr = &found.attr;
        let mut xattrs = members(&found.note.xattrs);
        let shown = found.xattrs.iter().cloned();
        xattrs.extend(shown.map(|(name, value)| (Value::path(name), Value::Bytes(value))));
        let attributes = Attributes {
            mode: attr.st_mode(),
            size: st_size(attr),
            nlink: attr.nlink,
            uid: Some(attr.uid),
            gid: Some(attr.gid),
            atime_s: to_seconds(attr.atime),
            mtime_s: to_seconds(attr.mtime),
            ctime_s: to_seconds(attr.ctime),
            contents: self.server_for(found),
            xattrs,
            others: members(&found.note.others),
        };
        form::write_attributes(dialect, &attributes)
    }

    /// A chunk server that answers for a file: any does, so best the one that has it.
    fn server_for(&self, found: &Found) -> Option<crate::types::ServerUrl> {
        let members = self.master.members();
        let noted = found.note.server.as_ref().map(|url| members.at(url));
        let holder = found.holder().map(|name| members.named(name));
        let known: Vec<_> = [holder, noted].into_iter().flatten().collect();
        let alive = known.iter().find(|server| self.files.is_alive(server)).cloned();
        let any = || self.files.any_alive(found.attr.ino.0);
        let server = alive.or_else(any).or_else(|| known.first().cloned())?;
        members.url_of(&server)
    }
}

/// Members as they are noted.
pub(super) fn note_members(members: &[(Value, Value)]) -> Bytes {
    if members.is_empty() {
        return Bytes::new();
    }
    pickle::write(&Value::Dict(members.to_vec()), Style::Compact).into()
}

fn members(noted: &Bytes) -> Vec<(Value, Value)> {
    match pickle::read(noted, limits::PICKLED_ATTRIBUTES_MAX) {
        Ok(Value::Dict(members)) => members,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
