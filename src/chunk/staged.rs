//! Values that classic clients put under paths, as contents of files to be: what `chunk.take` takes
//! over.
//!
//! Several clients may be storing the same file. Each puts its value here first and goes to the
//! master then, so a value that another one replaces is kept: its client may be the first at the
//! master, and the other one never get there. When the master has taken a value, it is removed with
//! those that were staged before it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;

use crate::chunk::contents::Contents;
use crate::chunk::index::{Stored, staged_under};
use crate::chunk::native::StagedValues;
use crate::clock::{self, Timestamp};
use crate::error::{ErrorKind, FsError, Result};
use crate::proto::form::{self, Form};
use crate::proto::gateway::{Staged, StagedList};
use crate::proto::path_list::{ListForm, PathList};
use crate::types::{Key, StoredValue, TreePath, Ttl};

/// A value in a file that waits for the master to take it.
pub(super) struct Waiting {
    /// Under which key it was put.
    pub(super) key: Key,
    /// Where it is in the index.
    place: Key,
    record: Stored,
    /// The number of its file.
    pub(super) file: u64,
    /// In bytes.
    pub(super) size: u64,
}

impl Waiting {
    fn of(place: Key, record: Stored) -> Option<Self> {
        let key = staged_under(&place);
        TreePath::of(&key)?;
        let (file, size) = record.file().map(|file| (file.id, file.size))?;
        Some(Self { key, place, record, file, size })
    }
}

impl Contents {
    /// Stages a value for a time, or, if that is none, leaves nothing to be seen under the key. What others have staged there can still be taken.
    ///
    /// # Errors
    /// As [`Contents::put`].
    pub fn stage(&self, key: &Key, value: StoredValue, ttl: Ttl, now: Timestamp) -> Result<()> {
        let new = self.prepare(value, ttl, now)?;
        let staged = self.index().stage(key, new.as_ref(), now);
        let gone = staged.inspect_err(|error| {
            new.iter().for_each(|new| self.discard_after(new, error));
        })?;
        gone.into_iter().for_each(|old| self.release(Some(old)));
        Ok(())
    }

    /// The lists that are staged under the path of a directory, the latest first. Only what is none
    /// stays, if it is the latest.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn take_lists(&self, key: &Key) -> Result<Vec<StagedList>> {
        let mut lists = Vec::new();
        // The lock on the index ends here: reading takes it again.
        let staged = self.index().staged(key)?;
        let Some(latest) = staged.first().map(|(_, stored)| token(stored)) else {
            return Ok(lists);
        };
        for (place, _) in staged {
            let Some((_, value)) = self.find(&place, clock::now())? else { continue };
            let list = PathList::read(&value);
            let paths = list.iter().flat_map(PathList::paths).collect();
            let form = list.map_or(ListForm::Other, |list| list.form);
            let dialect = form::dialect_of(&value).unwrap_or_default();
            lists.push(StagedList { form, dialect, paths });
        }
        match lists.first() {
            Some(StagedList { form: ListForm::Other, .. }) => lists.truncate(1),
            // What another client has put meanwhile is for its own call.
            _ => drop(self.discard(key, latest)?),
        }
        Ok(lists)
    }

    /// The values in files under paths behind a key of the index, and the last key looked at, if any.
    pub(super) fn waiting(&self, after: Option<&Key>) -> Result<(Vec<Waiting>, Option<Key>)> {
        let page = self.index().page(after)?;
        let last = page.last().map(|(place, _)| place.clone());
        let waiting = page.into_iter().filter_map(|(place, stored)| Waiting::of(place, stored));
        Ok((waiting.collect(), last))
    }

    /// How long ago a value was put; `None` if its file is gone.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn age(&self, waiting: &Waiting) -> Result<Option<Duration>> {
        self.values.age(waiting.file)
    }

    /// Whether a value that waits is such a one; false if it is gone.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn has(
        &self,
        waiting: &Waiting,
        is_such: impl FnOnce(&StoredValue) -> bool,
    ) -> Result<bool> {
        let found = self.find(&waiting.place, clock::now())?;
        Ok(found.is_some_and(|(stored, value)| stored == waiting.record && is_such(&value)))
    }

    /// Removes a value that waits; says whether it was still there.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn remove_staged(&self, waiting: &Waiting) -> Result<bool> {
        self.remove_if(&waiting.place, |stored| *stored == waiting.record)
    }
}

