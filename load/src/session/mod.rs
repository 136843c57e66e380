//! Clients as bytes in, bytes out: what each protocol says until its session is ready, and after that.
//!
//! Must not know sockets, threads or time: the event loop owns them. A session reports what happened to a [`Sink`].
//! Start at [`Session`].

mod emission;
mod mqtt;
mod polling;
mod resume;
mod streaming;
mod websocket;

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};
use wire::http::percent_encode;
use wire::socketio::{AckId, Codec, Parser, Revision, Suffix};
use wire::values::{Bounds, JsonText, Values};

use crate::comeback::{Comeback, Promise, Recovery};
use crate::error::Error;
use crate::hostile::{Attack, Attacker};
use crate::message::Marker;
use crate::mqtt::{Options, Qos};
use crate::pool::Attribution;
use crate::report::Report;
use crate::target::{Scheme, Target};
pub use emission::Answer;
pub(crate) use emission::Emission;
pub(crate) use mqtt::Mqtt;
pub(crate) use polling::Polling;
use resume::Resume;
use streaming::{Lines, Streaming};
pub(crate) use websocket::{NONCE, WebSocket, decoder, mask, say};

/// What the clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// Socket.IO 5 on Engine.IO 4, directly over WebSocket.
    SocketIo,
    /// The same over HTTP polling. Between two polls a client has no connection.
    SocketIoPoll,
    /// A bare WebSocket at the path of the target, which may hold the placeholders of [`Join::room`]; every message is a
    /// delivery. Nothing is said but answers to pings.
    WebSocket,
    /// Server-sent events, at `/sse` for the channel that is joined, or at the path of the target with its placeholders; every event
    /// is a delivery.
    Sse,
    /// Lines of JSON, at `/ndjson` or the path of the target.
    Ndjson,
    /// The same as CloudEvents in the frames of a WebSocket, at `/ws` or the path of the target.
    CloudEvents,
    /// MQTT, over TCP or WebSocket as the target says; rooms are topic filters.
    Mqtt(Options),
    /// Frames of a WebSocket without any handshake, as the floor's writer sends them.
    Frames,
}

impl Protocol {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::SocketIo => "socketio",
            Self::SocketIoPoll => "socketio-poll",
            Self::WebSocket => "websocket",
            Self::Sse => "sse",
            Self::Ndjson => "ndjson",
            Self::CloudEvents => "cloudevents",
            Self::Mqtt(_) => "mqtt",
            Self::Frames => "frames",
        }
    }

    /// Says in a report what was spoken.
    pub(crate) fn settings(self, report: &mut Report) {
        report.setting("protocol", self.name());
        if let Self::Mqtt(Options { version, qos }) = self {
            report.setting("mqtt_version", version.name());
            report.setting("qos", qos.number());
        }
    }

    /// Of MQTT how it is spoken; of others nothing that counts.
    pub(crate) fn mqtt(self) -> Options {
        match self {
            Self::Mqtt(options) => options,
            Self::SocketIo | Self::SocketIoPoll | Self::WebSocket | Self::Frames => Options::default(),
            Self::Sse | Self::Ndjson | Self::CloudEvents => Options::default(),
        }
    }

    /// What is owed to clients that were away.
    pub(crate) fn promise(self, recovery: Recovery) -> Promise {
        match (self, recovery) {
            (_, Recovery::Off) => Promise::Nothing,
            (Self::Mqtt(Options { qos: Qos::AtMostOnce, .. }), _) => Promise::Nothing,
            (Self::Mqtt(Options { qos: Qos::AtLeastOnce, .. }), _) => Promise::Everything,
            _ => Promise::EverythingOnce,
        }
    }

    /// Refuses clients that have no session to come back to.
    pub(crate) fn check_returning(self) -> Result<(), Error> {
        match self {
            Self::SocketIo | Self::Mqtt(_) => Ok(()),
            _ => Err(Error::new(format!(
                "clients of {} do not come back; this scenario is for socketio and mqtt",
                self.name()
            ))),
        }
    }

    /// Refuses targets that speak something else.
    pub(crate) fn check_targets(self, targets: &[Target]) -> Result<(), Error> {
        let is_bare = targets.iter().any(|target| target.scheme == Scheme::Mqtt);
        match self {
            Self::Mqtt(_) | Self::Frames => Ok(()),
            _ if is_bare => {
                Err(Error::new(format!("a target mqtt:// is for clients of mqtt, not of {}", self.name())))
            }
            _ => Ok(()),
        }
    }
}

