//! The model's opinion on who may do what, on modes, ACLs and extended attributes.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::model::{Check, Model, Node};
use super::ops::{AclSpec, Answer, Outcome};
use crate::error::ErrorKind;
use crate::types::{Access, Credentials, FileKind, FileTime, Ino, SetAttr, SetTime, XattrMode};

fn digit(mode: u32, place: u32) -> u16 {
    u16::try_from(mode / 8_u32.pow(place) % 8).unwrap()
}

fn is_member(who: &Credentials, gid: u32) -> bool {
    who.gid == gid || who.groups.contains(&gid)
}

fn refuse_unless(holds: bool, error: ErrorKind) -> Check {
    if holds { Ok(()) } else { Err(error) }
}

impl AclSpec {
    /// Who falls under it gets one of these sets of permissions, or none.
    fn grants(&self, who: &Credentials, node: &Node, wanted: u16) -> bool {
        let mask = self.mask.unwrap_or(7);
        let covers = |set: u16| wanted & !set == 0;
        if who.uid == node.uid {
            return covers(self.owner);
        }
        if let Some((_, set)) = self.users.iter().find(|(uid, _)| *uid == who.uid) {
            return covers(set & mask);
        }
        let own = is_member(who, node.gid).then_some(self.group);
        let named = self.groups.iter().filter(|(gid, _)| is_member(who, *gid)).map(|(_, set)| *set);
        let sets: Vec<u16> = own.into_iter().chain(named).collect();
        match &sets[..] {
            [] => covers(self.other),
            sets => sets.iter().any(|set| covers(set & mask)),
        }
    }

    fn group_digit(&self) -> u16 {
        self.mask.unwrap_or(self.group)
    }

    fn mode(&self) -> u32 {
        u32::from(self.owner) * 64 + u32::from(self.group_digit()) * 8 + u32::from(self.other)
    }

    fn is_needed(&self) -> bool {
        self.mask.is_some()
    }

    fn set_mode(&mut self, [owner, group, other]: [u16; 3]) {
        (self.owner, self.other) = (owner, other);
        match &mut self.mask {
            Some(mask) => *mask = group,
            None => self.group = group,
        }
    }

    fn digits(&self) -> [u16; 3] {
        [self.owner, self.group_digit(), self.other]
    }
}

impl Node {
    pub(super) fn new(kind: FileKind, who: &Credentials, now: FileTime) -> Self {
        Self {
            kind,
            mode: 0,
            uid: who.uid,
            gid: who.gid,
            size: 0,
            target: Bytes::new(),
            names: BTreeMap::new(),
            xattrs: BTreeMap::new(),
            acl: None,
            default_acl: None,
            times: [now; 3],
        }
    }

    pub(super) fn permits(&self, who: &Credentials, wanted: Access) -> Check {
        let wanted = u16::try_from(wanted.bits()).unwrap();
        let covers = |place| wanted & !digit(self.mode, place) == 0;
        let is_granted = match &self.acl {
            _ if who.uid == self.uid => covers(2),
            Some(acl) if digit(self.mode, 1) != 0 => acl.grants(who, self, wanted),
            _ if is_member(who, self.gid) => covers(1),
            _ => covers(0),
        };
        let is_program = self.kind == FileKind::Directory || self.mode & 0o111 != 0;
        let is_root_allowed = who.uid == 0 && (wanted & 1 == 0 || is_program);
        refuse_unless(is_granted || is_root_allowed, ErrorKind::AccessDenied)
    }

    fn must_be_owned(&self, who: &Credentials) -> Check {
        refuse_unless(who.uid == 0 || who.uid == self.uid, ErrorKind::NotPermitted)
    }

    pub(super) fn must_be_regular(&self) -> Check {
        match self.kind {
            FileKind::Regular => Ok(()),
            FileKind::Directory => Err(ErrorKind::IsDirectory),
            _ => Err(ErrorKind::InvalidArgument),
        }
    }

