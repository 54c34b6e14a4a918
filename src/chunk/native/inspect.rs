//! Looking through the folder after a start, beside the work.

use super::{NativeStore, record};
use crate::error::Result;
use crate::limits;
use crate::types::ChunkKey;

impl NativeStore {
    /// Removes the files that deletions left when the process died, and takes up what was not yet
    /// recorded of the others, so that the next sync records it. Chunks can be used meanwhile.
    ///
    /// # Errors
    /// What the disk says.
    pub fn inspect(&self) -> Result<()> {
        for key in self.disk.keys()? {
            if let Err(error) = self.inspect_file(&key) {
                tracing::error!(chunk = %key, "cannot look at a chunk: {error}");
            }
        }
        self.find_missing()
    }

    fn inspect_file(&self, key: &ChunkKey) -> Result<()> {
        let Some(head) = self.index.read(|txn| record::read_head(txn, key))? else {
            return self.remove_orphan(key);
        };
        let length = self.disk.open(key)?.map_or(Ok(0), |file| file.length())?;
        let is_marked = self.index.read(|txn| record::is_marked(txn, key))?;
        if length != head.length || is_marked || head.cut_to.is_some() || head.open.is_some() {
            drop(self.state(&self.chunk(key))?);
        }
        Ok(())
    }

    /// Says which chunks have lost their file.
    fn find_missing(&self) -> Result<()> {
        let mut last: Option<ChunkKey> = None;
        loop {
            let page = self.list(last.as_ref(), limits::CHUNK_LIST_MAX)?;
            let Some((key, _)) = page.last() else { return Ok(()) };
            last = Some(*key);
            for (key, _) in page.iter().filter(|(_, stat)| stat.held > 0) {
                let is_missing = self.disk.open(key)?.is_none() && !self.is_set_aside(key);
                if is_missing && self.stat(key).is_ok() {
                    tracing::error!(chunk = %key, "the file of a chunk is missing");
                }
            }
        }
    }
}
