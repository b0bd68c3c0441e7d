//! TLS for all ports, from two PEM files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why TLS cannot be used: the file, and what is wrong with it.
#[derive(Debug)]
pub struct TlsError {
    /// The file to look at.
    pub file: PathBuf,
    /// One line.
    pub reason: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "cannot use {} for TLS: {}", self.file.display(), self.reason)
    }
}

impl std::error::Error for TlsError {}

/// Reads the chain of certificates and the key, and makes sure that they belong together.
///
/// All ports speak HTTP/1.1, also those that become a WebSocket, so that is all that is offered. TLS 1.3 with AES-128
/// is preferred whatever the client's order: it is the cheapest per frame on processors with AES instructions.
///
/// # Errors
/// [`TlsError`] names the file.
pub fn load(cert_file: &Path, key_file: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let in_cert = |reason: String| TlsError { file: cert_file.to_owned(), reason };
    let in_key = |reason: String| TlsError { file: key_file.to_owned(), reason };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert_file)
        .and_then(Iterator::collect)
        .map_err(|error| in_cert(pem_reason(error, "certificate")))?;
    if chain.is_empty() {
        return Err(in_cert("it holds no certificate".to_owned()));
    }
    let key =
        PrivateKeyDer::from_pem_file(key_file).map_err(|error| in_key(pem_reason(error, "private key")))?;

    let mut provider = aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != cipher_suite::TLS13_AES_128_GCM_SHA256.suite());
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| in_cert(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InvalidCertificate(_) => in_cert(error.to_string()),
            rustls::Error::InconsistentKeys(_) => in_key("it is not the key of the certificate".to_owned()),
            _ => in_key(error.to_string()),
        })?;
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What is wrong with a PEM file; never any of its bytes.
fn pem_reason(error: pem::Error, wanted: &str) -> String {
    match error {
        pem::Error::NoItemsFound => format!("it holds no {wanted}"),
        pem::Error::Io(error) if error.kind() == io::ErrorKind::NotFound => {
            "there is no such file".to_owned()
        }
        pem::Error::Io(error) => error.to_string(),
        _ => "it is not well-formed PEM".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Arc;

    use rustls::crypto::aws_lc_rs;
    use rustls::{CipherSuite, ClientConfig, ClientConnection, RootCertStore, ServerConnection};
    use tempfile::TempDir;

    use super::load;

    /// A folder with a certificate of `localhost` and its key.
    fn certified() -> (TempDir, PathBuf, PathBuf, rcgen::CertifiedKey<rcgen::KeyPair>) {
        let folder = tempfile::tempdir().unwrap();
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        fs::write(&cert_file, certified.cert.pem()).unwrap();
        fs::write(&key_file, certified.signing_key.serialize_pem()).unwrap();
        (folder, cert_file, key_file, certified)
    }

    /// The handshake of a client that trusts the certificate and prefers other ciphers.
    #[test]
    fn a_client_gets_the_preferred_cipher_and_protocol() {
        let (_folder, cert_file, key_file, certified) = certified();
        let mut roots = RootCertStore::empty();
        roots.add(certified.cert.der().clone()).unwrap();
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites.reverse();
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(load(&cert_file, &key_file).unwrap()).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            wire.clear();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        }
        let suite = client.negotiated_cipher_suite().map(|suite| suite.suite());
        assert_eq!(suite, Some(CipherSuite::TLS13_AES_128_GCM_SHA256));
        assert_eq!(client.alpn_protocol(), Some(&b"http/1.1"[..]));
    }

    #[test]
    fn what_is_wrong_is_told_with_the_file() {
        let (folder, cert_file, key_file, _) = certified();
        let (_other_folder, _, other_key, _) = certified();
        let missing = folder.path().join("missing.pem");
        let empty = folder.path().join("empty.pem");
        fs::write(&empty, "").unwrap();
        let broken = folder.path().join("broken.pem");
        fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
        for (cert, key, culprit, reason) in [
            (&missing, &key_file, &missing, "there is no such file"),
            (&cert_file, &missing, &missing, "there is no such file"),
            (&empty, &key_file, &empty, "it holds no certificate"),
            (&cert_file, &empty, &empty, "it holds no private key"),
            (&cert_file, &cert_file, &cert_file, "it holds no private key"),
            (&broken, &key_file, &broken, "it is not well-formed PEM"),
            (&cert_file, &other_key, &other_key, "it is not the key of the certificate"),
        ] {
            let error = load(cert, key).unwrap_err();
            assert_eq!((&error.file, error.reason.as_str()), (culprit, reason));
        }
    }
}
