//! The way to the hub and back: every command goes in here, every effect is performed here.
//!
//! Owns the order: the effects of a command are performed before the next command is applied, and commands that
//! effects lead to wait in a queue. So at most one list of effects is ever open. Start at [`SocketIo::apply`].

use hub::{Command, Effect, Effects, Reason};
use smallvec::SmallVec;

use super::SocketIo;
use super::deliver::Delivery;
use super::ending::Told;
use super::polling::BUDGET;
use crate::mail::PeerMail;
use crate::shard::Cx;

impl SocketIo {
    /// Applies a command and performs what follows. Called while effects are performed it only queues.
    pub(in crate::front) fn apply(&mut self, cx: &mut Cx<'_>, command: Command) {
        self.commands.push_back(command);
        if self.performing {
            return;
        }
        self.performing = true;
        while let Some(command) = self.commands.pop_front() {
            cx.hub.hub.apply(cx.io.now(), command, &mut cx.hub.effects);
            let mut effects = std::mem::take(&mut cx.hub.effects);
            let more = budgets_used_up(&effects);
            self.perform(cx, &mut effects);
            for tag in more {
                self.resume(cx, tag);
            }
            effects.recipients.clear();
            cx.hub.effects = effects;
        }
        self.performing = false;
    }

    fn perform(&mut self, cx: &mut Cx<'_>, effects: &mut Effects) {
        let Effects { list, recipients } = effects;
        for effect in list.drain(..) {
            let Some(effect) = self.tails.perform(effect, &mut self.commands) else { continue };
            match effect {
                Effect::Deliver { message, ask, offset, to } => {
                    let to = recipients.get(to).unwrap_or_default();
                    self.deliver(cx, &Delivery { message: &message, ask, offset }, to);
                }
                Effect::Send { to, item } => self.send(cx, to, item),
                Effect::Mail { to, mail } => cx.io.post(to, PeerMail::Hub(mail)),
                Effect::Report { token, report } => cx.io.report(token, report),
                other => self.session_effect(cx, other),
            }
        }
    }

    /// Effects on the life of one session.
    fn session_effect(&mut self, cx: &mut Cx<'_>, effect: Effect) {
        match effect {
            Effect::Opened { tag, session, id } => self.opened(cx, tag.0, session, id),
            Effect::OpenRefused { tag } => self.open_refused(cx, tag.0),
            Effect::Attached { tag, session, displaced } => self.attached(cx, tag.0, session, displaced),
            Effect::AttachRefused { tag, session: _ } => self.attach_refused(cx, tag.0),
            Effect::Detached { tag, id: _, reason } => self.session_detached(cx, tag.0, reason),
            Effect::Ended { tag: Some(tag), session: _, id: _, reason } => {
                self.session_ended(cx, tag.0, reason)
            }
            Effect::Ended { tag: None, session, id, reason: _ } => self.session_expired(cx, session, id),
            Effect::CloseConnection { to, reason } => self.close_under(cx, to.tag.0, reason),
            Effect::Deliver { .. } | Effect::Send { .. } | Effect::Mail { .. } | Effect::Report { .. } => {}
            // No session here bears a name of its own.
            Effect::Claimed { .. } | Effect::Done { .. } | Effect::Taken { .. } | Effect::Misstep { .. } => {}
        }
    }

    /// Closes the connection a session is on; the session's own end follows from that.
    pub(super) fn close_under(&mut self, cx: &mut Cx<'_>, tag: u32, reason: Reason) {
        if let Some(slot) = self.socket(tag).map(|socket| socket.engine) {
            self.close_engine(cx, slot, reason, Told::Close);
        }
    }
}

/// The sockets to which a whole budget of things went at once: more may wait for them. That is after a `Resume`, or after
/// the mail that one or several held resumes waited for. The sends of one resume stand together.
fn budgets_used_up(effects: &Effects) -> SmallVec<[u32; 2]> {
    let mut used_up = SmallVec::new();
    let (mut last, mut count) = (None, 0);
    for effect in &effects.list {
        let Effect::Send { to, .. } = effect else { continue };
        count = if last == Some(to.tag.0) { count + 1 } else { 1 };
        last = Some(to.tag.0);
        if count == BUDGET {
            used_up.push(to.tag.0);
        }
    }
    used_up
}