impl Protocol {
    /// Refuses clients that have no connection most of the time: they hear and say nothing in time.
    pub(crate) fn check_live(self) -> Result<(), Error> {
        match self {
            Self::SocketIoPoll => Err(Error::new(
                "clients of socketio-poll are away between two pings here, so this scenario is for socketio, websocket, \
                 sse, ndjson, cloudevents and mqtt",
            )),
            _ => Ok(()),
        }
    }

    /// Refuses clients that have nothing to say.
    pub(crate) fn check_speaking(self) -> Result<(), Error> {
        match self {
            Self::WebSocket | Self::Sse | Self::Ndjson | Self::CloudEvents | Self::Frames => Err(Error::new(
                format!("clients of {} only listen; this scenario is for socketio and mqtt", self.name()),
            )),
            Self::SocketIo | Self::SocketIoPoll | Self::Mqtt(_) => self.check_live(),
        }
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "socketio" => Ok(Self::SocketIo),
            "socketio-poll" => Ok(Self::SocketIoPoll),
            "websocket" => Ok(Self::WebSocket),
            "sse" => Ok(Self::Sse),
            "ndjson" => Ok(Self::Ndjson),
            "cloudevents" => Ok(Self::CloudEvents),
            "mqtt" => Ok(Self::Mqtt(Options::default())),
            _ => {
                Err("known are socketio, socketio-poll, websocket, sse, ndjson, cloudevents and mqtt".into())
            }
        }
    }
}

/// An event every client emits after its handshake and whose acknowledgement it awaits; of MQTT the subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// Name of the event. MQTT has none.
    pub event: String,
    /// Its argument, or the topic filter; `%{i}` is the number of the client, `%{i%100}` the remainder of it, and
    /// `%{i+50%100}` that of the number plus 50.
    pub room: String,
}

impl Join {
    /// A subscription of MQTT.
    pub fn to_filter(filter: &str) -> Self {
        Self { event: String::new(), room: filter.to_owned() }
    }

    /// The room of client `index`.
    pub(crate) fn room_of(&self, index: u32) -> String {
        filled(&self.room, index)
    }
}

/// `template` for client `index`. What is no valid placeholder stays as it is.
pub(crate) fn filled(template: &str, index: u32) -> String {
    let Some((before, rest)) = template.split_once("%{i") else { return template.to_owned() };
    let Some((inner, after)) = rest.split_once('}') else { return template.to_owned() };
    match value(inner, index) {
        Some(value) => format!("{before}{value}{after}"),
        None => template.to_owned(),
    }
}

/// What stands for `+50%100`; either part may be missing.
fn value(inner: &str, index: u32) -> Option<u32> {
    let (added, modulus) = match inner.split_once('%') {
        Some((added, modulus)) => (added, Some(modulus.parse::<u32>().ok()?)),
        None => (inner, None),
    };
    let added: u32 = match added.strip_prefix('+') {
        Some(digits) => digits.parse().ok()?,
        None if added.is_empty() => 0,
        None => return None,
    };
    let sum = index.checked_add(added)?;
    modulus.map_or(Some(sum), |modulus| sum.checked_rem(modulus))
}

/// What all clients of a run have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Script {
    /// What they speak.
    pub(crate) protocol: Protocol,
    /// What they emit when they are connected.
    pub(crate) join: Option<Join>,
    /// What they do after that, if they mean no good.
    pub(crate) attack: Option<Attack>,
    /// The user each one connects as, a template like [`Join::room`].
    pub(crate) user: Option<String>,
    /// The name by which a server of MQTT knows each one, a template; no two clients of a machine have the same.
    pub(crate) client_id: String,
    /// What they say when they are asked to.
    pub(crate) emission: Option<Emission>,
    /// When they come.
    pub(crate) opening: Opening,
    /// Whether they come back when they lose their connection; without it that is the end of a client.
    pub(crate) comeback: Option<Comeback>,
    /// How long a connection may take until the session is where it wants to be.
    pub(crate) handshake_ms_max: u64,
    /// How latencies of messages are kept.
    pub(crate) attribution: Attribution,
}

