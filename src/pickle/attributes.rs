//! The pickled dict in which Python clients keep the attributes of a file.

use bytes::Bytes;

use super::{PickleError, Style, Value, read, write};
use crate::limits;
use crate::types::ServerUrl;

/// What the master stores under a path.
///
/// Members that are not named here are kept and written back as they were, so that no client
/// loses what another stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes {
    /// `st_mode`: type and permissions; 0 if the dict has none.
    pub mode: u32,
    /// `st_size`, in bytes.
    pub size: u64,
    /// `st_nlink`.
    pub nlink: u32,
    /// `st_uid`, which not every client writes.
    pub uid: Option<u32>,
    /// `st_gid`, which not every client writes.
    pub gid: Option<u32>,
    /// `st_atime`: last access, in seconds since 1970.
    pub atime_s: f64,
    /// `st_mtime`: last change of the contents, in seconds since 1970.
    pub mtime_s: f64,
    /// `st_ctime`: last change of contents or attributes, in seconds since 1970.
    pub ctime_s: f64,
    /// `contents`: the chunk server that holds the contents.
    pub contents: Option<ServerUrl>,
    /// `attrs`: the extended attributes, by name; [`Self::xattr`] and its like know the types.
    pub xattrs: Vec<(Value, Value)>,
    /// Everything else, in its order.
    pub others: Vec<(Value, Value)>,
}

impl Attributes {
    /// Reads a pickled dict of at most [`limits::PICKLED_ATTRIBUTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`PickleError`] for anything but a pickled dict whose known members have their types.
    pub fn read(pickle: &Bytes) -> Result<Self, PickleError> {
        let Value::Dict(members) = read(pickle, limits::PICKLED_ATTRIBUTES_MAX)? else {
            return Err(PickleError::Unexpected("a dict of attributes"));
        };
        let mut attributes = Self { nlink: 1, ..Self::default() };
        for (key, value) in members {
            attributes.take(key, value)?;
        }
        Ok(attributes)
    }

    fn take(&mut self, key: Value, value: Value) -> Result<(), PickleError> {
        let name = key.as_bytes().cloned().unwrap_or_default();
        match name.as_ref() {
            b"st_mode" => self.mode = integer(&value)?,
            b"st_size" => self.size = integer(&value)?,
            b"st_nlink" => self.nlink = integer(&value)?,
            b"st_uid" => self.uid = Some(integer(&value)?),
            b"st_gid" => self.gid = Some(integer(&value)?),
            b"st_atime" => self.atime_s = seconds(&value)?,
            b"st_mtime" => self.mtime_s = seconds(&value)?,
            b"st_ctime" => self.ctime_s = seconds(&value)?,
            b"attrs" => match value {
                Value::Dict(xattrs) => self.xattrs = xattrs,
                _ => return Err(PickleError::Unexpected("a dict of attributes: attrs")),
            },
            b"contents" => match server_url(&value) {
                Some(url) => self.contents = Some(url),
                None => self.others.push((key, value)),
            },
            _ => self.others.push((key, value)),
        }
        Ok(())
    }

    /// Writes the pickled dict.
    #[must_use]
    pub fn write(&self, style: Style) -> Bytes {
        let mut members = vec![
            (Value::str("st_mode"), Value::Int(self.mode.into())),
            (Value::str("st_size"), Value::Int(self.size.into())),
            (Value::str("st_nlink"), Value::Int(self.nlink.into())),
            (Value::str("st_ctime"), Value::Float(self.ctime_s)),
            (Value::str("st_mtime"), Value::Float(self.mtime_s)),
            (Value::str("st_atime"), Value::Float(self.atime_s)),
        ];
        for (name, id) in [("st_uid", self.uid), ("st_gid", self.gid)] {
            members.extend(id.map(|id| (Value::str(name), Value::Int(id.into()))));
        }
        // Also without any: there are clients that take the member for granted.
        members.push((Value::str("attrs"), Value::Dict(self.xattrs.clone())));
        if let Some(url) = &self.contents {
            let url = Bytes::copy_from_slice(url.as_str().as_bytes());
            members.push((Value::str("contents"), Value::Str(url)));
        }
        members.extend(self.others.iter().cloned());
        write(&Value::Dict(members), style).into()
    }

    /// The value of an extended attribute.
    #[must_use]
    pub fn xattr(&self, name: &[u8]) -> Option<Bytes> {
        self.xattrs.iter().rfind(|(key, _)| is_named(key, name))?.1.as_path()
    }

    /// The names of all extended attributes.
    pub fn xattr_names(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.xattrs
            .iter()
            .filter(|(_, value)| value.as_bytes().is_some())
            .filter_map(|(k, _)| k.as_path())
    }

    /// Sets an extended attribute.
    pub fn set_xattr(&mut self, name: &[u8], value: Bytes) {
        self.remove_xattr(name);
        let name = Value::path(Bytes::copy_from_slice(name));
        self.xattrs.push((name, Value::Bytes(value)));
    }

    /// Removes an extended attribute; says whether there was one.
    pub fn remove_xattr(&mut self, name: &[u8]) -> bool {
        let before = self.xattrs.len();
        self.xattrs.retain(|(key, _)| !is_named(key, name));
        self.xattrs.len() < before
    }
}

fn is_named(key: &Value, name: &[u8]) -> bool {
    key.as_path().is_some_and(|key| key == name)
}

/// A whole number; Python programs may have made a float or a bool of it.
fn integer<T: TryFrom<i128>>(value: &Value) -> Result<T, PickleError> {
    let number = match value {
        Value::Int(number) => Some(*number),
        Value::Bool(value) => Some(i128::from(*value)),
        Value::Float(number) => whole(*number),
        _ => None,
    };
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or(PickleError::Unexpected("a dict of attributes: a number is missing or too big"))
}

#[expect(clippy::cast_possible_truncation, reason = "a saturating cast is what is wanted")]
fn whole(number: f64) -> Option<i128> {
    (number.is_finite() && number.fract() == 0.0).then_some(number as i128)
}

#[expect(clippy::cast_precision_loss, reason = "times are floats in the format")]
fn seconds(value: &Value) -> Result<f64, PickleError> {
    match value {
        Value::Float(seconds) if seconds.is_finite() => Ok(*seconds),
        Value::Int(seconds) => Ok(*seconds as f64),
        _ => Err(PickleError::Unexpected("a dict of attributes: a time is not a number")),
    }
}

/// The chunk server that `contents` names, if it does.
#[must_use]
pub fn server_url(value: &Value) -> Option<ServerUrl> {
    let text = std::str::from_utf8(value.as_bytes()?).ok()?;
    ServerUrl::new(text).ok()
}
