//! Listing directories in pages.

use crate::error::Result;
use crate::limits;
use crate::types::{Attr, ChunkLayout, Cookie, DirEntry, DirPage, FileKind, Ino};

use super::View;
use super::records::{Listed, ORDER, decode, number_in, numbered_key};

/// Which page of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Begin behind this place.
    pub after: Cookie,
    /// End before this place: [`DirPage::until`] of the first page, or `None` for that first page.
    pub until: Option<Cookie>,
    /// Entries at most; bounded by [`limits::DIRECTORY_PAGE_MAX`], and at least one.
    pub limit: usize,
    /// Whether the attributes of each entry are wanted.
    pub with_attr: bool,
}

impl View<'_> {
    /// Lists a part of a directory that was opened for reading. What a page costs depends on its
    /// own size only, not on that of the directory.
    ///
    /// # Errors
    /// `Stale`; `NotDirectory`.
    pub fn readdir(&self, directory: Ino, page: PageRequest) -> Result<DirPage> {
        let inode = self.inode(directory)?;
        let contents = inode.directory()?;
        let until = page.until.unwrap_or(contents.next_cookie);
        let limit = page.limit.clamp(1, limits::DIRECTORY_PAGE_MAX);
        let from = page.after.0.saturating_add(1).max(Cookie::FIRST.0);
        let from = numbered_key(directory, from.min(until.0));
        let records = self.txn.scan(ORDER, &from, &numbered_key(directory, until.0), limit)?;
        let is_last = records.len() < limit;
        let mut entries = Vec::with_capacity(records.len());
        for (key, value) in records {
            let Listed { name, ino, kind } = decode(ORDER, &value)?;
            let cookie = Cookie(number_in(&key, 8)?);
            let attr = if page.with_attr { Some(self.getattr(ino)?) } else { None };
            let place = attr.as_ref().map_or(Ok(None), |attr| self.place_of_small(attr))?;
            entries.push(DirEntry { cookie, name, ino, kind, attr, place });
        }
        Ok(DirPage { parent: contents.parent, entries, is_last, until })
    }

    /// The place that the next name of a directory will have in its order.
    ///
    /// # Errors
    /// `Stale`; `NotDirectory`.
    pub fn listing_end(&self, directory: Ino) -> Result<Cookie> {
        Ok(self.inode(directory)?.directory()?.next_cookie)
    }

    fn place_of_small(&self, attr: &Attr) -> Result<Option<ChunkLayout>> {
        let is_small = attr.kind == FileKind::Regular
            && (1..=limits::SMALL_FILE_SIZE_MAX).contains(&attr.size);
        if !is_small {
            return Ok(None);
        }
        Ok(self.layout(attr.ino, 0, 1)?.chunks.pop())
    }
}
