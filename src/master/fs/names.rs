//! Names: finding, making, removing, renaming.

use super::{FileSystem, Known, Origin};
use crate::error::Result;
use crate::proto::Packed;
use crate::proto::fs::{
    Changed, Lookup, MakeDir, MakeLink, MakeNode, MakeSymlink, RemoveDir, Rename, Unlink,
};
use crate::store::Purpose;
use crate::types::Attr;

impl FileSystem {
    pub(super) fn lookup(&self, call: Lookup) -> Result<Packed<Attr>> {
        self.look(|view| view.lookup(&call.who.0, call.parent, &call.name)).map(Packed)
    }

    pub(super) fn mkdir(&self, call: MakeDir) -> Result<Packed<Attr>> {
        let MakeDir { parent, name, mode, who: Packed(who), session } = call;
        let origin = Origin { session, known: Known::All };
        self.grow(origin, |ns| ns.mkdir(&who, parent, &name, mode)).map(Packed)
    }

    pub(super) fn mknod(&self, call: MakeNode) -> Result<Packed<Attr>> {
        let MakeNode { parent, name, kind: Packed(kind), mode, rdev, who: Packed(who), session } =
            call;
        let origin = Origin { session, known: Known::All };
        self.grow(origin, |ns| ns.mknod(&who, parent, &name, kind, mode, rdev)).map(Packed)
    }

    pub(super) fn symlink(&self, call: MakeSymlink) -> Result<Packed<Attr>> {
        let MakeSymlink { parent, name, target, who: Packed(who), session } = call;
        let origin = Origin { session, known: Known::All };
        self.grow(origin, |ns| ns.symlink(&who, parent, &name, target)).map(Packed)
    }

    pub(super) fn link(&self, call: MakeLink) -> Result<Packed<Attr>> {
        let MakeLink { ino, parent, name, who: Packed(who), session } = call;
        let origin = Origin { session, known: Known::All };
        self.grow(origin, |ns| ns.link(&who, ino, parent, &name)).map(Packed)
    }

    pub(super) fn unlink(&self, call: Unlink) -> Result<Packed<Changed>> {
        let Unlink { parent, name, who: Packed(who), session } = call;
        let origin = Origin { session, known: Known::All };
        self.change_names(Purpose::Deletion, origin, |ns| ns.unlink(&who, parent, &name))
    }

    pub(super) fn rmdir(&self, call: RemoveDir) -> Result<Packed<Changed>> {
        let RemoveDir { parent, name, who: Packed(who), session } = call;
        let origin = Origin { session, known: Known::All };
        self.change_names(Purpose::Deletion, origin, |ns| ns.rmdir(&who, parent, &name))
    }

    pub(super) fn rename(&self, call: Rename) -> Result<Packed<Changed>> {
        let Rename { parent, name, new_parent, new_name, mode, who: Packed(who), session } = call;
        let origin = Origin { session, known: Known::All };
        let (from, to) = ((parent, &name), (new_parent, &new_name));
        self.change_names(Purpose::Change, origin, |ns| ns.rename(&who, from, to, mode.0))
    }
}
