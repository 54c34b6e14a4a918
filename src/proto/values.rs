//! Conversions between XML-RPC values and plain types, shared by all methods.
//!
//! Numbers: `<int>` has 32 bits. A 64-bit number is taken as i4, i8 or decimal string and sent as
//! i4 when it fits, as i8 when not, so that any XML-RPC library can take part.

use bytes::Bytes;

use crate::rpc::method::{WrongType, type_name};
use crate::rpc::wire::{Decoder, Form};
use crate::rpc::{Answer, Value};
use crate::types::{Key, ServerUrl, StoredValue, Ttl, ValueKind};

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

/// A time to live: seconds, whole or not, or what a Python program takes for a number of them.
///
/// # Errors
/// As [`to_i64`], and for a double that is no number.
pub fn to_ttl(value: Value) -> Result<Ttl, WrongType> {
    match value {
        Value::Double(seconds) => {
            Ttl::from_fraction(seconds).ok_or_else(|| WrongType::new("not a number of seconds"))
        }
        Value::Boolean(one) => Ok(Ttl::from_s(one.into())),
        other => to_i64(other).map(Ttl::from_s),
    }
}

/// A time to live as an int if that says it all: no original of Python 2 takes more than 32 bits.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "100 years are 42 bits of milliseconds")]
pub fn from_ttl(ttl: Ttl) -> Value {
    let ms = ttl.as_ms();
    if ms.is_multiple_of(1000) {
        return from_i64(i64::try_from(ms / 1000).unwrap_or(i64::MAX));
    }
    Value::Double(ms as f64 / 1000.0)
}

/// A key. As to a dict of Python, a number is a key of its own, which has no text, and the same
/// whichever type it came in.
///
/// # Errors
/// For values that a dict of Python does not take for keys, and keys over the limit.
pub fn to_key(value: Value) -> Result<Key, WrongType> {
    match value {
        Value::Integer(number) => Ok(Key::of_number(&number.to_string())),
        Value::Long(number) => Ok(Key::of_number(&number.to_string())),
        Value::Boolean(one) => Ok(Key::of_number(&i32::from(one).to_string())),
        // A float that is whole is written without a fraction here, as an int is.
        Value::Double(number) if number.is_finite() => {
            Ok(Key::of_number(&(number + 0.0).to_string()))
        }
        Value::Nil => Ok(Key::of_number("None")),
        Value::String(_) | Value::Base64(_) => {
            Key::new(to_bytes(value)?).map_err(|error| WrongType::new(error.to_string()))
        }
        other => Err(expected("string, base64 or a number", &other)),
    }
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
        ValueKind::Base64 | ValueKind::Either => Value::Base64(bytes.into()),
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
    use super::{from_i64, from_stored, from_ttl, to_i64, to_key, to_stored, to_ttl, to_u64};
    use crate::rpc::Value;
    use crate::types::{Key, Ttl};

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
    fn a_number_is_one_key_in_all_its_types() {
        let seven = [Value::Integer(7), Value::Long(7), Value::Double(7.0)];
        let keys: Vec<Key> = seven.into_iter().map(|value| to_key(value).unwrap()).collect();
        assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
        assert_eq!(keys[0].as_number(), Some("7"));
        assert_eq!(to_key(Value::Boolean(true)), to_key(Value::Integer(1)));
        assert_eq!(to_key(Value::Double(-0.0)), to_key(Value::Integer(0)));
        let text = to_key(Value::String("7".into())).unwrap();
        assert!(text != keys[0] && text.as_number().is_none());
        assert_ne!(to_key(Value::Double(0.5)).unwrap(), to_key(Value::Integer(0)).unwrap());
        for none in [Value::Array(vec![]), Value::Struct([].into()), Value::Double(f64::NAN)] {
            assert!(to_key(none).is_err());
        }
    }

    #[test]
    fn a_time_to_live_is_any_number_of_seconds() {
        for ttl in [Ttl::ZERO, Ttl::from_s(10_000), Ttl::from_fraction(1.5).unwrap()] {
            assert_eq!(to_ttl(from_ttl(ttl)).unwrap(), ttl);
        }
        assert_eq!(from_ttl(Ttl::from_s(7)), Value::Integer(7));
        assert_eq!(to_ttl(Value::Boolean(true)).unwrap(), Ttl::from_s(1));
        assert!(to_ttl(Value::String("ten".into())).is_err() && to_ttl(Value::Nil).is_err());
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
