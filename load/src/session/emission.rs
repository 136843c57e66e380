//! What a client says when it is asked to: an event whose last argument is a numbered message.
//!
//! Owns the text of the packet. Must not know when or how often something is said. Start at [`Emission`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::filled;
use crate::message::Marker;

/// The same for all clients of a run, filled in for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Emission {
    /// The packet between its type and the message: the event, and the first argument if there is one, which may be a template like
    /// [`super::Join::room`]. Escaped once, not for every message. Of MQTT the topic, a template, too.
    head: String,
    /// Characters of the last argument, at least the marker's.
    pub(crate) payload_bytes: usize,
    /// How the message comes back.
    answer: Answer,
}

/// How a server gives an event back to its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// As an event of its own, or, of MQTT, as the message itself.
    Event,
    /// As the acknowledgement, which the client asks for.
    Acknowledgement,
}

impl Emission {
    /// An event whose only argument is the message, or whose first one is the room.
    pub(crate) fn new(event: &str, room: Option<&str>, payload_bytes: usize) -> Self {
        let room = room.map(|room| format!("{},", Value::from(room))).unwrap_or_default();
        let head = format!("[{},{room}\"", Value::from(event));
        Self { head, payload_bytes, answer: Answer::Event }
    }

    /// An event whose only argument is the message, and comes back so.
    pub(crate) fn answered(event: &str, payload_bytes: usize, answer: Answer) -> Self {
        Self { answer, ..Self::new(event, None, payload_bytes) }
    }

    /// A message of MQTT.
    pub(crate) fn to_topic(topic: &str, payload_bytes: usize) -> Self {
        Self { head: topic.to_owned(), payload_bytes, answer: Answer::Event }
    }

    /// The topic to which client `index` says a message.
    pub(crate) fn topic(&self, index: u32) -> String {
        filled(&self.head, index)
    }

    /// The Engine.IO packet with which client `index` says a message; an acknowledgement that is asked for has its number.
    pub(crate) fn packet(&self, index: u32, marker: Marker) -> Vec<u8> {
        let mut packet = Vec::with_capacity(self.head.len() + self.payload_bytes + 50);
        packet.extend_from_slice(b"42");
        if self.answer == Answer::Acknowledgement {
            packet.extend_from_slice(marker.number.to_string().as_bytes());
        }
        match self.head.contains("%{i") {
            true => packet.extend_from_slice(filled(&self.head, index).as_bytes()),
            false => packet.extend_from_slice(self.head.as_bytes()),
        }
        marker.write(self.payload_bytes, &mut packet);
        packet.extend_from_slice(b"\"]");
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_stands_behind_its_event_and_room() {
        let marker = Marker { number: 7, due_ns: 255 };
        let emission = |event: &str, room: Option<&str>| {
            let packet = Emission::new(event, room, 28).packet(12, marker);
            String::from_utf8(packet).unwrap()
        };
        assert_eq!(emission("echo", None), r##"42["echo","#00000007@00000000000000ffxx"]"##);
        let said = emission("s\"y", Some("pair-%{i%10}"));
        assert_eq!(said, r##"42["s\"y","pair-2","#00000007@00000000000000ffxx"]"##);
        assert_eq!(Marker::find(said.as_bytes()), Some(marker));
        let asked = Emission::answered("echo", 28, Answer::Acknowledgement).packet(12, marker);
        assert_eq!(String::from_utf8(asked).unwrap(), r##"427["echo","#00000007@00000000000000ffxx"]"##);
    }
}
