//! How the types of the chunk servers' methods look on the wire.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Found, Listed, Optional};
use crate::limits;
use crate::proto::cluster::Member;
use crate::proto::field::Field;
use crate::proto::values::{from_i64, to_bytes, to_i64, to_key, to_text, to_u64};
use crate::rpc::Value;
use crate::rpc::method::{WrongType, type_name};
use crate::types::{ChunkKey, ChunkStat, ChunkVersion, Cut, Extent, Key, Space, Whence};

fn expected(what: &str, found: &Value) -> WrongType {
    WrongType::new(format!("expected {what}, got {}", type_name(found)))
}

fn number(number: u64) -> Value {
    Field::into_value(number)
}

/// The members of an array that must have so many.
fn array<const N: usize>(value: Value, what: &str) -> Result<[Value; N], WrongType> {
    let Value::Array(values) = value else { return Err(expected(what, &value)) };
    <[Value; N]>::try_from(values)
        .map_err(|values| WrongType::new(format!("expected {what}, got {} values", values.len())))
}

impl<T: Field> Field for Vec<T> {
    const TYPE: &'static str = "array";

    fn take_contents(&mut self, contents: &mut Vec<Bytes>) {
        self.iter_mut().for_each(|field| field.take_contents(contents));
    }

    fn into_value(self) -> Value {
        Value::Array(self.into_iter().map(Field::into_value).collect())
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        let Value::Array(values) = value else { return Err(expected("array", &value)) };
        if values.len() > limits::LIST_MAX {
            let (count, most) = (values.len(), limits::LIST_MAX);
            return Err(WrongType::new(format!("the array has {count} values; {most} at most")));
        }
        values.into_iter().map(Field::from_value).collect()
    }
}

impl Field for ChunkKey {
    const TYPE: &'static str = "string";

    fn into_value(self) -> Value {
        Value::String(self.to_string())
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        to_text(value)?.parse().map_err(|error| WrongType::new(format!("{error}")))
    }
}

impl<T: Field> Field for Optional<T> {
    const TYPE: &'static str = "string";

    fn into_value(self) -> Value {
        self.0.map_or_else(|| Value::String(String::new()), Field::into_value)
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        match value {
            Value::String(text) if text.is_empty() => Ok(Self(None)),
            value => Field::from_value(value).map(|field| Self(Some(field))),
        }
    }
}

impl Field for Member {
    const TYPE: &'static str = "array";

    fn into_value(self) -> Value {
        let Self { named, server, url } = self;
        Value::Array(vec![named.into_value(), server.into_value(), url.into_value()])
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        let [named, server, url] = array(value, "an array of two identities and a URL")?;
        Ok(Self {
            named: Field::from_value(named)?,
            server: Field::from_value(server)?,
            url: Field::from_value(url)?,
        })
    }
}

impl Field for Key {
    const TYPE: &'static str = "base64";

    fn into_value(self) -> Value {
        Value::Base64(self.as_bytes().to_vec())
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        to_key(value)
    }
}

/// A number; or, if an older chunk can be brought up to it, an array of the version, of the oldest
/// version that can, and of an array of [version, bytes kept] for every cut.
impl Field for ChunkVersion {
    const TYPE: &'static str = "int";

    fn into_value(self) -> Value {
        if self.cuts.is_empty() && self.cuts_from == self.version && !self.must_exist {
            return number(self.version);
        }
        let cuts = self.cuts.into_iter();
        let cuts = cuts.map(|cut| Value::Array(vec![number(cut.version), number(cut.keep)]));
        Value::Array(vec![
            number(self.version),
            number(self.cuts_from),
            Value::Array(cuts.collect()),
            Value::Boolean(self.must_exist),
        ])
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        if !matches!(value, Value::Array(_)) {
            return to_u64(value).map(Self::of);
        }
        let what = "int or array of version, oldest version, cuts, whether it must exist";
        let [version, cuts_from, cuts, must_exist] = array(value, what)?;
        let Value::Boolean(must_exist) = must_exist else {
            return Err(expected("boolean", &must_exist));
        };
        let Value::Array(cuts) = cuts else { return Err(expected("array of cuts", &cuts)) };
        if cuts.len() > limits::CUTS_PENDING_MAX {
            return Err(WrongType::new(format!("{} cuts are too many", cuts.len())));
        }
        let cut = |cut| {
            let [version, keep] = array(cut, "array of version and bytes kept")?;
            Ok(Cut { version: to_u64(version)?, keep: to_u64(keep)? })
        };
        Ok(Self {
            version: to_u64(version)?,
            cuts_from: to_u64(cuts_from)?,
            cuts: cuts.into_iter().map(cut).collect::<Result<_, WrongType>>()?,
            must_exist,
        })
    }
}

