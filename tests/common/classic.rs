//! A classic client of our own making, as exact as the homework's protocol: each of the four
//! dialects, every call by itself.

use bytes::Bytes;
use htfs::pickle::{self, Attributes};
use htfs::proto::classic::{ChangeSize, Dialect, Get, GetServer, Put};
use htfs::proto::form::{
    Form, Layout, read_attributes, unwrap_pickle, wrap_pickle, write_attributes,
};
use htfs::rpc::CallError;
use htfs::types::{Key, ServerUrl, StoredValue, Ttl, ValueKind};

use super::rpc::Rpc;

/// The time to live of what nobody should see expire, in seconds.
pub(crate) const LONG_S: i64 = 10_000;

/// The four dialects: how keys go, and how contents.
pub(crate) const DIALECTS: [Form; 4] = [
    Form { dialect: Dialect::String, layout: Layout::Raw },
    Form { dialect: Dialect::String, layout: Layout::Pickled },
    Form { dialect: Dialect::Binary, layout: Layout::Raw },
    Form { dialect: Dialect::Binary, layout: Layout::Pickled },
];

/// The client.
pub(crate) struct Classic {
    pub(crate) rpc: Rpc,
    master: String,
    form: Form,
}

/// A result of a call.
pub(crate) type Called<T> = Result<T, CallError>;

impl Classic {
    /// A client of a master in one of the dialects.
    pub(crate) fn new(master: &str, form: Form) -> Self {
        Self { rpc: Rpc::new(), master: master.to_owned(), form }
    }

    fn key(path: &str) -> Key {
        Key::new(path.to_owned()).expect("the paths of the tests are short")
    }

    fn get_at(&self, url: &str, path: &str) -> Called<Option<(StoredValue, u64)>> {
        let call = Get { key: Self::key(path), dialect: self.form.dialect };
        Ok(self.rpc.call(url, call)?.map(|entry| (entry.value, entry.ttl_s)))
    }

    fn put_at(&self, url: &str, path: &str, value: StoredValue, ttl_s: i64) -> Called<()> {
        let (key, dialect, ttl) = (Self::key(path), self.form.dialect, Ttl::from_s(ttl_s));
        let call = Put { key, dialect, value, ttl };
        self.rpc.call(url, call).map(|_| ())
    }

    /// The dict of a path, and the seconds it has left.
    pub(crate) fn stat(&self, path: &str) -> Called<Option<(Attributes, u64)>> {
        let Some((value, ttl_s)) = self.get_at(&self.master, path)? else { return Ok(None) };
        assert_eq!(value.kind, self.kind(), "a dict comes in the dialect of the key");
        Ok(Some((read_attributes(&value).expect("it is a dict of attributes"), ttl_s)))
    }

    fn kind(&self) -> ValueKind {
        match self.form.dialect {
            Dialect::String => ValueKind::String,
            Dialect::Binary => ValueKind::Base64,
        }
    }

    /// The value at the chunk server that the dict names.
    pub(crate) fn value(&self, path: &str) -> Called<Option<StoredValue>> {
        let Some((attributes, _)) = self.stat(path)? else { return Ok(None) };
        let server = attributes.contents.expect("a dict names a chunk server");
        Ok(self.get_at(server.as_str(), path)?.map(|(value, _)| value))
    }

    /// The contents of a path, which must be in this client's own form.
    pub(crate) fn read(&self, path: &str) -> Called<Option<Bytes>> {
        let Some(value) = self.value(path)? else { return Ok(None) };
        Ok(Some(match self.form.layout {
            Layout::Raw => value.bytes,
            Layout::Pickled => {
                let contents = unwrap_pickle(&value).expect("the contents are pickled");
                contents.as_bytes().expect("they are bytes").clone()
            }
        }))
    }