    /// What a new node takes over from its directory.
    pub(super) fn be_born_in(&mut self, who: &Credentials, home: &Self) {
        if home.mode & 0o2000 != 0 {
            self.gid = home.gid;
            let may_keep = who.uid == 0 || is_member(who, home.gid);
            if self.kind == FileKind::Directory {
                self.mode |= 0o2000;
            } else if self.mode & 0o2010 == 0o2010 && !may_keep {
                self.mode -= 0o2000;
            }
        }
        match &home.default_acl {
            _ if self.kind == FileKind::Symlink => {}
            None => self.mode &= !who.umask,
            Some(default) => {
                let mut acl = default.clone();
                let asked = [2, 1, 0].map(|place| digit(self.mode, place));
                let given = acl.digits();
                acl.set_mode([0, 1, 2].map(|i| asked[i] & given[i]));
                self.mode = self.mode & 0o7000 | acl.mode();
                self.acl = acl.is_needed().then_some(acl);
                self.default_acl = (self.kind == FileKind::Directory).then(|| default.clone());
            }
        }
    }

    pub(super) fn may_setattr(&self, who: &Credentials, set: &SetAttr) -> Check {
        if set.size.is_some() {
            self.must_be_regular()?;
            self.permits(who, Access::WRITE)?;
        }
        let times = (set.atime, set.mtime);
        let is_mine = self.must_be_owned(who).is_ok();
        if times == (SetTime::Now, SetTime::Now) {
            return if is_mine { Ok(()) } else { self.permits(who, Access::WRITE) };
        }
        if set.mode.is_some() {
            refuse_unless(self.kind != FileKind::Symlink, ErrorKind::Unsupported)?;
        }
        let keeps_owner = set.uid.is_none_or(|uid| who.uid == self.uid && uid == self.uid);
        let may_regroup = |gid| who.uid == self.uid && (gid == self.gid || is_member(who, gid));
        let keeps_group = set.gid.is_none_or(may_regroup);
        refuse_unless(who.uid == 0 || (keeps_owner && keeps_group), ErrorKind::NotPermitted)?;
        let is_for_owner = set.mode.is_some() || times != (SetTime::Keep, SetTime::Keep);
        if is_for_owner { self.must_be_owned(who) } else { Ok(()) }
    }

    pub(super) fn setattr(&mut self, who: &Credentials, set: &SetAttr, now: FileTime) {
        if let Some(size) = set.size {
            self.size = size;
            self.written(who);
            self.times[1] = now;
        }
        if set.uid.is_some() || set.gid.is_some() {
            if self.kind != FileKind::Directory {
                self.drop_set_ids(who);
            }
            self.uid = set.uid.unwrap_or(self.uid);
            self.gid = set.gid.unwrap_or(self.gid);
        }
        if let Some(mode) = set.mode {
            let may_keep = who.uid == 0 || is_member(who, self.gid);
            self.mode = if may_keep { mode } else { mode & !0o2000 };
            let digits = [2, 1, 0].map(|place| digit(mode, place));
            self.acl.iter_mut().for_each(|acl| acl.set_mode(digits));
        }
        for (time, set) in self.times.iter_mut().zip([set.atime, set.mtime]) {
            match set {
                SetTime::Keep => {}
                SetTime::Now => *time = now,
                SetTime::At(at) => *time = at,
            }
        }
    }

    pub(super) fn written(&mut self, who: &Credentials) {
        if who.uid != 0 {
            self.drop_set_ids(who);
        }
    }

    fn drop_set_ids(&mut self, who: &Credentials) {
        self.mode &= !0o4000;
        let is_foreign = who.uid != 0 && !is_member(who, self.gid);
        if self.mode & 0o010 != 0 || is_foreign {
            self.mode &= !0o2000;
        }
    }

    fn has_user_xattrs(&self) -> bool {
        matches!(self.kind, FileKind::Regular | FileKind::Directory)
    }

    pub(super) fn getxattr(&self, who: &Credentials, name: &str) -> Result<Bytes, ErrorKind> {
        let none = ErrorKind::NoAttribute;
        let (class, rest) = name.split_once('.').unwrap_or(("", name));
        match class {
            "system" if rest.starts_with("posix_acl") => {
                refuse_unless(self.kind != FileKind::Symlink, ErrorKind::Unsupported)?;
                let acls =
                    [("posix_acl_access", &self.acl), ("posix_acl_default", &self.default_acl)];
                let (_, acl) = acls.into_iter().find(|(suffix, _)| *suffix == rest).unwrap();
                return acl.as_ref().map(AclSpec::encode).ok_or(none);
            }
            "user" => {
                refuse_unless(self.has_user_xattrs(), none)?;
                self.permits(who, Access::READ)?;
            }
            "trusted" => refuse_unless(who.uid == 0, none)?,
            "security" => {}
            "system" => return Err(ErrorKind::Unsupported),
            _ => {
                self.permits(who, Access::READ)?;
                return Err(ErrorKind::Unsupported);
            }
        }
        refuse_unless(!rest.is_empty(), ErrorKind::InvalidArgument)?;
        self.xattrs.get(name).cloned().ok_or(none)
    }

