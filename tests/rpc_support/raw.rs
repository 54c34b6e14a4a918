//! Speaking to a server byte by byte.

use std::fs;
use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme, SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Keys, PATIENCE};

/// A connection to a server, whose certificate is not looked at.
pub(crate) struct RawConnection {
    pub(crate) stream: TlsStream<TcpStream>,
}

/// A response as it came.
#[derive(Debug)]
pub(crate) struct RawResponse {
    pub(crate) status: u16,
    /// The head, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl RawConnection {
    /// Connects with any version of TLS.
    pub(crate) async fn open(port: u16) -> io::Result<Self> {
        Self::open_with(port, rustls::ALL_VERSIONS).await
    }

    /// Connects with one of some versions of TLS.
    pub(crate) async fn open_with(
        port: u16,
        versions: &[&'static SupportedProtocolVersion],
    ) -> io::Result<Self> {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate))
            .with_no_client_auth();
        let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        let stream = timeout(PATIENCE, connecting).await.expect("the handshake hangs")?;
        Ok(Self { stream })
    }

    /// Sends bytes.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("sending");
        self.stream.flush().await.expect("sending");
    }

    /// Sends a call and reads the response.
    pub(crate) async fn post(&mut self, body: impl AsRef<[u8]>) -> RawResponse {
        let body = body.as_ref();
        let head =
            format!("POST /RPC2 HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        self.send([head.as_bytes(), body].concat()).await;
        self.response().await
    }

    /// Reads the status of a response, and no more of it.
    pub(crate) async fn status(&mut self) -> u16 {
        let mut line = [0; 12];
        let read = self.stream.read_exact(&mut line);
        timeout(PATIENCE, read).await.expect("no response").expect("a status line");
        String::from_utf8_lossy(&line[9..]).parse().expect("a status")
    }

    /// Reads a response with a `Content-Length`.
    pub(crate) async fn response(&mut self) -> RawResponse {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = timeout(PATIENCE, self.stream.read_u8()).await.expect("no response");
            let byte = byte.unwrap_or_else(|error| panic!("{error} after {}", head.escape_ascii()));
            head.push(byte);
        }
        let head = String::from_utf8(head).expect("ASCII").to_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let length = head.split_once("content-length: ").and_then(|(_, rest)| {
            rest.split_once("\r\n").and_then(|(length, _)| length.parse().ok())
        });
        let mut body = vec![0; length.unwrap_or(0)];
        self.stream.read_exact(&mut body).await.expect("the rest");
        let body = String::from_utf8(body).expect("text");
        RawResponse { status: status.expect("a status"), head, body }
    }

    /// Waits until the server closes the connection.
    pub(crate) async fn closed(&mut self) {
        let mut rest = Vec::new();
        let end = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("still open");
        assert!(rest.is_empty() || end.is_err(), "{}", rest.escape_ascii());
    }
}

/// The server's side of TLS, for servers that are written in a test.
pub(crate) fn acceptor(keys: &Keys) -> TlsAcceptor {
    let certificate = fs::read(keys.certificate()).expect("a certificate");
    let chain = rustls_pemfile::certs(&mut &certificate[..]).map(|one| one.expect("PEM")).collect();
    let key = fs::read(keys.key()).expect("a key");
    let key = rustls_pemfile::private_key(&mut &key[..]).expect("PEM").expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair");
    TlsAcceptor::from(Arc::new(config))
}

/// Accepts every certificate: these tests are about what comes after.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
