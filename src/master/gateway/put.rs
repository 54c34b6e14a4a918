//! What a classic `put` under a path means: a file that is made or changed, or deleted.

use std::sync::Arc;

use tokio::task::block_in_place;

use super::Gateway;
use super::commit::{Commit, Committed};
use super::dict::Dict;
use super::lists::connection_of;
use super::look::Place;
use super::notes;
use super::pending::Promotion;
use super::take::Contents;
use crate::clock;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::master::fs::Origin;
use crate::master::namespace::{Effects, Namespace, View};
use crate::proto::classic::Put;
use crate::proto::form::{self, Ownership};
use crate::proto::values::Done;
use crate::rpc::Caller;
use crate::store::Purpose;
use crate::types::{Credentials, FileKind, Ino, TreePath};

impl Gateway {
    pub(super) async fn put(self: Arc<Self>, call: Put, caller: Caller) -> Result<Done> {
        let Some(path) = TreePath::of(&call.key) else { return self.put_plain(call) };
        self.overtake_pending(&call.key);
        if call.ttl.is_zero() {
            return block_in_place(|| self.delete(&path, &call, &caller)).map(|()| Done);
        }
        if self.is_own(&call)? {
            return self.put_plain(call);
        }
        let Some(dict) = Dict::read(&call.value) else {
            if block_in_place(|| self.look(&path, clock::now()))?.is_some() {
                let message =
                    format!("{} is a file, and the value is no dict of its attributes", call.key);
                return Err(FsError::new(ErrorKind::Exists, message));
            }
            return self.put_plain(call);
        };
        if self.put_dict(&path, &dict, &call, None).await? {
            match dict.kind {
                FileKind::Directory => self.take_lists(&call, &dict, &caller).await,
                _ => self.lists().go_on(&connection_of(&caller)),
            }
            return Ok(Done);
        }
        // Whoever put it finds it again, and the tree gets it as soon as that can be.
        let key = call.key.clone();
        let done = self.put_plain(call)?;
        self.add_pending(key);
        Ok(done)
    }

    /// Whether a value is a matter between the hash table and its clients: a dict with its contents
    /// in it, or with none at all where there is no file whose attributes it could change.
    fn is_own(&self, call: &Put) -> Result<bool> {
        match form::ownership(&call.value) {
            Some(Ownership::Own) => Ok(true),
            Some(Ownership::Unsaid) => {
                Ok(block_in_place(|| self.find(&call.key, clock::now()))?.is_none())
            }
            Some(Ownership::Shared) | None => Ok(false),
        }
    }

    fn put_plain(&self, call: Put) -> Result<Done> {
        let Put { key, value, ttl, .. } = call;
        let put = || self.master.state().put(&key, value, ttl, clock::now());
        block_in_place(put).map(|()| Done)
    }

    /// Makes or changes what is under a path as a dict says. False if that is not possible now, as
    /// the directory or the contents of something new are not there; or not to be done any more, as
    /// it is an earlier client's dict and the path was put or deleted since.
    pub(super) async fn put_dict(
        &self,
        path: &TreePath,
        dict: &Dict,
        call: &Put,
        promotion: Option<&Promotion>,
    ) -> Result<bool> {
        check_kind(dict.kind)?;
        for _ in 0..limits::STALE_ATTEMPTS_MAX {
            let place =
                block_in_place(|| self.files.store().read(|txn| Place::of(View::new(txn), path)))?;
            let contents = match place {
                Place::Nowhere => return Ok(false),
                _ => self.contents(&call.key, &place, dict).await?,
            };
            let (place, contents) = (&place, &contents);
            let commit = Commit { path, place, dict, contents, ttl: call.ttl, promotion };
            let committed = block_in_place(|| self.commit(&commit, call));
            if !matches!(committed, Ok(Committed::Done)) {
                block_in_place(|| self.drop_taken(contents, dict));
            }
            match committed? {
                Committed::Done => {
                    block_in_place(|| self.forget_plain(&call.key));
                    self.discard_staged(&call.key, dict, contents).await;
                    return Ok(true);
                }
                Committed::Kept => return Ok(false),
                // Somebody has made something else under the path.
                Committed::Overtaken if promotion.is_some() => return Ok(false),
                Committed::Overtaken => {}
            }
        }
        let message = format!("too many clients change {} at once", call.key);
        Err(FsError::new(ErrorKind::Busy, message))
    }

    /// Contents that no file came to have are garbage.
    fn drop_taken(&self, contents: &Contents, dict: &Dict) {
        if let Contents::Chunks { first, server, .. } = contents
            && let Err(error) = self.drop_chunks(*first, server, dict.attributes.size)
        {
            tracing::warn!("chunk {first} waits to be found by a report of {server}: {error}");
        }
    }

    /// Takes the name away. The root only seems to go: the tree is never deleted.
    fn delete(&self, path: &TreePath, call: &Put, caller: &Caller) -> Result<()> {
        if self.own_entry(&call.key, clock::now())?.is_some() {
            // What is under the path in the tree, its client has never seen.
            return self.master.state().forget(&call.key);
        }
        let leaving = self.keep_in_lists(path, caller)?;
        let deleted = self.delete_from_tree(path);
        if let (Err(_), Some(leaving)) = (&deleted, &leaving) {
            self.stays_in_tree(leaving);
        }
        deleted?;
        self.forget_plain(&call.key);
        Ok(())
    }

    fn delete_from_tree(&self, path: &TreePath) -> Result<()> {
        self.files.transact_for(Purpose::Deletion, Origin::NOBODY, |txn, time| {
            let Some((parents, name)) = path.split() else {
                let mut note = notes::load(txn, Ino::ROOT)?.unwrap_or_default();
                (note.is_put, note.expiry) = (false, None);
                notes::save(txn, Ino::ROOT, &note)?;
                return Ok(((), Effects::default()));
            };
            let mut namespace = Namespace::new(txn, time);
            let view = namespace.view();
            let directory = view.walk(parents)?.filter(|attr| attr.kind == FileKind::Directory);
            let Some(directory) = directory else { return Ok(((), Effects::default())) };
            match view.find(directory.ino, name)?.map(|attr| attr.kind) {
                None => {}
                Some(FileKind::Directory) => {
                    namespace.rmdir(&Credentials::ROOT, directory.ino, name)?;
                }
                Some(_) => {
                    namespace.unlink(&Credentials::ROOT, directory.ino, name)?;
                }
            }
            Ok(((), namespace.into_effects()))
        })
    }
}

fn check_kind(kind: FileKind) -> Result<()> {
    match kind {
        FileKind::CharDevice | FileKind::BlockDevice => {
            Err(FsError::new(ErrorKind::NotPermitted, "devices are made on native mounts only"))
        }
        _ => Ok(()),
    }
}
