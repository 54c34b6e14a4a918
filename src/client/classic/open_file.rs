//! An open file: one buffer for all its handles, filled by one get and emptied by one put.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::client::classic::stat;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::pickle::Attributes;
use crate::proto::form::Form;
use crate::types::Ino;

/// Bytes that all buffers of a client hold together.
pub type Held = Arc<AtomicUsize>;

/// A file that somebody has open.
#[derive(Debug)]
pub struct OpenFile {
    /// The inode.
    pub ino: Ino,
    state: Mutex<State>,
    held: Held,
}

#[derive(Debug)]
struct State {
    /// As they are here; the size is that of the buffer, once there is one.
    attributes: Attributes,
    /// None until the contents are needed. Shared only while they are being stored: what is
    /// written meanwhile goes to a copy.
    contents: Option<Arc<Vec<u8>>>,
    /// How the contents are stored, as far as that was seen.
    form: Option<Form>,
    /// Grows with every change of the contents.
    version: u64,
    /// The version that the servers have; none if they have no such file.
    stored: Option<u64>,
    /// It has lost its name: nothing is stored any more.
    is_unlinked: bool,
}

/// What there is to store of a file.
#[derive(Debug)]
pub struct Snapshot {
    /// Attributes at that moment.
    pub attributes: Attributes,
    /// Contents at that moment.
    pub contents: Arc<Vec<u8>>,
    /// How they were stored before, if it is known.
    pub form: Option<Form>,
    /// Whether the servers have no such file yet.
    pub is_new: bool,
    version: u64,
}

impl OpenFile {
    /// A file that the servers have. An empty one needs no get.
    #[must_use]
    pub fn found(ino: Ino, attributes: Attributes, held: Held) -> Self {
        Self::with(ino, attributes, Some(0), held)
    }

    /// A file that only this client knows.
    #[must_use]
    pub fn made(ino: Ino, attributes: Attributes, held: Held) -> Self {
        Self::with(ino, attributes, None, held)
    }

    fn with(ino: Ino, attributes: Attributes, stored: Option<u64>, held: Held) -> Self {
        let contents = (attributes.size == 0).then(Arc::default);
        let (form, is_unlinked) = (None, false);
        let state = State { attributes, contents, form, version: 0, stored, is_unlinked };
        Self { ino, state: Mutex::new(state), held }
    }

    /// The attributes, if those that the servers have are not the newest, or are gone.
    #[must_use]
    pub fn own_attributes(&self) -> Option<Attributes> {
        let state = self.state();
        let is_own = state.is_unlinked || state.stored != Some(state.version);
        is_own.then(|| state.attributes.clone())
    }

    /// Whether the servers have no such file yet, and it still has its name.
    #[must_use]
    pub fn is_new(&self) -> bool {
        let state = self.state();
        state.stored.is_none() && !state.is_unlinked
    }

