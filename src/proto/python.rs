//! Keys and values of the hash tables as the objects that a server in Python has for them.
//!
//! | XML-RPC | Python |
//! |---|---|
//! | `<string>` | `str` of Python 3, `unicode` of Python 2 |
//! | `<base64>` | `bytes` of Python 3, `str` of Python 2 |
//! | `<int>`, `<i8>` | `int` |
//! | `<double>`, `<boolean>`, `<nil/>` | `float`, `bool`, `None` |
//! | `<dateTime.iso8601>` | `datetime.datetime`, as of a server with `use_builtin_types` |
//! | `<array>`, `<struct>` | `list`, `dict` |
//!
//! The way back is the same, but for what says less: a `str` of Python 2 is [`ValueKind::Either`], and
//! in a list or a dict it is a string if it is text; an `int` is `<int>` if 32 bits hold it; of a
//! date the fraction of a second goes, which XML-RPC does not have.

use bytes::Bytes;
use jiff::civil::DateTime;

use crate::error::{ErrorKind, FsError, Result};
use crate::pickle::Value as Object;
use crate::proto::values::{from_i64, from_stored, to_key, to_stored};
use crate::rpc::Value;
use crate::rpc::method::type_name;
use crate::rpc::wire::is_xml_char;
use crate::types::{Key, StoredValue, ValueKind};

/// A key as a key of a dict: a `str` of both Pythons if it is ASCII, else the bytes.
#[must_use]
pub fn from_key(key: &Key) -> Object {
    match key.as_number() {
        Some("None") => Object::None,
        Some(number) => number
            .parse()
            .map(Object::Int)
            .or_else(|_| number.parse().map(Object::Float))
            .unwrap_or_else(|_| Object::Str(Bytes::copy_from_slice(key.as_bytes()))),
        None => Object::Str(Bytes::copy_from_slice(key.as_bytes())),
    }
}

/// The key that a key of a dict is.
///
/// # Errors
/// `InvalidArgument` for what no program can have put, and `NameTooLong`.
pub fn into_key(key: Object) -> Result<Key> {
    match key {
        Object::Str(bytes) | Object::Bytes(bytes) | Object::ByteArray(bytes) => Key::new(bytes),
        Object::Text(text) => Key::new(Object::Text(text).as_path().unwrap_or_default()),
        Object::Int(number) => Ok(Key::of_number(&number.to_string())),
        other => to_key(into_xml(other)?).map_err(|wrong| refused(wrong.to_string())),
    }
}

/// Whether a key of a dict is the empty string, or no bytes.
#[must_use]
pub fn is_empty_key(key: &Object) -> bool {
    match key {
        Object::Str(bytes) | Object::Bytes(bytes) | Object::ByteArray(bytes) => bytes.is_empty(),
        Object::Text(text) => text.is_empty(),
        _ => false,
    }
}

/// A value as an object.
///
/// # Errors
/// `Corrupt` for a value that is damaged.
pub fn from_value(value: &StoredValue) -> Result<Object> {
    let bytes = value.bytes.clone();
    Ok(match value.kind {
        ValueKind::String => Object::Text(bytes),
        ValueKind::Base64 => Object::Bytes(bytes),
        ValueKind::Either => Object::Str(bytes),
        ValueKind::Xml => from_xml(from_stored(value.clone()))?,
    })
}

/// The value that an object is.
///
/// # Errors
/// `InvalidArgument` for an object that XML-RPC has no type for.
pub fn into_value(object: Object) -> Result<StoredValue> {
    let stored = |kind, bytes| StoredValue { kind, bytes };
    Ok(match object {
        Object::Str(bytes) => stored(ValueKind::Either, bytes),
        Object::Bytes(bytes) | Object::ByteArray(bytes) => stored(ValueKind::Base64, bytes),
        Object::Text(text) if is_text(&text) => stored(ValueKind::String, text),
        Object::Text(text) => stored(ValueKind::Base64, text),
        other => {
            let value = to_stored(into_xml(other)?).map_err(|wrong| refused(wrong.to_string()))?;
            // What is nested too deep can be written as XML, but not be read again.
            if matches!(from_stored(value.clone()), Value::Base64(_)) {
                return Err(refused("a value is nested too deep".to_owned()));
            }
            value
        }
    })
}

