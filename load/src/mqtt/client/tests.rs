//! A client and a server's bytes, packet by packet. Start at [`Pair`].

use wire::mqtt::{
    ClientPacket, Level, Property, PropertyBuf, ReasonCodes, ServerPacket, Value, Version, decode_client,
};

use super::*;

/// A client and what it said.
struct Pair {
    client: Client,
    level: Level,
    out: Vec<u8>,
}

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

fn ack(value: u16) -> Ack<'static> {
    Ack::new(id(value), ReasonCode::Success)
}

impl Pair {
    fn new(level: Level) -> Self {
        Self { client: Client::new(level.version()), level, out: Vec::new() }
    }

    /// In words.
    fn said(&mut self) -> Vec<String> {
        let out = std::mem::take(&mut self.out);
        let (mut rest, mut said) = (out.as_slice(), Vec::new());
        while let Some(frame) = frame(rest, u32::MAX).unwrap() {
            let version = (frame.first != 0x10).then_some(self.level.version());
            said.push(match decode_client(version, &frame).unwrap() {
                ClientPacket::Connect(connect) => format!("CONNECT clean={}", connect.clean_start),
                ClientPacket::Publish(publish) => {
                    let dup = if publish.dup { " dup" } else { "" };
                    let id = publish.packet_id.map_or(0, PacketId::value);
                    format!("PUBLISH {id}{dup} {}", String::from_utf8_lossy(publish.payload))
                }
                ClientPacket::PubAck(ack) => format!("PUBACK {}", ack.packet_id),
                ClientPacket::PubRec(ack) => format!("PUBREC {}", ack.packet_id),
                ClientPacket::PubRel(ack) => format!("PUBREL {} {:#04x}", ack.packet_id, ack.reason.byte()),
                ClientPacket::PubComp(ack) => format!("PUBCOMP {}", ack.packet_id),
                ClientPacket::Subscribe(subscribe) => format!("SUBSCRIBE {}", subscribe.packet_id),
                other => format!("{other:?}"),
            });
            rest = &rest[frame.packet_bytes..];
        }
        assert!(rest.is_empty());
        said
    }

    /// The server says something; what it means.
    fn hear(&mut self, packet: &ServerPacket<'_>) -> Result<String, Ending> {
        let mut bytes = Vec::new();
        Encoder::new(self.level.version()).server_packet(packet, &mut bytes).unwrap();
        let (cut, _) = bytes.split_at(bytes.len() - 1);
        assert_eq!(self.client.next(cut, &mut self.out), Ok(None), "half a packet is none");
        let (event, packet_bytes) = self.client.next(&bytes, &mut self.out)?.unwrap();
        assert_eq!(packet_bytes, bytes.len());
        Ok(match event {
            Event::Nothing => "nothing".into(),
            Event::Connected { ack, taken } => format!("connected {} {taken}", ack.session_present),
            Event::Answered(_) => "answered".into(),
            Event::Message(publish) => String::from_utf8_lossy(publish.payload).into_owned(),
            Event::Published(reason) => format!("published {:#04x}", reason.byte()),
            Event::Pong => "pong".into(),
        })
    }

    /// Returns what the server's answer means.
    fn connect(&mut self, session_present: bool, properties: &PropertyBuf) -> String {
        self.client.disconnected();
        let connect = Connect {
            level: self.level,
            is_bridge: false,
            clean_start: false,
            keep_alive_seconds: 60,
            client_id: "c",
            will: None,
            user_name: None,
            password: None,
            properties: Properties::NONE,
        };
        self.client.connect(&connect, &mut self.out).unwrap();
        assert_eq!(self.said(), ["CONNECT clean=false"]);
        let ack =
            ConnAck { session_present, reason: ReasonCode::Success, properties: properties.as_properties() };
        self.hear(&ServerPacket::ConnAck(ack)).unwrap()
    }

    fn connected(level: Level) -> Self {
        let mut pair = Self::new(level);
        pair.connect(false, &PropertyBuf::new());
        pair
    }

    fn publish(&mut self, qos: Qos, payload: &str) {
        self.client.publish(&message(qos, payload, None), &mut self.out).unwrap();
    }

    /// The server publishes.
    fn deliver(&mut self, qos: Qos, payload: &str, packet_id: u16) -> Result<String, Ending> {
        let packet_id = (qos != Qos::AtMostOnce).then(|| id(packet_id));
        self.hear(&ServerPacket::Publish(message(qos, payload, packet_id)))
    }
}

fn message(qos: Qos, payload: &str, packet_id: Option<PacketId>) -> Publish<'_> {
    let (dup, retain, properties) = (false, false, Properties::NONE);
    Publish { dup, qos, retain, topic: "t", packet_id, properties, payload: payload.as_bytes() }
}

const LEVELS: [Level; 2] = [Level::V311, Level::V5];

