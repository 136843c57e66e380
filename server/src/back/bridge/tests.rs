//! Waiting, and the relay of packets between two servers played by the test.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::mqtt::{
    Ack, ClientPacket, Encoder, PacketId, Properties, Property, PropertyBuf, Publish, Qos, ReasonCode,
    ReasonCodes, RetainHandling, SubAck, Value, Version, decode_client, frame,
};

use super::handshake::Welcome;
use super::pairing::{Found, Pairing};
use super::*;
use crate::back::office::{OfficeError, OfficePorts};
use crate::config::{BridgeDirection, Machine, SourceFile, Sources};

fn configured(text: &str) -> config::Bridge {
    let text = format!("[auth]\nmode = \"anonymous\"\n[[bridge]]\nname = \"b\"\nurl = \"mqtt://x\"\n{text}");
    let sources = Sources { file: Some(SourceFile { name: "t".into(), text }), ..Sources::default() };
    let machine = Machine { cores: 1, open_files_max: 1_000_000 };
    let loaded = Config::load(&sources, machine).unwrap_or_else(|problems| panic!("{problems}"));
    loaded.config.bridges.into_iter().next().unwrap()
}

const BOTH: &str = "[[bridge.rule]]\ndirection = \"both\"\nfilter = \"#\"\nlocal_prefix = \"here/\"\nqos = 2";

fn welcome(qos_max: Qos) -> Welcome {
    Welcome {
        version: Version::V5,
        session_present: false,
        qos_max,
        retains: true,
        receive_maximum: 10,
        packet_bytes_max: 500,
        keep_alive_seconds: None,
    }
}

struct Bench {
    relay: Relay<'static>,
    status: Arc<Status>,
}

const SESSION: hub::SessionId = hub::SessionId([1; 15]);

/// Of a bridge whose sessions are both new.
fn memory(text: &str) -> Memory {
    let mut memory = Memory::new("own".into(), &configured(text), (Pairing::default(), &[]));
    memory.pairing.meet(SESSION, Found::New);
    memory
}

impl Bench {
    fn new(text: &str, remote_qos_max: Qos) -> Self {
        Self::with((text, memory(text)), remote_qos_max)
    }

    fn with((text, memory): (&str, Memory), remote_qos_max: Qos) -> Self {
        let (config, status) = (Arc::new(configured(text)), Arc::new(Status::new()));
        let half = |qos| Half::new(&welcome(qos), 1000, Vec::new());
        let halves = (half(Qos::ExactlyOnce), half(remote_qos_max));
        // A test is a process that ends soon.
        let memory = Box::leak(Box::new(memory));
        let relay = Relay::new((config, Arc::clone(&status)), memory, halves);
        Self { relay, status }
    }

    /// The next connection of the same bridge.
    fn again(&mut self, text: &str) -> Self {
        let fresh = std::mem::replace(self.relay.memory, memory(text));
        Self::with((text, fresh), Qos::ExactlyOnce)
    }

    fn begin(&mut self) {
        self.relay.begin(Instant::now()).unwrap();
    }

    /// One side grants all that it was asked for in its last question.
    fn grant(&mut self, side: Side, question: u16, count: usize) {
        let codes = vec![Qos::ExactlyOnce.granted(); count];
        let packet_id = PacketId::new(question).unwrap();
        let codes = ReasonCodes::new(&codes);
        self.say(side, |encoder, out| {
            encoder.suback(&SubAck { packet_id, properties: Properties::NONE, codes }, out).unwrap();
        });
    }

    fn pong(&mut self, side: Side) {
        self.say(side, |encoder, out| encoder.pingresp(out).unwrap());
    }

    /// A packet of one of the servers.
    fn say(&mut self, from: Side, put: impl FnOnce(&Encoder, &mut Vec<u8>)) {
        put(&Encoder::new(Version::V5), &mut self.relay.half_mut(from).inbox);
        self.relay.take(from, Instant::now()).unwrap();
    }

