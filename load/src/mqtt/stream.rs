//! The bytes of one connection, whatever lies between them and the socket: TLS, WebSocket, both or nothing.
//!
//! Owns the socket and how long reading may take. Must not know packets. Start at [`Stream::open`].

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{Address, Framing};
use crate::error::Error;

/// Where distributions keep the certificates of authorities, the first one that is there.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Bytes of one read.
const READ_BYTES: usize = 64 << 10;

/// Whom a client believes that a server is who it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Certificates of authorities, in PEM form; without it those of the system.
    pub authorities: Option<PathBuf>,
}

/// One connection.
pub(super) struct Stream {
    carrier: Carrier,
    framing: Option<Framing>,
    /// Received and not yet given on; of WebSocket what is no whole frame.
    raw: Vec<u8>,
    address: Address,
}

enum Carrier {
    Plain(TcpStream),
    Secure(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// Connects, up to where packets can be said.
    pub(super) fn open(address: &Address, trust: &Trust, until: Instant) -> Result<Self, Error> {
        let socket = connect(address, until)?;
        socket.set_nodelay(true).map_err(|error| Error::io(address, &error))?;
        let carrier = match address.is_secure {
            false => Carrier::Plain(socket),
            true => Carrier::Secure(Box::new(secure(address, trust, socket)?)),
        };
        let mut stream = Self { carrier, framing: None, raw: Vec::new(), address: address.clone() };
        if address.is_websocket {
            let mut request = Vec::new();
            let framing = Framing::begin((&address.authority(), &address.path), 0, &mut request);
            stream.framing = Some(framing);
            stream.write(&request)?;
            while stream.framing.as_ref().is_some_and(|framing| !framing.is_open()) {
                if !stream.read(until)? {
                    return Err(Error::new(format!("{address}: no answer to the upgrade request")));
                }
            }
        }
        Ok(stream)
    }

    /// What has come of packets.
    pub(super) fn packets(&self) -> &[u8] {
        self.framing.as_ref().map_or(&self.raw, |framing| &framing.held)
    }

    /// So many bytes of them are dealt with.
    pub(super) fn release(&mut self, bytes: usize) {
        match &mut self.framing {
            Some(framing) => framing.release(bytes),
            None => drop(self.raw.drain(..bytes)),
        }
    }

    /// Says packets.
    pub(super) fn say(&mut self, packets: &[u8]) -> Result<(), Error> {
        let Some(framing) = &self.framing else { return self.write(packets) };
        let mut out = Vec::new();
        framing.say(packets, &mut out);
        self.write(&out)
    }

    /// Waits for bytes; false if none came in time.
    pub(super) fn read(&mut self, until: Instant) -> Result<bool, Error> {
        let wait = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let tried = |error: &std::io::Error| Error::io(&self.address, error);
        self.carrier.socket().set_read_timeout(Some(wait)).map_err(|error| tried(&error))?;
        let mut buf = vec![0; READ_BYTES];
        let read = match self.carrier.read(&mut buf) {
            Ok(0) => return Err(Error::new(format!("{}: the server closed the connection", self.address))),
            Ok(read) => read,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => return Ok(false),
                ErrorKind::UnexpectedEof => {
                    return Err(Error::new(format!("{}: the server closed the connection", self.address)));
                }
                _ => return Err(tried(&error)),
            },
        };
        self.raw.extend_from_slice(buf.get(..read).unwrap_or_default());
        if let Some(framing) = &mut self.framing {
            let mut control = Vec::new();
            let outcome = framing.received(&mut self.raw, &mut control);
            let consumed = outcome.map_err(|text| Error::new(format!("{}: {text}", self.address)))?;
            self.raw.drain(..consumed);
            self.write(&control)?;
        }
        Ok(true)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.carrier.write_all(bytes).and_then(|()| self.carrier.flush());
        written.map_err(|error| Error::io(&self.address, &error))
    }
}

impl Carrier {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Secure(stream) => stream.get_ref(),
        }
    }
}

impl Read for Carrier {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buf),
            Self::Secure(stream) => stream.read(buf),
        }
    }
}

impl Write for Carrier {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(buf),
            Self::Secure(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Secure(stream) => stream.flush(),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Carrier::Secure(stream) = &mut self.carrier {
            stream.conn.send_close_notify();
            // Whoever does not hear the goodbye sees the end.
            let _ = stream.flush();
        }
    }
}

/// The first address of the host that answers.
fn connect(address: &Address, until: Instant) -> Result<TcpStream, Error> {
    let found = (address.host.as_str(), address.port).to_socket_addrs();
    let mut last = None;
    for socket in found.map_err(|error| Error::io(address, &error))? {
        let wait = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&socket, wait) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        Some(error) => Error::io(format!("no server answers at {address}"), &error),
        None => Error::new(format!("{address}: the host has no address")),
    })
}

fn secure(
    address: &Address,
    trust: &Trust,
    socket: TcpStream,
) -> Result<StreamOwned<ClientConnection, TcpStream>, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::new(format!("{address}: TLS: {error}"));
    let config = trust.client_config()?;
    let name = ServerName::try_from(address.host.clone()).map_err(|error| failed(&error))?;
    let connection = ClientConnection::new(config, name).map_err(|error| failed(&error))?;
    Ok(StreamOwned::new(connection, socket))
}

impl Trust {
    /// TLS for connections to such servers. It reads files, so it blocks.
    ///
    /// # Errors
    /// The certificates cannot be read or used, or there are none.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Error::new(format!("TLS: {error}")))?;
        Ok(Arc::new(builder.with_root_certificates(self.roots()?).with_no_client_auth()))
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let path = match &self.authorities {
            Some(path) => path.clone(),
            None => {
                let known = AUTHORITIES.iter().find(|path| Path::new(path).exists());
                let known =
                    known.ok_or_else(|| Error::new("no certificates of authorities are installed"))?;
                PathBuf::from(known)
            }
        };
        let failed = |error: &dyn std::fmt::Display| Error::new(format!("{}: {error}", path.display()));
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(&path).map_err(|error| failed(&error))? {
            // A system may have authorities that this library does not take; the others do.
            let added = roots.add(certificate.map_err(|error| failed(&error))?);
            if self.authorities.is_some() {
                added.map_err(|error| failed(&error))?;
            }
        }
        match roots.is_empty() {
            true => Err(failed(&"there is no certificate in it")),
            false => Ok(roots),
        }
    }
}