/// How long a handshake may take, as socket.io-client has it.
const HANDSHAKE_MS_MAX: u64 = 20_000;

/// When clients connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Opening {
    /// All of them as soon as the pool is started.
    AtOnce,
    /// Each one when it is asked for a visit.
    WhenAsked,
}

impl Script {
    /// Clients that come at once, join and listen, and do not come back.
    pub(crate) fn new(protocol: Protocol, join: Option<Join>) -> Self {
        Self {
            protocol,
            join,
            attack: None,
            user: None,
            client_id: client_id(),
            emission: None,
            opening: Opening::AtOnce,
            comeback: None,
            handshake_ms_max: HANDSHAKE_MS_MAX,
            attribution: Attribution::Together,
        }
    }

    /// Clients of MQTT that hear what they say themselves, without a back end between: each publishes to the topic that it is
    /// subscribed to, a template that is another one for each.
    pub(crate) fn own_topic(protocol: Protocol, topic: &str, payload_bytes: usize) -> Self {
        let emission = Some(Emission::to_topic(topic, payload_bytes));
        Self { emission, ..Self::new(protocol, Some(Join::to_filter(topic))) }
    }

    /// Whether their clients send pings, without which a server takes them for dead.
    pub(crate) fn has_pings(&self) -> bool {
        matches!(self.protocol, Protocol::Mqtt(_))
    }

    /// Whether clients ask for what they missed while they were away.
    fn recovery(&self) -> Recovery {
        self.comeback.map_or(Recovery::Off, |comeback| comeback.recovery)
    }

    /// The Engine.IO packet with which client `index` enters the main namespace; `resume` names the session it had.
    pub(crate) fn connect_packet(&self, index: u32, resume: Option<&Resume>) -> Vec<u8> {
        let mut credentials = resume.map(Resume::credentials).unwrap_or_default();
        if let Some(user) = &self.user {
            credentials.insert("user".into(), filled(user, index).into());
        }
        let text = serde_json::Value::Object(credentials).to_string();
        let auth = (text != "{}").then(|| JsonText::parse_object(&text, &Bounds::default()).ok()).flatten();
        CODEC.connect("/", auth.as_ref()).text.to_vec()
    }

    /// Where client `index` asks for a stream: at the path of the target, else at `path` for the channel that it joins.
    pub(crate) fn stream_path(&self, target: &Target, (path, index): (&str, u32)) -> String {
        if !target.path.is_empty() {
            return filled(&target.path, index);
        }
        let mut at = format!("{path}?channel=");
        let channel = self.join.as_ref().map(|join| join.room_of(index)).unwrap_or_default();
        percent_encode(&channel, &mut at);
        at
    }

    /// The Engine.IO packet that joins client `index`.
    pub(crate) fn join_packet(&self, index: u32) -> Option<Vec<u8>> {
        let join = self.join.as_ref()?;
        Some(event(&join.event, &join.room_of(index), Some(0)))
    }
}

/// The process and how many scripts it made before; short, as servers keep it for every client.
fn client_id() -> String {
    static SCRIPTS: AtomicU32 = AtomicU32::new(0);
    format!("b{:x}-{}-%{{i}}", std::process::id(), SCRIPTS.fetch_add(1, Ordering::Relaxed))
}

/// An event of one string in the main namespace, as an Engine.IO packet in text form.
pub(crate) fn event(name: &str, argument: &str, ack: Option<u64>) -> Vec<u8> {
    let args = Values::builder().string(argument).build().expect("a string is within the bounds");
    let suffix = Suffix { id: ack.map(AckId), offset: None };
    CODEC.event("/", &Values::event(name, &args), suffix).text.to_vec()
}

