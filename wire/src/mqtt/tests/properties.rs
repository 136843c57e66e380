//! What holds for any bytes and for any packet.

use proptest::prelude::*;

use super::*;
use Version::{V3, V5};

/// What a stream gives: lines of packets, then perhaps an error.
fn stream(version: Version, pieces: &[&[u8]], packet_bytes_max: u32) -> Vec<String> {
    let (mut pending, mut seen, mut known) = (Vec::new(), Vec::new(), None);
    for piece in pieces {
        pending.extend_from_slice(piece);
        loop {
            let packet = match frame(&pending, packet_bytes_max) {
                Ok(Some(frame)) => {
                    assert!(frame.packet_bytes <= packet_bytes_max as usize);
                    decode_client(known, &frame).map(|packet| (described_client(&packet), frame.packet_bytes))
                }
                Ok(None) => break,
                Err(error) => Err(error),
            };
            match packet {
                Ok((line, packet_bytes)) => {
                    seen.push(line);
                    known = Some(version);
                    pending.drain(..packet_bytes);
                }
                Err(error) => {
                    seen.push(format!("{error:?}"));
                    return seen;
                }
            }
        }
    }
    seen
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(V3), Just(V5)]
}

fn text() -> impl Strategy<Value = String> {
    "[a-z/ .>*\u{e9}\u{1f980}]{0,20}"
}

fn name() -> impl Strategy<Value = String> {
    "[a-z/$.\u{e9}]{1,20}"
}

fn filter() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{0,3}(/[a-z ]{0,3}|/\\+){1,4}(/#)?",
        "\\$share/[a-z]{1,4}/[a-z]{1,4}",
        Just("#".to_owned())
    ]
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        (100_usize..200).prop_map(|len| vec![b'x'; len]),
        (16_300_usize..16_500).prop_map(|len| vec![b'x'; len]),
    ]
}

fn qos() -> impl Strategy<Value = Qos> {
    (0_u8..3).prop_map(|bits| Qos::from_bits(bits).expect("a QoS"))
}

fn id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|value| PacketId::new(value).expect("not 0"))
}

fn flag() -> impl Strategy<Value = Val> {
    (0_u8..2).prop_map(Val::Byte)
}

/// A value that owns its text.
#[derive(Clone, Debug)]
enum Val {
    Byte(u8),
    U16(u16),
    U32(u32),
    Varint(u32),
    Text(String),
    Binary(Vec<u8>),
    Pair(String, String),
}

/// Some of these properties, in any order, user properties several times.
fn properties(allowed: Vec<(Property, BoxedStrategy<Val>)>) -> impl Strategy<Value = PropertyBuf> {
    let some: Vec<_> = allowed
        .into_iter()
        .map(|(property, value)| prop::option::of(value.prop_map(move |value| (property, value))))
        .collect();
    let user = prop::collection::vec((text(), text()), 0..3);
    (some, user).prop_flat_map(|(some, user)| {
        let mut all: Vec<_> = some.into_iter().flatten().collect();
        all.extend(user.into_iter().map(|(name, value)| (Property::UserProperty, Val::Pair(name, value))));
        Just(all).prop_shuffle().prop_map(|all| {
            let mut buf = PropertyBuf::new();
            for (property, value) in &all {
                let value = match value {
                    Val::Byte(value) => Value::Byte(*value),
                    Val::U16(value) => Value::U16(*value),
                    Val::U32(value) => Value::U32(*value),
                    Val::Varint(value) => Value::Varint(*value),
                    Val::Text(value) => Value::Text(value),
                    Val::Binary(value) => Value::Binary(value),
                    Val::Pair(name, value) => Value::Pair(name, value),
                };
                buf.push(*property, value).expect("a value of the property");
            }
            buf
        })
    })
}

fn strings(property: Property) -> (Property, BoxedStrategy<Val>) {
    (property, text().prop_map(Val::Text).boxed())
}

fn numbers(property: Property) -> (Property, BoxedStrategy<Val>) {
    (property, any::<u32>().prop_map(Val::U32).boxed())
}

