//! What the hub decided about MQTT clients, performed. In which order is [`crate::front::apply`]'s business.

use hub::{Command, Effect, Outcome, Outgoing, Reason, Recipient};
use wire::mqtt::{Ack, PacketId, ReasonCode};

use super::deliver::Parcel;
use super::ending;
use super::subscribe::Request;
use super::{BUDGET, Mqtt};
use crate::front::apply::{Performer, note_user, stream_index};
use crate::shard::{Cx, Door};

impl Performer for Mqtt {
    const DOOR: Door = Door::Stream;

    fn perform(&mut self, cx: &mut Cx<'_>, effect: Effect, to: &[Recipient]) {
        match effect {
            Effect::Deliver { message, .. } => self.deliver(cx, &message, to),
            Effect::Send { to, item } => self.send(cx, to, item),
            Effect::Done { to, request, outcome } => {
                self.done(cx, stream_index(to.tag), request, outcome);
            }
            Effect::Taken { to, number } => self.taken(cx, stream_index(to.tag), number),
            Effect::Misstep { to } => {
                self.part(cx, stream_index(to.tag), ReasonCode::ProtocolError, Reason::Misbehaved);
            }
            Effect::More { to } => self.resume(cx, stream_index(to.tag)),
            Effect::Claimed { tag, session, id, resumed, displaced, is_safe } => {
                if let Some(displaced) = displaced {
                    self.displace(cx, stream_index(displaced));
                }
                self.claimed(cx, stream_index(tag), (session, id), (resumed, is_safe));
            }
            Effect::Agreed { to } => self.agreed(cx, stream_index(to.tag)),
            Effect::OpenRefused { tag } => self.end(cx, stream_index(tag), None, Reason::OverLimit),
            Effect::Ended { tag, id, name, reason, .. } => {
                let Some(tag) = tag else { return self.tell_of_end(cx, (id, name, reason)) };
                self.tell_of_loss(cx, (id, name, reason), None);
                self.session_ended(cx, stream_index(tag), reason);
            }
            Effect::Reassigned { tag, id, former: _, user } => {
                note_user(cx, &self.config, (id, tag), user.clone());
                if let Some(index) = tag.map(stream_index) {
                    self.reassigned(cx, index, user);
                }
            }
            Effect::CloseConnection { to, reason } => {
                self.part(cx, stream_index(to.tag), ending::code(reason), reason);
            }
            // The connection went first.
            Effect::Detached { id, name, left_ms, reason, .. } => {
                self.tell_of_loss(cx, (id, name, reason), Some(left_ms));
            }
            // Not of sessions with a name of their own, or performed elsewhere.
            Effect::Opened { .. } | Effect::Attached { .. } | Effect::AttachRefused { .. } => {}
            Effect::Page { .. } | Effect::Placed { .. } => {}
            Effect::Mail { .. } | Effect::Report { .. } | Effect::Load { .. } => {}
            Effect::Copy { .. }
            | Effect::Copied(_)
            | Effect::Attendance { .. }
            | Effect::Subscribed(_)
            | Effect::Sighted(_) => {}
        }
    }
}

impl Mqtt {
    fn send(&mut self, cx: &mut Cx<'_>, to: Recipient, item: Outgoing) {
        if let Outgoing::Message { message, grade, labels, .. } = item {
            let labels = labels.unwrap_or_default();
            let parcel = Parcel { index: stream_index(to.tag), grade, labels: &labels };
            self.deliver_one(cx, &message, &parcel);
        }
    }

    fn done(&mut self, cx: &mut Cx<'_>, index: u32, request: u64, outcome: Outcome) {
        let Some(request) = Request::of(request) else { return };
        match request {
            Request::PubAck(_) | Request::PubRec(_) => self.offer_done(cx, index, request, outcome),
            Request::PubComp(packet_id) => self.forgotten(cx, index, packet_id, outcome),
            Request::Filter(packet_id, place) => {
                self.filter_answered(cx, index, (packet_id, place), outcome);
            }
        }
    }

    fn taken(&mut self, cx: &mut Cx<'_>, index: u32, number: u16) {
        let Some(packet_id) = PacketId::new(number) else { return };
        let ack = Ack::new(packet_id, ReasonCode::Success);
        self.put(cx, index, |encoder, out| encoder.pubrel(&ack, out));
    }

    /// What waits follows, while the connection takes it.
    pub(super) fn resume(&mut self, cx: &mut Cx<'_>, index: u32) {
        let Some(client) = self.client(index) else { return };
        let (conn, session, is_greeted) = (client.conn, client.session, client.is_greeted());
        if is_greeted && cx.io.is_writable(conn) {
            self.apply(cx, Command::Resume { session, budget: BUDGET });
        }
    }

    pub(super) fn pause(&mut self, cx: &mut Cx<'_>, index: u32) {
        if let Some(session) = self.client(index).map(|client| client.session) {
            self.apply(cx, Command::Pause(session));
        }
    }
}
