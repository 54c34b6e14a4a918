//! The native client: a mount of the whole tree, coherent with all others.
//!
//! [`fs::NativeFs`] is the file system; `names`, `attributes`, `handles`, `by_number`, `contents`,
//! `append`, `ranges` and `locks` hold its operations by theme, and `vfs` offers them in the words of
//! the kernel. Below it are two narrow interfaces, [`meta::Meta`] to the master and
//! [`data::ChunkIo`] to the chunk servers, and [`remote`], which does both over the network.
//! [`attached`] is one at work.
//!
//! What a mount keeps in memory: [`dirty`] bytes that were written and not yet sent (`writer` sends
//! them), `clean` bytes that a sequential reader is about to want (`reader` fetches them), where
//! chunks are (`layout`) and which may not be on the disk (`unsynced`), names and attributes
//! (`cache`). `session` keeps all that in step with what other clients do; `lock_owners` is about
//! who has locks, `held_locks` about what is lost with a session, `doubt` about what is lost with an answer. `told` is what the kernel
//! knows of names, `kernel` what it believes of files that it opens.

mod ahead;
mod append;
pub mod attached;
mod attributes;
mod by_number;
mod cache;
mod clean;
mod contents;
pub mod data;
pub mod dirty;
mod doubt;
mod fence;
pub mod fs;
mod handles;
mod held_locks;
mod inode;
mod inodes;
mod kernel;
mod layout;
mod lock_owners;
mod locks;
pub mod meta;
mod names;
mod ranges;
mod reader;
pub mod remote;
mod session;
mod told;
mod unsynced;
mod vfs;
mod writer;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use fs::NativeFs;

/// Locks state that stays whole even if somebody panicked with the lock held: every change under
/// these locks is a single step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Copies the part that two ranges have in common from the first into the second. Each is an
/// offset in the file and bytes.
fn copy_overlap((source_at, source): (u64, &[u8]), (target_at, target): (u64, &mut [u8])) {
    let from = source_at.max(target_at);
    let to = (source_at + source.len() as u64).min(target_at + target.len() as u64);
    if from >= to {
        return;
    }
    let within = |start: u64, at: u64| usize::try_from(at - start).unwrap_or(usize::MAX);
    let part = &source[within(source_at, from)..within(source_at, to)];
    target[within(target_at, from)..within(target_at, to)].copy_from_slice(part);
}

/// The error of a task that ended without an answer.
fn given_up(error: &tokio::task::JoinError) -> crate::error::FsError {
    crate::error::FsError::new(crate::error::ErrorKind::Io, format!("a call was given up: {error}"))
}

/// The error on which the kernel looks up all names anew, once.
fn stale(why: &'static str) -> crate::error::FsError {
    crate::error::FsError::new(crate::error::ErrorKind::Stale, why)
}