fn message_properties() -> Vec<(Property, BoxedStrategy<Val>)> {
    vec![
        (Property::PayloadFormatIndicator, flag().boxed()),
        numbers(Property::MessageExpiryInterval),
        strings(Property::ContentType),
        (Property::ResponseTopic, name().prop_map(Val::Text).boxed()),
        (Property::CorrelationData, payload().prop_map(Val::Binary).boxed()),
    ]
}

fn publish_properties() -> impl Strategy<Value = PropertyBuf> {
    let mut allowed = message_properties();
    allowed.push((Property::TopicAlias, (1..=u16::MAX).prop_map(Val::U16).boxed()));
    properties(allowed)
}

fn will_properties() -> impl Strategy<Value = PropertyBuf> {
    let mut allowed = message_properties();
    allowed.push(numbers(Property::WillDelayInterval));
    properties(allowed)
}

fn connect_properties() -> impl Strategy<Value = PropertyBuf> {
    properties(vec![
        numbers(Property::SessionExpiryInterval),
        strings(Property::AuthenticationMethod),
        (Property::RequestProblemInformation, flag().boxed()),
        (Property::RequestResponseInformation, flag().boxed()),
        (Property::ReceiveMaximum, (1..=u16::MAX).prop_map(Val::U16).boxed()),
        (Property::TopicAliasMaximum, any::<u16>().prop_map(Val::U16).boxed()),
        (Property::MaximumPacketSize, (1..=u32::MAX).prop_map(Val::U32).boxed()),
    ])
}

fn reason_properties() -> impl Strategy<Value = PropertyBuf> {
    properties(vec![strings(Property::ReasonString)])
}

fn subscribe_properties() -> impl Strategy<Value = PropertyBuf> {
    let id = (1..=VARINT_MAX).prop_map(Val::Varint).boxed();
    properties(vec![(Property::SubscriptionIdentifier, id)])
}

fn options() -> impl Strategy<Value = SubscribeOptions> {
    (qos(), any::<bool>(), 0_u8..3).prop_map(|(qos, retain_as_published, retain)| SubscribeOptions {
        qos,
        // Not on shared subscriptions, which are among the filters.
        no_local: false,
        retain_as_published,
        retain_handling: match retain {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            _ => RetainHandling::DoNotSend,
        },
    })
}

/// Whether the packet comes back from its bytes as itself.
fn check_client(version: Version, packet: &ClientPacket<'_>) {
    let mut out = Vec::new();
    Encoder::new(version).client_packet(packet, &mut out).expect("a packet of this version");
    assert_eq!(decode_client(after(version, out[0]), &framed(&out)), Ok(*packet));
}

fn check_server(version: Version, packet: &ServerPacket<'_>) {
    let mut out = Vec::new();
    Encoder::new(version).server_packet(packet, &mut out).expect("a packet of this version");
    assert_eq!(decode_server(version, &framed(&out)), Ok(*packet));
}

const fn properties_in<'a>(version: Version, properties: Properties<'a>) -> Properties<'a> {
    match version {
        V3 => Properties::NONE,
        V5 => properties,
    }
}

