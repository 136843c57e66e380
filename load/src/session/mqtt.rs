//! A client of MQTT: over TCP, or over WebSocket.
//!
//! Owns the way from the first byte to the granted subscription, and what a client says. What the protocol asks of every
//! client, packet ids and sending again included, is [`Client`]'s. Must not know when anything is said. Start at
//! [`Mqtt::received`].

use wire::mqtt::{
    ConnAck, Connect, Disconnect, Property, PropertyBuf, Publish, Qos, ReasonCode, SubAck, SubscribeOptions,
    Unsent, Value,
};

use super::{Next, Script, Sink, Took, filled};
use crate::comeback::Recovery;
use crate::message::Marker;
use crate::mqtt::{Client, Event, Framing, Options, named};
use crate::target::{Scheme, Target};

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
                self.framing = Some(Box::new(Framing::begin((&target.host, &target.path), self.index, out)));
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
                Event::Connected { ack, taken } => {
                    (0..taken).for_each(|_| sink.confirmed());
                    self.let_in(script, &ack, out, sink)?;
                }
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

#[cfg(test)]
mod tests {
    use wire::http::{HeadLimits, parse_head};
    use wire::mqtt::{
        ClientPacket, Encoder, PacketId, Properties, ReasonCodes, Version, decode_client, frame,
    };
    use wire::websocket::{
        Decoded, Decoder, Event, Opcode, Role, accept, frame as websocket_frame, subprotocols,
    };

    use super::super::{Join, Protocol};
    use super::*;
    use crate::mqtt;

    #[derive(Debug, Default, PartialEq)]
    struct Seen {
        ready: u32,
        numbers: Vec<Option<u32>>,
        keep_alive_seconds: u16,
    }

    impl Sink for Seen {
        fn ready(&mut self) {
            self.ready += 1;
        }
        fn message(&mut self, marker: Option<Marker>) {
            self.numbers.push(marker.map(|marker| marker.number));
        }
        fn ack(&mut self) {}
        fn keep_alive(&mut self, seconds: u16) {
            self.keep_alive_seconds = seconds;
        }
    }

    fn script() -> Script {
        let options = Options { version: mqtt::Version::V5, qos: mqtt::Qos::AtLeastOnce };
        Script {
            client_id: "c-%{i}".into(),
            ..Script::new(Protocol::Mqtt(options), Some(Join::to_filter("r/%{i%4}")))
        }
    }

    /// CONNACK with a keep alive, SUBACK and a message.
    fn welcome() -> Vec<u8> {
        let (encoder, mut out, mut properties) = (Encoder::new(Version::V5), Vec::new(), PropertyBuf::new());
        properties.push(Property::ServerKeepAlive, Value::U16(9)).unwrap();
        let properties = properties.as_properties();
        encoder
            .connack(&ConnAck { session_present: false, reason: ReasonCode::Success, properties }, &mut out)
            .unwrap();
        let (packet_id, properties) = (PacketId::FIRST, Properties::NONE);
        let codes = ReasonCodes::new(&[ReasonCode::GrantedQos1]);
        encoder.suback(&SubAck { packet_id, properties, codes }, &mut out).unwrap();
        let payload = Marker { number: 4, due_ns: 0 }.data(0);
        let (dup, retain, packet_id) = (false, false, Some(PacketId::FIRST));
        let (topic, payload) = ("r/1", payload.as_bytes());
        let publish = Publish { dup, qos: Qos::AtLeastOnce, retain, topic, packet_id, properties, payload };
        encoder.publish(&publish, &mut out).unwrap();
        out
    }

