//! Authentication by a method (MQTT 5.0, 4.12): before a client is let in, and again while it is connected.
//!
//! Owns which AUTH may come when, and the exchanges of connections that are not let in yet. Must not know what the method
//! says (`scram`) nor how a client is let in. Start at [`Mqtt::challenge`].
//!
//! ```text
//! CONNECT ──another method──> CONNACK 8C
//!    └──> AUTH 18 to the client
//!           ├──AUTH 18 with a proof──> CONNACK 00 with the server's proof
//!           ├──AUTH 18 that proves nothing──> CONNACK 86, or 87 if it is not of the method
//!           ├──DISCONNECT, or `limits.head_timeout_ms` after the connection began──> closed
//!           └──anything else──> CONNACK 82
//! let in ──AUTH 19──> AUTH 18 to the client ──AUTH 18 with a proof──> AUTH 00
//!           └──either of them of no use──> DISCONNECT 87
//! ```

use std::collections::{HashMap, VecDeque};

use hub::{Millis, Reason};
use wire::mqtt::{
    Auth, ClientPacket, Connect, Encoder, Error, Frame, Property, PropertyBuf, ReasonCode, Value, Version,
    decode_client, frame,
};

use super::Mqtt;
use super::access::Identity;
use super::connect::{Begun, Proof};
use super::scram::{Exchange, Failure, METHOD, Proven};
use crate::shard::{ConnKey, Cx};

/// A last message of the method with the longest nonce, and some user properties.
const AUTH_BYTES_MAX: u32 = 16_384;

/// Exchanges of connections that are not let in. Nobody tells when such a connection ends, but none lasts longer than its
/// time-out.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    open: HashMap<ConnKey, Exchange>,
    /// When each began, oldest first; those that are over among them.
    begun: VecDeque<(Millis, ConnKey)>,
}

impl Exchanges {
    pub(super) fn is_open(&self, conn: ConnKey) -> bool {
        self.open.contains_key(&conn)
    }

    /// Takes one in, in the place of those that began before `since`; at the limit of the oldest.
    fn insert(&mut self, (since, now): (Millis, Millis), conn: ConnKey, exchange: Exchange, most: usize) {
        while let Some((at, old)) = self.begun.front() {
            if *at >= since && self.open.len() < most && self.open.contains_key(old) {
                break;
            }
            self.open.remove(old);
            self.begun.pop_front();
        }
        if self.begun.len() > 2 * most {
            let open = &self.open;
            self.begun.retain(|(_, conn)| open.contains_key(conn));
        }
        self.open.insert(conn, exchange);
        self.begun.push_back((now, conn));
    }

    fn take(&mut self, conn: ConnKey) -> Option<Exchange> {
        let exchange = self.open.remove(&conn);
        if self.open.is_empty() {
            *self = Self::default();
        }
        exchange
    }
}

impl Mqtt {
    /// A client wants to prove who it is: it gets the method's first answer. Its CONNECT is left unread, and so kept by its
    /// connection and within its limits, until the client has said more.
    pub(super) fn challenge(&mut self, cx: &mut Cx<'_>, conn: ConnKey, connect: &Connect<'_>) -> Begun {
        let method = connect.properties.authentication_method();
        let Some(scram) = self.scram.as_ref().filter(|_| method == Some(METHOD)) else {
            return self.turn_down(cx, conn, (ReasonCode::BadAuthenticationMethod, None));
        };
        let data = connect.properties.authentication_data().unwrap_or_default();
        let Ok((exchange, answer)) = scram.begin(data, cx.io.random()) else {
            return self.turn_down(cx, conn, (ReasonCode::NotAuthorized, None));
        };
        let (limits, now) = (&self.config.limits, cx.io.now());
        let since = Millis(now.0.saturating_sub(limits.head_timeout_ms));
        self.exchanges.insert((since, now), conn, exchange, limits.half_open_max);
        let encoder = Encoder::for_client(connect);
        if !self.put_auth(cx, conn, &encoder, (ReasonCode::ContinueAuthentication, &answer)) {
            cx.io.close(conn);
            return Begun::Over;
        }
        Begun::Waits
    }

    /// What a client says in an exchange, behind its CONNECT.
    pub(super) fn answer(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnKey,
        connect: &Frame<'_>,
        behind: &[u8],
    ) -> Begun {
        let said = match frame(behind, AUTH_BYTES_MAX) {
            Ok(None) => return Begun::Waits,
            Ok(Some(said)) => said,
            Err(error) => return self.turn_down(cx, conn, (code(&error), Some(error.text))),
        };
        let Some(exchange) = self.exchanges.take(conn) else { return Begun::Over };
        let auth = match decode_client(Some(Version::V5), &said) {
            Ok(ClientPacket::Auth(auth)) if is_step(&auth, ReasonCode::ContinueAuthentication) => auth,
            Ok(ClientPacket::Disconnect(_)) => {
                cx.io.close(conn);
                return Begun::Over;
            }
            Ok(_) => return self.turn_down(cx, conn, (ReasonCode::ProtocolError, None)),
            Err(error) => return self.turn_down(cx, conn, (code(&error), Some(error.text))),
        };
        let data = auth.properties.authentication_data().unwrap_or_default();
        match (exchange.finish(data), decode_client(None, connect)) {
            (Ok(proven), Ok(ClientPacket::Connect(connect))) => {
                self.let_in_proven(cx, (conn, &connect), proven, said.packet_bytes)
            }
            (Err(Failure::Unproven), _) => {
                self.turn_down(cx, conn, (ReasonCode::BadUserNameOrPassword, None))
            }
            _ => self.turn_down(cx, conn, (ReasonCode::NotAuthorized, None)),
        }
    }

