//! Streams in WebSockets: what a client says in its frames, and what it is told.
//!
//! Owns the order of what a client asks for: one subscription at a time, while its connection is not read from, so that what a channel
//! keeps comes before what comes, and messages to others beside each other. Must not know the form of frames
//! ([`wire::stream::Wish`]). Start at [`Streams::upgrade`] and [`Streams::message`].

use bytes::Bytes;
use hub::{CatchUp, Command, Join, Millis, Options, Outcome, Reason, SessionKey, check_filter};
use wire::http::Head;
use wire::stream::{Around, Deed, Notice, Params, Resume, SUBPROTOCOL, Said, Wanted, Wish};
use wire::websocket::{CloseCode, Event, accept, choose_subprotocol, close_frame};

use super::Streams;
use super::access::Turned;
use super::answer::Refusal;
use super::caller::{Kind, Scope, Stage};
use super::open::{Asked, is_filter};
use super::publish::time_and_text;
use crate::auth::Grant;
use crate::front::message_id;
use crate::front::rate::Rate;
use crate::shard::{ConnKey, Cx, Owner, Response};

/// Messages of one client that are on their way; then its connection is not read from.
const UNDER_WAY_MAX: u16 = 64;

/// What a frame has beside the content of a message, at most.
const AROUND_BYTES: usize = 16 << 10;

/// A subscription that is being changed.
#[derive(Debug)]
pub(super) struct Doing {
    /// The client's name of the event that asked for it.
    pub(super) id: Box<str>,
    pub(super) channel: Box<str>,
    /// What it wants of the channel's history.
    resume: Resume,
    pub(super) history: u32,
    retained: Wanted,
}

impl Doing {
    /// Nothing of it is from before.
    pub(super) fn forget(&mut self) {
        (self.history, self.retained) = (0, Wanted::No);
        if self.resume != Resume::Nowhere {
            self.resume = Resume::Lost;
        }
    }

    fn new(id: &str, channel: &str) -> Self {
        let (resume, history, retained) = (Resume::Nowhere, 0, Wanted::No);
        Self { id: id.into(), channel: channel.into(), resume, history, retained }
    }
}

impl Streams {
    /// `GET /ws`: becomes a WebSocket when the session is there.
    pub(super) fn upgrade(&mut self, cx: &mut Cx<'_>, conn: ConnKey, head: &Head<'_>) -> Result<(), Turned> {
        let accepted = match accept(head) {
            Ok(accepted) => accepted,
            Err(error) => {
                cx.io.respond(conn, Response::no_websocket(error));
                return Ok(());
            }
        };
        if choose_subprotocol(head, &[SUBPROTOCOL]).is_none() {
            return Err(
                Refusal::new(400, "malformed", "the WebSocket subprotocol must be cloudevents.json").into()
            );
        }
        let params = Params::read(head.query, None).map_err(Refusal::from)?;
        let grant = self.let_in(cx, conn, head)?;
        self.check_channels(Kind::WebSocket, &params, &grant)?;
        self.check_permissions(&params, &grant)?;
        let mut answer = Vec::new();
        accepted.respond(Some(SUBPROTOCOL), &mut answer);
        let mut asked = Asked { upgrade: Some(answer), ..self.asked(params, grant) };
        asked.handshake = self.facts(cx, (conn, Kind::WebSocket), head, &asked)?;
        self.open(cx, (conn, Kind::WebSocket, head.header("origin")), asked, (None, None));
        Ok(())
    }

    /// Largest frame of a client: the content of a message may be base64 in it.
    pub(super) fn frame_bytes_max(&self) -> u32 {
        let content = self.config.limits.message_bytes_max.div_ceil(3).saturating_mul(4);
        u32::try_from(content.saturating_add(AROUND_BYTES)).unwrap_or(u32::MAX)
    }

