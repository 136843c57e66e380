//! The way to the broker: addresses, TCP, TLS, and who the bridge says it is.
//!
//! Must not know packets behind CONNACK. Start at [`open`].

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use load::mqtt::Trust;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use wire::mqtt::Version;

use super::failure::Failure;
use super::handshake::{Hello, Stream, Welcome, greet};
use super::topics::Side;
use crate::config::{Bridge, BridgePassword, BridgeUrl, BridgeVersion};

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
    let failed = |error: &dyn std::fmt::Display| Failure::Tls(error.to_string());
    let trust = Trust { authorities: ca_file.map(Path::to_path_buf) };
    let config = tokio::task::spawn_blocking(move || trust.client_config()).await;
    let config = config.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    let name = ServerName::try_from(url.host.clone()).map_err(|error| failed(&error))?;
    let secured = TlsConnector::from(config).connect(name, socket).await;
    Ok(Box::new(secured.map_err(|error| failed(&error))?))
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
