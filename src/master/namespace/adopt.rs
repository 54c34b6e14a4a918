//! Contents that are somewhere before a file has them: keys for their chunks are reserved first, the
//! servers write them, and one transaction makes them the file's.

use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::types::{Attr, ChunkKey, ChunkLayout, Credentials, FileKind, Ino, Name, ServerId};

use super::attr::too_large;
use super::records::{Body, Chunk, Contents};
use super::{Namespace, View};

impl View<'_> {
    /// What a path of names from the root on leads to, whoever asks; `None` if a name is not there
    /// or something on the way is no directory. Symbolic links are not followed.
    ///
    /// # Errors
    /// Only those of the store.
    pub fn walk(&self, names: &[Name]) -> Result<Option<Attr>> {
        let mut at = self.getattr(Ino::ROOT)?;
        for name in names {
            if at.kind != FileKind::Directory {
                return Ok(None);
            }
            let Some(entry) = self.find_entry(at.ino, name)? else { return Ok(None) };
            at = self.named_inode(&entry)?.attr(entry.ino);
        }
        Ok(Some(at))
    }

    /// What a name in a directory stands for, whoever asks.
    ///
    /// # Errors
    /// Only those of the store.
    pub fn find(&self, directory: Ino, name: &Name) -> Result<Option<Attr>> {
        let Some(entry) = self.find_entry(directory, name)? else { return Ok(None) };
        Ok(Some(self.named_inode(&entry)?.attr(entry.ino)))
    }
}

impl Namespace<'_> {
    /// The key for the first chunk of a file that is about to be made. Its number is not used for
    /// anything else, also if the file never comes to be.
    ///
    /// # Errors
    /// As [`Namespace::next_ino`].
    pub fn reserve_file(&mut self) -> Result<ChunkKey> {
        let ino = self.next_ino()?;
        Ok(ChunkKey { ino, index: 0, incarnation: self.incarnation(0)? })
    }

    /// The key for the first of new chunks of a file that is there. Nobody else gets its
    /// incarnation, whatever happens to the file meanwhile.
    ///
    /// # Errors
    /// As [`View::layout`].
    pub fn reserve_contents(&mut self, ino: Ino) -> Result<ChunkKey> {
        let mut inode = self.inode(ino)?;
        let contents = inode.contents_mut()?;
        // Chunks may have been made with the number that is the next one.
        let count = contents.incarnation + 1;
        contents.incarnation += 2;
        self.save_inode(ino, &inode);
        Ok(ChunkKey { ino, index: 0, incarnation: self.incarnation(count)? })
    }

    /// Makes an empty regular file under a number that was reserved for it.
    ///
    /// # Errors
    /// As all new names.
    pub fn create_reserved(
        &mut self,
        who: &Credentials,
        ino: Ino,
        directory: Ino,
        name: &Name,
        mode: u32,
    ) -> Result<Attr> {
        let parent = self.permit_new_name(who, directory, name)?;
        let body = Body::Regular(Contents::default());
        self.add_as(who, ino, (directory, parent), name, mode & 0o7777, body)
    }

    /// Replaces all contents of a file by `size` bytes that these servers hold in chunks from
    /// `first` on, a key that was reserved for it.
    ///
    /// # Errors
    /// As [`Namespace::allocate`].
    pub fn adopt_contents(
        &mut self,
        who: &Credentials,
        first: ChunkKey,
        size: u64,
        replicas: &[ServerId],
    ) -> Result<Vec<ChunkLayout>> {
        let ChunkKey { ino, incarnation, .. } = first;
        let mut inode = self.inode(ino)?;
        let contents = inode.contents_mut()?;
        if size > limits::FILE_SIZE_MAX {
            return Err(too_large());
        }
        if size > 0 && replicas.is_empty() {
            return Err(FsError::new(ErrorKind::NoSpace, "there is no chunk server with room"));
        }
        self.truncate(ino, contents, 0)?;
        let mut layouts = Vec::new();
        for index in 0..size.div_ceil(limits::CHUNK_SIZE) {
            let bytes = (size - index * limits::CHUNK_SIZE).min(limits::CHUNK_SIZE);
            let chunk = Chunk::new(incarnation, replicas);
            let layout = chunk.clone().layout(ino, index);
            self.set_chunk_bytes(contents, layout.key, chunk, bytes)?;
            layouts.push(ChunkLayout { bytes, ..layout });
        }
        contents.size = size;
        self.mark_written(who, ino, &mut inode)?;
        self.save_inode(ino, &inode);
        Ok(layouts)
    }
}