impl StagedValues for Contents {
    fn contents(&self, key: &Key, size: u64) -> Result<(Staged, Bytes)> {
        let mut is_any = false;
        let staged = self.index().staged(key)?;
        for (place, _) in staged {
            let Some((stored, value)) = self.find(&place, clock::now())? else { continue };
            is_any = true;
            if let Some((contents, form)) = Form::read(&value, size) {
                let dialect = form::chosen_dialect(&value, form.layout);
                let staged = Staged { layout: form.layout, token: token(&stored), dialect };
                return Ok((staged, contents));
            }
        }
        Err(if is_any {
            let message = format!("no value under {key} is contents of {size} bytes");
            FsError::new(ErrorKind::InvalidArgument, message)
        } else {
            FsError::new(ErrorKind::NotFound, format!("there is no value under {key}"))
        })
    }

    fn discard(&self, key: &Key, wanted: u64) -> Result<bool> {
        let is_wanted = |stored: &Stored| wanted == 0 || token(stored) == wanted;
        let removed = self.index().remove_staged(key, is_wanted)?;
        let is_any = !removed.is_empty();
        removed.into_iter().for_each(|old| self.release(Some(old)));
        Ok(is_any)
    }

    fn sync(&self) -> Result<()> {
        Self::sync(self)
    }
}

/// A number for one value that was put once, of 63 bits, as numbers have on the wire. It need not be
/// the same in another process: a value that is not known again is taken for a new one.
fn token(stored: &Stored) -> u64 {
    let mut hasher = DefaultHasher::new();
    stored.hash(&mut hasher);
    (hasher.finish() >> 1).max(1)
}

#[cfg(test)]
mod tests {
    use crate::chunk::contents::{Contents, ROLE};
    use crate::chunk::native::StagedValues as _;
    use crate::clock;
    use crate::limits::{BACKUP_EVERY_DEFAULT, STAGED_KEPT_MAX};
    use crate::store::DataDir;
    use crate::types::{Key, StoredValue, Ttl, ValueKind};

    fn value(text: &str) -> StoredValue {
        StoredValue { kind: ValueKind::String, bytes: text.to_owned().into() }
    }

    fn open(dir: &tempfile::TempDir) -> (DataDir, Contents) {
        let dir = DataDir::open(dir.path(), ROLE).unwrap();
        let contents = Contents::open(&dir, BACKUP_EVERY_DEFAULT, clock::now()).unwrap();
        (dir, contents)
    }

    #[test]
    fn what_is_replaced_can_be_taken_until_it_is_overtaken() {
        let dir = tempfile::tempdir().unwrap();
        let (_dir, contents) = open(&dir);
        let (key, near) = (Key::new("/f").unwrap(), Key::new("/f/g").unwrap());
        let stage =
            |text: &str, ttl_s| contents.stage(&key, value(text), Ttl::from_s(ttl_s), clock::now());
        contents.stage(&near, value("12"), Ttl::from_s(60), clock::now()).unwrap();
        let large = "x".repeat(10_000);
        stage("1", 60).unwrap();
        stage(&large, 60).unwrap();
        stage("333", 60).unwrap();
        assert_eq!(contents.get(&key, clock::now()).unwrap().unwrap().value, value("333"));
        assert_eq!(contents.contents(&key, 1).unwrap().1, "1");
        let (staged, bytes) = contents.contents(&key, 10_000).unwrap();
        assert_eq!(bytes, large);
        assert!(contents.discard(&key, staged.token).unwrap());
        assert!(contents.contents(&key, 1).is_err(), "it was staged before what was taken");
        assert_eq!(contents.contents(&key, 3).unwrap().1, "333");
        stage("", 0).unwrap();
        assert!(contents.get(&key, clock::now()).unwrap().is_none(), "it is not to be seen");
        assert_eq!(contents.contents(&key, 3).unwrap().1, "333");
        assert!(contents.discard(&key, 0).unwrap());
        assert!(contents.contents(&key, 3).is_err());
        assert_eq!(contents.contents(&near, 2).unwrap().1, "12", "that is another file");
        assert_eq!(contents.counts().unwrap().entries, 1);
    }

    #[test]
    fn only_so_many_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (_dir, contents) = open(&dir);
        let key = Key::new("/f").unwrap();
        for length in 1..=STAGED_KEPT_MAX + 3 {
            contents
                .stage(&key, value(&"x".repeat(length)), Ttl::from_s(60), clock::now())
                .unwrap();
        }
        assert_eq!(contents.counts().unwrap().entries, STAGED_KEPT_MAX as u64 + 1);
        assert!(contents.contents(&key, 2).is_err());
        assert_eq!(contents.contents(&key, 3).unwrap().1, "xxx");
        for length in 3..STAGED_KEPT_MAX as u64 + 3 {
            let (staged, _) = contents.contents(&key, length).unwrap();
            assert!(i64::try_from(staged.token).is_ok(), "it would be cut on the wire");
        }
    }
}
