//! The forms clients expect of a server, and what is left out for a client that takes or wants less.

use super::*;
use Version::{V3, V5};

fn id(value: u16) -> PacketId {
    PacketId::new(value).expect("not 0")
}

/// Bytes of a server's packet, or why there are none; then nothing may have been appended.
fn sent(encoder: Encoder, packet: &ServerPacket<'_>) -> Result<Vec<u8>, Unsent> {
    let mut out = vec![0xaa];
    match encoder.server_packet(packet, &mut out) {
        Ok(()) => Ok(out.split_off(1)),
        Err(unsent) => {
            assert_eq!(out, [0xaa], "{unsent}");
            Err(unsent)
        }
    }
}

fn v5(packet: &ServerPacket<'_>) -> Vec<u8> {
    sent(Encoder::new(V5), packet).unwrap()
}

#[test]
fn acknowledgements_have_their_shortest_form() {
    let ack = |code| Ack::new(id(7), code);
    assert_eq!(v5(&ServerPacket::PubAck(ack(ReasonCode::Success))), hex("4002 0007"));
    assert_eq!(v5(&ServerPacket::PubAck(ack(ReasonCode::NoMatchingSubscribers))), hex("4003 0007 10"));
    assert_eq!(v5(&ServerPacket::PubRec(ack(ReasonCode::QuotaExceeded))), hex("5003 0007 97"));
    assert_eq!(v5(&ServerPacket::PubRel(ack(ReasonCode::Success))), hex("6202 0007"));
    assert_eq!(v5(&ServerPacket::PubComp(ack(ReasonCode::PacketIdentifierNotFound))), hex("7003 0007 92"));
    // Version 3 cannot refuse a message.
    let refused = ServerPacket::PubAck(ack(ReasonCode::NotAuthorized));
    assert_eq!(sent(Encoder::new(V3), &refused), Ok(hex("4002 0007")));
}

#[test]
fn endings_have_their_shortest_form() {
    let disconnect = ServerPacket::Disconnect(Disconnect::new(ReasonCode::SessionTakenOver));
    assert_eq!(v5(&disconnect), hex("e001 8e"));
    assert_eq!(v5(&ServerPacket::Disconnect(Disconnect::new(ReasonCode::Success))), hex("e000"));
    assert_eq!(sent(Encoder::new(V3), &disconnect), Err(Unsent::NoForm));
    let text = PropertyBuf::with_reason_string("why");
    let disconnect = ServerPacket::Disconnect(Disconnect {
        reason: ReasonCode::ProtocolError,
        properties: text.as_properties(),
    });
    assert_eq!(v5(&disconnect), hex("e008 82 06 1f 0003'why'"));

    let mut out = Vec::new();
    Encoder::new(V5).ending(ReasonCode::ProtocolError, "why", &mut out).unwrap();
    assert_eq!(out, hex("e008 82 06 1f 0003'why'"));
    assert_eq!(Encoder::new(V3).ending(ReasonCode::ProtocolError, "why", &mut out), Err(Unsent::NoForm));

    let mut out = Vec::new();
    let normal = Disconnect::new(ReasonCode::DisconnectWithWill);
    Encoder::new(V3).client_disconnect(&normal, &mut out).unwrap();
    assert_eq!(out, hex("e000"));
}

