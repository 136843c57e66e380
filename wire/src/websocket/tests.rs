//! Golden vectors, tables in the order of the Autobahn case families, and properties.

mod handshake;

use std::borrow::Cow;

use proptest::prelude::*;

use super::*;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An event that outlives its buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Violation(u16),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.into_owned()),
            Event::Binary(bytes) => Self::Binary(bytes.into_owned()),
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close { code, reason } => Self::Close(code.map(|code| code.0), reason.to_owned()),
        }
    }
}

/// Feeds the pieces one after the other as a connection would, and collects what comes out.
fn run(role: Role, limit: u32, pieces: &[&[u8]]) -> Vec<Seen> {
    feed(Decoder::new(role, limit), 2 * limit as usize + 128, pieces)
}

/// As [`run`] for a decoder of pieces, with those that come one after the other put together.
fn run_pieces(pieces: &[&[u8]]) -> Vec<Seen> {
    let mut whole: Vec<Seen> = Vec::new();
    for seen in feed(Decoder::of_pieces(Role::Server), 128, pieces) {
        match (whole.last_mut(), seen) {
            (_, Seen::Binary(more)) if more.is_empty() => panic!("an empty piece"),
            (Some(Seen::Binary(bytes)), Seen::Binary(more)) => bytes.extend(more),
            (_, seen) => whole.push(seen),
        }
    }
    whole
}

fn feed(mut decoder: Decoder, bound: usize, pieces: &[&[u8]]) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut pending: Vec<u8> = Vec::new();
    for piece in pieces {
        pending.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut pending) {
                Ok(Decoded::Event { event, consumed }) => {
                    seen.push(event.into());
                    pending.drain(..consumed);
                }
                Ok(Decoded::NeedMore { consumed, at_least }) => {
                    assert!(at_least > 0);
                    pending.drain(..consumed);
                    assert!(pending.len() <= 130, "{} bytes kept", pending.len());
                    break;
                }
                Err(violation) => {
                    seen.push(Seen::Violation(violation.code.0));
                    return seen;
                }
            }
        }
        assert!(decoder.held_bytes() <= bound, "{} bytes held", decoder.held_bytes());
    }
    seen
}

fn server(bytes: &[u8]) -> Vec<Seen> {
    run(Role::Server, 1 << 20, &[bytes])
}

