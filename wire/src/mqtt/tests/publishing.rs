//! Messages for many receivers: heads, tails and what goes along.

use std::num::NonZeroU16;

use bytes::Bytes;

use super::*;
use Version::{V3, V5};

fn id(value: u16) -> PacketId {
    PacketId::new(value).expect("not 0")
}

fn alias(value: u16) -> NonZeroU16 {
    NonZeroU16::new(value).expect("not 0")
}

/// What a publisher sent: every property a PUBLISH may have.
fn published() -> Vec<u8> {
    packet(
        0x3b,
        &hex(
            "0003'a/b' 0001 33 02 0000000a 26 0001'k' 0001'1' 01 01 23 0005 03 0001'c' 26 0005'event' 0005'hello' \
             08 0001'r' 09 0001 ff 26 0001'k' 0001'2' 'payload'",
        ),
    )
}

fn forwarded() -> Forwarded {
    let bytes = published();
    let ClientPacket::Publish(publish) = decode_client(Some(V5), &framed(&bytes)).unwrap() else {
        panic!("PUBLISH")
    };
    assert_eq!(publish.properties.message_expiry_interval_seconds(), Some(10));
    Forwarded::of(&publish.properties)
}

/// Head and tail as a receiver sees them, in one line.
fn received(parts: &PublishParts, head: &PublishHead<'_>) -> String {
    let mut out = Vec::new();
    let told = parts.put_head(head, u32::MAX, &mut out).unwrap();
    let head_bytes = out.len();
    out.extend_from_slice(parts.tail());
    assert_eq!((told, parts.packet_bytes(head)), (out.len(), out.len()));
    assert_eq!(parts.whole(head).unwrap(), out);

    // One byte less is refused, and nothing is written.
    let mut none = Vec::new();
    assert_eq!(parts.put_head(head, told as u32 - 1, &mut none), Err(Unsent::TooLarge));
    assert!(none.is_empty());
    assert_eq!(parts.put_head(head, told as u32, &mut none), Ok(told));
    assert_eq!(none, out[..head_bytes]);

    let ServerPacket::Publish(publish) = decode_server(parts.version(), &framed(&out)).unwrap() else {
        panic!("PUBLISH")
    };
    described_publish(&publish)
}

#[test]
fn what_goes_along_is_what_the_publisher_said_but_not_what_was_between_it_and_us() {
    let forwarded = forwarded();
    assert_eq!(
        super::properties(forwarded.properties()),
        " 26=k:1 01=1 03=c 26=event:hello 08=r 09=\\xff 26=k:2"
    );
    assert_eq!(forwarded.event(), Some("hello"));
    assert_eq!(forwarded.properties().is_payload_text(), Some(true));
    assert_eq!(Forwarded::from_bytes(forwarded.as_bytes().clone()), Ok(forwarded));
    for raw in ["02 00000001", "23 0001", "0b 01", "18 00000001", "01 02", "01", "ff"] {
        assert!(Forwarded::from_bytes(hex(raw).into()).is_err(), "{raw}");
    }
    assert!(Forwarded::of(&Properties::from_checked(&hex("02 00000001 23 0001 18 00000000"))).is_empty());
    assert_eq!(Forwarded::from_bytes(Bytes::new()), Ok(Forwarded::NONE));

    let event = Forwarded::with_event("hello").unwrap();
    assert_eq!((event.event(), event.as_bytes().len()), (Some("hello"), 15));
    assert!(Forwarded::with_event("a\nb").is_err());
    let mut built = PropertyBuf::new();
    built.push(Property::ContentType, Value::Text("c")).unwrap();
    built.push(Property::WillDelayInterval, Value::U32(1)).unwrap();
    assert_eq!(super::properties(Forwarded::from(built).properties()), " 03=c");
}