fn connack(reason: ReasonCode, properties: Properties<'_>) -> ServerPacket<'_> {
    ServerPacket::ConnAck(ConnAck { session_present: true, reason, properties })
}

#[test]
fn connack_has_its_shortest_form() {
    let refused = connack(ReasonCode::BadUserNameOrPassword, Properties::NONE);
    // Never with a session.
    assert_eq!(v5(&refused), hex("2003 00 86 00"));
    assert_eq!(sent(Encoder::new(V3), &refused), Ok(hex("2002 00 04")));
    let mut out = Vec::new();
    Encoder::new(V5).refusal(ReasonCode::Banned, "why", &mut out).unwrap();
    Encoder::new(V3).refusal(ReasonCode::Banned, "why", &mut out).unwrap();
    assert_eq!(out, hex("2009 00 8a 06 1f 0003'why' 2002 00 05"));
    assert_eq!(
        sent(Encoder::new(V3), &connack(ReasonCode::Success, Properties::NONE)),
        Ok(hex("2002 01 00"))
    );
}

#[test]
fn refusals_become_return_codes_of_version_3() {
    let expected = [
        (0x84, 1),
        (0x85, 2),
        (0x86, 4),
        (0x87, 5),
        (0x88, 3),
        (0x89, 3),
        (0x8a, 5),
        (0x9c, 3),
        (0x9d, 3),
        (0x9f, 3),
    ];
    for code in ReasonCode::ALL.iter().filter(|code| code.is_failure()) {
        let connack = connack(*code, Properties::NONE);
        let expected = expected.iter().find(|row| row.0 == code.byte());
        match expected {
            Some((_, v3)) => assert_eq!(sent(Encoder::new(V3), &connack), Ok(vec![0x20, 2, 0, *v3])),
            None => assert_eq!(sent(Encoder::new(V3), &connack), Err(Unsent::NoForm)),
        }
    }
}

#[test]
fn connack_says_only_what_is_not_assumed_anyway() {
    assert!(ConnAckProperties::default().to_buf().as_properties().is_empty());
    let usual = ConnAckProperties {
        topic_alias_maximum: 10,
        maximum_packet_size_bytes: Some(2_000_000),
        receive_maximum: 20,
        ..Default::default()
    };
    let buf = usual.to_buf();
    let packet = ServerPacket::ConnAck(ConnAck {
        session_present: false,
        reason: ReasonCode::Success,
        properties: buf.as_properties(),
    });
    assert_eq!(v5(&packet), hex("200e 00 00 0b 22000a 27001e8480 210014"));
}

#[test]
fn connack_has_the_order_clients_know() {
    let everything = ConnAckProperties {
        server_keep_alive_seconds: Some(60),
        topic_alias_maximum: 1,
        assigned_client_identifier: Some("i"),
        authentication_method: Some("m"),
        authentication_data: Some(b"d"),
        retain_available: false,
        maximum_packet_size_bytes: Some(1000),
        receive_maximum: 5,
        maximum_qos: Qos::AtLeastOnce,
        wildcard_subscription_available: false,
        subscription_identifier_available: false,
        shared_subscription_available: false,
        session_expiry_interval_seconds: Some(7),
        response_information: Some("r"),
        server_reference: Some("s"),
        reason_string: Some("t"),
        user_properties: &[("a", "b"), ("a", "c")],
    };
    let buf = everything.to_buf();
    let ids: Vec<u8> = buf.as_properties().iter().map(|(property, _)| property as u8).collect();
    assert_eq!(ids, hex("13 22 12 15 16 25 27 21 24 28 29 2a 11 1a 1c 1f 26 26"));
    let bytes = v5(&connack(ReasonCode::Success, buf.as_properties()));
    assert!(decode_server(V5, &framed(&bytes)).is_ok());
    // Data without a method would be a fault of ours.
    let data = ConnAckProperties { authentication_data: Some(b"d"), ..Default::default() };
    assert!(data.to_buf().as_properties().is_empty());
}

#[test]
fn suback_and_unsuback_always_have_a_property_length_in_version_5() {
    let codes = [ReasonCode::GrantedQos1, ReasonCode::NotAuthorized, ReasonCode::TopicFilterInvalid];
    let suback = SubAck { packet_id: id(9), properties: Properties::NONE, codes: ReasonCodes::new(&codes) };
    assert_eq!(v5(&ServerPacket::SubAck(suback)), hex("9006 0009 00 01 87 8f"));
    assert_eq!(sent(Encoder::new(V3), &ServerPacket::SubAck(suback)), Ok(hex("9005 0009 01 80 80")));

    let codes = [ReasonCode::Success, ReasonCode::NoSubscriptionExisted];
    let unsuback = SubAck { packet_id: id(9), properties: Properties::NONE, codes: ReasonCodes::new(&codes) };
    assert_eq!(v5(&ServerPacket::UnsubAck(unsuback)), hex("b005 0009 00 00 11"));
    assert_eq!(sent(Encoder::new(V3), &ServerPacket::UnsubAck(unsuback)), Ok(hex("b002 0009")));
}

/// Reason string of 3, user properties of 2 and 2 times 2 characters.
fn talkative() -> PropertyBuf {
    let mut properties = PropertyBuf::with_reason_string("why");
    properties.push_user_property("a", "b").unwrap();
    properties.push_user_property("ab", "cd").unwrap();
    properties
}

#[test]
fn what_does_not_fit_is_left_out_first_user_properties_then_the_reason_string() {
    let properties = talkative();
    let ack = ServerPacket::PubAck(Ack {
        packet_id: id(1),
        reason: ReasonCode::NotAuthorized,
        properties: properties.as_properties(),
    });
    let all = hex("4018 0001 87 14 1f 0003'why' 26 0001'a' 0001'b' 26 0002'ab' 0002'cd'");
    let all = {
        // 6 of the reason string, 7 and 9 of the user properties.
        let mut bytes = all;
        bytes[1] = 26;
        bytes[5] = 22;
        bytes
    };
    let some = hex("400a 0001 87 06 1f 0003'why'");
    let bare = hex("4003 0001 87");
    for packet_bytes_max in 0..40 {
        let encoder = Encoder::new(V5).with_packet_bytes_max(packet_bytes_max);
        let expected = match packet_bytes_max {
            0..5 => Err(Unsent::TooLarge),
            5..12 => Ok(bare.clone()),
            12..28 => Ok(some.clone()),
            _ => Ok(all.clone()),
        };
        assert_eq!(sent(encoder, &ack), expected, "{packet_bytes_max}");
    }
}

#[test]
fn who_wants_no_problem_information_gets_it_only_where_it_matters() {
    let properties = talkative();
    let properties = properties.as_properties();
    let quiet = Encoder::new(V5).with_problem_information(ProblemInformation::WhereItMatters);
    let ack = Ack { packet_id: id(1), reason: ReasonCode::Success, properties };
    let codes = [ReasonCode::Success];
    let suback = SubAck { packet_id: id(1), properties, codes: ReasonCodes::new(&codes) };
    for (packet, bytes) in [
        (ServerPacket::PubAck(ack), "4002 0001"),
        (ServerPacket::PubRec(ack), "5002 0001"),
        (ServerPacket::PubRel(ack), "6202 0001"),
        (ServerPacket::PubComp(ack), "7002 0001"),
        (ServerPacket::SubAck(suback), "9004 0001 00 00"),
        (ServerPacket::UnsubAck(suback), "b004 0001 00 00"),
    ] {
        assert_eq!(sent(quiet, &packet), Ok(hex(bytes)));
    }
    let mut method = PropertyBuf::new();
    method.push(Property::AuthenticationMethod, Value::Text("m")).unwrap();
    method.push(Property::ReasonString, Value::Text("why")).unwrap();
    let auth = Auth { reason: ReasonCode::ContinueAuthentication, properties: method.as_properties() };
    assert_eq!(sent(quiet, &ServerPacket::Auth(auth)), Ok(hex("f006 18 04 15 0001'm'")));
    for packet in [
        connack(ReasonCode::NotAuthorized, properties),
        ServerPacket::Disconnect(Disconnect { reason: ReasonCode::NotAuthorized, properties }),
    ] {
        assert_eq!(sent(quiet, &packet), sent(Encoder::new(V5), &packet));
    }
}

#[test]
fn an_encoder_follows_from_connect() {
    let connect = |bytes: &str| {
        let bytes = hex(bytes);
        let ClientPacket::Connect(connect) = decode_client(None, &framed(&bytes)).unwrap() else {
            panic!("CONNECT")
        };
        Encoder::for_client(&connect)
    };
    assert_eq!(connect("100c 0004'MQTT' 04 02 001e 0000"), Encoder::new(V3));
    assert_eq!(connect("100d 0004'MQTT' 05 02 003c 00 0000"), Encoder::new(V5));
    assert_eq!(connect("100f 0004'MQTT' 05 02 003c 02 1701 0000"), Encoder::new(V5));
    assert_eq!(
        connect("1014 0004'MQTT' 05 02 003c 07 1700 2700000064 0000"),
        Encoder::new(V5)
            .with_packet_bytes_max(100)
            .with_problem_information(ProblemInformation::WhereItMatters)
    );
    assert_eq!(size_of::<Encoder>(), 8);
}

#[test]
fn what_cannot_be_said_is_not_sent() {
    let long = "x".repeat(65_536);
    let publish = Publish {
        dup: false,
        qos: Qos::AtMostOnce,
        retain: false,
        topic: &long,
        packet_id: None,
        properties: Properties::NONE,
        payload: b"",
    };
    assert_eq!(sent(Encoder::new(V5), &ServerPacket::Publish(publish)), Err(Unsent::TooLarge));
    let publish = Publish { topic: "t", qos: Qos::AtLeastOnce, ..publish };
    assert_eq!(sent(Encoder::new(V5), &ServerPacket::Publish(publish)), Err(Unsent::NoForm));
    let auth = ServerPacket::Auth(Auth { reason: ReasonCode::Success, properties: Properties::NONE });
    assert_eq!(sent(Encoder::new(V3), &auth), Err(Unsent::NoForm));
    for packet_bytes_max in 0..2 {
        let encoder = Encoder::new(V5).with_packet_bytes_max(packet_bytes_max);
        assert_eq!(sent(encoder, &ServerPacket::PingResp), Err(Unsent::TooLarge));
    }

    let connect = Connect {
        level: Level::V311,
        is_bridge: false,
        clean_start: true,
        keep_alive_seconds: 0,
        client_id: "",
        will: None,
        user_name: None,
        password: Some(b"p"),
        properties: Properties::NONE,
    };
    assert_eq!(Encoder::new(V3).connect(&connect, &mut Vec::new()), Err(Unsent::NoForm));
    let connect = Connect { client_id: &long, password: None, ..connect };
    assert_eq!(Encoder::new(V3).connect(&connect, &mut Vec::new()), Err(Unsent::TooLarge));
}

#[test]
fn properties_that_break_the_table_are_not_built() {
    let long = "x".repeat(65_536);
    let mut properties = PropertyBuf::new();
    for (property, value) in [
        (Property::ReasonString, Value::Byte(1)),
        (Property::ReasonString, Value::Text(&long)),
        (Property::ReasonString, Value::Text("a\u{0}")),
        (Property::UserProperty, Value::Pair("a", "b\n")),
        (Property::UserProperty, Value::Pair(&long, "")),
        (Property::CorrelationData, Value::Binary(long.as_bytes())),
        (Property::ResponseTopic, Value::Text("a/#")),
        (Property::ResponseTopic, Value::Text("")),
        (Property::SubscriptionIdentifier, Value::Varint(0)),
        (Property::SubscriptionIdentifier, Value::Varint(VARINT_MAX + 1)),
        (Property::ReceiveMaximum, Value::U16(0)),
        (Property::TopicAlias, Value::U16(0)),
        (Property::MaximumQos, Value::Byte(2)),
    ] {
        assert!(properties.push(property, value).is_err(), "{property:?} {value:?}");
    }
    assert!(properties.as_properties().is_empty());
    assert!(PropertyBuf::with_reason_string(&long).as_properties().is_empty());
}

#[test]
fn every_property_has_its_getter() {
    let bytes = hex(
        "01 01  02 00000002  03 0001'c'  08 0001'r'  09 0001'd'  0b 05  11 00000011  12 0001'i'  13 0013  15 0001'm' \
         16 0001'a'  17 00  18 00000018  19 01  1a 0001'n'  1c 0001's'  1f 0001'w'  21 0021  22 0022  23 0023  24 01 \
         25 00  26 0001'k' 0001'v'  27 00000027  28 00  29 00  2a 00  0b 06  26 0001'k' 0001'w'",
    );
    let all = Properties::from_checked(&bytes);
    assert_eq!(all.iter().count(), Property::ALL.len() + 2);
    assert_eq!(all.is_payload_text(), Some(true));
    assert_eq!(all.message_expiry_interval_seconds(), Some(2));
    assert_eq!(all.content_type(), Some("c"));
    assert_eq!(all.response_topic(), Some("r"));
    assert_eq!(all.correlation_data(), Some(&b"d"[..]));
    assert_eq!(all.subscription_identifier(), Some(5));
    assert_eq!(all.subscription_identifiers().collect::<Vec<_>>(), [5, 6]);
    assert_eq!(all.session_expiry_interval_seconds(), Some(0x11));
    assert_eq!(all.assigned_client_identifier(), Some("i"));
    assert_eq!(all.server_keep_alive_seconds(), Some(0x13));
    assert_eq!(all.authentication_method(), Some("m"));
    assert_eq!(all.authentication_data(), Some(&b"a"[..]));
    assert_eq!(all.request_problem_information(), Some(false));
    assert_eq!(all.will_delay_interval_seconds(), Some(0x18));
    assert_eq!(all.request_response_information(), Some(true));
    assert_eq!(all.response_information(), Some("n"));
    assert_eq!(all.server_reference(), Some("s"));
    assert_eq!(all.reason_string(), Some("w"));
    assert_eq!(all.receive_maximum(), Some(0x21));
    assert_eq!(all.topic_alias_maximum(), Some(0x22));
    assert_eq!(all.topic_alias(), Some(0x23));
    assert_eq!(all.maximum_qos(), Some(Qos::AtLeastOnce));
    assert_eq!(all.retain_available(), Some(false));
    assert_eq!(all.user_properties().collect::<Vec<_>>(), [("k", "v"), ("k", "w")]);
    assert_eq!(all.user_property("k"), Some("v"));
    assert_eq!(all.user_property("x"), None);
    assert_eq!(all.maximum_packet_size_bytes(), Some(0x27));
    assert_eq!(all.wildcard_subscription_available(), Some(false));
    assert_eq!(all.subscription_identifier_available(), Some(false));
    assert_eq!(all.shared_subscription_available(), Some(false));
    for property in Property::ALL {
        assert!(all.find(*property).is_some(), "{property:?}");
        assert_eq!(Properties::NONE.find(*property), None);
    }
}

#[test]
fn packet_ids_begin_at_1_and_come_round() {
    assert_eq!(PacketId::new(0), None);
    assert_eq!(PacketId::FIRST.value(), 1);
    assert_eq!(id(1).next(), id(2));
    assert_eq!(id(65_535).next(), PacketId::FIRST);
}
