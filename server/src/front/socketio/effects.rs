//! What the hub decided about sockets, performed. In which order is [`crate::front::apply`]'s business.

use hub::{Command, Effect, Reason, Recipient};

use super::SocketIo;
use super::deliver::Delivery;
use super::ending::Told;
use crate::front::apply::{Performer, apply, note_user};
use crate::shard::{Cx, Door};

impl Performer for SocketIo {
    const DOOR: Door = Door::Http;

    fn perform(&mut self, cx: &mut Cx<'_>, effect: Effect, to: &[Recipient]) {
        let Some(effect) = self.tails.perform(effect, &mut cx.hub.commands) else { return };
        match effect {
            Effect::Deliver { message, ask, offset, .. } => {
                self.deliver(cx, &Delivery { message: &message, ask, offset }, to);
            }
            Effect::Send { to, item } => self.send(cx, to, item),
            Effect::More { to } => self.resume(cx, to.tag.0),
            Effect::CloseConnection { to, reason } => self.close_under(cx, to.tag.0, reason),
            other => self.session_effect(cx, other),
        }
    }
}

impl SocketIo {
    /// Applies a command and performs what follows. Called while effects are performed it only queues.
    pub(in crate::front) fn apply(&mut self, cx: &mut Cx<'_>, command: Command) {
        apply(self, cx, command);
    }

    /// Effects on the life of one session.
    fn session_effect(&mut self, cx: &mut Cx<'_>, effect: Effect) {
        match effect {
            Effect::Opened { tag, session, id } => self.opened(cx, tag.0, session, id),
            Effect::OpenRefused { tag } => self.open_refused(cx, tag.0),
            Effect::Attached { tag, session, displaced } => self.attached(cx, tag.0, session, displaced),
            Effect::AttachRefused { tag, session: _ } => self.attach_refused(cx, tag.0),
            Effect::Detached { tag, left_ms, reason, .. } => {
                self.session_detached(cx, tag.0, (reason, left_ms));
            }
            Effect::Ended { tag: Some(tag), reason, .. } => self.session_ended(cx, tag.0, reason),
            Effect::Ended { tag: None, session, id, reason, .. } => {
                self.session_lapsed(cx, (session, id), reason);
            }
            // Rooms are the back end's to give.
            Effect::Reassigned { id, tag, user, .. } => note_user(cx, &self.config, (id, tag), user),
            // No session here bears a name of its own, and the others are performed elsewhere.
            Effect::Claimed { .. } | Effect::Agreed { .. } | Effect::Done { .. } => {}
            Effect::Taken { .. } | Effect::Misstep { .. } | Effect::Page { .. } | Effect::Placed { .. } => {}
            Effect::Deliver { .. } | Effect::Send { .. } | Effect::More { .. } => {}
            Effect::CloseConnection { .. }
            | Effect::Mail { .. }
            | Effect::Report { .. }
            | Effect::Load { .. }
            | Effect::Copy { .. }
            | Effect::Copied(_)
            | Effect::Attendance { .. }
            | Effect::Subscribed(_)
            | Effect::Sighted(_) => {}
        }
    }

    /// Closes the connection a session is on; the session's own end follows from that.
    pub(super) fn close_under(&mut self, cx: &mut Cx<'_>, tag: u32, reason: Reason) {
        if let Some(slot) = self.socket(tag).map(|socket| socket.engine) {
            self.close_engine(cx, slot, reason, Told::Close);
        }
    }
}
