//! Vectors written by npm socket.io-msgpack-parser 3.0.2 (notepack.io 2.2.0), extensions, refusals.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::*;
use crate::values::{Bounds, JsonText, Values};

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

fn bytes(hex: &str) -> Vec<u8> {
    let hex: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    hex.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn decode(data: &[u8]) -> Result<Packet, Violation> {
    let packet = Decoder::with_codec(Role::Client, PACK5).binary(data, &limits())?;
    Ok(packet.expect("a binary message is a whole packet"))
}

/// An event `["x", <value>]` in the main namespace, the value given in hex; its JSON and attachments.
fn value(hex: &str) -> Result<(String, Vec<Bytes>), Violation> {
    let hex = format!("83 a474797065 02 a36e7370 a12f a464617461 92 a178 {hex}");
    let Kind::Event { values, .. } = decode(&bytes(&hex))?.kind else { panic!("no event") };
    let element = values.elements().nth(1).expect("two elements").to_owned();
    Ok((element, values.attachments().to_vec()))
}

/// Whether our encoding of the packet is, byte by byte, that of the reference.
#[derive(PartialEq)]
enum Encodes {
    Same,
    Otherwise,
}
use Encodes::{Otherwise, Same};

/// Decodes each row and encodes it again. A row: bytes of the reference, the packet, whether we write the same bytes.
fn reference_vectors(rows: &[(&str, Packet, Encodes)]) {
    for (hex, expected, encodes) in rows {
        assert_eq!(decode(&bytes(hex)).as_ref(), Ok(expected), "{hex}");
        let encoded = PACK5.packet(expected);
        assert_eq!(encoded.text, "");
        assert_eq!(encoded.attachments.len(), 1);
        assert_eq!(decode(&encoded.attachments[0]).as_ref(), Ok(expected), "{hex}");
        assert_eq!(encoded.attachments[0] == bytes(hex), *encodes == Same, "{hex}");
    }
}

#[test]
fn reference_connections_and_refusals() {
    reference_vectors(&[
        (
            "83a47479706500a46461746181a5746f6b656ea3313233a36e7370a62f61646d696e",
            packet("/admin", Kind::Connect(Some(json(r#"{"token":"123"}"#)))),
            Same,
        ),
        ("82a47479706500a36e7370a12f", packet("/", Kind::Connect(None)), Same),
        // What a JavaScript client without credentials sends: `data` is undefined.
        ("83a47479706500a464617461d40000a36e7370a12f", packet("/", Kind::Connect(None)), Otherwise),
        (
            "83a47479706500a46461746181a3736964b46f534f304f70616b4d565f336a6e696c41414141a36e7370a12f",
            packet("/", Kind::Connect(Some(json(r#"{"sid":"oSO0OpakMV_3jnilAAAA"}"#)))),
            Same,
        ),
        ("82a47479706501a36e7370a42f61646d", packet("/adm", Kind::Disconnect), Same),
        (
            "83a47479706504a46461746182a76d657373616765ae4e6f7420617574686f72697a6564a46461746181a4636f646507a36e7370a12f",
            packet("/", Kind::ConnectError(json(r#"{"message":"Not authorized","data":{"code":7}}"#))),
            Same,
        ),
    ]);
}

#[test]
fn reference_numbers_and_lengths() {
    reference_vectors(&[
        (
            "83a47479706502a4646174619da3666f6f01ffd0dfccc8ce00011170cf000000012a05f200d3fffffffed5fa0e00cb3ff8000000000000c3c2c0a6c3a9f09f9880a36e7370a12f",
            packet(
                "/",
                event(
                    None,
                    values(
                        r#"["foo",1,-1,-33,200,70000,5000000000,-5000000000,1.5,true,false,null,"é😀"]"#,
                        &[],
                    ),
                ),
            ),
            Same,
        ),
        (
            "83a47479706502a46461746194a178cb7ff8000000000000cb7ff0000000000000cb3fb999999999999aa36e7370a12f",
            packet("/", event(None, values(r#"["x",null,null,0.1]"#, &[]))),
            Otherwise,
        ),
        (
            "83a47479706502a46461746193a178dc0010000102030405060708090a0b0c0d0e0fd92879797979797979797979797979797979797979797979797979797979797979797979797979797979a36e7370a12f",
            packet(
                "/",
                event(
                    None,
                    values(
                        r#"["x",[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15],"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"]"#,
                        &[],
                    ),
                ),
            ),
            Same,
        ),
        (
            "83a47479706502a46461746192a178de0011a36b303000a36b303101a36b303202a36b303303a36b303404a36b303505a36b303606a36b303707a36b303808a36b303909a36b31300aa36b31310ba36b31320ca36b31330da36b31340ea36b31350fa36b313610a36e7370a12f",
            packet(
                "/",
                event(
                    None,
                    values(
                        r#"["x",{"k00":0,"k01":1,"k02":2,"k03":3,"k04":4,"k05":5,"k06":6,"k07":7,"k08":8,"k09":9,"k10":10,"k11":11,"k12":12,"k13":13,"k14":14,"k15":15,"k16":16}]"#,
                        &[],
                    ),
                ),
            ),
            Same,
        ),
        (
            "83a47479706502a464617461dc0011a1787fcc80ccffcd0100cdffffce00010000ceffffffffcf0000000100000000cf001fffffffffffffe0d080d1ff7fd18000d2ffff7fffd280000000d3ffffffff7fffffffa36e7370a12f",
            packet(
                "/",
                event(
                    None,
                    values(
                        r#"["x",127,128,255,256,65535,65536,4294967295,4294967296,9007199254740991,-32,-128,-129,-32768,-32769,-2147483648,-2147483649]"#,
                        &[],
                    ),
                ),
            ),
            Same,
        ),
    ]);
}

#[test]
fn reference_events_and_acknowledgements() {
    reference_vectors(&[
        (
            "84a47479706502a46461746191a3666f6fa36e7370a12fa269640c",
            packet("/", event(Some(12), values(r#"["foo"]"#, &[]))),
            Same,
        ),
        (
            "84a47479706502a46461746191a3666f6fa26964d40000a36e7370a12f",
            packet("/", event(None, values(r#"["foo"]"#, &[]))),
            Otherwise,
        ),
        // A JavaScript client leaves its own options in the packet.
        (
            "85a47479706502a46461746191a3666f6fa76f7074696f6e7381a8636f6d7072657373c3a26964cd012ca36e7370a12f",
            packet("/", event(Some(300), values(r#"["foo"]"#, &[]))),
            Otherwise,
        ),
        (
            "83a47479706502a46461746193a362696ec40301020381a16181a162c400a36e7370a12f",
            packet(
                "/",
                event(
                    None,
                    values(
                        r#"["bin",{"_placeholder":true,"num":0},{"a":{"b":{"_placeholder":true,"num":1}}}]"#,
                        &[&[1, 2, 3], &[]],
                    ),
                ),
            ),
            Same,
        ),
        (
            "83a47479706502a46461746192a362696ec70300010203a36e7370a12f",
            packet("/", event(None, values(r#"["bin",{"_placeholder":true,"num":0}]"#, &[&[1, 2, 3]]))),
            Otherwise,
        ),
        (
            "83a47479706502a46461746193a178d4000083a161d40000a16201a163d40000a36e7370a12f",
            packet("/", event(None, values(r#"["x",null,{"b":1}]"#, &[]))),
            Otherwise,
        ),
        (
            "84a47479706503a46461746192c40109a26f6ba36e7370a42f61646da2696400",
            packet("/adm", ack(0, values(r#"[{"_placeholder":true,"num":0},"ok"]"#, &[&[9]]))),
            Same,
        ),
    ]);
}

#[test]
fn reference_dates() {
    reference_vectors(&[
        (
            "83a47479706502a46461746195a178d7000000000000000000d7000000018bcfe5687bd700ffffffffffffffffd7000000000000000000a36e7370a12f",
            packet(
                "/",
                event(
                    None,
                    values(
                        r#"["x","1970-01-01T00:00:00.000Z","2023-11-14T22:13:20.123Z","1969-12-31T23:59:59.999Z","1970-01-01T00:00:00.000Z"]"#,
                        &[],
                    ),
                ),
            ),
            Otherwise,
        ),
        (
            "83a47479706502a46461746196a178d700001eb208c2dc0000d700ffe14df73d240000d7000000e677d21fdbffd700ffffc76e394a7400d700000000dd9aa6e000a36e7370a12f",
            packet(
                "/",
                event(
                    None,
                    values(
                        r#"["x","+275760-09-13T00:00:00.000Z","-271821-04-20T00:00:00.000Z","9999-12-31T23:59:59.999Z","-000001-01-01T00:00:00.000Z","2000-02-29T00:00:00.000Z"]"#,
                        &[],
                    ),
                ),
            ),
            Otherwise,
        ),
    ]);
}

#[test]
fn extensions() {
    let text = |json: &str| Ok((json.to_owned(), vec![]));
    let with = |json: &str, data: &'static [u8]| Ok((json.to_owned(), vec![Bytes::from_static(data)]));
    let placeholder = r#"{"_placeholder":true,"num":0}"#;
    assert_eq!(value("c8 0002 00 0102"), with(placeholder, &[1, 2]));
    assert_eq!(value("c9 00000002 00 0102"), with(placeholder, &[1, 2]));
    assert_eq!(
        value("c7 08 00 0000000000000000"),
        with(placeholder, &[0; 8]),
        "an ArrayBuffer of 8 bytes, no Date"
    );
    assert_eq!(value("d4 07 09"), with(&format!("[7,{placeholder}]"), &[9]));
    assert_eq!(value("d5 00 0909"), with(&format!("[0,{placeholder}]"), &[9, 9]));
    assert_eq!(value("c7 01 fe 09"), with(&format!("[-2,{placeholder}]"), &[9]));
    // Timestamps of the msgpack specification: 32, 64 and 96 bits.
    assert_eq!(value("d6 ff 6553f100"), text(r#""2023-11-14T22:13:20.000Z""#));
    assert_eq!(value("d7 ff 1d9f02006553f100"), text(r#""2023-11-14T22:13:20.124Z""#));
    assert_eq!(value("c7 0c ff 075bca00 ffffffffffffffff"), text(r#""1969-12-31T23:59:59.123Z""#));
    assert_eq!(
        value("c7 0c ff 00000000 7fffffffffffffff"),
        with(&format!("[-1,{placeholder}]"), &[0, 0, 0, 0, 127, 255, 255, 255, 255, 255, 255, 255])
    );
    // A Date beyond the range is invalid, and JSON of that is null.
    assert_eq!(value("d7 00 001eb208c2dc0001"), text("null"));
    assert_eq!(value("d7 00 7fffffffffffffff"), text("null"));
}

#[test]
fn scalars() {
    let text = |json: &str| Ok((json.to_owned(), vec![]));
    for (hex, json) in [
        ("ca 3fc00000", "1.5"),
        ("ca 7f800000", "null"),
        ("cb fff0000000000000", "null"),
        ("cb 4000000000000000", "2.0"),
        ("cf ffffffffffffffff", "18446744073709551615"),
        ("d3 8000000000000000", "-9223372036854775808"),
        ("d9 03 220a01", r#""\"\n\u0001""#),
        ("da 0001 61", "\"a\""),
        ("db 00000001 61", "\"a\""),
        ("a2 c328", "\"\u{fffd}(\""),
        ("81 05 01", r#"{"5":1}"#),
        ("81 ff 01", r#"{"-1":1}"#),
        ("df 00000001 a161 dd 00000001 de 0000", r#"{"a":[{}]}"#),
        ("82 a161 d40000 a162 d40000", "{}"),
        ("83 a161 01 a162 d40000 a163 02", r#"{"a":1,"c":2}"#),
    ] {
        assert_eq!(value(hex), text(json), "{hex}");
    }
    assert_eq!(value("c5 0001 07").unwrap().1, [&[7][..]]);
    assert_eq!(value("c6 00000001 07").unwrap().1, [&[7][..]]);
}

#[test]
fn broken_values() {
    for hex in [
        "",
        "c1",
        "d9",
        "d9 05 61",
        "dd ffffffff",
        "df ffffffff 01",
        "c6 ffffffff 01",
        "81 c0 01",
        "81 80 01",
        "81 a161",
        "01 01",
    ] {
        assert_eq!(value(hex), Err(Violation::BadMsgPack), "{hex}");
    }
}

#[test]
fn broken_packets() {
    use Violation::{BadAckId, BadMsgPack, BadNamespace, BadPayload, ReservedEvent, UnknownType};
    let (kind, nsp, x) = ("a474797065", "a36e7370 a12f", "a464617461 91 a178");
    for (hex, violation) in [
        ("93".into(), BadMsgPack),
        (String::new(), BadMsgPack),
        ("80".into(), UnknownType),
        (format!("82 {nsp} {x}"), UnknownType),
        (format!("83 {kind} 05 {nsp} {x}"), UnknownType),
        (format!("83 {kind} ff {nsp} {x}"), UnknownType),
        (format!("83 {kind} a132 {nsp} {x}"), UnknownType),
        (format!("82 {kind} 02 {x}"), BadNamespace),
        (format!("83 {kind} 02 a36e7370 01 {x}"), BadNamespace),
        (format!("83 {kind} 02 a36e7370 a161 {x}"), BadNamespace),
        (format!("83 {kind} 02 a36e7370 a22f0a {x}"), BadNamespace),
        (format!("83 {kind} 02 a36e7370 a32f2c61 {x}"), BadNamespace),
        (format!("82 {kind} 02 {nsp}"), BadPayload),
        (format!("83 {kind} 02 {nsp} a464617461 90"), BadPayload),
        (format!("83 {kind} 02 {nsp} a464617461 c0"), BadPayload),
        (format!("83 {kind} 02 {nsp} a464617461 91 aa646973636f6e6e656374"), ReservedEvent),
        (format!("83 {kind} 01 {nsp} {x}"), BadPayload),
        (format!("83 {kind} 00 {nsp} {x}"), BadPayload),
        (format!("83 {kind} 00 {nsp} a464617461 81 a161 c40101"), BadPayload),
        (format!("83 {kind} 03 {nsp} {x}"), BadAckId),
        (format!("84 {kind} 03 {nsp} {x} a26964 ff"), BadAckId),
        (format!("84 {kind} 03 {nsp} {x} a26964 c0"), BadAckId),
        (format!("84 {kind} 03 {nsp} {x} a26964 cb 3ff8000000000000"), BadAckId),
        (format!("84 {kind} 02 {nsp} {x} {x}"), BadMsgPack),
        (format!("83 {kind} 02 {nsp} {x} 00"), BadMsgPack),
    ] {
        assert_eq!(decode(&bytes(&hex)), Err(violation), "{hex}");
    }
}

/// Data that looks like a placeholder is data, unless there are binary values from which it cannot be told.
#[test]
fn lookalikes() {
    let lookalike = "82 ac5f706c616365686f6c646572 c3 a36e756d 00";
    let json = r#"{"_placeholder":true,"num":0}"#;
    assert_eq!(value(lookalike), Ok((json.to_owned(), vec![])));
    assert_eq!(value(&format!("92 {lookalike} c40107")), Err(Violation::BadPlaceholder));
    let last_counts = "82 ac5f706c616365686f6c646572 c3 ac5f706c616365686f6c646572 01";
    assert!(value(&format!("92 {last_counts} c40107")).is_ok());
    let plain = packet("/", event(None, values(&format!(r#"["x",{json}]"#), &[])));
    assert_eq!(decode(&PACK5.packet(&plain).attachments[0]), Ok(plain));
}

#[test]
fn limits_hold() {
    let tight = Limits { values: Bounds { bytes_max: 100, attachments_max: 2, depth_max: 3 }, ..limits() };
    let decode = |hex: &str| {
        let hex = format!("83 a474797065 02 a36e7370 a12f a464617461 92 a178 {hex}");
        Decoder::with_codec(Role::Server, PACK5).binary(&bytes(&hex), &tight)
    };
    assert!(decode("91 90").is_ok());
    assert_eq!(decode("91 91 90"), Err(Violation::TooDeep));
    assert_eq!(decode("81 a161 81 a161 80"), Err(Violation::TooDeep));
    assert_eq!(decode("93 c400 c400 c400"), Err(Violation::TooManyAttachments));
    assert_eq!(decode(&"61".repeat(100)), Err(Violation::TooLarge));
    assert_eq!(
        decode(&format!("dc 0019 {}", "c2".repeat(25))),
        Err(Violation::TooLarge),
        "as JSON it is larger"
    );
    // Nesting beyond any stack.
    let deep = format!("83 a474797065 02 a36e7370 a12f a464617461 {}", "91".repeat(100_000));
    assert_eq!(
        Decoder::with_codec(Role::Server, PACK5).binary(&bytes(&deep), &limits()),
        Err(Violation::TooDeep)
    );
    let skipped = format!("83 a474797065 02 a36e7370 a12f a178 {}", "91".repeat(100_000));
    assert_eq!(
        Decoder::with_codec(Role::Server, PACK5).binary(&bytes(&skipped), &limits()),
        Err(Violation::TooDeep)
    );
}

/// The first message tells the parser; afterwards it is fixed.
#[test]
fn detection() {
    let connect = bytes("82a47479706500a36e7370a12f");
    let mut decoder = Decoder::new(Role::Server, Revision::V5);
    assert_eq!(decoder.codec().parser, Parser::Default, "until known");
    assert_eq!(decoder.binary(&connect, &limits()), Ok(Some(packet("/", Kind::Connect(None)))));
    assert_eq!(decoder.codec(), PACK5);
    assert_eq!(decoder.text("0", &limits()), Err(Violation::TextAfterMsgPack));

    let mut decoder = Decoder::new(Role::Server, Revision::V5);
    assert!(decoder.text("0", &limits()).is_ok());
    assert_eq!(decoder.binary(&connect, &limits()), Err(Violation::UnexpectedBinary));

    // A binary message is an attachment, whatever it begins with, once the parser is the default one.
    let mut decoder = Decoder::new(Role::Server, Revision::V5);
    assert_eq!(decoder.text(r#"51-["x",{"_placeholder":true,"num":0}]"#, &limits()), Ok(None));
    assert!(matches!(decoder.binary(&connect, &limits()), Ok(Some(_))));
}

proptest! {
    /// No input panics, and what is accepted is encoded to what is accepted as the same.
    #[test]
    fn accepted_bytes_are_stable(data in prop::collection::vec(prop_oneof![any::<u8>(), 0x80..0x95u8, 0xa0..0xa4u8, 0xc0..0xe0u8, Just(0)], 1..24)) {
        let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        let hex = format!("84 a474797065 03 a36e7370 a12f a26964 07 a464617461 91 {hex}");
        if let Ok(packet) = decode(&bytes(&hex)) {
            prop_assert_eq!(decode(&PACK5.packet(&packet).attachments[0]), Ok(packet));
        }
    }
}
