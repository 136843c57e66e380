//! MQTT: the same packets or the same error at any split, nothing over the limit, and what is taken survives a round
//! trip through the encoder.

use wire::mqtt::{
    Answer, ClientPacket, Encoder, Error, Forwarded, Frame, Level, ServerPacket, Unsent, Version,
    decode_client, decode_server, frame, oversized_connect,
};

use crate::Split;

/// Who sent the bytes.
#[derive(Clone, Copy, Debug)]
enum Sender {
    /// A client, from its CONNECT on.
    Fresh,
    /// A client whose CONNECT of this version was before.
    Client(Version),
    /// A server.
    Server(Version),
}

/// The target. One byte chooses sender and limit, two the split, the rest is a stream.
pub fn mqtt(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let Some((input, split)) = Split::new(rest) else { return };
    let sender = match choice % 8 {
        0..=2 => Sender::Fresh,
        3 => Sender::Client(Version::V3),
        4 | 5 => Sender::Client(Version::V5),
        6 => Sender::Server(Version::V3),
        _ => Sender::Server(Version::V5),
    };
    let packet_bytes_max = if choice < 0x80 { u32::MAX } else { u32::from(choice - 0x80) + 2 };
    let whole = run(sender, packet_bytes_max, [input].into_iter());
    assert_eq!(run(sender, packet_bytes_max, split), whole);
}

/// What a stream gives: the bytes of packets that were taken, then perhaps an error.
fn run<'d>(
    sender: Sender,
    packet_bytes_max: u32,
    pieces: impl Iterator<Item = &'d [u8]>,
) -> (Vec<Vec<u8>>, Option<Error>) {
    let (mut sender, mut pending, mut seen) = (sender, Vec::new(), Vec::new());
    for piece in pieces {
        pending.extend_from_slice(piece);
        loop {
            let taken = match frame(&pending, packet_bytes_max) {
                Ok(Some(frame)) => {
                    assert!(frame.packet_bytes <= packet_bytes_max as usize);
                    assert!(frame.packet_bytes <= pending.len());
                    take(&mut sender, &frame).map(|()| frame.packet_bytes)
                }
                Ok(None) => break,
                Err(error) => Err(error),
            };
            match taken {
                Ok(packet_bytes) => seen.push(pending.drain(..packet_bytes).collect()),
                Err(error) => return (seen, Some(error)),
            }
        }
    }
    (seen, None)
}

fn take(sender: &mut Sender, frame: &Frame<'_>) -> Result<(), Error> {
    match *sender {
        Sender::Fresh => {
            let packet = decode_client(None, frame).inspect_err(check_refusal)?;
            // Had it been too large, its sender would have been told in the same version.
            let whole = [&[frame.first, 0xff, 0xff, 0xff, 0x7f], frame.body].concat();
            check_refusal(&oversized_connect(&whole).expect("the version is there"));
            let ClientPacket::Connect(connect) = packet else { panic!("{packet:?} before CONNECT") };
            client_round_trip(connect.level.version(), None, &packet);
            assert!(connect.level == Level::V5 || connect.properties.is_empty());
            *sender = Sender::Client(connect.level.version());
        }
        Sender::Client(version) => {
            let packet = decode_client(Some(version), frame)?;
            client_round_trip(version, Some(version), &packet);
            if let ClientPacket::Publish(publish) = packet {
                let forwarded = Forwarded::of(&publish.properties);
                assert_eq!(Forwarded::from_bytes(forwarded.as_bytes().clone()), Ok(forwarded));
            }
        }
        Sender::Server(version) => {
            let packet = decode_server(version, frame)?;
            server_round_trip(version, &packet);
        }
    }
    Ok(())
}

/// A refused CONNECT is answered in a form its sender can read, or not at all.
fn check_refusal(error: &Error) {
    match error.answer {
        Answer::Silence => {}
        Answer::ConnAck(Version::V3, code) => assert!(code.v3_return_code().is_some()),
        Answer::ConnAck(Version::V5, _) => {}
        Answer::Code(code) => panic!("{code} to a client of no version"),
    }
}

fn client_round_trip(version: Version, known: Option<Version>, packet: &ClientPacket<'_>) {
    let mut out = Vec::new();
    Encoder::new(version).client_packet(packet, &mut out).expect("what was decoded has a form");
    let again = frame(&out, u32::MAX).expect("a header").expect("a whole packet");
    assert_eq!(again.packet_bytes, out.len());
    assert_eq!(decode_client(known, &again).as_ref(), Ok(packet));
}

fn server_round_trip(version: Version, packet: &ServerPacket<'_>) {
    let mut out = Vec::new();
    Encoder::new(version).server_packet(packet, &mut out).expect("what was decoded has a form");
    let again = frame(&out, u32::MAX).expect("a header").expect("a whole packet");
    assert_eq!(decode_server(version, &again).as_ref(), Ok(packet));
    // Whatever is left out for a smaller limit, the limit holds.
    for packet_bytes_max in [0, 5, 20] {
        let mut out = Vec::new();
        match Encoder::new(version).with_packet_bytes_max(packet_bytes_max).server_packet(packet, &mut out) {
            Ok(()) => assert!(out.len() <= packet_bytes_max as usize),
            Err(unsent) => assert!(unsent == Unsent::TooLarge && out.is_empty()),
        }
    }
}
