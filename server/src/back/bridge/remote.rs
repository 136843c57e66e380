//! The way to the broker: addresses, TCP, TLS, and who the bridge says it is.
//!
//! Must not know packets behind CONNACK. Start at [`open`].

use std::path::Path;
use std::time::Duration;

use load::mqtt::Trust;
use wire::mqtt::Version;

use super::failure::Failure;
use super::handshake::{Hello, Welcome, greet};
use super::topics::Side;
use crate::back::dial::{self, DialError, Stream};
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
    let socket = dial::connect((url.host.as_str(), url.port), wait, |_| true).await.map_err(failure)?;
    if !url.is_secure {
        return Ok(Box::new(socket));
    }
    let trust = Trust { authorities: ca_file.map(Path::to_path_buf) };
    let config = tokio::task::spawn_blocking(move || trust.client_config()).await;
    let failed = |error: &dyn std::fmt::Display| Failure::Tls(error.to_string());
    let config = config.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    Ok(Box::new(dial::secure(config, &url.host, socket).await.map_err(failure)?))
}

fn failure(error: DialError) -> Failure {
    match error {
        DialError::NoAddress => Failure::NoAddress,
        DialError::Io(error) => Failure::Dial(error),
        DialError::Late => Failure::Late(Side::Remote),
        DialError::Tls(text) => Failure::Tls(text),
    }
}
