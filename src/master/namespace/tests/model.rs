//! A file system as simple as it can be said: a map of nodes, directories that are maps of names.
//! Nothing is kept that can be counted; links, parents and sizes are counted when asked for.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::ops::{AclSpec, Answer, Op, Outcome, Place, Subject};
use crate::error::ErrorKind;
use crate::types::{Access, Attr, Credentials, FileKind, FileTime, Ino, Name, SetAttr, SetTime};

pub(super) type Check = Result<(), ErrorKind>;

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: FileKind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) target: Bytes,
    pub(super) names: BTreeMap<Name, Ino>,
    pub(super) xattrs: BTreeMap<&'static str, Bytes>,
    pub(super) acl: Option<AclSpec>,
    pub(super) default_acl: Option<AclSpec>,
    pub(super) times: [FileTime; 3],
}

/// The model. Its root is inode 1, for everybody.
pub(super) struct Model {
    pub(super) nodes: BTreeMap<Ino, Node>,
    next: u64,
    pub(super) now: FileTime,
}

const WRITE_NAMES: Access = Access::from_bits(3);

impl Model {
    pub(super) fn new(now: FileTime) -> Self {
        let mut root = Node::new(FileKind::Directory, &Credentials::ROOT, now);
        root.mode = 0o777;
        Self { nodes: BTreeMap::from([(Ino::ROOT, root)]), next: 2, now }
    }

    pub(super) fn node(&self, ino: Ino) -> Result<&Node, ErrorKind> {
        self.nodes.get(&ino).ok_or(ErrorKind::Stale)
    }

    pub(super) fn node_mut(&mut self, ino: Ino) -> &mut Node {
        self.nodes.get_mut(&ino).unwrap()
    }

    /// The directories a node has a name in, once for each name.
    fn homes(&self, ino: Ino) -> Vec<Ino> {
        let named = |node: &Node| node.names.values().filter(|named| **named == ino).count();
        self.nodes.iter().flat_map(|(home, node)| vec![*home; named(node)]).collect()
    }

    pub(super) fn is_dead(&self, ino: Ino) -> bool {
        ino != Ino::ROOT && self.homes(ino).is_empty()
    }

    fn nlink(&self, ino: Ino) -> u32 {
        let node = &self.nodes[&ino];
        let is_directory = |ino: &&Ino| self.nodes[ino].kind == FileKind::Directory;
        let count = match node.kind {
            _ if self.is_dead(ino) => 0,
            FileKind::Directory => 2 + node.names.values().filter(is_directory).count(),
            _ => self.homes(ino).len(),
        };
        u32::try_from(count).unwrap()
    }

    fn attr(&self, ino: Ino) -> Attr {
        let node = &self.nodes[&ino];
        let is_device = matches!(node.kind, FileKind::CharDevice | FileKind::BlockDevice);
        Attr {
            ino,
            generation: 0,
            kind: node.kind,
            mode: node.mode,
            nlink: self.nlink(ino),
            uid: node.uid,
            gid: node.gid,
            rdev: if is_device { 0x0103 } else { 0 },
            size: match node.kind {
                FileKind::Directory => node.names.len() as u64,
                FileKind::Symlink => node.target.len() as u64,
                _ => node.size,
            },
            bytes: 0,
            atime: node.times[0],
            mtime: node.times[1],
            ctime: node.times[2],
            btime: FileTime::default(),
            data_version: 0,
            has_xattrs: false,
        }
    }

    pub(super) fn search(&self, who: &Credentials, directory: Ino) -> Check {
        let node = self.node(directory)?;
        if node.kind != FileKind::Directory {
            return Err(ErrorKind::NotDirectory);
        }
        node.permits(who, Access::EXECUTE)
    }

    pub(super) fn find(&self, place: &Place) -> Option<Ino> {
        self.nodes[&place.0].names.get(&place.1).copied()
    }

    pub(super) fn may_add(&self, who: &Credentials, directory: Ino) -> Check {
        if self.is_dead(directory) {
            return Err(ErrorKind::NotFound);
        }
        self.node(directory)?.permits(who, WRITE_NAMES)
    }

    pub(super) fn may_take(&self, who: &Credentials, directory: Ino, victim: Ino) -> Check {
        let (home, victim) = (self.node(directory)?, self.node(victim)?);
        home.permits(who, WRITE_NAMES)?;
        let owners = [0, home.uid, victim.uid];
        if home.mode & 0o1000 != 0 && !owners.contains(&who.uid) {
            return Err(ErrorKind::NotPermitted);
        }
        Ok(())
    }