/// How every client of this crate writes.
pub(crate) const CODEC: Codec = Codec { revision: Revision::V5, parser: Parser::Default };

/// What a session tells its event loop.
pub(crate) trait Sink {
    /// The handshake is over, the client is where the scenario wants it; again after each return.
    fn ready(&mut self);
    /// The server gave a client that came back the session it had.
    fn recovered(&mut self) {}
    /// An event arrived; with its marker if it is one of the scenario's messages.
    fn message(&mut self, marker: Option<Marker>);
    /// An acknowledgement or a pong arrived.
    fn ack(&mut self);
    /// The server acknowledged a message that the client said.
    fn confirmed(&mut self) {}
    /// The server takes the client for dead after one and a half times so long a silence.
    fn keep_alive(&mut self, _seconds: u16) {}
}

/// What is to be done with the connection after some bytes were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Go on reading and writing.
    Continue,
    /// Close it; the session lives on and wants a connection when it is due.
    Rest,
    /// Close it; the session is over, as planned.
    Finish,
    /// Stop reading, on purpose.
    Deaf,
}

/// What a session did with bytes it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Took {
    /// Bytes dealt with; the rest comes again, with more behind it.
    pub(crate) consumed: usize,
    /// What now.
    pub(crate) next: Next,
}

/// One client.
#[derive(Debug)]
pub(crate) enum Session {
    WebSocket(WebSocket),
    Polling(Polling),
    Streaming(Streaming),
    Mqtt(Mqtt),
    Attacker(Box<Attacker>),
}

impl Session {
    /// Client `index`, not connected.
    pub(crate) fn new(script: &Arc<Script>, index: u32) -> Self {
        match (script.attack, script.protocol) {
            (Some(attack), _) => Self::Attacker(Box::new(Attacker::new(attack, script.join.clone(), index))),
            (None, Protocol::SocketIo) => Self::WebSocket(WebSocket::with_recovery(index, script.recovery())),
            (None, Protocol::WebSocket) => Self::WebSocket(WebSocket::bare(index)),
            (None, Protocol::CloudEvents) => Self::WebSocket(WebSocket::stream(index)),
            (None, Protocol::Frames) => Self::WebSocket(WebSocket::without_handshake(index)),
            (None, Protocol::SocketIoPoll) => Self::Polling(Polling::new(index)),
            (None, Protocol::Sse) => Self::Streaming(Streaming::new(index, Lines::Events)),
            (None, Protocol::Ndjson) => Self::Streaming(Streaming::new(index, Lines::Objects)),
            (None, Protocol::Mqtt(options)) => Self::Mqtt(Mqtt::new(index, options)),
        }
    }

    /// A connection is there: what to say first.
    pub(crate) fn connected(
        &mut self,
        script: &Script,
        target: &Target,
        out: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) {
        match self {
            Self::WebSocket(session) => session.connected(script, target, out, sink),
            Self::Polling(session) => session.connected(target, out),
            Self::Streaming(session) => session.connected(script, target, out),
            Self::Mqtt(session) => session.connected(script, target, out),
            Self::Attacker(session) => session.connected(script, target, out, sink),
        }
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self) {
        if let Self::Mqtt(session) = self {
            session.disconnected();
        }
    }

    /// Bytes have come. `Err` says what the server did wrong.
    pub(crate) fn received(
        &mut self,
        script: &Script,
        buf: &mut [u8],
        out: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) -> Result<Took, String> {
        match self {
            Self::WebSocket(session) => session.received(script, buf, out, sink),
            Self::Polling(session) => session.received(script, buf, out, sink),
            Self::Streaming(session) => session.received(buf, sink),
            Self::Mqtt(session) => session.received(script, buf, out, sink),
            Self::Attacker(session) => session.received(script, buf, out, sink),
        }
    }

    /// Twenty times a second, with everything queued before already written: what to say now.
    pub(crate) fn tick(&mut self, out: &mut Vec<u8>) -> Next {
        match self {
            Self::WebSocket(_) | Self::Polling(_) | Self::Streaming(_) | Self::Mqtt(_) => Next::Continue,
            Self::Attacker(session) => session.tick(out),
        }
    }

