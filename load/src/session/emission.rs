//! What a client says when it is asked to: an event whose last argument is a numbered message.
//!
//! Owns the text of the packet. Must not know when or how often something is said. Start at [`Emission`].

use serde::{Deserialize, Serialize};

use super::filled;
use crate::message::Marker;

/// The same for all clients of a run, filled in for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Emission {
    /// Name of the event.
    pub(crate) event: String,
    /// First argument, if there is one; a template like [`super::Join::room`].
    pub(crate) room: Option<String>,
    /// Characters of the last argument, at least the marker's.
    pub(crate) payload_bytes: usize,
}

impl Emission {
    /// The Engine.IO packet with which client `index` says a message; no acknowledgement is asked for.
    pub(crate) fn packet(&self, index: u32, marker: Marker) -> Vec<u8> {
        let mut packet = Vec::with_capacity(self.event.len() + self.payload_bytes + 64);
        packet.extend_from_slice(b"42[");
        string(&self.event, &mut packet);
        packet.push(b',');
        if let Some(room) = &self.room {
            string(&filled(room, index), &mut packet);
            packet.push(b',');
        }
        string(&marker.data(self.payload_bytes), &mut packet);
        packet.push(b']');
        packet
    }
}

fn string(text: &str, packet: &mut Vec<u8>) {
    serde_json::to_writer(packet, text).expect("a string is JSON and a vector takes it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_stands_behind_its_event_and_room() {
        let marker = Marker { number: 7, due_ns: 255 };
        let emission = |event: &str, room: Option<&str>| {
            let room = room.map(str::to_owned);
            let packet = Emission { event: event.into(), room, payload_bytes: 28 }.packet(12, marker);
            String::from_utf8(packet).unwrap()
        };
        assert_eq!(emission("echo", None), r##"42["echo","#00000007@00000000000000ffxx"]"##);
        let said = emission("s\"y", Some("pair-%{i%10}"));
        assert_eq!(said, r##"42["s\"y","pair-2","#00000007@00000000000000ffxx"]"##);
        assert_eq!(Marker::find(said.as_bytes()), Some(marker));
    }
}
