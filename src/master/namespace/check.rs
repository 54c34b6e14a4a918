//! The invariants of the stored namespace, checked by reading all of it.
//!
//! What must hold: every name leads to an inode, and every inode has as many names as it counts, or
//! is in the list of orphans; a directory has one name, in the directory it takes for its parent,
//! counts its names and subdirectories right, lists exactly the names that can be found in it, and
//! the root is above it; extended attributes and chunks belong to an inode that counts them right,
//! and an ACL is there when the inode says so; the superblock's sums are the sums.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::error::Result;
use crate::store::Table;
use crate::types::{Cookie, FileKind, Ino, Name};

use super::View;
use super::records::{
    CHUNKS, Chunk, ENTRIES, Entry, INODES, Inode, Listed, ORDER, ORPHANS, XATTRS, decode,
    decode_bare, load, number_in, numbered_key,
};
use super::set_acl::AclKind;

/// Records read at once.
const PAGE: usize = 1024;

/// An inode, and what other tables say of it.
struct Tally {
    inode: Inode,
    names: u32,
    subdirectories: u32,
    entries: u64,
    listed: u64,
    xattr_list_size: usize,
    xattr_total_size: usize,
    acls: Vec<AclKind>,
    chunk_bytes: u64,
    is_in_orphans: bool,
}

struct Check<'t> {
    view: View<'t>,
    tallies: BTreeMap<Ino, Tally>,
    problems: Vec<String>,
}

impl View<'_> {
    /// Everything that is wrong with the stored namespace, a sentence each. Takes time and memory
    /// in proportion to the number of inodes.
    ///
    /// # Errors
    /// Those of the store, and `Corrupt` if a record cannot be read at all.
    pub fn check(&self) -> Result<Vec<String>> {
        let mut check = Check { view: *self, tallies: BTreeMap::new(), problems: Vec::new() };
        check.each(INODES, Check::tally_inode)?;
        check.each(ENTRIES, Check::tally_entry)?;
        check.each(ORDER, Check::tally_listed)?;
        check.each(XATTRS, Check::tally_xattr)?;
        check.each(CHUNKS, Check::tally_chunk)?;
        check.each(ORPHANS, Check::tally_orphan)?;
        check.judge_superblock()?;
        for (ino, tally) in &check.tallies {
            let wrong = tally.judge(*ino).into_iter().map(|what| format!("inode {ino}: {what}"));
            check.problems.extend(wrong);
        }
        check.judge_tree();
        Ok(check.problems)
    }
}

