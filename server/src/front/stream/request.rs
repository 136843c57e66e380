//! Requests: which they are, and who is turned away.
//!
//! Owns the order of the checks, which decides the error a client gets. Must not know how a stream begins. Start at
//! [`Streams::request`].

use hub::{ChannelName, check_filter};
use wire::http::Head;
use wire::stream::{Mode, Params};

use super::Streams;
use super::answer::{Later, Refusal};
use super::caller::Kind;
use super::open::Asked;
use crate::auth::{Action, Asker, is_reserved};
use crate::config::{AuthMode, Permission};
use crate::shard::{ConnKey, Cx, Request, Response};

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Sse,
    Ndjson,
    Poll,
    Publish,
}

impl Route {
    fn of(path: &str) -> Option<Self> {
        match path {
            "/sse" => Some(Self::Sse),
            "/ndjson" => Some(Self::Ndjson),
            "/poll" => Some(Self::Poll),
            "/publish" => Some(Self::Publish),
            _ => None,
        }
    }

    /// The stream that is asked for.
    fn kind(self, mode: Mode) -> Option<Kind> {
        match (self, mode) {
            (Self::Sse, Mode::Bare) => Some(Kind::Sse),
            (Self::Sse, Mode::Envelope) => Some(Kind::SseEnvelope),
            (Self::Ndjson, _) => Some(Kind::Ndjson),
            (Self::Poll, _) => Some(Kind::Poll),
            (Self::Publish, _) => None,
        }
    }
}

impl Streams {
    /// Whether requests to this path are for streams.
    pub(in crate::front) fn serves(&self, path: &str) -> bool {
        self.config.streams.enabled && Route::of(path).is_some()
    }

    /// Most bytes of a request's body; beyond it 413.
    ///
    /// # Errors
    /// The answer to a request that is refused by its head.
    pub(in crate::front) fn body_bytes_max(&self, head: &Head<'_>) -> Result<usize, Box<Response>> {
        match Route::of(head.path) {
            Some(Route::Publish) if head.method == "POST" => {
                let refusal = self.turned_away(head);
                let refuse = |refusal| Box::new(self.site.refuse(&refusal, head.header("origin")));
                refusal.map_or(Ok(self.config.limits.message_bytes_max), |refusal| Err(refuse(refusal)))
            }
            _ => Ok(0),
        }
    }

    /// Carries out a request.
    pub(in crate::front) fn request(&mut self, cx: &mut Cx<'_>, conn: ConnKey, request: &Request<'_>) {
        let head = &request.head;
        if let Some(response) = self.site.preflight(head) {
            return cx.io.respond(conn, response);
        }
        let origin = head.header("origin");
        let Some(route) = Route::of(head.path) else { return };
        let done = match (route, head.method) {
            (Route::Publish, "POST") => self.publish(cx, conn, request),
            (Route::Sse | Route::Ndjson | Route::Poll, "GET") => self.read(cx, conn, (route, head)),
            (Route::Publish, _) => Err(Refusal::new(405, "method-not-allowed", "messages come by POST")),
            (_, _) => Err(Refusal::new(405, "method-not-allowed", "streams are asked for by GET")),
        };
        if let Err(refusal) = done {
            self.figures.refused += 1;
            cx.io.respond(conn, self.site.refuse(&refusal, origin));
        }
    }

    fn read(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnKey,
        (route, head): (Route, &Head<'_>),
    ) -> Result<(), Refusal> {
        let params = Params::read(head.query, head.header("last-event-id"))?;
        let Some(kind) = route.kind(params.mode) else { return Ok(()) };
        if let Some(refusal) = self.turned_away(head) {
            return Err(refusal);
        }
        self.check_channels(kind, &params)?;
        self.check_permissions(&params)?;
        let origin = head.header("origin");
        if let Some(later) = self.put_off(cx, conn) {
            cx.io.respond(conn, self.site.put_off(later, Some(kind), origin));
            return Ok(());
        }
        let history = params.history.unwrap_or(0).min(self.config.limits.stream_history_max);
        let asked = Asked { channels: params.channels, resume: params.resume, history };
        let (limit, wait_seconds) = (params.limit, params.wait_seconds);
        self.open(cx, (conn, kind, origin), asked, (limit, wait_seconds));
        Ok(())
    }

    /// Whoever may read or write nothing here.
    fn turned_away(&self, head: &Head<'_>) -> Option<Refusal> {
        if self.config.auth.mode != AuthMode::Anonymous {
            let detail = "streams are open to anonymous clients only, and `auth.mode` lets none in";
            return Some(Refusal::new(401, "unauthenticated", detail));
        }
        if !self.config.mqtt_acl.is_empty() || self.config.mqtt.acl_default != Permission::Allow {
            let detail = "which channels are for whom is said for clients of MQTT only ([[mqtt.acl]])";
            return Some(Refusal::new(403, "forbidden", detail));
        }
        let is_foreign = head.method == "POST" && self.site.is_foreign(head);
        is_foreign.then(|| Refusal::new(403, "forbidden", "a page of this origin may not publish"))
    }

    fn check_channels(&self, kind: Kind, params: &Params) -> Result<(), Refusal> {
        let limits = &self.config.limits;
        if params.channels.is_empty() {
            return Err(Refusal::new(400, "malformed", "`channel` is missing: name one, or several"));
        }
        if params.channels.len() > limits.stream_channels_max.min(limits.channels_per_session_max as usize) {
            let detail = format!("at most {} channels in one stream", limits.stream_channels_max);
            return Err(Refusal::new(422, "over-limit", detail));
        }
        for channel in &params.channels {
            check_filter(channel, limits.channel_name_bytes_max)
                .map_err(|refusal| Refusal::of(refusal, channel))?;
            let is_filter = ChannelName::parse(channel, u32::MAX).is_err();
            if is_filter && kind == Kind::Poll {
                let detail =
                    "a poll needs names of channels: what a filter matches between two polls would be lost";
                return Err(Refusal::new(422, "invalid-channel", detail));
            }
        }
        Ok(())
    }

    /// Streams are of nobody in particular: what rules let everybody do is theirs.
    fn check_permissions(&self, params: &Params) -> Result<(), Refusal> {
        // Of the server's own names the hub says what there is to say.
        let may = |action, channel: &str| {
            is_reserved(action, channel) || self.gate.may(Asker::default(), action, channel)
        };
        for channel in &params.channels {
            let reads = params.history.unwrap_or(0) > 0;
            if !may(Action::Subscribe, channel) || reads && !may(Action::History, channel) {
                return Err(Refusal::new(
                    403,
                    "forbidden",
                    format!("`{channel}` is not for everybody to read"),
                ));
            }
        }
        Ok(())
    }

    /// Whoever has to come back later.
    fn put_off(&self, cx: &mut Cx<'_>, conn: ConnKey) -> Option<Later> {
        if self.drain.is_some() {
            return Some(Later::Draining);
        }
        if self.callers.len() >= self.config.limits.sessions_max as usize {
            return Some(Later::Full);
        }
        (!cx.io.allow_handshake(conn)).then_some(Later::Often)
    }

    /// What publishing has to check of its request.
    pub(super) fn may_publish(&self, head: &Head<'_>) -> Result<(), Refusal> {
        self.turned_away(head).map_or(Ok(()), Err)
    }
}