#[test]
fn messages_are_acknowledged_and_given_on_once() {
    for level in LEVELS {
        let mut pair = Pair::connected(level);
        assert_eq!(pair.deliver(Qos::AtMostOnce, "a", 0).unwrap(), "a");
        assert_eq!(pair.deliver(Qos::AtLeastOnce, "b", 7).unwrap(), "b");
        assert_eq!(pair.deliver(Qos::ExactlyOnce, "c", 7).unwrap(), "c");
        assert_eq!(pair.deliver(Qos::ExactlyOnce, "c", 7).unwrap(), "nothing", "it was not released");
        assert_eq!(pair.said(), ["PUBACK 7", "PUBREC 7", "PUBREC 7"]);
        // A resumed session still knows it; so does not a new one.
        pair.connect(true, &PropertyBuf::new());
        assert_eq!(pair.deliver(Qos::ExactlyOnce, "c", 7).unwrap(), "nothing");
        pair.hear(&ServerPacket::PubRel(ack(7))).unwrap();
        assert_eq!(pair.said(), ["PUBREC 7", "PUBCOMP 7"]);
        assert_eq!(pair.deliver(Qos::ExactlyOnce, "d", 7).unwrap(), "d", "a new message under an old id");
        pair.said();
        pair.connect(false, &PropertyBuf::new());
        assert_eq!(pair.deliver(Qos::ExactlyOnce, "e", 7).unwrap(), "e");
    }
}

#[test]
fn what_is_not_acknowledged_is_sent_again_in_its_order() {
    for level in LEVELS {
        let mut pair = Pair::connected(level);
        for (qos, payload) in [(Qos::AtLeastOnce, "a"), (Qos::ExactlyOnce, "b"), (Qos::ExactlyOnce, "c")] {
            pair.publish(qos, payload);
        }
        assert_eq!(pair.said(), ["PUBLISH 1 a", "PUBLISH 2 b", "PUBLISH 3 c"]);
        assert_eq!(pair.hear(&ServerPacket::PubRec(ack(2))).unwrap(), "nothing");
        assert_eq!(pair.said(), ["PUBREL 2 0x00"]);
        pair.client.disconnected();
        pair.publish(Qos::AtLeastOnce, "d");
        assert_eq!(pair.said(), [""; 0], "there is no connection");
        assert_eq!(pair.client.unacknowledged(), 4);
        pair.connect(true, &PropertyBuf::new());
        assert_eq!(pair.said(), ["PUBREL 2 0x00", "PUBLISH 1 dup a", "PUBLISH 3 dup c", "PUBLISH 4 d"]);
        assert_eq!(pair.hear(&ServerPacket::PubComp(ack(2))).unwrap(), "published 0x00");
        assert_eq!(pair.hear(&ServerPacket::PubAck(ack(1))).unwrap(), "published 0x00");
        assert_eq!(pair.hear(&ServerPacket::PubRec(ack(3))).unwrap(), "nothing");
        assert_eq!(pair.hear(&ServerPacket::PubComp(ack(3))).unwrap(), "published 0x00");
        assert_eq!(pair.hear(&ServerPacket::PubAck(ack(4))).unwrap(), "published 0x00");
        assert!(pair.client.exchanges.is_none(), "what is over takes no memory");
    }
}

#[test]
fn a_server_without_the_session_gets_new_messages() {
    let mut pair = Pair::connected(Level::V5);
    pair.publish(Qos::ExactlyOnce, "a");
    pair.publish(Qos::ExactlyOnce, "b");
    pair.hear(&ServerPacket::PubRec(ack(1))).unwrap();
    pair.said();
    assert_eq!(
        pair.connect(false, &PropertyBuf::new()),
        "connected false 1",
        "it said that it has the first one"
    );
    assert_eq!(pair.said(), ["PUBLISH 3 b"]);
}

#[test]
fn a_server_is_not_given_more_than_it_takes() {
    let mut pair = Pair::new(Level::V5);
    let mut two = PropertyBuf::new();
    two.push(Property::ReceiveMaximum, Value::U16(2)).unwrap();
    pair.connect(false, &two);
    for payload in ["a", "b", "c", "d"] {
        pair.publish(Qos::ExactlyOnce, payload);
    }
    assert_eq!(pair.said(), ["PUBLISH 1 a", "PUBLISH 2 b"]);
    pair.hear(&ServerPacket::PubRec(ack(2))).unwrap();
    assert_eq!(pair.said(), ["PUBREL 2 0x00"], "an exchange ends with PUBCOMP");
    pair.hear(&ServerPacket::PubComp(ack(2))).unwrap();
    assert_eq!(pair.said(), ["PUBLISH 3 c"]);
    let refused = Ack::new(id(1), ReasonCode::QuotaExceeded);
    assert_eq!(pair.hear(&ServerPacket::PubRec(refused)).unwrap(), "published 0x97");
    assert_eq!(pair.said(), ["PUBLISH 4 d"], "an exchange ends with a refusal, too");
    // The next connection takes less.
    let mut one = PropertyBuf::new();
    one.push(Property::ReceiveMaximum, Value::U16(1)).unwrap();
    pair.connect(true, &one);
    assert_eq!(pair.said(), ["PUBLISH 3 dup c"]);
    pair.hear(&ServerPacket::PubRec(ack(3))).unwrap();
    pair.hear(&ServerPacket::PubComp(ack(3))).unwrap();
    assert_eq!(pair.said(), ["PUBREL 3 0x00", "PUBLISH 4 dup d"]);
}

