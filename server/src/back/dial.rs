//! The way out to other servers: names to addresses, TCP, TLS.
//!
//! Must not know what is spoken there. Start at [`connect`].

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A connection, with TLS or without.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum DialError {
    /// The name has no address, or none that may be used.
    NoAddress,
    /// Names or TCP.
    Io(io::Error),
    /// No address answered in time.
    Late,
    /// TLS.
    Tls(String),
}

/// Connects to a host by the first of its addresses that may be used and answers. One that says nothing does not keep the
/// others from being tried: each has its part of the time.
///
/// # Errors
/// [`DialError`].
pub(crate) async fn connect(
    (host, port): (&str, u16),
    wait: Duration,
    may_use: impl Fn(IpAddr) -> bool,
) -> Result<TcpStream, DialError> {
    let addresses = tokio::net::lookup_host((host, port)).await.map_err(DialError::Io)?;
    let addresses: Vec<SocketAddr> = addresses.filter(|address| may_use(address.ip())).collect();
    let part = wait / u32::try_from(addresses.len().max(1)).unwrap_or(1);
    let mut last = DialError::NoAddress;
    for address in addresses {
        match tokio::time::timeout(part, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                // What is sent is written whole, so there is nothing to wait for (RFC 896).
                socket.set_nodelay(true).map_err(DialError::Io)?;
                return Ok(socket);
            }
            Ok(Err(error)) => last = DialError::Io(error),
            Err(_) => last = DialError::Late,
        }
    }
    Err(last)
}

/// TLS on top of that.
///
/// # Errors
/// [`DialError::Tls`].
pub(crate) async fn secure(
    config: Arc<ClientConfig>,
    host: &str,
    socket: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, DialError> {
    let fails = |error: &dyn std::fmt::Display| DialError::Tls(error.to_string());
    let name = ServerName::try_from(host.to_owned()).map_err(|error| fails(&error))?;
    TlsConnector::from(config).connect(name, socket).await.map_err(|error| fails(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const WAIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_name_is_not_connected_to_where_none_of_its_addresses_may_be_used() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["localhost", "127.0.0.1"] {
            let refused = connect((host, port), WAIT, |_| false).await;
            assert!(matches!(refused, Err(DialError::NoAddress)), "{host}: {refused:?}");
        }
        connect(("localhost", port), WAIT, |address| address.is_loopback()).await.unwrap();
        let (_, first) = listener.accept().await.unwrap();
        assert!(first.ip().is_loopback());
        let another = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
        assert!(another.is_err(), "nobody else came");
    }
}
