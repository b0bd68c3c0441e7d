//! The certificate that handshakes are answered with, and the two files that it comes from.
//!
//! Promises:
//! - Files that change while the server runs are read within a few seconds, whether they are written over, replaced, or behind a
//!   link that points elsewhere now. Connections that are open stay, and whoever resumes a session has no use for a certificate.
//! - Certificate and key change together: files that do not fit each other, or cannot be read, change nothing, and are tried
//!   again and again. The log says what is wrong, once as long as it is the same.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use std::{fmt, fs, io};

use protocol::limit::tls::FILES_INTERVAL_MS;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::TlsError;

/// See the module.
pub struct Certificate {
    cert_file: PathBuf,
    key_file: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
    known: Mutex<Known>,
}

/// What is known of the files.
struct Known {
    /// Which the certificate in use is from.
    read: Versions,
    /// Which were there at the last look.
    seen: Versions,
    /// What is wrong with those.
    wrong: Option<TlsError>,
}

/// Which files there are: of the certificate and of the key.
type Versions = [Option<Version>; 2];

/// What sets one state of a file apart from others: device, number, length and when it was changed last.
type Version = (u64, u64, u64, i64, i64);

impl Certificate {
    /// Reads the files.
    pub(super) fn read(cert_file: &Path, key_file: &Path) -> Result<Self, TlsError> {
        // What changes while they are read is read again.
        let read = [cert_file, key_file].map(version);
        Ok(Self {
            cert_file: cert_file.to_owned(),
            key_file: key_file.to_owned(),
            current: RwLock::new(Arc::new(read_both(cert_file, key_file)?)),
            known: Mutex::new(Known { read, seen: read, wrong: None }),
        })
    }

    /// Looks at the files again and again.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = interval(Duration::from_millis(FILES_INTERVAL_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let certificate = Arc::clone(&self);
            // A file may be far away.
            match spawn_blocking(move || certificate.look()).await {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => {
                    tracing::info!(file = %self.cert_file.display(), "new handshakes have the new certificate");
                }
                Ok(Err(error)) => {
                    tracing::error!(%error, "the files have changed; the certificate stays as it was");
                }
                Err(error) => tracing::error!(%error, "cannot look for a new certificate"),
            }
        }
    }

    /// Reads the files if they are others than those that were read, and were there at the last look already: whoever
    /// replaces two files does so one after the other. Answers whether there is a new certificate; what is wrong is an error
    /// when it is new.
    fn look(&self) -> Result<bool, TlsError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = [&self.cert_file, &self.key_file].map(|file| version(file));
        let has_settled = found == known.seen;
        known.seen = found;
        if found == known.read {
            known.wrong = None;
        }
        if found == known.read || !has_settled {
            return Ok(false);
        }
        match read_both(&self.cert_file, &self.key_file) {
            Ok(new) => {
                (known.read, known.wrong) = (found, None);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                Ok(true)
            }
            Err(wrong) if known.wrong.as_ref() == Some(&wrong) => Ok(false),
            Err(wrong) => {
                known.wrong = Some(wrong.clone());
                Err(wrong)
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Certificate").field("cert_file", &self.cert_file).finish_non_exhaustive()
    }
}

/// `None` when it is not there.
fn version(file: &Path) -> Option<Version> {
    let found = fs::metadata(file).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

fn read_both(cert_file: &Path, key_file: &Path) -> Result<CertifiedKey, TlsError> {
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
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| match error {
        rustls::Error::InvalidCertificate(_) => in_cert(error.to_string()),
        rustls::Error::InconsistentKeys(_) => in_key("it is not the key of the certificate".to_owned()),
        _ => in_key(error.to_string()),
    })
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
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::super::tests::certified;
    use super::Certificate;

    fn current(certificate: &Certificate) -> Vec<u8> {
        certificate.current.read().unwrap().cert[0].to_vec()
    }

    fn der(folder: &Path) -> Vec<u8> {
        CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap().to_vec()
    }

    /// As with certbot or a mounted secret: the link that names the folder points elsewhere.
    #[test]
    fn a_new_pair_takes_the_place_of_the_old_one() {
        let [(first, ..), (second, ..)] = [certified(), certified()];
        let live = tempfile::tempdir().unwrap();
        let link = live.path().join("live");
        symlink(first.path(), &link).unwrap();
        let certificate = Certificate::read(&link.join("cert.pem"), &link.join("key.pem")).unwrap();
        assert_eq!(certificate.look(), Ok(false));
        fs::remove_file(&link).unwrap();
        assert_eq!(certificate.look(), Ok(false), "nothing is there");
        symlink(second.path(), &link).unwrap();
        assert_eq!(certificate.look(), Ok(false), "more may be to come");
        assert_eq!(current(&certificate), der(first.path()));
        assert_eq!(certificate.look(), Ok(true));
        assert_eq!(current(&certificate), der(second.path()));
        assert_eq!(certificate.look(), Ok(false), "read once");
    }

    #[test]
    fn files_that_do_not_fit_change_nothing_and_are_told_once() {
        let [(first, cert_file, key_file, _), (second, ..)] = [certified(), certified()];
        let certificate = Certificate::read(&cert_file, &key_file).unwrap();
        let before = der(first.path());
        fs::copy(second.path().join("cert.pem"), &cert_file).unwrap();
        assert_eq!(certificate.look(), Ok(false));
        let error = certificate.look().unwrap_err();
        assert_eq!((&error.file, error.reason.as_str()), (&key_file, "it is not the key of the certificate"));
        assert_eq!(certificate.look(), Ok(false));
        assert_eq!(current(&certificate), before);
        // What is wrong now need not show in the files' times: they may not be readable, say.
        fs::remove_file(&key_file).unwrap();
        assert_eq!(certificate.look(), Ok(false));
        assert_eq!(certificate.look().unwrap_err().reason, "there is no such file");
        assert_eq!(certificate.look(), Ok(false));
        assert_eq!(current(&certificate), before);
        fs::copy(second.path().join("key.pem"), &key_file).unwrap();
        assert_eq!((certificate.look(), certificate.look()), (Ok(false), Ok(true)));
        assert_eq!(current(&certificate), der(second.path()));
    }
}
