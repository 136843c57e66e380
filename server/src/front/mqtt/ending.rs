//! Everything that ends a connection of MQTT, and the clock of its keep alive.
//!
//! Owns the order: the client is told, the connection goes, then the hub hears of it. Must not know why; the reason comes
//! with the call. Start at [`Mqtt::end`].

use std::sync::Arc;

use hub::{Command, Millis, Reason, SessionId};
use wire::mqtt::{
    ConnAckProperties, Disconnect, Encoder, Properties, Property, PropertyBuf, ReasonCode, Value, Version,
};

use super::{Mqtt, OWN_NAMES};
use crate::mail::{Speaks, Upcall};
use crate::shard::{Closed, ConnKey, Cx, Owner};

/// A shutdown in progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    start: Millis,
    window_ms: u64,
}

impl Drain {
    /// When this session's connection is closed: the random part of its id is its place in the window.
    pub(super) fn at(&self, id: SessionId) -> Millis {
        let [.., a, b, c, d] = id.0;
        let place = u64::from(u32::from_be_bytes([a, b, c, d]));
        Millis(self.start.0 + place % self.window_ms.max(1))
    }
}

impl Mqtt {
    /// Tells the client why, ends its connection and tells the hub. Does nothing for a client that is gone.
    pub(super) fn end(
        &mut self,
        cx: &mut Cx<'_>,
        index: u32,
        told: Option<(ReasonCode, &'static str)>,
        reason: Reason,
    ) {
        let Some(session) = self.client(index).map(|client| client.session) else { return };
        self.goodbye(cx, index, told);
        self.apply(cx, Command::Detach { session, reason });
    }

    pub(super) fn part(&mut self, cx: &mut Cx<'_>, index: u32, code: ReasonCode, reason: Reason) {
        self.end(cx, index, Some((code, "")), reason);
    }

    /// A fault that the codec cannot see.
    pub(super) fn part_for(&mut self, cx: &mut Cx<'_>, index: u32, code: ReasonCode) {
        self.part(cx, index, code, Reason::Misbehaved);
    }

    /// Another connection has the session now.
    pub(super) fn displace(&mut self, cx: &mut Cx<'_>, index: u32) {
        if let Some((id, name)) = self.client(index).map(|client| (client.id, Arc::clone(&client.name))) {
            self.tell_of_loss(cx, (id, Some(name), Reason::TakenOver), Some(u64::MAX));
        }
        self.let_go(cx, index, ReasonCode::SessionTakenOver);
    }

    /// The back end is told of a session that has no connection any more, and how long it is kept; `None`: it is gone.
    pub(super) fn tell_of_loss(
        &self,
        cx: &mut Cx<'_>,
        (session, name, reason): (SessionId, Option<Arc<str>>, Reason),
        resumable_ms: Option<u64>,
    ) {
        if let Some(speaks) = self.told_of(name) {
            let text = text(reason);
            cx.io.upcall(Upcall::Disconnected { session, speaks, reason, text, resumable_ms });
        }
    }

    /// The same of one that is gone, and had no connection before.
    pub(super) fn tell_of_end(
        &self,
        cx: &mut Cx<'_>,
        (session, name, reason): (SessionId, Option<Arc<str>>, Reason),
    ) {
        if let Some(speaks) = self.told_of(name) {
            cx.io.upcall(Upcall::Expired { session, speaks, reason, text: text(reason) });
        }
    }

    fn told_of(&self, name: Option<Arc<str>>) -> Option<Speaks> {
        let name = name.filter(|name| self.tells() && !name.starts_with(OWN_NAMES))?;
        Some(Speaks::Mqtt(name))
    }

    /// The session is not this connection's any more: the hub is not told.
    pub(super) fn let_go(&mut self, cx: &mut Cx<'_>, index: u32, code: ReasonCode) {
        self.goodbye(cx, index, Some((code, "")));
    }

    /// The hub has ended the session. A client that waits for CONNACK is told there that there is no place for it: it should not
    /// come back as if the connection had failed.
    pub(super) fn session_ended(&mut self, cx: &mut Cx<'_>, index: u32, reason: Reason) {
        let text = match reason {
            Reason::Superseded => "the user has a newer session",
            Reason::UserFull => "the user has as many sessions as it may",
            Reason::Revoked => "the token is revoked",
            reason => return self.let_go(cx, index, code(reason)),
        };
        let Some(client) = self.client(index) else { return };
        if client.is_greeted() {
            return self.goodbye(cx, index, Some((code(reason), text)));
        }
        let (conn, encoder) = (client.conn, client.encoder);
        let code = match encoder.version() {
            _ if reason == Reason::Revoked => ReasonCode::NotAuthorized,
            Version::V3 => ReasonCode::NotAuthorized,
            Version::V5 => ReasonCode::QuotaExceeded,
        };
        self.remove(cx, index);
        self.refuse(cx, conn, encoder, (code, Some(text)));
    }

    /// DISCONNECT, where the version has it; what is staged is written before the connection goes.
    fn goodbye(&mut self, cx: &mut Cx<'_>, index: u32, told: Option<(ReasonCode, &'static str)>) {
        let Some(client) = self.client(index) else { return };
        let (conn, version) = (client.conn, client.version());
        let may_be_told = version == Version::V5 && client.is_greeted();
        if let Some((reason, text)) = told.filter(|_| may_be_told) {
            let words = cx.hub.words.clone().filter(|_| reason == ReasonCode::AdministrativeAction);
            let text = words.as_deref().unwrap_or(text);
            let why =
                if text.is_empty() { PropertyBuf::new() } else { PropertyBuf::with_reason_string(text) };
            let properties = if text.is_empty() { Properties::NONE } else { why.as_properties() };
            let disconnect = Disconnect { reason, properties };
            self.put(cx, index, |encoder, out| encoder.disconnect(&disconnect, out));
        }
        self.remove(cx, index);
        cx.io.close_after_flush(conn);
    }

