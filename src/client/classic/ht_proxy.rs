//! HtProxy: files as the homework's client gets and puts them.
//!
//! Under a path, the master has a pickled dict of attributes, and the chunk server that this dict
//! names has the contents. Storing a file is four steps, in this order, because a reader that
//! finds the dict must find the contents as well: contents, size, dict, and before them the
//! question which server it is.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::client::calls::Calls;
use crate::client::classic::key_path::KeyPath;
use crate::client::classic::key_types::{self, KeyTypes};
use crate::error::{ErrorKind, FsError, Result};
use crate::pickle::Attributes;
use crate::proto::classic::{ChangeSize, Dialect, Entry, Get, GetServer, Put};
use crate::proto::form;
use crate::proto::server::{Replace, Replaced, SyncChunk, SyncMaster};
use crate::proto::values::Done;
use crate::rpc::{CallError, Fault, Method};
use crate::types::{Key, ServerUrl, StoredValue, Ttl, ValueKind};

/// Time to live of directories, and of files that do not expire: 68 years, in seconds. A Python 2
/// server takes no larger number.
pub const FOREVER_S: i64 = i32::MAX as i64;

/// What the master holds under a path.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The dict.
    pub attributes: Attributes,
    /// The type in which it was stored, and will be again.
    pub dialect: Dialect,
    /// Seconds that it has left. A change of attributes adds none: the contents have no more.
    pub ttl_s: i64,
}

impl Record {
    /// The chunk server that has the contents.
    ///
    /// # Errors
    /// `Protocol` if the dict names none.
    pub fn server(&self) -> Result<&ServerUrl> {
        self.attributes
            .contents
            .as_ref()
            .ok_or_else(|| FsError::new(ErrorKind::Protocol, "the attributes name no chunk server"))
    }
}

/// A client of one master and its chunk servers.
#[derive(Debug)]
pub struct HtProxy<C> {
    calls: C,
    master: String,
    /// How the values of new files go, and keys to servers that take them so.
    dialect: Dialect,
    /// Whether that was asked for; else keys may go in the other dialect.
    is_told: bool,
    key_types: KeyTypes,
    ttl_s: i64,
    /// Servers that turned out not to know a method of ours, with the method.
    without: Mutex<HashSet<(String, &'static str)>>,
}

impl<C: Calls> HtProxy<C> {
    /// A proxy of the master at `master`; files that it stores live for `ttl_s` seconds. Without a
    /// `dialect`, keys go to each server in the one that it takes.
    pub fn new(calls: C, master: String, dialect: Option<Dialect>, ttl_s: u64) -> Self {
        let ttl_s = i64::try_from(ttl_s).unwrap_or(FOREVER_S).min(FOREVER_S);
        Self {
            calls,
            master,
            dialect: dialect.unwrap_or_default(),
            is_told: dialect.is_some(),
            key_types: KeyTypes::default(),
            ttl_s,
            without: Mutex::default(),
        }
    }

    /// The dialect that was asked for.
    pub fn told_dialect(&self) -> Option<Dialect> {
        self.is_told.then_some(self.dialect)
    }

    /// The only dialect whose keys the master takes, as far as it has refused the other's.
    pub fn master_dialect(&self) -> Option<Dialect> {
        self.key_types.at(&self.master)
    }

    /// The same proxy, storing new files in another dialect.
    #[must_use]
    pub fn with_dialect(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }

    /// What the master holds under a path.
    ///
    /// # Errors
    /// What the master answers, or that it does not; `Protocol` for anything but a dict.
    pub async fn get(&self, path: &KeyPath) -> Result<Option<Record>> {
        let Some(entry) = self.get_entry(&self.master, path).await? else { return Ok(None) };
        let attributes = form::read_attributes(&entry.value)
            .map_err(|error| error.context(format_args!("{path} at the master")))?;
        let dialect = form::dialect_of(&entry.value).unwrap_or(self.dialect);
        let ttl_s = i64::try_from(entry.ttl_s).unwrap_or(FOREVER_S).clamp(1, FOREVER_S);
        Ok(Some(Record { attributes, dialect, ttl_s }))
    }

