//! Listing a directory ahead of a program that looks at its names one after the other.
//!
//! Whoever asks for several names of one directory probably asks for more of them, in the order in
//! which they were made. A page of the directory with all attributes costs about as much as ten
//! single questions. Pages get larger while the names in them are asked for, and there are no
//! more when they are not.

use std::sync::{Arc, Mutex};

use super::cache::Place;
use super::data::Cluster;
use super::fence::Fence;
use super::fs::NativeFs;
use super::lock;
use crate::client::bounded::Bounded;
use crate::error::Result;
use crate::limits;
use crate::proto::Packed;
use crate::proto::fs::ReadDir;
use crate::types::{Cookie, Credentials, DirPage, Ino};

/// Questions about single names of a directory before it is listed.
const MISSES: u32 = 3;

/// Entries of the first page; each further one has twice as many.
const FIRST_PAGE: u32 = 128;

/// The directories that somebody goes through.
pub(super) struct Ahead {
    walks: Mutex<Bounded<Ino, Arc<Walk>>>,
}

/// A way through one directory.
#[derive(Default)]
struct Walk {
    counts: Mutex<Counts>,
    /// Held by who fetches a page; others who miss a name wait for it.
    position: tokio::sync::Mutex<Position>,
}

#[derive(Default)]
struct Counts {
    /// Names that were not known, since the last page.
    misses: u32,
    /// Names that were, since the last page.
    hits: u32,
    /// Entries of the last page.
    listed: u32,
}

impl Counts {
    /// Whether it is worth it to fetch a page.
    fn is_due(&self) -> bool {
        self.misses >= MISSES && self.hits >= self.listed / 2
    }
}

/// Where the next page begins.
struct Position {
    after: Cookie,
    until: Option<Cookie>,
    size: u32,
    /// From before the first page, and what the cache had forgotten then.
    start: Option<(Fence, u64)>,
}

impl Default for Position {
    fn default() -> Self {
        Self { after: Cookie::START, until: None, size: FIRST_PAGE, start: None }
    }
}

impl Ahead {
    pub(super) fn new() -> Self {
        Self { walks: Mutex::new(Bounded::new(limits::WALKS_MAX)) }
    }

    /// A name of the directory was asked for, and was in the cache.
    pub(super) fn note_hit(&self, directory: Ino) {
        if let Some(walk) = lock(&self.walks).get(&directory) {
            lock(&walk.counts).hits += 1;
        }
    }

    /// A name of the directory was asked for, and was not.
    fn note_miss(&self, directory: Ino) -> Arc<Walk> {
        let mut walks = lock(&self.walks);
        if let Some(walk) = walks.get(&directory) {
            lock(&walk.counts).misses += 1;
            return Arc::clone(walk);
        }
        let walk = Arc::new(Walk::default());
        lock(&walk.counts).misses = 1;
        walks.put(directory, Arc::clone(&walk));
        walk
    }
}

impl<C: Cluster> NativeFs<C> {
    /// To be called when a name is not in the cache. Lists a page of the directory, if that seems
    /// worth it, or waits for one that is under way; answers whether the name may be known now.
    pub(super) async fn list_ahead(&self, directory: Ino, who: &Credentials) -> bool {
        let walk = self.ahead.note_miss(directory);
        if !lock(&walk.counts).is_due() {
            return false;
        }
        let mut place = walk.position.lock().await;
        if !lock(&walk.counts).is_due() {
            return true;
        }
        let listed = self.list_page(directory, &mut place, who).await;
        let listed = listed.inspect_err(|error| tracing::debug!(%directory, "not listed: {error}"));
        let entries = listed.as_ref().map_or(0, |entries| *entries);
        *lock(&walk.counts) = Counts { misses: 0, hits: 0, listed: entries };
        listed.is_ok()
    }

    /// Lists the next page, the first one after the last; answers how many entries it has.
    async fn list_page(
        &self,
        directory: Ino,
        place: &mut Position,
        who: &Credentials,
    ) -> Result<u32> {
        if place.start.is_none() {
            place.start = Some((self.cache.fence(), self.cache.losses()));
        }
        let range = (place.after, place.until);
        let page = self.fetch_page(directory, range, place.size, true, who).await?;
        place.until = Some(page.until);
        place.size = (place.size * 2).min(limits::LISTING_PAGE);
        if let Some(last) = page.entries.last() {
            place.after = last.cookie;
        }
        if page.is_last {
            if let Some((fence, losses)) = &place.start {
                self.cache.put_complete(directory, fence, *losses);
            }
            *place = Position::default();
        }
        Ok(u32::try_from(page.entries.len()).unwrap_or(u32::MAX))
    }

    /// A page of a directory, which goes into the cache.
    pub(super) async fn fetch_page(
        &self,
        ino: Ino,
        (after, until): (Cookie, Option<Cookie>),
        limit: u32,
        with_attributes: bool,
        who: &Credentials,
    ) -> Result<DirPage> {
        let fence = self.cache.fence();
        let (after, until, who) = (Packed(after), Packed(until), Packed(who.clone()));
        let call = ReadDir { ino, after, until, limit, with_attributes, who };
        let Packed(page) = self.cluster.ask(call).await?;
        self.note_page(ino, &page, &fence);
        Ok(page)
    }

    /// Puts a page of a directory, asked for behind `fence`, into the cache.
    pub(super) fn note_page(&self, ino: Ino, page: &DirPage, fence: &Fence) {
        for entry in &page.entries {
            self.cache.put_entry(ino, &entry.name, Some(entry.ino), fence);
            if let Some(attr) = &entry.attr {
                self.cache.put_attr(attr, fence);
                if let Some(chunk) = entry.place.clone() {
                    let (data_version, size) = (attr.data_version, attr.size);
                    self.cache.put_place(entry.ino, Place { chunk, data_version, size });
                }
            }
        }
    }
}