impl Field for Extent {
    const TYPE: &'static str = "array";

    fn take_contents(&mut self, contents: &mut Vec<Bytes>) {
        contents.push(std::mem::take(&mut self.data));
    }

    fn into_value(self) -> Value {
        Value::Array(vec![number(self.offset), Value::Base64(self.data.into())])
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        let [offset, data] = array(value, "array of offset and contents")?;
        Ok(Self { offset: to_u64(offset)?, data: to_bytes(data)? })
    }
}

impl Field for Whence {
    const TYPE: &'static str = "string";

    fn into_value(self) -> Value {
        let name = match self {
            Self::Data => "data",
            Self::Hole => "hole",
        };
        Value::String(name.to_owned())
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        match to_text(value)?.as_str() {
            "data" => Ok(Self::Data),
            "hole" => Ok(Self::Hole),
            _ => Err(WrongType::new("expected \"data\" or \"hole\"")),
        }
    }
}

impl Field for Found {
    const TYPE: &'static str = "int";

    fn into_value(self) -> Value {
        self.0.map_or_else(|| from_i64(-1), number)
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        Ok(Self(u64::try_from(to_i64(value)?).ok()))
    }
}

impl Field for Listed {
    const TYPE: &'static str = "array";

    fn into_value(self) -> Value {
        let ChunkStat { version, length, held } = self.stat;
        let numbers = [version, length, held].map(number);
        Value::Array([vec![self.key.into_value()], numbers.to_vec()].concat())
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        let [key, version, length, held] = array(value, "array of key and three numbers")?;
        let stat =
            ChunkStat { version: to_u64(version)?, length: to_u64(length)?, held: to_u64(held)? };
        Ok(Self { key: Field::from_value(key)?, stat })
    }
}

/// A record as a struct of numbers.
macro_rules! numbers_struct {
    ($record:ident { $($member:ident),* }) => {
        impl Field for $record {
            const TYPE: &'static str = "struct";

            fn into_value(self) -> Value {
                let members = [$((stringify!($member).to_owned(), number(self.$member)),)*];
                Value::Struct(BTreeMap::from(members))
            }

            fn from_value(value: Value) -> Result<Self, WrongType> {
                let Value::Struct(mut members) = value else {
                    return Err(expected("struct", &value));
                };
                $(
                    let $member = members.remove(stringify!($member));
                    let missing = concat!("the struct has no ", stringify!($member));
                    let $member = to_u64($member.ok_or_else(|| WrongType::new(missing))?)?;
                )*
                Ok(Self { $($member),* })
            }
        }
    };
}

numbers_struct!(ChunkStat { version, length, held });
numbers_struct!(Space { total, free, held });

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::super::{Found, Listed, Optional};
    use crate::proto::field::Field;
    use crate::rpc::Value;
    use crate::types::{ChunkKey, ChunkStat, ChunkVersion, Cut, Extent, Ino, Space, Whence};

    fn comes_back<T: Field + Clone + PartialEq + Debug>(field: T) {
        assert_eq!(T::from_value(field.clone().into_value()).unwrap(), field);
    }

    #[test]
    fn every_field_comes_back() {
        let key = ChunkKey { ino: Ino(7), index: 1 << 40, incarnation: 3 };
        let stat = ChunkStat { version: 9, length: 5 << 32, held: 4 };
        comes_back(vec![key]);
        comes_back(Optional(Some(key)));
        comes_back(Optional::<ChunkKey>(None));
        comes_back(stat);
        comes_back(Space { total: 1 << 50, free: 7, held: 0 });
        comes_back(Listed { key, stat });
        comes_back(Found(None));
        comes_back(Found(Some(1 << 26)));
        comes_back([Whence::Data, Whence::Hole].to_vec());
        comes_back(vec![Extent { offset: 1 << 33, data: vec![0, 255].into() }]);
        comes_back(ChunkVersion::of(5));
        let cuts = vec![Cut { version: 4, keep: 10 }, Cut { version: 5, keep: 1 << 25 }];
        comes_back(ChunkVersion { version: 5, cuts_from: 3, cuts, must_exist: true });
    }

    #[test]
    fn a_version_is_mostly_a_number() {
        assert_eq!(ChunkVersion::of(5).into_value(), Value::Integer(5));
        for bad in [
            Value::Integer(-1),
            Value::Array(vec![Value::Integer(1)]),
            Value::Array(vec![Value::Integer(1), Value::Integer(1), Value::Integer(1)]),
        ] {
            assert!(ChunkVersion::from_value(bad).is_err());
        }
    }
}