    /// The contents under a path at the chunk server that the record names.
    ///
    /// # Errors
    /// What the server answers, or that it does not.
    pub async fn get_contents(
        &self,
        path: &KeyPath,
        record: &Record,
    ) -> Result<Option<StoredValue>> {
        let entry = self.get_entry(record.server()?.as_str(), path).await?;
        Ok(entry.map(|entry| entry.value))
    }

    /// Stores contents and attributes under a path. `merge` makes the new attributes from those
    /// that are there; their `contents` is filled in here. Gives the new record, and whether
    /// there was none.
    ///
    /// # Errors
    /// What the servers answer, or that they do not; `NoSpace` if there is no chunk server.
    pub async fn put(
        &self,
        path: &KeyPath,
        contents: StoredValue,
        merge: impl FnOnce(Option<Attributes>) -> Attributes + Send,
    ) -> Result<(Record, bool)> {
        let found = self.get(path).await?;
        let is_new = found.is_none();
        let dialect = found.as_ref().map_or(self.dialect, |record| record.dialect);
        let found = found.map(|record| record.attributes);
        let server = match found.as_ref().and_then(|attributes| attributes.contents.clone()) {
            Some(server) => server,
            None => self.choose_server().await?,
        };
        let attributes = Attributes { contents: Some(server.clone()), ..merge(found) };
        let is_directory = attributes.mode & libc::S_IFMT == libc::S_IFDIR;
        let ttl_s = if is_directory { FOREVER_S } else { self.ttl_s };
        let record = Record { attributes, dialect, ttl_s };
        self.put_value(server.as_str(), path, contents, ttl_s).await?;
        self.change_size(path, &server, record.attributes.size).await?;
        self.put_attributes(path, &record).await?;
        Ok((record, is_new))
    }

    /// Stores attributes whose size and server are as before, for the time that they have left.
    ///
    /// # Errors
    /// What the master answers, or that it does not.
    pub async fn put_attributes(&self, path: &KeyPath, record: &Record) -> Result<()> {
        let value = form::write_attributes(record.dialect, &record.attributes);
        self.put_value(&self.master, path, value, record.ttl_s).await
    }

    /// Removes what is under a path: a put that expires at once and leaves no size behind.
    ///
    /// Contents on a server that cannot be reached stay there; nobody will ask for them.
    ///
    /// # Errors
    /// What the master answers, or that it does not.
    pub async fn delete(&self, path: &KeyPath, record: &Record) -> Result<()> {
        let kind = match self.dialect {
            Dialect::String => ValueKind::String,
            Dialect::Binary => ValueKind::Base64,
        };
        let nothing = || StoredValue { kind, bytes: bytes::Bytes::new() };
        if let Some(server) = &record.attributes.contents {
            let emptied = self.put_value(server.as_str(), path, nothing(), 0).await;
            if let Err(error) = emptied {
                tracing::warn!("the contents of {path} stay at {server}: {error}");
            }
            // A master that does not know the server any more has no size to correct.
            if let Err(error) = self.change_size(path, server, 0).await {
                tracing::debug!("the size of {server} is not corrected for {path}: {error}");
            }
        }
        self.put_value(&self.master, path, nothing(), 0).await
    }

    /// Stores the list of a directory where `expected` is; says whether it still was. A server
    /// that cannot do this stores it in any case.
    ///
    /// # Errors
    /// What the server answers, or that it does not.
    pub async fn replace_list(
        &self,
        path: &KeyPath,
        server: &ServerUrl,
        expected: Option<StoredValue>,
        value: StoredValue,
    ) -> Result<bool> {
        let replace = Replace {
            key: path.key().clone(),
            dialect: self.key_dialect(server.as_str()),
            expected,
            value: value.clone(),
            ttl: Ttl::from_s(FOREVER_S),
        };
        match self.try_call(server.as_str(), replace).await? {
            Some(Replaced(replaced)) => Ok(replaced),
            None => self.put_value(server.as_str(), path, value, FOREVER_S).await.map(|()| true),
        }
    }

