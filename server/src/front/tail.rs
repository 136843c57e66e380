//! Tails: what the back office watches live. A session without a client, whose messages go to a sink.
//!
//! Owns the sinks and their part of the tags; must not know who reads. Start at [`Tails::open`].

use crate::back::TailSink;
use bytes::Bytes;
use hub::{Admit, Command, Effect, Members, Message, Open, Outgoing, Part, SessionKey, Tag, Token};
use slab::Slab;
use std::collections::VecDeque;
use std::sync::Arc;

/// Tags with this bit are tails; no front has so many sessions of its own.
const TAIL: u32 = 1 << 31;

/// Nobody waits for reports about a tail: the back office counts its tokens from 1.
const NOBODY: Token = Token(0);

/// The tails of one shard.
#[derive(Debug, Default)]
pub(super) struct Tails {
    open: Slab<Tail>,
}

#[derive(Debug)]
struct Tail {
    filter: String,
    sink: TailSink,
    /// Unknown until the hub has answered.
    session: Option<SessionKey>,
}

impl Tails {
    /// The command that opens a tail.
    pub(super) fn open(&mut self, (filter, sink): (String, TailSink), random: [u8; 9]) -> Command {
        let index = self.open.insert(Tail { filter, sink, session: None });
        let tag = Tag(TAIL | u32::try_from(index).expect("limits.tails_max is far below"));
        Command::Open(Open { tag, random, recover: false, part: Part::Observer })
    }

    /// The commands that end the tails that nobody reads any more.
    pub(super) fn sweep(&self) -> Vec<Command> {
        let abandoned = self.open.iter().filter(|(_, tail)| tail.sink.is_closed());
        abandoned.filter_map(|(_, tail)| tail.session).map(end).collect()
    }

    /// Hands a message to the tail of this tag, if it is one.
    pub(super) fn offer(&self, tag: Tag, message: &Arc<Message>, commands: &mut VecDeque<Command>) {
        let Some(tail) = index(tag).and_then(|index| self.open.get(index)) else { return };
        if !tail.sink.offer(message) {
            commands.extend(tail.session.map(end));
        }
    }

    /// Performs an effect on a tail; gives back what is none of its business.
    pub(super) fn perform(&mut self, effect: Effect, commands: &mut VecDeque<Command>) -> Option<Effect> {
        match effect {
            Effect::Opened { tag, session, id } if index(tag).is_some() => {
                let tail = index(tag).and_then(|index| self.open.get_mut(index))?;
                tail.session = Some(session);
                let (subscriptions, keepsake) = (Vec::new(), Bytes::new());
                let admit = Admit { session, user: None, info: None, subscriptions, keepsake };
                let (of, filter) = (Members::Session(id), tail.filter.clone());
                commands.push_back(Command::Admit(admit));
                commands.push_back(Command::Subscribe { of, filter, token: NOBODY });
                commands.push_back(Command::Resume { session, budget: 1 });
            }
            Effect::OpenRefused { tag } | Effect::Ended { tag: Some(tag), .. } if index(tag).is_some() => {
                index(tag).and_then(|index| self.open.try_remove(index));
            }
            Effect::Send { to, item } if index(to.tag).is_some() => {
                if let Outgoing::Message { message, .. } = item {
                    self.offer(to.tag, &message, commands);
                }
            }
            Effect::CloseConnection { to, .. } if index(to.tag).is_some() => {
                commands.push_back(end(to.session))
            }
            other => return Some(other),
        }
        None
    }
}

fn index(tag: Tag) -> Option<usize> {
    (tag.0 & TAIL != 0).then_some((tag.0 & !TAIL) as usize)
}

fn end(session: SessionKey) -> Command {
    Command::End { session, reason: hub::Reason::ClientLeft }
}