fn from_xml(value: Value) -> Result<Object> {
    Ok(match value {
        Value::Nil => Object::None,
        Value::Boolean(truth) => Object::Bool(truth),
        Value::Integer(number) => Object::Int(number.into()),
        Value::Long(number) => Object::Int(number.into()),
        Value::Double(number) => Object::Float(number),
        Value::String(text) => Object::Text(text.into()),
        Value::Base64(bytes) => Object::Bytes(bytes.into()),
        Value::DateTime(date) => Object::DateTime(read_date(&date.to_string())?),
        Value::Array(items) => {
            Object::List(items.into_iter().map(from_xml).collect::<Result<_>>()?)
        }
        Value::Struct(members) => {
            let member =
                |(name, value): (String, _)| Ok((Object::Text(name.into()), from_xml(value)?));
            Object::Dict(members.into_iter().map(member).collect::<Result<_>>()?)
        }
        other => {
            let message = format!("Python has no type for {}", type_name(&other));
            return Err(FsError::new(ErrorKind::Unsupported, message));
        }
    })
}

fn into_xml(object: Object) -> Result<Value> {
    Ok(match object {
        Object::None => Value::Nil,
        Object::Bool(truth) => Value::Boolean(truth),
        Object::Int(number) => match i64::try_from(number) {
            Ok(number) => from_i64(number),
            Err(_) => return Err(refused(format!("{number} has more than 64 bits"))),
        },
        Object::Float(number) => Value::Double(number),
        Object::Str(bytes) | Object::Text(bytes) => match String::from_utf8(bytes.into()) {
            Ok(text) if text.chars().all(is_xml_char) => Value::String(text),
            Ok(text) => Value::Base64(text.into()),
            Err(error) => Value::Base64(error.into_bytes()),
        },
        Object::Bytes(bytes) | Object::ByteArray(bytes) => Value::Base64(bytes.into()),
        Object::DateTime(date) => write_date(date)?,
        Object::List(items) | Object::Tuple(items) => {
            Value::Array(items.into_iter().map(into_xml).collect::<Result<_>>()?)
        }
        Object::Dict(members) => {
            let member = |(name, value)| Ok((into_name(&name)?, into_xml(value)?));
            Value::Struct(members.into_iter().map(member).collect::<Result<_>>()?)
        }
    })
}

/// The name of a member of a struct.
fn into_name(name: &Object) -> Result<String> {
    let text = name.as_bytes().filter(|name| is_text(name));
    let text = text.and_then(|text| String::from_utf8(text.to_vec()).ok());
    text.ok_or_else(|| refused("a dict has a key that is no text".to_owned()))
}

fn is_text(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.chars().all(is_xml_char))
}

/// How XML-RPC writes dates: `19980717T14:08:55`.
const DATE_FORMAT: &str = "%Y%m%dT%H:%M:%S";

fn read_date(date: &str) -> Result<DateTime> {
    DateTime::strptime(DATE_FORMAT, date)
        .map_err(|error| refused(format!("{date} is no date: {error}")))
}

fn write_date(date: DateTime) -> Result<Value> {
    let text = date.strftime(DATE_FORMAT).to_string();
    let date = text.parse().map(Value::DateTime);
    date.map_err(|_| refused(format!("{text} is no date of XML-RPC")))
}

