//! Golden vectors of the protocol documents, the rules of refusal row by row, and round trips.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::engineio::{BinaryAs, PayloadWriter};
use crate::values::{JsonText, Values};

const TEXT5: Codec = Codec { revision: Revision::V5, parser: Parser::Default };
const TEXT4: Codec = Codec { revision: Revision::V4, parser: Parser::Default };
const PACK5: Codec = Codec { revision: Revision::V5, parser: Parser::MsgPack };

fn limits() -> Limits {
    Limits::default()
}

fn values(json: &str, attachments: &[&'static [u8]]) -> Values {
    let attachments = attachments.iter().map(|data| Bytes::from_static(data)).collect();
    Values::parse(json, attachments, &limits().values).unwrap()
}

fn json(text: &str) -> JsonText {
    JsonText::parse(text, &limits().values).unwrap()
}

fn packet(namespace: &str, kind: Kind) -> Packet {
    Packet { namespace: Namespace::new(namespace), kind }
}

fn event(id: Option<u64>, values: Values) -> Kind {
    Kind::Event { id: id.map(AckId), values }
}

fn ack(id: u64, values: Values) -> Kind {
    Kind::Ack { id: AckId(id), values }
}

/// Decodes one packet: its text, then its attachments.
fn decode(decoder: &mut Decoder, text: &str, attachments: &[&[u8]]) -> Result<Packet, Violation> {
    let mut got = decoder.text(text, &limits())?;
    for data in attachments {
        assert_eq!(got, None, "complete before the last attachment");
        got = decoder.binary(data, &limits())?;
    }
    got.ok_or(Violation::AttachmentsMissing)
}

fn server(text: &str) -> Result<Packet, Violation> {
    decode(&mut Decoder::new(Role::Server, Revision::V5), text, &[])
}

fn old_server(text: &str) -> Result<Packet, Violation> {
    decode(&mut Decoder::new(Role::Server, Revision::V4), text, &[])
}

#[test]
fn idle_decoder_is_small() {
    assert!(size_of::<Decoder>() <= 16, "{} bytes for every connection", size_of::<Decoder>());
    assert_eq!(size_of::<Codec>(), 2);
}

/// A row of a document: a text, its attachments, the packet. Decoded as a client would, and encoded again to the same bytes.
fn document_vectors(codec: Codec, rows: &[(String, &[&'static [u8]], Packet)]) {
    for (text, attachments, expected) in rows {
        let mut decoder = Decoder::with_codec(Role::Client, codec);
        assert_eq!(decode(&mut decoder, text, attachments).as_ref(), Ok(expected), "{text}");
        let encoded = codec.packet(expected);
        assert_eq!(encoded.text, format!("4{text}"));
        assert_eq!(encoded.attachments, *attachments);
    }
}

const PLACEHOLDER: &str = r#"{"_placeholder":true,"num":0}"#;

/// `docs/socket.io-protocol/v5-current.md`, "Examples" and "Sample session".
#[test]
fn vectors_of_revision_5() {
    let rows: Vec<(String, &[&'static [u8]], Packet)> = vec![
        ("0".into(), &[], packet("/", Kind::Connect(None))),
        (
            r#"0/admin,{"sid":"oSO0OpakMV_3jnilAAAA"}"#.into(),
            &[],
            packet("/admin", Kind::Connect(Some(json(r#"{"sid":"oSO0OpakMV_3jnilAAAA"}"#)))),
        ),
        (
            r#"4{"message":"Not authorized"}"#.into(),
            &[],
            packet("/", Kind::ConnectError(json(r#"{"message":"Not authorized"}"#))),
        ),
        (r#"2["foo"]"#.into(), &[], packet("/", event(None, values(r#"["foo"]"#, &[])))),
        (r#"2/admin,["bar"]"#.into(), &[], packet("/admin", event(None, values(r#"["bar"]"#, &[])))),
        (
            format!(r#"51-["baz",{PLACEHOLDER}]"#),
            &[&[1, 2, 3, 4]],
            packet("/", event(None, values(&format!(r#"["baz",{PLACEHOLDER}]"#), &[&[1, 2, 3, 4]]))),
        ),
        (
            format!(r#"52-/admin,["baz",{PLACEHOLDER},{{"_placeholder":true,"num":1}}]"#),
            &[&[1, 2], &[3, 4]],
            packet(
                "/admin",
                event(
                    None,
                    values(
                        &format!(r#"["baz",{PLACEHOLDER},{{"_placeholder":true,"num":1}}]"#),
                        &[&[1, 2], &[3, 4]],
                    ),
                ),
            ),
        ),
        (r#"212["foo"]"#.into(), &[], packet("/", event(Some(12), values(r#"["foo"]"#, &[])))),
        (r#"3/admin,13["bar"]"#.into(), &[], packet("/admin", ack(13, values(r#"["bar"]"#, &[])))),
        (
            format!(r#"61-15["bar",{PLACEHOLDER}]"#),
            &[&[1, 2, 3, 4]],
            packet("/", ack(15, values(&format!(r#"["bar",{PLACEHOLDER}]"#), &[&[1, 2, 3, 4]]))),
        ),
        ("1".into(), &[], packet("/", Kind::Disconnect)),
        ("1/admin,".into(), &[], packet("/admin", Kind::Disconnect)),
    ];
    document_vectors(TEXT5, &rows);
}

/// `docs/socket.io-protocol/v4.md`, "Examples".
#[test]
fn vectors_of_revision_4() {
    let rows: Vec<(String, &[&'static [u8]], Packet)> = vec![
        ("0".into(), &[], packet("/", Kind::Connect(None))),
        ("0/admin,".into(), &[], packet("/admin", Kind::Connect(None))),
        (r#"2["hello",1]"#.into(), &[], packet("/", event(None, values(r#"["hello",1]"#, &[])))),
        (
            r#"2/admin,456["project:delete",123]"#.into(),
            &[],
            packet("/admin", event(Some(456), values(r#"["project:delete",123]"#, &[]))),
        ),
        ("3/admin,456[]".into(), &[], packet("/admin", ack(456, values("[]", &[])))),
        (
            r#"4/admin,"Not authorized""#.into(),
            &[],
            packet("/admin", Kind::ConnectError(json(r#""Not authorized""#))),
        ),
        (
            format!(r#"51-/admin,456["project:delete",{PLACEHOLDER}]"#),
            &[&[1, 2, 3]],
            packet(
                "/admin",
                event(Some(456), values(&format!(r#"["project:delete",{PLACEHOLDER}]"#), &[&[1, 2, 3]])),
            ),
        ),
        (
            format!("61-/admin,456[{PLACEHOLDER}]"),
            &[&[3, 2, 1]],
            packet("/admin", ack(456, values(&format!("[{PLACEHOLDER}]"), &[&[3, 2, 1]]))),
        ),
    ];
    document_vectors(TEXT4, &rows);
}

/// `40/custom`, `41/custom` without comma are valid.
#[test]
fn namespace_may_end_with_the_text() {
    assert_eq!(server("0/custom"), Ok(packet("/custom", Kind::Connect(None))));
    assert_eq!(server("1/custom"), Ok(packet("/custom", Kind::Disconnect)));
    assert_eq!(server("0/adm?x=1,"), Ok(packet("/adm?x=1", Kind::Connect(None))), "no query in revision 5");
    assert_eq!(server("0/,"), Ok(packet("/", Kind::Connect(None))));
    assert_eq!(server(r#"2/["x"]"#), Err(Violation::BadPayload), "all of it is the namespace");
}

/// Ack id: digits directly before `[`; 0 is valid; `1.5` and `abc` close.
#[test]
fn ack_ids() {
    for (text, id) in [("20", 0), ("21", 1), ("218446744073709551615", 18_446_744_073_709_551_615)] {
        let expected = packet("/", event(Some(id), values(r#"["x"]"#, &[])));
        assert_eq!(server(&format!(r#"{text}["x"]"#)), Ok(expected));
    }
    assert_eq!(TEXT5.ack("/", AckId(0), &values("[1]", &[])).text, "430[1]");
    for (text, violation) in [
        (r#"21.5["x"]"#, Violation::BadPayload),
        (r#"2abc["x"]"#, Violation::BadPayload),
        (r#"2-1["x"]"#, Violation::BadPayload),
        (r#"2 1["x"]"#, Violation::BadPayload),
        (r#"218446744073709551616["x"]"#, Violation::BadAckId),
        (r#"3["x"]"#, Violation::BadAckId),
        ("3/adm,[]", Violation::BadAckId),
    ] {
        assert_eq!(server(text), Err(violation), "{text}");
    }
}

/// EVENT payload: a non-empty array that begins with a string or number.
#[test]
fn event_payloads() {
    for text in [r#"2["x"]"#, "2[1]", "2[-1.5]", r#"2[""]"#, r#"2[ "x" ]"#, r#"2["x",null,[],{}]"#] {
        assert!(server(text).is_ok(), "{text}");
    }
    for text in [
        "2",
        "212",
        "2/adm",
        "2/adm,",
        "2{}",
        "2[]",
        "2[null]",
        "2[{}]",
        "2[[]]",
        "2[true]",
        "2\"x\"",
        "2null",
        "2[",
        r#"2["x""#,
        r#"2["x"],"#,
        r#"2["x"]["y"]"#,
        "2[x]",
        r#"2{"0":"x"}"#,
    ] {
        assert_eq!(server(text), Err(Violation::BadPayload), "{text}");
    }
}

#[test]
fn reserved_names() {
    for name in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
        assert_eq!(server(&format!("2[\"{name}\"]")), Err(Violation::ReservedEvent), "{name}");
        assert_eq!(server(&format!("27[\"{name}\",1]")), Err(Violation::ReservedEvent), "{name}");
        let mut decoder = Decoder::new(Role::Server, Revision::V5);
        assert_eq!(decoder.text(&format!("51-[\"{name}\"]"), &limits()), Err(Violation::ReservedEvent));
        assert!(server(&format!("30[\"{name}\"]")).is_ok(), "only events have names");
    }
    assert_eq!(server(r#"2["\u0063onnect"]"#), Err(Violation::ReservedEvent), "however it is written");
    assert!(server(r#"2["Connect"]"#).is_ok());
}

/// CONNECT payload: an object or absent.
#[test]
fn connect_payloads() {
    assert_eq!(server("0{}"), Ok(packet("/", Kind::Connect(Some(json("{}"))))));
    assert_eq!(
        server(r#"0/adm,{"token":"a,b"}"#),
        Ok(packet("/adm", Kind::Connect(Some(json(r#"{"token":"a,b"}"#)))))
    );
    for text in ["0[1]", "0[]", "0null", "0\"x\"", "0true", "0{", "0x", "0/adm,[]", "0custom"] {
        assert_eq!(server(text), Err(Violation::BadPayload), "{text}");
    }
}

/// DISCONNECT with payload, ACK payload that is no array.
#[test]
fn other_payloads() {
    for text in ["1{}", "1[]", "1null", "1/adm,x", "31{}", "31null", "31", "31\"x\"", "31[", "3/adm,1"] {
        assert_eq!(server(text), Err(Violation::BadPayload), "{text}");
    }
    assert!(server("31[]").is_ok());
    assert!(server("31[null]").is_ok());
}

#[test]
fn unknown_types() {
    for text in ["", "7", "9[]", "a", "-", " 2[\"x\"]", "é", "/adm,"] {
        assert_eq!(server(text), Err(Violation::UnknownType), "{text:?}");
    }
}

#[test]
fn connect_error_only_from_a_server() {
    for text in [r#"4{"message":"x"}"#, "4", r#"4"x""#] {
        assert_eq!(server(text), Err(Violation::ConnectErrorFromClient));
        assert_eq!(old_server(text), Err(Violation::ConnectErrorFromClient));
    }
    let client = |text: &str| decode(&mut Decoder::with_codec(Role::Client, TEXT5), text, &[]);
    let old = Decoder::with_codec(Role::Client, TEXT4).text("4 0", &limits());
    assert_eq!(old, Err(Violation::BadPayload), "written again it would be an id");
    for text in ["4", "4[]", "4null", "41"] {
        assert_eq!(client(text), Err(Violation::BadPayload), "{text}");
    }
}

/// `451-[..]`, then exactly that many binary frames; more than 10 closes.
#[test]
fn attachment_counts() {
    let mut decoder = Decoder::new(Role::Server, Revision::V5);
    let ten: Vec<String> = (0..10).map(|num| format!(r#"{{"_placeholder":true,"num":{num}}}"#)).collect();
    assert_eq!(decoder.text(&format!(r#"510-["x",{}]"#, ten.join(",")), &limits()), Ok(None));
    for data in 0..9u8 {
        assert_eq!(decoder.binary(&[data], &limits()), Ok(None));
        assert!(decoder.pending_bytes() > 0);
    }
    let complete = decoder.binary(&[9], &limits()).unwrap().unwrap();
    let Kind::Event { values: ten, .. } = complete.kind else { panic!("{complete:?}") };
    assert_eq!(ten.attachments().concat(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(decoder.pending_bytes(), 0);
    assert!(decoder.text(r#"2["next"]"#, &limits()).is_ok());

    for (text, violation) in [
        (r#"511-["x"]"#, Violation::TooManyAttachments),
        (r#"599999999999999999999999-["x"]"#, Violation::TooManyAttachments),
        (r#"5["x"]"#, Violation::BadAttachmentCount),
        (r#"5-["x"]"#, Violation::BadAttachmentCount),
        (r#"51["x"]"#, Violation::BadAttachmentCount),
        (r#"51.0-["x"]"#, Violation::BadAttachmentCount),
        (r#"5-1-["x"]"#, Violation::BadAttachmentCount),
        ("5", Violation::BadAttachmentCount),
        (r#"6a-1["x"]"#, Violation::BadAttachmentCount),
        ("51-", Violation::BadPayload),
        ("51-[]", Violation::BadPayload),
        ("61-[]", Violation::BadAckId),
    ] {
        assert_eq!(server(text), Err(violation), "{text}");
    }
    // Announced as binary, but without any: complete at once, and nothing in it is a placeholder.
    let none = r#"["x",{"_placeholder":true,"num":0}]"#;
    assert_eq!(server(&format!("50-{none}")), Ok(packet("/", event(None, values(none, &[])))));
    let fewer =
        Limits { values: crate::values::Bounds { attachments_max: 1, ..limits().values }, ..limits() };
    let mut decoder = Decoder::new(Role::Server, Revision::V5);
    assert_eq!(decoder.text(r#"52-["x"]"#, &fewer), Err(Violation::TooManyAttachments));
}

/// A text frame while attachments are missing, a binary frame without header.
#[test]
fn frames_out_of_order() {
    let mut decoder = Decoder::new(Role::Server, Revision::V5);
    assert_eq!(decoder.text(r#"51-["x",{"_placeholder":true,"num":0}]"#, &limits()), Ok(None));
    assert_eq!(decoder.text(r#"2["y"]"#, &limits()), Err(Violation::AttachmentsMissing));

    let mut decoder = Decoder::new(Role::Server, Revision::V5);
    assert!(decoder.text("0", &limits()).is_ok());
    assert_eq!(decoder.binary(&[1], &limits()), Err(Violation::UnexpectedBinary));

    let mut first = Decoder::new(Role::Server, Revision::V5);
    assert_eq!(first.binary(&[1], &limits()), Err(Violation::UnexpectedBinary));
    assert_eq!(first.binary(&[], &limits()), Err(Violation::UnexpectedBinary));
    let mut old = Decoder::new(Role::Server, Revision::V4);
    assert_eq!(old.binary(&[0x83], &limits()), Err(Violation::UnexpectedBinary), "no msgpack on Engine.IO 3");
}

#[test]
fn placeholder_out_of_range() {
    for num in ["1", "-1", "1.5", "\"0\"", "null"] {
        let mut decoder = Decoder::new(Role::Server, Revision::V5);
        let text = format!(r#"51-["x",{{"_placeholder":true,"num":{num}}}]"#);
        assert_eq!(decode(&mut decoder, &text, &[b"a"]), Err(Violation::BadPlaceholder), "{num}");
    }
    let nested = r#"["x",{"a":[[{"b":{"_placeholder":true,"num":0}}]]}]"#;
    let mut decoder = Decoder::new(Role::Server, Revision::V5);
    let got = decode(&mut decoder, &format!("51-{nested}"), &[b"a"]);
    assert_eq!(got, Ok(packet("/", event(None, values(nested, &[b"a"])))), "at any depth");
}

#[test]
fn limits_hold() {
    let tight = Limits {
        values: crate::values::Bounds { bytes_max: 60, attachments_max: 10, depth_max: 3 },
        namespace_bytes_max: 5,
    };
    let text = |text: &str| Decoder::new(Role::Server, Revision::V5).text(text, &tight);
    assert!(text("0/adm1").is_ok());
    assert_eq!(text("0/admin"), Err(Violation::NamespaceTooLong));
    assert_eq!(text(r#"2["x",[[[]]]]"#), Err(Violation::TooDeep));
    assert_eq!(text(r#"0{"a":{"b":{"c":{}}}}"#), Err(Violation::TooDeep));
    assert!(text(r#"2["x",[[]]]"#).is_ok());
    assert_eq!(text(&format!(r#"2["{}"]"#, "x".repeat(60))), Err(Violation::TooLarge));

    let mut decoder = Decoder::new(Role::Server, Revision::V5);
    let header = r#"52-["x",{"_placeholder":true,"num":0}]"#;
    assert_eq!(decoder.text(header, &tight), Ok(None));
    assert_eq!(decoder.binary(&vec![0; 60 - header.len()], &tight), Ok(None));
    assert_eq!(decoder.binary(&[0], &tight), Err(Violation::TooLarge), "header and attachments together");
    for text in ["0/a\u{1e}b", "0/a\nb", "0/\u{7f},"] {
        assert_eq!(server(text), Err(Violation::BadNamespace), "{text:?}");
    }
}

/// Credentials in the query of the namespace become the object that revision 5 sends.
#[test]
fn revision_4_connect() {
    for (text, namespace, auth) in [
        ("0/adm?token=1,", "/adm", Some(r#"{"token":"1"}"#)),
        ("0/adm?token=1", "/adm", Some(r#"{"token":"1"}"#)),
        ("0/admin?token=1234&uid=ab%20c+d%C3%A9,", "/admin", Some(r#"{"token":"1234","uid":"ab c dé"}"#)),
        ("0/adm?a=1&a=2&b", "/adm", Some(r#"{"a":"2","b":""}"#)),
        ("0/adm,", "/adm", None),
        ("0/adm?,", "/adm", None),
        ("0/?x=%22,", "/", Some(r#"{"x":"\""}"#)),
        (r#"0/adm,{"ignored":1}"#, "/adm", None),
    ] {
        assert_eq!(old_server(text), Ok(packet(namespace, Kind::Connect(auth.map(json)))), "{text}");
    }
    assert_eq!(old_server("0/adm,[1]"), Err(Violation::BadPayload));
}

#[test]
fn server_replies() {
    let denied = |data| Refusal::Denied { message: "no \"entry\"", data };
    let data = json(r#"{"code":7}"#);
    let rows = [
        (TEXT5.connected("/", "S", None), r#"40{"sid":"S"}"#),
        (TEXT5.connected("/ns", "S", Some("P")), r#"40/ns,{"sid":"S","pid":"P"}"#),
        (TEXT4.connected("/", "S", None), "40"),
        (TEXT4.connected("/adm", "S", None), "40/adm,"),
        (
            TEXT5.refused("/random", &Refusal::InvalidNamespace),
            r#"44/random,{"message":"Invalid namespace"}"#,
        ),
        (
            TEXT4.refused("/random", &Refusal::InvalidNamespace),
            r#"44/random,{"message":"Invalid namespace"}"#,
        ),
        (TEXT5.refused("/", &denied(None)), r#"44{"message":"no \"entry\""}"#),
        (TEXT5.refused("/", &denied(Some(&data))), r#"44{"message":"no \"entry\"","data":{"code":7}}"#),
        (TEXT4.refused("/adm", &denied(None)), r#"44/adm,"no \"entry\"""#),
        (TEXT4.refused("/adm", &denied(Some(&data))), r#"44/adm,{"code":7}"#),
        (TEXT4.refused("/adm", &denied(Some(&json("7")))), r#"44/adm,"no \"entry\"""#),
        (TEXT5.disconnected("/"), "41"),
        (TEXT5.disconnected("/adm"), "41/adm,"),
    ];
    for (encoded, text) in rows {
        assert_eq!(encoded, Encoded { text: Bytes::from(text), attachments: vec![] });
    }
}

/// The traces of connection state recovery: the offset is the last argument.
#[test]
fn offsets() {
    let offset = |offset| Suffix { id: None, offset: Some(offset) };
    let plain = values(r#"["news",{"n":1}]"#, &[]);
    assert_eq!(TEXT5.event("/", &plain, offset("Q81V9oh")).text, r#"42["news",{"n":1},"Q81V9oh"]"#);
    assert_eq!(TEXT5.event("/", &plain, Suffix::default()).text, r#"42["news",{"n":1}]"#);
    let binary = values(r#"["bin2",{"_placeholder":true,"num":0}]"#, &[b"x"]);
    let encoded = TEXT5.event("/", &binary, offset("Q81V9oh.0"));
    assert_eq!(encoded.text, r#"451-["bin2",{"_placeholder":true,"num":0},"Q81V9oh.0"]"#);
    assert_eq!(encoded.len_bytes(), encoded.text.len() + 1);

    let asked = json(r#"{"pid":"2ey1","offset":"Q81V9oh","token":"x"}"#);
    let asked = RecoveryRequest::parse(&asked).unwrap();
    assert_eq!((&*asked.pid, asked.offset.as_deref()), ("2ey1", Some("Q81V9oh")));
    assert_eq!(RecoveryRequest::parse(&json(r#"{"pid":"p"}"#)).unwrap().offset, None);
    for auth in ["{}", r#"{"pid":7}"#, r#"{"offset":"x"}"#] {
        assert_eq!(RecoveryRequest::parse(&json(auth)), None, "{auth}");
    }
    let reply = json(r#"{"sid":"n5EJ","pid":"2ey1"}"#);
    assert_eq!(ConnectReply::parse(&reply).unwrap().pid.as_deref(), Some("2ey1"));
    assert_eq!(ConnectReply::parse(&json("{}")), None);
}

#[test]
fn client_packets() {
    assert_eq!(TEXT5.connect("/", None).text, "40");
    assert_eq!(TEXT5.connect("/adm", Some(&json(r#"{"token":"1"}"#))).text, r#"40/adm,{"token":"1"}"#);
    assert_eq!(TEXT4.connect("/adm?token=1", None).text, "40/adm?token=1,");
    let id = Suffix { id: Some(AckId(3)), offset: None };
    assert_eq!(TEXT5.event("/adm", &values(r#"["x"]"#, &[]), id).text, r#"42/adm,3["x"]"#);
}

/// One encoding serves WebSocket frames and poll bodies of both Engine.IO revisions.
#[test]
fn encoded_in_payloads() {
    let encoded =
        TEXT5.event("/", &values(r#"["é",{"_placeholder":true,"num":0}]"#, &[&[1, 2, 3]]), Suffix::default());
    let text = r#"451-["é",{"_placeholder":true,"num":0}]"#;
    let frames: Vec<Frame<'_>> = encoded.frames().collect();
    assert_eq!(frames, [Frame::Text(&Bytes::from(text)), Frame::Binary(&Bytes::from_static(&[1, 2, 3]))]);
    let body = |version, binary| {
        let mut payload = PayloadWriter::new(version, binary);
        encoded.write_payload(&mut payload);
        payload.finish().body
    };
    assert_eq!(body(Version::V4, BinaryAs::Base64), format!("{text}\x1ebAQID").as_bytes());
    assert_eq!(body(Version::V3, BinaryAs::Base64), format!("39:{text}6:b4AQID").as_bytes());
    let raw = [&[0, 4, 0, 255], text.as_bytes(), &[1, 4, 255, 4, 1, 2, 3]].concat();
    assert_eq!(body(Version::V3, BinaryAs::Raw), raw);

    let packed = PACK5.event("/", &values(r#"["x"]"#, &[]), Suffix::default());
    assert!(packed.frames().all(|frame| matches!(frame, Frame::Binary(_))));
    assert_eq!(packed.frames().count(), 1);
}

fn any_namespace() -> impl Strategy<Value = Namespace> {
    prop_oneof![Just(Namespace::MAIN), "/[a-zé0-9/ ]{0,12}".prop_map(|name| Namespace::new(&name))]
}

fn any_values() -> impl Strategy<Value = Values> {
    let value = prop_oneof![
        3 => crate::values::tests::any_json().prop_map(Ok),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Err),
    ];
    prop::collection::vec(value, 0..8).prop_map(|list| {
        let build = |builder: crate::values::ValuesBuilder, value| match value {
            Ok(value) => builder.json(&json(&serde_json::Value::to_string(&value))),
            Err(data) => builder.binary(Bytes::from(data)),
        };
        list.into_iter().fold(Values::builder(), build).build().unwrap()
    })
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let object = || {
        prop::collection::btree_map(".{0,6}", crate::values::tests::any_json(), 0..3)
            .prop_map(|map| json(&serde_json::to_string(&map).unwrap()))
    };
    let kind = prop_oneof![
        prop::option::of(object()).prop_map(Kind::Connect),
        Just(Kind::Disconnect),
        (any::<Option<u64>>(), "x.{0,9}", any_values())
            .prop_map(|(id, name, args)| event(id, Values::event(&name, &args))),
        (any::<u64>(), any_values()).prop_map(|(id, values)| ack(id, values)),
        object().prop_map(Kind::ConnectError),
    ];
    (any_namespace(), kind).prop_map(|(namespace, kind)| Packet { namespace, kind })
}

/// Decodes the frames of one encoded packet as a client.
fn decode_all(codec: Codec, encoded: &Encoded) -> Result<Option<Packet>, Violation> {
    let mut decoder = Decoder::with_codec(Role::Client, codec);
    let mut got = None;
    for frame in encoded.frames() {
        assert_eq!(got, None);
        got = match frame {
            Frame::Text(text) => {
                decoder.text(std::str::from_utf8(text).unwrap().strip_prefix('4').unwrap(), &limits())
            }
            Frame::Binary(data) => decoder.binary(data, &limits()),
        }?;
    }
    Ok(got)
}

proptest! {
    #[test]
    fn default_parser_roundtrip(packet in any_packet()) {
        prop_assert_eq!(decode_all(TEXT5, &TEXT5.packet(&packet)), Ok(Some(packet)));
    }

    #[test]
    fn msgpack_roundtrip(packet in any_packet()) {
        prop_assert_eq!(decode_all(PACK5, &PACK5.packet(&packet)), Ok(Some(packet)));
    }

    /// No input panics, and what is accepted is encoded to what is accepted as the same.
    #[test]
    fn accepted_text_is_stable(text in r#"[0-6]([0-2]-)?(/[a-z]{0,3},?)?[0-9]{0,3}(\[("x"|1|,|\{"_placeholder":true,"num":[0-2]\}){0,5}\])?"#) {
        let mut decoder = Decoder::with_codec(Role::Client, TEXT5);
        let mut got = decoder.text(&text, &limits());
        while got == Ok(None) {
            got = decoder.binary(b"data", &limits());
        }
        if let Ok(Some(packet)) = got {
            prop_assert_eq!(decode_all(TEXT5, &TEXT5.packet(&packet)), Ok(Some(packet)));
        }
    }
}
