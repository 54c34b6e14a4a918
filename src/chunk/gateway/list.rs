//! The contents of a directory as classic clients know them: the list of the paths in it, one level
//! deep; that of the root begins with `/`.

use bytes::Bytes;

use super::Gateway;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::pickle;
use crate::proto::Packed;
use crate::proto::fs::ReadDir;
use crate::types::{Attr, Cookie, Credentials, DirPage, Ino, Key};

/// What the list and the dict around it take of [`limits::PICKLE_OBJECTS_MAX`].
const OTHER_OBJECTS: u64 = 1024;

impl Gateway {
    /// The list of a directory.
    ///
    /// # Errors
    /// `TooBig` if there are more names than clients read; what the master says.
    pub(super) async fn list(&self, key: &Key, directory: &Attr) -> Result<pickle::Value> {
        let names_max = limits::PICKLE_OBJECTS_MAX as u64 - OTHER_OBJECTS;
        if directory.size > names_max {
            let message = format!("{key} has more than {names_max} entries: use a native mount");
            return Err(FsError::new(ErrorKind::TooBig, message));
        }
        let is_root = directory.ino == Ino::ROOT;
        let above = if is_root { &b""[..] } else { key.as_bytes() };
        let mut paths = Vec::new();
        if is_root {
            paths.push(pickle::Value::str("/"));
        }
        let (mut after, mut until) = (Cookie::START, None);
        loop {
            let page = self.page(directory.ino, after, until).await?;
            let path = |name: &[u8]| Bytes::from([above, b"/", name].concat());
            let names = page.entries.iter();
            paths.extend(names.map(|entry| pickle::Value::path(path(entry.name.as_bytes()))));
            match page.entries.last() {
                Some(last) if !page.is_last => (after, until) = (last.cookie, Some(page.until)),
                _ => return Ok(pickle::Value::List(paths)),
            }
        }
    }

    async fn page(&self, ino: Ino, after: Cookie, until: Option<Cookie>) -> Result<DirPage> {
        let call = ReadDir {
            ino,
            after: Packed(after),
            until: Packed(until),
            limit: limits::LISTING_PAGE,
            with_attributes: false,
            who: Packed(Credentials::ROOT),
        };
        let Packed(page) = self.client.call(&self.master, call).await?;
        Ok(page)
    }
}
