//! Requests: which they are, and who is turned away.
//!
//! Owns the order of the checks, which decides the error a client gets. Must not know how a stream begins. Start at
//! [`Streams::request`].

use hub::{ChannelName, check_filter};
use wire::http::Head;
use wire::stream::{Mode, Params, Wanted};

use super::Streams;
use super::access::Turned;
use super::answer::{Later, Refusal};
use super::caller::Kind;
use super::open::Asked;
use crate::auth::Grant;
use crate::shard::{ConnKey, Cx, Request, Response};

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Sse,
    Ndjson,
    Poll,
    WebSocket,
    Publish,
}

impl Route {
    fn of(path: &str) -> Option<Self> {
        match path {
            "/sse" => Some(Self::Sse),
            "/ndjson" => Some(Self::Ndjson),
            "/poll" => Some(Self::Poll),
            "/ws" => Some(Self::WebSocket),
            "/publish" => Some(Self::Publish),
            _ => None,
        }
    }

    /// What is said to whoever comes by another method than this takes.
    fn wrong_method(self) -> Refusal {
        Refusal::method(match self {
            Self::Publish => "messages come by POST",
            Self::Sse | Self::Ndjson | Self::Poll | Self::WebSocket => "streams are asked for by GET",
        })
    }

    /// The stream that is asked for.
    fn kind(self, mode: Mode) -> Option<Kind> {
        match (self, mode) {
            (Self::Sse, Mode::Bare) => Some(Kind::Sse),
            (Self::Sse, Mode::Envelope) => Some(Kind::SseEnvelope),
            (Self::Ndjson, _) => Some(Kind::Ndjson),
            (Self::Poll, _) => Some(Kind::Poll),
            (Self::WebSocket, _) => Some(Kind::WebSocket),
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
                let refusal = self.turned_away(head).or_else(|| self.shows_nothing(head));
                let refuse = |refusal| Box::new(self.site.refuse(&refusal, head.header("origin")));
                refusal.map_or(Ok(self.config.limits.message_bytes_max), |refusal| Err(refuse(refusal)))
            }
            Some(Route::Sse | Route::Ndjson | Route::Poll | Route::WebSocket) if head.method == "GET" => {
                Ok(0)
            }
            Some(route) if head.method != "OPTIONS" => {
                Err(Box::new(self.site.refuse(&route.wrong_method(), head.header("origin"))))
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
            (Route::WebSocket, "GET") => self.upgrade(cx, conn, head),
            (route, _) => Err(route.wrong_method().into()),
        };
        match done {
            Ok(()) => {}
            Err(Turned::Away(refusal)) => {
                self.figures.refused += 1;
                let response = self.site.refuse(&refusal, origin);
                cx.io.respond(conn, if head.websocket { response.closing() } else { response });
            }
            Err(Turned::Off(later)) => {
                let mode = Params::read(head.query, None).map(|params| params.mode).unwrap_or_default();
                cx.io.respond(conn, self.site.put_off(later, route.kind(mode), origin));
            }
        }
    }

    fn read(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnKey,
        (route, head): (Route, &Head<'_>),
    ) -> Result<(), Turned> {
        let params = Params::read(head.query, head.header("last-event-id")).map_err(Refusal::from)?;
        let Some(kind) = route.kind(params.mode) else { return Ok(()) };
        let grant = self.let_in(cx, conn, head)?;
        self.check_channels(kind, &params, &grant)?;
        self.check_permissions(&params, &grant)?;
        let (limit, wait_seconds) = (params.limit, params.wait_seconds);
        let mut asked = self.asked(params, grant);
        asked.handshake = self.facts(cx, (conn, kind), head, &asked)?;
        self.open(cx, (conn, kind, head.header("origin")), asked, (limit, wait_seconds));
        Ok(())
    }

    /// What a request asks for that was checked.
    pub(super) fn asked(&self, params: Params, grant: Box<Grant>) -> Asked {
        let history = params.history.unwrap_or(0).min(self.config.limits.stream_history_max);
        let Params { channels, resume, retained, .. } = params;
        Asked {
            channels,
            resume,
            history,
            retained,
            grant,
            upgrade: None,
            handshake: None,
            until: None,
            blank: Vec::new(),
        }
    }

    pub(super) fn check_channels(&self, kind: Kind, params: &Params, grant: &Grant) -> Result<(), Refusal> {
        let limits = &self.config.limits;
        let may_be_own = grant.user.is_some() || kind == Kind::WebSocket || self.asks();
        if params.channels.is_empty() && !may_be_own {
            return Err(Refusal::no_channel());
        }
        if params.channels.len() > limits.stream_channels_max.min(limits.channels_per_session_max as usize) {
            let detail = format!("at most {} channels in one stream", limits.stream_channels_max);
            return Err(Refusal::new(422, "over-limit", detail));
        }
        for channel in &params.channels {
            check_filter(channel, limits.channel_name_bytes_max)
                .map_err(|refusal| Refusal::of(refusal, channel))?;
            let is_filter = ChannelName::parse(channel, u32::MAX).is_err();
            if is_filter && params.retained == Wanted::Yes {
                return Err(Refusal::retained_of(channel));
            }
            if is_filter && kind == Kind::Poll {
                let detail =
                    "a poll needs names of channels: what a filter matches between two polls would be lost";
                return Err(Refusal::new(422, "invalid-channel", detail));
            }
        }
        Ok(())
    }

    pub(super) fn check_permissions(&self, params: &Params, grant: &Grant) -> Result<(), Refusal> {
        if self.asks() {
            // They come with the answer.
            return Ok(());
        }
        let reads = params.history.unwrap_or(0);
        params.channels.iter().try_for_each(|channel| self.check_reading(grant, channel, reads))
    }

    /// Whoever has to come back later.
    pub(super) fn put_off(&self, cx: &mut Cx<'_>, conn: ConnKey) -> Option<Later> {
        if self.drain.is_some() {
            return Some(Later::Draining);
        }
        let is_full = self.callers.len() >= self.config.limits.sessions_max as usize;
        if is_full || self.waiting >= self.config.limits.unjoined_max {
            return Some(Later::Full);
        }
        (!cx.io.allow_handshake(conn)).then_some(Later::Often)
    }
}
