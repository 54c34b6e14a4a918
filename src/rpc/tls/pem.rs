//! Reading `.pem` files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::Validity;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::clock;
use crate::rpc::tls::TlsError;

/// All certificates in a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let certificates = rustls_pemfile::certs(&mut &text[..])
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(path, error))?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { path: path.into() });
    }
    Ok(certificates)
}

/// The private key in a file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    // PKCS#8 says so in the first line of the block, PKCS#1 and SEC1 in a header below it.
    let is_encrypted = [&b"BEGIN ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"]
        .iter()
        .any(|mark| text.windows(mark.len()).any(|window| window == *mark));
    if is_encrypted {
        return Err(TlsError::EncryptedKey { path: path.into() });
    }
    let key = rustls_pemfile::private_key(&mut &text[..])
        .map_err(|error| unusable(path, error))?
        .ok_or_else(|| TlsError::NoKey { path: path.into() })?;
    warn_if_shared(path);
    Ok(key)
}

fn warn_if_shared(path: &Path) {
    let Ok(metadata) = fs::metadata(path) else { return };
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(
            "the private key {path} can be read by other users; run chmod 600 {path}",
            path = path.display()
        );
    }
}

/// Refuses a certificate outside the dates of its validity.
pub(super) fn check_dates(certificate: &CertificateDer<'_>, path: &Path) -> Result<(), TlsError> {
    let validity = validity(certificate).map_err(|error| unusable(path, error))?;
    match standing(&validity) {
        Standing::Valid => Ok(()),
        Standing::Expired => {
            Err(TlsError::Expired { path: path.into(), date: validity.not_after.to_string() })
        }
        Standing::NotYetValid => {
            Err(TlsError::NotYetValid { path: path.into(), date: validity.not_before.to_string() })
        }
    }
}

/// Where the present lies in a certificate's time.
pub(super) enum Standing {
    Valid,
    Expired,
    NotYetValid,
}

pub(super) fn standing(validity: &Validity) -> Standing {
    let now_s = i64::try_from(clock::now().0 / 1000).unwrap_or(i64::MAX);
    if now_s < validity.not_before.timestamp() {
        Standing::NotYetValid
    } else if now_s > validity.not_after.timestamp() {
        Standing::Expired
    } else {
        Standing::Valid
    }
}

/// The dates between which a certificate is valid.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Result<Validity, String> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| format!("the certificate is damaged ({error})"))?;
    Ok(parsed.validity().clone())
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path)
        .map_err(|error| TlsError::Unreadable { path: path.into(), reason: error.to_string() })
}

fn unusable(path: &Path, reason: impl ToString) -> TlsError {
    TlsError::Unusable { path: path.into(), reason: reason.to_string() }
}