    /// Says a numbered message; false if the session is not where it can be said.
    pub(crate) fn say(&mut self, script: &Script, marker: Marker, out: &mut Vec<u8>) -> bool {
        match self {
            Self::WebSocket(session) => session.say(script, marker, out),
            Self::Mqtt(session) => {
                let Some(emission) = &script.emission else { return false };
                let topic = emission.topic(session.index());
                session.publish(script, &topic, marker.data(emission.payload_bytes).as_bytes(), out)
            }
            Self::Polling(_) | Self::Streaming(_) | Self::Attacker(_) => false,
        }
    }

    /// Publishes to a channel; false if the session is not where it can, or its protocol has no such thing.
    pub(crate) fn publish(&mut self, script: &Script, channel: &str, data: &str, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Mqtt(session) => session.publish(script, channel, data.as_bytes(), out),
            Self::WebSocket(_) | Self::Polling(_) | Self::Streaming(_) | Self::Attacker(_) => false,
        }
    }

    /// Asks the server for a sign of life; false if the session does not do that.
    pub(crate) fn ping(&mut self, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Mqtt(session) => session.ping(out),
            Self::WebSocket(_) | Self::Polling(_) | Self::Streaming(_) | Self::Attacker(_) => false,
        }
    }

    /// Says goodbye on a connection that then ends by the server's closing it.
    pub(crate) fn leave(&mut self, script: &Script, out: &mut Vec<u8>) {
        match self {
            Self::WebSocket(session) => session.leave(out),
            Self::Mqtt(session) => session.leave(script, out),
            Self::Polling(_) | Self::Streaming(_) | Self::Attacker(_) => {}
        }
    }

    /// Whether goodbye was said, so that the end of the connection is what was wanted.
    pub(crate) fn is_leaving(&self) -> bool {
        match self {
            Self::WebSocket(session) => session.is_leaving(),
            Self::Mqtt(session) => session.is_leaving(),
            Self::Polling(_) | Self::Streaming(_) | Self::Attacker(_) => false,
        }
    }

    /// Whether a resting session ends by saying so on a new connection; a session that has one just closes it.
    pub(crate) fn begin_leaving(&mut self) -> bool {
        match self {
            Self::Polling(session) => session.begin_leaving(),
            Self::WebSocket(_) | Self::Streaming(_) | Self::Mqtt(_) | Self::Attacker(_) => false,
        }
    }

    /// What a session that is not ready yet waits for an answer to.
    pub(crate) fn phase(&self) -> &'static str {
        match self {
            Self::WebSocket(session) => session.phase(),
            Self::Polling(session) => session.phase(),
            Self::Streaming(session) => session.phase(),
            Self::Mqtt(session) => session.phase(),
            Self::Attacker(_) => "an attack",
        }
    }

    /// Milliseconds a resting session may stay away from its server.
    pub(crate) fn rest_ms(&self) -> Option<u64> {
        match self {
            Self::Polling(session) => session.rest_ms(),
            Self::WebSocket(_) | Self::Streaming(_) | Self::Mqtt(_) | Self::Attacker(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_follow_the_template() {
        let room = |room: &str| Join { event: "join".into(), room: room.into() }.room_of(1234);
        assert_eq!(room("room-%{i%100}"), "room-34");
        assert_eq!(room("r%{i}x"), "r1234x");
        for same in ["lobby", "a%{i", "a%{i%0}", "a%{ix}"] {
            assert_eq!(room(same), same);
        }
    }

    #[test]
    fn a_client_connects_as_its_user() {
        let mut script = Script::new(Protocol::SocketIo, None);
        assert_eq!(script.connect_packet(7, None), b"40");
        script.user = Some("u%{i}".into());
        assert_eq!(script.connect_packet(7, None), br#"40{"user":"u7"}"#);
    }

    #[test]
    fn events_are_packets() {
        assert_eq!(event("join", "a\"b", Some(7)), b"427[\"join\",\"a\\\"b\"]");
        assert_eq!(event("say", "x", None), b"42[\"say\",\"x\"]");
    }
}
