//! Certificates of the public port: from PEM files to what a shard needs. Read at start and again at SIGHUP.

use crate::config::Tls;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that is not there or not PEM.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the reader said.
        error: rustls::pki_types::pem::Error,
    },
    /// No certificate in the file.
    #[error("{0}: holds no certificate")]
    Empty(PathBuf),
    /// Key and certificate do not belong together, or are of a kind that cannot be used.
    #[error("certificate and key: {0}")]
    Unusable(#[from] rustls::Error),
}

/// Reads both files.
///
/// # Errors
/// [`TlsError`]; nothing has changed then.
pub fn load(files: &Tls) -> Result<Arc<ServerConfig>, TlsError> {
    let file_error = |path: &Path| {
        let path = path.to_owned();
        move |error| TlsError::File { path, error }
    };
    let chain =
        CertificateDer::pem_file_iter(&files.certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(file_error(&files.certificate))?;
    if chain.is_empty() {
        return Err(TlsError::Empty(files.certificate.clone()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(file_error(&files.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    // Whoever offers something else only is refused by rustls; `mqtt` is its registered name.
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"mqtt".to_vec()];
    Ok(Arc::new(config))
}
