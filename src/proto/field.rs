//! Parameters and answers of the native methods: how each plain type looks on the wire, and the
//! macro that makes a method out of a list of typed parameters.
//!
//! Numbers, texts and names are XML-RPC values of their own, so that any library can call a method
//! by hand. Records (attributes, pages of a directory, layouts) travel [`Packed`]: as the base64 of
//! their postcard encoding (<https://postcard.jamesmunns.com/wire-format>), because an XML element
//! for each of fifteen numbers would cost more than everything else that a call does.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::FsError;
use crate::limits;
use crate::proto::values::{Done, from_i64, to_bytes, to_i64, to_server_url, to_text, to_u64};
use crate::rpc::Value;
use crate::rpc::method::{Answer, WrongType, type_name};
use crate::types::{ClusterId, Ino, Name, ServerId, ServerUrl};

/// A type that can be a parameter or the whole answer of a native method.
pub trait Field: Sized + Send + 'static {
    /// The XML-RPC type, for `system.methodSignature`.
    const TYPE: &'static str;

    /// As [`crate::rpc::Method::take_contents`], of this parameter.
    fn take_contents(&mut self, _: &mut Vec<Bytes>) {}

    /// The value on the wire.
    fn into_value(self) -> Value;

    /// The type back from the value.
    ///
    /// # Errors
    /// [`WrongType`] says what was expected.
    fn from_value(value: Value) -> Result<Self, WrongType>;

    /// The same for a parameter, which anybody may send: records in memory are many times as large as
    /// on the wire.
    ///
    /// # Errors
    /// As [`Field::from_value`], and that it is too large.
    fn from_param(value: Value) -> Result<Self, WrongType> {
        Self::from_value(value)
    }
}

impl<T: Field> Answer for T {
    fn into_value(self) -> Value {
        Field::into_value(self)
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        Field::from_value(value)
    }
}

/// A record in its binary form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed<T>(pub T);

impl<T: Serialize + DeserializeOwned + Send + 'static> Field for Packed<T> {
    const TYPE: &'static str = "base64";

    fn into_value(self) -> Value {
        // Plain records in memory always have an encoding; postcard fails on unsized sequences.
        Value::Base64(postcard::to_stdvec(&self.0).expect("a record has a binary form"))
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        unpack(&to_bytes(value)?).map(Self)
    }

    fn from_param(value: Value) -> Result<Self, WrongType> {
        let bytes = to_bytes(value)?;
        if bytes.len() > limits::PACKED_PARAM_SIZE_MAX {
            return Err(WrongType::new(format!("{} bytes of a packed record", bytes.len())));
        }
        unpack(&bytes).map(Self)
    }
}

fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WrongType> {
    let (record, rest) = postcard::take_from_bytes(bytes)
        .map_err(|error| WrongType::new(format!("not a packed record: {error}")))?;
    match rest.is_empty() {
        true => Ok(record),
        false => Err(WrongType::new(format!("{} bytes behind the packed record", rest.len()))),
    }
}

macro_rules! number_field {
    ($($number:ty),*) => {$(
        impl Field for $number {
            const TYPE: &'static str = "int";

            fn into_value(self) -> Value {
                // XML-RPC ends at 63 bits, and so does every size and offset of a file.
                from_i64(i64::try_from(self).unwrap_or(i64::MAX))
            }

            fn from_value(value: Value) -> Result<Self, WrongType> {
                let number = to_i64(value)?;
                Self::try_from(number)
                    .map_err(|_| WrongType::new(format!("{number} is out of range")))
            }
        }
    )*};
}

number_field!(u32, u64);

impl Field for Ino {
    const TYPE: &'static str = "int";

    fn into_value(self) -> Value {
        Field::into_value(self.0)
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        to_u64(value).map(Self)
    }
}

impl Field for bool {
    const TYPE: &'static str = "boolean";

    fn into_value(self) -> Value {
        Value::Boolean(self)
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        match value {
            Value::Boolean(flag) => Ok(flag),
            other => Err(WrongType::new(format!("expected boolean, got {}", type_name(&other)))),
        }
    }
}

impl Field for Bytes {
    const TYPE: &'static str = "base64";

    fn into_value(self) -> Value {
        Value::Base64(self.into())
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        to_bytes(value)
    }
}

impl Field for Name {
    const TYPE: &'static str = "base64";