    fn may_name(&self, who: &Credentials, place: &Place) -> Check {
        self.search(who, place.0)?;
        if self.find(place).is_some() {
            return Err(ErrorKind::Exists);
        }
        self.may_add(who, place.0)
    }

    fn add(&mut self, who: &Credentials, place: &Place, kind: FileKind, mode: u32) -> Ino {
        let ino = Ino(self.next);
        self.next += 1;
        let mut node = Node::new(kind, who, self.now);
        node.mode = mode;
        node.be_born_in(who, &self.nodes[&place.0]);
        self.nodes.insert(ino, node);
        self.set_name(place, Some(ino));
        ino
    }

    pub(super) fn set_name(&mut self, place: &Place, target: Option<Ino>) {
        let now = self.now;
        let directory = self.node_mut(place.0);
        match target {
            Some(ino) => directory.names.insert(place.1.clone(), ino),
            None => directory.names.remove(&place.1),
        };
        directory.times[1] = now;
        directory.times[2] = now;
    }

    pub(super) fn changed(&mut self, ino: Ino) {
        let now = self.now;
        self.node_mut(ino).times[2] = now;
    }

    fn create(
        &mut self,
        who: &Credentials,
        place: &Place,
        mode: u32,
        is_exclusive: bool,
        wanted: Access,
    ) -> Outcome {
        self.search(who, place.0)?;
        match self.find(place) {
            Some(_) if is_exclusive => Err(ErrorKind::Exists),
            Some(ino) if self.nodes[&ino].kind == FileKind::Directory => {
                Err(ErrorKind::IsDirectory)
            }
            Some(ino) => {
                self.open(who, ino, wanted)?;
                Ok(Answer::Created(self.attr(ino), false))
            }
            None => {
                self.may_add(who, place.0)?;
                let ino = self.add(who, place, FileKind::Regular, mode);
                Ok(Answer::Created(self.attr(ino), true))
            }
        }
    }

    fn open(&self, who: &Credentials, ino: Ino, wanted: Access) -> Check {
        let node = self.node(ino)?;
        match node.kind {
            FileKind::Symlink => Err(ErrorKind::SymlinkLoop),
            FileKind::Directory if wanted.includes(Access::WRITE) => Err(ErrorKind::IsDirectory),
            _ => node.permits(who, wanted),
        }
    }

    fn mknod(&mut self, who: &Credentials, place: &Place, kind: FileKind, mode: u32) -> Outcome {
        match kind {
            FileKind::Directory => return Err(ErrorKind::NotPermitted),
            FileKind::Symlink => return Err(ErrorKind::InvalidArgument),
            _ => self.may_name(who, place)?,
        }
        if matches!(kind, FileKind::CharDevice | FileKind::BlockDevice) && who.uid != 0 {
            return Err(ErrorKind::NotPermitted);
        }
        let ino = self.add(who, place, kind, mode);
        Ok(Answer::Attr(self.attr(ino)))
    }

    fn link(&mut self, who: &Credentials, ino: Ino, place: &Place) -> Outcome {
        let kind = self.node(ino)?.kind;
        self.may_name(who, place)?;
        if kind == FileKind::Directory {
            return Err(ErrorKind::NotPermitted);
        }
        if self.is_dead(ino) {
            return Err(ErrorKind::NotFound);
        }
        self.set_name(place, Some(ino));
        self.changed(ino);
        Ok(Answer::Attr(self.attr(ino)))
    }

    fn remove(&mut self, who: &Credentials, place: &Place, is_rmdir: bool) -> Outcome {
        self.search(who, place.0)?;
        let ino = self.find(place).ok_or(ErrorKind::NotFound)?;
        self.may_take(who, place.0, ino)?;
        let node = &self.nodes[&ino];
        match (node.kind == FileKind::Directory, is_rmdir) {
            (true, false) => return Err(ErrorKind::IsDirectory),
            (false, true) => return Err(ErrorKind::NotDirectory),
            (true, true) if !node.names.is_empty() => return Err(ErrorKind::NotEmpty),
            _ => self.set_name(place, None),
        }
        self.changed(ino);
        Ok(Answer::Attr(self.attr(ino)))
    }

