//! What clients speak: finds the protocol of a request and keeps its sessions, one [`Front`] per shard.
//!
//! Must not know sockets, buffers or threads: those are [`crate::shard`]'s. Start at [`Front`], then [`socketio`], `mqtt` and
//! `stream`, which do not know each other; `apply` is how all reach the hub, `rate` what clients may send, `cors` which web pages
//! they may be, `bans` who is kept out of all, `facts` what of a first request is shown, `content` what a message of one is to the
//! others, `copies` what of all goes into queues, `presence` who comes and goes, `questions` what waits for
//! the back end's word (`question`), `lines` which connections there are and `weights` what they hold.

mod apply;
mod bans;
mod content;
mod copies;
mod cors;
mod facts;
mod lines;
mod mqtt;
mod presence;
mod question;
mod questions;
mod rate;
mod rights;
pub mod socketio;
mod stream;
mod tail;
mod weights;

use std::sync::Arc;
use std::sync::mpsc::Sender;

use bytes::Bytes;
use hub::{Command, MessageId, Millis, SessionId, ShardId, Topology};
use wire::http::Head;
use wire::websocket::Event;

use self::apply::{Performer as _, decide, door};
use self::mqtt::Mqtt;
use self::socketio::SocketIo;
use self::stream::Streams;
use crate::auth::{Gate, Shared, unix_now};
use crate::config::Config;
use crate::mail::{Admission, Denial, Mail, PeerMail};
use crate::shard::{Closed, ConnKey, Cx, Deferred, Door, Handler, Owner, Request, Response};
use crate::state::{End, ShardState};

pub use bans::{Ban, Banned, Bans};
pub(crate) use copies::bindings;
pub(crate) use cors::is_of_other_page;
pub use mqtt::{FAMILIES, Family, Figures, OWN_NAMES, attributes};
pub use question::{Deed, Draft, Question, Ruling, Terms};
pub use rights::{Rewrite, SessionChange};
pub use socketio::{Fit, Migration, PidKey, PidProof, Returning};
pub use stream::{FAMILIES as STREAM_FAMILIES, Family as StreamFamily, Figures as StreamFigures};

/// The protocols of one shard.
#[derive(Debug)]
pub struct Front {
    socketio: SocketIo,
    mqtt: Mqtt,
    streams: Streams,
    /// Who gets what the shard leaves behind.
    heir: Option<Sender<(ShardState, End)>>,
    /// Taken in when the shard starts.
    returning: Vec<Returning>,
}

impl Front {
    /// A front without sessions.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        (shard, topology): (ShardId, Topology),
        key: PidKey,
        gate: &Arc<Shared>,
    ) -> Self {
        let mqtt = Mqtt::new(Arc::clone(&config), shard, topology, Gate::new(gate));
        let streams = Streams::new(Arc::clone(&config), (shard, topology), Gate::new(gate));
        Self {
            socketio: SocketIo::new(config, (shard, topology), key, Gate::new(gate)),
            mqtt,
            streams,
            heir: None,
            returning: Vec::new(),
        }
    }

    /// At its end the shard hands over to `heir` what the next process goes on with.
    #[must_use]
    pub fn with_heir(self, heir: Option<Sender<(ShardState, End)>>) -> Self {
        Self { heir, ..self }
    }

    /// Sessions of an earlier process come back once the shard runs.
    #[must_use]
    pub fn with_returning(self, returning: Vec<Returning>) -> Self {
        Self { returning, ..self }
    }

    /// What the clients of MQTT send and get.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.mqtt.figures()
    }

    /// What the clients of streams get.
    #[must_use]
    pub fn stream_figures(&self) -> StreamFigures {
        self.streams.figures()
    }

    /// Whether nothing is kept of any client.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.socketio.is_idle() && self.mqtt.is_idle() && self.streams.is_idle()
    }
}