#[test]
fn heads_of_version_5() {
    let (payload, forwarded) = (Bytes::from_static(b"payload"), forwarded());
    let message =
        Outgoing { topic: "a/b", payload: &payload, forwarded: &forwarded, expiry_seconds: Some(7) };
    let parts = PublishParts::new(V5, &message).unwrap();
    let common = " 02=7 26=k:1 01=1 03=c 26=event:hello 08=r 09=\\xff 26=k:2: 'payload'";
    let plain = PublishHead::new(Delivery::AtMostOnce);
    for (head, expected) in [
        (plain, "publish 'a/b' qos 0".to_owned()),
        (PublishHead { retain: true, ..plain }, "publish 'a/b' qos 0 retain".to_owned()),
        // DUP has no meaning there.
        (PublishHead { dup: true, ..plain }, "publish 'a/b' qos 0".to_owned()),
        (PublishHead::new(Delivery::AtLeastOnce(id(9))), "publish 'a/b' qos 1 id 9".to_owned()),
        (
            PublishHead { dup: true, ..PublishHead::new(Delivery::ExactlyOnce(id(65_535))) },
            "publish 'a/b' qos 2 dup id 65535".to_owned(),
        ),
        (
            PublishHead { topic: TopicForm::NameAndAlias(alias(3)), ..plain },
            "publish 'a/b' qos 0 23=3".to_owned(),
        ),
        (
            PublishHead {
                topic: TopicForm::Alias(alias(3)),
                subscription_ids: &[1, 200, 1, VARINT_MAX],
                ..PublishHead::new(Delivery::AtLeastOnce(id(9)))
            },
            "publish '' qos 1 id 9 23=3 0b=1 0b=200 0b=1 0b=268435455".to_owned(),
        ),
        // Nobody's identifiers.
        (PublishHead { subscription_ids: &[0, VARINT_MAX + 1], ..plain }, "publish 'a/b' qos 0".to_owned()),
    ] {
        assert_eq!(received(&parts, &head), format!("{expected}{common}"));
    }
}

#[test]
fn heads_of_version_3() {
    let (payload, forwarded) = (Bytes::from_static(b"payload"), forwarded());
    let message =
        Outgoing { topic: "a/b", payload: &payload, forwarded: &forwarded, expiry_seconds: Some(7) };
    let parts = PublishParts::new(V3, &message).unwrap();
    let plain = PublishHead::new(Delivery::AtMostOnce);
    assert_eq!(received(&parts, &plain), "publish 'a/b' qos 0: 'payload'");
    let head = PublishHead {
        topic: TopicForm::Alias(alias(3)),
        subscription_ids: &[1],
        dup: true,
        ..PublishHead::new(Delivery::ExactlyOnce(id(9)))
    };
    assert_eq!(received(&parts, &head), "publish 'a/b' qos 2 dup id 9: 'payload'");
}

#[test]
fn a_payload_is_shared_unless_properties_stand_before_it() {
    let (payload, none) = (Bytes::from(vec![b'x'; 1000]), Forwarded::NONE);
    let message = Outgoing { topic: "t", payload: &payload, forwarded: &none, expiry_seconds: None };
    for version in [V3, V5] {
        let parts = PublishParts::new(version, &message).unwrap();
        assert_eq!(parts.tail().as_ptr(), payload.as_ptr());
    }
}

#[test]
fn lengths_are_right_where_their_own_length_changes() {
    let none = Forwarded::NONE;
    for payload_bytes in (100..140).chain(16_360..16_400) {
        let payload = Bytes::from(vec![b'x'; payload_bytes]);
        let message = Outgoing { topic: "t", payload: &payload, forwarded: &none, expiry_seconds: Some(1) };
        for version in [V3, V5] {
            let parts = PublishParts::new(version, &message).unwrap();
            let ids = [5; 70];
            for subscription_ids in [&ids[..0], &ids[..61], &ids[..62], &ids] {
                let head = PublishHead { subscription_ids, ..PublishHead::new(Delivery::AtLeastOnce(id(1))) };
                received(&parts, &head);
            }
        }
    }
}

#[test]
fn what_the_protocol_cannot_carry_is_told_at_once() {
    let (payload, none) = (Bytes::new(), Forwarded::NONE);
    let long = "x".repeat(65_536);
    let message = Outgoing { topic: &long, payload: &payload, forwarded: &none, expiry_seconds: None };
    assert_eq!(PublishParts::new(V5, &message).err(), Some(Unsent::TooLarge));
    let message = Outgoing { topic: &long[1..], ..message };
    assert!(PublishParts::new(V5, &message).is_ok());
}

