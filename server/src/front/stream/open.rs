//! How a stream begins: a session is made and admitted, and once every home knows of it the answer begins. So a client whose request
//! is answered misses nothing that is published from then on.
//!
//! Owns that order. Must not know what a request looks like. Start at [`Streams::open`].

use hub::{Admit, ChannelName, Command, Millis, Open, Part, Position, ReadFrom, SessionId, SessionKey};
use wire::http::BodyForm;
use wire::stream::{Mark, Notice, Positions, Resume, Said, Token, Wanted};

use super::answer::Later;
use super::caller::{Caller, Framing, Kind, Poll, Reader, Scope, Stage, to_hub, to_wire};
use super::reading::{Found, Reading};
use super::{BUDGET, Streams, owner};
use std::sync::Arc;

use crate::auth::{Action, Grant, May};
use crate::front::apply::tag_of;
use crate::mail::Handshake;
use crate::shard::{ConnKey, Cx, Door};

/// A position that no history has.
const NEVER: Position = Position { epoch: 0, offset: u64::MAX };

/// What a reader wants.
#[derive(Debug)]
pub(super) struct Asked {
    /// Channels and filters, checked; none: those of its user.
    pub(super) channels: Vec<String>,
    /// Where it was.
    pub(super) resume: Resume,
    /// The last so many messages of each channel, unless it goes on somewhere.
    pub(super) history: u32,
    /// What its channels retain comes first, unless it goes on somewhere.
    pub(super) retained: Wanted,
    /// Who it is.
    pub(super) grant: Box<Grant>,
    /// The answer by which its connection becomes a WebSocket.
    pub(super) upgrade: Option<Vec<u8>>,
    /// What the back end may see of the request, if it is told of it.
    pub(super) handshake: Option<Arc<Handshake>>,
    /// How long its answer is waited for, from when it is asked.
    pub(super) until: Option<Millis>,
    /// Of which of its channels nothing is given that is from before.
    pub(super) blank: Vec<String>,
}

/// What is to be done about one channel before what comes is given.
enum Plan {
    /// Nothing: it keeps no history, and nothing was promised.
    Nothing,
    /// It is read.
    Read(ReadFrom),
    /// What the client missed is gone. Then it is read from where it is, if there is something to read.
    Lost(Option<ReadFrom>),
}

impl Streams {
    /// Makes a session; the request is answered when it is there, or in the form of `kind` when it cannot be.
    pub(super) fn open(
        &mut self,
        cx: &mut Cx<'_>,
        (conn, kind, origin): (ConnKey, Kind, Option<&str>),
        mut asked: Asked,
        (limit, wait_seconds): (Option<u32>, Option<u32>),
    ) {
        let scope = match asked.channels.as_slice() {
            [] if asked.grant.user.is_some() || self.asks() => Scope::Own,
            // It may ask for others.
            [only] if !is_filter(only) && kind != Kind::WebSocket => Scope::One,
            _ => Scope::Several,
        };
        let mut reader = Reader {
            conn,
            session: SessionKey(0),
            id: SessionId([0; 15]),
            kind,
            framing: Framing::Plain,
            stage: Stage::Opening,
            scope,
            is_told: false,
            place: None,
            places: (scope != Scope::One).then(Box::default),
            rare: None,
        };
        let until = self.poll_until(cx.io.now(), wait_seconds);
        let rare = reader.rare();
        rare.origin = origin.map(Box::from);
        rare.upgrade = asked.upgrade.take().map(Vec::into_boxed_slice);
        if kind == Kind::Poll {
            let limit = limit.unwrap_or(u32::MAX).min(self.config.limits.poll_messages_max);
            rare.poll = Some(Poll { until, messages: Vec::new(), limit, is_due: false });
        } else {
            rare.left = limit;
        }
        let index = self.insert(Caller::Reader(reader));
        let part = if asked.channels.is_empty() { Part::Reader } else { Part::NamedReader };
        self.hold_grant(cx, (index, kind), &asked.grant);
        if let Some(reader) = self.reader_mut(index) {
            reader.rare().asked = Some(Box::new(asked));
        }
        let (tag, random) = (tag_of(Door::Feed, index), cx.io.random());
        self.apply(cx, Command::Open(Open { tag, random, recover: false, part }));
        let is_waiting = |reader: &&Reader| {
            reader.conn == conn && (reader.stage == Stage::Opening || reader.kind == Kind::Poll)
        };
        if self.reader(index).filter(is_waiting).is_some() {
            cx.io.hold(conn, owner(index));
            self.arm(cx, index);
        }
    }

    fn poll_until(&self, now: Millis, wait_seconds: Option<u32>) -> Millis {
        let longest_ms = self.config.streams.poll_wait_ms;
        let wait_ms = wait_seconds.map_or(longest_ms, |seconds| longest_ms.min(u64::from(seconds) * 1000));
        Millis(now.0 + wait_ms)
    }