    pub(super) fn listxattr(&self, who: &Credentials) -> Vec<Bytes> {
        let mut names: Vec<&str> = self.xattrs.keys().copied().collect();
        names.extend(self.acl.as_ref().map(|_| "system.posix_acl_access"));
        names.extend(self.default_acl.as_ref().map(|_| "system.posix_acl_default"));
        names.retain(|name| who.uid == 0 || !name.starts_with("trusted."));
        names.sort_unstable();
        names.into_iter().map(Bytes::from).collect()
    }

    fn may_setxattr(&self, who: &Credentials, name: &str) -> Check {
        let (class, rest) = name.split_once('.').unwrap_or(("", name));
        match class {
            "system" if rest.starts_with("posix_acl") => return Ok(()),
            "user" => {
                refuse_unless(self.has_user_xattrs(), ErrorKind::NotPermitted)?;
                if self.kind == FileKind::Directory && self.mode & 0o1000 != 0 {
                    self.must_be_owned(who)?;
                }
                self.permits(who, Access::WRITE)?;
            }
            "trusted" | "security" => refuse_unless(who.uid == 0, ErrorKind::NotPermitted)?,
            "system" => return Err(ErrorKind::Unsupported),
            _ => {
                self.permits(who, Access::WRITE)?;
                return Err(ErrorKind::Unsupported);
            }
        }
        refuse_unless(!rest.is_empty(), ErrorKind::InvalidArgument)
    }
}

impl Model {
    pub(super) fn setxattr(
        &mut self,
        who: &Credentials,
        ino: Ino,
        name: &'static str,
        value: &Bytes,
        mode: XattrMode,
    ) -> Outcome {
        let node = self.node(ino)?;
        node.may_setxattr(who, name)?;
        match (mode, node.xattrs.contains_key(name)) {
            (XattrMode::Create, true) => return Err(ErrorKind::Exists),
            (XattrMode::Replace, false) => return Err(ErrorKind::NoAttribute),
            _ => {}
        }
        let now = self.now;
        let node = self.node_mut(ino);
        node.xattrs.insert(name, value.clone());
        node.times[2] = now;
        Ok(Answer::Done)
    }

    pub(super) fn removexattr(
        &mut self,
        who: &Credentials,
        ino: Ino,
        name: &'static str,
    ) -> Outcome {
        self.node(ino)?.may_setxattr(who, name)?;
        if name.starts_with("system.") {
            return self.set_acl(who, ino, name, None);
        }
        let now = self.now;
        let node = self.node_mut(ino);
        node.xattrs.remove(name).ok_or(ErrorKind::NoAttribute)?;
        node.times[2] = now;
        Ok(Answer::Done)
    }

    pub(super) fn set_acl(
        &mut self,
        who: &Credentials,
        ino: Ino,
        name: &str,
        acl: Option<&AclSpec>,
    ) -> Outcome {
        let is_default = name.ends_with("default");
        let node = self.node(ino)?;
        refuse_unless(node.kind != FileKind::Symlink, ErrorKind::Unsupported)?;
        if is_default && node.kind != FileKind::Directory {
            return acl.map_or(Ok(Answer::Done), |_| Err(ErrorKind::AccessDenied));
        }
        node.must_be_owned(who)?;
        let now = self.now;
        let node = self.node_mut(ino);
        let slot = if is_default { &mut node.default_acl } else { &mut node.acl };
        let was_there = slot.is_some();
        *slot = acl.filter(|acl| is_default || acl.is_needed()).cloned();
        if was_there || acl.is_some() {
            node.times[2] = now;
        }
        if let Some(acl) = acl.filter(|_| !is_default) {
            let may_keep = who.uid == 0 || is_member(who, node.gid);
            let kept = if may_keep { 0o7000 } else { 0o5000 };
            node.mode = node.mode & kept | acl.mode();
        }
        Ok(Answer::Done)
    }
}
