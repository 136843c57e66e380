//! A client of MQTT: over TCP, or over WebSocket.
//!
//! Owns the way from the first byte to the granted subscription, and what a client says. What the protocol asks of every
//! client, packet ids and sending again included, is [`Client`]'s. Must not know when anything is said. Start at
//! [`Mqtt::received`].

mod framing;

use wire::mqtt::{
    ConnAck, Connect, Disconnect, Property, PropertyBuf, Publish, Qos, ReasonCode, SubAck, SubscribeOptions,
    Unsent, Value,
};

use super::{Next, Script, Sink, Took, filled};
use crate::comeback::Recovery;
use crate::message::Marker;
use crate::mqtt::{Client, Event, Options, named};
use crate::target::{Scheme, Target};
use framing::Framing;

/// The keep alive of every client.
const KEEP_ALIVE_SECONDS: u16 = 60;

/// How long a server is to keep the session of a client that means to come back.
const SESSION_EXPIRY_SECONDS: u32 = 3600;

/// One client: 48 bytes.
///
/// ```text
/// Away ──(over WebSocket: Upgrading ──101──>) Connecting ──CONNACK──> Subscribing ──SUBACK──> Ready
///                                                  └─(session present, or nothing to subscribe to)─> Ready
/// Ready ──DISCONNECT──> Leaving
/// ```
/// From everywhere a lost connection leads back to Away.
#[derive(Debug)]
pub(crate) struct Mqtt {
    client: Client,
    /// Over WebSocket only.
    framing: Option<Box<Framing>>,
    index: u32,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Away,
    Upgrading,
    Connecting,
    Subscribing,
    Ready,
    Leaving,
}

impl Mqtt {
    /// Client `index`.
    pub(crate) fn new(index: u32, options: Options) -> Self {
        let client = Client::new(options.version.level().version());
        Self { client, framing: None, index, phase: Phase::Away }
    }

