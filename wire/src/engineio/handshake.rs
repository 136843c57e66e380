//! The handshake: what an open packet says, and every way a request is refused before there is a session.
//!
//! Owns the JSON of both. Must not know requests: the server reads the query and chooses the error.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde_json::json;

use crate::values::push_quoted;

/// Transports a client may move to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrades {
    /// `[]`: already on a WebSocket, or upgrades are switched off.
    None,
    /// `["websocket"]`.
    WebSocket,
}

/// The content of the open packet. Times in milliseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake<'a> {
    /// Secret name of the Engine.IO session: whoever has it has the connection. Never in logs.
    pub sid: Cow<'a, str>,
    /// Where the client may upgrade to.
    pub upgrades: Upgrades,
    /// Time between heartbeats.
    pub ping_interval_ms: u64,
    /// Time the other side has to answer a heartbeat.
    pub ping_timeout_ms: u64,
    /// Largest body of a POST. Servers of revision 3 may leave it out; ours always send it.
    pub max_payload_bytes: Option<u64>,
}

/// JSON as servers write it; unknown keys are skipped.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(borrow)]
    sid: Cow<'a, str>,
    #[serde(default, borrow)]
    upgrades: Vec<Cow<'a, str>>,
    ping_interval: u64,
    ping_timeout: u64,
    max_payload: Option<u64>,
}

impl<'a> Handshake<'a> {
    /// Appends the JSON with the keys `sid`, `upgrades`, `pingInterval`, `pingTimeout`, `maxPayload`, in this order
    /// and no other; it is the data of [`super::Packet::Open`].
    pub fn write_json(&self, out: &mut String) {
        let upgrades = match self.upgrades {
            Upgrades::None => "[]",
            Upgrades::WebSocket => "[\"websocket\"]",
        };
        out.push_str("{\"sid\":");
        push_quoted(&self.sid, out);
        out.push_str(&format!(
            ",\"upgrades\":{upgrades},\"pingInterval\":{},\"pingTimeout\":{}",
            self.ping_interval_ms, self.ping_timeout_ms
        ));
        if let Some(bytes) = self.max_payload_bytes {
            out.push_str(&format!(",\"maxPayload\":{bytes}"));
        }
        out.push('}');
    }

    /// Reads the data of an open packet, as a client does.
    ///
    /// # Errors
    /// The JSON is broken, or a key other than `upgrades` and `maxPayload` is missing.
    pub fn parse(json: &'a str) -> Result<Self, serde_json::Error> {
        let wire: Wire<'a> = serde_json::from_str(json)?;
        let websocket = wire.upgrades.iter().any(|name| name == "websocket");
        Ok(Self {
            sid: wire.sid,
            upgrades: if websocket { Upgrades::WebSocket } else { Upgrades::None },
            ping_interval_ms: wire.ping_interval,
            ping_timeout_ms: wire.ping_timeout,
            max_payload_bytes: wire.max_payload,
        })
    }
}

/// Every refusal of an Engine.IO request; code and message are those of the reference server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandshakeError {
    /// `transport` is missing or unknown.
    UnknownTransport,
    /// No session has this `sid`.
    UnknownSid,
    /// A handshake by another method than GET.
    BadHandshakeMethod,
    /// A WebSocket transport without upgrade, another transport than the session's, a second poll, a bad Origin.
    BadRequest,
    /// Refused by an admission rule or by the back end.
    Forbidden,
    /// `EIO` is missing or not served.
    UnsupportedVersion,
}

impl HandshakeError {
    /// All of them, in order of their codes.
    pub const ALL: [Self; 6] = [
        Self::UnknownTransport,
        Self::UnknownSid,
        Self::BadHandshakeMethod,
        Self::BadRequest,
        Self::Forbidden,
        Self::UnsupportedVersion,
    ];

    /// Number in the JSON body.
    pub const fn code(self) -> u8 {
        self.row().0
    }

    /// Text in the JSON body.
    pub const fn message(self) -> &'static str {
        self.row().1
    }

    /// Status of the HTTP answer.
    pub const fn http_status(self) -> u16 {
        self.row().2
    }

    /// When it happens, for the generated reference.
    pub const fn doc(self) -> &'static str {
        self.row().3
    }

    /// Body of the answer, `application/json`.
    pub fn json_body(self) -> String {
        self.json_body_with(self.message())
    }

    /// The body with another message: an admission rule gives its reason with [`Self::Forbidden`].
    pub fn json_body_with(self, message: &str) -> String {
        format!("{{\"code\":{},\"message\":{}}}", self.code(), json!(message))
    }

    const fn row(self) -> (u8, &'static str, u16, &'static str) {
        match self {
            Self::UnknownTransport => (0, "Transport unknown", 400, "`transport` is missing or unknown"),
            Self::UnknownSid => {
                (1, "Session ID unknown", 400, "no session has this `sid`; make a new handshake")
            }
            Self::BadHandshakeMethod => (2, "Bad handshake method", 400, "a handshake must be a GET"),
            Self::BadRequest => (
                3,
                "Bad request",
                400,
                "wrong transport for this session, no upgrade header, or Origin not allowed",
            ),
            Self::Forbidden => (4, "Forbidden", 403, "refused by an admission rule or by the back end"),
            Self::UnsupportedVersion => {
                (5, "Unsupported protocol version", 400, "`EIO` is missing or this revision is not served")
            }
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for HandshakeError {}
