//! Methods of our own that the port needs beside the homework's: syncing, and replacing a value only
//! if nobody else has.

use crate::proto::classic::{Dialect, to_key_and_dialect};
use crate::proto::values::{Done, from_stored, from_ttl, to_stored, to_ttl};
use crate::rpc::method::{WrongType, type_name};
use crate::rpc::{Answer, Method, Params, Value};
use crate::types::{Key, StoredValue, Ttl};

macro_rules! sync_method {
    ($(#[$doc:meta])* $method:ident, $name:literal, $help:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $method;

        impl Method for $method {
            const NAME: &'static str = $name;
            const HELP: &'static str = $help;
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
    };
}

sync_method! {
    /// `cluster.sync()`: everything the master has acknowledged is on its disk.
    SyncMaster, "cluster.sync",
    "cluster.sync(): returns True when every update that was acknowledged before the call is on \
     the master's disk."
}

sync_method! {
    /// `chunk.sync()`: everything the chunk server has acknowledged is on its disk.
    SyncChunk, "chunk.sync",
    "chunk.sync(): returns True when every update that was acknowledged before the call is on the \
     chunk server's disk."
}

/// `chunk.replace(key, expected, value, ttl)`: `put`, if the key still holds the expected value.
///
/// With it, clients that edit the list of names in a directory at once do not lose each other's
/// names.
#[derive(Clone, Debug, PartialEq)]
pub struct Replace {
    /// The key.
    pub key: Key,
    /// How the caller writes it.
    pub dialect: Dialect,
    /// The value that must be there now; `None` if there must be none.
    pub expected: Option<StoredValue>,
    /// The new value.
    pub value: StoredValue,
    /// How long it lives; none at all deletes the key.
    pub ttl: Ttl,
}

impl Method for Replace {
    const NAME: &'static str = "chunk.replace";
    const HELP: &'static str = "chunk.replace(key, expected, value, ttl): put(key, value, ttl), \
        but only if the key holds the one value in the array expected, or nothing if that array \
        is empty. Answers whether it did.";
    const SIGNATURES: &'static [&'static [&'static str]] = &[
        &["boolean", "string", "array", "string", "int"],
        &["boolean", "base64", "array", "base64", "int"],
    ];
    // The repetition of a call that was carried out would answer False.
    const REPEATABLE: bool = false;
    type Answer = Replaced;

    fn into_params(self) -> Vec<Value> {
        vec![
            self.dialect.write_key(&self.key),
            Value::Array(self.expected.into_iter().map(from_stored).collect()),
            from_stored(self.value),
            from_ttl(self.ttl),
        ]
    }

    fn from_params(mut params: Params) -> Result<Self, WrongType> {
        let (key, dialect) = params.take("key", to_key_and_dialect)?;
        let expected = params.take("expected", to_optional)?;
        let value = params.take("value", to_stored)?;
        let ttl = params.take("ttl", to_ttl)?;
        params.finish()?;
        Ok(Self { key, dialect, expected, value, ttl })
    }
}

fn to_optional(value: Value) -> Result<Option<StoredValue>, WrongType> {
    match value {
        Value::Array(mut values) if values.len() <= 1 => values.pop().map(to_stored).transpose(),
        Value::Array(_) => Err(WrongType::new("the array has more than one value")),
        other => Err(WrongType::new(format!("expected array, got {}", type_name(&other)))),
    }
}

/// Whether [`Replace`] took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced(pub bool);

impl Answer for Replaced {
    fn into_value(self) -> Value {
        Value::Boolean(self.0)
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        match value {
            Value::Boolean(replaced) => Ok(Self(replaced)),
            other => Err(WrongType::new(format!("expected boolean, got {}", type_name(&other)))),
        }
    }
}