fn refused(why: String) -> FsError {
    FsError::new(ErrorKind::InvalidArgument, why)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{from_key, from_value, into_key, into_value};
    use crate::pickle::{Style, Value as Object, read, write};
    use crate::proto::values::{from_stored, to_key, to_stored};
    use crate::rpc::Value;
    use crate::types::{Key, StoredValue, ValueKind};

    /// What a value is after it was pickled and read.
    fn there_and_back(value: &StoredValue) -> StoredValue {
        let pickle = Bytes::from(write(&from_value(value).unwrap(), Style::File));
        into_value(read(&pickle, 1 << 20).unwrap()).unwrap()
    }

    #[test]
    fn values_of_every_type_come_back() {
        let values = [
            Value::Integer(-7),
            Value::Long(1 << 40),
            Value::Boolean(false),
            Value::String("text <&> \t \r\n größe 😀".into()),
            Value::String("ascii".into()),
            Value::String(String::new()),
            Value::Base64(vec![]),
            Value::Base64((0..=255).collect()),
            Value::Double(-1.5e300),
            Value::Nil,
            Value::DateTime("19980717T14:08:55".parse().unwrap()),
            Value::Array(vec![Value::String("a".into()), Value::Array(vec![]), Value::Nil]),
            Value::Struct(
                [("ä".to_owned(), Value::Base64(vec![0])), (String::new(), Value::Integer(1))]
                    .into(),
            ),
        ];
        for value in values {
            let stored = to_stored(value.clone()).unwrap();
            assert_eq!(there_and_back(&stored), stored, "{value:?}");
        }
        for text in [&b"ascii"[..], b""] {
            let either = StoredValue { kind: ValueKind::Either, bytes: text.into() };
            assert_eq!(there_and_back(&either), either);
        }
    }

    #[test]
    fn what_says_less_becomes_what_is_nearest() {
        let xml = |object| from_stored(into_value(object).unwrap());
        let long = to_stored(Value::Long(7)).unwrap();
        assert_eq!(from_stored(there_and_back(&long)), Value::Integer(7));
        let str = |text: &'static [u8]| Object::Str(Bytes::from_static(text));
        let items = Object::List(vec![str(b"a"), str(b"\xff"), Object::Text("\0".into())]);
        let [text, bytes, control] =
            [Value::String("a".into()), Value::Base64(vec![0xff]), Value::Base64(vec![0])];
        assert_eq!(xml(items), Value::Array(vec![text, bytes, control.clone()]));
        assert_eq!(xml(Object::Text("\0".into())), control);
        assert_eq!(xml(Object::Tuple(vec![])), Value::Array(vec![]));
        let date = jiff::civil::date(2026, 3, 29).at(2, 30, 5, 123_456_000);
        let expected = Value::DateTime("20260329T02:30:05".parse().unwrap());
        assert_eq!(xml(Object::DateTime(date)), expected);
    }

    #[test]
    fn what_xml_rpc_has_no_type_for_is_refused() {
        let mut deep = Object::List(vec![]);
        for _ in 0..90 {
            deep = Object::List(vec![deep]);
        }
        let number = Object::Dict(vec![(Object::Int(1), Object::None)]);
        for (bad, why) in [(Object::Int(1 << 70), "64 bits"), (number, "no text"), (deep, "deep")] {
            let error = into_value(bad).unwrap_err();
            assert!(error.message().contains(why), "{error}");
        }
    }

    #[test]
    fn keys_come_back() {
        let key = |value| to_key(value).unwrap();
        let keys = [
            key(Value::String("/a".into())),
            key(Value::String("größe".into())),
            key(Value::Base64((0..=255).collect())),
            key(Value::Integer(-7)),
            key(Value::Double(1.5)),
            key(Value::Double(1e300)),
            key(Value::Nil),
        ];
        for key in keys {
            let pickle = Bytes::from(write(&from_key(&key), Style::File));
            assert_eq!(into_key(read(&pickle, 1 << 20).unwrap()).unwrap(), key);
        }
        assert_eq!(into_key(Object::Bool(true)).unwrap(), key(Value::Integer(1)));
        assert_eq!(into_key(Object::Text("ä".into())).unwrap(), Key::new("ä").unwrap());
        let bad = [Object::List(vec![]), Object::Float(f64::NAN), Object::Tuple(vec![])];
        for bad in bad.into_iter().chain([Object::Str(Bytes::new()), Object::Text(Bytes::new())]) {
            assert!(into_key(bad).is_err());
        }
    }
}
