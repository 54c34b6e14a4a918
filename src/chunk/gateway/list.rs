//! The contents of a directory as classic clients know them: the list of the paths in it, one level
//! deep; that of the root begins with `/`.

use bytes::Bytes;

use super::Gateway;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::pickle;
use crate::proto::Packed;
use crate::proto::classic::{Dialect, Get};
use crate::proto::gateway::{ListNames, NamesPage};
use crate::proto::path_list::PathList;
use crate::rpc::{Program, WrongType};
use crate::types::{Attr, Cookie, Ino, Name, StoredValue};

/// What the list and the dict around it take of [`limits::PICKLE_OBJECTS_MAX`].
const OTHER_OBJECTS: u64 = 1024;

impl Gateway {
    /// The list of a directory as the value that the client expects. Names that the client's own
    /// deletions have left in it, the master knows.
    ///
    /// # Errors
    /// `TooBig` if there are more names than clients read; what the master says.
    pub(super) async fn list(
        &self,
        call: &Get,
        program: Program,
        directory: &Attr,
    ) -> Result<StoredValue> {
        let key = &call.key;
        let names_max = limits::PICKLE_OBJECTS_MAX as u64 - OTHER_OBJECTS;
        if directory.size > names_max {
            let message = format!("{key} has more than {names_max} entries: use a native mount");
            return Err(FsError::new(ErrorKind::TooBig, message));
        }
        let is_root = directory.ino == Ino::ROOT;
        let above = if is_root { &b""[..] } else { key.as_bytes() };
        let mut entries = Vec::new();
        if is_root {
            entries.push(pickle::Value::str("/"));
        }
        let (mut after, mut until) = (Cookie::START, None);
        loop {
            let page = self.page(directory.ino, call.dialect, (after, until)).await?;
            let path = |name: &Name| Bytes::from([above, b"/", name.as_bytes()].concat());
            entries.extend(page.names.iter().map(|name| entry(path(name), program)));
            let Some(next) = page.next else {
                let list = PathList { entries, form: page.form };
                let too_big = |wrong: WrongType| FsError::new(ErrorKind::TooBig, wrong.to_string());
                return list.write(call.dialect).map_err(too_big);
            };
            (after, until) = (next, Some(page.until));
        }
    }

    async fn page(
        &self,
        ino: Ino,
        dialect: Dialect,
        (after, until): (Cookie, Option<Cookie>),
    ) -> Result<NamesPage> {
        let is_string = dialect == Dialect::String;
        let call = ListNames { ino, is_string, after: Packed(after), until: Packed(until) };
        let Packed(page) = self.client.call(&self.master, call).await?;
        Ok(page)
    }
}

/// A path as the asking program puts it itself, so that it can send the list back: to Python 2 all
/// paths are byte strings, and text with an umlaut in a pickle of its is no text that XML can carry.
fn entry(path: Bytes, program: Program) -> pickle::Value {
    match program {
        Program::Python2 => pickle::Value::Str(path),
        Program::Htfs | Program::Other => pickle::Value::path(path),
    }
}