impl Front {
    /// Performs what concerns sessions of a protocol that did not ask for it, and what follows from that, one command after
    /// the other.
    fn settle(&mut self, cx: &mut Cx<'_>) {
        cx.hub.is_performing = true;
        loop {
            if let Some(Deferred { effect, to }) = cx.hub.deferred.pop_front() {
                let door = to.first().map_or_else(|| door(&effect), |to| apply::door_of(to.tag));
                self.perform(cx, door, effect, &to);
            } else if let Some(command) = cx.hub.commands.pop_front() {
                decide(cx, command, |cx, effect, to| self.mqtt_or_defer(cx, effect, to));
            } else {
                break;
            }
        }
        cx.hub.is_performing = false;
    }

    /// The back end closes the connection under a session.
    fn disconnect(&mut self, cx: &mut Cx<'_>, session: SessionId) {
        self.mqtt.disconnect(cx, session);
        self.streams.disconnect(cx, session);
        self.socketio.mail(cx, Mail::Disconnect { session });
    }

    /// Changes what the client of a session may do; `false`: it has no connection here.
    fn change(&mut self, cx: &mut Cx<'_>, session: SessionId, change: SessionChange) -> bool {
        self.mqtt.change(cx, session, change.clone())
            || self.streams.change(cx, session, change.clone())
            || self.socketio.change(cx, session, change)
    }

    /// Ends the sessions that a token let in; how many.
    fn revoke(&mut self, cx: &mut Cx<'_>, token_id: &str) -> u64 {
        self.socketio.revoke(cx, token_id)
            + self.mqtt.revoke(cx, token_id)
            + self.streams.revoke(cx, token_id)
    }

    /// Does what ends sessions, with words for their clients.
    fn end_saying(&mut self, cx: &mut Cx<'_>, words: Arc<str>, command: Command) {
        cx.hub.words = Some(words);
        self.socketio.mail(cx, Mail::Hub(command));
        // Clients of the other protocols are told now.
        self.settle(cx);
        cx.hub.words = None;
    }

    fn perform(&mut self, cx: &mut Cx<'_>, door: Door, effect: hub::Effect, to: &[hub::Recipient]) {
        match door {
            Door::Http => self.socketio.perform(cx, effect, to),
            Door::Stream => self.mqtt.perform(cx, effect, to),
            Door::Feed => self.streams.perform(cx, effect, to),
        }
    }

    fn mqtt_or_defer(&mut self, cx: &mut Cx<'_>, effect: hub::Effect, to: &[hub::Recipient]) {
        apply::perform_or_defer(&mut self.mqtt, cx, effect, to);
    }

    /// The back end lets a client in, unless its user is kept out.
    fn admit(&mut self, cx: &mut Cx<'_>, session: SessionId, admission: Box<Admission>) {
        if self.mqtt.asks(session) {
            // There it is looked at with all else that keeps a client out.
            self.mqtt.admit(cx, session, *admission);
        } else if cx.hub.bans.bar_user(cx.io.now(), admission.grant.user.as_ref()) {
            self.deny(cx, session, (Denial::Forbidden, "blocked".into()), None);
        } else if self.streams.has(session) {
            self.streams.admit(cx, session, *admission);
        } else {
            self.socketio.mail(cx, Mail::Admit { session, admission });
        }
    }

    fn deny(
        &mut self,
        cx: &mut Cx<'_>,
        session: SessionId,
        (denial, message): (Denial, Box<str>),
        data: Option<Bytes>,
    ) {
        if self.streams.has(session) {
            self.streams.deny(cx, session, (denial, &message));
        } else if self.mqtt.asks(session) {
            self.mqtt.deny(cx, session, (denial, &message));
        } else {
            self.socketio.mail(cx, Mail::Refuse { session, denial, message, data });
        }
    }
}

impl Handler for Front {
    fn started(&mut self, cx: &mut Cx<'_>) {
        for returning in std::mem::take(&mut self.returning) {
            self.socketio.restore(cx, returning);
        }
        self.settle(cx);
    }

