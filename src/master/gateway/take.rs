//! Bringing what a client has staged at a chunk server under a native key, or to the master if it is
//! small: before the transaction that makes it a file's.

use bytes::Bytes;
use tokio::task::block_in_place;

use super::Gateway;
use super::dict::Dict;
use super::look::Place;
use super::notes::{self, Note};
use crate::error::{ErrorKind, FsError, Result};
use crate::limits::{self, CHUNK_SIZE};
use crate::master::chunks;
use crate::master::fs::{Arriving, Origin};
use crate::master::namespace::{Effects, Namespace, View};
use crate::proto::Packed;
use crate::proto::gateway::{Discard, Peek, Staged, Take};
use crate::types::{Attr, ChunkKey, DroppedChunk, FileKind, Key, ServerId};

/// The version of chunks that are new, as the namespace counts.
const FIRST_VERSION: u64 = 1;

/// What a client's `put` has for a file beside its attributes.
pub(super) enum Contents {
    /// Nothing new: contents stay as they are. What is not there yet cannot be made of it, unless it
    /// is empty.
    Same,
    /// A server has written them into chunks from the first one on.
    Chunks { first: ChunkKey, server: ServerId, staged: Staged, _arriving: Arriving },
    /// Here they are.
    Bytes { bytes: Bytes, server: ServerId, staged: Staged },
}

/// What there is to know before a server is asked.
struct Before {
    /// The file that is there, if it is of the same kind.
    attr: Option<Attr>,
    note: Note,
    /// Whether the client has announced a size.
    is_announced: bool,
    is_registered: bool,
}

impl Before {
    /// Whether the client must have staged something.
    fn expects_contents(&self, size: u64) -> bool {
        self.is_announced || self.attr.as_ref().is_none_or(|attr| attr.size != size)
    }

    /// Whether the contents are not those that a classic client put. A value that is still staged,
    /// of a client that died in between, is older then.
    fn is_native(&self) -> bool {
        self.attr.as_ref().is_some_and(|attr| attr.data_version != self.note.data_version)
    }
}

