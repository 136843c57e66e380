//! Certificates: from PEM files to what a shard needs, and the name of a client in its own. The files are read at start and again
//! at SIGHUP.
//!
//! Must not know who is let in by which name. Start at [`load`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::config::{ClientCertificate, ClientUser, Config, Tls};

/// Where distributions keep the certificates of authorities, the first one that is there.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The authorities that servers we connect to are verified by: those of a file, else of the system. Blocks on reading it.
///
/// # Errors
/// The file, and what is wrong with it.
pub(crate) fn known_authorities(file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, String> {
    let known = || AUTHORITIES.iter().map(Path::new).find(|path| path.exists());
    let path = file.or_else(known).ok_or("no certificates of authorities are installed")?;
    let failed = |error: rustls::pki_types::pem::Error| format!("{}: {error}", path.display());
    let read = CertificateDer::pem_file_iter(path).map_err(failed)?;
    let certificates: Vec<_> = read.collect::<Result<_, _>>().map_err(failed)?;
    match certificates.is_empty() {
        true => Err(format!("{}: there is no certificate in it", path.display())),
        false => Ok(certificates),
    }
}

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
    /// An authority of clients that cannot be one.
    #[error("{path}: {error}")]
    Authority {
        /// Of all of them.
        path: PathBuf,
        /// What is wrong.
        error: VerifierBuilderError,
    },
}

/// What listeners speak TLS by.
#[derive(Clone, Debug)]
pub struct TlsConfigs {
    /// On which anything may come.
    pub public: Arc<ServerConfig>,
    /// On which streams alone may come: clients may be asked for certificates.
    pub streams: Arc<ServerConfig>,
}

impl From<ServerConfig> for TlsConfigs {
    /// The same on all listeners.
    fn from(config: ServerConfig) -> Self {
        let public = Arc::new(config);
        Self { streams: Arc::clone(&public), public }
    }
}

/// Reads all files; `None`: TLS is not configured.
///
/// # Errors
/// [`TlsError`]; nothing has changed then.
pub fn load(config: &Config) -> Result<Option<TlsConfigs>, TlsError> {
    let Some(files) = &config.tls else { return Ok(None) };
    let mut configs = TlsConfigs::from(server(files, WebPkiClientVerifier::no_client_auth())?);
    if let Some(path) = &config.mqtt.tls_client_ca {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities(path)?), provider);
        let verifier = match config.mqtt.tls_client_certificate {
            ClientCertificate::Required => verifier,
            ClientCertificate::Optional => verifier.allow_unauthenticated(),
        };
        let error = |error| TlsError::Authority { path: path.clone(), error };
        configs.streams = Arc::new(server(files, verifier.build().map_err(error)?)?);
    }
    Ok(Some(configs))
}

fn server(
    files: &Tls,
    clients: Arc<dyn rustls::server::danger::ClientCertVerifier>,
) -> Result<ServerConfig, TlsError> {
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(file_error(&files.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(certificates(&files.certificate)?, key)?;
    // Whoever offers something else only is refused by rustls; `mqtt` is its registered name.
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"mqtt".to_vec()];
    Ok(config)
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    certificates(path)?.into_iter().try_for_each(|certificate| store.add(certificate))?;
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(file_error(path))?;
    if found.is_empty() { Err(TlsError::Empty(path.to_owned())) } else { Ok(found) }
}

fn file_error(path: &Path) -> impl Fn(rustls::pki_types::pem::Error) -> TlsError {
    let path = path.to_owned();
    move |error| TlsError::File { path: path.clone(), error }
}

/// The name of a client in its certificate, which was verified; `None` when it has none of that kind that could be a user's: not
/// empty, and without control characters.
#[must_use]
pub fn name_in(certificate: &CertificateDer<'_>, user: ClientUser) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let content = certificate.tbs_certificate();
    let name = match user {
        ClientUser::None => None,
        ClientUser::CommonName => Some(content.subject().common_name().ok()??.value().into_owned()),
        ClientUser::AlternativeName => {
            let (_, names) = content.get_extension::<SubjectAltName>().ok()??;
            names.0.iter().find_map(alternative)
        }
    };
    name.filter(|name| !name.is_empty() && !name.chars().any(char::is_control))
}

/// Whose a certificate is, as RFC 4514 writes it.
#[must_use]
pub fn subject_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate().subject().to_string())
}

fn alternative(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name)
        | GeneralName::Rfc822Name(name)
        | GeneralName::UniformResourceIdentifier(name) => Some(name.as_str().to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn certificate(common_name: Option<&str>, alternatives: Vec<SanType>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Plant 7");
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = alternatives;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn a_client_has_the_name_that_is_asked_for() {
        let text = |text: &str| text.try_into().unwrap();
        let address = SanType::IpAddress([10, 0, 0, 7].into());
        let named = certificate(
            Some("pump 3/ä"),
            vec![address.clone(), SanType::URI(text("urn:pump:3")), SanType::DnsName(text("pump"))],
        );
        assert_eq!(name_in(&named, ClientUser::CommonName).as_deref(), Some("pump 3/ä"));
        assert_eq!(name_in(&named, ClientUser::AlternativeName).as_deref(), Some("urn:pump:3"));
        assert_eq!(name_in(&named, ClientUser::None), None);
        for nameless in [
            certificate(None, vec![address]),
            certificate(Some(""), vec![]),
            certificate(Some("a\u{7}"), vec![SanType::DnsName(text(""))]),
        ] {
            for user in [ClientUser::CommonName, ClientUser::AlternativeName] {
                assert_eq!(name_in(&nameless, user), None);
            }
        }
        assert_eq!(name_in(&CertificateDer::from(vec![0x30, 0x80]), ClientUser::CommonName), None);
    }
}