    /// Names of a client's packets, and what of them counts here.
    fn said(mut bytes: &[u8]) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(frame) = frame(bytes, u32::MAX).unwrap() {
            let version = (frame.first != 0x10).then_some(Version::V5);
            said.push(match decode_client(version, &frame).unwrap() {
                ClientPacket::Connect(connect) => format!("CONNECT {}", connect.client_id),
                ClientPacket::Subscribe(subscribe) => {
                    format!(
                        "SUBSCRIBE {:?}",
                        subscribe.subscriptions.iter().map(|it| it.0).collect::<Vec<_>>()
                    )
                }
                ClientPacket::Publish(publish) => format!("PUBLISH {}", publish.topic),
                ClientPacket::PubAck(ack) => format!("PUBACK {}", ack.packet_id),
                ClientPacket::PingReq => "PINGREQ".into(),
                ClientPacket::Disconnect(_) => "DISCONNECT".into(),
                other => format!("{other:?}"),
            });
            bytes = &bytes[frame.packet_bytes..];
        }
        said
    }

    const HEARD: [&str; 3] = ["CONNECT c-5", "SUBSCRIBE [\"r/1\"]", "PUBACK 1"];

    #[test]
    fn a_client_is_ready_with_its_subscription_however_bytes_are_split() {
        let (script, bytes) = (script(), welcome());
        let target = "mqtt://127.0.0.1:9".parse().unwrap();
        for split in 0..bytes.len() {
            let (mut client, mut out, mut seen) =
                (Mqtt::new(5, script.protocol.mqtt()), Vec::new(), Seen::default());
            assert!(!client.publish(&script, "t", b"", &mut out), "it is not connected");
            client.connected(&script, &target, &mut out);
            let mut first = bytes[..split].to_vec();
            let took = client.received(&script, &mut first, &mut out, &mut seen).unwrap().consumed;
            let took =
                client.received(&script, &mut bytes[took..].to_vec(), &mut out, &mut seen).unwrap().consumed
                    + took;
            assert_eq!(took, bytes.len());
            assert_eq!(seen, Seen { ready: 1, numbers: vec![Some(4)], keep_alive_seconds: 9 });
            assert!(client.publish(&script, "t", b"", &mut out) && client.ping(&mut out));
            client.leave(&script, &mut out);
            assert!(client.is_leaving() && !client.ping(&mut out), "nothing follows the goodbye");
            let rest = ["PUBLISH t", "PINGREQ", "DISCONNECT"];
            assert_eq!(said(&out), [&HEARD[..], &rest].concat());
        }
    }

    /// Payloads of the frames a client said.
    fn unframed(mut bytes: Vec<u8>) -> Vec<u8> {
        let (mut decoder, mut start, mut packets) = (Decoder::new(Role::Server, 1 << 20), 0, Vec::new());
        while let Decoded::Event { event, consumed } = decoder.decode(&mut bytes[start..]).unwrap() {
            let Event::Binary(payload) = event else { panic!("{event:?}") };
            packets.extend_from_slice(&payload);
            start += consumed;
        }
        packets
    }

    #[test]
    fn over_websocket_packets_and_frames_are_not_aligned() {
        let (script, bytes) = (script(), welcome());
        let target = "ws://127.0.0.1:9".parse().unwrap();
        for frame_bytes in [1, 3, 7, bytes.len()] {
            let (mut client, mut out, mut seen) =
                (Mqtt::new(5, script.protocol.mqtt()), Vec::new(), Seen::default());
            client.connected(&script, &target, &mut out);
            let head = parse_head(&out, &HeadLimits::default()).unwrap().unwrap();
            assert_eq!(head.path, "/mqtt");
            assert_eq!(subprotocols(&head).collect::<Vec<_>>(), ["mqtt"]);
            let mut reply = Vec::new();
            accept(&head).unwrap().respond(Some("mqtt"), &mut reply);
            out.clear();
            bytes.chunks(frame_bytes).for_each(|chunk| websocket_frame(Opcode::Binary, chunk, &mut reply));
            let took = client.received(&script, &mut reply, &mut out, &mut seen).unwrap();
            assert_eq!(took.consumed, reply.len());
            assert_eq!((seen.ready, seen.numbers), (1, vec![Some(4)]));
            assert_eq!(said(&unframed(out)), HEARD);
        }
    }

    #[test]
    fn over_websocket_a_text_frame_is_a_fault() {
        let (script, target) = (script(), "ws://127.0.0.1:9/m".parse().unwrap());
        let (mut client, mut out, mut seen) =
            (Mqtt::new(5, script.protocol.mqtt()), Vec::new(), Seen::default());
        client.connected(&script, &target, &mut out);
        let mut reply = Vec::new();
        accept(&parse_head(&out, &HeadLimits::default()).unwrap().unwrap())
            .unwrap()
            .respond(None, &mut reply);
        websocket_frame(Opcode::Text, b"x", &mut reply);
        let error = client.received(&script, &mut reply, &mut out, &mut seen).unwrap_err();
        assert!(error.contains("a text frame"), "{error}");
        assert_eq!(client.phase(), "the upgrade request");
    }

    #[test]
    fn an_idle_client_is_as_small_as_others() {
        assert!(size_of::<Mqtt>() <= 48, "{}", size_of::<Mqtt>());
    }
}
