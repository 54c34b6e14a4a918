//! Attributes, extended attributes, permissions, links and directories to be read.

use std::sync::Arc;

use bytes::Bytes;

use super::{FileSystem, Known, Origin};
use crate::error::Result;
use crate::master::namespace::PageRequest;
use crate::proto::Packed;
use crate::proto::fs::{
    CheckAccess, GetAttr, GetXattr, ListXattr, ReadDir, ReadLink, RemoveXattr, SetAttributes,
    SetXattr,
};
use crate::proto::values::Done;
use crate::store::{Purpose, in_background};
use crate::types::{Access, Attr, DirPage};

impl FileSystem {
    pub(super) fn getattr(&self, call: GetAttr) -> Result<Packed<Attr>> {
        self.look(|view| view.getattr(call.ino)).map(Packed)
    }

    pub(super) async fn setattr(self: Arc<Self>, call: SetAttributes) -> Result<Packed<Attr>> {
        let SetAttributes { ino, change: Packed(change), who: Packed(who), session } = call;
        let origin = Origin { session, known: Known::One(ino) };
        // Who empties a file wants its room back.
        let is_emptied = change.size == Some(0);
        let purpose = if is_emptied { Purpose::Deletion } else { Purpose::Change };
        let (attr, has_cuts) = self.change_for(purpose, origin, |ns| {
            let attr = ns.setattr(&who, ino, &change)?;
            Ok((attr, ns.has_cuts()))
        })?;
        // The servers of the chunks make cuts for good: this must not be lost when they have.
        if has_cuts {
            in_background(move || self.store.sync()).await?;
        }
        Ok(Packed(attr))
    }

    pub(super) fn access(&self, call: CheckAccess) -> Result<Done> {
        self.look(|view| view.access(&call.who.0, call.ino, call.wanted.0)).map(|()| Done)
    }

    pub(super) fn readlink(&self, call: ReadLink) -> Result<Bytes> {
        self.look(|view| view.readlink(call.ino))
    }

    pub(super) fn readdir(&self, call: ReadDir) -> Result<Packed<DirPage>> {
        let request = PageRequest {
            after: call.after.0,
            until: call.until.0,
            limit: usize::try_from(call.limit).unwrap_or(usize::MAX),
            with_attr: call.with_attributes,
        };
        self.look(|view| {
            // The first page stands for opening the directory; what follows was permitted then.
            if request.until.is_none() {
                view.access(&call.who.0, call.ino, Access::READ)?;
            }
            view.readdir(call.ino, request)
        })
        .map(Packed)
    }

    pub(super) fn getxattr(&self, call: GetXattr) -> Result<Bytes> {
        self.look(|view| view.getxattr(&call.who.0, call.ino, &call.name))
    }

    pub(super) fn listxattr(&self, call: ListXattr) -> Result<Packed<Vec<Bytes>>> {
        self.look(|view| view.listxattr(&call.who.0, call.ino)).map(Packed)
    }

    pub(super) fn setxattr(&self, call: SetXattr) -> Result<Done> {
        let SetXattr { ino, name, value, mode: Packed(mode), who: Packed(who), session } = call;
        let origin = Origin { session, known: Known::One(ino) };
        self.grow(origin, |ns| ns.setxattr(&who, ino, &name, &value, mode)).map(|()| Done)
    }

    pub(super) fn removexattr(&self, call: RemoveXattr) -> Result<Done> {
        let RemoveXattr { ino, name, who: Packed(who), session } = call;
        let origin = Origin { session, known: Known::One(ino) };
        self.change(origin, |ns| ns.removexattr(&who, ino, &name)).map(|()| Done)
    }
}