    /// The client's turn in a shutdown.
    fn send_away(&mut self, cx: &mut Cx<'_>, index: u32) {
        let Some(client) = self.client(index) else { return };
        if !client.is_greeted() {
            return self.end(cx, index, None, Reason::Draining);
        }
        let (conn, encoder, websocket) = (client.conn, client.encoder, client.kind.websocket);
        let mut properties = PropertyBuf::new();
        if let Some(reference) = self.elsewhere(encoder.version()) {
            // Its characters were checked with the configuration.
            let _ = properties.push(Property::ServerReference, Value::Text(&reference));
        }
        let to = Disconnect { reason: ReasonCode::UseAnotherServer, properties: properties.as_properties() };
        let is_told = !to.properties.is_empty()
            && self.put_on(cx, (conn, websocket), |out| encoder.disconnect(&to, out));
        let otherwise = (ReasonCode::ServerShuttingDown, "");
        self.end(cx, index, (!is_told).then_some(otherwise), Reason::Draining);
    }

    /// A client that connects during a shutdown. Some clients stay away after a refusal, and none after a close, so it is
    /// refused only if it is told where to go instead.
    pub(super) fn turn_away(&mut self, cx: &mut Cx<'_>, conn: ConnKey, encoder: Encoder) {
        let Some(reference) = self.elsewhere(encoder.version()) else { return cx.io.close(conn) };
        let properties =
            ConnAckProperties { server_reference: Some(&reference), ..ConnAckProperties::default() }.to_buf();
        self.refuse_with(cx, conn, encoder, (ReasonCode::UseAnotherServer, &properties));
    }

    /// Other servers, for clients that can be told.
    fn elsewhere(&self, version: Version) -> Option<String> {
        let reference = self.config.mqtt.server_reference.as_ref()?;
        (version == Version::V5).then(|| reference.as_str().to_owned())
    }

    /// The connection is gone.
    pub(in crate::front) fn closed(&mut self, cx: &mut Cx<'_>, owner: Owner, why: Closed) {
        let index = owner.index();
        let Some(client) = self.remove(cx, index) else { return };
        let reason = match why {
            Closed::Peer => Reason::ConnectionClosed,
            Closed::Error => Reason::ConnectionFailed,
            Closed::Violation(_) => Reason::Malformed,
            Closed::TooLong | Closed::Idle => Reason::SlowConsumer,
        };
        self.apply(cx, Command::Detach { session: client.session, reason });
    }

    pub(in crate::front) fn blocked(&mut self, cx: &mut Cx<'_>, owner: Owner) {
        self.pause(cx, owner.index());
    }

