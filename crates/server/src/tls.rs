//! TLS for all ports, from two PEM files. When others take their place, so does what they hold.

mod certificate;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::server::ResolvesServerCert;

pub use self::certificate::Certificate;

/// Why TLS cannot be used: the file, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// What all ports need.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Answers handshakes with [`Tls::certificate`], whatever that is then.
    pub config: Arc<ServerConfig>,
    /// The one that the files held last.
    pub certificate: Arc<Certificate>,
}

/// Reads the chain of certificates and the key, and makes sure that they belong together.
///
/// All ports speak HTTP/1.1, also those that become a WebSocket, so that is all that is offered. TLS 1.3 with AES-128
/// is preferred whatever the client's order: it is the cheapest per frame on processors with AES instructions. A client that
/// comes back is spared the signature: its ticket holds its session, so none is kept here, however many they are.
///
/// # Errors
/// [`TlsError`] names the file.
pub fn load(cert_file: &Path, key_file: &Path) -> Result<Tls, TlsError> {
    let unusable = |error: rustls::Error| TlsError { file: cert_file.to_owned(), reason: error.to_string() };
    let certificate = Arc::new(Certificate::read(cert_file, key_file)?);
    let mut provider = aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != cipher_suite::TLS13_AES_128_GCM_SHA256.suite());
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
    Ok(Tls { config: Arc::new(config), certificate })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Arc;

    use rustls::crypto::aws_lc_rs;
    use rustls::{
        CipherSuite, ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConnection,
    };
    use tempfile::TempDir;

    use super::{Tls, load};

    /// A folder with a certificate of `localhost` and its key.
    pub(super) fn certified() -> (TempDir, PathBuf, PathBuf, rcgen::CertifiedKey<rcgen::KeyPair>) {
        let folder = tempfile::tempdir().unwrap();
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        fs::write(&cert_file, certified.cert.pem()).unwrap();
        fs::write(&key_file, certified.signing_key.serialize_pem()).unwrap();
        (folder, cert_file, key_file, certified)
    }

    /// The handshake of a client that trusts the certificate and prefers other ciphers.
    #[test]
    fn a_client_gets_the_preferred_cipher_and_protocol_and_can_resume() {
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
        let (config, tls) = (Arc::new(config), load(&cert_file, &key_file).unwrap());
        let client = connect(&config, &tls);
        let suite = client.negotiated_cipher_suite().map(|suite| suite.suite());
        assert_eq!(suite, Some(CipherSuite::TLS13_AES_128_GCM_SHA256));
        assert_eq!(client.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
        let again = connect(&config, &tls);
        assert_eq!(again.handshake_kind(), Some(HandshakeKind::Resumed));
        let stranger = connect(&config, &load(&cert_file, &key_file).unwrap());
        assert_eq!(stranger.handshake_kind(), Some(HandshakeKind::Full), "another server's ticket");
    }

    /// A client that has made its handshake, and got its tickets.
    fn connect(config: &Arc<ClientConfig>, tls: &Tls) -> ClientConnection {
        let name = "localhost".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::clone(config), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(&tls.config)).unwrap();
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
        client
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
