//! The marker in every published message: who sent it when is looked up by its number.
//!
//! Owns the layout `#` + eight digits + filler. Must not know protocols: the marker is found in whatever surrounds it.

/// Digits of a number.
const DIGITS: usize = 8;

/// Bytes of a frame in which the marker is searched for; packet type, namespace and event name come before it.
const SEARCH_BYTES: usize = 256;

/// The data of message `number`: a string of `bytes` characters, and at least the marker.
pub(crate) fn data(number: u32, bytes: usize) -> String {
    let marker = format!("#{number:0DIGITS$}");
    let filler = bytes.saturating_sub(marker.len());
    marker + &"x".repeat(filler)
}

/// The frame that carries message `number` to a Socket.IO client of the main namespace, as a server writes it.
pub(crate) fn frame(number: u32, bytes: usize, out: &mut Vec<u8>) {
    let text = format!("42[\"message\",\"{}\"]", data(number, bytes));
    wire::websocket::frame(wire::websocket::Opcode::Text, text.as_bytes(), out);
}

/// The number in a received message; `None` if it is none of ours.
pub(crate) fn number(received: &[u8]) -> Option<u32> {
    let window = received.get(..SEARCH_BYTES).unwrap_or(received);
    let start = window.iter().position(|&byte| byte == b'#')? + 1;
    let digits = received.get(start..start + DIGITS)?;
    digits.iter().try_fold(0, |number, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        Some(number * 10 + digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_survives_the_packet_around_it() {
        let text = format!("42/chat,[\"message\",\"{}\"]", data(70_123, 200));
        assert_eq!(number(text.as_bytes()), Some(70_123));
        assert_eq!(data(70_123, 200).len(), 200);
        assert_eq!(data(1, 0), "#00000001");
        assert_eq!(data(1, 1 << 20).len(), 1 << 20);
    }

    #[test]
    fn other_messages_have_no_number() {
        for text in ["42[\"hello\",1]", "42[\"a\",\"#123\"]", "42[\"a\",\"#1234567x\"]", "#"] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_frame_is_what_a_server_sends() {
        let mut out = Vec::new();
        frame(3, 20, &mut out);
        assert_eq!(out, b"\x81\x2442[\"message\",\"#00000003xxxxxxxxxxx\"]".as_slice());
    }
}
