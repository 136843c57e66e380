//! Streams that the back end lets in, or is told of.
//!
//! Owns what it is asked and what its answer means to a client. Must not know how it is asked. Start at [`Streams::ask`].
//!
//! ```text
//!  Opening --Upcall::Connect--> waits --Mail::Admit--> as if a token had said it
//!                                 |  \--Mail::Refuse, or what it asks for is not granted--> 401, 403
//!                                 \---Mail::Disconnect, time over--> it comes back
//! ```

use std::sync::Arc;

use hub::{Millis, Reason, SessionId};
use wire::http::Head;

use super::Streams;
use super::answer::Refusal;
use super::caller::{Kind, Reader, Stage};
use super::open::Asked;
use crate::auth::Grant;
use crate::config::{AuthMode, WebhookType};
use crate::front::facts::{facts, kept_bytes};
use crate::mail::{Admission, Denial, Handshake, Hello, Known, Speaks, StreamHello, Upcall};
use crate::shard::{ConnKey, Cx};

/// Parameters that are ours; everything else belongs to the application.
pub(super) const PARAMETERS: [&str; 8] =
    ["channel", "after", "last_event_id", "history", "limit", "wait", "envelope", "retained"];

/// What the back end is told of, if a webhook takes it.
const TOLD: [WebhookType; 3] =
    [WebhookType::SessionConnected, WebhookType::SessionDisconnected, WebhookType::SessionEnded];

impl Streams {
    /// Whether the back end says who may come in.
    pub(super) fn asks(&self) -> bool {
        self.config.auth.mode == AuthMode::BackEnd
    }

    /// Whether the back end hears of streams of a kind.
    fn is_told(&self, kind: Kind) -> bool {
        let takes = |kind_of| {
            let mut webhooks = self.config.webhooks.iter();
            webhooks.any(|webhook| webhook.takes(kind_of, kind.webhook_protocol(), None))
        };
        self.asks() || TOLD.into_iter().any(takes)
    }

    /// Whether the back end may be asked about a channel of a stream, whose session it has to know then.
    fn may_be_asked_about(&self, kind: Kind, asked: &Asked) -> bool {
        let is_asked = |channel: &String| self.is_to_be_asked(&asked.grant, channel, asked.history);
        self.gate.asks()
            && !self.config.webhooks.is_empty()
            // In a WebSocket a client asks for others later.
            && (kind == Kind::WebSocket || asked.channels.iter().any(is_asked))
    }

    /// What of a request the back end may see. One that is only told of a stream hears where it comes from.
    pub(super) fn facts(
        &self,
        cx: &Cx<'_>,
        (conn, kind): (ConnKey, Kind),
        head: &Head<'_>,
        asked: &Asked,
    ) -> Result<Option<Arc<Handshake>>, Refusal> {
        if !self.is_told(kind) && !self.may_be_asked_about(kind, asked) {
            return Ok(None);
        }
        let (remote, secure) = (cx.io.peer_addr(conn), cx.io.is_secure(conn));
        if !self.asks() {
            return Ok(Some(Arc::new(Handshake { remote, secure, ..Handshake::default() })));
        }
        if kept_bytes(head.query, &PARAMETERS) > self.config.limits.handshake_bytes_max {
            return Err(Refusal::new(413, "too-large", "the query is over limits.handshake_bytes_max"));
        }
        Ok(Some(Arc::new(Handshake { remote, secure, ..facts(head, &self.config, &PARAMETERS) })))
    }

    /// Asks the back end about a reader that has a session, or tells it of one; whether its answer is to be waited for.
    pub(super) fn ask(&mut self, cx: &mut Cx<'_>, index: u32) -> bool {
        let until = Millis(cx.io.now().0 + self.config.streams.connect_timeout_ms);
        let Some(reader) = self.reader_mut(index) else { return false };
        let (id, kind) = (reader.id, reader.kind);
        let Some(asked) = reader.asked() else { return false };
        let Some(handshake) = asked.handshake.take() else { return false };
        asked.until = Some(until);
        let hello = StreamHello { protocol: kind.protocol(), channels: asked.channels.clone() };
        let Grant { user, state, .. } = &*asked.grant;
        let known = Known { user: user.clone(), state: state.clone() };
        cx.io.upcall(Upcall::Connect {
            session: id,
            hello: Hello::Stream(Box::new(hello)),
            known,
            handshake,
        });
        if let Some(reader) = self.reader_mut(index) {
            reader.is_told = true;
        }
        self.waiting += 1;
        true
    }

