//! The methods of the Python homework, by the names its programs know.
//!
//! Source: the contract in the homework's report; `get` and `put` are those of SimpleHT, the
//! others were added for the split into master and chunk servers.

use serde::{Deserialize, Serialize};

use crate::proto::values::{
    Done, from_i64, from_stored, from_ttl, to_key, to_server_url, to_stored, to_text, to_ttl,
    to_u64,
};
use crate::rpc::method::{WrongType, type_name};
use crate::rpc::{Answer, Method, Params, Value};
use crate::types::{Key, ServerUrl, StoredValue, Ttl};

/// How a caller writes byte strings: this decides the type of keys on the wire, no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dialect {
    /// As `<string>` where the bytes are text.
    String,
    /// As `<base64>`: `xmlrpc.client.Binary`.
    #[default]
    Binary,
}

impl Dialect {
    /// The dialect in which a key came.
    #[must_use]
    pub fn of(key: &Value) -> Self {
        if matches!(key, Value::String(_)) { Self::String } else { Self::Binary }
    }

    /// The one that this is not.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::String => Self::Binary,
            Self::Binary => Self::String,
        }
    }

    /// A key in this dialect; one that cannot be a `<string>` goes as `<base64>`.
    #[must_use]
    pub fn write_key(self, key: &Key) -> Value {
        match (self, std::str::from_utf8(key.as_bytes())) {
            (Self::String, Ok(text)) if is_xml_text(text) => Value::String(text.to_owned()),
            _ => Value::Base64(key.as_bytes().to_vec()),
        }
    }
}

/// Whether text survives a `<string>`: XML 1.0 has no control characters, and its parsers turn a
/// carriage return into a line feed.
#[must_use]
pub fn is_xml_text(text: &str) -> bool {
    text.chars().all(
        |c| matches!(c, '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..),
    )
}

/// `get(key)`: what is stored under a key.
#[derive(Clone, Debug, PartialEq)]
pub struct Get {
    /// The key.
    pub key: Key,
    /// How the caller writes it.
    pub dialect: Dialect,
}

/// An entry that [`Get`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The value.
    pub value: StoredValue,
    /// Seconds it has left, rounded down.
    pub ttl_s: u64,
}

impl Method for Get {
    const NAME: &'static str = "get";
    const HELP: &'static str = "get(key): {} if there is nothing under the key, else \
        {\"value\": the value as it was put, \"ttl\": the whole seconds it has left}.";
    const SIGNATURES: &'static [&'static [&'static str]] =
        &[&["struct", "string"], &["struct", "base64"]];
    const REPEATABLE: bool = true;
    type Answer = Option<Entry>;

    fn into_params(self) -> Vec<Value> {
        vec![self.dialect.write_key(&self.key)]
    }

    fn from_params(mut params: Params) -> Result<Self, WrongType> {
        let (key, dialect) = params.take("key", to_key_and_dialect)?;
        params.finish()?;
        Ok(Self { key, dialect })
    }
}

/// A key, and the dialect it came in.
pub(super) fn to_key_and_dialect(value: Value) -> Result<(Key, Dialect), WrongType> {
    let dialect = Dialect::of(&value);
    Ok((to_key(value)?, dialect))
}

impl Answer for Option<Entry> {
    fn into_value(self) -> Value {
        let mut members = std::collections::BTreeMap::new();
        if let Some(entry) = self {
            members.insert("value".to_owned(), from_stored(entry.value));
            // `<int>` is all that Python 2 takes; 68 years are as good as more.
            let ttl = i32::try_from(entry.ttl_s).unwrap_or(i32::MAX);
            members.insert("ttl".to_owned(), Value::Integer(ttl));
        }
        Value::Struct(members)
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        let Value::Struct(mut members) = value else {
            return Err(WrongType::new(format!("expected struct, got {}", type_name(&value))));
        };
        let Some(value) = members.remove("value") else { return Ok(None) };
        let ttl_s = members.remove("ttl").map(to_u64).transpose()?.unwrap_or(0);
        Ok(Some(Entry { value: to_stored(value)?, ttl_s }))
    }
}

/// `put(key, value, ttl)`: stores a value, or deletes the key.
#[derive(Clone, Debug, PartialEq)]
pub struct Put {
    /// The key.
    pub key: Key,
    /// How the caller writes it.
    pub dialect: Dialect,
    /// The value.
    pub value: StoredValue,
    /// How long it lives; none at all deletes the key.
    pub ttl: Ttl,
}

impl Method for Put {
    const NAME: &'static str = "put";
    const HELP: &'static str = "put(key, value, ttl): stores any value under the key for ttl \
        seconds, in place of what was there; ttl 0 deletes. Answers True.";
    const SIGNATURES: &'static [&'static [&'static str]] = &[
        &["boolean", "string", "string", "int"],
        &["boolean", "base64", "base64", "int"],
        &["boolean", "string", "base64", "int"],
        &["boolean", "string", "string", "double"],
    ];
    const REPEATABLE: bool = true;
    type Answer = Done;

    fn into_params(self) -> Vec<Value> {
        vec![self.dialect.write_key(&self.key), from_stored(self.value), from_ttl(self.ttl)]
    }