    fn route(&self, head: &Head<'_>) -> ShardId {
        self.socketio.route(head)
    }

    fn body_limit(&self, head: &Head<'_>) -> Result<usize, Box<Response>> {
        if self.socketio.serves(head.path) {
            self.socketio.body_bytes_max(head)
        } else if self.mqtt.serves(head.path) {
            Ok(0)
        } else if self.streams.serves(head.path) {
            self.streams.body_bytes_max(head)
        } else {
            Err(Box::new(not_found()))
        }
    }

    fn begins(&mut self, cx: &mut Cx<'_>, conn: ConnKey, head: &Head<'_>) -> Option<Owner> {
        let owner = self.socketio.serves(head.path).then(|| self.socketio.begins(cx, conn, head)).flatten();
        self.settle(cx);
        owner
    }

    fn request(&mut self, cx: &mut Cx<'_>, conn: ConnKey, request: &Request<'_>) {
        if self.socketio.serves(request.head.path) {
            self.socketio.request(cx, conn, request);
        } else if self.mqtt.serves(request.head.path) {
            self.mqtt.request(cx, conn, &request.head);
        } else if self.streams.serves(request.head.path) {
            self.streams.request(cx, conn, request);
        } else {
            cx.io.respond(conn, not_found());
        }
        self.settle(cx);
    }

    fn message(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Owner, event: Event<'_>) {
        match owner.door() {
            Door::Http => self.socketio.message(cx, conn, owner, event),
            Door::Feed => self.streams.message(cx, conn, owner, &event),
            // Its bytes come as those of a stream.
            Door::Stream => {}
        }
        self.settle(cx);
    }

    fn begins_stream(&self, first: u8) -> bool {
        self.mqtt.begins(first)
    }

    fn stream(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Option<Owner>, bytes: &[u8]) -> usize {
        let used = self.mqtt.stream(cx, conn, owner, bytes);
        self.settle(cx);
        used
    }

    fn closed(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Owner, why: Closed) {
        match owner.door() {
            Door::Http => self.socketio.closed(cx, conn, owner, why),
            Door::Stream => self.mqtt.closed(cx, owner, why),
            Door::Feed => self.streams.closed(cx, owner, why),
        }
        self.settle(cx);
    }

    fn blocked(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Owner) {
        match owner.door() {
            Door::Http => self.socketio.blocked(cx, conn, owner),
            Door::Stream => self.mqtt.blocked(cx, owner),
            Door::Feed => self.streams.blocked(cx, owner),
        }
        self.settle(cx);
    }

    fn writable(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Owner) {
        match owner.door() {
            Door::Http => self.socketio.writable(cx, conn, owner),
            Door::Stream => self.mqtt.writable(cx, owner),
            Door::Feed => self.streams.writable(cx, owner),
        }
        self.settle(cx);
    }

    fn timer(&mut self, cx: &mut Cx<'_>, owner: Owner) {
        match owner.door() {
            Door::Http => self.socketio.timer(cx, owner),
            Door::Stream => self.mqtt.timer(cx, owner),
            Door::Feed => self.streams.timer(cx, owner),
        }
        self.settle(cx);
    }

