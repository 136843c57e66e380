//! The way to the hub and back, shared by all protocols: every command goes in here, every effect is performed here.
//!
//! Owns the order: the effects of a command are performed before the next command is applied, and commands that effects
//! lead to wait in a queue, so at most one list of effects is ever open. A command that one protocol gives may concern
//! sessions of the others: such effects are deferred until the callback is over ([`super::Front`] settles them), so that no
//! protocol has to know another. Start at [`apply`].

use std::sync::Arc;

use hub::{Command, Effect, Effects, Reason, Recipient, SessionId, SessionKey, Tag};

use super::{copies, presence};
use crate::config::Config;
use crate::mail::{PeerMail, Upcall};
use crate::shard::{Cx, Deferred, Door};

/// Tags with this bit are of sessions behind [`Door::Stream`]; no front has so many.
const STREAM_TAG: u32 = 1 << 30;

/// The same of [`Door::Feed`].
const FEED_TAG: u32 = 1 << 29;

/// A protocol: performs what concerns its sessions.
pub(super) trait Performer {
    /// Which effects are its own.
    const DOOR: Door;

    /// Does what the hub decided. A delivery's range is the whole of `to`.
    fn perform(&mut self, cx: &mut Cx<'_>, effect: Effect, to: &[Recipient]);
}

/// The hub's name for a session of a protocol.
pub(super) fn tag_of(door: Door, index: u32) -> Tag {
    match door {
        Door::Http => Tag(index),
        Door::Stream => Tag(index | STREAM_TAG),
        Door::Feed => Tag(index | FEED_TAG),
    }
}

/// The protocol's own index of a session behind [`Door::Stream`] or [`Door::Feed`].
pub(super) fn stream_index(tag: Tag) -> u32 {
    tag.0 & !(STREAM_TAG | FEED_TAG)
}

/// Tails have the highest bit, and belong to the first door.
pub(super) fn door_of(tag: Tag) -> Door {
    match tag.0 >> 29 {
        1 => Door::Feed,
        2 | 3 => Door::Stream,
        _ => Door::Http,
    }
}

/// Applies a command and performs what follows for one protocol. Called while effects are performed it only queues.
pub(super) fn apply<P: Performer>(own: &mut P, cx: &mut Cx<'_>, command: Command) {
    cx.hub.commands.push_back(command);
    if std::mem::replace(&mut cx.hub.is_performing, true) {
        return;
    }
    while let Some(command) = cx.hub.commands.pop_front() {
        decide(cx, command, |cx, effect, to| {
            perform_or_defer(own, cx, effect, to);
        });
    }
    cx.hub.is_performing = false;
}

/// A session is another user's: the back end is told of that with its next event, and a user who is kept out keeps none.
pub(super) fn note_user(
    cx: &mut Cx<'_>,
    config: &Config,
    (session, tag): (SessionId, Option<Tag>),
    user: Option<Arc<str>>,
) {
    if cx.hub.bans.bar_user(cx.io.now(), user.as_ref()) {
        let key = SessionKey(session.slot());
        cx.hub.commands.push_back(Command::End { session: key, reason: Reason::Kicked });
    }
    if !config.webhooks.is_empty() {
        cx.io.upcall(Upcall::Reassigned { session, user, is_connected: tag.is_some() });
    }
}

/// Applies one command and gives each effect that is not for another shard or the back office to `perform`.
pub(super) fn decide(
    cx: &mut Cx<'_>,
    command: Command,
    mut perform: impl FnMut(&mut Cx<'_>, Effect, &[Recipient]),
) {
    cx.hub.hub.apply(cx.io.now(), command, &mut cx.hub.effects);
    let mut effects = std::mem::take(&mut cx.hub.effects);
    let Effects { list, recipients, entries } = &mut effects;
    cx.io.keep(entries);
    for effect in list.drain(..) {
        match effect {
            Effect::Mail { to, mail } => cx.io.post(to, PeerMail::Hub(mail)),
            Effect::Report { token, report } => cx.io.report(token, report),
            Effect::Load { id, place } => cx.io.load(id, place),
            Effect::Copy { binding, channel, message, waiter } => {
                copies::of_message(cx, binding, (&channel, &*message), waiter);
            }
            Effect::Copied(copied) => copies::note(cx, &copied),
            Effect::Attendance { channel, attendance } => presence::publish(cx, channel, &attendance),
            Effect::Subscribed(subscribed) => copies::of_subscription(cx, &subscribed),
            Effect::Sighted(sighting) => cx.io.sighting(sighting),
            Effect::Deliver { message, ask, offset, to } => {
                let to = recipients.get(to).unwrap_or_default();
                perform(cx, Effect::Deliver { message, ask, offset, to: 0..to.len() }, to);
            }
            other => perform(cx, other, &[]),
        }
    }
    effects.recipients.clear();
    cx.hub.effects = effects;
}

/// Performs an effect, or puts it aside for the protocol whose it is.
pub(super) fn perform_or_defer<P: Performer>(own: &mut P, cx: &mut Cx<'_>, effect: Effect, to: &[Recipient]) {
    let is_own = |recipient: &&Recipient| door_of(recipient.tag) == P::DOOR;
    match (&effect, door(&effect)) {
        (Effect::Deliver { message, ask, offset, .. }, _) => {
            let count = to.iter().filter(is_own).count();
            if count == to.len() {
                return own.perform(cx, effect, to);
            }
            let (mine, others): (Vec<Recipient>, _) = to.iter().copied().partition(|r| is_own(&r));
            let (message, ask, offset) = (message.clone(), *ask, *offset);
            let part =
                |to: &[Recipient]| Effect::Deliver { message: message.clone(), ask, offset, to: 0..to.len() };
            if count > 0 {
                own.perform(cx, part(&mine), &mine);
            }
            for door in [Door::Http, Door::Stream, Door::Feed] {
                let to: Vec<Recipient> = others.iter().copied().filter(|r| door_of(r.tag) == door).collect();
                if !to.is_empty() {
                    cx.hub.deferred.push_back(Deferred { effect: part(&to), to });
                }
            }
        }
        (_, door) if door == P::DOOR => own.perform(cx, effect, to),
        _ => cx.hub.deferred.push_back(Deferred { effect, to: Vec::new() }),
    }
}

/// Whose an effect on one session is; those on nobody in particular are the first door's.
pub(super) fn door(effect: &Effect) -> Door {
    let tag = match effect {
        Effect::Opened { tag, .. }
        | Effect::OpenRefused { tag }
        | Effect::Attached { tag, .. }
        | Effect::AttachRefused { tag, .. }
        | Effect::Claimed { tag, .. }
        | Effect::Detached { tag, .. } => Some(*tag),
        Effect::Reassigned { tag, .. } => *tag,
        // Nobody else's have one.
        Effect::Ended { tag: None, name: Some(_), .. } => return Door::Stream,
        Effect::Ended { tag, .. } => *tag,
        Effect::Send { to, .. }
        | Effect::CloseConnection { to, .. }
        | Effect::Done { to, .. }
        | Effect::Agreed { to }
        | Effect::Taken { to, .. }
        | Effect::Misstep { to }
        | Effect::Page { to, .. }
        | Effect::More { to } => Some(to.tag),
        Effect::Placed { .. } => return Door::Feed,
        Effect::Deliver { .. } | Effect::Mail { .. } | Effect::Report { .. } | Effect::Load { .. } => None,
        Effect::Copy { .. }
        | Effect::Copied(_)
        | Effect::Attendance { .. }
        | Effect::Subscribed(_)
        | Effect::Sighted(_) => None,
    };
    tag.map_or(Door::Http, door_of)
}
