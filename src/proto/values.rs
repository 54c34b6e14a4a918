//! Conversions between XML-RPC values and plain types, shared by all methods.
//!
//! Numbers: `<int>` has 32 bits. A 64-bit number is taken as i4, i8 or decimal string and sent as
//! i4 when it fits, as i8 when not, so that any XML-RPC library can take part.

use bytes::Bytes;

use crate::rpc::method::{WrongType, type_name};
use crate::rpc::wire::{Decoder, Form};
use crate::rpc::{Answer, Value};
use crate::types::{Key, ServerUrl, StoredValue, ValueKind};

fn expected(what: &str, value: &Value) -> WrongType {
    WrongType::new(format!("expected {what}, got {}", type_name(value)))
}

/// A string or base64 as bytes.
///
/// # Errors
/// For any other type.
pub fn to_bytes(value: Value) -> Result<Bytes, WrongType> {
    match value {
        Value::String(text) => Ok(text.into()),
        Value::Base64(bytes) => Ok(bytes.into()),
        other => Err(expected("string or base64", &other)),
    }
}

/// A string, or base64 of UTF-8, as text.
///
/// # Errors
/// For any other type or bytes that are not UTF-8.
pub fn to_text(value: Value) -> Result<String, WrongType> {
    match value {
        Value::String(text) => Ok(text),
        Value::Base64(bytes) => {
            String::from_utf8(bytes).map_err(|_| WrongType::new("the bytes are not UTF-8 text"))
        }
        other => Err(expected("string or base64", &other)),
    }
}

/// A whole number.
///
/// # Errors
/// For any other type, or a string that is not a decimal number of 64 bits.
pub fn to_i64(value: Value) -> Result<i64, WrongType> {
    match value {
        Value::Integer(number) => Ok(number.into()),
        Value::Long(number) => Ok(number),
        Value::String(ref text) => text
            .trim()
            .parse()
            .map_err(|_| WrongType::new("the string is not a decimal number of 64 bits")),
        other => Err(expected("int", &other)),
    }
}

/// A whole number, 0 or more.
///
/// # Errors
/// As [`to_i64`], and for negative numbers.
pub fn to_u64(value: Value) -> Result<u64, WrongType> {
    let number = to_i64(value)?;
    u64::try_from(number).map_err(|_| WrongType::new(format!("{number} is negative")))
}

/// A number in the smallest type that holds it.
#[must_use]
pub fn from_i64(number: i64) -> Value {
    i32::try_from(number).map_or(Value::Long(number), Value::Integer)
}

/// A key.
///
/// # Errors
/// For values that are not bytes, and keys over the limit.
pub fn to_key(value: Value) -> Result<Key, WrongType> {
    Key::new(to_bytes(value)?).map_err(|error| WrongType::new(error.to_string()))
}

/// The URL of a chunk server.
///
/// # Errors
/// For values that are not text, and texts that are not such a URL.
pub fn to_server_url(value: Value) -> Result<ServerUrl, WrongType> {
    ServerUrl::new(to_text(value)?).map_err(|error| WrongType::new(error.to_string()))
}

/// Any value as opaque bytes with its type.
///
/// # Errors
/// For values that have no form in XML.
pub fn to_stored(value: Value) -> Result<StoredValue, WrongType> {
    Ok(match value {
        Value::String(text) => StoredValue { kind: ValueKind::String, bytes: text.into() },
        Value::Base64(bytes) => StoredValue { kind: ValueKind::Base64, bytes: bytes.into() },
        other => {
            let xml = other.to_xml().map_err(|error| WrongType::new(error.to_string()))?;
            StoredValue { kind: ValueKind::Xml, bytes: xml.into() }
        }
    })
}

/// The value that [`to_stored`] took. Text that is no longer UTF-8, or XML that is no longer a
/// value, comes back as base64: damage is passed on as bytes rather than hidden.
#[must_use]
pub fn from_stored(stored: StoredValue) -> Value {
    let StoredValue { kind, bytes } = stored;
    match kind {
        ValueKind::Base64 => Value::Base64(bytes.into()),
        ValueKind::String => match String::from_utf8(bytes.into()) {
            Ok(text) => Value::String(text),
            Err(error) => Value::Base64(error.into_bytes()),
        },
        ValueKind::Xml => read_xml(&bytes).unwrap_or_else(|| Value::Base64(bytes.to_vec())),
    }
}

/// Reads a value as [`Decoder`] reads an answer: whatever came in a call can be read again.
fn read_xml(xml: &[u8]) -> Option<Value> {
    let mut decoder = Decoder::for_answer(Form::Xml);
    for piece in
        [b"<methodResponse><params><param>", xml, b"</param></params></methodResponse>".as_slice()]
    {
        decoder.push(piece, None).ok()?;
    }
    decoder.finish_answer().ok()?.ok()
}

/// The answer `True`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done;

impl Answer for Value {
    fn into_value(self) -> Value {
        self
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::{from_i64, from_stored, to_i64, to_stored, to_u64};
    use crate::rpc::Value;

    #[test]
    fn numbers_of_64_bits_pass_in_every_form() {
        for number in [0, -1, i64::from(i32::MAX), i64::from(i32::MAX) + 1, i64::MIN, i64::MAX] {
            assert_eq!(to_i64(from_i64(number)).unwrap(), number);
            assert_eq!(to_i64(Value::String(number.to_string())).unwrap(), number);
        }
        assert!(to_u64(Value::Integer(-1)).is_err());
        assert!(to_i64(Value::String("9223372036854775808".into())).is_err());
        assert!(to_i64(Value::Double(1.0)).is_err());
    }

    #[test]
    fn every_type_comes_back_as_it_was_put() {
        let values = [
            Value::Integer(7),
            Value::Long(7),
            Value::Boolean(false),
            Value::String(" a <b> & c\r\n ".into()),
            Value::Double(0.1),
            Value::Base64(vec![0, 255]),
            Value::Nil,
            Value::Array(vec![Value::String("  x ".into()), Value::Array(vec![])]),
            Value::Struct([("k".to_owned(), Value::Nil)].into()),
            Value::Struct([(String::new(), Value::Struct([].into()))].into()),
            Value::Array(vec![Value::Base64(vec![0, 255]), Value::Base64(vec![])]),
        ];
        for value in values {
            assert_eq!(from_stored(to_stored(value.clone()).unwrap()), value);
        }
    }
}