    fn publish(&mut self, from: Side, (topic, qos, id): (&str, Qos, u16), properties: Properties<'_>) {
        let packet_id = PacketId::new(id).filter(|_| qos > Qos::AtMostOnce);
        let publish = Publish { dup: false, qos, retain: true, topic, packet_id, properties, payload: b"p" };
        self.say(from, |encoder, out| encoder.publish(&publish, out).unwrap());
    }

    /// What was sent to a side, as text.
    fn heard(&mut self, side: Side) -> Vec<String> {
        let bytes = std::mem::take(&mut self.relay.half_mut(side).outbox);
        let (mut rest, mut all) = (&bytes[..], Vec::new());
        while let Some(found) = frame(rest, u32::MAX).unwrap() {
            let packet = decode_client(Some(Version::V5), &found).unwrap();
            all.push(shown(&packet));
            rest = &rest[found.packet_bytes..];
        }
        all
    }
}

fn shown(packet: &ClientPacket<'_>) -> String {
    let step = |name: &str, ack: &Ack<'_>| format!("{name} {} {:02x}", ack.packet_id, ack.reason.byte());
    match packet {
        ClientPacket::Publish(publish) => {
            let id = publish.packet_id.map_or_else(String::new, |id| format!(" #{id}"));
            let path: Vec<&str> = publish.properties.user_properties().map(|(_, hop)| hop).collect();
            format!("{} q{}{id} via {}", publish.topic, publish.qos.bits(), path.join(","))
        }
        ClientPacket::PubAck(ack) => step("PUBACK", ack),
        ClientPacket::PubRec(ack) => step("PUBREC", ack),
        ClientPacket::PubRel(ack) => step("PUBREL", ack),
        ClientPacket::PubComp(ack) => step("PUBCOMP", ack),
        ClientPacket::Subscribe(subscribe) => {
            let filters: Vec<String> = subscribe
                .subscriptions
                .iter()
                .map(|(filter, options)| {
                    let own = if options.no_local { "no_local" } else { "own" };
                    let values = match options.retain_handling {
                        RetainHandling::Send => "",
                        RetainHandling::SendIfNew => " if new",
                        RetainHandling::DoNotSend => " no values",
                    };
                    format!("{filter} q{} {own}{values}", options.qos.bits())
                })
                .collect();
            format!("SUBSCRIBE {}", filters.join("; "))
        }
        ClientPacket::Unsubscribe(unsubscribe) => {
            format!("UNSUBSCRIBE {}", unsubscribe.filters.iter().collect::<Vec<_>>().join("; "))
        }
        ClientPacket::PingReq => "PINGREQ".to_owned(),
        other => format!("{other:?}"),
    }
}

fn ack(id: u16, reason: ReasonCode) -> Ack<'static> {
    Ack::new(PacketId::new(id).unwrap(), reason)
}

#[test]
fn each_side_is_asked_for_what_the_other_is_to_get() {
    let mut bench = Bench::new(BOTH, Qos::AtLeastOnce);
    bench.begin();
    assert_eq!(bench.heard(Side::Local), ["SUBSCRIBE here/# q1 no_local"], "the broker takes no more");
    assert_eq!(
        bench.heard(Side::Remote),
        ["SUBSCRIBE # q1 no_local; $bridge/id q0 own; $bridge/to/own/+ q0 own"]
    );
}