impl Gateway {
    /// What is staged for a path. A client that only changes attributes has staged nothing, and one
    /// whose value another client has overwritten leaves it to that one's `put`.
    ///
    /// # Errors
    /// `UnknownServer`, or that the server cannot be reached, if contents of a file that is there
    /// must be on it; `NoSpace`, also if the master's disk was full at its start; what the store says.
    pub(super) async fn contents(&self, key: &Key, place: &Place, dict: &Dict) -> Result<Contents> {
        self.files.check_life()?;
        let size = dict.attributes.size;
        if !matches!(dict.kind, FileKind::Regular | FileKind::Symlink)
            || size > limits::BODY_SIZE_MAX as u64
        {
            return Ok(Contents::Same);
        }
        let Some(url) = &dict.attributes.contents else { return Ok(Contents::Same) };
        let server = self.master.members().at(url);
        let before = block_in_place(|| self.before(key, place, dict.kind, &server))?;
        let expects = before.expects_contents(size);
        if !expects && before.is_native() {
            return Ok(Contents::Same);
        }
        let asked = if !before.is_registered {
            let message = format!("no chunk server {url} is registered");
            Err(FsError::new(ErrorKind::UnknownServer, message))
        } else if !self.files.may_answer(&server) {
            let message = format!("{url} has been silent for a while");
            Err(FsError::new(ErrorKind::Unreachable, message))
        } else if dict.kind == FileKind::Regular {
            self.take(key, &before, server, size).await
        } else {
            self.peek(key, server, size).await
        };
        match asked {
            Ok(contents) => Ok(contents),
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::InvalidArgument => Ok(Contents::Same),
                ErrorKind::NoSpace => Err(error),
                _ if expects && before.attr.is_some() => Err(error.context(key)),
                _ => {
                    tracing::info!("{key} cannot come into the tree yet: {error}");
                    Ok(Contents::Same)
                }
            },
        }
    }

    fn before(
        &self,
        key: &Key,
        place: &Place,
        kind: FileKind,
        server: &ServerId,
    ) -> Result<Before> {
        let (attr, note) = self.files.store().read(|txn| {
            let Some(ino) = place.ino() else { return Ok((None, Note::default())) };
            let attr = match View::new(txn).getattr(ino) {
                Ok(attr) => Some(attr).filter(|attr| attr.kind == kind),
                // The commit will see that it is gone.
                Err(error) if error.kind() == ErrorKind::Stale => None,
                Err(error) => return Err(error),
            };
            Ok((attr, notes::load(txn, ino)?.unwrap_or_default()))
        })?;
        let state = self.master.state();
        let is_announced = state.is_announced(key)?;
        let is_registered = state.is_registered(server)?;
        Ok(Before { attr, note, is_announced, is_registered })
    }

    async fn take(
        &self,
        key: &Key,
        before: &Before,
        server: ServerId,
        size: u64,
    ) -> Result<Contents> {
        let ino = before.attr.as_ref().map(|attr| attr.ino);
        let first = block_in_place(|| self.reserve(ino))?;
        let arriving = self.files.arriving(&first);
        let call = Take { key: key.clone(), chunk: first, version: FIRST_VERSION, size };
        let taken = self.ask_server(&server, call).await;
        let is_old = |staged: &Staged| before.attr.is_some() && staged.token == before.note.taken;
        match taken {
            Ok(Packed(staged)) if is_old(&staged) => {
                // Its removal failed when it had become the contents.
                block_in_place(|| self.drop_chunks(first, &server, size))?;
                self.discard(key, &server, staged.token).await;
                Ok(Contents::Same)
            }
            Ok(Packed(staged)) => {
                Ok(Contents::Chunks { first, server, staged, _arriving: arriving })
            }
            Err(error) => {
                let has_nothing =
                    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidArgument);
                if !has_nothing {
                    block_in_place(|| self.drop_chunks(first, &server, size))?;
                }
                Err(error)
            }
        }
    }

    fn reserve(&self, ino: Option<crate::types::Ino>) -> Result<ChunkKey> {
        self.files.transact(Origin::NOBODY, |txn, time| {
            let mut namespace = Namespace::new(txn, time);
            let first = match ino {
                Some(ino) => namespace.reserve_contents(ino)?,
                None => namespace.reserve_file()?,
            };
            Ok((first, namespace.into_effects()))
        })
    }

    async fn peek(&self, key: &Key, server: ServerId, size: u64) -> Result<Contents> {
        let call = Peek { key: key.clone(), size };
        let Packed((staged, bytes)) = self.ask_server(&server, call).await?;
        Ok(Contents::Bytes { bytes, server, staged })
    }

    /// Chunks that were reserved and perhaps written are nobody's.
    pub(super) fn drop_chunks(&self, first: ChunkKey, server: &ServerId, size: u64) -> Result<()> {
        let dropped: Vec<DroppedChunk> = (0..size.div_ceil(CHUNK_SIZE))
            .map(|index| DroppedChunk {
                key: ChunkKey { index, ..first },
                replicas: vec![server.clone()],
            })
            .collect();
        self.files.transact(Origin::NOBODY, |txn, _| {
            chunks::discard(txn, &dropped, ServerId::clone);
            Ok(((), Effects::default()))
        })
    }

    /// What was staged is the file's now.
    pub(super) async fn discard_staged(&self, key: &Key, dict: &Dict, contents: &Contents) {
        match contents {
            Contents::Chunks { server, staged, .. } | Contents::Bytes { server, staged, .. } => {
                self.discard(key, server, staged.token).await;
            }
            // What a fifo has for contents means nothing in the tree.
            Contents::Same if matches!(dict.kind, FileKind::Fifo | FileKind::Socket) => {
                let Some(url) = &dict.attributes.contents else { return };
                let server = &self.master.members().at(url);
                let is_known = block_in_place(|| self.master.state().is_registered(server));
                if is_known.unwrap_or(false) && self.files.may_answer(server) {
                    self.discard(key, server, 0).await;
                }
            }
            Contents::Same => {}
        }
    }

    async fn discard(&self, key: &Key, server: &ServerId, token: u64) {
        let call = Discard { key: key.clone(), token };
        if let Err(error) = self.ask_server(server, call).await {
            tracing::debug!("{server} keeps what was put there for {key}: {error}");
        }
    }
}
