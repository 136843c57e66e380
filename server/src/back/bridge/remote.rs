//! The way to the broker: addresses, TCP, TLS, and who the bridge says it is.
//!
//! Must not know packets behind CONNACK. Start at [`open`].

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use wire::mqtt::Version;

use super::failure::Failure;
use super::handshake::{Hello, Stream, Welcome, greet};
use super::topics::Side;
use crate::config::{Bridge, BridgePassword, BridgeUrl, BridgeVersion};

/// Where distributions keep the certificates of authorities, the first one that is there.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A broker that has let the bridge in.
pub(super) struct Remote {
    pub(super) stream: Box<dyn Stream>,
    pub(super) welcome: Welcome,
    /// What it said behind that.
    pub(super) rest: Vec<u8>,
}

/// Connects, within the time that it may take.
///
/// # Errors
/// Why there is no connection.
pub(super) async fn open(config: &Bridge, client_id: &str, packet_bytes_max: u32) -> Result<Remote, Failure> {
    let wait = Duration::from_millis(config.connect_timeout_ms);
    let connecting = connect((config, wait), client_id, packet_bytes_max);
    tokio::time::timeout(wait, connecting).await.map_err(|_| Failure::Late(Side::Remote))?
}

async fn connect(
    (config, wait): (&Bridge, Duration),
    client_id: &str,
    packet_bytes_max: u32,
) -> Result<Remote, Failure> {
    let password = password(config.password.as_ref()).await?;
    let mut stream = dial(&config.url, config.ca_file.as_deref(), wait).await?;
    let hello = Hello {
        version: version(config),
        is_bridge: true,
        clean_start: config.clean_start,
        keep_alive_seconds: config.keep_alive_seconds,
        client_id,
        user: config.user.as_ref().map(|user| user.as_str()),
        password: password.as_deref(),
        session_expiry_seconds: config.session_expiry_seconds,
        receive_maximum: config.receive_maximum,
        packet_bytes_max,
    };
    let (welcome, rest) = greet(&mut stream, Side::Remote, &hello).await?;
    Ok(Remote { stream, welcome, rest })
}

/// What the broker speaks.
pub(super) fn version(config: &Bridge) -> Version {
    match config.version {
        BridgeVersion::V5 => Version::V5,
        BridgeVersion::V311 => Version::V3,
    }
}

async fn password(password: Option<&BridgePassword>) -> Result<Option<Vec<u8>>, Failure> {
    match password {
        None => Ok(None),
        Some(BridgePassword::Text(text)) => Ok(Some(text.expose().as_bytes().to_vec())),
        Some(BridgePassword::File(path)) => {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
            let read = read.map_err(std::io::Error::other).and_then(|read| read);
            let mut bytes = read.map_err(Failure::Password)?;
            for end in [b'\n', b'\r'] {
                bytes.pop_if(|last| *last == end);
            }
            Ok(Some(bytes))
        }
    }
}

async fn dial(url: &BridgeUrl, ca_file: Option<&Path>, wait: Duration) -> Result<Box<dyn Stream>, Failure> {
    let socket = first_that_answers(url, wait).await?;
    // Packets are written whole, so there is nothing to wait for (RFC 896).
    socket.set_nodelay(true).map_err(Failure::Dial)?;
    if !url.is_secure {
        return Ok(Box::new(socket));
    }
    let authorities = ca_file.map(Path::to_path_buf);
    let config = tokio::task::spawn_blocking(move || tls(authorities)).await;
    let config = config.map_err(|error| Failure::Tls(error.to_string()))?.map_err(Failure::Tls)?;
    let name = ServerName::try_from(url.host.clone()).map_err(|error| Failure::Tls(error.to_string()))?;
    let secured = TlsConnector::from(config).connect(name, socket).await;
    Ok(Box::new(secured.map_err(|error| Failure::Tls(error.to_string()))?))
}

/// One that says nothing does not keep the others from being tried: each has its part of the time.
async fn first_that_answers(url: &BridgeUrl, wait: Duration) -> Result<TcpStream, Failure> {
    let addresses = tokio::net::lookup_host((url.host.as_str(), url.port)).await.map_err(Failure::Dial)?;
    let addresses: Vec<SocketAddr> = addresses.collect();
    let part = wait / u32::try_from(addresses.len().max(1)).unwrap_or(1);
    let mut last = Failure::NoAddress;
    for address in addresses {
        match tokio::time::timeout(part, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => last = Failure::Dial(error),
            Err(_) => last = Failure::Late(Side::Remote),
        }
    }
    Err(last)
}

fn tls(authorities: Option<PathBuf>) -> Result<Arc<ClientConfig>, String> {
    let is_system = authorities.is_none();
    let known = || AUTHORITIES.iter().find(|path| Path::new(path).exists()).map(PathBuf::from);
    let path = authorities.or_else(known).ok_or("no certificates of authorities are installed")?;
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&path).map_err(|error| failed(&error))? {
        let added = roots.add(certificate.map_err(|error| failed(&error))?);
        // A system may have authorities that this library does not take; the others do.
        if !is_system {
            added.map_err(|error| failed(&error))?;
        }
    }
    if roots.is_empty() {
        return Err(failed(&"there is no certificate in it"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.map_err(|error| failed(&error))?.with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::new(config))
}
