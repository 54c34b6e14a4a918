//! That a folder of chunks and an index belong together.
//!
//! Without its index a folder of chunks is full of files that nobody knows, and those are removed;
//! so a server that is started with the wrong one, or after one of the two was lost, must notice.

use std::fs::OpenOptions;
use std::io::{ErrorKind as IoErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::disk::Disk;
use super::index::Index;
use super::record::{self, META};
use crate::clock;
use crate::error::{ErrorKind, FsError, Result};

/// The name of the file and of the record.
const IDENTITY: &str = "identity";

/// Checks that folder and index have the same identity; gives them one if both are empty. The index
/// gets it first, so that a folder which has one, beside an index that has none, has lost its own.
pub(super) fn check(index: &Index, disk: &dyn Disk, root: &Path) -> Result<()> {
    let path = root.join(IDENTITY);
    let recorded = index.read(|txn| txn.get(META, IDENTITY.as_bytes()))?;
    let written = read(&path)?;
    if recorded.is_some() && recorded.as_deref() == written.as_deref() {
        return Ok(());
    }
    let is_index_lost = recorded.is_none() && written.is_some();
    let is_empty =
        index.read(|txn| record::list(txn, None, 1))?.is_empty() && disk.keys()?.is_empty();
    if is_index_lost || !is_empty {
        let message = format!(
            "{} and the index of the chunks do not belong together; bring back the one that is \
             missing, or move both away to begin anew",
            root.display()
        );
        return Err(FsError::new(ErrorKind::Corrupt, message));
    }
    let identity = new_identity();
    index.commit(|txn| {
        txn.put(META, IDENTITY.as_bytes(), identity.as_bytes());
        Ok(())
    })?;
    index.sync()?;
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    file.write_all(identity.as_bytes())?;
    Ok(file.sync_all()?)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut identity = Vec::new();
    match OpenOptions::new().read(true).open(path) {
        Err(error) if error.kind() == IoErrorKind::NotFound => return Ok(None),
        opened => opened?.read_to_end(&mut identity)?,
    };
    Ok(Some(identity))
}

/// A text that no other folder has: when and by whom it was made.
fn new_identity() -> String {
    let now = clock::now_system().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:032x}.{:08x}", now.as_nanos(), std::process::id())
}
