//! Which servers are believed over HTTPS: those that the system's authorities vouch for.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio_rustls::TlsConnector;

/// Variables that name the file, the first one first: AWS SDKs have the one, OpenSSL and most others the other.
const VARIABLES: [&str; 2] = ["AWS_CA_BUNDLE", "SSL_CERT_FILE"];
/// Where systems keep the public authorities in one file.
const SYSTEM_FILES: [&str; 5] = [
    // Debian, Ubuntu, Alpine, Arch
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora, RHEL, Amazon Linux
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    // openSUSE
    "/etc/ssl/ca-bundle.pem",
    // Alpine, macOS, BSD
    "/etc/ssl/cert.pem",
];

/// The authorities; their file is read for the first HTTPS connection.
pub struct Trust {
    /// `None`: the first of the system's that there is.
    file: Option<PathBuf>,
    connector: OnceLock<Result<TlsConnector, TrustError>>,
}

/// Why nobody can be trusted: one line that names the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustError(String);

impl fmt::Display for TrustError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for TrustError {}

impl Trust {
    /// The file that the variables name, else the system's.
    #[must_use]
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let file = VARIABLES.iter().find_map(|name| variable(name).filter(|path| !path.is_empty()));
        Self { file: file.map(PathBuf::from), connector: OnceLock::new() }
    }

    /// Reads the file now.
    ///
    /// # Errors
    /// Nobody can be trusted.
    pub fn load_now(&self) -> Result<(), TrustError> {
        self.connector().map(|_| ())
    }

    /// Makes the TLS of a connection.
    pub(super) fn connector(&self) -> Result<TlsConnector, TrustError> {
        self.connector.get_or_init(|| self.load()).clone()
    }

    fn load(&self) -> Result<TlsConnector, TrustError> {
        let system = || SYSTEM_FILES.iter().map(PathBuf::from).find(|file| file.exists());
        let file = self.file.clone().or_else(system).ok_or_else(|| {
            TrustError("no file of certificate authorities was found; name one in SSL_CERT_FILE".to_owned())
        })?;
        load(&file).map_err(|reason| TrustError(format!("cannot use {}: {reason}", file.display())))
    }
}

fn load(file: &Path) -> Result<TlsConnector, String> {
    let mut authorities = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())?;
    // A system's file may hold some that this library does not take.
    for certificate in certificates {
        let certificate = certificate.map_err(|error| error.to_string())?;
        let _ = authorities.add(certificate);
    }
    if authorities.is_empty() {
        return Err("it holds no certificate".to_owned());
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(authorities)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
