//! Golden vectors, tables in the order of the Autobahn case families, and properties.

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
    let mut decoder = Decoder::new(role, limit);
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
        let bound = 2 * limit as usize + 128;
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
    assert_eq!(run(Role::Client, 100, &[&unmasked]), [hello.clone()]);
    assert_eq!(text_frame(&[b"Hel", b"lo"]), &unmasked[..]);

    let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(server(&masked), [hello.clone()]);
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
