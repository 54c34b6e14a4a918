//! The values of the hash table as contents of files to be: what `chunk.take` and `chunk.adopt` take
//! over.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;

use crate::chunk::contents::Contents;
use crate::chunk::index::Stored;
use crate::chunk::native::StagedValues;
use crate::clock;
use crate::error::{ErrorKind, FsError, Result};
use crate::proto::form::Form;
use crate::proto::gateway::Staged;
use crate::types::Key;

impl StagedValues for Contents {
    fn contents(&self, key: &Key, size: u64) -> Result<(Staged, Bytes)> {
        let (stored, value) = self.find(key, clock::now())?.ok_or_else(|| {
            FsError::new(ErrorKind::NotFound, format!("there is no value under {key}"))
        })?;
        let (contents, form) = Form::read(&value, size).ok_or_else(|| {
            let message = format!("the value under {key} is no contents of {size} bytes");
            FsError::new(ErrorKind::InvalidArgument, message)
        })?;
        Ok((Staged { layout: form.layout, token: token(&stored) }, contents))
    }

    fn discard(&self, key: &Key, wanted: u64) -> Result<bool> {
        self.remove_if(key, |stored| wanted == 0 || token(stored) == wanted)
    }

    fn sync(&self) -> Result<()> {
        Self::sync(self)
    }
}

/// A number for one value that was put once. It need not be the same in another process: a value
/// that is not known again is taken for a new one.
fn token(stored: &Stored) -> u64 {
    let mut hasher = DefaultHasher::new();
    stored.hash(&mut hasher);
    hasher.finish().max(1)
}