    /// Whether the back end was asked about a session.
    pub(in crate::front) fn has(&self, id: SessionId) -> bool {
        self.index_of(id).or_else(|| self.post_of(id)).is_some()
    }

    /// The back end lets a client in.
    pub(in crate::front) fn admit(&mut self, cx: &mut Cx<'_>, id: SessionId, admission: Admission) {
        let Some((index, reader)) = self.waiting_reader(id) else { return };
        let kind = reader.kind;
        let Some(asked) = reader.asked() else { return };
        asked.until = None;
        self.waiting -= 1;
        if self.asks() {
            let Admission { mut grant, .. } = admission;
            grant.permissions = grant.permissions.map(|permissions| self.gate.intern(permissions));
            if let Err(refusal) = self.check_granted(index, &grant) {
                return self.turn_down(cx, index, &refusal);
            }
            self.hold_grant(cx, (index, kind), &grant);
            if let Some(asked) = self.reader_mut(index).and_then(Reader::asked) {
                *asked.grant = grant;
            }
        }
        self.ask_about_channels(cx, index);
        self.arm(cx, index);
    }

    /// Whether a reader that is let in may have what it asks for.
    fn check_granted(&self, index: u32, grant: &Grant) -> Result<(), Refusal> {
        let Some(reader) = self.reader(index) else { return Ok(()) };
        let asked = reader.rare.as_ref().and_then(|rare| rare.asked.as_ref());
        let Some(Asked { channels, history, .. }) = asked.map(Box::as_ref) else { return Ok(()) };
        if channels.is_empty() && grant.user.is_none() && reader.kind != Kind::WebSocket {
            return Err(Refusal::no_channel());
        }
        channels.iter().try_for_each(|channel| self.check_reading(grant, channel, *history))
    }

    /// The back end does not, for good.
    pub(in crate::front) fn deny(
        &mut self,
        cx: &mut Cx<'_>,
        id: SessionId,
        (denial, message): (Denial, &str),
    ) {
        let Some((index, _)) = self.waiting_reader(id) else { return };
        self.turn_down(cx, index, &refusal(denial, message));
    }

    fn waiting_reader(&mut self, id: SessionId) -> Option<(u32, &mut Reader)> {
        let index = self.index_of(id)?;
        let is_waiting =
            |reader: &&mut Reader| reader.stage == Stage::Opening && reader.waits_until().is_some();
        self.reader_mut(index).filter(is_waiting).map(|reader| (index, reader))
    }

    /// A request that is held is refused.
    pub(super) fn turn_down(&mut self, cx: &mut Cx<'_>, index: u32, refusal: &Refusal) {
        let Some(reader) = self.take_reader(cx, index) else { return };
        self.figures.refused += 1;
        let response = self.site.refuse(refusal, reader.origin());
        let is_socket = reader.kind == Kind::WebSocket;
        cx.io.respond(reader.conn, if is_socket { response.closing() } else { response });
        self.end_session(cx, &reader, Reason::Refused);
    }

    /// The back end hears of the end of a stream that it has heard of.
    pub(super) fn tell_end(&self, cx: &mut Cx<'_>, reader: &Reader, reason: Reason) {
        if reader.is_told {
            cx.io.upcall(Upcall::Disconnected {
                session: reader.id,
                speaks: Speaks::Stream(reader.kind.protocol()),
                reason,
                text: text(reason),
                resumable_ms: None,
            });
        }
    }
}

/// A no of the back end.
pub(super) fn refusal(denial: Denial, message: &str) -> Refusal {
    match denial {
        Denial::Unknown => Refusal::new(401, "unauthenticated", message.to_owned()),
        Denial::Forbidden => Refusal::forbidden(message),
    }
}

/// Why a stream has ended.
fn text(reason: Reason) -> &'static str {
    match reason {
        Reason::ClientLeft => "answered",
        Reason::ConnectionClosed => "client left",
        Reason::ConnectionFailed => "connection failed",
        Reason::Silent | Reason::NeverAdmitted | Reason::Expired => "time is over",
        Reason::Malformed | Reason::Misbehaved => "against the protocol",
        Reason::Kicked => "ended by the back end",
        Reason::Disconnected => "disconnected by the back end",
        Reason::SlowConsumer => "too slow",
        Reason::OverLimit => "a limit is reached",
        Reason::Refused => "refused",
        Reason::TakenOver => "taken over",
        Reason::CredentialsExpired => "the token is over",
        Reason::Revoked => "the token is revoked",
        Reason::Draining => "the server stops",
        Reason::Superseded => "newer session",
        Reason::UserFull => "too many sessions",
    }
}