/// Resolves what a client of version 5 sent.
fn resolved(aliases: &mut AliasesIn, body: &str) -> Result<String, Answer> {
    let bytes = packet(0x30, &hex(body));
    let ClientPacket::Publish(publish) = decode_client(Some(V5), &framed(&bytes)).unwrap() else {
        panic!("PUBLISH")
    };
    aliases.resolve(3, &publish).map(str::to_owned).map_err(|error| error.answer)
}

#[test]
fn aliases_are_set_moved_and_used() {
    let mut aliases = AliasesIn::default();
    let unset = Err(Answer::Code(ReasonCode::ProtocolError));
    let over = Err(Answer::Code(ReasonCode::TopicAliasInvalid));
    for (body, expected) in [
        ("0001'a' 00", Ok("a")),
        ("0000 03 230001", unset),
        ("0001'a' 03 230003", Ok("a")),
        ("0000 03 230003", Ok("a")),
        ("0000 03 230002", unset),
        ("0001'b' 03 230003", Ok("b")),
        ("0000 03 230003", Ok("b")),
        ("0001'c' 03 230001", Ok("c")),
        ("0000 03 230003", Ok("b")),
        ("0001'd' 03 230004", over),
        ("0000 03 23ffff", over),
    ] {
        assert_eq!(resolved(&mut aliases, body), expected.map(str::to_owned), "{body}");
    }
    assert_eq!(resolved(&mut AliasesIn::default(), "0000 03 230003"), unset.map(str::to_owned));
}

#[test]
fn aliases_are_told_first_come_first_served() {
    let mut aliases = AliasesOut::default();
    assert_eq!(aliases.form(0, "a"), TopicForm::Name);
    assert_eq!(aliases.form(2, "a"), TopicForm::NameAndAlias(alias(1)));
    // It was not sent after all.
    assert_eq!(aliases.form(2, "b"), TopicForm::NameAndAlias(alias(1)));
    aliases.told("b");
    assert_eq!(aliases.form(2, "b"), TopicForm::Alias(alias(1)));
    assert_eq!(aliases.form(2, "a"), TopicForm::NameAndAlias(alias(2)));
    aliases.told("a");
    assert_eq!(aliases.form(2, "a"), TopicForm::Alias(alias(2)));
    assert_eq!(aliases.form(2, "c"), TopicForm::Name);

    let mut aliases = AliasesOut::default();
    let topics: Vec<String> = (0..12).map(|n| n.to_string()).collect();
    for topic in &topics {
        if matches!(aliases.form(u16::MAX, topic), TopicForm::NameAndAlias(_)) {
            aliases.told(topic);
        }
    }
    assert_eq!(aliases.form(u16::MAX, "9"), TopicForm::Alias(alias(10)));
    assert_eq!(aliases.form(u16::MAX, "10"), TopicForm::Name);
}

#[test]
fn decoding_and_heads_allocate_nothing() {
    let bytes: Vec<Vec<u8>> = [V3, V5].into_iter().flat_map(vectors::of_clients).collect();
    let decoded = allocation_counter::measure(|| {
        for bytes in &bytes {
            let Ok(Some(frame)) = frame(bytes, u32::MAX) else { panic!("a packet") };
            for known in [after(V3, bytes[0]), after(V5, bytes[0])] {
                if let Ok(ClientPacket::Publish(publish)) = decode_client(known, &frame) {
                    assert!(publish.properties.user_properties().count() <= 2);
                    assert!(publish.properties.content_type().is_none_or(|text| text.len() <= 4));
                }
            }
        }
    });
    assert_eq!(decoded.count_total, 0);

    let (payload, forwarded) = (Bytes::from_static(b"payload"), forwarded());
    let message =
        Outgoing { topic: "a/b", payload: &payload, forwarded: &forwarded, expiry_seconds: Some(7) };
    let parts = PublishParts::new(V5, &message).unwrap();
    let head = PublishHead { subscription_ids: &[1, 2], ..PublishHead::new(Delivery::AtLeastOnce(id(9))) };
    let mut out = Vec::with_capacity(100);
    // The first clone makes the count of references: once per message.
    let _first = parts.tail().clone();
    let written = allocation_counter::measure(|| {
        parts.put_head(&head, u32::MAX, &mut out).unwrap();
        let _shared = parts.tail().clone();
    });
    assert_eq!(written.count_total, 0);
}
