//! What a client keeps of its messages until both sides are done with them, over any number of connections.
//!
//! Owns packet ids and the order of sending again (MQTT 5.0, 4.3, 4.4, 4.6, 4.9). Must not know when a connection begins or
//! ends. Start at [`Exchanges::publish`].

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use wire::mqtt::{Ack, Encoder, PacketId, Qos, ReasonCode};

/// Exchanges of one session; there is memory for them only while there are any.
///
/// ```text
/// ours, QoS 1:  Waiting ──room──> Published ──PUBACK──> gone
/// ours, QoS 2:  Waiting ──room──> Published ──PUBREC──> Released ──PUBCOMP──> gone
///               Published ──new connection──> Due ──room──> Published, sent again with DUP
///               Released ──new connection──> Released, PUBREL sent again
/// theirs, QoS 2: PUBLISH ──> held ──PUBREL──> gone
/// ```
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    /// QoS 2 messages that the server has not released: who sends one of them again has not heard our PUBREC.
    held: BTreeSet<PacketId>,
    /// Our messages that have a packet id, in the order in which they were first sent.
    sent: VecDeque<Sent>,
    /// Those of them that count against what the server takes at the same time.
    flying: usize,
    /// Our messages that have no packet id yet.
    waiting: VecDeque<Box<[u8]>>,
    /// Ids that must not be given out: those of `sent`, and of SUBSCRIBE and UNSUBSCRIBE without an answer.
    used: BTreeSet<PacketId>,
}

#[derive(Debug)]
struct Sent {
    packet_id: PacketId,
    stage: Stage,
    /// The whole PUBLISH; empty when it will not be needed again.
    packet: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// To be sent again on this connection.
    Due,
    /// Sent on this connection.
    Published,
    /// The server has it, QoS 2.
    Released,
}

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acked {
    /// The exchange is over.
    Over,
    /// The next packet is to be sent.
    Next,
    /// There is no such exchange, which is no fault.
    Unknown,
    /// The exchange is one of another kind.
    Wrong,
}