    fn let_in_proven(
        &mut self,
        cx: &mut Cx<'_>,
        (conn, connect): (ConnKey, &Connect<'_>),
        Proven { user, data }: Proven,
        auth_bytes: usize,
    ) -> Begun {
        if self.drain.is_some() {
            self.turn_away(cx, conn, Encoder::new(Version::V5));
            return Begun::Over;
        }
        // The same as before the exchange, for the connection is at the home of that name.
        let certified = self.certified(cx, conn).ok().flatten();
        let name = match self.name(cx, connect, certified.as_deref()) {
            Ok(name) => name,
            Err(reason) => return self.turn_down(cx, conn, (reason, None)),
        };
        match self.let_in(
            cx,
            (conn, connect),
            (name, Identity::of_user(Some(user))),
            Some(Proof::Scram(data)),
        ) {
            Begun::Here(index, _) => Begun::Here(index, auth_bytes),
            Begun::Asked(_) => Begun::Asked(auth_bytes),
            other => other,
        }
    }

    /// AUTH of a client that is let in: it proves again who it is, while everything else goes on [MQTT-4.12.1-1].
    pub(super) fn auth(&mut self, cx: &mut Cx<'_>, index: u32, auth: &Auth<'_>) {
        let Some(client) = self.clients.get_mut(index as usize) else { return };
        let conn = client.conn;
        if client.kind.token_by_method {
            return self.renew(cx, index, (conn, auth));
        }
        let open = client.rare.as_mut().and_then(|rare| rare.exchange.take());
        client.tidy();
        let data = auth.properties.authentication_data().unwrap_or_default();
        let encoder = client.encoder;
        let told = match (open, self.scram.as_ref().filter(|_| client.kind.by_method)) {
            (None, Some(scram)) if is_step(auth, ReasonCode::Reauthenticate) => {
                scram.begin(data, cx.io.random()).map(|(exchange, answer)| {
                    client.rare().exchange = Some(Box::new(exchange));
                    (ReasonCode::ContinueAuthentication, answer)
                })
            }
            (Some(exchange), Some(_)) if is_step(auth, ReasonCode::ContinueAuthentication) => {
                exchange.finish(data).and_then(|proven| {
                    // A session is of one user.
                    let is_same = client.user.as_deref() == Some(&*proven.user);
                    if is_same { Ok((ReasonCode::Success, proven.data)) } else { Err(Failure::Unproven) }
                })
            }
            // No method was announced, or another, or this is no step of it [MQTT-4.12.0-7].
            _ => return self.part_for(cx, index, ReasonCode::ProtocolError),
        };
        match told {
            Ok((reason, data)) => {
                self.put_auth(cx, conn, &encoder, (reason, &data));
            }
            Err(_) => self.part(cx, index, ReasonCode::NotAuthorized, Reason::CredentialsExpired),
        }
    }

    fn put_auth(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnKey,
        encoder: &Encoder,
        (reason, data): (ReasonCode, &str),
    ) -> bool {
        let mut properties = PropertyBuf::new();
        let values = [
            (Property::AuthenticationMethod, Value::Text(METHOD)),
            (Property::AuthenticationData, Value::Binary(data.as_bytes())),
        ];
        for (property, value) in values {
            properties.push(property, value).expect("both are short, and the method is plain text");
        }
        let auth = Auth { reason, properties: properties.as_properties() };
        let websocket = cx.io.is_websocket(conn);
        self.put_on(cx, (conn, websocket), |out| encoder.auth(&auth, out))
    }

    /// The method is of version 5 alone.
    fn turn_down(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnKey,
        (reason, text): (ReasonCode, Option<&str>),
    ) -> Begun {
        self.refuse(cx, conn, Encoder::new(Version::V5), (reason, text));
        Begun::Over
    }
}

/// A fault that is not worth a packet is told as one that is.
fn code(error: &Error) -> ReasonCode {
    error.code().unwrap_or(ReasonCode::ProtocolError)
}

/// Whether an AUTH is this step of the method.
fn is_step(auth: &Auth<'_>, reason: ReasonCode) -> bool {
    auth.reason == reason && auth.properties.authentication_method() == Some(METHOD)
}