/// A masked frame with every header bit chosen.
fn raw(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.into_iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

const FIN: u8 = 0x80;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = FIN | 8;
const PING: u8 = FIN | 9;
const PONG: u8 = FIN | 10;

#[test]
fn an_idle_decoder_takes_sixteen_bytes() {
    assert!(size_of::<Decoder>() <= 16, "{} bytes", size_of::<Decoder>());
}

#[test]
fn examples_of_rfc_6455_section_5_7() {
    let hello = Seen::Text("Hello".into());
    let unmasked = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    assert_eq!(run(Role::Client, 100, &[&unmasked]), std::slice::from_ref(&hello));
    assert_eq!(text_frame(&[b"Hel", b"lo"]), &unmasked[..]);

    let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(server(&masked), std::slice::from_ref(&hello));
    let mut out = Vec::new();
    masked_frame(Opcode::Text, b"Hello", MASK, &mut out);
    assert_eq!(out, masked);

    let fragments = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
    assert_eq!(run(Role::Client, 100, &[&fragments]), [hello]);

    let ping = [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    assert_eq!(run(Role::Client, 100, &[&ping]), [Seen::Ping(b"Hello".to_vec())]);
    let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(server(&pong), [Seen::Pong(b"Hello".to_vec())]);

    assert_eq!(frame_header(Opcode::Binary, 256).as_ref(), [0x82, 0x7e, 0x01, 0x00]);
    assert_eq!(frame_header(Opcode::Binary, 65_536).as_ref(), [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
}

/// One row of a table: what is sent, what must come out.
type Row = (&'static str, Vec<Vec<u8>>, Vec<Seen>);

fn check(rows: Vec<Row>) {
    for (name, frames, expected) in rows {
        let bytes = frames.concat();
        assert_eq!(server(&bytes), expected, "{name}, in one read");
        let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(run(Role::Server, 1 << 20, &pieces), expected, "{name}, byte by byte");
    }
}

fn text(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}

const PROTOCOL_ERROR: Seen = Seen::Violation(1002);
const INVALID: Seen = Seen::Violation(1007);
const TOO_BIG: Seen = Seen::Violation(1009);

#[test]
fn family_1_messages_of_every_length_form() {
    for bytes in [0, 1, 125, 126, 127, 128, 65_535, 65_536] {
        let payload = vec![b'*'; bytes];
        assert_eq!(server(&raw(FIN | TEXT, &payload)), [text(&"*".repeat(bytes))], "text of {bytes}");
        assert_eq!(
            server(&raw(FIN | BINARY, &payload)),
            [Seen::Binary(payload.clone())],
            "binary of {bytes}"
        );
        let whole = raw(FIN | BINARY, &payload);
        let pieces: Vec<&[u8]> = whole.chunks(997).collect();
        assert_eq!(run(Role::Server, 1 << 20, &pieces), [Seen::Binary(payload)], "chopped binary of {bytes}");
    }
}

#[test]
fn family_2_pings_and_pongs() {
    let long: Vec<u8> = vec![0xfe; 125];
    check(vec![
        ("2.1", vec![raw(PING, b"")], vec![Seen::Ping(vec![])]),
        ("2.2", vec![raw(PING, b"Hello, world!")], vec![Seen::Ping(b"Hello, world!".to_vec())]),
        ("2.3", vec![raw(PING, b"\0\xff\xfe\xfd")], vec![Seen::Ping(b"\0\xff\xfe\xfd".to_vec())]),
        ("2.4", vec![raw(PING, &long)], vec![Seen::Ping(long.clone())]),
        ("2.5", vec![raw(PING, &[0xfe; 126])], vec![PROTOCOL_ERROR]),
        ("2.7", vec![raw(PONG, b"")], vec![Seen::Pong(vec![])]),
        (
            "2.8",
            vec![raw(PONG, b"unasked"), raw(PING, b"p")],
            vec![Seen::Pong(b"unasked".to_vec()), Seen::Ping(b"p".to_vec())],
        ),
        (
            "2.10",
            vec![raw(PING, b"1"), raw(PING, b"2"), raw(PING, b"3")],
            vec![Seen::Ping(b"1".to_vec()), Seen::Ping(b"2".to_vec()), Seen::Ping(b"3".to_vec())],
        ),
    ]);
}

#[test]
fn family_3_reserved_bits() {
    for bits in [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70] {
        for opcode in [FIN | TEXT, FIN | BINARY, PING, PONG, CLOSE] {
            let bytes = [raw(FIN | TEXT, b"Hello"), raw(bits | opcode, b"x")].concat();
            assert_eq!(server(&bytes), [text("Hello"), PROTOCOL_ERROR], "bits {bits:#x} with {opcode:#x}");
        }
    }
}

#[test]
fn family_4_reserved_opcodes() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        let bytes = [raw(FIN | TEXT, b"Hello"), raw(FIN | opcode, b""), raw(PING, b"")].concat();
        assert_eq!(server(&bytes), [text("Hello"), PROTOCOL_ERROR], "opcode {opcode}");
    }
}

#[test]
fn family_5_fragmentation() {
    check(vec![
        ("5.1", vec![raw(9, b"frag"), raw(FIN, b"ment")], vec![PROTOCOL_ERROR]),
        ("5.2", vec![raw(10, b"frag"), raw(FIN, b"ment")], vec![PROTOCOL_ERROR]),
        ("5.3", vec![raw(TEXT, b"frag"), raw(FIN, b"ment")], vec![text("fragment")]),
        (
            "5.6",
            vec![raw(TEXT, b"frag"), raw(PING, b"ping"), raw(FIN, b"ment")],
            vec![Seen::Ping(b"ping".to_vec()), text("fragment")],
        ),
        ("5.9", vec![raw(FIN, b"nothing to continue"), raw(FIN | TEXT, b"x")], vec![PROTOCOL_ERROR]),
        ("5.12", vec![raw(0, b"nothing to continue"), raw(FIN | TEXT, b"x")], vec![PROTOCOL_ERROR]),
        (
            "5.15",
            vec![raw(TEXT, b"frag"), raw(FIN, b"ment"), raw(0, b"x"), raw(FIN | TEXT, b"y")],
            vec![text("fragment"), PROTOCOL_ERROR],
        ),
        ("5.18", vec![raw(TEXT, b"one"), raw(FIN | TEXT, b"two")], vec![PROTOCOL_ERROR]),
        (
            "5.19",
            vec![
                raw(TEXT, b"1"),
                raw(0, b"2"),
                raw(PING, b"a"),
                raw(0, b"3"),
                raw(PING, b"b"),
                raw(FIN, b"4"),
            ],
            vec![Seen::Ping(b"a".to_vec()), Seen::Ping(b"b".to_vec()), text("1234")],
        ),
        (
            "binary",
            vec![raw(BINARY, b"\xff"), raw(0, b""), raw(FIN, b"\xfe")],
            vec![Seen::Binary(b"\xff\xfe".to_vec())],
        ),
        (
            "a new binary message inside one",
            vec![raw(BINARY, b"1"), raw(FIN | BINARY, b"2")],
            vec![PROTOCOL_ERROR],
        ),
    ]);
}

#[test]
fn family_6_valid_text() {
    let kosme = "κόσμε";
    let hello = "Hello-µ@ßöäüàá-UTF-8!!";
    for valid in ["", hello, kosme, "\u{0}", "\u{7f}", "\u{80}", "\u{7ff}", "\u{800}", "\u{fffd}", "\u{ffff}"]
    {
        check(vec![("6.1, 6.5 to 6.9", vec![raw(FIN | TEXT, valid.as_bytes())], vec![text(valid)])]);
    }
    for valid in ["\u{10000}", "\u{10ffff}", "\u{d7ff}", "\u{e000}", "\u{1fffe}", "\u{1ffff}"] {
        check(vec![("6.9, 6.11, 6.22", vec![raw(FIN | TEXT, valid.as_bytes())], vec![text(valid)])]);
    }
    let single: Vec<Vec<u8>> = kosme.bytes().map(|byte| raw(0, &[byte])).collect();
    let fragments = [vec![raw(TEXT, b"")], single, vec![raw(FIN, b"")]].concat();
    check(vec![("6.2.4", fragments, vec![text(kosme)])]);
    check(vec![("6.1.2", vec![raw(TEXT, b""), raw(0, b""), raw(FIN, b"")], vec![text("")])]);
}

/// Byte sequences that are no UTF-8 (Autobahn 6.3, 6.6, 6.8, 6.10, 6.12 to 6.21).
const INVALID_TEXTS: &[&[u8]] = &[
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\xce",
    b"\xce\xba\xe1",
    b"\xce\xba\xe1\xbd",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xf7\xbf\xbf\xbf",
    b"\xfb\xbf\xbf\xbf\xbf",
    b"\xfd\xbf\xbf\xbf\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\x80",
    b"\xbf",
    b"\x80\xbf\x80\xbf",
    b"\xc0 \xc1 \xdf ",
    b"\xe0 \xef ",
    b"\xf0 \xf7 ",
    b"\xc0",
    b"\xe0\x80",
    b"\xf0\x80\x80",
    b"\xdf",
    b"\xef\xbf",
    b"\xfe",
    b"\xff",
    b"\xfe\xfe\xff\xff",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xc0\x80",
    b"\xe0\x80\x80",
    b"\xed\xa0\x80",
    b"\xed\xad\xbf",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
];

#[test]
fn family_6_invalid_text() {
    for invalid in INVALID_TEXTS {
        check(vec![
            ("whole", vec![raw(FIN | TEXT, invalid)], vec![INVALID]),
            ("fragmented", vec![raw(TEXT, b"ok"), raw(FIN, invalid)], vec![INVALID]),
            ("cut between fragments", vec![raw(TEXT, &invalid[..1]), raw(FIN, &invalid[1..])], vec![INVALID]),
            ("close reason", vec![raw(CLOSE, &[b"\x03\xe8", *invalid].concat())], vec![INVALID]),
        ]);
        let binary = Seen::Binary(invalid.to_vec());
        check(vec![("binary may be anything", vec![raw(FIN | BINARY, invalid)], vec![binary])]);
    }
}

#[test]
fn family_6_4_bad_text_is_refused_before_it_is_complete() {
    let good = "κόσμε".as_bytes();
    // Between fragments: the message is not finished, and never will be.
    let bytes = [raw(TEXT, good), raw(0, b"\xf4\x90\x80\x80"), raw(0, b"edited")].concat();
    assert_eq!(server(&bytes), [INVALID]);
    // Inside one frame: 0xf4 may begin a character, 0x90 cannot follow it.
    let whole = raw(FIN | TEXT, &[good, b"\xf4\x90\x80\x80edited"].concat());
    let bad = whole.iter().position(|&byte| byte == MASK[0]).expect("the mask") + 4 + good.len();
    let mut decoder = Decoder::new(Role::Server, 1 << 20);
    let mut start = whole[..=bad].to_vec();
    assert!(matches!(decoder.decode(&mut start), Ok(Decoded::NeedMore { .. })));
    let mut next = whole[bad + 1..bad + 2].to_vec();
    assert_eq!(decoder.decode(&mut next).expect_err("0x90").code, CloseCode::INVALID_PAYLOAD);
    assert_eq!(decoder.held_bytes(), 0, "a refused message is dropped at once");
}

#[test]
fn family_7_close() {
    let closed = |code: u16, reason: &str| vec![Seen::Close(Some(code), reason.to_owned())];
    let long = "*".repeat(123);
    check(vec![
        (
            "7.1.1",
            vec![raw(FIN | TEXT, b"Hello"), raw(CLOSE, b"\x03\xe8")],
            vec![text("Hello"), Seen::Close(Some(1000), String::new())],
        ),
        (
            "7.1.2, 7.1.3: nothing follows a close",
            vec![
                raw(CLOSE, b"\x03\xe8"),
                raw(CLOSE, b"\x03\xe8"),
                raw(PING, b""),
                raw(0x7f, b"not even checked"),
            ],
            closed(1000, ""),
        ),
        ("7.1.5", vec![raw(TEXT, b"frag"), raw(CLOSE, b"\x03\xe8"), raw(FIN, b"ment")], closed(1000, "")),
        ("7.3.1", vec![raw(CLOSE, b"")], vec![Seen::Close(None, String::new())]),
        ("7.3.2", vec![raw(CLOSE, b"a")], vec![PROTOCOL_ERROR]),
        ("7.3.4", vec![raw(CLOSE, b"\x03\xe8Hello")], closed(1000, "Hello")),
        ("7.3.5", vec![raw(CLOSE, &[b"\x03\xe8", long.as_bytes()].concat())], closed(1000, &long)),
        ("7.3.6", vec![raw(CLOSE, &[b"\x03\xe8", &[b'*'; 124][..]].concat())], vec![PROTOCOL_ERROR]),
        ("fragmented close", vec![raw(8, b"\x03\xe8")], vec![PROTOCOL_ERROR]),
    ]);
    for code in
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
    {
        check(vec![("7.7", vec![raw(CLOSE, &u16::to_be_bytes(code))], closed(code, ""))]);
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        check(vec![("7.9, 7.13", vec![raw(CLOSE, &u16::to_be_bytes(code))], vec![PROTOCOL_ERROR])]);
    }
}

#[test]
fn masks_are_demanded_of_clients_and_refused_from_servers() {
    let mut unmasked = Vec::new();
    frame(Opcode::Text, b"Hello", &mut unmasked);
    assert_eq!(server(&unmasked), [PROTOCOL_ERROR]);
    assert_eq!(run(Role::Client, 100, &[&raw(FIN | TEXT, b"Hello")]), [PROTOCOL_ERROR]);
}

#[test]
fn lengths_must_be_in_their_shortest_form() {
    for header in [
        &[0x82, 0xfe, 0x00, 0x7d][..],
        &[0x82, 0xfe, 0x00, 0x00],
        &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        &[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0],
        &[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ] {
        assert_eq!(server(header), [PROTOCOL_ERROR], "{header:x?}");
    }
}

#[test]
fn a_declared_length_over_the_limit_is_refused_before_its_payload() {
    let at_limit = raw(FIN | BINARY, &[7; 1000]);
    assert_eq!(run(Role::Server, 1000, &[&at_limit]), [Seen::Binary(vec![7; 1000])]);
    assert_eq!(run(Role::Server, 999, &[&at_limit[..8]]), [TOO_BIG]);
    let huge = [&[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], &MASK].concat();
    assert_eq!(server(&huge), [TOO_BIG]);
    let fragments = [raw(BINARY, &[7; 600]), raw(FIN, &[7; 401])].concat();
    assert_eq!(run(Role::Server, 1000, &[&fragments]), [TOO_BIG]);
    assert_eq!(run(Role::Server, 1001, &[&fragments]), [Seen::Binary(vec![7; 1001])]);
    // A control frame counts for itself, not for the message it interrupts.
    let ping = [raw(BINARY, &[7; 1000]), raw(PING, &[1; 125]), raw(FIN, b"")].concat();
    assert_eq!(run(Role::Server, 1000, &[&ping]), [Seen::Ping(vec![1; 125]), Seen::Binary(vec![7; 1000])]);
}

#[test]
fn memory_follows_what_arrived_and_goes_with_the_message() {
    let mut decoder = Decoder::new(Role::Server, 100 << 20);
    let whole = raw(FIN | BINARY, &vec![7; 64 << 20]);
    let mut start = whole[..100].to_vec();
    assert!(
        matches!(decoder.decode(&mut start), Ok(Decoded::NeedMore { consumed: 100, at_least }) if at_least > 1000)
    );
    assert!(decoder.held_bytes() < 1000, "{} bytes held", decoder.held_bytes());
    let mut rest = whole[100..].to_vec();
    assert!(matches!(
        decoder.decode(&mut rest),
        Ok(Decoded::Event { event: Event::Binary(Cow::Owned(message)), .. }) if message.len() == 64 << 20
    ));
    assert_eq!(decoder.held_bytes(), 0);
}

#[test]
fn a_message_in_one_piece_is_borrowed() {
    let mut bytes = [raw(FIN | TEXT, b"Hello"), raw(FIN | BINARY, b"x")].concat();
    let mut decoder = Decoder::new(Role::Server, 100);
    let Ok(Decoded::Event { event: Event::Text(Cow::Borrowed("Hello")), consumed }) =
        decoder.decode(&mut bytes)
    else {
        panic!("the text is borrowed");
    };
    assert!(matches!(
        decoder.decode(&mut bytes[consumed..]),
        Ok(Decoded::Event { event: Event::Binary(Cow::Borrowed(b"x")), .. })
    ));
}

#[test]
fn pieces_come_as_they_are_and_nothing_is_held() {
    let fragments = [
        raw(BINARY, b"frag"),
        raw(FIN | PING, b"?"),
        raw(0, b""),
        raw(FIN, b"ments"),
        raw(FIN | BINARY, b""),
        raw(FIN | BINARY, b" and more"),
    ]
    .concat();
    let expected =
        [Seen::Binary(b"frag".to_vec()), Seen::Ping(b"?".to_vec()), Seen::Binary(b"ments and more".to_vec())];
    assert_eq!(run_pieces(&[&fragments]), expected);
    let bytes: Vec<&[u8]> = fragments.chunks(1).collect();
    assert_eq!(run_pieces(&bytes), expected);
    // No length is too large: the first bytes of a frame are yielded long before its end.
    let mut large = raw(FIN | BINARY, &[7; 70_000]);
    large[2..10].copy_from_slice(&u64::from(u32::MAX).to_be_bytes());
    assert_eq!(run_pieces(&[&large]), [Seen::Binary(vec![7; 70_000])]);
    assert_eq!(run_pieces(&[&raw(FIN | BINARY, b"x"), &raw(FIN, b"")])[1..], [Seen::Violation(1002)]);
}

#[test]
fn a_decoder_of_pieces_takes_no_text() {
    for first in [FIN | TEXT, TEXT] {
        assert_eq!(run_pieces(&[&raw(first, b"x")]), [Seen::Violation(1003)]);
    }
}

#[test]
fn after_a_violation_everything_is_discarded() {
    let mut decoder = Decoder::new(Role::Server, 100);
    assert!(decoder.decode(&mut raw(FIN, b"x")).is_err());
    let mut more = raw(FIN | TEXT, b"Hello");
    let all = more.len();
    assert_eq!(decoder.decode(&mut more), Ok(Decoded::NeedMore { consumed: all, at_least: 1 }));
}

#[test]
fn need_more_says_how_much() {
    let whole = raw(PING, b"12345");
    for cut in 0..whole.len() {
        let mut decoder = Decoder::new(Role::Server, 100);
        let Ok(Decoded::NeedMore { consumed: 0, at_least }) = decoder.decode(&mut whole[..cut].to_vec())
        else {
            panic!("a control frame waits until it is whole");
        };
        assert!(cut + at_least <= whole.len(), "{at_least} more after {cut}");
        assert!(cut < 2 || cut + at_least >= 6, "{at_least} more after {cut}");
    }
}

#[test]
fn close_frames_are_cut_between_characters() {
    let reason = "é".repeat(100);
    let mut out = Vec::new();
    close_frame(CloseCode::GOING_AWAY, &reason, &mut out);
    assert_eq!(run(Role::Client, 0, &[&out]), [Seen::Close(Some(1001), "é".repeat(61))]);
    out.clear();
    masked_close_frame(CloseCode::NORMAL, "bye", MASK, &mut out);
    assert_eq!(server(&out), [Seen::Close(Some(1000), "bye".into())]);
}

#[test]
fn control_payloads_are_cut_to_their_limit() {
    let mut out = Vec::new();
    frame(Opcode::Ping, &[1; 200], &mut out);
    assert_eq!(run(Role::Client, 0, &[&out]), [Seen::Ping(vec![1; 125])]);
}

/// A frame with its first byte, for streams that are mostly valid.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..140),
        "\\PC{0,60}".prop_map(String::into_bytes),
        Just(vec![b'x'; 70_000]),
    ];
    let first = prop_oneof![
        6 => prop::sample::select(vec![FIN | TEXT, TEXT, FIN | BINARY, BINARY, 0, 0, FIN, PING, PONG]),
        1 => any::<u8>(),
    ];
    (first, payload).prop_map(|(first, payload)| raw(first, &payload))
}

/// Cuts `bytes` at the given places.
fn cut<'a>(bytes: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn any_split_gives_the_same_events(
        frames in proptest::collection::vec(any_frame(), 0..6),
        places in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        limit in prop_oneof![Just(100_000u32), 0..300u32],
    ) {
        let bytes = frames.concat();
        prop_assert_eq!(run(Role::Server, limit, &cut(&bytes, &places)), run(Role::Server, limit, &[&bytes]));
        prop_assert_eq!(run_pieces(&cut(&bytes, &places)), run_pieces(&[&bytes]));
    }

    #[test]
    fn encoding_then_decoding_is_the_identity(
        messages in proptest::collection::vec((any::<bool>(), "\\PC{0,300}"), 0..5),
        mask in any::<[u8; 4]>(),
        places in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let (mut to_client, mut to_server, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        for (binary, text) in messages {
            let opcode = if binary { Opcode::Binary } else { Opcode::Text };
            frame(opcode, text.as_bytes(), &mut to_client);
            masked_frame(opcode, text.as_bytes(), mask, &mut to_server);
            expected.push(if binary { Seen::Binary(text.into_bytes()) } else { Seen::Text(text) });
        }
        prop_assert_eq!(&run(Role::Client, 10_000, &cut(&to_client, &places)), &expected);
        prop_assert_eq!(&run(Role::Server, 10_000, &cut(&to_server, &places)), &expected);
    }

    #[test]
    fn shared_frames_equal_plain_ones(parts in proptest::collection::vec("\\PC{0,90}", 0..4)) {
        let slices: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        let (mut text, mut binary) = (Vec::new(), Vec::new());
        frame(Opcode::Text, &slices.concat(), &mut text);
        frame(Opcode::Binary, &slices.concat(), &mut binary);
        prop_assert_eq!(text_frame(&slices), text);
        prop_assert_eq!(binary_frame(&slices), binary);
    }

    #[test]
    fn masking_at_an_offset_is_masking_the_whole(payload in proptest::collection::vec(any::<u8>(), 0..60), mask: [u8; 4], at: prop::sample::Index) {
        let plain: Vec<u8> = payload.iter().zip(mask.into_iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        let at = at.index(payload.len() + 1);
        let mut pieces = payload;
        apply_mask(&mut pieces[..at], mask, 0);
        apply_mask(&mut pieces[at..], mask, at);
        prop_assert_eq!(pieces, plain);
    }
}