#[test]
fn an_exchange_passes_step_by_step_under_its_own_id() {
    let mut bench = Bench::new(BOTH, Qos::ExactlyOnce);
    bench.publish(Side::Local, ("here/a", Qos::ExactlyOnce, 7), Properties::NONE);
    assert_eq!(bench.heard(Side::Remote), ["a q2 #7 via own"]);
    assert_eq!(bench.heard(Side::Local), [""; 0], "nothing is acknowledged that is not there");
    bench.say(Side::Remote, |encoder, out| encoder.pubrec(&ack(7, ReasonCode::Success), out).unwrap());
    assert_eq!(bench.heard(Side::Local), ["PUBREC 7 00"]);
    bench.say(Side::Local, |encoder, out| encoder.pubrel(&ack(7, ReasonCode::Success), out).unwrap());
    assert_eq!(bench.heard(Side::Remote), ["PUBREL 7 00"]);
    bench.say(Side::Remote, |encoder, out| encoder.pubcomp(&ack(7, ReasonCode::Success), out).unwrap());
    assert_eq!(bench.heard(Side::Local), ["PUBCOMP 7 00"]);
    bench.publish(Side::Remote, ("b/c", Qos::AtLeastOnce, 7), Properties::NONE);
    assert_eq!(bench.heard(Side::Local), ["here/b/c q1 #7 via "]);
    let nobody = ReasonCode::NoMatchingSubscribers;
    bench.say(Side::Local, |encoder, out| encoder.puback(&ack(7, nobody), out).unwrap());
    assert_eq!(bench.heard(Side::Remote), ["PUBACK 7 00"]);
    let counts = bench.status.counts();
    assert_eq!((counts.messages_out, counts.messages_in, counts.lost), (1, 1, [0; 4]));
}

#[test]
fn what_does_not_pass_is_acknowledged_and_counted() {
    let mut bench =
        Bench::new("[[bridge.rule]]\ndirection = \"out\"\nfilter = \"a\"\nqos = 2", Qos::ExactlyOnce);
    bench.publish(Side::Local, ("b", Qos::AtLeastOnce, 1), Properties::NONE);
    bench.publish(Side::Remote, ("a", Qos::ExactlyOnce, 2), Properties::NONE);
    let mut been = PropertyBuf::new();
    been.push_user_property("trunkline-path", "own").unwrap();
    bench.publish(Side::Local, ("a", Qos::AtLeastOnce, 3), been.as_properties());
    let mut large = PropertyBuf::new();
    large.push(Property::CorrelationData, Value::Binary(&[0; 490])).unwrap();
    bench.publish(Side::Local, ("a", Qos::AtLeastOnce, 4), large.as_properties());
    assert_eq!(bench.heard(Side::Local), ["PUBACK 1 00", "PUBACK 3 00", "PUBACK 4 00"]);
    assert_eq!(bench.heard(Side::Remote), ["PUBREC 2 00"]);
    // The other side answers for what it does not know.
    bench.say(Side::Remote, |encoder, out| encoder.pubrel(&ack(2, ReasonCode::Success), out).unwrap());
    assert_eq!(bench.heard(Side::Local), ["PUBREL 2 00"]);
    bench.publish(Side::Local, ("a", Qos::AtLeastOnce, 5), Properties::NONE);
    let refused = ReasonCode::NotAuthorized;
    bench.say(Side::Remote, |encoder, out| encoder.puback(&ack(5, refused), out).unwrap());
    assert_eq!(bench.heard(Side::Local), ["PUBACK 5 87"]);
    assert_eq!(bench.status.counts().lost, [1, 2, 1, 1]);
}

#[test]
fn a_broker_with_less_quality_of_service_gets_less() {
    let mut bench = Bench::new(BOTH, Qos::AtLeastOnce);
    bench.publish(Side::Local, ("here/a", Qos::ExactlyOnce, 9), Properties::NONE);
    assert_eq!(bench.heard(Side::Remote), ["a q1 #9 via own"]);
    bench.say(Side::Remote, |encoder, out| encoder.puback(&ack(9, ReasonCode::Success), out).unwrap());
    assert_eq!(bench.heard(Side::Local), ["PUBREC 9 00"]);
    bench.say(Side::Local, |encoder, out| encoder.pubrel(&ack(9, ReasonCode::Success), out).unwrap());
    assert_eq!(bench.heard(Side::Local), ["PUBCOMP 9 00"]);
    let mut bench = Bench::new(BOTH, Qos::AtMostOnce);
    bench.publish(Side::Local, ("here/a", Qos::ExactlyOnce, 9), Properties::NONE);
    assert_eq!(bench.heard(Side::Remote), ["a q0 via own"]);
    assert_eq!(bench.heard(Side::Local), ["PUBREC 9 00"]);
}