    pub(in crate::front) fn writable(&mut self, cx: &mut Cx<'_>, owner: Owner) {
        self.resume(cx, owner.index());
    }

    /// The keep alive may be over, or the client's turn in a shutdown has come.
    pub(in crate::front) fn timer(&mut self, cx: &mut Cx<'_>, owner: Owner) {
        let (index, now) = (owner.index(), cx.io.now());
        self.rest(cx, index, now);
        let Some(client) = self.client(index) else { return };
        let silent_ms = u64::from(client.keep_alive_seconds) * 1500;
        let is_silent = silent_ms > 0 && !client.is_paused() && client.heard.0 + silent_ms <= now.0;
        if self.drain.as_ref().is_some_and(|drain| drain.at(client.id) <= now) {
            return self.send_away(cx, index);
        }
        if self.asked_until(index).is_some_and(|at| at <= now) {
            return self.end(cx, index, None, Reason::NeverAdmitted);
        }
        if self.held_until(index).is_some_and(|at| at <= now) {
            return self.unanswered(cx, index);
        }
        if self.rights(index).is_some_and(|rights| rights.are_over(now)) {
            // It comes back with another token.
            return self.part(cx, index, ReasonCode::NotAuthorized, Reason::CredentialsExpired);
        }
        self.ask_ahead(cx, index);
        if is_silent {
            return self.part(cx, index, ReasonCode::KeepAliveTimeout, Reason::Silent);
        }
        self.arm(cx, index);
    }

    /// Nobody is sent away any more.
    pub(in crate::front) fn stay(&mut self) {
        self.drain = None;
    }

    /// No more clients; each connection is closed at a random time within the window.
    pub(in crate::front) fn drain(&mut self, cx: &mut Cx<'_>, window_ms: u64) {
        self.drain = Some(Drain { start: cx.io.now(), window_ms });
        let indexes: Vec<usize> = self.clients.iter().map(|(index, _)| index).collect();
        for index in indexes {
            self.arm(cx, u32::try_from(index).expect("indexes are 32 bits"));
        }
    }

    /// The back end closes the connection under a session.
    pub(in crate::front) fn disconnect(&mut self, cx: &mut Cx<'_>, id: SessionId) {
        self.send_back(cx, id);
        if let Some(index) = self.index_of(id) {
            self.part(cx, index, ReasonCode::AdministrativeAction, Reason::Disconnected);
        }
    }
}

/// How a client of version 5 is told that its session or connection ends.
pub(super) fn code(reason: Reason) -> ReasonCode {
    match reason {
        Reason::TakenOver => ReasonCode::SessionTakenOver,
        Reason::Kicked | Reason::Disconnected | Reason::Superseded => ReasonCode::AdministrativeAction,
        Reason::Silent => ReasonCode::KeepAliveTimeout,
        Reason::Malformed => ReasonCode::MalformedPacket,
        Reason::Misbehaved => ReasonCode::ProtocolError,
        Reason::SlowConsumer | Reason::OverLimit | Reason::UserFull => ReasonCode::QuotaExceeded,
        Reason::Refused | Reason::NeverAdmitted | Reason::CredentialsExpired | Reason::Revoked => {
            ReasonCode::NotAuthorized
        }
        Reason::Draining => ReasonCode::ServerShuttingDown,
        Reason::ClientLeft | Reason::ConnectionClosed | Reason::ConnectionFailed | Reason::Expired => {
            ReasonCode::UnspecifiedError
        }
    }
}

/// The same for the back end, which is told whatever the version is.
fn text(reason: Reason) -> &'static str {
    match reason {
        Reason::ClientLeft => "disconnect",
        Reason::ConnectionClosed => "connection closed",
        Reason::ConnectionFailed => "connection failed",
        Reason::Expired => "session expired",
        Reason::NeverAdmitted => "connect timeout",
        Reason::Refused => "refused",
        Reason::CredentialsExpired => "credentials expired",
        Reason::Revoked => "token revoked",
        Reason::OverLimit => "over limit",
        Reason::SlowConsumer => "slow consumer",
        Reason::Superseded => "newer session",
        Reason::UserFull => "too many sessions",
        Reason::TakenOver
        | Reason::Kicked
        | Reason::Disconnected
        | Reason::Silent
        | Reason::Malformed
        | Reason::Misbehaved
        | Reason::Draining => code(reason).name(),
    }
}
