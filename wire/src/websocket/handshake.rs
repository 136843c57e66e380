//! The opening handshake (RFC 6455 section 4), both sides.
//!
//! Owns what makes an upgrade valid and its bytes. Must not know about origins, routes or sessions: the caller checks
//! those before it answers. Start at [`accept`] on a server, [`write_upgrade_request`] on a client.

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};

use crate::http::{BodyLength, Fields, Head, Request, ResponseHead, write_request};

/// Appended to the key before hashing (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why an upgrade is refused, on either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The request does not ask for `websocket` in `Upgrade` and `Connection`.
    NotUpgrade,
    /// The method is not GET.
    Method,
    /// HTTP/1.0 cannot upgrade.
    HttpVersion,
    /// The request has a body.
    Body,
    /// `Sec-WebSocket-Version` is not 13.
    Version,
    /// `Sec-WebSocket-Key` is missing, repeated or not 16 bytes in base64.
    Key,
    /// Client side: the server answered something else than 101.
    Status,
    /// Client side: `Sec-WebSocket-Accept` does not prove that the server saw the key.
    AcceptKey,
    /// Client side: the server chose an extension nobody offered.
    Extension,
}

impl HandshakeError {
    /// Status code of the refusal; 502 for what only a client can find.
    pub fn status(self) -> u16 {
        match self {
            Self::NotUpgrade | Self::Version => 426,
            Self::Method => 405,
            Self::HttpVersion | Self::Body | Self::Key => 400,
            Self::Status | Self::AcceptKey | Self::Extension => 502,
        }
    }

    /// One line for the author of the peer.
    pub fn text(self) -> &'static str {
        match self {
            Self::NotUpgrade => "an upgrade to websocket is required",
            Self::Method => "a WebSocket upgrade must be a GET",
            Self::HttpVersion => "a WebSocket upgrade needs HTTP/1.1",
            Self::Body => "a WebSocket upgrade has no body",
            Self::Version => "only WebSocket version 13 is supported",
            Self::Key => "Sec-WebSocket-Key must be 16 bytes in base64",
            Self::Status => "the server did not switch protocols",
            Self::AcceptKey => "wrong Sec-WebSocket-Accept",
            Self::Extension => "the server chose an extension that was not offered",
        }
    }

    /// Header fields of the refusal that say what is wanted (RFC 9110 sections 15.5.6 and 15.5.22, RFC 6455 section 4.4).
    pub fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Version => &[("upgrade", "websocket"), ("sec-websocket-version", "13")],
            Self::NotUpgrade => &[("upgrade", "websocket")],
            Self::Method => &[("allow", "GET")],
            _ => &[],
        }
    }
}

impl std::fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for HandshakeError {}

/// A valid upgrade request, to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    key: String,
}

/// Checks an upgrade request (RFC 6455 section 4.2.1). Offered extensions are ignored, which refuses them.
///
/// # Errors
/// [`HandshakeError`]; answer with its status, text and fields.
pub fn accept(head: &Head<'_>) -> Result<Accept, HandshakeError> {
    if !head.websocket {
        return Err(HandshakeError::NotUpgrade);
    }
    if head.method != "GET" {
        return Err(HandshakeError::Method);
    }
    if head.minor == 0 {
        return Err(HandshakeError::HttpVersion);
    }
    if !matches!(head.body, BodyLength::None | BodyLength::Length(0)) {
        return Err(HandshakeError::Body);
    }
    if only(&head.fields, "sec-websocket-version") != Some(b"13") {
        return Err(HandshakeError::Version);
    }
    let key = only(&head.fields, "sec-websocket-key").filter(|key| is_key(key)).ok_or(HandshakeError::Key)?;
    Ok(Accept { key: accept_key(key) })
}

impl Accept {
    /// Appends the 101 response, with `subprotocol` if the caller chose one of [`subprotocols`].
    pub fn respond(&self, subprotocol: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n",
        );
        out.extend_from_slice(b"sec-websocket-accept: ");
        out.extend_from_slice(self.key.as_bytes());
        out.extend_from_slice(b"\r\n");
        if let Some(subprotocol) = subprotocol {
            crate::http::push_field(out, "sec-websocket-protocol", subprotocol);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// The subprotocols a client offers, in its order of preference.
pub fn subprotocols<'s>(head: &'s Head<'_>) -> impl Iterator<Item = &'s str> {
    head.fields.list("sec-websocket-protocol").filter_map(|name| str::from_utf8(name).ok())
}

/// The subprotocol to answer with: the first of the client's that is in `spoken` (RFC 6455 section 4.2.2, compared byte by
/// byte). `None`: the client offers none of them; whoever needs one refuses with 400.
pub fn choose_subprotocol<'s>(head: &Head<'_>, spoken: &[&'s str]) -> Option<&'s str> {
    subprotocols(head).find_map(|offered| spoken.iter().copied().find(|name| *name == offered))
}

/// The value of a field that must stand exactly once.
fn only<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a [u8]> {
    let mut values = fields.values(name);
    values.next().filter(|_| values.next().is_none())
}

/// Sixteen bytes in base64, by its characters: the spare bits of the last one are not looked at, as some clients
/// fill them.
fn is_key(key: &[u8]) -> bool {
    let alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.strip_suffix(b"==").is_some_and(|digits| digits.len() == 22 && digits.iter().all(alphabet))
}

/// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`: 28 characters.
pub fn accept_key(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// A `Sec-WebSocket-Key` of 16 random bytes: 24 characters.
pub fn client_key(nonce: [u8; 16]) -> String {
    STANDARD.encode(nonce)
}

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct UpgradeRequest<'a> {
    /// Path and query, percent-encoded.
    pub target: &'a str,
    /// Value of `host`.
    pub host: &'a str,
    /// From [`client_key`].
    pub key: &'a str,
    /// Further fields, for example `origin` or `sec-websocket-protocol`.
    pub headers: &'a [(&'a str, &'a str)],
}

/// Appends the upgrade request of a client.
pub fn write_upgrade_request(out: &mut Vec<u8>, request: &UpgradeRequest<'_>) {
    let &UpgradeRequest { target, host, key, headers } = request;
    let own = [
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", key),
    ];
    let headers = [&own, headers].concat();
    write_request(out, &Request { method: "GET", target, host, headers: &headers, body: None });
}

/// Checks the server's answer to an upgrade request sent with `key` (RFC 6455 section 4.1).
///
/// # Errors
/// [`HandshakeError`]; the connection is of no use then.
pub fn check_response(head: &ResponseHead<'_>, key: &str) -> Result<(), HandshakeError> {
    if head.status != 101 {
        return Err(HandshakeError::Status);
    }
    if !head.fields.list_has("upgrade", "websocket") || !head.fields.list_has("connection", "upgrade") {
        return Err(HandshakeError::NotUpgrade);
    }
    if only(&head.fields, "sec-websocket-accept") != Some(accept_key(key.as_bytes()).as_bytes()) {
        return Err(HandshakeError::AcceptKey);
    }
    if head.fields.first("sec-websocket-extensions").is_some() {
        return Err(HandshakeError::Extension);
    }
    Ok(())
}
