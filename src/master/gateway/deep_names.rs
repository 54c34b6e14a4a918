//! Paths in the list of a directory that are not directly in it: a client that keeps one list for all
//! names has those of every depth in the list of the root.
//!
//! As with names, what is there stays listed whoever puts a list without it; what is gone stays as
//! long as the lists that are put still have it, since a client that deletes takes it off later.
//! Pure, over a transaction.

use std::collections::HashSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::look::Place;
use crate::error::Result;
use crate::limits;
use crate::master::namespace::View;
use crate::types::{Key, TreePath};

/// A path in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DeepName {
    path: Bytes,
    /// Whether the list that was put last has it.
    is_listed: bool,
}

/// The deep names of a directory after a list was put, which has these paths that are not directly in
/// the directory. So many that clients could not read them are left out.
pub(super) fn merge(
    view: View<'_>,
    old: Vec<DeepName>,
    listed: Vec<Bytes>,
) -> Result<Vec<DeepName>> {
    let known: HashSet<Bytes> = listed.iter().cloned().collect();
    let mut merged = Vec::with_capacity(known.len());
    for DeepName { path, .. } in old {
        let is_listed = known.contains(&path);
        if is_listed || exists(view, &path)? {
            merged.push(DeepName { path, is_listed });
        }
    }
    let mut seen: HashSet<Bytes> = merged.iter().map(|name| name.path.clone()).collect();
    let new = listed.into_iter().filter(|path| seen.insert(path.clone()));
    merged.extend(new.map(|path| DeepName { path, is_listed: true }));
    merged.truncate(limits::DEEP_NAMES_MAX);
    Ok(merged)
}

/// Those that a client is to see.
pub(super) fn shown(view: View<'_>, names: Vec<DeepName>) -> Result<Vec<Bytes>> {
    let mut shown = Vec::with_capacity(names.len());
    for DeepName { path, is_listed } in names {
        if is_listed || exists(view, &path)? {
            shown.push(path);
        }
    }
    Ok(shown)
}

fn exists(view: View<'_>, path: &Bytes) -> Result<bool> {
    let Some(path) = Key::new(path.clone()).ok().and_then(|key| TreePath::of(&key)) else {
        return Ok(false);
    };
    Ok(Place::of(view, &path)?.ino().is_some())
}