impl Exchanges {
    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.used.is_empty() && self.waiting.is_empty()
    }

    /// Our messages that are not acknowledged.
    pub(super) fn unacknowledged(&self) -> usize {
        self.sent.len() + self.waiting.len()
    }

    /// Takes a PUBLISH of QoS 1 or 2, with whatever packet id.
    pub(super) fn publish(&mut self, packet: Box<[u8]>) {
        self.waiting.push_back(packet);
    }

    /// Sends what the server has room for: first what is due again, in its old order, then what waits.
    pub(super) fn send(&mut self, quota: u16, last_id: &mut Option<PacketId>, out: &mut Vec<u8>) {
        if self.flying < usize::from(quota) && self.flying < self.sent.len() {
            let due = self.sent.iter_mut().filter(|sent| sent.stage == Stage::Due);
            for sent in due.take(usize::from(quota) - self.flying) {
                sent.stage = Stage::Published;
                self.flying += 1;
                out.extend_from_slice(&sent.packet);
            }
        }
        while self.flying < usize::from(quota) && self.flying == self.sent.len() {
            let Some(mut packet) = self.waiting.pop_front() else { return };
            let Some(packet_id) = self.free_id(last_id) else { return self.waiting.push_front(packet) };
            set_packet_id(&mut packet, packet_id);
            out.extend_from_slice(&packet);
            self.sent.push_back(Sent { packet_id, stage: Stage::Published, packet });
            self.flying += 1;
        }
    }

    /// The server has the session: what it may not have is due again [MQTT-4.4.0-1].
    pub(super) fn resume(&mut self, encoder: &Encoder, out: &mut Vec<u8>) {
        self.flying = 0;
        // Nobody answers questions of an earlier connection.
        self.used = self.sent.iter().map(|sent| sent.packet_id).collect();
        for sent in &mut self.sent {
            if sent.stage == Stage::Released {
                self.flying += 1;
                release(encoder, sent.packet_id, ReasonCode::Success, out);
            } else {
                sent.stage = Stage::Due;
                set_dup(&mut sent.packet);
            }
        }
    }

    /// The server has lost the session: nothing is known of earlier exchanges. What it never acknowledged is a new message;
    /// returns how many it said that it has.
    pub(super) fn begin_anew(&mut self) -> usize {
        self.held.clear();
        self.used.clear();
        self.flying = 0;
        let (released, others): (Vec<_>, Vec<_>) =
            self.sent.drain(..).partition(|sent| sent.stage == Stage::Released);
        for mut sent in others.into_iter().rev() {
            clear_dup(&mut sent.packet);
            self.waiting.push_front(sent.packet);
        }
        released.len()
    }

    /// A SUBSCRIBE or UNSUBSCRIBE is answered.
    pub(super) fn answered(&mut self, packet_id: PacketId) {
        self.used.remove(&packet_id);
    }

    /// A QoS 2 message has come; whether for the first time.
    pub(super) fn hold(&mut self, packet_id: PacketId) -> bool {
        self.held.insert(packet_id)
    }

    /// The server will not send it again.
    pub(super) fn released(&mut self, packet_id: PacketId) {
        self.held.remove(&packet_id);
    }

    /// PUBACK.
    pub(super) fn puback(&mut self, packet_id: PacketId) -> Acked {
        match self.find(packet_id) {
            Some((at, Stage::Published | Stage::Due, Qos::AtLeastOnce)) => self.remove(at),
            Some(_) => Acked::Wrong,
            None => Acked::Unknown,
        }
    }

    /// PUBREC.
    pub(super) fn pubrec(&mut self, packet_id: PacketId, reason: ReasonCode) -> Acked {
        match self.find(packet_id) {
            Some((at, Stage::Published | Stage::Due, Qos::ExactlyOnce)) if reason.is_failure() => {
                self.remove(at)
            }
            Some((at, stage, Qos::ExactlyOnce)) => {
                if let Some(sent) = self.sent.get_mut(at) {
                    self.flying += usize::from(stage == Stage::Due);
                    sent.stage = Stage::Released;
                    // The head tells the QoS of the exchange, the rest is not needed again.
                    sent.packet = sent.packet.iter().take(1).copied().collect();
                }
                Acked::Next
            }
            Some(_) => Acked::Wrong,
            None => Acked::Unknown,
        }
    }

    /// PUBCOMP.
    pub(super) fn pubcomp(&mut self, packet_id: PacketId) -> Acked {
        match self.find(packet_id) {
            Some((at, Stage::Released, _)) => self.remove(at),
            Some(_) => Acked::Wrong,
            None => Acked::Unknown,
        }
    }

    /// Acknowledgements come in the order of what they are for, so the search is short.
    fn find(&self, packet_id: PacketId) -> Option<(usize, Stage, Qos)> {
        let at = self.sent.iter().position(|sent| sent.packet_id == packet_id)?;
        let sent = self.sent.get(at)?;
        Some((at, sent.stage, Qos::from_bits(sent.packet.first()? >> 1 & 3)?))
    }

    fn remove(&mut self, at: usize) -> Acked {
        if let Some(sent) = self.sent.remove(at) {
            self.used.remove(&sent.packet_id);
            self.flying -= usize::from(sent.stage != Stage::Due);
        }
        Acked::Over
    }

    /// A free id, counting up from the last one; none if all are in use.
    pub(super) fn free_id(&mut self, last_id: &mut Option<PacketId>) -> Option<PacketId> {
        if self.used.len() >= usize::from(u16::MAX) {
            return None;
        }
        let mut id = last_id.map_or(PacketId::FIRST, PacketId::next);
        while !self.used.insert(id) {
            id = id.next();
        }
        *last_id = Some(id);
        Some(id)
    }
}

fn release(encoder: &Encoder, packet_id: PacketId, reason: ReasonCode, out: &mut Vec<u8>) {
    // Without properties it is never larger than a server may limit packets to.
    let _fits = encoder.pubrel(&Ack::new(packet_id, reason), out);
}

/// Flag of the fixed header.
const DUP: u8 = 8;

fn set_dup(packet: &mut [u8]) {
    packet.iter_mut().take(1).for_each(|first| *first |= DUP);
}

fn clear_dup(packet: &mut [u8]) {
    packet.iter_mut().take(1).for_each(|first| *first &= !DUP);
}

/// Puts the id into an encoded PUBLISH of QoS 1 or 2.
fn set_packet_id(packet: &mut [u8], packet_id: PacketId) {
    if let Some(bytes) = packet_id_place(packet).and_then(|place| packet.get_mut(place)) {
        bytes.copy_from_slice(&packet_id.value().to_be_bytes());
    }
}

/// Behind the fixed header and the topic.
fn packet_id_place(packet: &[u8]) -> Option<Range<usize>> {
    let length_bytes = 1 + packet.iter().skip(1).position(|byte| byte & 0x80 == 0)?;
    let topic = 1 + length_bytes;
    let topic_bytes =
        packet.get(topic..topic + 2)?.iter().fold(0, |value, byte| value << 8 | usize::from(*byte));
    let place = topic + 2 + topic_bytes;
    Some(place..place + 2)
}