/// Says at the broker what its own bridge sends here: topics there, what they begin with there and here.
fn tell(bench: &mut Bench, topic: &str, payload: &str) {
    let publish = Publish {
        dup: false,
        qos: Qos::AtMostOnce,
        retain: true,
        topic,
        packet_id: None,
        properties: Properties::NONE,
        payload: payload.as_bytes(),
    };
    bench.say(Side::Remote, |encoder, out| encoder.publish(&publish, out).unwrap());
}

fn told(filter: &str, prefix: &str, other_prefix: &str) -> String {
    format!(
        "[{{\"filter\":\"{filter}\",\"prefix\":\"{prefix}\",\"other_prefix\":\"{other_prefix}\",\"qos\":2,\"retain\":true}}]"
    )
}

const OTHER_SAYS: &str = "$bridge/to/own/x";

#[test]
fn a_rule_rests_while_the_broker_sends_by_itself() {
    let mut bench = Bench::new(BOTH, Qos::ExactlyOnce);
    let now = Instant::now();
    tell(&mut bench, "$bridge/id", "other");
    tell(&mut bench, OTHER_SAYS, &told("a/#", "", "here/"));
    bench.relay.adjust(now).unwrap();
    assert_eq!(bench.heard(Side::Remote), [""; 0], "a part is not all");
    tell(&mut bench, OTHER_SAYS, &told("there/#", "there/", "here/"));
    bench.relay.adjust(now).unwrap();
    assert_eq!(bench.heard(Side::Remote), [""; 0], "other topics under the same names are not the same");
    tell(&mut bench, OTHER_SAYS, &told("#", "", "here/"));
    bench.relay.adjust(now).unwrap();
    assert_eq!(bench.heard(Side::Remote), ["UNSUBSCRIBE #"]);
    assert_eq!(bench.status.story().resting, ["#"]);
    bench.relay.memory.pairing.have_passed(Side::Remote, vec!["#".into()]);
    bench.relay.adjust(now + facing::TOLD_FOR + Duration::from_secs(1)).unwrap();
    assert_eq!(bench.heard(Side::Remote), ["SUBSCRIBE # q2 no_local no values"]);
    let mut been = PropertyBuf::new();
    been.push_user_property("trunkline-path", "other").unwrap();
    bench.publish(Side::Local, ("here/a", Qos::AtLeastOnce, 1), been.as_properties());
    assert_eq!(bench.heard(Side::Remote), [""; 0], "it comes from there");
    assert_eq!(bench.heard(Side::Local), ["PUBACK 1 00"]);
}

#[test]
fn what_the_broker_said_of_its_bridges_outlasts_a_connection() {
    let mut bench = Bench::new(BOTH, Qos::ExactlyOnce);
    tell(&mut bench, "$bridge/id", "other");
    tell(&mut bench, OTHER_SAYS, &told("#", "", "here/"));
    bench.relay.adjust(Instant::now()).unwrap();
    let mut bench = bench.again(BOTH);
    bench.begin();
    assert_eq!(
        bench.heard(Side::Remote),
        ["SUBSCRIBE $bridge/id q0 own; $bridge/to/own/+ q0 own", "UNSUBSCRIBE #"]
    );
    bench.relay.adjust(Instant::now()).unwrap();
    assert_eq!(bench.heard(Side::Remote), [""; 0]);
    assert_eq!(bench.status.story().resting, ["#"]);
    let mut been = PropertyBuf::new();
    been.push_user_property("trunkline-path", "other").unwrap();
    bench.publish(Side::Local, ("here/a", Qos::AtMostOnce, 0), been.as_properties());
    assert_eq!(bench.status.counts().lost, [1, 0, 0, 0], "whose messages these are is still known");
}

