//! Which start of the machine this is. What a process left to the system is lost with the machine's
//! power, and with nothing else; so a chunk notes in which boot it was left unsynced.

use serde::{Deserialize, Serialize};

use super::index::Index;
use super::record::META;
use crate::error::{ErrorKind, FsError, Result};
use crate::random;

/// The name of the record.
const BOOT: &[u8] = b"boot";

/// Where Linux has a text that is another one after each start of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Serialize, Deserialize)]
struct Boot {
    id: String,
    number: u64,
}

/// The machine's own name for its present boot; empty if it has none, and then every start of a server
/// counts as one.
pub(super) fn id_of_machine() -> String {
    std::fs::read_to_string(BOOT_ID).map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// The number of the boot with this name: one more than the last if it is another. The caller syncs the
/// index before anything is written in this boot.
pub(super) fn number(index: &Index, id: String) -> Result<u64> {
    let found = index.read(|txn| txn.get(META, BOOT))?;
    let last: Option<Boot> = found
        .map(|bytes| postcard::from_bytes(&bytes))
        .transpose()
        .map_err(|_| FsError::new(ErrorKind::Corrupt, "the number of the last boot is damaged"))?;
    let number = match last {
        Some(last) if last.id == id && !id.is_empty() => return Ok(last.number),
        last => last.map_or(1, |last| last.number + 1),
    };
    let boot = postcard::to_stdvec(&Boot { id, number }).expect("records are plain data");
    let noted = index.commit_deletion(|txn| {
        txn.put(META, BOOT, &boot);
        Ok(())
    });
    match noted {
        // A full disk can be read, and emptied. No other boot has this number, noted or not.
        Err(error) if error.kind() == ErrorKind::NoSpace => {
            tracing::warn!("the start of the machine is not noted: {error}");
            Ok(random::bits_64()? | 1 << 63)
        }
        noted => noted.map(|_| number),
    }
}