    fn into_value(self) -> Value {
        Value::Base64(self.as_bytes().to_vec())
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        Self::new(to_bytes(value)?).map_err(|error| WrongType::new(error.to_string()))
    }
}

impl Field for ServerUrl {
    const TYPE: &'static str = "string";

    fn into_value(self) -> Value {
        Value::String(self.to_string())
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        to_server_url(value)
    }
}

macro_rules! text_field {
    ($($text:ty),*) => {$(
        impl Field for $text {
            const TYPE: &'static str = "string";

            fn into_value(self) -> Value {
                Value::String(self.to_string())
            }

            fn from_value(value: Value) -> Result<Self, WrongType> {
                to_text(value)?.parse().map_err(|error: FsError| WrongType::new(error.to_string()))
            }
        }
    )*};
}

text_field!(ServerId, ClusterId);

impl Field for Done {
    const TYPE: &'static str = "boolean";

    fn into_value(self) -> Value {
        Value::Boolean(true)
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        match value {
            Value::Boolean(true) | Value::Integer(1) => Ok(Self),
            other => Err(WrongType::new(format!("expected True, got {}", type_name(&other)))),
        }
    }
}

/// Makes a [`crate::rpc::Method`] of a name and typed parameters. `repeatable` methods may be sent
/// again when it is not known whether they were carried out, `once` methods may not. After `at most`
/// stands what [`crate::rpc::Method::answer_size_max`] answers, if that is not 0.
macro_rules! method {
    (@repeatable repeatable) => { true };
    (@repeatable once) => { false };
    (
        $(#[doc = $doc:literal])+
        [$repeat:ident] $method:ident = $name:literal {
            $( $(#[doc = $field_doc:literal])+ $field:ident: $type:ty, )*
        } -> $answer:ty $(, at most |$call:ident| $size:expr)?
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $method { $( $(#[doc = $field_doc])+ pub $field: $type, )* }

        impl $crate::rpc::Method for $method {
            const NAME: &'static str = $name;
            const HELP: &'static str =
                concat!($name, "(", $( stringify!($field), ", ", )* "):", $( $doc, )+);
            const SIGNATURES: &'static [&'static [&'static str]] = &[&[
                <$answer as $crate::proto::field::Field>::TYPE,
                $( <$type as $crate::proto::field::Field>::TYPE, )*
            ]];
            const REPEATABLE: bool = $crate::proto::field::method!(@repeatable $repeat);
            type Answer = $answer;

            $(
                fn answer_size_max(&self) -> u64 {
                    let $call = self;
                    $size
                }
            )?

            #[allow(unused_mut, reason = "a method without parameters has no contents")]
            fn take_contents(&mut self) -> Vec<::bytes::Bytes> {
                let mut contents = Vec::new();
                $( $crate::proto::field::Field::take_contents(&mut self.$field, &mut contents); )*
                contents
            }

            fn into_params(self) -> Vec<$crate::rpc::Value> {
                vec![$( $crate::proto::field::Field::into_value(self.$field), )*]
            }

            #[allow(unused_mut, reason = "a method without parameters takes none")]
            fn from_params(
                mut params: $crate::rpc::Params,
            ) -> Result<Self, $crate::rpc::WrongType> {
                let call = Self { $(
                    $field: params.take(
                        stringify!($field),
                        <$type as $crate::proto::field::Field>::from_param,
                    )?,
                )* };
                params.finish()?;
                Ok(call)
            }
        }
    };
}

pub(crate) use method;

#[cfg(test)]
mod tests {
    use super::{Field as _, Packed};
    use crate::limits;
    use crate::rpc::Value;

    #[test]
    fn a_packed_parameter_has_a_limit() {
        let mut most = vec![1; limits::PACKED_PARAM_SIZE_MAX];
        let length = most.len() as u64 - 4;
        // The count comes first, in four groups of seven bits.
        for (at, byte) in most[..4].iter_mut().enumerate() {
            *byte = (length >> (7 * at)).to_le_bytes()[0] | 0x80;
        }
        most[3] &= 0x7f;
        let taken = Packed::<Vec<u64>>::from_param(Value::Base64(most.clone()));
        assert_eq!(taken.unwrap().0.len() as u64, length);
        most.push(1);
        let refused = Packed::<Vec<u64>>::from_param(Value::Base64(most));
        assert!(refused.unwrap_err().to_string().contains("bytes of a packed record"));
    }
}
