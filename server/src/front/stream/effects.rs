//! What the hub decided about streams, performed. In which order is [`crate::front::apply`]'s business.

use hub::{Command, Effect, Outgoing, Reason, Recipient};

use super::access::UNASKED;
use super::deliver::Encodings;
use super::{BUDGET, Streams};
use crate::front::apply::{Performer, note_user, stream_index};
use crate::shard::{Cx, Door};

impl Performer for Streams {
    const DOOR: Door = Door::Feed;

    fn perform(&mut self, cx: &mut Cx<'_>, effect: Effect, to: &[Recipient]) {
        match effect {
            Effect::Deliver { message, .. } => self.deliver(cx, &message, to),
            Effect::Send { to, item } => self.send(cx, stream_index(to.tag), item),
            Effect::Page { to, page, .. } => self.page(cx, stream_index(to.tag), &page),
            Effect::Placed { request, outcome } => self.placed(cx, request, outcome),
            Effect::More { to } => self.go_on(cx, stream_index(to.tag)),
            Effect::Opened { tag, session, id } => self.opened(cx, stream_index(tag), (session, id)),
            Effect::OpenRefused { tag } => self.not_opened(cx, stream_index(tag)),
            Effect::Ended { tag: Some(_), id, reason, .. } => self.session_ended(cx, id, reason),
            Effect::CloseConnection { to, reason } => self.finish(cx, stream_index(to.tag), reason),
            Effect::Done { request: UNASKED, .. } => {}
            Effect::Done { to, outcome, .. } => self.done(cx, stream_index(to.tag), outcome),
            Effect::Reassigned { id, tag, former, user } => {
                note_user(cx, &self.config, (id, tag), user);
                self.reassigned(cx, id, former);
            }
            // No session here outlives its connection, or bears a name; the others are performed elsewhere.
            Effect::Detached { .. } | Effect::Ended { tag: None, .. } => {}
            Effect::Attached { .. } | Effect::AttachRefused { .. } => {}
            Effect::Claimed { .. } | Effect::Agreed { .. } => {}
            Effect::Taken { .. } | Effect::Misstep { .. } => {}
            Effect::Mail { .. } | Effect::Report { .. } | Effect::Load { .. } => {}
            Effect::Copy { .. }
            | Effect::Copied(_)
            | Effect::Attendance { .. }
            | Effect::Subscribed(_)
            | Effect::Sighted(_) => {}
        }
    }
}

impl Streams {
    fn send(&mut self, cx: &mut Cx<'_>, index: u32, item: Outgoing) {
        match item {
            Outgoing::Admitted { .. } => self.admitted(cx, index),
            Outgoing::Message { message, .. } => self.hand(cx, &mut Encodings::new(&message), index),
            // Nobody here asks the back end for anything.
            Outgoing::Answer { .. } => {}
        }
    }

    /// What waits follows, while the connection takes it.
    pub(super) fn go_on(&mut self, cx: &mut Cx<'_>, index: u32) {
        if !self.is_live(index) {
            return self.read_on(cx, index);
        }
        let Some(reader) = self.reader(index) else { return };
        let (conn, session) = (reader.conn, reader.session);
        if cx.io.is_writable(conn) {
            self.apply(cx, Command::Resume { session, budget: BUDGET });
        }
    }

    /// The connection is full.
    pub(super) fn wait(&mut self, cx: &mut Cx<'_>, index: u32) {
        let session = self.reader(index).map(|reader| reader.session);
        if let Some(session) = session.filter(|_| self.is_live(index)) {
            self.apply(cx, Command::Pause(session));
        }
    }
}

/// Whether a client is shown the end of its answer; who does not read will not see it.
pub(super) fn is_told(reason: Reason) -> bool {
    match reason {
        Reason::SlowConsumer => false,
        Reason::ClientLeft
        | Reason::ConnectionClosed
        | Reason::ConnectionFailed
        | Reason::Silent
        | Reason::Malformed
        | Reason::Misbehaved
        | Reason::Kicked
        | Reason::Disconnected
        | Reason::OverLimit
        | Reason::Refused
        | Reason::NeverAdmitted
        | Reason::TakenOver
        | Reason::Expired
        | Reason::CredentialsExpired
        | Reason::Revoked
        | Reason::Superseded
        | Reason::UserFull
        | Reason::Draining => true,
    }
}
