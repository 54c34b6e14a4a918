//! What a client trusts: exactly the certificates it was given, and what they have signed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, InvalidMessage, RootCertStore,
    SignatureScheme,
};

use crate::rpc::tls::pem::{self, Standing};
use crate::rpc::tls::{PROVIDER, TlsError};

/// The certificates that a client trusts.
#[derive(Clone)]
pub struct Trust {
    config: ClientConfig,
    path: PathBuf,
}

impl Trust {
    /// Reads a PEM file of one or more certificates: each is trusted as it is, and as the issuer
    /// of others.
    ///
    /// # Errors
    /// [`TlsError`] says what is wrong with the file and what to do.
    pub fn load(certificates: &Path) -> Result<Self, TlsError> {
        let path = certificates.to_path_buf();
        let trusted = pem::certificates(&path).map_err(to_copy)?;
        // One good certificate among old ones is enough: that is how a pair is renewed.
        let mut checks = trusted.iter().map(|one| pem::check_dates(one, &path));
        if checks.clone().all(|check| check.is_err()) {
            checks.next().transpose().map_err(to_copy)?;
        }
        let config = configure(trusted).map_err(|error| TlsError::Unusable {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        Ok(Self { config, path })
    }

    pub(in crate::rpc) fn config(&self) -> ClientConfig {
        self.config.clone()
    }

    /// Why a connection was refused, and what to do about it.
    pub(in crate::rpc) fn explain(&self, error: &rustls::Error) -> String {
        let path = self.path.display();
        match error {
            rustls::Error::InvalidCertificate(reason) => match reason {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "the server's certificate has expired; make a new pair there with \
                     ./openssl-gen.sh --force"
                        .to_owned()
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "the server's certificate is not valid yet; compare the clocks of the two \
                     machines"
                        .to_owned()
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => format!(
                    "the server's certificate is for another name ({reason}); make one there with \
                     ./openssl-gen.sh NAME, or put that very certificate into {path}"
                ),
                // The last is what is said of a self-signed certificate that is not listed.
                CertificateError::UnknownIssuer
                | CertificateError::BadSignature
                | CertificateError::Other(_) => format!(
                    "the server's certificate is not the one in {path}, nor signed by it; copy \
                     the server's cacert.pem there"
                ),
                other => format!("the server's certificate is not accepted ({other})"),
            },
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                "the server does not speak TLS on this port".to_owned()
            }
            other => format!("no TLS connection ({other})"),
        }
    }
}

/// What is wrong with a file, for those who are not to make it but to copy it.
fn to_copy(error: TlsError) -> TlsError {
    match error {
        TlsError::Unreadable { path, reason } | TlsError::Unusable { path, reason } => {
            TlsError::NothingToTrust { path, reason }
        }
        other => other,
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({})", self.path.display())
    }
}

fn configure(trusted: Vec<CertificateDer<'static>>) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    // A certificate that cannot be an issuer can still be trusted as it is.
    let issuers =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&PROVIDER))
            .build()
            .ok();
    Ok(ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { trusted, issuers }))
        .with_no_client_auth())
}

/// Trusts a listed certificate whatever names it carries and whether or not it is one of an
/// authority (as the one that plain `openssl req -new -x509` makes is, which the rules of the web
/// refuse from a server); any other must be issued by a listed one, for the server's name.
#[derive(Debug)]
struct Verifier {
    trusted: Vec<CertificateDer<'static>>,
    issuers: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.trusted.iter().any(|one| one == end_entity) {
            let validity = pem::validity(end_entity).map_err(|_| CertificateError::BadEncoding)?;
            return match pem::standing(&validity) {
                Standing::Valid => Ok(ServerCertVerified::assertion()),
                Standing::Expired => Err(CertificateError::Expired.into()),
                Standing::NotYetValid => Err(CertificateError::NotValidYet.into()),
            };
        }
        match &self.issuers {
            Some(issuers) => issuers.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &PROVIDER.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &PROVIDER.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}
