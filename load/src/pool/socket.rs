//! The socket of a client, with or without TLS around what it says.
//!
//! Owns the handshake and what waits encrypted. Certificates are not checked: the generator measures, and trusts nobody with
//! anything. Sessions are not resumed, as those of so many devices that come for the first time are not. Must not know what is
//! said. Start at [`Socket::new`].

use std::io::{Error, ErrorKind, Read as _, Result, Write as _};
use std::sync::{Arc, OnceLock};

use mio::net::TcpStream;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

use crate::target::Target;

/// A connected or connecting socket.
#[derive(Debug)]
pub(super) enum Socket {
    /// What is said is what the kernel gets.
    Plain(TcpStream),
    /// TLS lies between.
    Secure(Box<Secure>),
}

/// A socket with TLS.
#[derive(Debug)]
pub(super) struct Secure {
    tcp: TcpStream,
    tls: ClientConnection,
}

impl Socket {
    /// For what is spoken at `target`.
    pub(super) fn new(tcp: TcpStream, target: &Target) -> Result<Self> {
        if !target.is_secure {
            return Ok(Self::Plain(tcp));
        }
        let tls = ClientConnection::new(config(), name(target)).map_err(Error::other)?;
        Ok(Self::Secure(Box::new(Secure { tcp, tls })))
    }

    /// What the poll watches.
    pub(super) fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Secure(secure) => &mut secure.tcp,
        }
    }

    /// As `TcpStream::read`.
    pub(super) fn read(&mut self, space: &mut [u8]) -> Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(space),
            Self::Secure(secure) => secure.read(space),
        }
    }

    /// Whether a read of less than there is space for means that nothing more is there.
    pub(super) fn tells_by_short_reads(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// As `TcpStream::write`; with TLS what is taken may still wait here.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Secure(secure) => secure.write(bytes),
        }
    }

    /// Gives the kernel what waits here, as far as it takes it.
    pub(super) fn flush(&mut self) -> Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Secure(secure) => secure.drain().or_else(wait),
        }
    }

    /// Whether nothing waits here.
    pub(super) fn is_flushed(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Secure(secure) => !secure.tls.wants_write(),
        }
    }
}

impl Secure {
    fn read(&mut self, space: &mut [u8]) -> Result<usize> {
        loop {
            match self.tls.reader().read(space) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                told => return told,
            }
            if self.tls.read_tls(&mut self.tcp)? == 0 {
                return Ok(0);
            }
            let processed = self.tls.process_new_packets();
            // The answer of the handshake, what waited for its end, or why it fails.
            self.drain().or_else(wait)?;
            processed.map_err(|error| Error::new(ErrorKind::InvalidData, format!("TLS: {error}")))?;
        }
    }

    /// Takes more only when the kernel has what was taken before.
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.drain()?;
        match self.tls.writer().write(bytes)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            taken => self.drain().or_else(wait).map(|()| taken),
        }
    }

    fn drain(&mut self) -> Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.tcp)?;
        }
        Ok(())
    }
}

/// An error that only means "later" is none.
fn wait(error: Error) -> Result<()> {
    if error.kind() == ErrorKind::WouldBlock { Ok(()) } else { Err(error) }
}

/// The host as it was written, or its address where that is no name.
fn name(target: &Target) -> ServerName<'static> {
    let host = target.host.rsplit_once(':').map_or(target.host.as_str(), |(host, _port)| host);
    ServerName::try_from(host.to_owned()).unwrap_or_else(|_| ServerName::from(target.address.ip()))
}

/// One for all connections of a process.
fn config() -> Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let make = || {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder =
            builder.with_safe_default_protocol_versions().expect("the provider has the usual suites");
        let verifier = Arc::new(Unchecked(provider));
        let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        config.resumption = Resumption::disabled();
        Arc::new(config)
    };
    Arc::clone(CONFIG.get_or_init(make))
}

/// Takes any certificate whose key the server has.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