    fn from_params(mut params: Params) -> Result<Self, WrongType> {
        let (key, dialect) = params.take("key", to_key_and_dialect)?;
        let value = params.take("value", to_stored)?;
        let ttl = params.take("ttl", to_ttl)?;
        params.finish()?;
        Ok(Self { key, dialect, value, ttl })
    }
}

/// `getServer()`: the chunk server with the smallest size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetServer;

impl Method for GetServer {
    const NAME: &'static str = "getServer";
    const HELP: &'static str = "getServer(): the URL of the chunk server with the smallest size, \
        \"\" if there is none.";
    const SIGNATURES: &'static [&'static [&'static str]] = &[&["string"]];
    const REPEATABLE: bool = true;
    type Answer = Option<ServerUrl>;

    fn into_params(self) -> Vec<Value> {
        Vec::new()
    }

    fn from_params(params: Params) -> Result<Self, WrongType> {
        params.finish().map(|()| Self)
    }
}

impl Answer for Option<ServerUrl> {
    fn into_value(self) -> Value {
        Value::String(self.map(|url| url.to_string()).unwrap_or_default())
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        match to_text(value)? {
            url if url.is_empty() => Ok(None),
            url => to_server_url(Value::String(url)).map(Some),
        }
    }
}

/// `changeSize(key, server, size)`: the file under `key`, on that server, is now this large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeSize {
    /// The file's key.
    pub key: Key,
    /// How the caller writes it.
    pub dialect: Dialect,
    /// The chunk server that holds the contents.
    pub server: ServerUrl,
    /// The new size, in bytes.
    pub size: u64,
}

impl Method for ChangeSize {
    const NAME: &'static str = "changeSize";
    const HELP: &'static str = "changeSize(key, server, size): the server's size grows by size \
        less the st_size that the entry under the key has now. Answers True.";
    const SIGNATURES: &'static [&'static [&'static str]] =
        &[&["boolean", "string", "string", "int"], &["boolean", "base64", "string", "int"]];
    // A repeated call before the `put` that follows would count the growth twice.
    const REPEATABLE: bool = false;
    type Answer = Done;

    fn into_params(self) -> Vec<Value> {
        let size = i64::try_from(self.size).unwrap_or(i64::MAX);
        vec![
            self.dialect.write_key(&self.key),
            Value::String(self.server.to_string()),
            from_i64(size),
        ]
    }

    fn from_params(mut params: Params) -> Result<Self, WrongType> {
        let (key, dialect) = params.take("key", to_key_and_dialect)?;
        let server = params.take("server", to_server_url)?;
        let size = params.take("size", to_u64)?;
        params.finish()?;
        Ok(Self { key, dialect, server, size })
    }
}

/// `register(server)`: a chunk server announces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// Its URL.
    pub server: ServerUrl,
}

impl Method for Register {
    const NAME: &'static str = "register";
    const HELP: &'static str = "register(server): makes the chunk server at this URL known; a new \
        one starts at size 0, a known one keeps its size. Answers True.";
    const SIGNATURES: &'static [&'static [&'static str]] = &[&["boolean", "string"]];
    const REPEATABLE: bool = true;
    type Answer = Done;

    fn into_params(self) -> Vec<Value> {
        vec![Value::String(self.server.to_string())]
    }

    fn from_params(mut params: Params) -> Result<Self, WrongType> {
        let server = params.take("server", to_server_url)?;
        params.finish()?;
        Ok(Self { server })
    }
}

macro_rules! file_method {
    ($(#[$doc:meta])* $method:ident, $name:literal, $help:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $method {
            /// A plain name, without a path, inside the server's data directory.
            pub file_name: String,
        }

        impl Method for $method {
            const NAME: &'static str = $name;
            const HELP: &'static str = $help;
            const SIGNATURES: &'static [&'static [&'static str]] =
                &[&["boolean", "string"], &["boolean", "base64"]];
            const REPEATABLE: bool = true;
            type Answer = Done;

            fn into_params(self) -> Vec<Value> {
                vec![Value::String(self.file_name)]
            }

            fn from_params(mut params: Params) -> Result<Self, WrongType> {
                let file_name = params.take("file name", to_text)?;
                params.finish()?;
                Ok(Self { file_name })
            }
        }
    };
}

file_method! {
    /// `read_file(name)`: loads the whole table from a file, in place of what was there.
    ReadFile, "read_file",
    "read_file(name): loads the whole table from a file in the server's data directory, in place \
     of what was there. Answers True."
}

file_method! {
    /// `write_file(name)`: dumps the whole table into a file.
    WriteFile, "write_file",
    "write_file(name): dumps the whole table into a file in the server's data directory. Answers \
     True."
}

/// `print_content()`: prints the table to the server's standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrintContent;

impl Method for PrintContent {
    const NAME: &'static str = "print_content";
    const HELP: &'static str = "print_content(): prints the table to the server's standard \
        output. Answers True.";
    const SIGNATURES: &'static [&'static [&'static str]] = &[&["boolean"]];
    const REPEATABLE: bool = true;
    type Answer = Done;

    fn into_params(self) -> Vec<Value> {
        Vec::new()
    }

    fn from_params(params: Params) -> Result<Self, WrongType> {
        params.finish().map(|()| Self)
    }
}