impl Check<'_> {
    fn each(
        &mut self,
        table: Table,
        mut tally: impl FnMut(&mut Self, &[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut from = Bytes::new();
        loop {
            let page = self.view.txn.scan(table, &from, &[0xff; 9], PAGE)?;
            for (key, value) in &page {
                tally(self, key, value)?;
            }
            match page.last() {
                Some((key, _)) if page.len() == PAGE => from = [key, &[0][..]].concat().into(),
                _ => return Ok(()),
            }
        }
    }

    fn expect(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.problems.push(problem());
        }
    }

    /// Adds to the tally of an inode, which must be there.
    fn with(&mut self, ino: Ino, what: &str, add: impl FnOnce(&mut Tally)) {
        match self.tallies.get_mut(&ino) {
            Some(tally) => add(tally),
            None => {
                self.problems.push(format!("{what} belongs to inode {ino}, which is not there"))
            }
        }
    }

    fn tally_inode(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let tally = Tally {
            inode: decode(INODES, value)?,
            names: 0,
            subdirectories: 0,
            entries: 0,
            listed: 0,
            xattr_list_size: 0,
            xattr_total_size: 0,
            acls: Vec::new(),
            chunk_bytes: 0,
            is_in_orphans: false,
        };
        self.tallies.insert(Ino(number_in(key, 0)?), tally);
        Ok(())
    }

    fn tally_entry(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let entry: Entry = decode(ENTRIES, value)?;
        let directory = Ino(number_in(key, 0)?);
        let name = Name::new(Bytes::copy_from_slice(&key[8..]))?;
        self.with(directory, "a name", |tally| {
            tally.entries += 1;
            tally.subdirectories += u32::from(entry.kind == FileKind::Directory);
        });
        let mut is_right = true;
        self.with(entry.ino, "the target of a name", |tally| {
            tally.names += 1;
            let is_home = tally.inode.directory().map_or(true, |own| own.parent == directory);
            is_right = is_home && entry.kind == tally.inode.kind();
        });
        self.expect(is_right, || format!("{name} in {directory} misjudges inode {}", entry.ino));
        let order_key = numbered_key(directory, entry.cookie.0);
        let listed: Option<Listed> = load(self.view.txn, ORDER, &order_key)?;
        let expected = Listed { name: name.clone(), ino: entry.ino, kind: entry.kind };
        self.expect(listed == Some(expected), || format!("{name} in {directory} is not listed"));
        Ok(())
    }

    fn tally_listed(&mut self, key: &[u8], _value: &[u8]) -> Result<()> {
        let cookie = Cookie(number_in(key, 8)?);
        let directory = Ino(number_in(key, 0)?);
        let mut is_right = true;
        self.with(directory, "a listed name", |tally| {
            tally.listed += 1;
            let next = tally.inode.directory().map_or(Cookie::START, |own| own.next_cookie);
            is_right = (Cookie::FIRST..next).contains(&cookie);
        });
        self.expect(is_right, || format!("cookie {} in {directory} is impossible", cookie.0));
        Ok(())
    }

    fn tally_xattr(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let (ino, name) = (Ino(number_in(key, 0)?), &key[8..]);
        let size = decode_bare(XATTRS, value)?.len();
        let acl = AclKind::ALL.into_iter().find(|kind| kind.name() == name);
        self.with(ino, "an extended attribute", |tally| {
            tally.xattr_list_size += name.len() + 1;
            tally.xattr_total_size += name.len() + 1 + size;
            tally.acls.extend(acl);
        });
        match acl {
            Some(AclKind::Access) => {
                let mode = self.view.access_acl(ino)?.mode();
                let shown = self.tallies.get(&ino).map(|tally| tally.inode.mode & 0o777);
                self.expect(shown == Some(mode), || {
                    format!("inode {ino}: its ACL and its mode differ")
                });
            }
            Some(AclKind::Default) => drop(self.view.default_acl(ino)?),
            None => {}
        }
        Ok(())
    }

    fn tally_chunk(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let (ino, index) = (Ino(number_in(key, 0)?), number_in(key, 8)?);
        let chunk: Chunk = decode(CHUNKS, value)?;
        self.with(ino, "a chunk", |tally| tally.chunk_bytes += chunk.bytes);
        self.expect(chunk.has_orderly_cuts(), || {
            format!("inode {ino}: chunk {index} is impossible")
        });
        Ok(())
    }

    fn tally_orphan(&mut self, key: &[u8], _value: &[u8]) -> Result<()> {
        self.with(Ino(number_in(key, 0)?), "an orphan", |tally| tally.is_in_orphans = true);
        Ok(())
    }

    fn judge_superblock(&mut self) -> Result<()> {
        let superblock = self.view.superblock()?;
        let bytes: u64 = self.tallies.values().map(|tally| tally.chunk_bytes).sum();
        let is_counted = superblock.inodes == self.tallies.len() as u64;
        let is_ahead = self.tallies.keys().next_back().is_none_or(|ino| *ino < superblock.next_ino);
        self.expect(is_counted, || format!("{} inodes are counted", superblock.inodes));
        self.expect(superblock.bytes == bytes, || {
            format!("{} bytes, not {bytes}", superblock.bytes)
        });
        self.expect(is_ahead, || format!("inode {} is next, but taken", superblock.next_ino));
        self.expect(self.tallies.contains_key(&Ino::ROOT), || "there is no root".into());
        Ok(())
    }

    /// The root is above every directory that has a name.
    fn judge_tree(&mut self) {
        let mut below_root = BTreeSet::from([Ino::ROOT]);
        for ino in self.tallies.keys() {
            let (mut at, mut path) = (*ino, BTreeSet::new());
            while !below_root.contains(&at) && path.insert(at) {
                let inode = self.tallies.get(&at).map(|tally| &tally.inode);
                match inode.and_then(|inode| inode.directory().ok()) {
                    Some(directory) if inode.is_some_and(|inode| !inode.is_orphan()) => {
                        at = directory.parent;
                    }
                    _ => break,
                }
            }
            if below_root.contains(&at) {
                below_root.extend(path);
            } else if path.len() > 1 {
                self.problems.push(format!("inode {ino}: it is not below the root"));
            }
        }
    }
}

impl Tally {
    fn judge(&self, ino: Ino) -> Vec<&'static str> {
        let Self { inode, .. } = self;
        let (links, names) = match (inode.directory(), inode.is_orphan()) {
            (_, true) => (0, 0),
            (Ok(_), false) => (2 + self.subdirectories, u32::from(ino != Ino::ROOT)),
            (Err(_), false) => (self.names, inode.nlink),
        };
        let entries = inode.directory().map_or(0, |own| own.entries);
        let bytes = inode.contents().map_or(0, |own| own.bytes);
        let expectations = [
            (inode.nlink == links, "its links are miscounted"),
            (self.names == names, "it has the wrong number of names"),
            (self.entries == entries, "its entries are miscounted"),
            (self.listed == entries, "what it lists are not its entries"),
            (self.is_in_orphans == inode.is_orphan(), "the list of orphans is wrong about it"),
            (self.xattr_list_size == inode.xattr_list_size as usize, "attribute names miscounted"),
            (self.xattr_total_size == inode.xattr_total_size as usize, "attributes miscounted"),
            (self.acls.contains(&AclKind::Access) == inode.has_acl, "wrong about its ACL"),
            (
                self.acls.contains(&AclKind::Default) == inode.has_default_acl,
                "wrong about its default ACL",
            ),
            (self.chunk_bytes == bytes, "its bytes are miscounted"),
            (inode.mode <= 0o7777, "its mode is impossible"),
        ];
        expectations.into_iter().filter(|(holds, _)| !holds).map(|(_, what)| what).collect()
    }
}

impl Chunk {
    fn has_orderly_cuts(&self) -> bool {
        let ordered =
            self.cuts.windows(2).all(|w| w[0].version < w[1].version && w[0].keep < w[1].keep);
        let ends_right = match self.cuts.last() {
            Some(last) => last.version == self.version && self.cuts_from < self.cuts[0].version,
            None => self.cuts_from == self.version,
        };
        ordered && ends_right && !self.replicas.is_empty()
    }
}