    /// A frame of a client.
    pub(in crate::front) fn message(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnKey,
        owner: Owner,
        event: &Event<'_>,
    ) {
        let index = owner.index();
        if self.reader(index).is_none_or(|reader| reader.conn != conn || reader.kind != Kind::WebSocket) {
            return;
        }
        let text = match event {
            Event::Text(text) => text,
            Event::Binary(_) => {
                return self.finish_with(cx, index, (CloseCode::UNSUPPORTED, "text frames only"));
            }
            Event::Ping(_) | Event::Pong(_) | Event::Close { .. } => return,
        };
        self.charge(cx, index, text.len());
        match Wish::read(text) {
            Ok(wish) => self.grant_wish(cx, index, wish),
            Err(error) => {
                let refusal = Refusal::new(400, "malformed", error.text);
                self.tell_refused(cx, index, ("", error.id.as_deref()), &refusal);
            }
        }
    }

    fn grant_wish(&mut self, cx: &mut Cx<'_>, index: u32, wish: Wish) {
        let Wish { id, channel, deed } = wish;
        let done = match deed {
            Deed::Publish { event, media, payload } => {
                self.publish_from(cx, index, (&id, &channel), (event, media, payload))
            }
            Deed::Subscribe { after, history, retained } => {
                let resume = after.map_or(Resume::Nowhere, Resume::After);
                let history = history.min(self.config.limits.stream_history_max);
                let doing = Doing { resume, history, retained, ..Doing::new(&id, &channel) };
                self.subscribe(cx, index, doing)
            }
            Deed::Unsubscribe => {
                self.unsubscribe(cx, index, Doing::new(&id, &channel));
                Ok(())
            }
        };
        if let Err(refusal) = done {
            self.figures.refused += 1;
            self.tell_refused(cx, index, (&channel, Some(&id)), &refusal);
        }
    }

    fn subscribe(&mut self, cx: &mut Cx<'_>, index: u32, doing: Doing) -> Result<(), Refusal> {
        let limits = &self.config.limits;
        check_filter(&doing.channel, limits.channel_name_bytes_max)
            .map_err(|refusal| Refusal::of(refusal, &doing.channel))?;
        if doing.retained == Wanted::Yes && is_filter(&doing.channel) {
            return Err(Refusal::retained_of(&doing.channel));
        }
        let Some(reader) = self.reader(index) else { return Ok(()) };
        let subscribed = cx.hub.hub.subscriptions_of(&reader.id);
        let is_new = subscribed.iter().all(|(_, known)| **known != *doing.channel);
        if is_new && subscribed.len() >= limits.stream_channels_max {
            let detail = format!("at most {} channels in one stream", limits.stream_channels_max);
            return Err(Refusal::new(422, "over-limit", detail));
        }
        let grant = self.grant_of(cx, index);
        self.check_reading(&grant, &doing.channel, doing.history)?;
        if self.is_to_be_asked(&grant, &doing.channel, doing.history) {
            self.ask_about_wish(cx, index, doing);
            return Ok(());
        }
        self.join(cx, index, doing);
        Ok(())
    }

    /// Subscribes a client that may.
    pub(super) fn join(&mut self, cx: &mut Cx<'_>, index: u32, doing: Doing) {
        let filter = String::from(&*doing.channel);
        let Some(session) = self.begin_doing(cx, index, doing) else { return };
        let options = Options::default();
        let join = Join { session, filter, group: None, options, catch_up: CatchUp::Never, request: 0 };
        self.apply(cx, Command::Join(join));
    }

    fn unsubscribe(&mut self, cx: &mut Cx<'_>, index: u32, doing: Doing) {
        let filter = String::from(&*doing.channel);
        let Some(session) = self.begin_doing(cx, index, doing) else { return };
        self.apply(cx, Command::Leave { session, filter, group: None, request: 0 });
    }

    /// What comes waits in the hub, and what the client says in its socket, until it is done.
    fn begin_doing(&mut self, cx: &mut Cx<'_>, index: u32, doing: Doing) -> Option<SessionKey> {
        let reader = self.reader_mut(index)?;
        reader.rare().doing = Some(Box::new(doing));
        reader.stage = Stage::Reading;
        let (session, conn) = (reader.session, reader.conn);
        cx.io.pause_reading(conn);
        self.apply(cx, Command::Pause(session));
        Some(session)
    }