    fn mail(&mut self, cx: &mut Cx<'_>, mail: Mail) {
        match mail {
            Mail::Inspect { sessions, reply } => {
                let found = |id| {
                    let others = || self.mqtt.inspect(cx, id).or_else(|| self.streams.inspect(cx, id));
                    self.socketio.inspect(cx, id).or_else(others)
                };
                // Nobody waits any more when the request was given up; that is no error.
                let _ = reply.send(sessions.into_iter().map(found).collect());
            }
            // The asker may have given up.
            Mail::Figures { reply } => drop(reply.send((self.mqtt.figures(), self.streams.figures()))),
            Mail::Bind { bound, reply } => {
                copies::bind(cx, bound);
                let _ = reply.send(());
            }
            Mail::Lines { of, reply } => drop(reply.send(self.lines(cx, of))),
            Mail::Weigh { after, reply } => drop(reply.send(self.weigh(cx, after))),
            Mail::EndLine { conn, reply } => drop(reply.send(self.end_line(cx, conn))),
            Mail::Ban { ban, reply } => {
                let most = cx.io.config().limits.bans_max;
                let _ = reply.send(cx.hub.bans.add(cx.io.now(), ban, most));
            }
            Mail::Unban { of, reply } => drop(reply.send(cx.hub.bans.lift(cx.io.now(), &of))),
            Mail::BanOf { of, reply } => drop(reply.send(cx.hub.bans.find(cx.io.now(), of))),
            Mail::Bans { after, limit, reply } => {
                drop(reply.send(cx.hub.bans.page(cx.io.now(), after.as_ref(), limit)));
            }
            Mail::Admit { session, admission } => self.admit(cx, session, admission),
            Mail::Refuse { session, denial, message, data } => {
                self.deny(cx, session, (denial, message), data);
            }
            Mail::Answer { session, number, ruling } if self.streams.has(session) => {
                self.streams.ruled(cx, session, (number, *ruling));
            }
            Mail::Saying(words, command) => self.end_saying(cx, words, command),
            // Nobody waits any more when the request was given up.
            Mail::Change { session, change, reply } => {
                let _ = reply.send(self.change(cx, session, *change));
            }
            Mail::Revoke { token_id, reply } => {
                let _ = reply.send(self.revoke(cx, &token_id));
            }
            Mail::Answer { session, number, ruling } if self.mqtt.has(session) => {
                self.mqtt.ruled(cx, session, (number, *ruling));
            }
            Mail::Greet { session, number, until_told } => {
                self.mqtt.may_be_greeted(cx, session, (number, until_told));
            }
            Mail::Disconnect { session } => self.disconnect(cx, session),
            mail => self.socketio.mail(cx, mail),
        }
        self.settle(cx);
    }

    fn peer(&mut self, cx: &mut Cx<'_>, from: ShardId, mail: PeerMail) {
        self.socketio.peer(cx, from, mail);
        self.settle(cx);
    }

    fn hub_deadline(&self, cx: &Cx<'_>) -> Option<Millis> {
        cx.hub.hub.next_deadline()
    }

    fn tick_hub(&mut self, cx: &mut Cx<'_>) {
        self.socketio.apply(cx, Command::Tick);
        self.settle(cx);
    }

    fn kept(&mut self, cx: &mut Cx<'_>, safe: u64) {
        self.socketio.apply(cx, Command::Kept { safe });
        self.settle(cx);
    }

    fn flush(&mut self, cx: &mut Cx<'_>) {
        self.socketio.answer_polls(cx);
        self.streams.answer_polls(cx);
        self.settle(cx);
    }

    fn drain(&mut self, cx: &mut Cx<'_>, window_ms: u64) {
        self.socketio.drain(cx, window_ms);
        self.mqtt.drain(cx, window_ms);
        self.streams.drain(cx, window_ms);
        self.settle(cx);
    }

    fn stay(&mut self, _: &mut Cx<'_>) {
        self.socketio.stay();
        self.mqtt.stay();
        self.streams.stay();
    }

    fn ended(&mut self, cx: &mut Cx<'_>, end: End) {
        if let Some(heir) = self.heir.take() {
            // Fails only when nobody waits for it any more.
            let state = ShardState { bans: cx.hub.bans.saved(cx.io.now()), ..self.socketio.state(cx) };
            let _ = heir.send((state, end));
        }
    }
}

/// Time of publication in the upper 48 bits, random bits below.
fn message_id(cx: &mut Cx<'_>) -> MessageId {
    let random = u128::from_be_bytes(cx.io.random());
    MessageId(u128::from(unix_now().0) << 80 | random >> 48)
}

fn not_found() -> Response {
    Response::new(404).header("content-type", "text/plain").body(&b"not found"[..])
}