    fn setattr(&mut self, who: &Credentials, ino: Ino, set: &SetAttr) -> Outcome {
        self.node(ino)?.may_setattr(who, set)?;
        let now = self.now;
        let is_asked = set.mode.is_some()
            || set.uid.is_some()
            || set.gid.is_some()
            || set.size.is_some()
            || (set.atime, set.mtime) != (SetTime::Keep, SetTime::Keep);
        if is_asked {
            let node = self.node_mut(ino);
            node.setattr(who, set, now);
            node.times[2] = now;
        }
        Ok(Answer::Attr(self.attr(ino)))
    }

    fn append(&mut self, who: &Credentials, ino: Ino, length: u64) -> Outcome {
        let now = self.now;
        self.node(ino)?.must_be_regular()?;
        let node = self.node_mut(ino);
        let offset = node.size;
        if length > 0 {
            node.size += length;
            node.written(who);
            node.times[1] = now;
            node.times[2] = now;
        }
        Ok(Answer::Offset(offset))
    }
}

impl Subject for Model {
    fn apply(&mut self, who: &Credentials, op: &Op, now: FileTime) -> Outcome {
        self.now = now;
        match op {
            Op::Lookup(place) => {
                self.search(who, place.0)?;
                let ino = self.find(place).ok_or(ErrorKind::NotFound)?;
                Ok(Answer::Attr(self.attr(ino)))
            }
            Op::Access(ino, wanted) => {
                self.node(*ino)?.permits(who, *wanted).map(|()| Answer::Done)
            }
            Op::Open(ino, wanted) => self.open(who, *ino, *wanted).map(|()| Answer::Done),
            Op::Readdir(ino) => {
                let node = self.node(*ino)?;
                let kind = |ino: &Ino| self.nodes[ino].kind;
                let entry = |(name, ino): (&Name, &Ino)| (name.clone(), *ino, kind(ino));
                let is_directory = node.kind == FileKind::Directory;
                is_directory.then_some(()).ok_or(ErrorKind::NotDirectory)?;
                Ok(Answer::Entries(node.names.iter().map(entry).collect()))
            }
            Op::Readlink(ino) => match self.node(*ino)? {
                node if node.kind == FileKind::Symlink => Ok(Answer::Value(node.target.clone())),
                _ => Err(ErrorKind::InvalidArgument),
            },
            Op::Create { place, mode, is_exclusive, wanted } => {
                self.create(who, place, *mode, *is_exclusive, *wanted)
            }
            Op::Mkdir(place, mode) => {
                self.may_name(who, place)?;
                let ino = self.add(who, place, FileKind::Directory, mode & 0o1777);
                Ok(Answer::Attr(self.attr(ino)))
            }
            Op::Mknod(place, kind, mode) => self.mknod(who, place, *kind, *mode),
            Op::Symlink(_, target) if target.is_empty() => Err(ErrorKind::NotFound),
            Op::Symlink(place, target) => {
                self.may_name(who, place)?;
                let ino = self.add(who, place, FileKind::Symlink, 0o777);
                self.node_mut(ino).target = target.clone();
                Ok(Answer::Attr(self.attr(ino)))
            }
            Op::Link(ino, place) => self.link(who, *ino, place),
            Op::Unlink(place) => self.remove(who, place, false),
            Op::Rmdir(place) => self.remove(who, place, true),
            Op::Rename(from, to, mode) => self.rename(who, from, to, *mode),
            Op::Setattr(ino, set) => self.setattr(who, *ino, set),
            Op::Append(ino, length) => self.append(who, *ino, *length),
            Op::Reap(ino) => {
                if self.nodes.contains_key(ino) && self.is_dead(*ino) {
                    self.nodes.remove(ino);
                }
                Ok(Answer::Done)
            }
            Op::Setxattr(ino, name, value, mode) => self.setxattr(who, *ino, name, value, *mode),
            Op::Getxattr(ino, name) => self.node(*ino)?.getxattr(who, name).map(Answer::Value),
            Op::Listxattr(ino) => Ok(Answer::Keys(self.node(*ino)?.listxattr(who))),
            Op::Removexattr(ino, name) => self.removexattr(who, *ino, name),
            Op::SetAcl(ino, name, acl) => self.set_acl(who, *ino, name, Some(acl)),
        }
    }

    fn state(&mut self, ino: Ino) -> Option<Attr> {
        self.nodes.contains_key(&ino).then(|| self.attr(ino))
    }
}
