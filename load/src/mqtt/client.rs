//! One client as bytes in, bytes out.
//!
//! Owns what the protocol asks of every client: who may say what when, answers to messages, sending again over a new
//! connection, and what the server said it can take. Must not know sockets, time or what messages are for. Start at
//! [`Client::next`].

use wire::mqtt::{
    Ack, ConnAck, Connect, Disconnect, Encoder, Error, Frame, PacketId, Properties, Publish, Qos, ReasonCode,
    ServerPacket, SubAck, Subscribe, SubscribeOptions, Subscriptions, Unsent, decode_server, frame,
};

use super::exchanges::{Acked, Exchanges};

/// Most messages on their way to a server that does not say how many it takes.
const QUOTA: u16 = u16::MAX;

/// A client: 32 bytes while nothing is under way.
///
/// ```text
/// Away ──connect──> Asking ──CONNACK──> There ──disconnected──> Away
/// ```
#[derive(Debug)]
pub(crate) struct Client {
    encoder: Encoder,
    /// What is under way; outlives connections.
    exchanges: Option<Box<Exchanges>>,
    last_id: Option<PacketId>,
    /// How many messages of ours the server takes at the same time.
    quota: u16,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Away,
    Asking,
    There,
}

/// What a packet of the server means to whoever has the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// Nothing that needs to be known.
    Nothing,
    /// The server let it in. Of `taken` messages nothing more will be heard: it had acknowledged the receipt of them before it
    /// lost the session.
    Connected { ack: ConnAck<'a>, taken: usize },
    /// SUBACK or UNSUBACK.
    Answered(SubAck<'a>),
    /// A message; answered already, and at QoS 2 the first time that it came.
    Message(Publish<'a>),
    /// A message of ours is the server's now, or was refused.
    Published(ReasonCode),
    /// PINGRESP.
    Pong,
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// CONNACK said no.
    Refused(ReasonCode, Option<String>),
    /// DISCONNECT.
    Disconnected(ReasonCode, Option<String>),
    /// The server broke the rules.
    Fault(Error),
}

impl Client {
    /// Not connected.
    pub(crate) fn new(version: wire::mqtt::Version) -> Self {
        let (encoder, standing) = (Encoder::new(version), Standing::Away);
        Self { encoder, exchanges: None, last_id: None, quota: QUOTA, standing }
    }

    /// Begins on a new connection.
    pub(crate) fn connect(&mut self, connect: &Connect<'_>, out: &mut Vec<u8>) -> Result<(), Unsent> {
        // What the last server took is no measure for this one.
        self.encoder = Encoder::new(connect.level.version());
        self.quota = QUOTA;
        self.standing = Standing::Asking;
        if connect.clean_start {
            self.exchanges = None;
        }
        self.encoder.connect(connect, out)
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self) {
        self.standing = Standing::Away;
    }

    /// Whether the server let it in.
    pub(crate) fn is_connected(&self) -> bool {
        self.standing == Standing::There
    }

    /// Messages of QoS 1 and 2 that are not the server's yet.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.exchanges.as_ref().map_or(0, |exchanges| exchanges.unacknowledged())
    }

    /// Asks for subscriptions. The caller knows that it is connected.
    pub(crate) fn subscribe(
        &mut self,
        subscriptions: &[(&str, SubscribeOptions)],
        properties: Properties<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Unsent> {
        let packet_id = self.question()?;
        let subscriptions = Subscriptions::new(subscriptions);
        self.encoder.subscribe(&Subscribe { packet_id, properties, subscriptions }, out)
    }

    fn question(&mut self) -> Result<PacketId, Unsent> {
        let exchanges = self.exchanges.get_or_insert_default();
        exchanges.free_id(&mut self.last_id).ok_or(Unsent::NoForm)
    }

    /// Publishes. At QoS 1 and 2 it waits for a connection and for room at the server; at QoS 0 the caller knows that it is
    /// connected. Packet id and DUP are not the caller's.
    pub(crate) fn publish(&mut self, publish: &Publish<'_>, out: &mut Vec<u8>) -> Result<(), Unsent> {
        if publish.qos == Qos::AtMostOnce {
            return self.encoder.publish(publish, out);
        }
        let mut packet = Vec::new();
        let packet_id = Some(PacketId::FIRST);
        self.encoder.publish(&Publish { packet_id, dup: false, ..*publish }, &mut packet)?;
        self.exchanges.get_or_insert_default().publish(packet.into_boxed_slice());
        self.go_on(out);
        Ok(())
    }

    /// Sends what there is room for, and gives back the memory of what is over.
    fn go_on(&mut self, out: &mut Vec<u8>) {
        let Some(exchanges) = &mut self.exchanges else { return };
        if self.standing == Standing::There {
            exchanges.send(self.quota, &mut self.last_id, out);
        }
        if exchanges.is_empty() {
            self.exchanges = None;
        }
    }

    /// Asks for a sign of life.
    pub(crate) fn ping(&self, out: &mut Vec<u8>) {
        let _fits = self.encoder.pingreq(out);
    }

    /// Says goodbye.
    pub(crate) fn disconnect(&self, disconnect: &Disconnect<'_>, out: &mut Vec<u8>) {
        let _fits = self.encoder.client_disconnect(disconnect, out);
    }

    /// Deals with the first packet in `bytes`, if it is whole: what it means, and how many bytes it takes.
    pub(crate) fn next<'a>(
        &mut self,
        bytes: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<(Event<'a>, usize)>, Ending> {
        let Some(frame) = frame(bytes, u32::MAX)? else { return Ok(None) };
        let event = self.packet(&frame, out)?;
        Ok(Some((event, frame.packet_bytes)))
    }

    fn packet<'a>(&mut self, frame: &Frame<'a>, out: &mut Vec<u8>) -> Result<Event<'a>, Ending> {
        let packet = decode_server(self.encoder.version(), frame)?;
        match (self.standing, packet) {
            (Standing::Asking, ServerPacket::ConnAck(ack)) => return self.let_in(ack, out),
            (Standing::There, ServerPacket::ConnAck(_)) => return Err(fault("a second CONNACK")),
            (Standing::Asking, _) => return Err(fault("a packet before CONNACK")),
            (Standing::There | Standing::Away, _) => {}
        }
        let event = match packet {
            ServerPacket::Publish(publish) => return self.message(publish, out),
            ServerPacket::PubRel(ack) => {
                self.exchanges.get_or_insert_default().released(ack.packet_id);
                let _fits = self.encoder.pubcomp(&Ack::new(ack.packet_id, ReasonCode::Success), out);
                Event::Nothing
            }
            ServerPacket::PubAck(ack) => {
                let acked = self.exchanges.get_or_insert_default().puback(ack.packet_id);
                over(acked, ack.reason)?
            }
            ServerPacket::PubRec(ack) => self.received(&ack, out)?,
            ServerPacket::PubComp(ack) => {
                let acked = self.exchanges.get_or_insert_default().pubcomp(ack.packet_id);
                over(acked, ReasonCode::Success)?
            }
            ServerPacket::SubAck(ack) | ServerPacket::UnsubAck(ack) => {
                self.exchanges.get_or_insert_default().answered(ack.packet_id);
                Event::Answered(ack)
            }
            ServerPacket::PingResp => Event::Pong,
            ServerPacket::Disconnect(disconnect) => {
                let text = disconnect.properties.reason_string().map(str::to_owned);
                return Err(Ending::Disconnected(disconnect.reason, text));
            }
            ServerPacket::ConnAck(_) | ServerPacket::Auth(_) => {
                return Err(fault("a packet that was not asked for"));
            }
        };
        self.go_on(out);
        Ok(event)
    }

    fn let_in<'a>(&mut self, ack: ConnAck<'a>, out: &mut Vec<u8>) -> Result<Event<'a>, Ending> {
        if ack.reason.is_failure() {
            let text = ack.properties.reason_string().map(str::to_owned);
            return Err(Ending::Refused(ack.reason, text));
        }
        self.standing = Standing::There;
        self.quota = ack.properties.receive_maximum().unwrap_or(QUOTA);
        if let Some(bytes) = ack.properties.maximum_packet_size_bytes() {
            self.encoder = self.encoder.with_packet_bytes_max(bytes);
        }
        let taken = match (&mut self.exchanges, ack.session_present) {
            (Some(exchanges), true) => {
                exchanges.resume(&self.encoder, out);
                0
            }
            (Some(exchanges), false) => exchanges.begin_anew(),
            (None, _) => 0,
        };
        self.go_on(out);
        Ok(Event::Connected { ack, taken })
    }

    fn message<'a>(&mut self, publish: Publish<'a>, out: &mut Vec<u8>) -> Result<Event<'a>, Ending> {
        if publish.topic.is_empty() {
            return Err(fault("a topic alias, and none was allowed"));
        }
        let ack = publish.packet_id.map(|packet_id| Ack::new(packet_id, ReasonCode::Success));
        match (publish.qos, ack) {
            (Qos::AtMostOnce, _) | (_, None) => {}
            (Qos::AtLeastOnce, Some(ack)) => {
                let _fits = self.encoder.puback(&ack, out);
            }
            (Qos::ExactlyOnce, Some(ack)) => {
                let _fits = self.encoder.pubrec(&ack, out);
                if !self.exchanges.get_or_insert_default().hold(ack.packet_id) {
                    return Ok(Event::Nothing);
                }
            }
        }
        Ok(Event::Message(publish))
    }

    /// PUBREC. One for an exchange that nobody knows gets its PUBREL, or the server would ask for ever.
    fn received(&mut self, ack: &Ack<'_>, out: &mut Vec<u8>) -> Result<Event<'static>, Ending> {
        let acked = self.exchanges.get_or_insert_default().pubrec(ack.packet_id, ack.reason);
        let reason = match acked {
            Acked::Next => ReasonCode::Success,
            Acked::Unknown if !ack.reason.is_failure() => ReasonCode::PacketIdentifierNotFound,
            acked => return over(acked, ack.reason),
        };
        let _fits = self.encoder.pubrel(&Ack::new(ack.packet_id, reason), out);
        Ok(Event::Nothing)
    }
}

fn over(acked: Acked, reason: ReasonCode) -> Result<Event<'static>, Ending> {
    match acked {
        Acked::Over => Ok(Event::Published(reason)),
        Acked::Next | Acked::Unknown => Ok(Event::Nothing),
        Acked::Wrong => Err(fault("an acknowledgement of another kind than the message's")),
    }
}

fn fault(text: &'static str) -> Ending {
    let answer = wire::mqtt::Answer::Code(ReasonCode::ProtocolError);
    Ending::Fault(Error { answer, text })
}

impl From<Error> for Ending {
    fn from(error: Error) -> Self {
        Self::Fault(error)
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, reason, text) = match self {
            Self::Refused(reason, text) => ("connection refused", reason, text),
            Self::Disconnected(reason, text) => ("disconnected by the server", reason, text),
            Self::Fault(error) => return write!(f, "the server broke the protocol: {error}"),
        };
        write!(f, "{what}: {}", named(*reason))?;
        text.as_ref().map_or(Ok(()), |text| write!(f, ", {text}"))
    }
}

/// A code with its name in the specification.
pub(crate) fn named(reason: ReasonCode) -> String {
    format!("{:#04x} {}", reason.byte(), reason.name())
}

#[cfg(test)]
mod tests;
