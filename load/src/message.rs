//! The marker in every published message: which one it is and when it was due.
//!
//! Owns the layout `#` + eight digits + `@` + sixteen hexadecimal digits + filler. Must not know protocols: the marker is
//! found in whatever surrounds it. The time travels with the message, so that whoever receives it on this machine, in
//! whichever process, needs to know nothing else. Start at [`Marker`].

use std::ops::Range;

/// Digits of a number.
const NUMBER_DIGITS: usize = 8;

/// Hexadecimal digits of a time.
const DUE_DIGITS: usize = 16;

/// Characters of a marker: both numbers and the two signs before them.
const MARKER_BYTES: usize = NUMBER_DIGITS + DUE_DIGITS + 2;

/// Numbers end below this.
pub(crate) const NUMBERS_MAX: u32 = 100_000_000;

/// Bytes of a frame in which the marker is searched for; packet type, namespace and event name come before it.
const SEARCH_BYTES: usize = 256;

/// What a message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    /// Below [`NUMBERS_MAX`]; rises within what one client receives.
    pub(crate) number: u32,
    /// When it was to be sent ([`crate::latency::now_ns`]); 0 = not to be measured.
    pub(crate) due_ns: u64,
}

/// Messages that are sent at the same moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Their numbers.
    pub(crate) numbers: Range<u32>,
    /// See [`Marker::due_ns`].
    pub(crate) due_ns: u64,
    /// Characters of the data of each, at least the marker's.
    pub(crate) payload_bytes: usize,
}

impl Batch {
    /// The data of its messages.
    pub(crate) fn data(&self) -> impl Iterator<Item = String> {
        let Self { due_ns, payload_bytes, .. } = *self;
        self.numbers.clone().map(move |number| Marker { number, due_ns }.data(payload_bytes))
    }
}

impl Marker {
    /// The data of a message: a string of `bytes` characters, and at least the marker.
    pub(crate) fn data(self, bytes: usize) -> String {
        let mut data = Vec::with_capacity(bytes.max(MARKER_BYTES));
        self.write(bytes, &mut data);
        String::from_utf8(data).expect("digits and filler are ASCII")
    }

    /// The same, behind what `out` holds. Digit by digit, as a generator does this for every message of very many clients.
    pub(crate) fn write(self, bytes: usize, out: &mut Vec<u8>) {
        out.push(b'#');
        let mut place = 10_u32.pow(NUMBER_DIGITS as u32 - 1);
        while place > 0 {
            out.push(b'0' + (self.number / place % 10) as u8);
            place /= 10;
        }
        out.push(b'@');
        for digit in (0..DUE_DIGITS as u32).rev() {
            let value = (self.due_ns >> (4 * digit) & 0xf) as u8;
            out.push(if value < 10 { b'0' + value } else { b'a' + value - 10 });
        }
        out.resize(out.len() + bytes.saturating_sub(MARKER_BYTES), b'x');
    }

    /// The marker in a received message; `None` if it is none of ours.
    pub(crate) fn find(received: &[u8]) -> Option<Self> {
        let window = received.get(..SEARCH_BYTES).unwrap_or(received);
        let start = window.iter().position(|&byte| byte == b'#')? + 1;
        let (digits, rest) = received.get(start..)?.split_at_checked(NUMBER_DIGITS)?;
        let due = rest.strip_prefix(b"@")?.get(..DUE_DIGITS)?;
        Some(Self { number: u32::try_from(parse(digits, 10)?).ok()?, due_ns: parse(due, 16)? })
    }
}

fn parse(digits: &[u8], radix: u32) -> Option<u64> {
    digits.iter().try_fold(0, |value, byte| {
        let digit = char::from(*byte).to_digit(radix)?;
        Some(value * u64::from(radix) + u64::from(digit))
    })
}

/// The frame that carries data to a Socket.IO client of the main namespace, as a server writes it.
pub(crate) fn frame(data: &str, out: &mut Vec<u8>) {
    let text = format!("42[\"message\",\"{data}\"]");
    wire::websocket::frame(wire::websocket::Opcode::Text, text.as_bytes(), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_survives_the_packet_around_it() {
        let marker = Marker { number: 70_123, due_ns: 1_234_567_890_123 };
        let text = format!("42/chat,[\"message\",\"{}\"]", marker.data(200));
        assert_eq!(Marker::find(text.as_bytes()), Some(marker));
        assert_eq!(marker.data(200).len(), 200);
        assert_eq!(Marker { number: 1, due_ns: 255 }.data(0), "#00000001@00000000000000ff");
        assert_eq!(marker.data(1 << 20).len(), 1 << 20);
        let last = Marker { number: NUMBERS_MAX - 1, due_ns: u64::MAX };
        assert_eq!(Marker::find(last.data(0).as_bytes()), Some(last));
    }

    #[test]
    fn other_messages_have_no_marker() {
        let others =
            ["42[\"hello\",1]", "#123", "#1234567x@0000000000000000", "#00000001@00", "#", "#00000001"];
        for text in others {
            assert_eq!(Marker::find(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_frame_is_what_a_server_sends() {
        let mut out = Vec::new();
        let batch = Batch { numbers: 3..4, due_ns: 16, payload_bytes: 28 };
        batch.data().for_each(|data| frame(&data, &mut out));
        assert_eq!(out, b"\x81\x2c42[\"message\",\"#00000003@0000000000000010xx\"]".as_slice());
    }
}