    /// The hub has made the session.
    pub(super) fn opened(&mut self, cx: &mut Cx<'_>, index: u32, (session, id): (SessionKey, SessionId)) {
        let Some(reader) = self.reader_mut(index) else { return };
        (reader.session, reader.id) = (session, id);
        self.note_index(id, index);
        if self.ask(cx, index) {
            return;
        }
        self.ask_about_channels(cx, index);
    }

    /// Who its client is is known, and that it may read its channels: it is subscribed.
    pub(super) fn let_session_in(&mut self, cx: &mut Cx<'_>, index: u32) {
        let Some(reader) = self.reader_mut(index) else { return };
        let session = reader.session;
        let Some(asked) = reader.asked() else { return };
        let by_token = std::mem::take(&mut asked.grant.subscriptions);
        let subscriptions = if asked.channels.is_empty() { by_token } else { asked.channels.clone() };
        let (user, info) = (asked.grant.user.clone(), asked.grant.info.take());
        let keepsake = bytes::Bytes::new();
        let admit = Admit { session, user, info, subscriptions, keepsake };
        self.apply(cx, Command::Admit(admit));
        // Alone: what the channels keep comes before what has come meanwhile.
        self.apply(cx, Command::Resume { session, budget: 1 });
    }

    /// There is no place for it; nobody knows of it but us.
    pub(super) fn not_opened(&mut self, cx: &mut Cx<'_>, index: u32) {
        let Some(Caller::Reader(reader)) = self.remove(cx, index) else { return };
        let later = self.site.put_off(Later::Full, Some(reader.kind), reader.origin());
        cx.io.respond(reader.conn, later);
    }

    /// Every home knows of the session.
    pub(super) fn admitted(&mut self, cx: &mut Cx<'_>, index: u32) {
        let Some(reader) = self.reader_mut(index) else { return };
        let (session, id, kind, scope) = (reader.session, reader.id, reader.kind, reader.scope);
        let Some(mut asked) = reader.rare.as_mut().and_then(|rare| rare.asked.take()) else { return };
        if scope == Scope::Own {
            // What is stored of the user is known now.
            let own = cx.hub.hub.subscriptions_of(&id).into_iter().filter(|(group, _)| group.is_none());
            asked.channels = own.map(|(_, name)| name).collect();
        }
        // Before anything that waits to be done: whatever comes from now on waits in the hub.
        cx.hub.commands.push_front(Command::Pause(session));
        if kind != Kind::Poll && !self.begin(cx, index) {
            return;
        }
        self.start_reading(cx, index, scope, *asked);
    }

    /// What the channels keep is given that a client asks for.
    pub(super) fn start_reading(&mut self, cx: &mut Cx<'_>, index: u32, scope: Scope, asked: Asked) {
        let Some(kind) = self.reader(index).map(|reader| reader.kind) else { return };
        let found = if asked.resume == Resume::Nowhere { Found::Nothing } else { Found::Everything };
        // Which of its user's channels it may read the history of was looked at one by one.
        let history = if scope == Scope::Own { 0 } else { asked.history };
        let mut reading = Reading::new(history, found);
        let wants_retained = asked.retained == Wanted::Yes && asked.resume == Resume::Nowhere;
        let is_new = |channel: &&String| !asked.blank.contains(channel);
        for channel in asked.channels.iter().filter(|_| wants_retained).filter(is_new) {
            let name = ChannelName::parse(channel, u32::MAX).ok();
            reading.channels.extend(name.map(|name| (name, ReadFrom::Retained)));
        }
        for channel in &asked.channels {
            let from = match self.plan(scope, channel, &asked) {
                Plan::Nothing => None,
                Plan::Read(from) => Some(from),
                Plan::Lost(None) if kind == Kind::Poll => {
                    return self.position_lost(cx, index, channel, None);
                }
                // What is there instead, only the channel's home knows.
                Plan::Lost(Some(_)) if kind == Kind::Poll => Some(ReadFrom::After(NEVER)),
                Plan::Lost(from) => {
                    reading.found(Found::Lost);
                    self.say_lost(cx, index, channel);
                    from
                }
            };
            let name = ChannelName::parse(channel, u32::MAX).ok();
            reading.channels.extend(from.zip(name).map(|(from, name)| (name, from)));
        }
        let Some(reader) = self.reader_mut(index) else { return };
        if let Some(places) = &mut reader.places {
            take_places(places, &reading);
        }
        reader.stage = Stage::Reading;
        reader.rare().reading = Some(Box::new(reading));
        self.read_on(cx, index);
    }