    /// The hub has done what was asked for, or has not.
    pub(super) fn done(&mut self, cx: &mut Cx<'_>, index: u32, outcome: Outcome) {
        let Some(reader) = self.reader_mut(index) else { return };
        let Some(rare) = reader.rare.as_mut() else { return };
        match outcome {
            Outcome::Joined { .. } => {
                let Some(doing) = rare.doing.as_mut() else { return };
                let asked = Asked {
                    channels: vec![doing.channel.to_string()],
                    resume: std::mem::take(&mut doing.resume),
                    history: doing.history,
                    retained: doing.retained,
                    grant: Box::default(),
                    upgrade: None,
                    handshake: None,
                    until: None,
                    blank: Vec::new(),
                };
                self.start_reading(cx, index, Scope::One, asked);
            }
            Outcome::Left { existed } => {
                let Some(doing) = rare.doing.take() else { return };
                reader.set(&doing.channel, None);
                let about = (&*doing.channel, Some(&*doing.id));
                if existed {
                    self.tell(cx, index, &Said::Unsubscribed, about);
                } else {
                    let refusal = Refusal::new(404, "not-found", "there is no such subscription");
                    self.tell_refused(cx, index, about, &refusal);
                }
                self.go_live(cx, index);
            }
            Outcome::Refused(refusal) => {
                let Some(doing) = rare.doing.take() else { return };
                let refusal = Refusal::of(refusal, &doing.channel);
                self.tell_refused(cx, index, (&doing.channel, Some(&doing.id)), &refusal);
                self.go_live(cx, index);
            }
            Outcome::Published { .. } | Outcome::Repeated | Outcome::Forgotten => {}
        }
    }

    /// Everything is read that the channels keep which were asked for.
    pub(super) fn tell_begun(&mut self, cx: &mut Cx<'_>, index: u32, recovered: Option<bool>) {
        let Some(reader) = self.reader_mut(index) else { return };
        let doing = reader.rare.as_mut().and_then(|rare| rare.doing.take());
        match doing {
            Some(doing) => {
                let place = reader.place_in(&doing.channel);
                let notice = Notice { recovered, channel: None, position: place.as_deref() };
                self.tell(cx, index, &Said::Subscribed(notice), (&doing.channel, Some(&doing.id)));
            }
            None => {
                let has_places = reader.places.as_ref().is_some_and(|places| !places.is_empty());
                let token = reader.token().filter(|_| has_places);
                let notice = Notice { recovered, channel: None, position: token.as_deref() };
                self.tell(cx, index, &Said::Opened(notice), ("", None));
            }
        }
    }

    /// Says something to one client.
    pub(super) fn tell(
        &mut self,
        cx: &mut Cx<'_>,
        index: u32,
        said: &Said<'_>,
        (channel, answers): (&str, Option<&str>),
    ) {
        let (time_ms, id) = time_and_text(message_id(cx));
        let text = said.to_json(&Around { id: &id, time_ms, channel, answers });
        self.say(cx, index, text.as_bytes());
    }

    pub(super) fn tell_refused(
        &mut self,
        cx: &mut Cx<'_>,
        index: u32,
        about: (&str, Option<&str>),
        refusal: &Refusal,
    ) {
        self.tell(cx, index, &Said::Refused { problem: &refusal.problem() }, about);
    }

    /// One more message of a client is under way.
    pub(super) fn under_way(&mut self, cx: &mut Cx<'_>, index: u32) {
        let Some(reader) = self.reader_mut(index) else { return };
        let conn = reader.conn;
        let rare = reader.rare();
        rare.under_way += 1;
        if rare.under_way >= UNDER_WAY_MAX {
            cx.io.pause_reading(conn);
        }
    }

    /// One is where it is needed, or nowhere.
    pub(super) fn arrived(&mut self, cx: &mut Cx<'_>, index: u32) {
        let Some(rare) = self.reader_mut(index).and_then(|reader| reader.rare.as_mut()) else { return };
        rare.under_way = rare.under_way.saturating_sub(1);
        self.read_socket(cx, index);
        if let Some(reader) = self.reader_mut(index) {
            reader.tidy();
        }
    }

