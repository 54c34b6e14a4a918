//! Keys and certificates: a server's identity and a client's trust, with clear words for
//! everything that can be wrong with their files.

mod pem;
mod trust;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, Ticketer, cipher_suite};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, ServerConfig};

pub use trust::Trust;

/// Why a key or certificate cannot be used. Each message is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {reason}; make a key and a certificate with ./openssl-gen.sh")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The certificates to trust cannot be used, by somebody who has no reason to make any.
    #[error(
        "cannot use the certificates to trust in {path}: {reason}; copy the cacert.pem of the servers there, or say with --ca where it is"
    )]
    NothingToTrust {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file has no certificate.
    #[error(
        "{path} has no certificate (no BEGIN CERTIFICATE line); give the cacert.pem that ./openssl-gen.sh made"
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file has no private key.
    #[error(
        "{path} has no private key (no BEGIN PRIVATE KEY line); give the privkey.pem that ./openssl-gen.sh made"
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key is protected by a passphrase, and there is nobody to ask.
    #[error(
        "the private key in {path} is encrypted; write it out without a passphrase (openssl pkey -in {path} -out plain.pem) and give that file"
    )]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// A file's contents cannot be used.
    #[error("{path} cannot be used: {reason}; make a new pair with ./openssl-gen.sh --force")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate is for another key.
    #[error(
        "the certificate in {certificate} does not belong to the key in {key}; give the two files of one pair, or make a new pair with ./openssl-gen.sh --force"
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The certificate's time has passed.
    #[error(
        "the certificate in {path} expired on {date}; make a new pair with ./openssl-gen.sh --force and give the new certificate to the clients"
    )]
    Expired {
        /// The file.
        path: PathBuf,
        /// Its last moment.
        date: String,
    },
    /// The certificate's time has not come.
    #[error(
        "the certificate in {path} is not valid before {date}; set this machine's clock, or make a new pair with ./openssl-gen.sh --force"
    )]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// Its first moment.
        date: String,
    },
}

/// The cryptography of all connections.
///
/// AES-128-GCM comes before AES-256-GCM: as strong as the RSA-2048 keys around it, and a fifth
/// faster where contents are encrypted in bulk.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        ![
            cipher_suite::TLS13_AES_128_GCM_SHA256.suite(),
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256.suite(),
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256.suite(),
        ]
        .contains(&suite.suite())
    });
    Arc::new(provider)
});

/// A server's private key and certificate.
#[derive(Clone)]
pub struct Identity {
    config: Arc<ServerConfig>,
}

impl Identity {
    /// Reads PEM files: a certificate, with those of its issuers behind it if there are any, and
    /// its private key (PKCS#1, PKCS#8 or SEC1).
    ///
    /// # Errors
    /// [`TlsError`] says which file is wrong, how, and what to do.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = pem::certificates(certificate)?;
        for one in &chain {
            pem::check_dates(one, certificate)?;
        }
        let private_key = pem::private_key(key)?;
        let certified = CertifiedKey::from_der(chain, private_key, &PROVIDER)
            .map_err(|error| explain_pair(&error, certificate, key))?;
        let config =
            Self::configure(certified).map_err(|error| explain_pair(&error, certificate, key))?;
        Ok(Self { config: Arc::new(config) })
    }

    fn configure(certified: CertifiedKey) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        // A returning client skips the RSA signature, which is most of a handshake's cost.
        config.ticketer = Ticketer::new()?;
        Ok(config)
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

fn explain_pair(error: &rustls::Error, certificate: &Path, key: &Path) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::Mismatch { certificate: certificate.into(), key: key.into() }
        }
        rustls::Error::InvalidCertificate(reason) => TlsError::Unusable {
            path: certificate.into(),
            reason: format!("the certificate is not accepted ({reason})"),
        },
        other => TlsError::Unusable {
            path: key.into(),
            reason: format!("the private key is not accepted ({other})"),
        },
    }
}