    /// Which client it is.
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// See [`super::Session::phase`].
    pub(crate) fn phase(&self) -> &'static str {
        match self.phase {
            Phase::Upgrading => "the upgrade request",
            Phase::Away | Phase::Connecting => "CONNECT",
            Phase::Subscribing => "SUBSCRIBE",
            Phase::Ready | Phase::Leaving => "what was said last",
        }
    }

    /// See [`super::Session::connected`].
    pub(crate) fn connected(&mut self, script: &Script, target: &Target, out: &mut Vec<u8>) {
        match target.scheme {
            Scheme::Http => {
                self.framing = Some(Box::new(Framing::begin(target, self.index, out)));
                self.phase = Phase::Upgrading;
            }
            Scheme::Mqtt => {
                self.framing = None;
                self.connect(script, out);
            }
        }
    }

    /// See [`super::Session::disconnected`].
    pub(crate) fn disconnected(&mut self) {
        self.client.disconnected();
        self.framing = None;
        if self.phase != Phase::Leaving {
            self.phase = Phase::Away;
        }
    }

    fn connect(&mut self, script: &Script, out: &mut Vec<u8>) {
        self.phase = Phase::Connecting;
        let is_lasting = script.recovery() == Recovery::On;
        let (client_id, options) = (filled(&script.client_id, self.index), script.protocol.mqtt());
        let user = script.user.as_ref().map(|user| filled(user, self.index));
        let mut properties = PropertyBuf::new();
        if is_lasting {
            expiry(SESSION_EXPIRY_SECONDS, &mut properties);
        }
        let connect = Connect {
            level: options.version.level(),
            is_bridge: false,
            clean_start: !is_lasting,
            keep_alive_seconds: KEEP_ALIVE_SECONDS,
            client_id: &client_id,
            will: None,
            user_name: user.as_deref(),
            password: None,
            properties: properties.as_properties(),
        };
        // Only an id or a user of over 65,535 bytes has no form; the server then closes for want of a CONNECT.
        let _has_form = self.client.connect(&connect, out);
    }

    /// See [`super::Session::received`].
    pub(crate) fn received(
        &mut self,
        script: &Script,
        buf: &mut [u8],
        out: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) -> Result<Took, String> {
        let Some(mut framing) = self.framing.take() else {
            let consumed = self.packets(script, buf, out, sink)?;
            return Ok(Took { consumed, next: Next::Continue });
        };
        let consumed = framing.received(buf, out)?;
        let mut said = Vec::new();
        if self.phase == Phase::Upgrading && framing.is_open() {
            self.connect(script, &mut said);
        }
        // Packets and frames are not aligned [MQTT-6.0.0-2].
        let outcome = self.packets(script, &framing.held, &mut said, sink);
        framing.say(&said, out);
        framing.release(outcome?);
        self.framing = Some(framing);
        Ok(Took { consumed, next: Next::Continue })
    }

    /// Deals with every whole packet; returns their bytes.
    fn packets(
        &mut self,
        script: &Script,
        bytes: &[u8],
        out: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) -> Result<usize, String> {
        let mut start = 0;
        loop {
            let rest = bytes.get(start..).unwrap_or_default();
            let next = self.client.next(rest, out).map_err(|ending| ending.to_string())?;
            let Some((event, packet_bytes)) = next else { return Ok(start) };
            start += packet_bytes;
            match event {
                Event::Nothing => {}
                Event::Connected(ack) => self.let_in(script, &ack, out, sink)?,
                Event::Answered(ack) => self.subscribed(script, &ack, sink)?,
                Event::Message(publish) => sink.message(Marker::find(publish.payload)),
                Event::Published(reason) if reason.is_failure() => {
                    return Err(format!("a message was refused: {}", named(reason)));
                }
                Event::Published(_) => sink.confirmed(),
                Event::Pong => sink.ack(),
            }
        }
    }

    fn let_in(
        &mut self,
        script: &Script,
        ack: &ConnAck<'_>,
        out: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) -> Result<(), String> {
        sink.keep_alive(ack.properties.server_keep_alive_seconds().unwrap_or(KEEP_ALIVE_SECONDS));
        if ack.session_present {
            sink.recovered();
        }
        let Some(join) = script.join.as_ref().filter(|_| !ack.session_present) else {
            self.phase = Phase::Ready;
            sink.ready();
            return Ok(());
        };
        self.phase = Phase::Subscribing;
        let (filter, qos) = (join.room_of(self.index), script.protocol.mqtt().qos.into());
        let options = SubscribeOptions { qos, ..SubscribeOptions::default() };
        let asked = self.client.subscribe(&[(&filter, options)], PropertyBuf::new().as_properties(), out);
        asked.map_err(|unsent| format!("{filter:.60}: {unsent}"))
    }

    fn subscribed(&mut self, script: &Script, ack: &SubAck<'_>, sink: &mut impl Sink) -> Result<(), String> {
        let wanted = Qos::from(script.protocol.mqtt().qos).granted();
        if let Some(code) = ack.codes.iter().find(|code| *code != wanted) {
            return Err(format!("subscription refused: {} instead of {}", named(code), named(wanted)));
        }
        self.phase = Phase::Ready;
        sink.ready();
        Ok(())
    }

    /// Publishes to a topic. False if it cannot be said now; a client whose session lasts says it when it is back.
    pub(crate) fn publish(
        &mut self,
        script: &Script,
        topic: &str,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        let qos = Qos::from(script.protocol.mqtt().qos);
        let is_kept = script.recovery() == Recovery::On && qos != Qos::AtMostOnce;
        if self.phase == Phase::Leaving || self.phase != Phase::Ready && !is_kept {
            return false;
        }
        let properties = PropertyBuf::new();
        let publish = Publish {
            dup: false,
            qos,
            retain: false,
            topic,
            packet_id: None,
            properties: properties.as_properties(),
            payload,
        };
        self.speak(out, |client, out| client.publish(&publish, out)).is_ok()
    }

    /// See [`super::Session::ping`].
    pub(crate) fn ping(&mut self, out: &mut Vec<u8>) -> bool {
        let is_ready = self.phase == Phase::Ready;
        if is_ready {
            let _infallible = self.speak(out, |client, out| {
                client.ping(out);
                Ok(())
            });
        }
        is_ready
    }

    /// See [`super::Session::leave`].
    pub(crate) fn leave(&mut self, script: &Script, out: &mut Vec<u8>) {
        if self.phase != Phase::Ready {
            return;
        }
        self.phase = Phase::Leaving;
        let mut properties = PropertyBuf::new();
        if script.recovery() == Recovery::On {
            // It will not come back, so that nothing of it need be left.
            expiry(0, &mut properties);
        }
        let goodbye = Disconnect { reason: ReasonCode::Success, properties: properties.as_properties() };
        let _infallible = self.speak(out, |client, out| {
            client.disconnect(&goodbye, out);
            Ok(())
        });
    }

    /// See [`super::Session::is_leaving`].
    pub(crate) fn is_leaving(&self) -> bool {
        self.phase == Phase::Leaving
    }

    /// Lets the client write, in whatever carries its packets.
    fn speak(
        &mut self,
        out: &mut Vec<u8>,
        what: impl FnOnce(&mut Client, &mut Vec<u8>) -> Result<(), Unsent>,
    ) -> Result<(), Unsent> {
        let Some(framing) = &self.framing else { return what(&mut self.client, out) };
        let mut said = Vec::new();
        what(&mut self.client, &mut said)?;
        framing.say(&said, out);
        Ok(())
    }
}

/// In version 3 properties are not sent: there a session that is not clean lasts for ever.
fn expiry(seconds: u32, properties: &mut PropertyBuf) {
    let pushed = properties.push(Property::SessionExpiryInterval, Value::U32(seconds));
    pushed.expect("any number is a value of this property");
}
