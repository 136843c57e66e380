//! Bytes to packets, and packets to what they ask for.
//!
//! Owns which packet may come when. Must not know how a packet is cut or checked (`wire`), nor what becomes of it. Start at
//! [`Mqtt::stream`].

use hub::{Command, Reason, Step};
use wire::mqtt::{
    Ack, Answer, ClientPacket, ConnAck, Disconnect, Encoder, Error, Frame, Properties, PropertyBuf,
    ReasonCode, Version, decode_client, frame, oversized_connect,
};

use super::connect::Begun;
use super::{Mqtt, NONE};
use crate::shard::{ConnKey, Cx, Door, Owner};

impl Mqtt {
    /// Whether this is the first byte of a connection that speaks MQTT: CONNECT without flags.
    pub(in crate::front) fn begins(&self, first: u8) -> bool {
        self.config.mqtt.enabled && first == 0x10
    }

    /// Bytes of a connection; how many were used.
    pub(in crate::front) fn stream(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnKey,
        owner: Option<Owner>,
        bytes: &[u8],
    ) -> usize {
        let mut used = 0;
        let mut index = owner.map_or(NONE, Owner::index);
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            let config = &self.config.mqtt;
            let is_first = index == NONE;
            let connect_bytes_max = config.packet_bytes_max.min(config.connect_bytes_max);
            let frame = match frame(rest, if is_first { connect_bytes_max } else { config.packet_bytes_max })
            {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    let is_too_large = is_first && error.code() == Some(ReasonCode::PacketTooLarge);
                    let error = if is_too_large { oversized_connect(rest) } else { Some(error) };
                    // How it is told depends on the version, which has to come first.
                    let Some(error) = error else { break };
                    self.fault(cx, conn, index, error);
                    return bytes.len();
                }
            };
            if index == NONE {
                match self.begin(cx, conn, &frame, rest) {
                    Begun::Here(client, more_bytes) => {
                        index = client;
                        used += more_bytes;
                    }
                    Begun::Elsewhere | Begun::Waits => return used,
                    Begun::Asked(more_bytes) => return used + frame.packet_bytes + more_bytes,
                    Begun::Over => return bytes.len(),
                }
            } else {
                self.packet(cx, conn, index, frame);
            }
            used += frame.packet_bytes;
            // A read may hold very many messages, each to the same subscribers.
            while let Some(full) = cx.io.next_blocked(Door::Stream) {
                self.blocked(cx, full);
            }
            if !cx.io.is_streaming(conn) {
                break;
            }
        }
        used
    }

    fn begin(&mut self, cx: &mut Cx<'_>, conn: ConnKey, frame: &Frame<'_>, bytes: &[u8]) -> Begun {
        let begun = self.first(cx, conn, frame, bytes);
        // Where the connection goes it is read once more; so is a CONNECT that waits for a proof.
        if !matches!(begun, Begun::Elsewhere | Begun::Waits) {
            self.figures.came(frame.first, frame.packet_bytes);
        }
        begun
    }

    fn first(&mut self, cx: &mut Cx<'_>, conn: ConnKey, frame: &Frame<'_>, bytes: &[u8]) -> Begun {
        if self.exchanges.is_open(conn) {
            let behind = bytes.get(frame.packet_bytes..).unwrap_or_default();
            return self.answer(cx, conn, frame, behind);
        }
        match decode_client(None, frame) {
            Ok(ClientPacket::Connect(connect)) => {
                let packet = bytes.get(..frame.packet_bytes).unwrap_or_default();
                self.connect(cx, conn, (&connect, packet))
            }
            Ok(_) => {
                cx.io.close(conn);
                Begun::Over
            }
            Err(error) => {
                self.fault(cx, conn, NONE, error);
                Begun::Over
            }
        }
    }

    fn packet(&mut self, cx: &mut Cx<'_>, conn: ConnKey, index: u32, frame: Frame<'_>) {
        let now = cx.io.now();
        self.figures.came(frame.first, frame.packet_bytes);
        if !self.charge(cx, index, &frame) {
            return;
        }
        let Some(client) = self.client_mut(index) else { return };
        client.heard = now;
        let frame = if client.kind.v31 { frame.with_flags_of_v311() } else { frame };
        match decode_client(Some(client.version()), &frame) {
            Ok(packet) => self.decoded(cx, index, &packet),
            Err(error) => self.fault(cx, conn, index, error),
        }
    }

    fn decoded(&mut self, cx: &mut Cx<'_>, index: u32, packet: &ClientPacket<'_>) {
        match packet {
            ClientPacket::Publish(publish) => self.publish(cx, index, publish),
            ClientPacket::PubAck(ack) => self.settle(cx, index, ack, Step::Done),
            ClientPacket::PubRec(ack) if ack.reason.is_failure() => {
                self.settle(cx, index, ack, Step::Declined)
            }
            ClientPacket::PubRec(ack) => self.settle(cx, index, ack, Step::Received),
            ClientPacket::PubComp(ack) => self.settle(cx, index, ack, Step::Forgotten),
            ClientPacket::PubRel(ack) => self.released(cx, index, ack.packet_id),
            ClientPacket::Subscribe(subscribe) => self.subscribe(cx, index, subscribe),
            ClientPacket::Unsubscribe(unsubscribe) => self.unsubscribe(cx, index, unsubscribe),
            ClientPacket::PingReq => self.put(cx, index, |encoder, out| encoder.pingresp(out)),
            ClientPacket::Disconnect(disconnect) => self.leaves(cx, index, disconnect),
            ClientPacket::Auth(auth) => self.auth(cx, index, auth),
            // A second one [MQTT-3.1.0-2].
            ClientPacket::Connect(_) => self.part(cx, index, ReasonCode::ProtocolError, Reason::Misbehaved),
        }
    }

    fn settle(&mut self, cx: &mut Cx<'_>, index: u32, ack: &Ack<'_>, step: Step) {
        let Some(client) = self.client(index) else { return };
        let session = client.session;
        self.apply(cx, Command::Settle { session, number: ack.packet_id.value(), step });
    }

    /// DISCONNECT: the will is void unless the client wants it, and the session may be kept for another time.
    fn leaves(&mut self, cx: &mut Cx<'_>, index: u32, disconnect: &Disconnect<'_>) {
        let Some(client) = self.client(index) else { return };
        let session = client.session;
        let expiry = disconnect.properties.session_expiry_interval_seconds();
        if client.kind.ends_with_connection && expiry.is_some_and(|seconds| seconds > 0) {
            return self.part(cx, index, ReasonCode::ProtocolError, Reason::Misbehaved);
        }
        let keep_ms = expiry.map(|seconds| self.keep_ms(seconds));
        let drop_will = disconnect.reason == ReasonCode::Success;
        self.apply(cx, Command::Amend { session, keep_ms, drop_will });
        self.end(cx, index, None, Reason::ClientLeft);
    }

    /// The peer broke the rules of a packet: it is told as the version allows, and the connection ends.
    fn fault(&mut self, cx: &mut Cx<'_>, conn: ConnKey, index: u32, error: Error) {
        if self.client(index).is_some() {
            return self.cut_off(cx, index, error);
        }
        tracing::debug!(%error, "an MQTT client was not let in");
        match error.answer {
            Answer::ConnAck(version, code) => {
                self.refuse(cx, conn, Encoder::new(version), (code, Some(error.text)));
            }
            Answer::Code(_) | Answer::Silence => cx.io.close(conn),
        }
    }

    /// A client broke the rules of a packet.
    pub(super) fn cut_off(&mut self, cx: &mut Cx<'_>, index: u32, error: Error) {
        tracing::debug!(%error, "an MQTT client was cut off");
        let code = error.code();
        let reason = match code {
            Some(ReasonCode::MalformedPacket) | None => Reason::Malformed,
            Some(_) => Reason::Misbehaved,
        };
        self.end(cx, index, code.map(|code| (code, error.text)), reason);
    }

    /// CONNACK that says no; then the connection ends.
    pub(super) fn refuse(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnKey,
        encoder: Encoder,
        (reason, text): (ReasonCode, Option<&str>),
    ) {
        self.figures.refused(reason);
        let told = text.map(PropertyBuf::with_reason_string).unwrap_or_default();
        self.refuse_with(cx, conn, encoder, (reason, &told));
    }

    /// As [`Mqtt::refuse`], with properties, which version 3 does not have.
    pub(super) fn refuse_with(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnKey,
        encoder: Encoder,
        (reason, told): (ReasonCode, &PropertyBuf),
    ) {
        let properties = match encoder.version() {
            Version::V3 => Properties::NONE,
            Version::V5 => told.as_properties(),
        };
        let connack = ConnAck { session_present: false, reason, properties };
        let websocket = cx.io.is_websocket(conn);
        self.put_on(cx, (conn, websocket), |out| encoder.connack(&connack, out));
        cx.io.close_after_flush(conn);
    }
}