#[test]
fn values_are_owed_until_the_other_side_has_had_them() {
    let asked = |bench: &mut Bench| {
        bench.begin();
        (bench.heard(Side::Local).remove(0), bench.heard(Side::Remote).remove(0))
    };
    let facing = "$bridge/id q0 own; $bridge/to/own/+ q0 own";
    let all = ("SUBSCRIBE here/# q2 no_local".to_owned(), format!("SUBSCRIBE # q2 no_local; {facing}"));
    let mut bench = Bench::new(BOTH, Qos::ExactlyOnce);
    assert_eq!(asked(&mut bench), all);
    // The connection breaks before and behind the answers.
    let mut bench = bench.again(BOTH);
    assert_eq!(asked(&mut bench), all);
    bench.grant(Side::Local, 65_472, 1);
    bench.grant(Side::Remote, 65_473, 3);
    let mut bench = bench.again(BOTH);
    assert_eq!(asked(&mut bench), all);
    bench.grant(Side::Local, 65_472, 1);
    bench.grant(Side::Remote, 65_473, 3);
    for side in [Side::Local, Side::Remote] {
        assert!(!bench.relay.is_quiet(side), "values may be on their way");
        bench.publish(side, ("here/a", Qos::AtMostOnce, 0), Properties::NONE);
        assert!(!bench.relay.is_quiet(side), "one came");
        assert!(bench.relay.is_quiet(side));
        bench.relay.has_said_all(side);
    }
    let asked_for =
        |bench: &mut Bench, side| bench.heard(side).iter().filter(|text| *text == "PINGREQ").count();
    assert_eq!((asked_for(&mut bench, Side::Local), asked_for(&mut bench, Side::Remote)), (1, 1));
    bench.pong(Side::Local);
    assert!(bench.relay.memory.pairing.owes(Side::Local, "here/#"), "the broker may not have them");
    assert_eq!((asked_for(&mut bench, Side::Local), asked_for(&mut bench, Side::Remote)), (0, 1));
    bench.pong(Side::Remote);
    assert!(
        bench.relay.memory.pairing.owes(Side::Local, "here/#"),
        "that was the answer to another question"
    );
    bench.pong(Side::Remote);
    assert!(!bench.relay.memory.pairing.owes(Side::Local, "here/#"));
    assert!(bench.relay.memory.pairing.owes(Side::Remote, "#"));
    bench.pong(Side::Local);
    assert!(!bench.relay.memory.pairing.owes(Side::Remote, "#"));
    let mut bench = bench.again(BOTH);
    let none = (
        "SUBSCRIBE here/# q2 no_local if new".to_owned(),
        format!("SUBSCRIBE # q2 no_local if new; {facing}"),
    );
    assert_eq!(asked(&mut bench), none);
}

#[test]
fn a_session_that_outlives_the_other_forgets_its_numbers_first() {
    for (side, topic) in [(Side::Remote, "here/a"), (Side::Local, "a")] {
        let mut memory = memory(BOTH);
        match side {
            Side::Remote => memory.pairing.meet(hub::SessionId([2; 15]), Found::Old),
            Side::Local => memory.pairing.meet(SESSION, Found::New),
        }
        let mut bench = Bench::with((BOTH, memory), Qos::ExactlyOnce);
        bench.begin();
        let said = bench.heard(side);
        assert_eq!((said[0].as_str(), said[65_534].as_str()), ("PUBREL 1 00", "PUBREL 65535 00"));
        assert!(said[65_535].starts_with("SUBSCRIBE"), "nothing else comes before");
        assert!(bench.heard(side.other()).iter().all(|text| text.starts_with("SUBSCRIBE")));
        // A message under such a number is taken; of both answers the other side gets its own.
        bench.publish(side.other(), (topic, Qos::ExactlyOnce, 1), Properties::NONE);
        let success = |id| ack(id, ReasonCode::Success);
        bench.say(side, |encoder, out| encoder.pubcomp(&success(1), out).unwrap());
        assert_eq!(bench.heard(side.other()), [""; 0]);
        bench.say(side, |encoder, out| encoder.pubcomp(&success(1), out).unwrap());
        assert_eq!(bench.heard(side.other()), ["PUBCOMP 1 00"]);
        assert!(bench.relay.memory.pairing.is_stale(side), "a cut now would leave the rest");
        for id in 2..=u16::MAX {
            bench.say(side, |encoder, out| encoder.pubcomp(&success(id), out).unwrap());
        }
        assert_eq!(bench.heard(side.other()), [""; 0]);
        assert!(!bench.relay.memory.pairing.is_stale(side));
    }
}

