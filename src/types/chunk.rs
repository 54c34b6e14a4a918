//! Where the contents of a file live: chunks, their keys and versions, their replicas.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Ino, ServerId};
use crate::error::{ErrorKind, FsError};

/// The name of a chunk: which file, which part of it, and which incarnation of that part.
///
/// When a file is cut, the chunks behind its end are forgotten, and chunk servers delete them some
/// time later. A chunk that is made at the same place in the meantime has another incarnation, so
/// that no late deletion can meet it. A key is thus never used for two things.
///
/// As text, which is the key at a chunk server: `<inode>.<index>`, and `.<incarnation>` behind it
/// unless that is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkKey {
    /// The file.
    pub ino: Ino,
    /// The chunk begins at this many times [`crate::limits::CHUNK_SIZE`].
    pub index: u64,
    /// How often chunks of this file had been forgotten when this one was made.
    pub incarnation: u64,
}

impl fmt::Display for ChunkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.ino, self.index)?;
        if self.incarnation != 0 { write!(f, ".{}", self.incarnation) } else { Ok(()) }
    }
}

impl FromStr for ChunkKey {
    type Err = FsError;

    fn from_str(text: &str) -> Result<Self, FsError> {
        let parse = || {
            let mut parts = text.split('.');
            let ino = Ino(parts.next()?.parse().ok()?);
            let index = parts.next()?.parse().ok()?;
            let incarnation = parts.next().unwrap_or("0").parse().ok()?;
            let key = Self { ino, index, incarnation };
            // Only the one spelling is a key: no signs, no zeros in front, nothing behind.
            (key.to_string() == text).then_some(key)
        };
        parse().ok_or_else(|| {
            let shown = text.escape_default();
            FsError::new(ErrorKind::InvalidArgument, format!("\"{shown}\" is not a chunk's key"))
        })
    }
}

/// One chunk of a file, as the master knows it.
///
/// Writers name the version they write to, and a replica with another version refuses. A replica
/// that is behind, but not below `cuts_from`, only has to make the cuts that are above its version;
/// then it is as good as any. Whoever meets it so, asks it to. One below `cuts_from` has missed
/// more than that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkLayout {
    /// Its name.
    pub key: ChunkKey,
    /// The version a good replica has.
    pub version: u64,
    /// The oldest version that the cuts bring up to `version`; the same as that without cuts.
    pub cuts_from: u64,
    /// What a replica may still have to forget, in the order of versions.
    pub cuts: Vec<Cut>,
    /// Bytes it takes up on one server, as last reported.
    pub bytes: u64,
    /// The servers that hold it, the first one first in line.
    pub replicas: Vec<ServerId>,
}

/// A truncation inside a chunk: a replica below `version` drops everything from `keep` on, and
/// then has that version. To a replica that has it already, nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The version that the replica has afterwards.
    pub version: u64,
    /// Bytes from the beginning of the chunk that stay.
    pub keep: u64,
}

/// A chunk that no file refers to any more; the servers may delete it at any later time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedChunk {
    /// Its name.
    pub key: ChunkKey,
    /// The servers that hold it.
    pub replicas: Vec<ServerId>,
}

#[cfg(test)]
mod tests {
    use super::{ChunkKey, Ino};

    #[test]
    fn keys_have_one_spelling() {
        for (text, ino, index, incarnation) in [("7.0", 7, 0, 0), ("7.12.3", 7, 12, 3)] {
            let key = ChunkKey { ino: Ino(ino), index, incarnation };
            assert_eq!(key.to_string(), text);
            assert_eq!(text.parse::<ChunkKey>().unwrap(), key);
        }
        for bad in ["", "7", "7.", "7.0.0", "07.1", "7.+1", "7.1.2.3", "/7.1", "-7.1", " 7.1"] {
            assert!(bad.parse::<ChunkKey>().is_err(), "{bad:?} was taken");
        }
    }
}