#[test]
fn ids_in_use_are_skipped_when_they_come_round() {
    let mut pair = Pair::connected(Level::V311);
    pair.publish(Qos::AtLeastOnce, "stays");
    for _ in 0..65_534 {
        pair.publish(Qos::AtLeastOnce, "x");
    }
    pair.publish(Qos::AtLeastOnce, "waits");
    let said = pair.said();
    assert_eq!((said.len(), said.last().unwrap().as_str()), (65_535, "PUBLISH 65535 x"));
    pair.hear(&ServerPacket::PubAck(ack(5))).unwrap();
    assert_eq!(pair.said(), ["PUBLISH 5 waits"]);
}

#[test]
fn acknowledgements_that_fit_nothing() {
    let mut pair = Pair::connected(Level::V5);
    for packet in [ServerPacket::PubAck(ack(9)), ServerPacket::PubComp(ack(9))] {
        assert_eq!(pair.hear(&packet).unwrap(), "nothing");
    }
    assert_eq!(pair.hear(&ServerPacket::PubRec(ack(9))).unwrap(), "nothing");
    assert_eq!(pair.hear(&ServerPacket::PubRel(ack(9))).unwrap(), "nothing");
    assert_eq!(pair.said(), ["PUBREL 9 0x92", "PUBCOMP 9"]);
    pair.publish(Qos::AtLeastOnce, "a");
    pair.publish(Qos::ExactlyOnce, "b");
    for packet in [ServerPacket::PubRec(ack(1)), ServerPacket::PubAck(ack(2)), ServerPacket::PubComp(ack(2))]
    {
        let ending = pair.hear(&packet).unwrap_err().to_string();
        assert!(ending.contains("another kind"), "{ending}");
    }
}

#[test]
fn subscriptions_have_ids_of_their_own() {
    let mut pair = Pair::connected(Level::V5);
    pair.publish(Qos::AtLeastOnce, "a");
    let options = SubscribeOptions::default();
    pair.client.subscribe(&[("f", options)], Properties::NONE, &mut pair.out).unwrap();
    pair.publish(Qos::AtLeastOnce, "b");
    assert_eq!(pair.said(), ["PUBLISH 1 a", "SUBSCRIBE 2", "PUBLISH 3 b"]);
    let codes = ReasonCodes::new(&[ReasonCode::Success]);
    let suback = SubAck { packet_id: id(2), properties: Properties::NONE, codes };
    assert_eq!(pair.hear(&ServerPacket::SubAck(suback)).unwrap(), "answered");
}

#[test]
fn endings_are_told_with_the_name_of_their_code() {
    let mut text = PropertyBuf::new();
    text.push(Property::ReasonString, Value::Text("go away")).unwrap();
    let mut pair = Pair::new(Level::V5);
    pair.client.standing = Standing::Asking;
    let (session_present, properties) = (false, text.as_properties());
    let refusal = ConnAck { session_present, reason: ReasonCode::NotAuthorized, properties };
    let ending = pair.hear(&ServerPacket::ConnAck(refusal)).unwrap_err();
    assert_eq!(ending.to_string(), "connection refused: 0x87 Not authorized, go away");
    let mut pair = Pair::connected(Level::V5);
    let ending =
        pair.hear(&ServerPacket::Disconnect(Disconnect::new(ReasonCode::SessionTakenOver))).unwrap_err();
    assert_eq!(ending.to_string(), "disconnected by the server: 0x8e Session taken over");
    let ending = pair.client.next(&[0x31, 0xff, 0xff, 0xff, 0xff], &mut Vec::new()).unwrap_err().to_string();
    assert!(ending.starts_with("the server broke the protocol: "), "{ending}");
    let mut pair = Pair::new(Level::V311);
    pair.client.standing = Standing::Asking;
    let ending = pair.deliver(Qos::AtMostOnce, "x", 0).unwrap_err().to_string();
    assert!(ending.contains("a packet before CONNACK"), "{ending}");
}

#[test]
fn an_idle_client_is_small() {
    assert!(size_of::<Client>() <= 32, "{}", size_of::<Client>());
    let mut pair = Pair::connected(Level::V311);
    assert!(pair.client.exchanges.is_none());
    assert_eq!(pair.client.encoder.version(), Version::V3);
    pair.client.ping(&mut pair.out);
    assert_eq!(pair.hear(&ServerPacket::PingResp).unwrap(), "pong");
}