#[test]
fn nothing_is_read_while_too_much_waits_for_either_side() {
    for side in [Side::Local, Side::Remote] {
        let mut bench = Bench::new(BOTH, Qos::ExactlyOnce);
        assert!(bench.relay.has_room());
        bench.relay.half_mut(side).outbox.resize(256 << 10, 0);
        assert!(!bench.relay.has_room());
    }
}

#[test]
fn a_packet_may_come_in_pieces() {
    let mut bench = Bench::new(BOTH, Qos::ExactlyOnce);
    let mut bytes = Vec::new();
    let publish = Publish {
        dup: false,
        qos: Qos::AtLeastOnce,
        retain: false,
        topic: "here/a",
        packet_id: PacketId::new(3),
        properties: Properties::NONE,
        payload: b"payload",
    };
    Encoder::new(Version::V5).publish(&publish, &mut bytes).unwrap();
    for byte in bytes {
        assert!(bench.relay.half(Side::Remote).outbox.is_empty());
        bench.relay.half_mut(Side::Local).inbox.push(byte);
        bench.relay.take(Side::Local, Instant::now()).unwrap();
    }
    assert_eq!(bench.heard(Side::Remote), ["a q1 #3 via own"]);
    bench.relay.half_mut(Side::Local).inbox.extend([0xf0, 0x01, 0x00]);
    assert!(bench.relay.take(Side::Local, Instant::now()).is_err());
}

#[test]
fn waits_grow_up_to_a_limit_and_begin_anew_after_a_good_connection() {
    let mut config = configured(BOTH);
    (config.backoff_min_ms, config.backoff_max_ms) = (100, 500);
    let mut backoff = Backoff::new(&config);
    let short = Duration::from_millis(1);
    let waits: Vec<u128> = (0..4).map(|_| backoff.next(short, 0).as_millis()).collect();
    assert_eq!(waits, [100, 200, 400, 500]);
    assert_eq!(backoff.next(short, 255).as_millis(), 375, "a quarter less by chance");
    assert_eq!(backoff.next(Duration::from_secs(1), 0).as_millis(), 100);
    assert_eq!(config.rules[0].direction, BridgeDirection::Both);
}

#[test]
fn a_way_to_the_broker_that_takes_long_is_no_connection() {
    let status = Status::new();
    let later = Instant::now() + Duration::from_secs(100);
    for standing in [Standing::Connecting, Standing::Waiting] {
        status.stands(standing);
        assert_eq!(status.story().connected_for(later), Duration::ZERO);
    }
    status.stands(Standing::Connected);
    assert!(status.story().connected_for(later) > Duration::from_secs(99));
}

/// An office whose shards have ended, as one that does not answer.
fn office_without_shards() -> Office {
    let topology = hub::Topology { shards: 1, partitions: 8 };
    let (_, reports) = tokio::sync::mpsc::unbounded_channel();
    Office::start(OfficePorts { shards: Vec::new(), topology, reports })
}

#[tokio::test]
async fn an_identity_is_not_made_up_when_the_server_does_not_say_whether_it_has_one() {
    let node = Node::new(office_without_shards(), Instant::now(), 1000);
    for _ in 0..2 {
        let failure = node.id().await.unwrap_err();
        assert!(matches!(failure, Failure::Unsaid(_, OfficeError::Stopped)), "{failure}");
    }
    let failure = node.pairing("b").await.unwrap_err();
    assert!(matches!(failure, Failure::Unsaid(_, OfficeError::Stopped)), "{failure}");
}

#[tokio::test]
async fn a_session_that_nobody_tells_of_is_not_none() {
    let office = office_without_shards();
    assert_eq!(local::session(&office, "$bridge/b").await.err(), Some(OfficeError::Stopped));
    let failure = local::known(&office, "$bridge/b").await.unwrap_err();
    assert!(matches!(failure, Failure::Unsaid("the session", _)), "{failure}");
}