proptest! {
    #[test]
    fn any_bytes_are_packets_or_errors(bytes in prop::collection::vec(any::<u8>(), 0..200), known in version()) {
        stream(known, &[&bytes], 1000);
        if let Ok(Some(frame)) = frame(&bytes, u32::MAX) {
            let _ = decode_client(Some(known), &frame);
            let _ = decode_server(known, &frame);
        }
        for first in [0x20_u8, 0x30, 0x32, 0x40, 0x62, 0x82, 0x90, 0xa2, 0xb0, 0xe0, 0xf0] {
            let bytes = packet(first, &bytes);
            let _ = decode_client(Some(known), &framed(&bytes)).map(|packet| described_client(&packet));
            let _ = decode_server(known, &framed(&bytes)).map(|packet| described_server(&packet));
        }
    }

    #[test]
    fn any_split_gives_the_same_packets_or_the_same_error(
        chosen in prop::collection::vec((0_usize..1000, prop::option::weighted(0.1, any::<(u8, prop::sample::Index)>())), 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        limit in 20_u32..200,
        known in version(),
    ) {
        let mut bytes = match known {
            V3 => hex("100c 0004'MQTT' 04 02 0000 0000"),
            V5 => hex("100d 0004'MQTT' 05 02 0000 00 0000"),
        };
        let vectors: Vec<Vec<u8>> = vectors::of_clients(known).filter(|bytes| bytes[0] >> 4 != 1).collect();
        for (which, damage) in chosen {
            let mut packet = vectors[which % vectors.len()].clone();
            if let Some((byte, at)) = damage {
                let at = at.index(packet.len());
                packet[at] = byte;
            }
            bytes.extend(packet);
        }
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        ends.sort_unstable();
        ends.push(bytes.len());
        let mut start = 0;
        let pieces: Vec<&[u8]> = ends
            .iter()
            .map(|end| {
                let piece = &bytes[start..*end];
                start = *end;
                piece
            })
            .collect();
        let singles: Vec<&[u8]> = bytes.chunks(1).collect();
        let whole = stream(known, &[&bytes], limit);
        prop_assert_eq!(stream(known, &pieces, limit), whole.clone());
        prop_assert_eq!(stream(known, &singles, limit), whole);
    }

    #[test]
    fn connect_comes_back(
        level in prop_oneof![Just(Level::V31), Just(Level::V311), Just(Level::V5)],
        (flags, keep_alive_seconds) in any::<(u8, u16)>(),
        client_id in text(),
        (topic, payload, qos) in (name(), payload(), qos()),
        (user_name, password) in (prop::option::of(text()), prop::option::of(payload())),
        (own, wills) in (connect_properties(), will_properties()),
    ) {
        let version = level.version();
        let will = Will {
            topic: &topic,
            payload: &payload,
            qos,
            retain: flags & 1 != 0,
            properties: properties_in(version, wills.as_properties()),
        };
        let connect = Connect {
            level,
            is_bridge: flags & 2 != 0 && version == V3,
            clean_start: flags & 4 != 0,
            keep_alive_seconds,
            client_id: &client_id,
            will: (flags & 8 != 0).then_some(will),
            user_name: user_name.as_deref(),
            password: password.as_deref().filter(|_| version == V5 || user_name.is_some()),
            properties: properties_in(version, own.as_properties()),
        };
        check_client(version, &ClientPacket::Connect(connect));
    }

    #[test]
    fn publish_comes_back(
        known in version(),
        (dup, retain) in any::<(bool, bool)>(),
        (topic, qos, packet_id) in (name(), qos(), id()),
        properties in publish_properties(),
        payload in payload(),
    ) {
        let publish = Publish {
            dup: dup && qos != Qos::AtMostOnce,
            qos,
            retain,
            topic: &topic,
            packet_id: (qos != Qos::AtMostOnce).then_some(packet_id),
            properties: properties_in(known, properties.as_properties()),
            payload: &payload,
        };
        check_client(known, &ClientPacket::Publish(publish));
        check_server(known, &ServerPacket::Publish(publish));
    }

    #[test]
    fn acknowledgements_come_back(
        packet_id in id(),
        which in any::<prop::sample::Index>(),
        properties in reason_properties(),
    ) {
        let of = |carrier| {
            let codes: Vec<ReasonCode> =
                ReasonCode::ALL.iter().copied().filter(|code| code.may_stand_in(carrier)).collect();
            codes[which.index(codes.len())]
        };
        let ack = |carrier| Ack { packet_id, reason: of(carrier), properties: properties.as_properties() };
        let (first, second) = (ack(reason::Carrier::PUBACK), ack(reason::Carrier::PUBREL));
        check_client(V5, &ClientPacket::PubAck(first));
        check_server(V5, &ServerPacket::PubRec(first));
        check_client(V5, &ClientPacket::PubRel(second));
        check_server(V5, &ServerPacket::PubComp(second));
        check_client(V3, &ClientPacket::PubComp(Ack::new(packet_id, ReasonCode::Success)));
        let properties = properties.as_properties();
        let disconnect = |carrier| Disconnect { reason: of(carrier), properties };
        check_client(V5, &ClientPacket::Disconnect(disconnect(reason::Carrier::CLIENT_DISCONNECT)));
        check_server(V5, &ServerPacket::Disconnect(disconnect(reason::Carrier::SERVER_DISCONNECT)));
        let connack = ConnAck { session_present: false, reason: of(reason::Carrier::CONNACK), properties };
        check_server(V5, &ServerPacket::ConnAck(connack));
    }

    #[test]
    fn lists_come_back(
        known in version(),
        packet_id in id(),
        wanted in prop::collection::vec((filter(), options()), 1..5),
        own in subscribe_properties(),
        users in properties(Vec::new()),
        codes in prop::collection::vec(0_usize..12, 1..5),
    ) {
        let items: Vec<(&str, SubscribeOptions)> = wanted
            .iter()
            .map(|(filter, options)| {
                let in_v3 = SubscribeOptions { qos: options.qos, ..SubscribeOptions::default() };
                (&filter[..], if known == V3 { in_v3 } else { *options })
            })
            .collect();
        check_client(known, &ClientPacket::Subscribe(Subscribe {
            packet_id,
            properties: properties_in(known, own.as_properties()),
            subscriptions: Subscriptions::new(&items),
        }));
        let filters: Vec<&str> = wanted.iter().map(|wanted| &wanted.0[..]).collect();
        check_client(known, &ClientPacket::Unsubscribe(Unsubscribe {
            packet_id,
            properties: properties_in(known, users.as_properties()),
            filters: Filters::new(&filters),
        }));
        let allowed: Vec<ReasonCode> = ReasonCode::ALL
            .iter()
            .copied()
            .filter(|code| code.may_stand_in(reason::Carrier::SUBACK))
            .filter(|code| known == V5 || code.byte() == code.v3_suback_code())
            .collect();
        let codes: Vec<ReasonCode> = codes.iter().map(|which| allowed[which % allowed.len()]).collect();
        check_server(known, &ServerPacket::SubAck(SubAck {
            packet_id,
            properties: properties_in(known, users.as_properties()),
            codes: ReasonCodes::new(&codes),
        }));
    }

    #[test]
    fn no_packet_is_larger_than_the_receiver_takes(
        packet_bytes_max in 0_u32..120,
        wants in prop_oneof![Just(ProblemInformation::Everywhere), Just(ProblemInformation::WhereItMatters)],
        packet_id in id(),
        properties in reason_properties(),
    ) {
        let properties = properties.as_properties();
        let encoder =
            Encoder::new(V5).with_packet_bytes_max(packet_bytes_max).with_problem_information(wants);
        let codes = [ReasonCode::Success, ReasonCode::NotAuthorized];
        let suback = SubAck { packet_id, properties, codes: ReasonCodes::new(&codes) };
        for packet in [
            ServerPacket::PubAck(Ack { packet_id, reason: ReasonCode::NotAuthorized, properties }),
            ServerPacket::SubAck(suback),
            ServerPacket::Disconnect(Disconnect { reason: ReasonCode::NotAuthorized, properties }),
            ServerPacket::ConnAck(ConnAck { session_present: false, reason: ReasonCode::Success, properties }),
        ] {
            let mut out = Vec::new();
            match encoder.server_packet(&packet, &mut out) {
                Ok(()) => {
                    prop_assert!(out.len() <= packet_bytes_max as usize);
                    prop_assert!(decode_server(V5, &framed(&out)).is_ok());
                }
                Err(unsent) => {
                    prop_assert_eq!(unsent, Unsent::TooLarge);
                    prop_assert!(out.is_empty() && packet_bytes_max < 7);
                }
            }
        }
    }
}
