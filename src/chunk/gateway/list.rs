//! The contents of a directory as classic clients know them: the list of the paths in it, one level
//! deep; that of the root begins with `/`.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::task::block_in_place;

use super::Gateway;
use crate::clock;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::pickle;
use crate::proto::Packed;
use crate::proto::classic::{Dialect, Get, Put};
use crate::proto::gateway::{ListNames, NamesPage};
use crate::proto::path_list::{ListForm, PathList};
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
            let entry = |path| self.python2_paths.entry(path, call.dialect, program);
            entries.extend(page.names.iter().map(|name| entry(path(name))));
            entries.extend(page.deep.into_iter().map(entry));
            if page.form == ListForm::Other
                && let Some(put) = block_in_place(|| self.contents.get(key, clock::now()))?
            {
                return Ok(put.value);
            }
            let Some(next) = page.next else {
                let list = PathList { entries, form: page.form };
                let too_big = |wrong: WrongType| FsError::new(ErrorKind::TooBig, wrong.to_string());
                return list.write(page.dialect).map_err(too_big);
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
        let Packed(page) = self.peers.ask_master(call).await?;
        Ok(page)
    }
}

/// The type that paths have in the lists of Python 2, where both strings are names: byte strings, or
/// `unicode`, which newer releases of fusepy give. A program finds only what is of its own type.
#[derive(Debug, Default)]
pub(super) struct Python2Paths {
    /// By dialect: string, binary.
    are_unicode: [AtomicBool; 2],
}

impl Python2Paths {
    fn of(&self, dialect: Dialect) -> &AtomicBool {
        let [string, binary] = &self.are_unicode;
        match dialect {
            Dialect::String => string,
            Dialect::Binary => binary,
        }
    }

    /// Learns from a list that a program puts.
    pub(super) fn learn(&self, call: &Put, program: Program) {
        if program != Program::Python2 || !pickle::may_be_list(&call.value.bytes) {
            return;
        }
        let Some(list) = PathList::read(&call.value).filter(|list| list.entries.len() > 1) else {
            return;
        };
        // The root's own path is a literal of the program.
        let is_unicode = |path: &pickle::Value| matches!(path, pickle::Value::Text(_));
        let are_unicode = list.entries.iter().any(is_unicode);
        self.of(call.dialect).store(are_unicode, Ordering::Relaxed);
    }

    /// A path as the asking program puts it itself, so that it can send the list back. It cannot in a
    /// string if the path is `unicode` and has letters of Latin-1, whose pickle is no text.
    fn entry(&self, path: Bytes, dialect: Dialect, program: Program) -> pickle::Value {
        let is_sendable = dialect == Dialect::Binary || !has_latin1(&path);
        let is_text = is_sendable && self.of(dialect).load(Ordering::Relaxed);
        match program {
            Program::Python2 if !is_text => pickle::Value::Str(path),
            Program::Python2 | Program::Htfs | Program::Other => pickle::Value::path(path),
        }
    }
}

/// Whether a path has characters that are in Latin-1 and not in ASCII.
fn has_latin1(path: &Bytes) -> bool {
    let text = std::str::from_utf8(path).unwrap_or_default();
    text.chars().any(|c| ('\u{80}'..='\u{ff}').contains(&c))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::Python2Paths;
    use crate::pickle::Value;
    use crate::proto::classic::{Dialect, Put};
    use crate::rpc::Program;
    use crate::types::{Key, StoredValue, Ttl, ValueKind};

    fn put(list: &'static str) -> Put {
        let value = StoredValue { kind: ValueKind::Base64, bytes: list.into() };
        let (key, ttl) = (Key::new("/").unwrap(), Ttl::from_s(1));
        Put { key, dialect: Dialect::Binary, value, ttl }
    }

    #[test]
    fn python_2_gets_paths_of_the_type_that_it_puts() {
        let paths = Python2Paths::default();
        let path = || Bytes::from("/\u{f6}");
        let [string, binary] = [Dialect::String, Dialect::Binary];
        assert_eq!(paths.entry(path(), binary, Program::Python2), Value::Str(path()));
        assert_eq!(paths.entry(path(), binary, Program::Other), Value::Text(path()));
        paths.learn(&put("(lS'/'\naV/x\na."), Program::Other);
        paths.learn(&put("(lS'/'\na."), Program::Python2);
        assert_eq!(paths.entry(path(), binary, Program::Python2), Value::Str(path()));
        paths.learn(&put("(lS'/'\naV/x\na."), Program::Python2);
        assert_eq!(paths.entry(path(), binary, Program::Python2), Value::Text(path()));
        assert_eq!(paths.entry(path(), string, Program::Python2), Value::Str(path()));
        let in_string = |list| Put { dialect: string, ..put(list) };
        paths.learn(&in_string("(lS'/'\naV/x\na."), Program::Python2);
        assert_eq!(paths.entry(path(), string, Program::Python2), Value::Str(path()), "Latin-1");
        let beyond = || Bytes::from("/\u{438}");
        assert_eq!(paths.entry(beyond(), string, Program::Python2), Value::Text(beyond()));
        paths.learn(&put("(lS'/'\naS'/x'\na."), Program::Python2);
        assert_eq!(paths.entry(path(), binary, Program::Python2), Value::Str(path()));
    }
}