    /// Hears what a client says, unless something is to be waited for.
    pub(super) fn read_socket(&mut self, cx: &mut Cx<'_>, index: u32) {
        let Some(reader) = self.reader(index).filter(|reader| reader.stage == Stage::Live) else { return };
        let is_free = reader.rare.as_ref().is_none_or(|rare| {
            let is_paused = rare.rate.as_ref().is_some_and(|rate| rate.paused_until().is_some());
            rare.under_way < UNDER_WAY_MAX && !is_paused && rare.held.is_none()
        });
        if is_free && reader.kind == Kind::WebSocket {
            cx.io.resume_reading(reader.conn);
        }
    }

    /// Counts a frame, and pauses reading when that was too much (`limits.events_per_second`, `limits.bytes_per_second`).
    fn charge(&mut self, cx: &mut Cx<'_>, index: u32, bytes: usize) {
        let now = cx.io.now();
        let Some(fresh) = Rate::new(now, &self.config.limits) else { return };
        let Some(reader) = self.reader_mut(index) else { return };
        let conn = reader.conn;
        let rate = reader.rare().rate.get_or_insert_with(|| Box::new(fresh));
        if rate.take(now, (1, bytes)).is_some() {
            cx.io.pause_reading(conn);
        }
        self.arm(cx, index);
    }

    /// Reads again when a pause is over, and forgets a rate that is as good as new. Whether there was one.
    pub(super) fn rest(&mut self, cx: &mut Cx<'_>, index: u32, now: Millis) -> bool {
        let rare = self.reader_mut(index).and_then(|reader| reader.rare.as_mut());
        let Some(rare) = rare.filter(|rare| rare.rate.is_some()) else { return false };
        let is_over = rare.rate.as_mut().is_some_and(|rate| rate.end_pause(now));
        rare.rate.take_if(|rate| rate.full_at() <= now);
        if is_over {
            self.read_socket(cx, index);
        }
        if let Some(reader) = self.reader_mut(index) {
            reader.tidy();
        }
        true
    }

    /// Who a client is that is let in.
    pub(super) fn grant_of(&self, cx: &Cx<'_>, index: u32) -> Grant {
        let user = self.reader(index).and_then(|reader| cx.hub.hub.user_of(&reader.id));
        let permissions = self.held.get(&index).and_then(|held| held.permissions.clone());
        Grant { user, permissions, ..Grant::default() }
    }

    /// Ends a stream with a close code of its own.
    fn finish_with(&mut self, cx: &mut Cx<'_>, index: u32, (code, text): (CloseCode, &str)) {
        let Some(reader) = self.take_reader(cx, index) else { return };
        close(cx, reader.conn, (code, text));
        self.end_session(cx, &reader, Reason::Misbehaved);
    }
}

/// Says goodbye and closes.
pub(super) fn close(cx: &mut Cx<'_>, conn: ConnKey, (code, text): (CloseCode, &str)) {
    let mut bytes = Vec::new();
    close_frame(code, text, &mut bytes);
    cx.io.stage(conn, &Bytes::from(bytes));
    cx.io.close_after_flush(conn);
}

/// How a client is told of an end. Below 4500 it should come back, from there on it should not.
pub(super) fn close_code(reason: Reason) -> (CloseCode, &'static str) {
    let (code, text) = match reason {
        Reason::ClientLeft | Reason::ConnectionClosed => (1000, ""),
        Reason::Disconnected | Reason::ConnectionFailed => (4000, "disconnected"),
        Reason::CredentialsExpired => (4001, "the token is over"),
        Reason::Draining => (4002, "the server stops"),
        Reason::SlowConsumer => (4003, "too slow"),
        Reason::OverLimit => (4004, "a limit is reached"),
        Reason::Silent | Reason::NeverAdmitted | Reason::Expired => (4005, "time is over"),
        Reason::Kicked => (4500, "ended by the back end"),
        Reason::Refused => (4501, "refused"),
        Reason::TakenOver => (4502, "taken over"),
        Reason::Malformed | Reason::Misbehaved => (4503, "against the protocol"),
        Reason::Superseded => (4504, "the user has a newer session"),
        Reason::UserFull => (4505, "the user has as many sessions as it may"),
        Reason::Revoked => (4506, "the token is revoked"),
    };
    (CloseCode(code), text)
}