    /// The head of the answer, and what a form begins with; whether the client is there.
    fn begin(&mut self, cx: &mut Cx<'_>, index: u32) -> bool {
        let Some(reader) = self.reader_mut(index) else { return false };
        let (conn, kind) = (reader.conn, reader.kind);
        if let Some(answer) = reader.rare.as_mut().and_then(|rare| rare.upgrade.take()) {
            reader.framing = Framing::Frame;
            cx.io.upgrade_websocket(conn, owner(index), answer.into_vec(), self.frame_bytes_max());
            // What it says is heard when everything is there that it has asked for.
            cx.io.pause_reading(conn);
            self.arm(cx, index);
            return true;
        }
        let Some(reader) = self.reader(index) else { return false };
        let response = self.site.stream(kind, reader.origin());
        let Some(form) = cx.io.begin_answer(conn, owner(index), &response) else { return false };
        let Some(reader) = self.reader_mut(index) else { return false };
        reader.framing = match form {
            BodyForm::Chunked => Framing::Chunked,
            BodyForm::UntilClose => Framing::Plain,
        };
        reader.rare().origin = None;
        let mut opening = Vec::new();
        self.site.opening(kind, &mut opening);
        self.say(cx, index, &opening);
        self.arm(cx, index);
        true
    }

    fn plan(&self, scope: Scope, channel: &str, asked: &Asked) -> Plan {
        if asked.blank.iter().any(|blank| blank == channel) {
            return if asked.resume == Resume::Nowhere { Plan::Nothing } else { Plan::Lost(None) };
        }
        let keeps = !is_filter(channel) && self.keeps_history(channel);
        let fresh = keeps.then(|| ReadFrom::Last(self.history_for(scope, channel, asked)));
        let is_single = scope != Scope::Own && asked.channels.len() == 1;
        let known: Option<Option<Position>> = match &asked.resume {
            Resume::Nowhere => None,
            Resume::Lost => Some(None),
            Resume::After(_) if is_filter(channel) => Some(None),
            Resume::After(Token::One(place)) => Some(is_single.then(|| to_hub(*place))),
            Resume::After(Token::Several(places)) => match places.find(Mark::of(channel)) {
                Some(place) => Some(Some(to_hub(place))),
                None if is_single => Some(None),
                // It may be one that the token had no place for.
                None if scope == Scope::Own && places.is_full() => Some(None),
                // A channel that is new, or that had no positions: nothing was promised.
                None => None,
            },
        };
        match known {
            None => fresh.map_or(Plan::Nothing, Plan::Read),
            Some(Some(place)) if keeps => Plan::Read(ReadFrom::After(place)),
            Some(_) => Plan::Lost(fresh),
        }
    }

    /// How many of a channel's last messages are wanted. What a client named was checked before.
    fn history_for(&self, scope: Scope, channel: &str, asked: &Asked) -> u32 {
        let is_its_to_read = scope != Scope::Own
            || channel.starts_with("$user/")
            || self.weigh(&asked.grant, Action::History, channel) == May::Yes;
        if is_its_to_read { asked.history } else { 0 }
    }

    /// Whether a channel has positions, by the first rule that matches it.
    fn keeps_history(&self, channel: &str) -> bool {
        let matches = |rule: &&crate::config::ChannelRule| hub::filter_matches(rule.filter.as_str(), channel);
        self.config.channels.iter().find(matches).is_some_and(|rule| rule.history_messages_max > 0)
    }

    /// What was missed of a channel or filter is gone.
    pub(super) fn say_lost(&mut self, cx: &mut Cx<'_>, index: u32, channel: &str) {
        self.figures.gaps += 1;
        let Some(reader) = self.reader(index) else { return };
        if reader.kind == Kind::WebSocket {
            let (place, recovered) = (reader.place_in(channel), Some(false));
            let notice = Notice { recovered, channel: None, position: place.as_deref() };
            return self.tell(cx, index, &Said::Lost(notice), (channel, None));
        }
        let (form, token) = (reader.kind.form(), reader.token());
        let channel = reader.places.is_some().then_some(channel);
        let mut text = Vec::new();
        form.notice(&Notice { recovered: Some(false), channel, position: token.as_deref() }, &mut text);
        self.say(cx, index, &text);
    }

    /// What comes is given from now on.
    pub(super) fn go_live(&mut self, cx: &mut Cx<'_>, index: u32) {
        let Some(reader) = self.reader_mut(index) else { return };
        reader.stage = Stage::Live;
        reader.tidy();
        let (session, conn, kind) = (reader.session, reader.conn, reader.kind);
        if kind == Kind::Poll || cx.io.is_writable(conn) {
            self.apply(cx, Command::Resume { session, budget: BUDGET });
        }
        self.read_socket(cx, index);
    }
}

/// Until a channel is read, the client is where it said it was.
fn take_places(places: &mut Positions, reading: &Reading) {
    for (channel, from) in &reading.channels {
        if let ReadFrom::After(place) = from
            && *place != NEVER
        {
            places.set(Mark::of(channel.as_str()), to_wire(*place));
        }
    }
}

pub(super) fn is_filter(channel: &str) -> bool {
    channel.contains(['+', '#'])
}