    /// Whether the contents are here.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.state().contents.is_some()
    }

    /// Somebody opens the file again, and the servers have these attributes: contents from before
    /// a change are dropped, unless they have been changed here, too.
    pub fn refresh(&self, attributes: &Attributes) {
        let mut state = self.state();
        if state.is_unlinked || state.stored != Some(state.version) {
            return;
        }
        let marks = |a: &Attributes| (a.size, a.mtime_s.to_bits(), a.ctime_s.to_bits());
        if marks(&state.attributes) != marks(attributes) {
            self.set_contents(&mut state, None);
            if attributes.size == 0 {
                state.contents = Some(Arc::default());
            }
        }
        state.attributes = attributes.clone();
    }

    /// The contents have come, unless they are here already.
    ///
    /// # Errors
    /// `NoSpace` if all open files together get too large.
    pub fn fill(&self, attributes: &Attributes, contents: Bytes, form: Form) -> Result<()> {
        let mut state = self.state();
        if state.contents.is_some() {
            return Ok(());
        }
        self.check_room(contents.len())?;
        if state.stored == Some(state.version) {
            state.attributes = attributes.clone();
        }
        state.attributes.size = contents.len() as u64;
        state.form = Some(form);
        self.set_contents(&mut state, Some(contents.into()));
        Ok(())
    }

    /// Up to `size` bytes from `offset`; none if the contents are not here.
    #[must_use]
    pub fn read(&self, offset: u64, size: u32) -> Option<Bytes> {
        let state = self.state();
        let contents = state.contents.as_ref()?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(contents.len());
        let end = start.saturating_add(size as usize).min(contents.len());
        Some(Bytes::copy_from_slice(&contents[start..end]))
    }

    /// Writes at `offset`, or at the end; zeros fill what is between. Says whether it could: not
    /// if the contents are not here.
    ///
    /// # Errors
    /// `FileTooLarge`, `NoSpace`; nothing has changed then.
    pub fn write(&self, offset: Option<u64>, data: &[u8], default: Form) -> Result<bool> {
        let mut state = self.state();
        let size_before = state.attributes.size;
        let start = offset.unwrap_or(size_before);
        let end = start.saturating_add(data.len() as u64);
        if data.is_empty() {
            return Ok(true);
        }
        let Some(contents) = self.resize(&mut state, end.max(size_before), default)? else {
            return Ok(false);
        };
        // It fits: the contents have been resized for it.
        let target = usize::try_from(start).ok().and_then(|start| contents.get_mut(start..));
        if let Some(target) = target.and_then(|target| target.get_mut(..data.len())) {
            target.copy_from_slice(data);
        }
        Ok(true)
    }

    /// Cuts the file, or fills it up with zeros. Says whether it could: not if the contents are
    /// not here, unless the file becomes empty.
    ///
    /// # Errors
    /// `FileTooLarge`, `NoSpace`; nothing has changed then.
    pub fn set_size(&self, size: u64, default: Form) -> Result<bool> {
        let mut state = self.state();
        if size == 0 && state.contents.is_none() {
            state.contents = Some(Arc::default());
        }
        Ok(self.resize(&mut state, size, default)?.is_some())
    }

    /// Gives the contents in their new size; none if they are not here.
    fn resize<'a>(
        &self,
        state: &'a mut State,
        size: u64,
        default: Form,
    ) -> Result<Option<&'a mut Vec<u8>>> {
        let size_max = state.form.unwrap_or(default).size_max();
        let new = usize::try_from(size).ok().filter(|size| *size <= size_max).ok_or_else(|| {
            let message = format!("{size} bytes do not fit in one value; {size_max} is the limit");
            FsError::new(ErrorKind::FileTooLarge, message)
        })?;
        let Some(contents) = &mut state.contents else { return Ok(None) };
        let before = contents.len();
        self.check_room(new.saturating_sub(before))?;
        let contents = Arc::make_mut(contents);
        contents.resize(new, 0);
        if new < before / 2 {
            contents.shrink_to_fit();
        }
        self.held.fetch_add(new, Ordering::Relaxed);
        self.held.fetch_sub(before, Ordering::Relaxed);
        let now = stat::now_s();
        let attributes = &mut state.attributes;
        (attributes.size, attributes.mtime_s, attributes.ctime_s) = (size, now, now);
        state.version += 1;
        Ok(Some(contents))
    }

    /// Changes attributes other than the size.
    ///
    /// # Errors
    /// What `change` says.
    pub fn change(&self, change: impl FnOnce(&mut Attributes) -> Result<()>) -> Result<()> {
        change(&mut self.state().attributes)
    }

    /// What there is to store, if anything.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        let state = self.state();
        if state.is_unlinked || state.stored == Some(state.version) {
            return None;
        }
        Some(Snapshot {
            attributes: state.attributes.clone(),
            contents: state.contents.clone()?,
            form: state.form,
            is_new: state.stored.is_none(),
            version: state.version,
        })
    }

    /// The servers have what `snapshot` was.
    pub fn set_stored(&self, snapshot: &Snapshot, attributes: &Attributes, form: Form) {
        let mut state = self.state();
        state.stored = Some(snapshot.version);
        state.form = Some(form);
        if state.version == snapshot.version {
            state.attributes = attributes.clone();
        }
    }

    /// The file has lost its name.
    pub fn unlink(&self) {
        let mut state = self.state();
        state.is_unlinked = true;
        state.attributes.nlink = 0;
        state.attributes.ctime_s = stat::now_s();
    }

    fn check_room(&self, more: usize) -> Result<()> {
        let held = self.held.load(Ordering::Relaxed);
        if more > 0 && held.saturating_add(more) > limits::OPEN_CONTENTS_MAX {
            let message = "the files that are open hold too much memory; close some";
            return Err(FsError::new(ErrorKind::NoSpace, message));
        }
        Ok(())
    }

    fn set_contents(&self, state: &mut State, contents: Option<Vec<u8>>) {
        let before = state.contents.take().map_or(0, |contents| contents.len());
        self.held.fetch_add(contents.as_ref().map_or(0, Vec::len), Ordering::Relaxed);
        self.held.fetch_sub(before, Ordering::Relaxed);
        state.contents = contents.map(Arc::new);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let held = state.contents.as_ref().map_or(0, |contents| contents.len());
        self.held.fetch_sub(held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use bytes::Bytes;

    use super::{Held, OpenFile};
    use crate::error::ErrorKind;
    use crate::pickle::Attributes;
    use crate::proto::form::Form;
    use crate::types::Ino;

    fn form() -> Form {
        Form::default()
    }

    #[test]
    fn writes_beyond_the_end_fill_with_zeros_and_are_bounded() {
        let held = Held::default();
        let file = OpenFile::made(Ino(2), Attributes::default(), held.clone());
        file.write(Some(3), b"x", form()).unwrap();
        file.write(None, b"yz", form()).unwrap();
        assert_eq!(file.read(0, 100).unwrap(), &b"\0\0\0xyz"[..]);
        assert_eq!(file.read(4, 1).unwrap(), "y");
        assert_eq!(file.read(6, 1).unwrap(), "");
        assert_eq!(file.read(u64::MAX, 1).unwrap(), "");
        file.set_size(2, form()).unwrap();
        file.set_size(4, form()).unwrap();
        assert_eq!(file.read(0, 9).unwrap(), &b"\0\0\0\0"[..]);
        for offset in [form().size_max() as u64, u64::MAX] {
            let error = file.write(Some(offset), b"x", form()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        }
        assert_eq!(held.load(Ordering::Relaxed), 4);
        drop(file);
        assert_eq!(held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_written_during_a_store_is_stored_next() {
        let file = OpenFile::made(Ino(2), Attributes::default(), Held::default());
        file.write(None, b"one", form()).unwrap();
        let snapshot = file.snapshot().unwrap();
        file.write(None, b"two", form()).unwrap();
        assert_eq!(snapshot.contents.as_slice(), b"one");
        assert!(snapshot.is_new);
        file.set_stored(&snapshot, &snapshot.attributes, form());
        let next = file.snapshot().unwrap();
        assert_eq!((next.contents.as_slice(), next.is_new), (&b"onetwo"[..], false));
        assert_eq!(file.own_attributes().unwrap().size, 6);
        file.set_stored(&next, &next.attributes, form());
        assert!(file.snapshot().is_none() && file.own_attributes().is_none());
    }

    #[test]
    fn contents_that_others_changed_are_dropped_only_if_they_are_clean() {
        let old = Attributes { size: 3, ..Attributes::default() };
        let new = Attributes { size: 3, mtime_s: 1.0, ..Attributes::default() };
        let file = OpenFile::found(Ino(2), old.clone(), Held::default());
        assert!(!file.is_loaded() && file.read(0, 1).is_none());
        file.fill(&old, Bytes::from_static(b"abc"), form()).unwrap();
        file.refresh(&old);
        assert!(file.is_loaded());
        file.refresh(&new);
        assert!(!file.is_loaded());
        file.set_size(0, form()).unwrap();
        file.refresh(&old);
        assert!(file.is_loaded() && file.own_attributes().unwrap().size == 0);
    }
}
