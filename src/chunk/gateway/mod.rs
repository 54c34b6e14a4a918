//! The chunk server's half of the classic gateway: what is under a path is what the tree of the
//! master has there, in the form that the asking client knows.
//!
//! A classic client's `put` only stages a value, in the hash table, under its path: the contents of
//! the file are the old ones until the master has taken the value over, at the client's `put` there.
//! So `get` asks the master first, and answers what is staged only under a path that no file has.
//!
//! A program that keeps whole files here, each a dict of attributes with the contents in it, uses
//! this server as a hash table, and finds there what it put.
//!
//! A value that another client replaces meanwhile can still be taken. What nobody comes for goes with
//! its time to live; [`reclaim`] removes it before that if the disk is full.
//!
//! [`file`] brings the contents of a file together, [`list`] the names in a directory; [`service`]
//! offers the methods.

mod file;
mod list;
mod reclaim;
mod service;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::block_in_place;

use crate::chunk::contents::Contents;
use crate::chunk::native::NativeStore;
use crate::chunk::peers::Peers;
use crate::clock;
use crate::error::{ErrorKind, Result};
use crate::proto::Packed;
use crate::proto::classic::{Dialect, Entry, Get, Put};
use crate::proto::form::{self, Form};
use crate::proto::gateway::{Resolve, Resolved};
use crate::rpc::{CallError, Caller, Fault, Method, Program};
use crate::types::{FileKind, Key, ServerId, StoredValue, TreePath};

use list::Python2Paths;

pub use reclaim::keep_room;
pub use service::register;

/// What answers classic clients at a chunk server.
pub struct Gateway {
    contents: Arc<Contents>,
    chunks: Arc<NativeStore>,
    peers: Peers,
    server: ServerId,
    /// The master turned out to be one of the homework's: there is no tree.
    is_treeless: AtomicBool,
    /// The master turned out to have one.
    has_tree: AtomicBool,
    python2_paths: Python2Paths,
    /// A staged value that is younger makes no room.
    reclaim_age_min: Duration,
    /// Held while room is made.
    reclaiming: tokio::sync::Mutex<()>,
}

impl Gateway {
    /// The gateway of the chunk server `server`, which has these peers. Staged values younger than
    /// `reclaim_age_min` make no room on a full disk.
    #[must_use]
    pub fn new(
        (contents, chunks): (&Arc<Contents>, &Arc<NativeStore>),
        peers: &Peers,
        server: &ServerId,
        reclaim_age_min: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            contents: Arc::clone(contents),
            chunks: Arc::clone(chunks),
            peers: peers.clone(),
            server: server.clone(),
            is_treeless: AtomicBool::new(false),
            has_tree: AtomicBool::new(false),
            python2_paths: Python2Paths::default(),
            reclaim_age_min,
            reclaiming: tokio::sync::Mutex::default(),
        })
    }

    /// What is under a key: of the tree if it is a path there, else of the hash table.
    async fn get(&self, call: &Get, caller: &Caller) -> Result<Option<Entry>> {
        caller.make_room(self.contents.size(&call.key)?).await?;
        let staged = block_in_place(|| self.contents.get(&call.key, clock::now()));
        let staged = staged.map(|entry| entry.map(|entry| entry.in_dialect(call.dialect)));
        if let Ok(Some(entry)) = &staged
            && is_whole_file(&call.key, &entry.value)
        {
            return staged;
        }
        match self.resolve(&call.key, call.dialect).await {
            Ok(Some(found)) => self.entry(call, caller, found).await.map(Some),
            Ok(None) => staged,
            // Without the master nobody knows better than this server.
            Err(error) => staged?.map_or(Err(error), |staged| Ok(Some(staged))),
        }
    }

    async fn entry(&self, call: &Get, caller: &Caller, found: Resolved) -> Result<Entry> {
        let (dialect, ttl_s) = (found.dialect, found.ttl_s);
        let form = Form { dialect, layout: found.layout };
        let value = match found.attr.kind {
            FileKind::Regular => form.write(self.file(call, caller, found).await?),
            FileKind::Directory => self.list(call, caller.program(), &found.attr).await?,
            _ => form.write(found.target),
        };
        Ok(Entry { value, ttl_s })
    }

    /// Whether the master has a tree, asked about this path if that is not known yet.
    async fn has_tree(&self, path: &Key) -> Result<bool> {
        if !self.has_tree.load(Ordering::Relaxed) {
            self.resolve(path, Dialect::default()).await?;
        }
        Ok(self.has_tree.load(Ordering::Relaxed))
    }

    /// Stores a value. One under a path is only staged: what it replaces there may be another
    /// client's that is on its way to the master. Without the master nobody is.
    async fn put(&self, call: Put, program: Program) -> Result<()> {
        self.python2_paths.learn(&call, program);
        match self.try_put(call.clone()).await {
            Err(error) if error.kind() == ErrorKind::NoSpace => {
                let missing =
                    block_in_place(|| self.contents.missing_room(call.value.bytes.len()))?;
                if self.reclaim(missing).await.unwrap_or(0) == 0 {
                    return Err(error);
                }
                self.try_put(call).await
            }
            done => done,
        }
    }

    async fn try_put(&self, call: Put) -> Result<()> {
        let Put { key, value, ttl, .. } = call;
        let is_contents = TreePath::of(&key).is_some() && !is_whole_file(&key, &value);
        let now = clock::now();
        if is_contents && self.has_tree(&key).await.unwrap_or(false) {
            return block_in_place(|| self.contents.stage(&key, value, ttl, now));
        }
        block_in_place(|| self.contents.put(&key, value, ttl, now))
    }

    /// What the tree has under a key, if that is a path.
    async fn resolve(&self, key: &Key, dialect: Dialect) -> Result<Option<Resolved>> {
        if self.is_treeless.load(Ordering::Relaxed) || TreePath::of(key).is_none() {
            return Ok(None);
        }
        let call = Resolve { key: key.clone(), is_string: dialect == Dialect::String };
        match self.peers.ask_master(call).await {
            Ok(Packed(found)) => {
                self.has_tree.store(true, Ordering::Relaxed);
                Ok(found)
            }
            Err(CallError::Fault(fault)) if is_unknown(&fault) => {
                self.is_treeless.store(true, Ordering::Relaxed);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether a program keeps a file here as a whole, with its attributes, and so without any master:
/// what the tree has under that path means nothing to it.
fn is_whole_file(key: &Key, value: &StoredValue) -> bool {
    TreePath::of(key).is_some() && form::ownership(value).is_some()
}

/// Whether a fault means that the master is not one of ours, in its own words or in Python's.
fn is_unknown(fault: &Fault) -> bool {
    fault.code == Fault::UNKNOWN_METHOD
        || fault.message.contains(&format!("method \"{}\" is not supported", Resolve::NAME))
}