    /// Everything that a chunk server, or the master, has acknowledged is on its disk, as far as
    /// it can tell.
    ///
    /// # Errors
    /// What the servers answer, or that they do not.
    pub async fn sync(&self, servers: &HashSet<ServerUrl>) -> Result<()> {
        for server in servers {
            self.try_call(server.as_str(), SyncChunk).await?;
        }
        let _: Option<Done> = self.try_call(&self.master, SyncMaster).await?;
        Ok(())
    }

    async fn choose_server(&self) -> Result<ServerUrl> {
        let server = self.call(&self.master, GetServer).await?;
        let message = "the master knows no chunk server yet; start one";
        server.ok_or_else(|| FsError::new(ErrorKind::NoSpace, message))
    }

    async fn get_entry(&self, url: &str, path: &KeyPath) -> Result<Option<Entry>> {
        self.call_about(url, path, |key, dialect| Get { key, dialect }).await
    }

    async fn put_value(
        &self,
        url: &str,
        path: &KeyPath,
        value: StoredValue,
        ttl_s: i64,
    ) -> Result<()> {
        let ttl = Ttl::from_s(ttl_s);
        let put = |key, dialect| Put { key, dialect, value: value.clone(), ttl };
        let Done = self.call_about(url, path, put).await?;
        Ok(())
    }

    async fn change_size(&self, path: &KeyPath, server: &ServerUrl, size: u64) -> Result<()> {
        let change = |key, dialect| ChangeSize { key, dialect, server: server.clone(), size };
        let Done = self.call_about(&self.master, path, change).await?;
        Ok(())
    }

    /// How keys go to a server.
    fn key_dialect(&self, url: &str) -> Dialect {
        self.key_types.at(url).unwrap_or(self.dialect)
    }

    /// Calls a method about a path; once more in the other dialect where the server takes no keys
    /// of this one, unless it was asked for.
    async fn call_about<M: Method>(
        &self,
        url: &str,
        path: &KeyPath,
        call: impl Fn(Key, Dialect) -> M + Send,
    ) -> Result<M::Answer> {
        let (key, dialect) = (path.key(), self.key_dialect(url));
        match self.calls.call(url, call(key.clone(), dialect)).await {
            Err(CallError::Fault(fault)) if key_types::refuses(&fault, dialect, key) => {}
            answer => return answer.map_err(error_of),
        }
        if self.is_told || !key_types::is_text(key) {
            return Err(key_types::refused(url, dialect, key));
        }
        let other = dialect.other();
        match self.calls.call(url, call(key.clone(), other)).await {
            Err(CallError::Fault(fault)) if key_types::is_about_types(&fault) => {
                Err(key_types::neither(url, &fault))
            }
            answer => {
                let answer = answer.map_err(error_of)?;
                self.key_types.learn(url, other);
                Ok(answer)
            }
        }
    }

    async fn call<M: Method>(&self, url: &str, call: M) -> Result<M::Answer> {
        self.calls.call(url, call).await.map_err(error_of)
    }

    /// Calls a method of ours; none if the server does not know it, which is asked only once.
    async fn try_call<M: Method>(&self, url: &str, call: M) -> Result<Option<M::Answer>> {
        let unknown = (url.to_owned(), M::NAME);
        if self.without.lock().unwrap_or_else(PoisonError::into_inner).contains(&unknown) {
            return Ok(None);
        }
        match self.calls.call(url, call).await {
            Err(CallError::Fault(fault)) if is_unknown_method(&fault) => {
                let mut without = self.without.lock().unwrap_or_else(PoisonError::into_inner);
                without.insert(unknown);
                Ok(None)
            }
            answer => answer.map(Some).map_err(error_of),
        }
    }
}

/// Python's SimpleXMLRPCServer has one code for all faults, so that only the words tell.
fn is_unknown_method(fault: &Fault) -> bool {
    fault.code == Fault::UNKNOWN_METHOD || fault.message.contains("is not supported")
}

/// That code is 1, which among ours would be `EPERM`.
fn error_of(error: CallError) -> FsError {
    match error {
        CallError::Fault(Fault { code: 1, message }) if message.starts_with('<') => {
            FsError::new(ErrorKind::Io, message)
        }
        other => other.into(),
    }
}
