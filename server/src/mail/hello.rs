//! What clients say of themselves before they are let in, and how they came. Data only.

use bytes::Bytes;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// What a client says that wants to connect.
#[derive(Debug)]
pub enum Hello {
    /// CONNECT of Socket.IO.
    SocketIo {
        /// The namespace that it wants to join.
        namespace: Arc<str>,
        /// Its payload: JSON text of an object.
        auth: Option<Bytes>,
    },
    /// CONNECT of MQTT.
    Mqtt(Box<MqttHello>),
    /// A request for a stream.
    Stream(Box<StreamHello>),
}

/// A request for a stream.
#[derive(Debug)]
pub struct StreamHello {
    /// `sse`, `ndjson`, `poll` or `websocket`.
    pub protocol: &'static str,
    /// Channels and filters that it names; none: those of its user.
    pub channels: Vec<String>,
}

/// CONNECT of MQTT.
#[derive(Debug)]
pub struct MqttHello {
    /// Its own, or the one that it is to be given.
    pub client_id: Arc<str>,
    /// As it is there.
    pub user_name: Option<Box<str>>,
    /// As it is there.
    pub password: Option<Hidden>,
    /// Clean Start; Clean Session in version 3.
    pub clean_start: bool,
    /// `3.1`, `3.1.1` or `5`.
    pub version: &'static str,
    /// Of the client's certificate, which was verified.
    pub certificate: Option<Certified>,
    /// Of version 5, in their order.
    pub user_properties: Vec<(Box<str>, Box<str>)>,
}

/// What a verified certificate says of its client.
#[derive(Debug)]
pub struct Certified {
    /// The subject, as RFC 4514 writes it.
    pub subject: String,
    /// The user that it is taken for (`mqtt.tls_client_user`).
    pub user: Option<Arc<str>>,
}

/// Bytes that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub Bytes);

impl fmt::Debug for Hidden {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Hidden(..)")
    }
}

/// What a client's token says of it.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Whose it is.
    pub user: Option<Arc<str>>,
    /// For the back end, which gets it back with every event.
    pub state: Option<Box<str>>,
}

impl Handshake {
    /// What it holds, with what is behind it.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let pair = |pair: &(Box<str>, Box<str>)| size_of_val(pair) + pair.0.len() + pair.1.len();
        size_of::<Self>() + self.query.iter().chain(&self.headers).map(pair).sum::<usize>()
    }
}

impl Hello {
    pub(super) fn len_bytes(&self) -> usize {
        match self {
            Self::Stream(hello) => hello.len_bytes(),
            Self::SocketIo { namespace, auth } => namespace.len() + auth.as_ref().map_or(0, Bytes::len),
            Self::Mqtt(hello) => {
                let pairs = hello.user_properties.iter().map(|(name, value)| name.len() + value.len());
                let password = hello.password.as_ref().map_or(0, |password| password.0.len());
                let name = hello.user_name.as_ref().map_or(0, |name| name.len());
                size_of::<MqttHello>() + hello.client_id.len() + name + password + pairs.sum::<usize>()
            }
        }
    }
}

impl StreamHello {
    fn len_bytes(&self) -> usize {
        let names: usize = self.channels.iter().map(|channel| size_of::<String>() + channel.len()).sum();
        size_of::<Self>() + names
    }
}

/// Facts of a connection's first request that the application may see. Kept as long as the connection, so it holds
/// only the application's own query parameters and the allow-listed headers.
#[derive(Debug, Default)]
pub struct Handshake {
    /// Percent-decoded, engine parameters (`EIO`, `transport`, `sid`, `t`, `b64`, `j`) left out.
    pub query: Vec<(Box<str>, Box<str>)>,
    /// Lower-case names.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The peer.
    pub remote: Option<SocketAddr>,
    /// TLS on this connection.
    pub secure: bool,
}
