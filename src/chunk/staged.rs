//! The values of the hash table as contents of files to be: what `chunk.adopt` takes over.

use bytes::Bytes;

use crate::chunk::contents::Contents;
use crate::chunk::native::StagedValues;
use crate::clock;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::pickle;
use crate::types::{Key, StoredValue, ValueKind};

impl StagedValues for Contents {
    fn contents(&self, key: &Key, size: u64) -> Result<Bytes> {
        let entry = self.get(key, clock::now())?.ok_or_else(|| {
            FsError::new(ErrorKind::NotFound, format!("there is no value under {key}"))
        })?;
        as_contents(&entry.value, size).ok_or_else(|| {
            let message = format!("the value under {key} is no contents of {size} bytes");
            FsError::new(ErrorKind::InvalidArgument, message)
        })
    }

    fn remove(&self, key: &Key) -> Result<()> {
        let nothing = StoredValue { kind: ValueKind::Base64, bytes: Bytes::new() };
        self.put(key, nothing, 0, clock::now())
    }

    fn sync(&self) -> Result<()> {
        Self::sync(self)
    }
}

/// The contents of `size` bytes that a value is, raw or pickled.
fn as_contents(value: &StoredValue, size: u64) -> Option<Bytes> {
    let is_whole = |bytes: &Bytes| bytes.len() as u64 == size;
    match value.kind {
        ValueKind::Xml => None,
        _ if is_whole(&value.bytes) => Some(value.bytes.clone()),
        _ => {
            let value = pickle::read(&value.bytes, limits::BODY_SIZE_MAX).ok()?;
            value.as_bytes().filter(|bytes| is_whole(bytes)).cloned()
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::as_contents;
    use crate::types::{StoredValue, ValueKind};

    #[test]
    fn contents_are_raw_or_pickled() {
        let value = |kind, bytes: &'static [u8]| StoredValue { kind, bytes: bytes.into() };
        let hello = Some(Bytes::from("hello\n"));
        let raw = value(ValueKind::String, b"hello\n");
        assert_eq!(as_contents(&raw, 6), hello);
        assert_eq!(as_contents(&raw, 7), None);
        // What Python 2 and Python 3 make of it.
        let pickled = [&b"S'hello\\n'\np0\n."[..], b"\x80\x03C\x06hello\nq\x00."];
        for pickled in pickled {
            assert_eq!(as_contents(&value(ValueKind::Base64, pickled), 6), hello);
        }
        assert_eq!(as_contents(&value(ValueKind::Xml, b"hello\n"), 6), None);
    }
}
