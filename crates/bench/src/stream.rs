//! A client's connection to a server, plain or with TLS, and the certificate that such a server gets.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::failure::Failure;

/// Bytes in and out, blocking or not, over `T`.
pub enum Stream<T: Read + Write> {
    /// As they are.
    Plain(T),
    /// Encrypted. Reads and writes shake hands first.
    Tls(Box<StreamOwned<ClientConnection, T>>),
}

impl<T: Read + Write> Stream<T> {
    /// Over a connection to this machine; with TLS if there is a `config`.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn new(connection: T, config: Option<&Arc<ClientConfig>>) -> Result<Self, Failure> {
        let Some(config) = config else { return Ok(Self::Plain(connection)) };
        let session = ClientConnection::new(Arc::clone(config), server_name());
        let session = session.map_err(|error| Failure::Arguments(format!("TLS: {error}")))?;
        Ok(Self::Tls(Box::new(StreamOwned::new(session, connection))))
    }

    /// What lies below.
    pub fn connection(&self) -> &T {
        match self {
            Self::Plain(connection) => connection,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// What lies below, to be registered with a poll.
    pub fn connection_mut(&mut self) -> &mut T {
        match self {
            Self::Plain(connection) => connection,
            Self::Tls(stream) => &mut stream.sock,
        }
    }

    /// Whether a read that did not fill its buffer says that there is no more.
    pub fn tells_end_by_short_read(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

impl<T: Read + Write> Read for Stream<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(connection) => connection.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl<T: Read + Write> Write for Stream<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(connection) => connection.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(connection) => connection.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A certificate of this machine, made for one run.
pub struct Certificate {
    /// For the server.
    pub cert_file: PathBuf,
    /// For the server.
    pub key_file: PathBuf,
    /// For clients: trusts this certificate and no other.
    pub config: Arc<ClientConfig>,
}

impl Certificate {
    /// Has `openssl` make one, and puts its files into `folder`.
    ///
    /// # Errors
    /// It is not there, or cannot.
    pub fn make(folder: &Path) -> Result<Self, Failure> {
        let unusable = |error: String| Failure::Arguments(format!("a certificate: {error}"));
        let (cert_file, key_file) = (folder.join("cert.pem"), folder.join("key.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args([OsStr::new("-keyout"), key_file.as_os_str(), OsStr::new("-out"), cert_file.as_os_str()])
            .output()
            .map_err(Failure::io("run openssl"))?;
        if !made.status.success() {
            return Err(unusable(String::from_utf8_lossy(&made.stderr).into_owned()));
        }
        let cert = CertificateDer::from_pem_file(&cert_file).map_err(|error| unusable(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        roots.add(cert).map_err(|error| unusable(error.to_string()))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { cert_file, key_file, config: Arc::new(config) })
    }
}

/// Whom the certificate is for.
fn server_name() -> ServerName<'static> {
    ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]))
}