    /// The paths in a directory, as its list has them.
    pub(crate) fn list(&self, path: &str) -> Called<Vec<String>> {
        let value = self.value(path)?.expect("the directory has a list");
        let list = unwrap_pickle(&value);
        let Some(pickle::Value::List(paths)) = list else { panic!("no list: {list:?}") };
        let path = |path: &pickle::Value| {
            let path = path.as_path().expect("a list of paths");
            String::from_utf8(path.to_vec()).expect("the names of the tests are text")
        };
        Ok(paths.iter().map(path).collect())
    }

    /// Where the contents of a path go.
    pub(crate) fn server(&self, path: &str) -> Called<ServerUrl> {
        if let Some((attributes, _)) = self.stat(path)? {
            return Ok(attributes.contents.expect("a dict names a chunk server"));
        }
        let server = self.rpc.call(&self.master, GetServer)?;
        Ok(server.expect("there is a chunk server"))
    }

    /// The first of the steps of storing a file: its contents go to a chunk server.
    pub(crate) fn stage(&self, path: &str, contents: &[u8], ttl_s: i64) -> Called<ServerUrl> {
        let server = self.server(path)?;
        let value = self.form.write(Bytes::copy_from_slice(contents));
        self.put_at(server.as_str(), path, value, ttl_s)?;
        Ok(server)
    }

    /// The second: the master hears of the size.
    pub(crate) fn announce(&self, path: &str, server: &ServerUrl, size: u64) -> Called<()> {
        let (key, server) = (Self::key(path), server.clone());
        let call = ChangeSize { key, dialect: self.form.dialect, server, size };
        self.rpc.call(&self.master, call).map(|_| ())
    }

    /// The last: the dict goes to the master. Alone it changes attributes.
    pub(crate) fn put_dict(&self, path: &str, attributes: &Attributes, ttl_s: i64) -> Called<()> {
        let value = write_attributes(self.form.dialect, attributes);
        self.put_at(&self.master, path, value, ttl_s)
    }

    /// Stores a file as every classic client does.
    pub(crate) fn put(&self, path: &str, mode: u32, contents: &[u8], ttl_s: i64) -> Called<()> {
        let server = self.stage(path, contents, ttl_s)?;
        let size = contents.len() as u64;
        self.announce(path, &server, size)?;
        let old = self.stat(path)?.map(|(attributes, _)| attributes).unwrap_or_default();
        let attributes = Attributes { mode, size, contents: Some(server), ..old };
        self.put_dict(path, &attributes, ttl_s)
    }

    /// The same with usual permissions.
    pub(crate) fn write(&self, path: &str, contents: &[u8]) -> Called<()> {
        self.put(path, libc::S_IFREG | 0o644, contents, LONG_S)
    }

    /// Makes a directory, with the list that a client makes for it.
    pub(crate) fn mkdir(&self, path: &str) -> Called<()> {
        let first = if path == "/" { vec![pickle::Value::str("/")] } else { Vec::new() };
        self.put_list(path, wrap_pickle(self.form.dialect, &pickle::Value::List(first)))
    }

    /// Stores a directory with this value for its list.
    pub(crate) fn put_list(&self, path: &str, list: StoredValue) -> Called<()> {
        let server = self.server(path)?;
        self.put_at(server.as_str(), path, list, LONG_S)?;
        self.announce(path, &server, 0)?;
        let mode = libc::S_IFDIR | 0o755;
        let attributes =
            Attributes { mode, nlink: 2, contents: Some(server), ..Attributes::default() };
        self.put_dict(path, &attributes, LONG_S)
    }

    /// Deletes as the homework's `HtProxy`: everything expires at once.
    pub(crate) fn delete(&self, path: &str) -> Called<()> {
        let nothing = || StoredValue { kind: self.kind(), bytes: Bytes::new() };
        let server = self.server(path)?;
        self.put_at(server.as_str(), path, nothing(), 0)?;
        self.announce(path, &server, 0)?;
        self.put_at(&self.master, path, nothing(), 0)
    }
}
